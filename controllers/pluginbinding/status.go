package pluginbinding

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/cachelag"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/programmed"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// maxTransientDelay is the longest delay after a failed request to a Kong whose probes succeed. When they
// fail too, no binding makes requests, and all are enqueued when Kong is back.
const maxTransientDelay = 15 * time.Second

// maxSummary bounds status.scope.summary, in bytes.
const maxSummary = 1200

// patchStatus is the only writer of a binding's status, and the end of every reconcile. It makes
// one patch if something differs, emits the events, and says when to reconcile again.
func (r *Reconciler) patchStatus(ctx context.Context, s *state, result *stepResult) (ctrl.Result, error) {
	released, patched := !s.binding.DeletionTimestamp.IsZero() && result == nil, true
	if !released {
		if failed := r.patchStatusIfChanged(ctx, s, result); failed != nil {
			result, patched = failed, false
		}
	}
	for _, e := range s.events {
		r.Events.Eventf(s.binding, nil, e.kind, e.reason, e.reason, "%s", message.Truncate(e.note, message.MaxEventNote))
	}
	if live := s.applied.programmed; live != nil {
		r.Programmed.Set(s.binding, programmed.State{
			Fingerprint: plugin.Fingerprint(*live),
			Secrets:     strings.Join(s.desired.secretVersions, ","),
			Route:       s.routeFacts(),
			RequestedAt: reference.RequestedAt(s.binding),
		})
		if patched { // otherwise the next reconcile looks at the plugin again, without a request to Kong
			s.access.connection.Snapshot.Evict(live.ID)
		}
	}
	return r.ctrlResult(s, result)
}

// ctrlResult says when to reconcile again.
func (r *Reconciler) ctrlResult(s *state, result *stepResult) (ctrl.Result, error) {
	key := client.ObjectKeyFromObject(s.binding)
	hinted := r.hints.pause(key, awaitsKong(result), r.Clock)
	switch {
	case result == nil:
		r.Backoff.Forget(key)
		// The resync enqueues the binding when its plugin changes in Kong.
		return ctrl.Result{RequeueAfter: hinted}, nil
	case result.err != nil:
		return ctrl.Result{}, result.err
	case result.transient && result.requeueWithBackoff:
		return ctrl.Result{RequeueAfter: min(max(r.Backoff.When(key), result.requeueAfter), max(maxTransientDelay, result.requeueAfter))}, nil
	case result.requeueWithBackoff:
		return ctrl.Result{RequeueAfter: max(r.Backoff.When(key), result.requeueAfter)}, nil
	default:
		r.Backoff.Forget(key)
		if hinted > 0 && (result.requeueAfter == 0 || hinted < result.requeueAfter) {
			return ctrl.Result{RequeueAfter: hinted}, nil
		}
		return ctrl.Result{RequeueAfter: result.requeueAfter}, nil
	}
}

// patchStatusIfChanged makes the one status patch of a reconcile. The result that it returns
// replaces the reconcile's own.
func (r *Reconciler) patchStatusIfChanged(ctx context.Context, s *state, result *stepResult) *stepResult {
	base := s.binding.DeepCopy()
	next := nextStatus(s, result, metav1.NewTime(r.Clock.Now()).Rfc3339Copy())
	if equality.Semantic.DeepEqual(base.Status, next) {
		r.wakeMembers(ctx, s, base)
		return r.lookAgainIfLagging(s, result, base)
	}
	emitted := s.events
	s.addProblemEvent(base.Status.Conditions, next.Conditions)
	s.addWarningEvents(base.Status.Conditions, next.Conditions)
	s.binding.Status = next
	if s.applied.recordID != "" {
		failed := r.recordPluginID(ctx, s, base)
		if failed == nil {
			r.wakeMembers(ctx, s, base)
		}
		return failed
	}
	if err := r.Client.Status().Patch(ctx, s.binding, optimistically(base)); err != nil {
		// What was done in Kong is done and has its events. The next reconcile writes the status.
		s.events = emitted
		return kubernetesError(err)
	}
	r.lag.Wrote(base, s.binding)
	r.wakeMembers(ctx, s, base)
	return nil
}

