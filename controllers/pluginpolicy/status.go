package pluginpolicy

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/cachelag"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
)

// patchStatus is the only writer of a policy's status, and the end of every reconcile. It makes one
// patch if something differs, and says when to reconcile again.
func (r *Reconciler) patchStatus(ctx context.Context, s *state) (ctrl.Result, error) {
	if !s.keepStatus {
		base := s.policy.DeepCopy()
		next := policy.Status(policy.Outcome{
			Policy: s.policy, Targets: s.targets, Children: s.children, Existing: s.existing,
			Blocked: s.blocked, Retained: s.retained, Problem: s.problem,
		})
		switch {
		case !equality.Semantic.DeepEqual(base.Status, next):
			s.policy.Status = next
			if err := r.Client.Status().Patch(ctx, s.policy, optimistically(base)); err != nil {
				return r.failed(s, err)
			}
			r.lag.Wrote(base, s.policy)
			r.emitChange(s, base.Status.Conditions, next.Conditions)
		case r.lag.Lags(base): // the API server holds another status, and its event enqueues nothing
			s.requeueIn(cachelag.Retry)
		}
	}
	if s.problem.Condition == "" {
		r.Backoff.Forget(s.key)
	}
	return ctrl.Result{RequeueAfter: s.requeueAfter}, nil
}

// emitChange emits an event when Ready starts to report a problem, or another one, and when it is over.
func (r *Reconciler) emitChange(s *state, before, after []metav1.Condition) {
	was, is := meta.FindStatusCondition(before, v1alpha1.ConditionReady), meta.FindStatusCondition(after, v1alpha1.ConditionReady)
	if was != nil && was.Reason == is.Reason && (was.Message == is.Message || is.Reason == v1alpha1.ReasonBindingsNotReady || is.Reason == v1alpha1.ReasonReady) {
		return
	}
	kind := corev1.EventTypeWarning
	switch is.Reason {
	case v1alpha1.ReasonReady, v1alpha1.ReasonPaused, v1alpha1.ReasonDeleting, v1alpha1.ReasonBindingsNotReady, v1alpha1.ReasonPending:
		kind = corev1.EventTypeNormal // somebody asked for it, or it is on its way
	}
	r.Events.Eventf(s.policy, nil, kind, is.Reason, is.Reason, "%s", message.Truncate(is.Message, message.MaxEventNote))
}
