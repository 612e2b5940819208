package konggateway

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/kstatus"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// patchStatus is the only writer of a gateway's status.
func (r *Reconciler) patchStatus(ctx context.Context, s *state) error {
	base := s.gateway.DeepCopy()
	s.gateway.Status = nextStatus(s)
	if equality.Semantic.DeepEqual(base.Status, s.gateway.Status) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, s.gateway, optimistically(base)); err != nil {
		return err
	}
	r.emitEvents(s, base)
	return nil
}

// emitEvents emits an event for a gateway that became ready or stopped being so, for resyncs that
// break off, and for orphans.
func (r *Reconciler) emitEvents(s *state, base *v1alpha1.KongGateway) {
	eventf := func(kind, reason, action, note string) {
		r.Events.Eventf(s.gateway, nil, kind, reason, action, "%s", message.Truncate(note, message.MaxEventNote))
	}
	was, is := ready(base), ready(s.gateway)
	if is != nil && (was == nil || was.Status != is.Status || was.Reason != is.Reason) {
		kind := corev1.EventTypeNormal
		if is.Status != metav1.ConditionTrue {
			kind = corev1.EventTypeWarning
		}
		eventf(kind, is.Reason, "Probe", is.Message)
	}
	if unstable := meta.FindStatusCondition(s.gateway.Status.Conditions, v1alpha1.ConditionUnstable); unstable != nil &&
		meta.FindStatusCondition(base.Status.Conditions, v1alpha1.ConditionUnstable) == nil {
		eventf(corev1.EventTypeWarning, v1alpha1.ConditionUnstable, "Probe", unstable.Message)
	}
	if failure := s.resync.failureMessage(); failure != "" && s.lastResync().failureMessage() == "" {
		eventf(corev1.EventTypeWarning, "SweepFailed", "Resync", failure)
	}
	if last, now := base.Status.LastResync, s.resync.status; now != nil && now.Orphaned > 0 && (last == nil || last.Orphaned != now.Orphaned) {
		eventf(corev1.EventTypeWarning, "OrphanedPlugins", "Resync", s.resync.orphansMessage())
	}
}

// nextStatus is the status after a reconcile. It is pure: it reads the state and does not change
// it.
func nextStatus(s *state) v1alpha1.KongGatewayStatus {
	next, info := *s.gateway.Status.DeepCopy(), s.health.info
	next.ObservedGeneration = s.gateway.Generation
	isNew := next.Version != info.Version || next.Edition != info.Edition || next.Database != info.Database
	if info.Version != "" {
		next.Version = info.Version
	}
	if info.Database != "" {
		next.Edition, next.Database = info.Edition, info.Database
		// Several nodes may be behind one address, and another one responds each time.
		if isNew || next.NodeID == "" {
			next.NodeID = info.NodeID
		}
	}
	next.KongIDs = kongIDs(s.gateway, s.probe.result.info)
	next.Bindings = s.countBindings()
	if s.resync.isReported {
		next.LastResync = s.resync.status
	}
	next.ResyncInterval = &metav1.Duration{Duration: resyncIntervalFor(reference.ResyncInterval(s.gateway), s.resync.average)}
	conditions := []metav1.Condition{}
	for _, row := range progress {
		conditions = append(conditions, s.conditionOf(row.condition, row.reason, row.message))
	}
	for _, condition := range append(conditions, s.readyCondition()) {
		condition.ObservedGeneration = s.gateway.Generation
		condition.Message = message.Condition(condition.Message)
		meta.SetStatusCondition(&next.Conditions, condition)
	}
	setUnstable(&next, s)
	kstatus.Set(&next.Conditions)
	return next
}

// setUnstable sets the condition while some probes fail and others do not, and removes it otherwise.
func setUnstable(next *v1alpha1.KongGatewayStatus, s *state) {
	if !s.unstable {
		meta.RemoveStatusCondition(&next.Conditions, v1alpha1.ConditionUnstable)
		return
	}
	condition := newCondition(v1alpha1.ConditionUnstable, metav1.ConditionTrue, v1alpha1.ReasonSomeProbesFail,
		"some probes of the Admin API fail and others do not; one of several servers behind spec.adminURL may be down. The operator goes on with those that answer; check the Service or the load balancer and its health checks")
	condition.ObservedGeneration = s.gateway.Generation
	meta.SetStatusCondition(&next.Conditions, condition)
}

