package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/kong"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/controllers/konggateway"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

const (
	// minRounds and roundsPerObject bound how often all objects are reconciled. In a chain of bindings that
	// wait for each other's places, one moves in each round.
	minRounds       = 40
	roundsPerObject = 4
	// maxWaited bounds how far the simulation looks ahead. What the operator waits for without an
	// event takes at most a minute: it asks twice whether an owner is gone.
	maxWaited = 2 * time.Minute
	// leads is how long the simulated operator has led: it has no write in flight.
	leads = time.Hour
)

// offsetClock is the real time and what the simulation has waited.
type offsetClock struct {
	mu     sync.Mutex
	offset time.Duration
}

// Now implements clock.PassiveClock.
func (c *offsetClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

// Since implements clock.PassiveClock.
func (c *offsetClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func (c *offsetClock) wait(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// task is one object that the operator reconciles.
type task struct {
	objectKey
	// ran is the state of the simulation that the last reconcile saw; due is when the next one comes
	// if nothing changes, zero if none does.
	ran int
	due time.Time
	err error
}

// simulation is an operator that works on drafts of the cluster and of each Kong, until it has nothing
// more to do. It runs the operator's own reconcilers.
type simulation struct {
	cluster     *draftCluster
	clock       *offsetClock
	reconcilers *controllers.Reconcilers
	events      *recorder
	kongs       map[types.NamespacedName]*draftKong
	// problems are why the operator does not use a gateway that answers, nil if it does.
	problems map[types.NamespacedName]*connection.Problem
	// unusable are the gateways without a connection from here, with the reason.
	unusable map[types.NamespacedName]error

	mu    sync.Mutex
	tasks map[objectKey]*task
	// state counts the changes.
	state int
	stop  chan struct{}
	// reconcile reconciles one object; a test replaces it.
	reconcile func(ctx context.Context, t *task)
}

func newSimulation(ctx context.Context, live client.Client, clusterID string) (*simulation, error) {
	s := &simulation{
		clock: &offsetClock{}, events: &recorder{notes: map[types.NamespacedName][]note{}},
		kongs: map[types.NamespacedName]*draftKong{}, problems: map[types.NamespacedName]*connection.Problem{},
		unusable: map[types.NamespacedName]error{}, tasks: map[objectKey]*task{}, stop: make(chan struct{}),
	}
	s.reconcile = s.runReconciler
	s.cluster = newDraftCluster(live, s.clock)
	s.cluster.changed = s.objectChanged
	if err := controllers.AddIndexes(ctx, s.cluster); err != nil {
		return nil, err
	}
	s.reconcilers = controllers.New(controllers.Options{
		ClusterID: clusterID, Registry: prometheus.NewRegistry(), Clock: s.clock, LeadingSince: s.clock.Now().Add(-leads),
		Client: s.cluster, APIReader: s.cluster,
	}, controllers.Recorders{Gateways: s.events, Bindings: s.events, Policies: s.events})
	objects := ingressObjects{live, live.RESTMapper()}
	s.reconcilers.Bindings.Ingress = objects
	s.reconcilers.Policies.Objects = targetObjects{objects}
	go s.listen()
	return s, nil
}

func (s *simulation) close() { close(s.stop) }

// listen takes what the reconcilers ask of each other: another binding that may act now, and what
// concerns the reconciler of gateways, which a plan does not run.
func (s *simulation) listen() {
	connections := s.reconcilers.Connections
	for {
		select {
		case key := <-connections.Waiting():
			s.add(objectKey{kindBinding, key})
		case key := <-connections.Bindings():
			s.add(objectKey{kindBinding, key})
		case key := <-connections.Policies():
			s.add(objectKey{kindPolicy, key})
		case <-connections.PoliciesOf():
		case <-connections.ChangedGateways():
		case <-connections.Probes():
		case <-s.stop:
			return
		}
	}
}

// add makes an object one that the operator reconciles.
func (s *simulation) add(key objectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tasks[key] == nil {
		s.tasks[key] = &task{objectKey: key, ran: -1}
	}
}

func (s *simulation) objectChanged(kind string, key types.NamespacedName) {
	if kind == kindBinding || kind == kindPolicy {
		s.add(objectKey{kind, key})
	}
	s.somethingChanged()
}

func (s *simulation) somethingChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state++
}

// connect makes a gateway usable for the simulated operator. given: the operator has yet to see it like
// this.
func (s *simulation) connect(ctx context.Context, gateway *v1alpha1.KongGateway, c *kong.Connection, given bool) error {
	key := client.ObjectKeyFromObject(gateway)
	problem, err := s.problemOf(ctx, gateway, c, given)
	if err != nil {
		return fmt.Errorf("KongGateway %s: %w", key, err)
	}
	draft := newDraftKong(c.Client, s.somethingChanged)
	s.kongs[key], s.problems[key] = draft, problem
	s.reconcilers.Connections.Set(key, connection.Connection{
		Client: draft, Info: c.Info, Problem: problem, RequestTimeout: reference.RequestTimeout(gateway),
	})
	return nil
}

// problemOf is why the operator does not use a gateway that answers: what it says of it, or what it is
// going to say.
func (s *simulation) problemOf(ctx context.Context, gateway *v1alpha1.KongGateway, c *kong.Connection, given bool) (*connection.Problem, error) {
	accepted := meta.FindStatusCondition(gateway.Status.Conditions, v1alpha1.ConditionAccepted)
	if accepted != nil && accepted.Status == metav1.ConditionFalse && accepted.ObservedGeneration == gateway.Generation {
		return &connection.Problem{Permanent: true, Message: accepted.Message}, nil
	}
	if !given {
		return konggateway.ProblemOfProbe(c.Info), nil
	}
	problem, err := s.reconcilers.Gateways.ProblemOf(ctx, gateway, c.Info)
	if apierrors.IsForbidden(err) {
		s.cluster.notef("you may not read what decides whether an older KongGateway of the same Kong allows KongGateway %s/%s; the operator will say",
			gateway.Namespace, gateway.Name)
		return konggateway.ProblemOfProbe(c.Info), nil
	}
	return problem, err
}

// run reconciles until nothing changes any more. step is called after each reconcile. A change lets at
// least one object come closer to what it declares, so that what takes many more rounds than there are
// objects does not end.
func (s *simulation) run(ctx context.Context, step func()) error {
	var waited time.Duration
	for round := 0; ; round++ {
		if round >= minRounds+roundsPerObject*s.count() { // policies make objects meanwhile
			break
		}
		ran := false
		for _, t := range s.sorted() {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if s.isDue(t) {
				s.begin(t)
				s.reconcile(ctx, t)
				step()
				ran = true
			}
		}
		if ran {
			continue
		}
		pause := s.untilDue()
		if pause <= 0 || waited+pause > maxWaited {
			return nil
		}
		waited += pause
		s.clock.wait(pause)
	}
	s.giveUp()
	return nil
}

func (s *simulation) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tasks)
}

