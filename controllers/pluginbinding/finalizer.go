package pluginbinding

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// ensureFinalizer adds the finalizer in a write of its own, so that a binding whose plugin may
// exist cannot disappear unseen. An observed binding gets it only when it owns a plugin: see
// apply.
func (r *Reconciler) ensureFinalizer(ctx context.Context, s *state) *stepResult {
	if reference.IsObserved(s.binding) {
		return nil
	}
	return r.addFinalizer(ctx, s)
}

func (r *Reconciler) addFinalizer(ctx context.Context, s *state) *stepResult {
	if controllerutil.ContainsFinalizer(s.binding, v1alpha1.PluginFinalizer) {
		return nil
	}
	base := s.binding.DeepCopy()
	controllerutil.AddFinalizer(s.binding, v1alpha1.PluginFinalizer)
	if err := r.Client.Patch(ctx, s.binding, optimistically(base)); err != nil {
		s.binding = base
		return kubernetesError(err)
	}
	return nil
}

// removeFinalizer lets the binding go.
func (r *Reconciler) removeFinalizer(ctx context.Context, s *state) *stepResult {
	base := s.binding.DeepCopy()
	controllerutil.RemoveFinalizer(s.binding, v1alpha1.PluginFinalizer)
	if err := r.Client.Patch(ctx, s.binding, optimistically(base)); err != nil && !apierrors.IsNotFound(err) {
		s.binding = base
		return kubernetesError(err)
	}
	r.forget(client.ObjectKeyFromObject(s.binding))
	return nil
}

// optimistically is a merge patch that fails when somebody else changed the object.
func optimistically(base client.Object) client.Patch {
	return client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
}
