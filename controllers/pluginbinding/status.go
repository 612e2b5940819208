package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// recordTimeout bounds the recording of an ID, which goes on when the process is told to
// stop: it has to fit into the pod's grace period.
const recordTimeout = 10 * time.Second

// attemptTimeout bounds one attempt of it, so that one request that is never answered leaves
// time for another.
const attemptTimeout = 3 * time.Second

// longestNote is how many bytes an event's note may have (the API server's bound).
const longestNote = 1024

// record is the only writer of a binding's status, and the end of every pass. It writes
// when something differs, and says what happened.
func (r *PluginBindingReconciler) record(ctx context.Context, p *pass, s *stop) (ctrl.Result, error) {
	released := !p.binding.DeletionTimestamp.IsZero() && s == nil
	if !released {
		if recorded := r.writeStatus(ctx, p, s); recorded != nil {
			s = recorded
		}
	}
	for _, h := range p.happened {
		r.Events.Eventf(p.binding, nil, h.kind, h.reason, h.reason, "%s", truncate(h.note, longestNote))
	}
	if p.inForce != nil {
		r.Ledger.InForce(p.binding, plugin.Fingerprint(*p.inForce), strings.Join(p.secretVersions, ","), p.requested())
		p.connection.View.release(p.inForce.ID)
	}
	return r.next(p, s)
}

// next says when to look again.
func (r *PluginBindingReconciler) next(p *pass, s *stop) (ctrl.Result, error) {
	key := client.ObjectKeyFromObject(p.binding)
	switch {
	case s == nil:
		r.backoff.Forget(key)
		// The sweep tells when something changes in Kong.
		return ctrl.Result{}, nil
	case s.err != nil:
		return ctrl.Result{}, s.err
	case s.again:
		return ctrl.Result{RequeueAfter: max(r.backoff.When(key), s.after)}, nil
	default:
		r.backoff.Forget(key)
		return ctrl.Result{RequeueAfter: s.after}, nil
	}
}

// writeStatus makes the one status patch of a pass, if anything differs. The stop it
// returns replaces the pass's own.
func (r *PluginBindingReconciler) writeStatus(ctx context.Context, p *pass, s *stop) *stop {
	base := p.binding.DeepCopy()
	next := r.nextStatus(p, s)
	if equality.Semantic.DeepEqual(base.Status, next) {
		return nil
	}
	done := p.happened
	p.noteTrouble(base.Status.Conditions, next.Conditions)
	p.binding.Status = next
	if p.recordID != "" {
		return r.recordPluginID(ctx, p, base)
	}
	patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, p.binding, patch); err != nil {
		// What was done in Kong is done, and told; the next pass writes the status.
		p.happened = done
		return kubernetesStop(err)
	}
	return nil
}

// recordPluginID records an ID that Kong assigned. It outlives a shutdown, it is retried,
// and it never goes over a different ID. When it fails for good, the plugin's marks tell
// the next pass.
func (r *PluginBindingReconciler) recordPluginID(ctx context.Context, p *pass, base *v1alpha1.PluginBinding) *stop {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()

	next := p.binding.Status.DeepCopy()
	err := retry.OnError(recordBackoff, worthRetrying, func() error {
		ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		target := base.DeepCopy()
		next.DeepCopyInto(&target.Status)
		err := r.Client.Status().Patch(ctx, target, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
		if err == nil {
			p.binding = target
			if p.source == v1alpha1.PluginIDRecovered {
				r.Metrics.recovered(p.gateway)
			}
			return nil
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		live := &v1alpha1.PluginBinding{}
		if err := r.Live.Get(ctx, client.ObjectKeyFromObject(base), live); err != nil {
			return err
		}
		if live.UID != base.UID {
			return apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("pluginbindings").GroupResource(), base.Name)
		}
		if string(live.Status.PluginID) == p.recordID {
			// Recorded by an earlier pass that the cache does not show yet.
			p.binding, p.happened = live, nil
			return nil
		}
		if live.Status.PluginID != "" {
			return apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("PluginBinding").GroupKind(), base.Name, nil)
		}
		base = live
		return err
	})
	return r.recordFailed(ctx, p, err)
}

// recordBackoff retries within recordTimeout.
var recordBackoff = wait.Backoff{Steps: 8, Duration: 20 * time.Millisecond, Factor: 2.5, Jitter: 0.1, Cap: 3 * time.Second}

func worthRetrying(err error) bool {
	return !apierrors.IsNotFound(err) && !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err)
}

// recordFailed says what becomes of an ID that could not be recorded.
func (r *PluginBindingReconciler) recordFailed(ctx context.Context, p *pass, err error) *stop {
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return r.unmake(ctx, p)
	case apierrors.IsInvalid(err):
		r.Metrics.refusedChange(p.gateway)
		log.FromContext(ctx).Error(err, "the API server refused to record a plugin ID over a different one", "plugin", p.recordID)
		p.happened = []happening{{corev1.EventTypeWarning, v1alpha1.ReasonIDNotRecorded,
			fmt.Sprintf("plugin %s could not be recorded: another ID is recorded already", p.recordID)}}
		return lookAgain()
	default:
		p.happened = nil
		return kubernetesStop(err)
	}
}

