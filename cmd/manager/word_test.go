package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/pluginbinding/kong-plugin-operator/internal/inflight"
)

// storedLease is the API server's one Lease, with its optimistic lock.
type storedLease struct {
	typedcoordinationv1.LeaseInterface
	lease   *coordinationv1.Lease
	version int
	err     error // after the next write
}

func (s *storedLease) Leases(string) typedcoordinationv1.LeaseInterface { return s }

func (s *storedLease) Get(context.Context, string, metav1.GetOptions) (*coordinationv1.Lease, error) {
	if s.lease == nil {
		return nil, apierrors.NewNotFound(coordinationv1.Resource("leases"), "lease")
	}
	return s.lease.DeepCopy(), nil
}

func (s *storedLease) Create(_ context.Context, lease *coordinationv1.Lease, _ metav1.CreateOptions) (*coordinationv1.Lease, error) {
	if s.lease != nil {
		return nil, apierrors.NewAlreadyExists(coordinationv1.Resource("leases"), "lease")
	}
	lease.UID = types.UID(rune('a' + s.version))
	return s.put(lease)
}

func (s *storedLease) Update(_ context.Context, lease *coordinationv1.Lease, _ metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	if s.lease == nil || s.lease.ResourceVersion != lease.ResourceVersion {
		return nil, apierrors.NewConflict(coordinationv1.Resource("leases"), "lease", errors.New("changed"))
	}
	return s.put(lease)
}

func (s *storedLease) put(lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	s.version++
	s.lease = lease.DeepCopy()
	s.lease.ResourceVersion = string(rune('0' + s.version))
	if err := s.err; err != nil {
		s.err = nil
		return nil, err
	}
	return s.lease.DeepCopy(), nil
}

// replica is a process with a lease.
type replica struct {
	*lease
	t     *testing.T
	clock *clocktesting.FakePassiveClock
}

func newReplicaOf(t *testing.T, store *storedLease, clock *clocktesting.FakePassiveClock, identity string) *replica {
	writes := inflight.NewTracker(clock, time.Time{})
	words := &words{LeasesGetter: store, identity: identity, clock: clock, allEnded: writes.AllEnded}
	lock := &resourcelock.LeaseLock{Client: words, LockConfig: resourcelock.ResourceLockConfig{Identity: identity}}
	l := &lease{
		Interface: lock, duration: leaseDuration, clock: clock, log: logr.Discard(), words: words, writes: writes, term: -1,
		labelOf: func(context.Context) (string, error) { return "", nil },
	}
	return &replica{l, t, clock}
}

// acquire takes the Lease as client-go does, and returns whether the process waits for a binding that
// exists, and for one to which it adds the finalizer.
func (r *replica) acquire() (waits, waitsForNew bool) {
	r.t.Helper()
	record := resourcelock.LeaderElectionRecord{
		HolderIdentity: r.Identity(), LeaseDurationSeconds: 15, RenewTime: metav1.NewTime(r.clock.Now()), AcquireTime: metav1.NewTime(r.clock.Now()),
	}
	old, _, err := r.Get(r.t.Context())
	if err != nil {
		err = r.Create(r.t.Context(), record)
	} else {
		record.LeaderTransitions = old.LeaderTransitions + 1
		err = r.Update(r.t.Context(), record)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.writes.Begin()
	binding := func(name string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}}
	}
	r.writes.AddedFinalizer(binding("new"))
	return r.writes.InFlightFor(binding("old"), time.Second) > 0, r.writes.InFlightFor(binding("new"), time.Second) > 0
}

// release gives the Lease up as client-go does.
func (r *replica) release() error {
	old, _, err := r.Get(r.t.Context())
	if err != nil {
		return err
	}
	now := metav1.NewTime(r.clock.Now())
	return r.Update(r.t.Context(), resourcelock.LeaderElectionRecord{
		LeaderTransitions: old.LeaderTransitions, LeaseDurationSeconds: 1, RenewTime: now, AcquireTime: now,
	})
}

