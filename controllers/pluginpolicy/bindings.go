package pluginpolicy

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
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
	exists := make(map[string]*v1alpha1.PluginBinding, len(s.existing))
	for i := range s.existing {
		exists[s.existing[i].Name] = &s.existing[i]
	}
	for i := range s.children {
		child := &s.children[i]
		block, err := r.findBlock(ctx, s, child, exists[child.Name])
		if err != nil {
			return true, err
		}
		if block.Reason != "" {
			s.blocked[child.Name] = block
		}
	}
	return false, nil
}

// findBlock says why the policy must not have a child, if so.
func (r *Reconciler) findBlock(ctx context.Context, s *state, child *policy.Child, existing *v1alpha1.PluginBinding) (policy.Block, error) {
	if block := r.refused(s, child); block.Reason != "" {
		return block, nil
	}
	if existing == nil {
		left, block, err := r.findOther(ctx, s, child)
		if err != nil || block.Reason != "" {
			return block, err
		}
		if left != nil {
			s.existing = append(s.existing, *left)
			existing = left
		}
	}
	return r.placeTaken(ctx, s, child, existing)
}

// refused reports an entity that carries another namespace's tag, or none, while the gateway allows
// only entities of the policy's namespace. The operator leaves a binding that is there: it says so
// itself, and its plugin stays as it is.
func (r *Reconciler) refused(s *state, child *policy.Child) policy.Block {
	if !s.access.policy.Restricts(s.policy.Namespace) || !s.access.policy.NeedsTags() {
		return policy.Block{}
	}
	request := s.access.request
	request.Entities = []tenancy.Entity{tenancyEntity(child)}
	if decision := tenancy.Check(s.access.policy, request); !decision.Allowed() {
		return policy.Block{Reason: v1alpha1.ReasonNotAllowedByGateway, Message: decision.Message}
	}
	return policy.Block{}
}

func tenancyEntity(child *policy.Child) tenancy.Entity {
	entity := tenancy.Entity{Kind: string(child.Kind), Name: child.Label(), Known: true}
	if child.Entity.Namespace != "" {
		entity.Tags = []string{tenancy.NamespaceTag(child.Entity.Namespace)}
	}
	return entity
}

// findOther finds a binding of the child's name that the policy does not control. It returns one that
// an earlier policy left, and reports any other one.
func (r *Reconciler) findOther(ctx context.Context, s *state, child *policy.Child) (left *v1alpha1.PluginBinding, block policy.Block, err error) {
	other := &v1alpha1.PluginBinding{}
	err = r.Client.Get(ctx, types.NamespacedName{Namespace: s.policy.Namespace, Name: child.Name}, other)
	if err != nil {
		return nil, policy.Block{}, client.IgnoreNotFound(err)
	}
	if metav1.IsControlledBy(other, s.policy) {
		return other, policy.Block{}, nil // the cache has it since
	}
	if policy.IsLeft(s.policy, child, other) {
		return other, policy.Block{}, nil
	}
	return nil, policy.Block{
		Reason: v1alpha1.ReasonConflicted,
		Message: fmt.Sprintf("PluginBinding %s/%s has the name that this policy needs for %s, and does not belong to the policy. The operator left it as it is. Delete or rename that binding.",
			other.Namespace, other.Name, child.Describe()),
	}, nil
}

// placeTaken decides between the child and the bindings that have the same plugin on the same entities.
func (r *Reconciler) placeTaken(ctx context.Context, s *state, child *policy.Child, existing *v1alpha1.PluginBinding) (policy.Block, error) {
	var rivals []policy.Rival
	seen := sets.New[types.UID]()
	if existing != nil {
		seen.Insert(existing.UID)
	}
	for _, place := range child.Places(s.policy) {
		bindings := &v1alpha1.PluginBindingList{}
		if err := r.Client.List(ctx, bindings, client.MatchingFields{reference.IndexPlace: reference.PlaceBucket(place)}, client.UnsafeDisableDeepCopy); err != nil {
			return policy.Block{}, err
		}
		others := reference.AtPlace(bindings.Items, place)
		for i := range others {
			other := &others[i]
			if seen.Has(other.UID) || metav1.IsControlledBy(other, s.policy) {
				continue
			}
			seen.Insert(other.UID)
			if counts, err := r.mayHavePlace(ctx, s, child, other); err != nil || !counts {
				if err != nil {
					return policy.Block{}, err
				}
				continue
			}
			rival, err := r.rival(ctx, other)
			if err != nil {
				return policy.Block{}, err
			}
			rivals = append(rivals, rival)
		}
	}
	return policy.Contend(s.policy, child, existing, rivals), nil
}

// mayHavePlace reports whether the gateway lets a binding of another namespace have the place of a
// child. One that it refuses keeps no policy from its target, however old it is.
func (r *Reconciler) mayHavePlace(ctx context.Context, s *state, child *policy.Child, binding *v1alpha1.PluginBinding) (bool, error) {
	namespace, allowed := binding.Namespace, s.access.policy
	isAccepted := meta.IsStatusConditionTrue(binding.Status.Conditions, v1alpha1.ConditionAccepted)
	switch {
	case namespace == s.policy.Namespace:
		return true, nil
	case !isAccepted && binding.Status.PluginID == "":
		return false, nil
	case !allowed.Restricts(namespace):
		return true, nil
	}
	request := tenancy.Request{
		Namespace: tenancy.Namespace{Name: namespace}, Plugin: string(binding.Spec.Plugin), PluginID: string(binding.Status.PluginID),
		Acquired: binding.Status.PluginIDSource == v1alpha1.PluginIDAdopted, Rank: 1, // its Accepted condition says whether it counts
		Entities: []tenancy.Entity{tenancyEntity(child)}, Operation: tenancy.Move,
	}
	object := &corev1.Namespace{}
	if err := r.Client.Get(ctx, types.NamespacedName{Name: namespace}, object); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	request.Namespace.Labels = object.Labels
	return tenancy.Check(allowed, request).Allowed(), nil
}

// rival is a binding of another object: of the policy that controls it, or of itself.
func (r *Reconciler) rival(ctx context.Context, binding *v1alpha1.PluginBinding) (policy.Rival, error) {
	rival := policy.Rival{
		Binding: binding, Claimant: "PluginBinding " + client.ObjectKeyFromObject(binding).String(),
		Created: binding.CreationTimestamp.Time, Leaving: !binding.DeletionTimestamp.IsZero(),
	}
	owner := reference.PolicyOf(binding)
	if owner == nil {
		return rival, nil
	}
	other := &v1alpha1.PluginPolicy{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: binding.Namespace, Name: owner.Name}, other)
	if err != nil || other.UID != owner.UID {
		return rival, client.IgnoreNotFound(err)
	}
	rival.ByPolicy = true
	rival.Claimant = "PluginPolicy " + client.ObjectKeyFromObject(other).String()
	rival.Created = other.CreationTimestamp.Time
	rival.Leaving = rival.Leaving || deletesBindings(other)
	return rival, nil
}

// isAlreadyGone reports whether an error says that the object of a deletion is not there any more.
func isAlreadyGone(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) }
