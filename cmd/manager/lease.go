package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/leaderelection"
	"sigs.k8s.io/controller-runtime/pkg/recorder"

	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/internal/inflight"
)

// lease is the lock of leader election. It also knows until when no other replica can take it. A
// process that was frozen continues where it stopped, and needs some time to notice that it has lost
// the lease. held tells immediately.
type lease struct {
	resourcelock.Interface
	duration time.Duration
	clock    clock.PassiveClock
	// watches is the label of this replica, and labelOf reads that of the lease.
	watches string
	labelOf func(context.Context) (string, error)
	// other is the holder that was last found to watch something else.
	other string
	log   logr.Logger
	// words are on the Lease. writes learns when this process begins to lead, and with which word.
	words  *words
	writes *inflight.Tracker
	// term is the transition of the Lease with which this process last began to lead, negative before.
	term int

	mu sync.Mutex
	// renewed is the time at which the last successful request for the lease was sent. It is zero
	// if this replica does not hold the lease. Other replicas count from the later time at which
	// they see the effect of the request.
	renewed time.Time
}

// newLease creates the lock that the manager would create by default.
func newLease(config *rest.Config, scheme *runtime.Scheme, o *options, writes *inflight.Tracker) (*lease, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	events := record.NewBroadcaster()
	events.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	lock, err := leaderelection.NewResourceLock(config,
		leaseEvents{recorder: events.NewRecorder(scheme, corev1.EventSource{Component: controllers.UserAgent})},
		leaderelection.Options{
			LeaderElection:          true,
			LeaderElectionID:        o.leaseName(),
			LeaderElectionNamespace: o.leaderElectNamespace,
			LeaderLabels:            map[string]string{watchesLabel: o.watches()},
			RenewDeadline:           renewDeadline,
		})
	if err != nil {
		return nil, err
	}
	leaseLock, ok := lock.(*resourcelock.LeaseLock)
	if !ok {
		return nil, fmt.Errorf("leader election uses a %T, not a Lease", lock)
	}
	words := &words{LeasesGetter: leaseLock.Client, identity: lock.Identity(), clock: clock.RealClock{}, allEnded: writes.AllEnded}
	leaseLock.Client = words
	labelOf := func(ctx context.Context) (string, error) {
		namespace, name, _ := strings.Cut(lock.Describe(), "/")
		held, err := client.CoordinationV1().Leases(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return held.Labels[watchesLabel], nil
	}
	return &lease{
		Interface: lock, duration: leaseDuration, clock: clock.RealClock{}, watches: o.watches(), labelOf: labelOf, log: ctrl.Log.WithName("lease"),
		words: words, writes: writes, term: -1,
	}, nil
}

// watchesLabel is the label of the lease with a digest of what its holder watches.
const watchesLabel = "kong.pluginbinding.io/watches"

// Get implements resourcelock.Interface. It logs once per holder that the lease is held by an operator
// that watches something else: another installation, which keeps this one from working, or a replica
// that a rollout replaces.
func (l *lease) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	held, raw, err := l.Interface.Get(ctx)
	if err != nil || held.HolderIdentity == "" || held.HolderIdentity == l.Identity() || held.HolderIdentity == l.other {
		return held, raw, err
	}
	if label, err := l.labelOf(ctx); err == nil {
		l.other = held.HolderIdentity
		if label != l.watches {
			l.log.Info("The Lease is held by an operator with other --watch-namespaces. "+
				"If no rollout is going on, two installations share this Lease, and this one waits: give each a namespace of its own, and let them watch different namespaces",
				"lease", l.Describe(), "holder", held.HolderIdentity)
		}
	}
	return held, raw, nil
}

// leaseEvents provides the recorder for the events of a lock.
type leaseEvents struct {
	recorder.Provider
	recorder record.EventRecorder
}

func (e leaseEvents) GetEventRecorderFor(string) record.EventRecorder { return e.recorder }

// Create implements resourcelock.Interface.
func (l *lease) Create(ctx context.Context, holder resourcelock.LeaderElectionRecord) error {
	return l.noted(holder, true, l.words.ofNoLease(), func() error { return l.Interface.Create(ctx, holder) })
}

// Update implements resourcelock.Interface.
func (l *lease) Update(ctx context.Context, holder resourcelock.LeaderElectionRecord) error {
	acquires := holder.LeaderTransitions != l.term
	return l.noted(holder, acquires, l.words.ofLastHolder(), func() error { return l.Interface.Update(ctx, holder) })
}

// noted writes the record of a holder. acquires says that this process does not lead yet if it is the holder.
func (l *lease) noted(holder resourcelock.LeaderElectionRecord, acquires bool, inherited inflight.Inherited, write func() error) error {
	sent := l.clock.Now()
	mine := holder.HolderIdentity == l.Identity()
	if !mine { // a release counts immediately, whether or not it succeeds
		l.set(time.Time{})
	}
	err := write()
	if err != nil || !mine {
		return err
	}
	if acquires {
		l.term = holder.LeaderTransitions
		l.writes.Lead(inherited)
		l.log.Info("This process leads", "inFlightWrites", inherited.String())
	}
	l.set(sent)
	return nil
}

func (l *lease) set(renewed time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed = renewed
}

// held reports whether no other replica can lead now. It compares by the wall clock as well as by
// the monotonic clock, which stops while the machine sleeps.
func (l *lease) held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	return !l.renewed.IsZero() && now.Sub(l.renewed) < l.duration && now.Round(0).Sub(l.renewed.Round(0)) < l.duration
}
