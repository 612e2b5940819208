package pluginbinding

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// lookupOwners finds out whether the bindings exist that own the plugins behind the facts. The
// ownership tags of a binding that is gone do not keep another one from the plugin, after a restore
// into a renamed namespace for example.
func (r *Reconciler) lookupOwners(ctx context.Context, s *state) error {
	f := &s.observed.facts
	for _, observation := range []*identity.Observation{&f.ByID, &f.ByName, &f.ByKey} {
		owner := observation.Owner.Binding
		if observation.Ownership != identity.OwnedByOther || observation.OwnerState != identity.OwnerUnknown || owner == nil || owner.Cluster != r.ClusterID {
			continue
		}
		gone, wait, err := r.isGone(ctx, types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name})
		switch {
		case err != nil:
			return err
		case gone:
			observation.OwnerState = identity.OwnerGone
		case wait > 0:
			s.observed.confirmOwnerIn = wait
		case observation == &f.ByID && observation.ID == f.Recorded && r.givesBack(ctx, s, types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}):
			observation.OwnerState = identity.OwnerGone
		default:
			observation.OwnerState = identity.OwnerExists
			r.noteReplacement(ctx, s, types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name})
		}
	}
	return nil
}

// givesBack reports whether the owner of the recorded plugin is being deleted, and leaves the plugin to
// this binding, from which it took it over: its deletion waits for that.
func (r *Reconciler) givesBack(ctx context.Context, s *state, key types.NamespacedName) bool {
	owner := &v1alpha1.PluginBinding{}
	return r.Client.Get(ctx, key, owner, client.UnsafeDisableDeepCopy) == nil && isGivenBack(owner, s.binding)
}

// isGivenBack reports whether the plugin of a binding that is being deleted is another one's, too.
func isGivenBack(deleted, other *v1alpha1.PluginBinding) bool {
	return !deleted.DeletionTimestamp.IsZero() && other.DeletionTimestamp.IsZero() && deleted.Spec.DeletionPolicy != v1alpha1.OrphanPlugin &&
		deleted.Status.PluginID != "" && deleted.Status.PluginID == other.Status.PluginID && deleted.Spec.Plugin == other.Spec.Plugin &&
		reference.AllowsWrites(deleted) && reference.AllowsWrites(other) && reference.AllowsReplacement(deleted, other.Namespace)
}

// isGone reports whether a binding does not exist. Only the API server itself is believed, and only
// when it says so twice. A positive wait says when to ask again.
func (r *Reconciler) isGone(ctx context.Context, key types.NamespacedName) (gone bool, wait time.Duration, err error) {
	binding := &v1alpha1.PluginBinding{}
	err = r.Client.Get(ctx, key, binding, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		err = r.APIReader.Get(ctx, key, binding)
	}
	switch {
	case err == nil:
		r.Absences.Exists(key)
		return false, 0, nil
	case apierrors.IsNotFound(err):
		wait = r.Absences.Missing(key)
		return wait == 0, wait, nil
	case apierrors.IsForbidden(err):
		return false, 0, nil // a namespace that the operator may not read: its bindings count as existing
	default:
		return false, 0, err
	}
}

// recheckOwner asks the API server once more, right before the binding gets the plugin of a binding
// that is gone. It may have been restored in the meantime.
func (r *Reconciler) recheckOwner(ctx context.Context, s *state) *stepResult {
	owner := s.action.Owner.Binding
	if s.action.Adopts != identity.Unowned || owner == nil || reference.IsObserved(s.binding) {
		return nil
	}
	key := types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}
	live := &v1alpha1.PluginBinding{}
	err := r.APIReader.Get(ctx, key, live)
	switch {
	case apierrors.IsNotFound(err), err == nil && isGivenBack(live, s.binding):
		return nil
	case err == nil:
		r.Absences.Exists(key)
		return requeue()
	default:
		return kubernetesError(err)
	}
}

// ownerState says whether the owner of an observed plugin exists.
func (s *state) ownerState(id string) identity.OwnerState {
	f := s.observed.facts
	for _, observation := range []identity.Observation{f.ByID, f.ByName, f.ByKey} {
		if observation.ID == id {
			return observation.OwnerState
		}
	}
	return identity.OwnerUnknown
}

// goneRemediation says what to do about a plugin with the ownership tags of a binding that does not
// exist, empty if that binding exists as far as is known.
func (s *state) goneRemediation(id string) string {
	switch state := s.ownerState(id); {
	case state == identity.OwnerGone && s.binding.Spec.AdoptionPolicy == v1alpha1.AdoptNever:
		return "That binding does not exist any more, and adoptionPolicy is Never. Set adoptionPolicy to IfIdentical or Override, or delete the plugin in Kong."
	case state == identity.OwnerGone:
		return "That binding does not exist any more. The plugin's settings differ from this binding's" + s.differingFields(id) +
			". To take it over and make it as declared, set adoptionPolicy to Override; or delete it in Kong."
	case state == identity.OwnerUnknown && s.observed.confirmOwnerIn > 0:
		return "That binding does not exist. If the API server says so again in a minute, the operator decides about the plugin by adoptionPolicy, as for one without an owner."
	default:
		return ""
	}
}