// unmake removes a plugin that was created for a binding which is gone by now, its
// finalizer taken away by force. A binding of the same name that was made since will find
// the plugin by its marks and keep it, so then it stays.
func (r *PluginBindingReconciler) unmake(ctx context.Context, p *pass) *stop {
	p.happened = nil
	if p.source != v1alpha1.PluginIDCreated {
		return &stop{}
	}
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(p.binding), &v1alpha1.PluginBinding{})
	if !apierrors.IsNotFound(err) {
		return lookAgain()
	}
	if err := p.connection.Kong.Delete(ctx, p.recordID); err != nil {
		log.FromContext(ctx).Error(err, "the binding is gone and the plugin made for it could not be removed; the sweep will report it", "plugin", p.recordID)
		return &stop{}
	}
	r.Metrics.wrote(p.gateway, "delete")
	log.FromContext(ctx).Info("the binding is gone; removed the plugin that was just made for it", "plugin", p.recordID)
	return &stop{}
}

// noteTrouble adds an event when the summary begins to tell of a trouble, or of another.
func (p *pass) noteTrouble(before, after []metav1.Condition) {
	was, is := meta.FindStatusCondition(before, v1alpha1.ConditionReady), meta.FindStatusCondition(after, v1alpha1.ConditionReady)
	if is == nil || is.Status == metav1.ConditionTrue || is.Reason == v1alpha1.ReasonProgramming {
		return
	}
	if was != nil && was.Reason == is.Reason && was.Message == is.Message {
		return
	}
	kind := corev1.EventTypeWarning
	if slices.Contains([]string{v1alpha1.ReasonPaused, v1alpha1.ReasonWouldChange, v1alpha1.ReasonDeleting}, is.Reason) {
		kind = corev1.EventTypeNormal
	}
	p.happened = append(p.happened, happening{kind, is.Reason, is.Message})
}

// nextStatus is the status after this pass. It reads nothing but the pass and the clock.
func (r *PluginBindingReconciler) nextStatus(p *pass, s *stop) v1alpha1.PluginBindingStatus {
	next := *p.binding.Status.DeepCopy()
	if s != nil && (s.condition == "" || s.transient && p.judged() && !p.departed()) && p.recordID == "" {
		if p.wrote {
			next.LastWriteTime = r.now()
		}
		return next
	}
	next.ObservedGeneration = p.binding.Generation
	r.describePlace(p, &next)
	if p.recordID != "" {
		next.PluginID, next.PluginIDSource = v1alpha1.UUID(p.recordID), p.source
	}
	if p.wrote {
		next.LastWriteTime = r.now()
	}
	if len(p.drifted) > 0 {
		next.LastDrift = &v1alpha1.DriftStatus{Time: *r.now(), Fields: p.drifted}
	}
	if s == nil || s.condition != v1alpha1.ConditionReady { // a pause tells nothing of it
		next.Conflict = p.conflict
	}
	if p.inForce != nil {
		next.AcceptedDifferences = p.settledStatus()
	}
	setConditions(&next, p, s)
	return next
}

// describePlace says where the plugin is. Without an answer from Kong what is known stays.
func (r *PluginBindingReconciler) describePlace(p *pass, next *v1alpha1.PluginBindingStatus) {
	if p.kgw != nil {
		next.Gateway = &v1alpha1.BoundGateway{Name: p.kgw.Name, Namespace: p.kgw.Namespace, Workspace: string(p.kgw.Spec.Workspace)}
	}
	if next.Scope == nil {
		next.Scope = &v1alpha1.BoundScope{}
	}
	next.Scope.Summary = truncate(scopeSummary(p.binding.Spec.Scope), 1200)
	if p.inForce != nil {
		next.Scope.ServiceID = p.inForce.Scope.ServiceID
		next.Scope.RouteID = p.inForce.Scope.RouteID
		next.Scope.ConsumerID = p.inForce.Scope.ConsumerID
		next.Scope.ConsumerGroupID = p.inForce.Scope.ConsumerGroupID
	}
}

func (p *pass) settledStatus() *v1alpha1.AcceptedDifferences {
	if len(p.unsettled) == 0 {
		return nil
	}
	return &v1alpha1.AcceptedDifferences{
		Generation:     p.binding.Generation,
		UpdatedAt:      p.inForce.UpdatedAt,
		SecretVersions: p.secretVersions,
		Fields:         bounded(p.unsettled),
	}
}

