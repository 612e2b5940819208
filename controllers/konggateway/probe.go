package konggateway

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// probe is what this reconcile found out about the gateway.
type probe struct {
	// client is nil as long as the spec and its Secrets do not make a connection.
	client connection.AdminClient
	result probeResult
	// attempted: the gateway was probed, or could not be connected to.
	attempted bool
	// notConnectable: the spec or its Secrets do not make a connection.
	notConnectable bool
	// resyncDue: a resync is due with this probe.
	resyncDue bool
	// retryAfter is Kong's Retry-After, if it rate-limited the probe.
	retryAfter time.Duration
}

// probeResult is the state of a gateway as one condition. The zero probeResult is a gateway that
// can be used.
type probeResult struct {
	info adminapi.Info
	// condition that is not True, with its reason and message.
	condition string
	reason    string
	message   string
	// permanent: only another spec, or another Kong, helps.
	permanent bool
}

func (p probeResult) problem() *connection.Problem {
	if p.condition == "" {
		return nil
	}
	return &connection.Problem{Permanent: p.permanent, Message: p.message}
}

func (p probeResult) reasonOr(otherwise string) string {
	if p.reason == "" {
		return otherwise
	}
	return p.reason
}

// probeIfDue determines whether bindings can be programmed. Between probes the last result stays,
// so that bindings that come and go cost Kong nothing.
func (r *Reconciler) probeIfDue(ctx context.Context, s *state) error {
	created, problem, err := r.connect(ctx, s)
	if err != nil {
		return err
	}
	s.probe = probe{client: created, result: s.last.result}
	if problem != nil {
		// It takes effect at once, and counts once per probe interval.
		due := s.last.generation != s.gateway.Generation || !r.Clock.Now().Before(s.last.nextProbe)
		s.probe.result, s.probe.notConnectable, s.probe.attempted = *problem, true, due || *problem != s.last.result
		return nil
	}
	due, resyncDue := r.isProbeDue(s)
	s.probe.resyncDue = resyncDue
	if !due {
		return nil
	}
	info, err := created.Probe(ctx)
	if adminapi.ReasonForError(err) == adminapi.Throttled && s.last.client == created {
		s.probe.retryAfter = retryAfter(err)
		return nil
	}
	s.probe.attempted = true
	s.probe.result = probeResultFrom(info, err)
	return nil
}

// isProbeDue reports whether the gateway has to be probed now, and whether a resync is due with
// it. A probe that a binding requested after a failed call does not trigger a resync. A gateway
// that is down follows its own backoff, whatever its bindings report.
func (r *Reconciler) isProbeDue(s *state) (due, resyncDue bool) {
	last, now := &s.last, r.Clock.Now()
	isNew := last.client != s.probe.client || last.generation != s.gateway.Generation || last.notConnectable
	requested := r.Connections.TakeProbeRequest(s.key)
	down := last.result.problem() != nil
	resyncDue = isNew || last.health.reported.condition != "" || !now.Before(last.nextResync)
	due = isNew || !now.Before(last.nextProbe) || !down && (requested || resyncDue)
	return due, resyncDue
}

// probeResultFrom turns the outcome of a probe into a result.
func probeResultFrom(info adminapi.Info, err error) probeResult {
	switch {
	case err != nil:
		return probeResultFromError(info, err)
	case info.DBLess():
		return probeResult{
			info: info, permanent: true,
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonDBLess,
			message: "this Kong runs without a database and accepts no plugins over its Admin API; use a Kong with database=postgres, or manage this one with declarative configuration",
		}
	case !info.DatabaseReachable:
		return probeResult{
			info:      info,
			condition: v1alpha1.ConditionDatabaseReachable, reason: v1alpha1.ReasonDatabaseUnreachable,
			message: "Kong responds but does not reach its database; it serves traffic as before, and the operator changes nothing until the database is back",
		}
	case !info.AtLeast(3, 2):
		return probeResult{
			info: info, permanent: true,
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonUnsupportedVersion,
			message: fmt.Sprintf("Kong %s has no instance_name for plugins, by which the operator finds a plugin again; upgrade to 3.2 or later", info.Version),
		}
	}
	return probeResult{info: info}
}

// ProblemOfProbe is why the operator does not use a gateway that it accepts otherwise and whose Kong answers
// a probe like this, nil if it does.
func ProblemOfProbe(info adminapi.Info) *connection.Problem {
	return probeResultFrom(info, nil).problem()
}