// lookAgainIfLagging returns a result if the cache lags behind the operator's own write. The API server then
// holds another status than the one that needs no patch, and its event enqueues nothing.
func (r *Reconciler) lookAgainIfLagging(s *state, result *stepResult, cached *v1alpha1.PluginBinding) *stepResult {
	if s.keepsStatus(result) || result != nil && result.err != nil || !r.lag.Lags(cached) {
		return nil
	}
	again := stepResult{}
	if result != nil {
		again = *result
	}
	again.requeueAfter, again.requeueWithBackoff = cachelag.Retry, false
	return &again
}

// addProblemEvent adds an event when Ready starts to report a problem, or another one.
func (s *state) addProblemEvent(before, after []metav1.Condition) {
	was, is := meta.FindStatusCondition(before, v1alpha1.ConditionReady), meta.FindStatusCondition(after, v1alpha1.ConditionReady)
	if is == nil || is.Status == metav1.ConditionTrue || is.Reason == v1alpha1.ReasonProgramming {
		return
	}
	if was != nil && was.Reason == is.Reason && was.Message == is.Message {
		return
	}
	kind := corev1.EventTypeWarning
	if slices.Contains([]string{v1alpha1.ReasonPaused, v1alpha1.ReasonWouldChange, v1alpha1.ReasonDeleting}, is.Reason) {
		kind = corev1.EventTypeNormal // somebody asked for it
	}
	s.events = append(s.events, pendingEvent{kind, is.Reason, is.Message})
}

// addWarningEvents adds an event when a condition begins to warn of a plugin that is in force.
func (s *state) addWarningEvents(before, after []metav1.Condition) {
	for _, condition := range []string{v1alpha1.ConditionIneffective, v1alpha1.ConditionContested} {
		was, is := meta.FindStatusCondition(before, condition), meta.FindStatusCondition(after, condition)
		if is != nil && (was == nil || was.Reason != is.Reason) {
			s.events = append(s.events, pendingEvent{corev1.EventTypeWarning, is.Reason, is.Message})
		}
	}
}

// nextStatus is the status after a reconcile. It is pure: it reads the state, the result and the
// time, and changes neither.
func nextStatus(s *state, result *stepResult, now metav1.Time) v1alpha1.PluginBindingStatus {
	next, a := *s.binding.Status.DeepCopy(), &s.applied
	if a.wrote {
		next.LastWriteTime = &now
	}
	if a.recordID == "" && s.keepsStatus(result) {
		return next
	}
	next.ObservedGeneration = s.binding.Generation
	setLocation(&next, s)
	if a.recordID != "" {
		next.PluginID, next.PluginIDSource = v1alpha1.UUID(a.recordID), a.source
	}
	if len(a.drifted) > 0 {
		next.LastDrift = &v1alpha1.DriftStatus{Time: now, Fields: a.drifted}
	}
	if result == nil || result.condition != v1alpha1.ConditionReady { // a paused binding keeps it
		next.Conflict = a.conflict
	}
	if a.programmed != nil {
		next.AcceptedDifferences = acceptedDifferences(s)
	}
	setConditions(&next, s, result)
	return next
}

// keepsStatus reports whether the result has nothing to say, or nothing that the status does not say.
func (s *state) keepsStatus(result *stepResult) bool {
	switch {
	case result == nil:
		return false
	case result.condition == "" || result.transient && s.saysAlready(result):
		return true
	default:
		return result.keepConditions && s.hasCurrentStatus() && !s.lostSinceStatus() && !s.overcame()
	}
}

