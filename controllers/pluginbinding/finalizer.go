package pluginbinding

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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

// addFinalizer ends the reconcile if the API server holds another binding than the cache. Otherwise its
// response is a live look at the binding: see hasLiveLook.
func (r *Reconciler) addFinalizer(ctx context.Context, s *state) *stepResult {
	if controllerutil.ContainsFinalizer(s.binding, v1alpha1.PluginFinalizer) {
		return nil
	}
	with := s.binding.DeepCopy()
	controllerutil.AddFinalizer(with, v1alpha1.PluginFinalizer)
	patch, err := optimistically(s.binding).Data(with)
	if err != nil {
		return kubernetesError(err)
	}
	// Into an empty object: a response that is decoded over the cached one keeps what it lacks.
	live := &v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{Namespace: s.binding.Namespace, Name: s.binding.Name}}
	asked := r.Clock.Now()
	if err := r.Client.Patch(ctx, live, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return kubernetesError(err)
	}
	same := isAsCached(live, s.binding) && controllerutil.ContainsFinalizer(live, v1alpha1.PluginFinalizer)
	s.binding = live
	if !same {
		return requeue()
	}
	s.liveAt = asked
	r.InFlight.AddedFinalizer(live)
	return nil
}

// liveLookLasts is how long the response to the patch of the finalizer counts as a live look. The lookups
// in Kong come in between. A binding that had to wait for its turn there is read again.
const liveLookLasts = time.Second

// hasLiveLook reports whether this reconcile added the finalizer, a moment ago. The patch applies only to
// the version that the cache has, and its response is the binding as the API server holds it. So it proves
// what a read would prove. A clock that jumped proves nothing.
func (r *Reconciler) hasLiveLook(s *state) bool {
	age := r.Clock.Since(s.liveAt)
	return !s.liveAt.IsZero() && age >= 0 && age < liveLookLasts
}

// isAsCached reports whether the API server holds the binding on which the reconcile decided. A cache
// may lag behind a deletion, a new object of the same name, a recorded ID, or somebody who has just
// stopped the operator with the paused annotation or with managementPolicy, a part of the generation.
func isAsCached(live, cached *v1alpha1.PluginBinding) bool {
	return live.UID == cached.UID &&
		live.DeletionTimestamp.IsZero() &&
		live.Generation == cached.Generation &&
		!reference.IsPaused(live) &&
		live.Status.PluginID == cached.Status.PluginID
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