// probeErrors say how an error of a probe appears in the status.
var probeErrors = map[adminapi.Reason]struct {
	condition, reason, remediation string
	permanent                      bool
}{
	adminapi.Unavailable: {v1alpha1.ConditionReachable, v1alpha1.ReasonUnreachable, "check spec.adminURL, the Service behind it and network policies", false},
	adminapi.TLS:         {v1alpha1.ConditionReachable, v1alpha1.ReasonTLSFailed, "check spec.adminURL and spec.tls", false},
	adminapi.NotKong:     {v1alpha1.ConditionReachable, v1alpha1.ReasonNotKong, "check spec.adminURL", false},
	adminapi.Denied:      {v1alpha1.ConditionReachable, v1alpha1.ReasonDenied, "check the token in spec.auth.tokenSecretRef and its rights", false},
	adminapi.Throttled:   {v1alpha1.ConditionReachable, v1alpha1.ReasonUnreachable, "it asks for fewer requests", false},
	adminapi.Unsupported: {v1alpha1.ConditionAccepted, v1alpha1.ReasonUnsupportedEdition, "remove spec.workspace", true},
	adminapi.NotFound:    {v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonWorkspaceNotFound, "create it, or correct spec.workspace", false},
	adminapi.Invalid:     {v1alpha1.ConditionAccepted, v1alpha1.ReasonInvalidConnection, "correct the spec", true},
}

func probeResultFromError(info adminapi.Info, err error) probeResult {
	row, ok := probeErrors[adminapi.ReasonForError(err)]
	if !ok {
		row = probeErrors[adminapi.Unavailable]
	}
	return probeResult{
		info: info, condition: row.condition, reason: row.reason, permanent: row.permanent,
		message: err.Error() + "; " + row.remediation,
	}
}

func retryAfter(err error) time.Duration {
	var kongErr *adminapi.Error
	if errors.As(err, &kongErr) && kongErr.RetryAfter > 0 {
		return kongErr.RetryAfter
	}
	return time.Second
}

// probeState is what stays from the last probe of a gateway.
type probeState struct {
	client     connection.AdminClient
	generation int64
	result     probeResult
	// health is what this probe and those before it show together.
	health health
	// consecutiveFailures counts the probes in a row that showed a gateway that cannot be used.
	consecutiveFailures int
	// deleting: the gateway was being deleted.
	deleting       bool
	notConnectable bool
	// failedResyncs counts the resyncs in a row that broke off; lastResyncError is why the last
	// one did.
	failedResyncs   int
	lastResyncError string
	// denied are the kinds of entities that the last resync was not allowed to read.
	denied []adminapi.EntityKind
	// resyncReports are when the status last showed another result of a resync.
	resyncReports changes
	// resyncAverage is the moving average of the durations of the resyncs.
	resyncAverage time.Duration
	nextProbe     time.Time
	nextResync    time.Time
	// orphanFirstSeen is when each orphan was first seen, by plugin ID.
	orphanFirstSeen map[string]time.Time
}

// next is when the gateway has to be reconciled again.
func (p probeState) next() time.Time {
	if p.result.problem() == nil && p.nextResync.Before(p.nextProbe) {
		return p.nextResync
	}
	return p.nextProbe
}

// minRequeueAfter keeps a gateway that is overdue from being reconciled without a pause.
const minRequeueAfter = 10 * time.Millisecond

// jitter spreads the probes of gateways that started together.
const jitter = 0.1

const (
	// resyncShare limits the resyncs to about a fiftieth of the gateway's time.
	resyncShare = 50
	// maxResyncIntervals is after how many intervals the next resync comes, however long they take:
	// drift has to be corrected some time.
	maxResyncIntervals = 5
	// resyncWeight is the weight of one resync in the average of their durations. So a single slow one
	// puts the next one off only a little.
	resyncWeight = 0.25
)

// averageResync is the moving average of the durations of the resyncs, after one more. After a start it
// goes on where the interval in the status left off. The first resync is slower than the rest, so it
// counts for at most as much as the earlier ones: a restart changes nothing.
func averageResync(average, took, inForce time.Duration) time.Duration {
	if average == 0 {
		average = inForce / resyncShare
		took = min(took, average)
	}
	return max(average+time.Duration(resyncWeight*float64(took-average)), 1)
}

