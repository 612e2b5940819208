package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/pluginbinding/kong-plugin-operator/internal/inflight"
)

// wordAnnotation is the word of a leader that ended in order: when it gave up the Lease, no write to Kong
// was in flight, neither its own nor one of a leader before it. The value fits one release of one Lease
// only. So it is worth nothing once somebody has held the Lease again, whatever version that was.
const wordAnnotation = "kong.pluginbinding.io/nothing-in-flight"

// wordAge is how long after the release the word counts. A Lease that comes from a backup has the word of
// that time, although other leaders may have crashed since. No cluster is restored this fast.
const wordAge = time.Minute

var errNotHeld = errors.New("another replica holds the Lease now; this one does not release it")

// words is the API of Leases for the lock. It adds the word of this process to the release of the Lease,
// in the same request, and takes the word of the last leader off when it acquires the Lease.
type words struct {
	typedcoordinationv1.LeasesGetter
	identity string
	clock    clock.PassiveClock
	// allEnded reports whether no write to Kong can be in flight.
	allEnded func() bool
	// stored is the Lease as the API server last returned it, nil before.
	stored *coordinationv1.Lease
}

// Leases implements typedcoordinationv1.LeasesGetter.
func (w *words) Leases(namespace string) typedcoordinationv1.LeaseInterface {
	return wordedLeases{w.LeasesGetter.Leases(namespace), w}
}

type wordedLeases struct {
	typedcoordinationv1.LeaseInterface
	words *words
}

// Get implements typedcoordinationv1.LeaseInterface.
func (l wordedLeases) Get(ctx context.Context, name string, options metav1.GetOptions) (*coordinationv1.Lease, error) {
	return l.words.store(l.LeaseInterface.Get(ctx, name, options))
}

// Create implements typedcoordinationv1.LeaseInterface.
func (l wordedLeases) Create(ctx context.Context, lease *coordinationv1.Lease, options metav1.CreateOptions) (*coordinationv1.Lease, error) {
	return l.words.store(l.LeaseInterface.Create(ctx, lease, options))
}

// Update implements typedcoordinationv1.LeaseInterface.
func (l wordedLeases) Update(ctx context.Context, lease *coordinationv1.Lease, options metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	lease = lease.DeepCopy()
	delete(lease.Annotations, wordAnnotation)
	if ptr.Deref(lease.Spec.HolderIdentity, "") == "" {
		// client-go releases what it last knew to hold. A process that was frozen knows an old Lease.
		if w := l.words; w.stored == nil || ptr.Deref(w.stored.Spec.HolderIdentity, "") != w.identity {
			return nil, errNotHeld
		}
		if l.words.allEnded() {
			metav1.SetMetaDataAnnotation(&lease.ObjectMeta, wordAnnotation, wordOf(lease, l.words.identity))
		}
	}
	return l.words.store(l.LeaseInterface.Update(ctx, lease, options))
}

func (w *words) store(lease *coordinationv1.Lease, err error) (*coordinationv1.Lease, error) {
	if err == nil {
		w.stored = lease.DeepCopy() // the lock changes its own
	}
	return lease, err
}

// ofNoLease is what a process that creates the Lease knows of the writes of earlier leaders. A Lease that
// it has seen was deleted, and its holder may still run.
func (w *words) ofNoLease() inflight.Inherited {
	if w.stored == nil {
		return inflight.NoLeader
	}
	return inflight.Unknown
}

// ofLastHolder is what a process that acquires the stored Lease knows of the writes of earlier leaders.
func (w *words) ofLastHolder() inflight.Inherited {
	if w.stored == nil {
		return inflight.Unknown
	}
	spec := w.stored.Spec
	if ptr.Deref(spec.HolderIdentity, "") != "" || spec.RenewTime == nil || w.clock.Since(spec.RenewTime.Time).Abs() >= wordAge {
		return inflight.Unknown
	}
	var holder string
	word := w.stored.Annotations[wordAnnotation]
	if _, err := fmt.Sscan(word, &holder); err != nil || word != wordOf(w.stored, holder) {
		return inflight.Unknown
	}
	return inflight.NoWrites
}

// wordOf is the word of a holder at the release of the Lease.
func wordOf(lease *coordinationv1.Lease, holder string) string {
	return fmt.Sprintf("%s %d %s %s", holder, ptr.Deref(lease.Spec.LeaseTransitions, 0),
		ptr.Deref(lease.Spec.RenewTime, metav1.MicroTime{}).UTC().Format(metav1.RFC3339Micro), lease.UID)
}

// drain keeps the Lease, when the process stops, until Kong can no longer apply a write of this process. The
// manager releases the Lease when all of its runnables have ended, or when the time for that has passed.
type drain struct {
	// ended reports whether Kong can no longer apply a write of this process.
	ended func() bool
}

// Start implements manager.Runnable.
func (d drain) Start(ctx context.Context) error {
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	// Without an end the next leader waits instead.
	_ = wait.PollUntilContextCancel(ctx, drainPoll, true, func(context.Context) (bool, error) { return d.ended(), nil })
	return nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (drain) NeedLeaderElection() bool { return true }