// hasSameResult reports whether a resync found what the one before it found. Its time alone is not
// worth a write.
func hasSameResult(a, b *v1alpha1.ResyncStatus) bool {
	return a != nil && a.Plugins == b.Plugins && a.Changed == b.Changed && a.Orphaned == b.Orphaned
}

// progress is the order in which a gateway's conditions become True.
var progress = []struct{ condition, reason, message string }{
	{v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonResolvedRefs, "every Secret was found"},
	{v1alpha1.ConditionReachable, v1alpha1.ReasonReachable, "the Admin API answers"},
	{v1alpha1.ConditionDatabaseReachable, v1alpha1.ReasonReachable, "Kong reaches its database"},
	{v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "this Kong can hold the plugins of bindings"},
}

// conditionOf is one condition. Those after the failed one are unknown, except that a problem with
// Accepted says that Kong was reached.
func (s *state) conditionOf(condition, reason, text string) metav1.Condition {
	p := s.reported()
	switch {
	case p.condition == condition:
		return newCondition(condition, metav1.ConditionFalse, p.reason, p.message)
	case p.condition == v1alpha1.ConditionDatabaseReachable && s.isStillKnown(condition):
		return *meta.FindStatusCondition(s.gateway.Status.Conditions, condition)
	case p.condition != "" && !comesBefore(condition, p.condition):
		return waitingFor(condition, p.condition)
	case condition == v1alpha1.ConditionDatabaseReachable && p.info.DBLess():
		return newCondition(condition, metav1.ConditionFalse, v1alpha1.ReasonDBLess, "this Kong has no database")
	case condition != v1alpha1.ConditionResolvedRefs && p.condition != "" && p.info.Version == "":
		return waitingFor(condition, p.condition)
	default:
		return newCondition(condition, metav1.ConditionTrue, reason, text)
	}
}

// isStillKnown reports whether an earlier reconcile determined a condition for this generation, which a
// database that is away does not change.
func (s *state) isStillKnown(condition string) bool {
	known := meta.FindStatusCondition(s.gateway.Status.Conditions, condition)
	return condition == v1alpha1.ConditionAccepted && known != nil &&
		known.Status != metav1.ConditionUnknown && known.ObservedGeneration == s.gateway.Generation
}

func newCondition(condition string, status metav1.ConditionStatus, reason, text string) metav1.Condition {
	return metav1.Condition{Type: condition, Status: status, Reason: reason, Message: text}
}

func waitingFor(condition, other string) metav1.Condition {
	return newCondition(condition, metav1.ConditionUnknown, v1alpha1.ReasonPending, "waiting for "+other)
}

// comesBefore reports whether a condition becomes True before the other one.
func comesBefore(condition, other string) bool {
	index := func(name string) int {
		return slices.IndexFunc(progress, func(row struct{ condition, reason, message string }) bool { return row.condition == name })
	}
	return index(condition) < index(other)
}

// readyCondition is the summary of the other conditions.
func (s *state) readyCondition() metav1.Condition {
	p, needed := s.reported(), s.countHolders(s.bindings)
	switch {
	case !s.gateway.DeletionTimestamp.IsZero() && needed > 0:
		return newCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInUse,
			fmt.Sprintf("the gateway is being deleted, and stays until the PluginBindings that refer to it are gone; delete them first (%d remain)", needed))
	case p.condition != "":
		return newCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, p.reason, message.Summary(p.message, p.condition))
	}
	text := "bindings can be programmed on Kong " + s.health.info.Version
	if failure := s.resync.failureMessage(); failure != "" {
		text += ". " + failure
	}
	return newCondition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady, text)
}

// countBindings counts the bindings that the gateway does not refuse.
func (s *state) countBindings() *v1alpha1.BindingCounts {
	counts := &v1alpha1.BindingCounts{}
	for i := range s.bindings {
		if s.isRefused(&s.bindings[i]) {
			continue
		}
		counts.Total++
		if meta.IsStatusConditionTrue(s.bindings[i].Status.Conditions, v1alpha1.ConditionReady) {
			counts.Ready++
		}
	}
	return counts
}

func ready(gateway *v1alpha1.KongGateway) *metav1.Condition {
	return meta.FindStatusCondition(gateway.Status.Conditions, v1alpha1.ConditionReady)
}
