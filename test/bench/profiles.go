package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
	mark := s.proxy.mark()
	return inBackground(
		func() {
			s.waitUntilWritten(ctx, mark, method)
			s.keepProfile(name+"-cpu", func() ([]byte, error) { return s.operator.profile(ctx, "profile", profileSeconds) })
		},
		func() {
			s.waitUntilWritten(ctx, mark, method)
			s.keepProfile(name+"-apiserver-cpu", func() ([]byte, error) { return s.cluster.profile(ctx, profileSeconds) })
		})
}

func (s *environment) waitUntilWritten(ctx context.Context, mark int, method string) {
	_ = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(context.Context) (bool, error) { // whatever comes, the profile is tried
		n, _, _ := writesIn(s.proxy.since(mark), method)
		return n >= s.n/10, nil
	})
}

// profileResync profiles the operator from one resync on, for longer than until the next one.
func (s *environment) profileResync(ctx context.Context) (finish func()) {
	return inBackground(func() {
		s.keepProfile("idle-cpu", func() ([]byte, error) { return s.operator.profile(ctx, "profile", profileSeconds) })
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