// setLocation says where the plugin is. Without a response of Kong, what is known stays.
func setLocation(next *v1alpha1.PluginBindingStatus, s *state) {
	if gateway := s.access.gateway; gateway != nil {
		next.Gateway = &v1alpha1.BoundGateway{Name: gateway.Name, Namespace: gateway.Namespace, Workspace: string(gateway.Spec.Workspace)}
	}
	if next.Scope == nil {
		next.Scope = &v1alpha1.BoundScope{}
	}
	next.Scope.Summary = message.Truncate(reference.ScopeSummary(s.binding.Spec.Scope), maxSummary)
	if live := s.applied.programmed; live != nil {
		next.Scope.ServiceID = live.Scope.ServiceID
		next.Scope.RouteID = live.Scope.RouteID
		next.Scope.ConsumerID = live.Scope.ConsumerID
		next.Scope.ConsumerGroupID = live.Scope.ConsumerGroupID
	}
}

func acceptedDifferences(s *state) *v1alpha1.AcceptedDifferences {
	if len(s.applied.acceptedDifferences) == 0 {
		return nil
	}
	return &v1alpha1.AcceptedDifferences{
		Generation:     s.binding.Generation,
		UpdatedAt:      s.applied.programmed.UpdatedAt,
		SecretVersions: s.desired.secretVersions,
		Fields:         message.FieldNames(s.applied.acceptedDifferences),
	}
}

// hasCurrentStatus reports whether the status already says what became of the binding's current
// generation in Kong. An outage of Kong does not make that status wrong, and the KongGateway
// reports the outage, so a short one does not rewrite ten thousand bindings. A status that reports
// a problem on the Kubernetes side does not count: the problem may be fixed by now.
func (s *state) hasCurrentStatus() bool {
	conditions := s.binding.Status.Conditions
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status == metav1.ConditionUnknown || ready.ObservedGeneration != s.binding.Generation {
		return false
	}
	return meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionResolvedRefs) ||
		ready.Reason == v1alpha1.ReasonScopeNotFound || ready.Reason == v1alpha1.ReasonScopeAmbiguous
}

// saysAlready reports whether the status has the reason of the result for the current generation. A
// status that says that the operator waits for an earlier write says nothing of what happened then.
func (s *state) saysAlready(result *stepResult) bool {
	ready := meta.FindStatusCondition(s.binding.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Reason == result.reason && ready.ObservedGeneration == s.binding.Generation &&
		!strings.HasSuffix(ready.Message, earlierWrite)
}

// overcame reports whether this reconcile saw that the problem which the status reports is over,
// whatever else happened to it.
func (s *state) overcame() bool {
	ready := meta.FindStatusCondition(s.binding.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return false
	}
	operation, decided := s.action.Operation, s.action.Row != ""
	switch ready.Reason {
	case v1alpha1.ReasonSecretNotFound, v1alpha1.ReasonConfigMapNotFound, v1alpha1.ReasonScopeNotFound, v1alpha1.ReasonScopeAmbiguous:
		return s.desired.refsResolved
	case v1alpha1.ReasonPluginNotInstalled:
		return s.desired.schema != nil
	case v1alpha1.ReasonConflict, v1alpha1.ReasonPluginNotFound, v1alpha1.ReasonProgramming:
		return decided && operation != identity.Conflict && operation != identity.Wait
	case v1alpha1.ReasonRejected, v1alpha1.ReasonUnsupportedField:
		return s.writeFailed
	default:
		return false
	}
}

// lostSinceStatus reports whether this reconcile saw that Kong does not hold the recorded plugin
// as it is declared, while the status says that it does.
func (s *state) lostSinceStatus() bool {
	live := s.observed.facts.ByID
	return s.observed.facts.Recorded != "" && live.Ownership != identity.Unknown && !(live.Ownership.Found() && live.Equal) &&
		meta.IsStatusConditionTrue(s.binding.Status.Conditions, v1alpha1.ConditionProgrammed)
}

// wasProgrammed reports whether the current generation of the binding was programmed when the
// status was last written.
func (s *state) wasProgrammed() bool {
	status := &s.binding.Status
	return status.ObservedGeneration == s.binding.Generation && meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady)
}