// judged reports whether the status already tells what became of the binding in Kong as it
// is declared now. An outage does not make that untrue, and is told by the gateway: ten
// thousand bindings need not be written because their gateway was away for a moment. What
// was wrong on the side of Kubernetes is another matter: it may be right by now.
func (p *pass) judged() bool {
	ready := meta.FindStatusCondition(p.binding.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status == metav1.ConditionUnknown || ready.ObservedGeneration != p.binding.Generation {
		return false
	}
	return isTrue(p.binding.Status.Conditions, v1alpha1.ConditionResolvedRefs) ||
		ready.Reason == v1alpha1.ReasonScopeNotFound || ready.Reason == v1alpha1.ReasonScopeAmbiguous
}

// departed reports whether this pass saw that Kong does not hold the recorded plugin as it
// is declared, while the status says that it does.
func (p *pass) departed() bool {
	is := p.facts.ByID
	return p.facts.Recorded != "" && is.Ownership != identity.Unknown && !(is.Ownership.Found() && is.Equal) &&
		isTrue(p.binding.Status.Conditions, v1alpha1.ConditionProgrammed)
}

// wasInForce reports whether the binding, as it is declared now, was in force when the
// status was last written.
func (p *pass) wasInForce() bool {
	status := &p.binding.Status
	return status.ObservedGeneration == p.binding.Generation && isTrue(status.Conditions, v1alpha1.ConditionReady)
}

// progress is the order in which the conditions become True.
var progress = []struct{ condition, reason, message string }{
	{v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "the gateway allows this binding"},
	{v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonResolvedRefs, "every Secret and every part of the scope was found"},
	{v1alpha1.ConditionProgrammed, v1alpha1.ReasonProgrammed, ""},
}

// setConditions derives every condition from the outcome of the pass, in one place.
func setConditions(next *v1alpha1.PluginBindingStatus, p *pass, s *stop) {
	set := func(condition string, status metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(&next.Conditions, metav1.Condition{
			Type: condition, Status: status, Reason: reason,
			Message:            truncate(message, 32000),
			ObservedGeneration: p.binding.Generation,
		})
	}
	if s != nil && s.condition == v1alpha1.ConditionReady {
		set(v1alpha1.ConditionReady, s.status(), s.reason, s.message)
		return
	}
	failed := false
	for _, row := range progress {
		switch {
		case failed:
			set(row.condition, metav1.ConditionUnknown, v1alpha1.ReasonPending, "waiting for "+s.condition)
		case s != nil && s.condition == row.condition:
			failed = true
			set(row.condition, s.status(), s.reason, s.message)
		case row.condition == v1alpha1.ConditionProgrammed:
			set(row.condition, metav1.ConditionTrue, v1alpha1.ReasonProgrammed, programmedMessage(p))
		case row.condition == v1alpha1.ConditionResolvedRefs && !p.resolved:
			// Nothing was looked up. For a binding that is being deleted that does not matter.
			if p.binding.DeletionTimestamp.IsZero() {
				set(row.condition, metav1.ConditionUnknown, v1alpha1.ReasonPending, "waiting for the gateway")
			}
		default:
			set(row.condition, metav1.ConditionTrue, row.reason, row.message)
		}
	}
	status, reason, message := summary(next, p, s)
	set(v1alpha1.ConditionReady, status, reason, message)
}

// summary is the condition Ready of a pass that was not paused.
func summary(next *v1alpha1.PluginBindingStatus, p *pass, s *stop) (status metav1.ConditionStatus, reason, message string) {
	switch {
	case s == nil && p.observes():
		return metav1.ConditionTrue, v1alpha1.ReasonObserved, programmedMessage(p)
	case s == nil:
		return metav1.ConditionTrue, v1alpha1.ReasonReady, programmedMessage(p)
	}
	message = s.message
	if id := next.PluginID; id != "" && s.condition != v1alpha1.ConditionProgrammed && s.reason != v1alpha1.ReasonScopeNotFound {
		message += "; plugin " + string(id) + " stays in Kong as it last was"
	}
	return s.status(), s.reason, message
}

func (s *stop) status() metav1.ConditionStatus {
	if s.unknown {
		return metav1.ConditionUnknown
	}
	return metav1.ConditionFalse
}

func programmedMessage(p *pass) string {
	if p.inForce == nil {
		return ""
	}
	message := "Kong holds plugin " + p.inForce.ID + " as declared"
	if len(p.unsettled) > 0 {
		message += "; Kong keeps these fields in its own way: " + strings.Join(bounded(p.unsettled), ", ")
	}
	return message
}

func (r *PluginBindingReconciler) now() *metav1.Time {
	now := metav1.NewTime(r.Clock.Now()).Rfc3339Copy()
	return &now
}

func isTrue(conditions []metav1.Condition, condition string) bool {
	return meta.IsStatusConditionTrue(conditions, condition)
}

// bounded keeps a list of field names within what the API takes.
func bounded(fields []string) []string {
	const most, longest = 32, 256
	kept := make([]string, 0, min(len(fields), most))
	for _, field := range fields {
		if len(kept) == most {
			break
		}
		kept = append(kept, truncate(field, longest))
	}
	return kept
}

// truncate cuts a text at a number of bytes, between characters.
func truncate(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("...")], "") + "..."
}