// intervalInForce is the time between two resyncs as the status has it: the declared interval, or a few
// times as long.
func intervalInForce(gateway *v1alpha1.KongGateway) time.Duration {
	declared := reference.ResyncInterval(gateway)
	if shown := gateway.Status.ResyncInterval; shown != nil {
		return min(max(shown.Duration, declared), maxResyncIntervals*declared)
	}
	return declared
}

// resyncIntervalFor is the time between two resyncs that take that long on average: the declared
// interval, or a few times as long. It is a whole multiple, so that it seldom changes.
func resyncIntervalFor(declared, average time.Duration) time.Duration {
	intervals := math.Ceil(resyncShare * average.Seconds() / declared.Seconds())
	return time.Duration(min(max(intervals, 1), maxResyncIntervals) * float64(declared))
}

// keepProbe keeps what the next probe needs.
func (r *Reconciler) keepProbe(s *state) {
	if s.probe.attempted && !isReleased(s.gateway) {
		r.probes.set(s.key, r.nextProbeState(s, r.Clock.Now()))
	}
}

// requeueAfter returns when to reconcile the gateway again.
func (r *Reconciler) requeueAfter(s *state) time.Duration {
	switch {
	case isReleased(s.gateway):
		return 0
	case s.requeueAfter > 0:
		return s.requeueAfter
	case s.probe.retryAfter > 0:
		return s.probe.retryAfter
	default:
		return max(r.probes.get(s.key).next().Sub(r.Clock.Now()), minRequeueAfter)
	}
}

// isReleased reports whether the gateway is being deleted and has lost its finalizer.
func isReleased(gateway *v1alpha1.KongGateway) bool {
	return gateway.DeletionTimestamp != nil && !controllerutil.ContainsFinalizer(gateway, v1alpha1.GatewayFinalizer)
}

func (r *Reconciler) nextProbeState(s *state, now time.Time) probeState {
	next := probeState{
		client: s.probe.client, generation: s.gateway.Generation, result: s.probe.result, health: s.health,
		deleting: !s.gateway.DeletionTimestamp.IsZero(), notConnectable: s.probe.notConnectable,
		failedResyncs: s.last.failedResyncs, lastResyncError: s.last.lastResyncError, denied: s.last.denied, resyncReports: s.last.resyncReports,
		nextResync: s.last.nextResync, resyncAverage: s.last.resyncAverage, orphanFirstSeen: s.last.orphanFirstSeen,
	}
	if s.probe.client == nil && next.generation == s.last.generation {
		// A Secret was deleted. If the gateway is deleted too, its plugins are removed this way.
		next.client = s.last.client
	}
	interval := reference.ResyncInterval(s.gateway)
	if s.probe.result.problem() == nil {
		r.Backoff.Forget(s.key)
		next.nextProbe = now.Add(wait.Jitter(interval, jitter))
	} else {
		next.consecutiveFailures = s.consecutiveFailures()
		next.nextProbe = now.Add(wait.Jitter(r.Backoff.When(s.key), jitter))
	}
	if s.resync.attempted {
		next.failedResyncs, next.lastResyncError, next.denied = s.resync.failures, s.resync.lastError, s.resync.denied
		next.resyncAverage, next.resyncReports = s.resync.average, s.resync.reports
		next.nextResync = now.Add(wait.Jitter(resyncIntervalFor(interval, s.resync.average), jitter))
	}
	if s.resync.status != nil {
		next.orphanFirstSeen = r.orphansFirstSeen(s)
	}
	return next
}

// consecutiveFailures counts the probes in a row that showed a gateway that cannot be used. A
// deletion starts the count again.
func (s *state) consecutiveFailures() int {
	if !s.gateway.DeletionTimestamp.IsZero() && !s.last.deleting {
		return 1
	}
	return s.last.consecutiveFailures + 1
}

// perGateway holds one value for each gateway. The zero value is ready for use. It is safe for concurrent
// use.
type perGateway[T any] struct {
	mu     sync.Mutex
	values map[types.NamespacedName]T
}

func (p *perGateway[T]) get(key types.NamespacedName) T {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.values[key]
}

func (p *perGateway[T]) set(key types.NamespacedName, to T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.values == nil {
		p.values = map[types.NamespacedName]T{}
	}
	p.values[key] = to
}

func (p *perGateway[T]) forget(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.values, key)
}
