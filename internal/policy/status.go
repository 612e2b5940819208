package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/kstatus"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
)

// Problem is why a policy cannot do all that it declares: one condition.
type Problem struct {
	// Condition that is not True; empty if there is no problem.
	Condition string
	// Unknown: the operator cannot say.
	Unknown         bool
	Reason, Message string
}

// Outcome is what a reconcile of a policy found out.
type Outcome struct {
	Policy   *v1alpha1.PluginPolicy
	Targets  []Target
	Children []Child
	Existing []v1alpha1.PluginBinding
	Blocked  map[string]Block
	Retained int
	// Problem ended the reconcile before the targets were looked at.
	Problem Problem
}

func count(n int) string { return strconv.Itoa(n) }

// size is a number in a status.
func size(n int) int32 { return int32(min(n, 1<<30)) } //nolint:gosec // bounded

// Status is the status after a reconcile.
func Status(o Outcome) v1alpha1.PluginPolicyStatus {
	next := *o.Policy.Status.DeepCopy()
	next.ObservedGeneration = o.Policy.Generation
	next.TargetSummary = Summary(o.Policy)
	problem := o.Problem
	if problem.Condition == "" {
		next.Targets, next.Bindings = o.counts()
		problem = o.problem()
	}
	o.setConditions(&next.Conditions, problem)
	return next
}

// counts are the entities and bindings by target, and in all.
func (o *Outcome) counts() ([]v1alpha1.PolicyTargetStatus, *v1alpha1.PolicyBindingCounts) {
	existing := map[string]*v1alpha1.PluginBinding{}
	for i := range o.Existing {
		existing[o.Existing[i].Name] = &o.Existing[i]
	}
	total, ready, retained := 0, 0, o.Retained
	entities, inForce := map[string]int{}, map[string]int{}
	for i := range o.Children {
		child := &o.Children[i]
		entities[child.Target]++
		if binding := existing[child.Name]; binding != nil {
			total++
			if IsReady(binding) {
				ready++
				inForce[child.Target]++
			}
		}
	}
	targets := make([]v1alpha1.PolicyTargetStatus, len(o.Targets))
	for i := range o.Targets {
		target := &o.Targets[i]
		targets[i] = v1alpha1.PolicyTargetStatus{Entities: size(entities[target.Name]), Ready: size(inForce[target.Name])}
		if ref := target.Ref; ref != nil {
			targets[i].Ref = &v1alpha1.TargetIdentity{Group: ref.Group, Kind: ref.Kind, Name: ref.Name, SectionName: ref.SectionName}
		}
	}
	return targets, &v1alpha1.PolicyBindingCounts{Total: size(total), Ready: size(ready), Retained: size(retained)}
}

// problem is the first problem of the targets and bindings, in the order of the conditions.
func (o *Outcome) problem() Problem {
	for _, find := range []func() Problem{o.notInstalled, o.missing, o.blocked, o.tooMany, o.unknown, o.withoutEntities, o.notReady} {
		if problem := find(); problem.Condition != "" {
			return problem
		}
	}
	return Problem{}
}

// others says what happens with the targets that have no problem.
func (o *Outcome) others(affected int) string {
	if affected < len(o.Targets) {
		return " The operator keeps the bindings of the other targets in order."
	}
	return ""
}

func (o *Outcome) targetsThat(condition func(*Target) bool) []string {
	var names []string
	for i := range o.Targets {
		if condition(&o.Targets[i]) {
			names = append(names, o.Targets[i].Name)
		}
	}
	return names
}

func (o *Outcome) notInstalled() Problem {
	var kinds []string
	names := o.targetsThat(func(t *Target) bool { return t.Presence == NotInstalled })
	for i := range o.Targets {
		if target := &o.Targets[i]; target.Presence == NotInstalled && !slices.Contains(kinds, GroupKindOf(*target.Ref).String()) {
			kinds = append(kinds, GroupKindOf(*target.Ref).String())
		}
	}
	if len(names) == 0 {
		return Problem{}
	}
	return Problem{
		Condition: v1alpha1.ConditionAccepted, Reason: v1alpha1.ReasonTargetKindNotInstalled,
		Message: fmt.Sprintf("This cluster does not have the kind %s, which %s needs.%s Install the CRD, and the operator finds it without a restart; or remove the target from spec.targetRefs.",
			list(kinds), list(names), o.others(len(names))),
	}
}

func (o *Outcome) missing() Problem {
	names := o.targetsThat(func(t *Target) bool { return t.Presence == Missing })
	if len(names) == 0 {
		return Problem{}
	}
	return Problem{
		Condition: v1alpha1.ConditionAccepted, Reason: v1alpha1.ReasonTargetNotFound,
		Message: fmt.Sprintf("Namespace %s has no %s. A policy attaches to objects of its own namespace only.%s Create the object, correct spec.targetRefs, or create a policy in the namespace of the object.",
			o.Policy.Namespace, list(names), o.others(len(names))),
	}
}

