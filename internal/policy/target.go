// Package policy decides which PluginBindings a PluginPolicy should have. It is pure: a policy,
// what its targets are in Kong, and the bindings that exist go in; what to make, change and delete
// comes out. No client, no clock and no Kong may come in.
//
//	target.go    what a target is in Kong: a kind of entity, and the tags that it carries
//	child.go     the binding of one entity: its name, its scope, and whether it is as it should be
//	plan.go      one decision per binding
//	status.go    the conditions
package policy

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// Groups of the kinds of targets.
const (
	groupIngress = "networking.k8s.io"
	groupGateway = "gateway.networking.k8s.io"
	groupKong    = "configuration.konghq.com"
)

// Kinds are the kinds of targets, with what Kong's ingress controller makes of them.
var Kinds = map[schema.GroupKind]adminapi.EntityKind{
	{Kind: "Service"}:                             adminapi.Service,
	{Group: groupIngress, Kind: "Ingress"}:        adminapi.Route,
	{Group: groupGateway, Kind: "HTTPRoute"}:      adminapi.Route,
	{Group: groupGateway, Kind: "GRPCRoute"}:      adminapi.Route,
	{Group: groupGateway, Kind: "TCPRoute"}:       adminapi.Route,
	{Group: groupGateway, Kind: "TLSRoute"}:       adminapi.Route,
	{Group: groupGateway, Kind: "UDPRoute"}:       adminapi.Route,
	{Group: groupKong, Kind: "KongConsumer"}:      adminapi.Consumer,
	{Group: groupKong, Kind: "KongConsumerGroup"}: adminapi.ConsumerGroup,
}

var selectedKinds = map[v1alpha1.SelectedKind]adminapi.EntityKind{
	v1alpha1.SelectRoutes:    adminapi.Route,
	v1alpha1.SelectServices:  adminapi.Service,
	v1alpha1.SelectConsumers: adminapi.Consumer,
}

// GroupKindOf returns the kind of a target.
func GroupKindOf(ref v1alpha1.PolicyTargetRef) schema.GroupKind {
	return schema.GroupKind{Group: ref.Group, Kind: ref.Kind}
}

// selectorOf selects what Kong's ingress controller makes of a target, by the tags that it puts on
// all of it. Names say nothing for certain: the controller chooses and changes them.
func selectorOf(ref v1alpha1.PolicyTargetRef, namespace string) connection.Selector {
	tags := kic.TagsOf(ref.Kind, namespace, ref.Name)
	if ref.SectionName != "" {
		tags = append(tags, kic.RuleTag(ref.SectionName))
	}
	return connection.Selector{Kind: Kinds[GroupKindOf(ref)], Tags: adminapi.NewTagSet(tags...)}
}

// Selectors select the entities of each target of a policy, in the order of spec.targetRefs, or those
// of its entitySelector.
func Selectors(policy *v1alpha1.PluginPolicy) []connection.Selector {
	if selector := policy.Spec.EntitySelector; selector != nil {
		tags := make([]string, len(selector.Tags))
		for i, tag := range selector.Tags {
			tags[i] = string(tag)
		}
		slices.Sort(tags)
		return []connection.Selector{{Kind: selectedKinds[selector.Kind], Tags: adminapi.NewTagSet(tags...)}}
	}
	selectors := make([]connection.Selector, len(policy.Spec.TargetRefs))
	for i, ref := range policy.Spec.TargetRefs {
		selectors[i] = selectorOf(ref, policy.Namespace)
	}
	return selectors
}

// TargetKeys are the keys of a policy's targets, for an index.
func TargetKeys(policy *v1alpha1.PluginPolicy) []string {
	keys := make([]string, len(policy.Spec.TargetRefs))
	for i, ref := range policy.Spec.TargetRefs {
		keys[i] = reference.TargetKey(ref.Kind, policy.Namespace, ref.Name)
	}
	return keys
}

// Describe names a target for people and for an annotation, such as HTTPRoute/store#checkout.
func Describe(ref v1alpha1.PolicyTargetRef) string {
	text := ref.Kind + "/" + ref.Name
	if ref.SectionName != "" {
		text += "#" + ref.SectionName
	}
	return text
}

// describeSelector names the entities of an entitySelector, such as Route[team-a].
func describeSelector(selector *v1alpha1.EntitySelector) string {
	tags := make([]string, len(selector.Tags))
	for i, tag := range selector.Tags {
		tags[i] = string(tag)
	}
	slices.Sort(tags)
	return string(selector.Kind) + "[" + strings.Join(tags, " ") + "]"
}

// maxSummary bounds status.targetSummary, in bytes.
const maxSummary = 1200

// Summary names the targets of a policy.
func Summary(policy *v1alpha1.PluginPolicy) string {
	if selector := policy.Spec.EntitySelector; selector != nil {
		return message.Truncate(describeSelector(selector), maxSummary)
	}
	names := make([]string, len(policy.Spec.TargetRefs))
	for i, ref := range policy.Spec.TargetRefs {
		names[i] = Describe(ref)
	}
	return message.Truncate(strings.Join(names, ", "), maxSummary)
}

// Presence says whether a target exists in Kubernetes.
type Presence int

const (
	// Present: the target exists. An entitySelector always does.
	Present Presence = iota
	// Missing: the API server has no object of that name.
	Missing
	// NotInstalled: the API server does not have the kind.
	NotInstalled
)

// Target is one target of a policy, with what is known of it.
type Target struct {
	// Name is Describe of the target, or the entitySelector.
	Name string
	// Ref is nil for an entitySelector.
	Ref      *v1alpha1.PolicyTargetRef
	Selector connection.Selector
	Presence Presence
	// Known: Kong said which entities there are.
	Known bool
	connection.Selection
}

// Targets are the targets of a policy, of which nothing is known yet.
func Targets(policy *v1alpha1.PluginPolicy) []Target {
	selectors := Selectors(policy)
	if selector := policy.Spec.EntitySelector; selector != nil {
		return []Target{{Name: describeSelector(selector), Selector: selectors[0]}}
	}
	targets := make([]Target, len(selectors))
	for i := range policy.Spec.TargetRefs {
		ref := &policy.Spec.TargetRefs[i]
		targets[i] = Target{Name: Describe(*ref), Ref: ref, Selector: selectors[i]}
	}
	return targets
}
