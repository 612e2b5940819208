package policy

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// Existence is what Kong said about an entity that no target has any more.
type Existence int

const (
	// Unknown: Kong was not asked, or did not answer.
	Unknown Existence = iota
	// Gone: Kong does not have the entity.
	Gone
	// Elsewhere: Kong has the entity, and it does not belong to a target of the policy.
	Elsewhere
)

// Block is why a policy has no binding for an entity.
type Block struct {
	Reason, Message string
	// Yields: a binding that the policy has there makes room for the older object.
	Yields bool
	// Passes: a binding that the policy has there stays until the older object has taken its plugin
	// over.
	Passes bool
}

// leaves reports whether the policy changes nothing of a binding that is there.
func (b Block) leaves() bool { return b.Reason != "" && !b.Yields && !b.Passes }

// Input is what a plan is made from.
type Input struct {
	Policy   *v1alpha1.PluginPolicy
	Targets  []Target
	Children []Child
	// Existing are the bindings that the policy controls.
	Existing []v1alpha1.PluginBinding
	// Blocked are the children that the policy must not have, by name.
	Blocked map[string]Block
	// Vanished says what became of the entity of each binding that the function Vanished returns, by
	// its name.
	Vanished map[string]Existence
	Now      time.Time
}

// Plan is what a policy changes, and what it leaves.
type Plan struct {
	// Apply are bindings to make, or to make as they are declared.
	Apply []*v1alpha1.PluginBinding
	// Delete are bindings to delete.
	Delete []*v1alpha1.PluginBinding
	// Retained is the number of bindings whose entity is gone.
	Retained int
	// RequeueAfter is when the next retention ends; zero if none does.
	RequeueAfter time.Duration
}

// Vanished are the existing bindings for which the targets have no entity, although Kong said which
// entities they have. Kong has to be asked what became of the entity.
func Vanished(targets []Target, children []Child, existing []v1alpha1.PluginBinding) []*v1alpha1.PluginBinding {
	known := knownTargets(targets)
	wanted := byName(children)
	var vanished []*v1alpha1.PluginBinding
	for i := range existing {
		binding := &existing[i]
		if _, isWanted := wanted[binding.Name]; !isWanted && binding.DeletionTimestamp.IsZero() && known[targetOf(binding)] && isNamed(targets, binding) {
			vanished = append(vanished, binding)
		}
	}
	return vanished
}

// ExistenceOf says what became of the entity of a vanished binding that Kong has, with these tags. If it
// carries the tags of its target, it came back after the list of the target: the next list shows it.
func ExistenceOf(targets []Target, binding *v1alpha1.PluginBinding, tags []string) Existence {
	for i := range targets {
		if targets[i].Name != targetOf(binding) {
			continue
		}
		for _, tag := range targets[i].Selector.Tags.Tags() {
			if !slices.Contains(tags, tag) {
				return Elsewhere
			}
		}
		return Unknown
	}
	return Elsewhere
}

func knownTargets(targets []Target) map[string]bool {
	known := map[string]bool{}
	for i := range targets {
		known[targets[i].Name] = targets[i].Known && !targets[i].TooMany
	}
	return known
}

func byName(children []Child) map[string]*Child {
	wanted := make(map[string]*Child, len(children))
	for i := range children {
		wanted[children[i].Name] = &children[i]
	}
	return wanted
}

func targetOf(binding *v1alpha1.PluginBinding) string {
	return binding.Annotations[v1alpha1.TargetAnnotation]
}

// isNamed reports whether the policy still names the target of a binding.
func isNamed(targets []Target, binding *v1alpha1.PluginBinding) bool {
	for i := range targets {
		if targets[i].Name == targetOf(binding) {
			return true
		}
	}
	return false
}

// EntityOf is the entity that a binding of a policy follows.
func EntityOf(binding *v1alpha1.PluginBinding) (reference.ScopeEntity, bool) {
	entities := reference.ScopeEntities(binding.Spec.Scope)
	for _, kind := range []adminapi.EntityKind{adminapi.Route, adminapi.Service, adminapi.ConsumerGroup, adminapi.Consumer} {
		for _, entity := range entities {
			if entity.Kind == kind {
				return entity, true
			}
		}
	}
	return reference.ScopeEntity{}, false
}