func (o *Outcome) blocked() Problem {
	var first *Block
	n := 0
	for i := range o.Children {
		if block, blocked := o.Blocked[o.Children[i].Name]; blocked {
			n++
			if first == nil {
				first = &block
			}
		}
	}
	if first == nil {
		return Problem{}
	}
	text := first.Message
	if n > 1 {
		text += " The same holds for " + count(n-1) + " more of its entities."
	}
	return Problem{Condition: v1alpha1.ConditionAccepted, Reason: first.Reason, Message: text}
}

func (o *Outcome) tooMany() Problem {
	names := o.targetsThat(func(t *Target) bool { return t.TooMany })
	if len(names) == 0 {
		return Problem{}
	}
	return Problem{
		Condition: v1alpha1.ConditionAccepted, Reason: v1alpha1.ReasonTooManyEntities,
		Message: fmt.Sprintf("%s has more entities in Kong than the operator follows, and the operator changes no binding of it.%s Use a plugin on the Service, a global plugin, or more tags in spec.entitySelector.",
			list(names), o.others(len(names))),
	}
}

func (o *Outcome) unknown() Problem {
	names := o.targetsThat(func(t *Target) bool { return !t.Known })
	if len(names) == 0 {
		return Problem{}
	}
	return Problem{
		Condition: v1alpha1.ConditionResolvedRefs, Unknown: true, Reason: v1alpha1.ReasonPending,
		Message: "The operator does not know yet which entities Kong has of " + list(names) + ". It changes no binding of them until Kong has answered.",
	}
}

func (o *Outcome) withoutEntities() Problem {
	names := o.targetsThat(func(t *Target) bool { return len(t.Entities) == 0 })
	if len(names) == 0 {
		return Problem{}
	}
	index := slices.IndexFunc(o.Targets, func(t Target) bool { return len(t.Entities) == 0 })
	selector := o.Targets[index].Selector
	return Problem{
		Condition: v1alpha1.ConditionResolvedRefs, Reason: v1alpha1.ReasonEntitiesNotFound,
		Message: fmt.Sprintf("Kong has no %s of %s: none carries the tags %s. The operator makes a binding as soon as there is one.%s If it stays so, look whether Kong's ingress controller serves the target and writes to this Kong.",
			selector.Kind, list(names), strings.Join(selector.Tags.Tags(), ", "), o.others(len(names))),
	}
}

func (o *Outcome) notReady() Problem {
	existing := map[string]*v1alpha1.PluginBinding{}
	for i := range o.Existing {
		existing[o.Existing[i].Name] = &o.Existing[i]
	}
	var names []string
	var first *metav1.Condition
	for i := range o.Children {
		binding := existing[o.Children[i].Name]
		if binding != nil && IsReady(binding) {
			continue
		}
		names = append(names, o.Children[i].Name)
		if binding != nil && first == nil {
			first = meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
		}
	}
	if len(names) == 0 {
		return Problem{}
	}
	text := count(len(names)) + " of " + count(len(o.Children)) + " bindings are not Ready: " + list(names) + "."
	if first != nil && first.Status != metav1.ConditionTrue && first.Message != "" {
		text += " The first says: " + first.Reason + ": " + first.Message
	}
	return Problem{Condition: v1alpha1.ConditionProgrammed, Reason: v1alpha1.ReasonBindingsNotReady, Message: text}
}

// progress is the order in which the conditions become True.
var progress = []struct{ condition, reason, message string }{
	{v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "the gateway allows this policy, and its targets exist"},
	{v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonResolvedRefs, "Kong has entities of every target"},
	{v1alpha1.ConditionProgrammed, v1alpha1.ReasonProgrammed, ""},
}

// setConditions derives every condition from one problem.
func (o *Outcome) setConditions(conditions *[]metav1.Condition, problem Problem) {
	defer kstatus.Set(conditions)
	set := func(condition string, status metav1.ConditionStatus, reason, text string) {
		meta.SetStatusCondition(conditions, metav1.Condition{
			Type: condition, Status: status, Reason: reason,
			Message:            message.Truncate(text, message.MaxCondition),
			ObservedGeneration: o.Policy.Generation,
		})
	}
	status := metav1.ConditionFalse
	if problem.Unknown {
		status = metav1.ConditionUnknown
	}
	if problem.Condition == v1alpha1.ConditionReady {
		set(v1alpha1.ConditionReady, status, problem.Reason, problem.Message)
		return
	}
	failed := false
	programmed := "all " + count(len(o.Children)) + " bindings are Ready"
	for _, row := range progress {
		switch {
		case failed:
			set(row.condition, metav1.ConditionUnknown, v1alpha1.ReasonPending, "waiting for "+problem.Condition)
		case problem.Condition == row.condition:
			failed = true
			set(row.condition, status, problem.Reason, problem.Message)
		case row.condition == v1alpha1.ConditionProgrammed:
			set(row.condition, metav1.ConditionTrue, row.reason, programmed)
		default:
			set(row.condition, metav1.ConditionTrue, row.reason, row.message)
		}
	}
	if failed {
		set(v1alpha1.ConditionReady, status, problem.Reason, problem.Message)
		return
	}
	set(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady, programmed)
}