func TestTheNextLeaderWaitsUnlessItHasTheWord(t *testing.T) {
	pass := func(r *replica, d time.Duration) { r.clock.SetTime(r.clock.Now().Add(d)) }
	mustRelease := func(r *replica) {
		r.t.Helper()
		if err := r.release(); err != nil {
			r.t.Fatal(err)
		}
	}
	inOrder := func(first *replica, _ *storedLease) { pass(first, inflight.LongestWrite); mustRelease(first) }
	for name, tc := range map[string]struct {
		// end is how the first leader ends, and what happens to its Lease.
		end                func(first *replica, store *storedLease)
		waits, waitsForNew bool
	}{
		"in order":  {end: inOrder},
		"not ended": {end: func(first *replica, _ *storedLease) { pass(first, time.Hour) }, waits: true, waitsForNew: true},
		"in order, while a write may be in flight": {end: func(first *replica, _ *storedLease) {
			pass(first, inflight.LongestWrite)
			first.writes.Sending()(true)
			pass(first, inflight.LongestWrite-time.Second)
			mustRelease(first)
		}, waits: true, waitsForNew: true},
		"in order, while a write is being sent": {end: func(first *replica, _ *storedLease) {
			pass(first, inflight.LongestWrite)
			first.writes.Sending()
			mustRelease(first)
		}, waits: true, waitsForNew: true},
		"in order, after its writes": {end: func(first *replica, _ *storedLease) {
			pass(first, inflight.LongestWrite)
			first.writes.Sending()(false)
			first.writes.Sending()(true)
			pass(first, inflight.LongestWrite)
			mustRelease(first)
		}},
		"in order, before a write of its predecessor must have ended": {end: func(first *replica, _ *storedLease) {
			pass(first, inflight.LongestWrite-time.Second)
			mustRelease(first)
		}, waits: true, waitsForNew: true},
		"in order, long ago": {end: func(first *replica, store *storedLease) {
			inOrder(first, store)
			pass(first, wordAge)
		}, waits: true, waitsForNew: true},
		"in order, in the future": {end: func(first *replica, store *storedLease) {
			inOrder(first, store)
			pass(first, -wordAge)
		}, waits: true, waitsForNew: true},
		"in order, and an earlier version has led since": {end: func(first *replica, store *storedLease) {
			inOrder(first, store)
			*store.lease.Spec.LeaseTransitions++ // it keeps the annotation
		}, waits: true, waitsForNew: true},
		"in order, and somebody released it again": {end: func(first *replica, store *storedLease) {
			inOrder(first, store)
			store.lease.Spec.RenewTime.Time = store.lease.Spec.RenewTime.Add(time.Second)
		}, waits: true, waitsForNew: true},
		"in order, and the Lease is a copy": {end: func(first *replica, store *storedLease) {
			inOrder(first, store)
			store.lease.UID = "another"
		}, waits: true, waitsForNew: true},
		"in order, and the Lease is held": {end: func(first *replica, store *storedLease) {
			inOrder(first, store)
			store.lease.Spec.HolderIdentity = ptr.To("another")
		}, waits: true, waitsForNew: true},
		"the Lease is gone": {end: func(_ *replica, store *storedLease) { store.lease = nil }, waits: true},
	} {
		t.Run(name, func(t *testing.T) {
			clock := clocktesting.NewFakePassiveClock(time.Unix(1_000_000, 0))
			store := &storedLease{}
			first := newReplicaOf(t, store, clock, "first")
			if waits, waitsForNew := first.acquire(); !waits || waitsForNew {
				t.Errorf("without a Lease: waits %v, for new bindings %v", waits, waitsForNew)
			}
			tc.end(first, store)
			second := newReplicaOf(t, store, clock, "second")
			if waits, waitsForNew := second.acquire(); waits != tc.waits || waitsForNew != tc.waitsForNew {
				t.Errorf("waits %v, for new bindings %v", waits, waitsForNew)
			}
			if word := store.lease.Annotations[wordAnnotation]; word != "" {
				t.Errorf("the next leader keeps the word %q", word)
			}
		})
	}
}

// A leader that began with its predecessor's word may pass it on at once.
func TestAWordIsPassedOn(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_000_000, 0))
	store := &storedLease{}
	replicas := make([]*replica, 3)
	for i := range replicas {
		replicas[i] = newReplicaOf(t, store, clock, string(rune('a'+i)))
		if waits, _ := replicas[i].acquire(); waits != (i == 0) {
			t.Errorf("leader %d: waits %v", i, waits)
		}
		if i == 0 {
			clock.SetTime(clock.Now().Add(inflight.LongestWrite))
		}
		if err := replicas[i].release(); err != nil {
			t.Fatal(err)
		}
	}
}

// The answer to the request that acquires the Lease is lost. What it replaced is unknown then.
func TestALostAnswerLosesTheWord(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_000_000, 0))
	store := &storedLease{err: errors.New("no answer")}
	r := newReplicaOf(t, store, clock, "first")
	if err := r.Create(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "first"}); err == nil {
		t.Fatal("the error is lost")
	}
	if waits, waitsForNew := r.acquire(); !waits || !waitsForNew {
		t.Errorf("waits %v, for new bindings %v", waits, waitsForNew)
	}
}

func TestALeaderThatSawTheLeaseTakesNothingForAFreshInstall(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_000_000, 0))
	store := &storedLease{}
	newReplicaOf(t, store, clock, "first").acquire()
	second := newReplicaOf(t, store, clock, "second")
	if _, _, err := second.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	store.lease = nil
	if waits, waitsForNew := second.acquire(); !waits || !waitsForNew {
		t.Errorf("waits %v, for new bindings %v", waits, waitsForNew)
	}
}

// client-go's release reads the Lease, and does not look who holds it.
func TestAFormerLeaderReleasesNothing(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_000_000, 0))
	store := &storedLease{}
	first, second := newReplicaOf(t, store, clock, "first"), newReplicaOf(t, store, clock, "second")
	first.acquire()
	clock.SetTime(clock.Now().Add(time.Hour))
	second.acquire()
	if err := first.release(); !errors.Is(err, errNotHeld) {
		t.Errorf("released the Lease of another: %v", err)
	}
	if holder := ptr.Deref(store.lease.Spec.HolderIdentity, ""); holder != "second" || first.held() {
		t.Errorf("held by %q", holder)
	}
}

func TestAProcessThatStopsKeepsTheLeaseUntilItsWritesEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	looks := 0
	d := drain{ended: func() bool {
		if ctx.Err() == nil {
			t.Error("it looks before the process stops")
		}
		looks++
		return looks == 3
	}}
	cancel()
	if err := d.Start(ctx); err != nil || looks != 3 {
		t.Errorf("stopped after %d looks: %v", looks, err)
	}
}
