package pluginpolicy

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

// listBindings lists the bindings that the policy controls, and names those that it should have.
func (r *Reconciler) listBindings(ctx context.Context, s *state) (bool, error) {
	bindings := &v1alpha1.PluginBindingList{}
	// The items are only read.
	err := r.Client.List(ctx, bindings, client.InNamespace(s.policy.Namespace),
		client.MatchingFields{reference.IndexPolicy: string(s.policy.UID)}, client.UnsafeDisableDeepCopy)
	s.existing = bindings.Items
	s.children = policy.Children(s.policy, s.targets)
	return false, err
}

// findBlocked finds the bindings that the policy must not have: an older object has the place, another
// object has the name, or the gateway does not allow the entity.
func (r *Reconciler) findBlocked(ctx context.Context, s *state) (bool, error) {
	s.blocked = map[string]policy.Block{}
	exists := make(map[string]bool, len(s.existing))
	for i := range s.existing {
		exists[s.existing[i].Name] = true
	}
	for i := range s.children {
		child := &s.children[i]
		for _, find := range []func(context.Context, *state, *policy.Child, bool) (policy.Block, error){
			r.refused, r.nameTaken, r.placeTaken,
		} {
			block, err := find(ctx, s, child, exists[child.Name])
			if err != nil {
				return true, err
			}
			if block.Reason != "" {
				s.blocked[child.Name] = block
				break
			}
		}
	}
	return false, nil
}

// refused reports an entity that carries another namespace's tag, or none, while the gateway allows
// only entities of the policy's namespace. The operator leaves a binding that is there: it says so
// itself, and its plugin stays as it is.
func (r *Reconciler) refused(_ context.Context, s *state, child *policy.Child, _ bool) (policy.Block, error) {
	if !s.access.policy.Restricts(s.policy.Namespace) || !s.access.policy.NeedsTags() {
		return policy.Block{}, nil
	}
	request := s.access.request
	request.Entities = []tenancy.Entity{{Kind: string(child.Kind), Name: child.Label(), Known: true}}
	if child.Entity.Namespace != "" {
		request.Entities[0].Tags = []string{tenancy.NamespaceTag(child.Entity.Namespace)}
	}
	if decision := tenancy.Check(s.access.policy, request); !decision.Allowed() {
		return policy.Block{Reason: v1alpha1.ReasonNotAllowedByGateway, Message: decision.Message}, nil
	}
	return policy.Block{}, nil
}

// nameTaken reports a binding of that name that the policy does not control.
func (r *Reconciler) nameTaken(ctx context.Context, s *state, child *policy.Child, exists bool) (policy.Block, error) {
	if exists {
		return policy.Block{}, nil
	}
	other := &v1alpha1.PluginBinding{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: s.policy.Namespace, Name: child.Name}, other)
	if err != nil {
		return policy.Block{}, client.IgnoreNotFound(err)
	}
	if owner := metav1.GetControllerOfNoCopy(other); owner != nil && owner.UID == s.policy.UID {
		return policy.Block{}, nil // the cache has it since
	}
	return policy.Block{
		Reason: v1alpha1.ReasonConflicted,
		Message: fmt.Sprintf("PluginBinding %s/%s has the name that this policy needs for %s, and does not belong to the policy. The operator left it as it is. Delete or rename that binding.",
			other.Namespace, other.Name, child.Describe()),
	}, nil
}

// placeTaken reports an older policy or binding that has the same plugin on the same entities.
func (r *Reconciler) placeTaken(ctx context.Context, s *state, child *policy.Child, _ bool) (policy.Block, error) {
	for _, place := range child.Places(s.policy) {
		bindings := &v1alpha1.PluginBindingList{}
		if err := r.Client.List(ctx, bindings, client.MatchingFields{reference.IndexPlace: place}, client.UnsafeDisableDeepCopy); err != nil {
			return policy.Block{}, err
		}
		for i := range bindings.Items {
			other := &bindings.Items[i]
			if owner := metav1.GetControllerOfNoCopy(other); owner != nil && owner.UID == s.policy.UID {
				continue
			}
			name, created, err := r.claimant(ctx, other)
			if err != nil {
				return policy.Block{}, err
			}
			if policy.IsOlder(name, created, s.policy) {
				return policy.Block{
					Reason: v1alpha1.ReasonConflicted, Yields: true,
					Message: fmt.Sprintf("%s is older and has the plugin %s on %s. The operator keeps that one, and makes no binding of this policy there. Delete one of the two, or remove the target from one of them.",
						name, s.policy.Spec.Template.Spec.Plugin, child.Describe()),
				}, nil
			}
		}
	}
	return policy.Block{}, nil
}

// claimant is the object behind a binding: the policy that controls it, or the binding itself.
func (r *Reconciler) claimant(ctx context.Context, binding *v1alpha1.PluginBinding) (name string, created time.Time, err error) {
	if owner := reference.PolicyOf(binding); owner != nil {
		other := &v1alpha1.PluginPolicy{}
		err := r.Client.Get(ctx, types.NamespacedName{Namespace: binding.Namespace, Name: owner.Name}, other)
		if err == nil && other.UID == owner.UID {
			return "PluginPolicy " + client.ObjectKeyFromObject(other).String(), other.CreationTimestamp.Time, nil
		}
		if client.IgnoreNotFound(err) != nil {
			return "", time.Time{}, err
		}
	}
	return "PluginBinding " + client.ObjectKeyFromObject(binding).String(), binding.CreationTimestamp.Time, nil
}

// isAlreadyGone reports whether an error says that the object of a deletion is not there any more.
func isAlreadyGone(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) }
