package policy

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// Rival is a binding of another object at the place of a child.
type Rival struct {
	Binding *v1alpha1.PluginBinding
	// Claimant is the object behind it, such as: PluginPolicy shop/limit. Created is when that was made.
	Claimant string
	Created  time.Time
	// ByPolicy: another policy controls the binding.
	ByPolicy bool
	// Leaving: the binding or its policy is being deleted.
	Leaving bool
}

// Contend decides between a child and the rivals at its place. Existing is the child's binding, nil if
// there is none. The plugin in force passes over under its ID, or stays until the older object says that
// it is in the way. So the entity is not without a plugin because two objects want one:
//
//	the rival                                              the child
//	was replaced by the child's binding                    goes on replacing it, until it is gone
//	is leaving, and its plugin may pass over               replaces it
//	is leaving, and the child has a binding                stays
//	is younger, of a policy, and its plugin may pass over  replaces it
//	is younger                                             is made; its binding reports the conflict
//	is older, and the child has no binding                 is not made
//	is older, and has the plugin, or has nothing against
//	it but the child's plugin                              yields
//	is older                                               stays, and allows the rival to replace it
func Contend(policy *v1alpha1.PluginPolicy, child *Child, existing *v1alpha1.PluginBinding, rivals []Rival) Block {
	slices.SortFunc(rivals, func(a, b Rival) int { return compareKeys(a.Binding, b.Binding) })
	var block Block
	for i := range rivals {
		rival := &rivals[i]
		switch isOlder := IsOlder(rival.Claimant, rival.Created, policy); {
		case rival.wasReplacedBy(existing) && (rival.Leaving || !isOlder):
			child.Replaces = existing.Spec.Replaces
		case rival.Leaving && rival.passesOn(policy.Namespace), !isOlder && rival.ByPolicy && rival.passesOn(policy.Namespace):
			if child.Replaces == nil && hasNoPlugin(existing) {
				child.Replaces = &v1alpha1.BindingRef{Name: rival.Binding.Name}
				if rival.Binding.Namespace != policy.Namespace {
					child.Replaces.Namespace = v1alpha1.NamespaceName(rival.Binding.Namespace)
				}
			}
		case rival.Leaving && existing != nil, !isOlder:
		case block.Reason == "":
			block = yieldTo(policy, child, existing, rival)
		}
	}
	return block
}

func compareKeys(a, b *v1alpha1.PluginBinding) int {
	return slices.Compare([]string{a.Namespace, a.Name}, []string{b.Namespace, b.Name})
}

// passesOn reports whether a binding of the namespace may take the rival's plugin over now.
func (r *Rival) passesOn(namespace string) bool {
	isKept := r.Leaving && r.Binding.Spec.DeletionPolicy == v1alpha1.OrphanPlugin // for nobody in particular
	return !isKept && r.Binding.Status.PluginID != "" && reference.AllowsWrites(r.Binding) && reference.AllowsReplacement(r.Binding, namespace)
}

// wasReplacedBy reports whether a binding has taken the rival's plugin over.
func (r *Rival) wasReplacedBy(existing *v1alpha1.PluginBinding) bool {
	if existing == nil || existing.Status.PluginID == "" || existing.Status.PluginID != r.Binding.Status.PluginID {
		return false
	}
	replaced, ok := reference.Replaced(existing)
	return ok && replaced.Namespace == r.Binding.Namespace && replaced.Name == r.Binding.Name
}

func hasNoPlugin(existing *v1alpha1.PluginBinding) bool {
	return existing == nil || existing.Status.PluginID == "" && existing.DeletionTimestamp.IsZero()
}

// needsRoom reports whether the existing binding of a child has to go: the rival has the plugin already,
// or has one that cannot come while this one is there.
func (r *Rival) needsRoom(existing *v1alpha1.PluginBinding) bool {
	theirs, ours := r.Binding.Status.PluginID, existing.Status.PluginID
	isInTheirWay := ours != "" && conflictOf(r.Binding) == ours
	switch {
	case theirs == "":
		return isInTheirWay && !r.ByPolicy // a policy's binding takes ours over
	case ours == "", ours == theirs:
		return true
	default:
		return isInTheirWay || conflictOf(existing) == theirs
	}
}

// conflictOf is the ID of the plugin that keeps a binding from its place.
func conflictOf(binding *v1alpha1.PluginBinding) v1alpha1.UUID {
	if binding.Status.Conflict == nil {
		return ""
	}
	return v1alpha1.UUID(binding.Status.Conflict.PluginID)
}

// yieldTo is what an older rival means for a child.
func yieldTo(policy *v1alpha1.PluginPolicy, child *Child, existing *v1alpha1.PluginBinding, rival *Rival) Block {
	plugin, advice := policy.Spec.Template.Spec.Plugin, "Delete one of the two, or remove the target from one of them."
	if existing == nil || rival.needsRoom(existing) {
		return Block{
			Reason: v1alpha1.ReasonConflicted, Yields: true,
			Message: fmt.Sprintf("%s is older and has the plugin %s on %s. The operator keeps that one, and makes no binding of this policy there. %s",
				rival.Claimant, plugin, child.Describe(), advice),
		}
	}
	if namespace := rival.Binding.Namespace; rival.ByPolicy && namespace != policy.Namespace {
		child.AllowReplacementFrom = []v1alpha1.NamespaceName{v1alpha1.NamespaceName(namespace)}
	}
	return Block{
		Reason: v1alpha1.ReasonConflicted, Passes: true,
		Message: fmt.Sprintf("%s is older and wants the plugin %s on %s. The operator keeps binding %s of this policy until that one has the plugin. %s",
			rival.Claimant, plugin, child.Describe(), child.Name, advice),
	}
}

// IsLeft reports whether a policy of the same name left a binding, and this one makes it its own: it
// was deleted with --cascade=orphan. A binding of another gateway or plugin could not become a child.
func IsLeft(policy *v1alpha1.PluginPolicy, child *Child, binding *v1alpha1.PluginBinding) bool {
	return metav1.GetControllerOfNoCopy(binding) == nil && binding.Labels[v1alpha1.PolicyLabel] == LabelOf(policy.Name) &&
		binding.Name == child.Name && binding.Spec.PluginID == "" && binding.Spec.Plugin == policy.Spec.Template.Spec.Plugin &&
		reference.GatewayOf(binding) == reference.GatewayOfPolicy(policy)
}
