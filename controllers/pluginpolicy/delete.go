package pluginpolicy

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// deletionRetry is how often a deletion looks whether its bindings are gone, beside their events.
const deletionRetry = 10 * time.Second

// reconcileDelete deletes the bindings of a policy, each with its deletionPolicy, and then removes
// the finalizer. It lists the bindings from the API server: the cache may not show yet what the last
// reconcile made.
func (r *Reconciler) reconcileDelete(ctx context.Context, s *state) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(s.policy, v1alpha1.PolicyFinalizer) {
		return ctrl.Result{}, nil
	}
	left := 0
	if !controllerutil.ContainsFinalizer(s.policy, metav1.FinalizerOrphanDependents) { // kubectl delete --cascade=orphan
		var err error
		if left, err = r.deleteBindings(ctx, s); err != nil {
			return r.failed(s, err)
		}
	}
	if left > 0 {
		if reference.IsPausedBy(s.policy) {
			return ctrl.Result{}, nil
		}
		s.problem = policy.Problem{
			Condition: v1alpha1.ConditionProgrammed, Unknown: true, Reason: v1alpha1.ReasonDeleting,
			Message: fmt.Sprintf("The policy waits until its bindings are deleted; %d are left. If it stays so, look at their conditions.", left),
		}
		s.requeueIn(deletionRetry)
		return r.patchStatus(ctx, s)
	}
	base := s.policy.DeepCopy()
	controllerutil.RemoveFinalizer(s.policy, v1alpha1.PolicyFinalizer)
	if err := client.IgnoreNotFound(r.Client.Patch(ctx, s.policy, optimistically(base))); err != nil {
		return r.failed(s, err)
	}
	return ctrl.Result{}, nil
}

// deletesBindings reports whether a policy is being deleted together with its bindings.
func deletesBindings(p *v1alpha1.PluginPolicy) bool {
	return !p.DeletionTimestamp.IsZero() && !reference.IsPausedBy(p) &&
		!controllerutil.ContainsFinalizer(p, metav1.FinalizerOrphanDependents) // kubectl delete --cascade=orphan
}

// deleteBindings deletes the bindings of a policy, and returns how many there still are.
func (r *Reconciler) deleteBindings(ctx context.Context, s *state) (left int, err error) {
	bindings := &v1alpha1.PluginBindingList{}
	if err := r.APIReader.List(ctx, bindings, client.InNamespace(s.policy.Namespace),
		client.MatchingLabels{v1alpha1.PolicyLabel: policy.LabelOf(s.policy.Name)}); err != nil {
		return 0, err
	}
	for i := range bindings.Items {
		binding := &bindings.Items[i]
		if owner := metav1.GetControllerOfNoCopy(binding); owner == nil || owner.UID != s.policy.UID {
			continue
		}
		left++
		if !binding.DeletionTimestamp.IsZero() || reference.IsPausedBy(s.policy) {
			continue
		}
		if err := r.deleteBinding(ctx, s, binding); err != nil {
			return left, err
		}
	}
	return left, nil
}