// Decide makes one decision for each binding that exists, and for each that should exist. The first
// rule that fits decides:
//
//	the binding                                            the policy
//	is being deleted                                       waits
//	belongs to a target that the policy no longer names    deletes it
//	is wanted, and an older object has its place           deletes it
//	is wanted, and an older object takes its plugin over   makes it as declared, if it is not
//	is wanted, and something else forbids it               leaves it
//	is wanted                                              makes it as declared, if it is not
//	belongs to a target whose entities are unknown         leaves it
//	follows an entity that belongs elsewhere now           deletes it
//	follows an entity of which Kong said nothing           leaves it
//	follows an entity that is gone                         keeps it for spec.retention, then deletes it
//	does not exist, and nothing forbids it                 makes it, if its target exists
func Decide(in Input) Plan {
	var plan Plan
	wanted, known := byName(in.Children), knownTargets(in.Targets)
	exists := make(map[string]bool, len(in.Existing))
	for i := range in.Existing {
		existing := &in.Existing[i]
		exists[existing.Name] = true
		child, isWanted := wanted[existing.Name]
		block := in.Blocked[existing.Name]
		switch {
		case !existing.DeletionTimestamp.IsZero():
		case !isNamed(in.Targets, existing) && !isWanted, isWanted && block.Yields:
			plan.Delete = append(plan.Delete, existing)
		case isWanted && block.leaves():
		case isWanted:
			plan.applyUnlessDeclared(existing, child.Binding(in.Policy))
		case !known[targetOf(existing)]:
		default:
			plan.retain(in, existing)
		}
	}
	for i := range in.Children {
		child := &in.Children[i]
		if _, blocked := in.Blocked[child.Name]; !blocked && !exists[child.Name] && isPresent(in.Targets, child.Target) {
			plan.Apply = append(plan.Apply, child.Binding(in.Policy))
		}
	}
	return plan
}

func isPresent(targets []Target, name string) bool {
	for i := range targets {
		if targets[i].Name == name {
			return targets[i].Presence == Present
		}
	}
	return false
}

func (p *Plan) applyUnlessDeclared(existing, declared *v1alpha1.PluginBinding) {
	if !IsAsDeclared(existing, declared) {
		p.Apply = append(p.Apply, declared)
	}
}

// retain decides about a binding whose entity no target has.
func (p *Plan) retain(in Input, existing *v1alpha1.PluginBinding) {
	since, marked := goneSince(existing)
	switch in.Vanished[existing.Name] {
	case Elsewhere:
		p.Delete = append(p.Delete, existing)
		return
	case Unknown:
		return
	case Gone:
	}
	if !marked {
		since = in.Now
	}
	left := since.Add(retention(in.Policy)).Sub(in.Now)
	if left <= 0 {
		p.Delete = append(p.Delete, existing)
		return
	}
	p.Retained++
	if p.RequeueAfter == 0 || left < p.RequeueAfter {
		p.RequeueAfter = left
	}
	p.applyUnlessDeclared(existing, retained(in.Policy, existing, since))
}

// retained is a binding of which the policy keeps only the scope.
func retained(policy *v1alpha1.PluginPolicy, existing *v1alpha1.PluginBinding, since time.Time) *v1alpha1.PluginBinding {
	child := Child{Name: existing.Name, Target: targetOf(existing)}
	declared := child.Binding(policy)
	declared.Spec.Scope = existing.Spec.Scope.DeepCopy()
	declared.Annotations[v1alpha1.EntityGoneSinceAnnotation] = since.UTC().Format(time.RFC3339)
	if text, marked := existing.Annotations[v1alpha1.EntityGoneSinceAnnotation]; marked {
		declared.Annotations[v1alpha1.EntityGoneSinceAnnotation] = text
	}
	return declared
}

// DefaultRetention is how long a binding is kept if the policy does not say so.
const DefaultRetention = time.Hour

func retention(policy *v1alpha1.PluginPolicy) time.Duration {
	if parsed, err := time.ParseDuration(string(policy.Spec.Retention)); err == nil {
		return parsed
	}
	return DefaultRetention
}

// IsReady reports whether a binding is Ready with its current spec.
func IsReady(binding *v1alpha1.PluginBinding) bool {
	ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == binding.Generation
}

// maxListed bounds how many names a message lists.
const maxListed = 3

// list joins the first words and counts the rest.
func list(words []string) string {
	text := strings.Join(words[:min(len(words), maxListed)], ", ")
	if more := len(words) - maxListed; more > 0 {
		text += " and " + count(more) + " more"
	}
	return text
}
