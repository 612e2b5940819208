package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/pluginbinding/kong-plugin-operator/internal/inflight"
)

// heldLock responds like the API server, after some time.
type heldLock struct {
	resourcelock.Interface
	takes func()
	err   error
}

func (heldLock) Identity() string { return "me" }

func (l *heldLock) Create(context.Context, resourcelock.LeaderElectionRecord) error {
	l.takes()
	return l.err
}

func (l *heldLock) Update(context.Context, resourcelock.LeaderElectionRecord) error {
	l.takes()
	return l.err
}

func (*heldLock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	return &resourcelock.LeaderElectionRecord{HolderIdentity: "other"}, nil, nil
}

func (*heldLock) Describe() string { return "system/lease" }

func TestAnOperatorThatWatchesSomethingElseIsReportedOnce(t *testing.T) {
	for label, want := range map[string]int{"mine": 0, "theirs": 1, "": 1} {
		logged, reads := 0, 0
		log := funcr.New(func(_, args string) {
			if strings.Contains(args, "two installations") {
				logged++
			}
		}, funcr.Options{})
		l := &lease{Interface: &heldLock{}, log: log, watches: "mine", words: &words{}, labelOf: func(context.Context) (string, error) {
			reads++
			return label, nil
		}}
		for range 3 {
			if _, _, err := l.Get(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if logged != want || reads != 1 {
			t.Errorf("label %q: logged %d times after %d reads", label, logged, reads)
		}
	}
}

func TestLeaseHeld(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
	pass := func(d time.Duration) { clock.SetTime(clock.Now().Add(d)) }
	lock := &heldLock{takes: func() { pass(time.Second) }}
	l := &lease{Interface: lock, duration: leaseDuration, clock: clock, words: &words{clock: clock}, writes: inflight.NewTracker(clock, time.Time{}), term: -1}
	want := func(held bool, when string) {
		t.Helper()
		if l.held() != held {
			t.Errorf("%s: held is %v", when, !held)
		}
	}
	mine := resourcelock.LeaderElectionRecord{HolderIdentity: "me"}

	want(false, "before it is taken")
	if err := l.Create(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	want(true, "when it is taken")
	pass(leaseDuration - 2*time.Second)
	want(true, "a second before it ends")
	pass(time.Second)
	want(false, "when others may take it, counted from the request and not from its answer")

	if err := l.Update(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	want(true, "when it is renewed")
	lock.err = errors.New("no answer")
	pass(leaseDuration - 2*time.Second)
	if err := l.Update(t.Context(), mine); err == nil {
		t.Fatal("the error is lost")
	}
	want(false, "when a renewal is not known to have been done")

	lock.err = nil
	if err := l.Update(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	lock.err = errors.New("no answer")
	_ = l.Update(t.Context(), resourcelock.LeaderElectionRecord{})
	want(false, "when it is given up, even if nobody hears of it")
}
