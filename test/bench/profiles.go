package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// profileSeconds is the length of a CPU profile.
const profileSeconds = 8

// keepProfile writes a profile, if there is a directory for profiles. A failure does not stop
// the bench.
func (s *environment) keepProfile(name string, take func() ([]byte, error)) {
	if s.profiles == "" {
		return
	}
	profile, err := take()
	if err == nil {
		err = os.MkdirAll(s.profiles, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(s.profiles, fmt.Sprintf("%d-%s.pb.gz", s.n, name)), profile, 0o600)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: no profile %s: %v\n", name, err)
	}
}

func (s *environment) profileHeap(ctx context.Context, name string) {
	s.keepProfile(name+"-heap", func() ([]byte, error) { return s.operator.profile(ctx, "heap", 0) })
}

// profileWrites profiles the operator and the API server once a tenth of the plugins has been
// written. The returned function waits for the end.
func (s *environment) profileWrites(ctx context.Context, name, method string) (finish func()) {
	if s.profiles == "" {
		return func() {}
	}
	return s.profileBoth(ctx, name, method, s.n/10, func() {
		s.keepProfile(name+"-cpu", func() ([]byte, error) { return s.operator.profile(ctx, "profile", profileSeconds) })
	})
}

// profileLoop profiles the API server once a tenth of the loop's plugins has been written.
func (s *environment) profileLoop(ctx context.Context, method string) (finish func()) {
	if s.profiles == "" {
		return func() {}
	}
	return s.profileBoth(ctx, "loop-"+strings.ToLower(method), method, len(s.loop.plugins)/10)
}

// profileBoth profiles the API server, and something else, once so many plugins have been written.
func (s *environment) profileBoth(ctx context.Context, name, method string, written int, more ...func()) (finish func()) {
	before := s.proxy.countWritten(method)
	tasks := more
	tasks = append(tasks, func() {
		s.keepProfile(name+"-apiserver-cpu", func() ([]byte, error) { return s.cluster.profile(ctx, profileSeconds) })
	})
	for i, task := range tasks {
		tasks[i] = func() {
			s.waitUntilWritten(ctx, method, before+written)
			task()
		}
	}
	return inBackground(tasks...)
}

func (s *environment) waitUntilWritten(ctx context.Context, method string, written int) {
	_ = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, s.patienceForAll(), true, func(context.Context) (bool, error) { // whatever comes, the profile is tried
		return s.proxy.countWritten(method) >= written, nil
	})
}

// profileResync profiles the operator and the API server from one resync on, for longer than until the
// next one.
func (s *environment) profileResync(ctx context.Context) (finish func()) {
	return inBackground(
		func() {
			s.keepProfile("idle-cpu", func() ([]byte, error) { return s.operator.profile(ctx, "profile", profileSeconds) })
		},
		func() {
			s.keepProfile("idle-apiserver-cpu", func() ([]byte, error) { return s.cluster.profile(ctx, profileSeconds) })
		})
}

func inBackground(tasks ...func()) (finish func()) {
	done := make(chan struct{}, len(tasks))
	for _, task := range tasks {
		go func() {
			task()
			done <- struct{}{}
		}()
	}
	return func() {
		for range tasks {
			<-done
		}
	}
}