// giveUp says of the objects that would go on changing that their plan is not known.
func (s *simulation) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if t.ran < s.state && t.err == nil {
			t.err = errors.New("the plan comes to no end: the operator would go on changing something")
		}
	}
}

// sorted are the tasks, policies first: they make the bindings.
func (s *simulation) sorted() []*task {
	s.mu.Lock()
	defer s.mu.Unlock()
	tasks := make([]*task, 0, len(s.tasks))
	for _, t := range s.tasks {
		tasks = append(tasks, t)
	}
	slices.SortFunc(tasks, func(a, b *task) int {
		if a.kind != b.kind {
			return -strings.Compare(a.kind, b.kind)
		}
		return strings.Compare(a.String(), b.String())
	})
	return tasks
}

func (s *simulation) isDue(t *task) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.ran < s.state || !t.due.IsZero() && !t.due.After(s.clock.Now())
}

// untilDue is how long to wait for the next reconcile; 0 if there is none.
func (s *simulation) untilDue() (pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if t.due.IsZero() {
			continue
		}
		if left := t.due.Sub(s.clock.Now()); pause == 0 || left < pause {
			pause = max(left, time.Millisecond)
		}
	}
	return pause
}

func (s *simulation) begin(t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.ran = s.state
}

func (s *simulation) runReconciler(ctx context.Context, t *task) {
	request := ctrl.Request{NamespacedName: t.NamespacedName}
	var result ctrl.Result
	if t.kind == kindPolicy {
		result, t.err = s.reconcilers.Policies.Reconcile(ctx, request)
	} else {
		result, t.err = s.reconcilers.Bindings.Reconcile(ctx, request)
	}
	t.due = time.Time{}
	if result.RequeueAfter > 0 {
		t.due = s.clock.Now().Add(result.RequeueAfter)
	}
}

// note is an event of a binding.
type note struct{ reason, text string }

// recorder keeps the events instead of sending them.
type recorder struct {
	mu    sync.Mutex
	notes map[types.NamespacedName][]note
}

var _ events.EventRecorder = &recorder{}

// Eventf implements events.EventRecorder.
func (r *recorder) Eventf(regarding, _ runtime.Object, _, reason, _, format string, args ...any) {
	object, ok := regarding.(client.Object)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := client.ObjectKeyFromObject(object)
	r.notes[key] = append(r.notes[key], note{reason, fmt.Sprintf(format, args...)})
}

func (r *recorder) of(key types.NamespacedName) []note {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.notes[key])
}
