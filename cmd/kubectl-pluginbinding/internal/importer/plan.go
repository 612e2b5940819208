package importer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// Plan decides what to print. It is a pure function of its input.
func Plan(in Input) Result {
	p := &planner{in: in, names: newNames(), bound: newBound(in.Kube.Bindings), entries: map[string]*Entry{}}
	p.matchEntries()
	for _, row := range sortedRows(in.Kong.Plugins) {
		p.consider(row)
	}
	groups := p.group()
	for _, g := range groups {
		p.names.want(g.kind(), g.items[0].namespace, g.name)
	}
	for i := range in.Kube.Bindings {
		p.names.take(kindBinding, in.Kube.Bindings[i].Namespace, in.Kube.Bindings[i].Name)
	}
	for i := range in.Kube.Policies {
		p.names.take(kindPolicy, in.Kube.Policies[i].Namespace, in.Kube.Policies[i].Name)
	}
	for _, g := range groups {
		p.print(g)
	}
	p.sort()
	return p.result
}

const (
	kindBinding = "PluginBinding"
	kindPolicy  = "PluginPolicy"
)

type planner struct {
	in    Input
	names *names
	bound bound
	// entries of another tool's state, by the ID of their row.
	entries map[string]*Entry
	items   []*item
	result  Result
}

// group is what becomes one object.
type group struct {
	items []*item
	// policy: the object is a PluginPolicy.
	policy bool
	// name that it would like, and the key of its hash.
	name, key string
}

func (g *group) kind() string {
	if g.policy {
		return kindPolicy
	}
	return kindBinding
}

// group puts together what the ingress controller made of one KongPlugin on one object.
func (p *planner) group() []*group {
	byKey := map[string]*group{}
	var groups []*group
	for _, it := range p.items {
		key := it.row.ID
		if p.in.Policies != PoliciesNever && it.isKIC() && it.target.Name != "" {
			key = strings.Join([]string{it.source.String(), it.target.Group, it.target.String(), it.row.Scope.ConsumerID, it.row.Scope.ConsumerGroupID}, "\n")
			if it.row.Scope.RouteID == "" && it.row.Scope.ServiceID == "" {
				key = it.row.ID // a consumer is one row
			}
		}
		if byKey[key] == nil {
			byKey[key] = &group{}
			groups = append(groups, byKey[key])
		}
		byKey[key].items = append(byKey[key].items, it)
	}
	var out []*group
	for _, g := range groups {
		if g.policy = p.isPolicy(g); g.policy || len(g.items) == 1 {
			out = append(out, p.named(g, len(g.items) == 1 && p.in.Policies != PoliciesNever))
			continue
		}
		for _, it := range g.items {
			out = append(out, p.named(&group{items: []*item{it}}, false))
		}
	}
	return out
}

// isPolicy reports whether a group becomes a policy.
func (p *planner) isPolicy(g *group) bool {
	first := g.items[0]
	_, isTarget := targetRef(first.target)
	if _, exists := p.in.Kube.Objects[first.target]; !exists || !isTarget || !first.isKIC() || p.in.Policies == PoliciesNever || first.row.Scope.ConsumerGroupID != "" && first.row.Scope.RouteID+first.row.Scope.ServiceID != "" {
		return false
	}
	if len(g.items) == 1 && p.in.Policies != PoliciesAlways && !p.mustShadow(first) {
		return false
	}
	for _, it := range g.items[1:] {
		if !it.sameDeclaration(first) {
			return false // somebody changed one of them in Kong
		}
	}
	return true
}

// mustShadow reports whether a row cannot pass to a binding under its ID while the ingress controller
// wants the place: its insert under another ID would fail, and all of its syncs with it. On a route
// together with its service the two cannot collide.
func (p *planner) mustShadow(it *item) bool {
	return it.claim != nil && it.row.Scope.RouteID != "" && !hasKICsID(it.row, &p.in.Kong, string(p.in.Gateway.Spec.Workspace))
}

// named gives a group the name that it would like.
func (p *planner) named(g *group, single bool) *group {
	first := g.items[0]
	words := []string{first.row.Name}
	if first.isKIC() {
		words[0] = first.source.Name
	}
	switch {
	case first.row.Scope.ConsumerID != "" && g.policy:
		words = append(words, first.target.Name, p.in.Kong.Entities["consumer"][first.row.Scope.ConsumerID].Name)
	case first.target.Name != "" && (g.policy || single):
		words = append(words, first.target.Name)
	case first.scope == nil && first.isKIC():
	case first.scope == nil:
		words = append(words, "global")
	default:
		for _, entity := range reference.ScopeEntities(first.scope) {
			words = append(words, entity.Label())
		}
	}
	// The ID: a database that has lost its unique index has two plugins of one name on one scope.
	g.key = strings.Join([]string{g.kind(), first.source.String(), first.row.Name, reference.ScopeSummary(first.scope), first.row.ID}, "\n")
	if g.policy {
		g.key = strings.Join([]string{g.kind(), first.source.String(), first.target.Group, first.target.String(), first.row.Scope.ConsumerID}, "\n")
	}
	g.name = label(g.key, words...)
	return g
}

// print makes the object of a group.
func (p *planner) print(g *group) {
	first := g.items[0]
	name := p.names.get(g.kind(), first.namespace, g.name, g.key)
	spec := *first.spec.DeepCopy()
	if secret := first.config.fill(&spec, first.namespace, label(g.key, name, "kong-config")); secret != nil {
		p.result.Secrets = append(p.result.Secrets, *secret)
	}
	var object client.Object
	if g.policy {
		object = p.policy(first, name, spec)
	} else {
		object = p.binding(first, name, spec)
	}
	p.result.Objects = append(p.result.Objects, object)
	for _, it := range g.items {
		p.printed(it, g, g.kind()+" "+first.namespace+"/"+name)
	}
}

// printed notes what the object of an item does not say, and what has to be done beside it.
func (p *planner) printed(it *item, g *group, object string) {
	p.result.Imported++
	lost := it.lost
	if g.policy && it.instanceName != "" {
		lost = append(slices.Clone(lost), fmt.Sprintf("instance_name %q, which only one plugin can have", it.instanceName))
	}
	if len(lost) > 0 {
		p.result.Unsaid = append(p.result.Unsaid, unsaid(it.row, &p.in.Kong, false, "%s does not say %s", object, strings.Join(lost, ", ")))
	}
	if it.claim != nil {
		claimed := Claimed{By: *it.claim, Object: object}
		if !slices.Contains(p.result.Claimed, claimed) {
			p.result.Claimed = append(p.result.Claimed, claimed)
		}
	}
	if it.entry != nil {
		p.result.Remove = append(p.result.Remove, Removal{Entry: *it.entry, ID: it.row.ID, Object: object})
	}
}

func (p *planner) meta(it *item, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: it.namespace, Name: name}
}

func (p *planner) gatewayRef(it *item) v1alpha1.GatewayRef {
	ref := v1alpha1.GatewayRef{Name: p.in.Gateway.Name}
	if it.namespace != p.in.Gateway.Namespace {
		ref.Namespace = p.in.Gateway.Namespace
	}
	return ref
}

// binding imports a plugin without an owner by its ID. A plugin of the ingress controller has an owner,
// so that only its place and adoptionPolicy find it; it keeps its ID as well.
func (p *planner) binding(it *item, name string, spec v1alpha1.PluginTemplateSpec) *v1alpha1.PluginBinding {
	binding := &v1alpha1.PluginBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kindBinding},
		ObjectMeta: p.meta(it, name),
		Spec: v1alpha1.PluginBindingSpec{
			GatewayRef: p.gatewayRef(it), Plugin: spec.Plugin, Scope: it.scope, InstanceName: it.instanceName,
			Enabled: spec.Enabled, Protocols: spec.Protocols, Ordering: spec.Ordering, Condition: spec.Condition,
			Partials: spec.Partials, Tags: spec.Tags, Config: spec.Config, ConfigFrom: spec.ConfigFrom, ConfigPatches: spec.ConfigPatches,
			PluginID: v1alpha1.UUID(it.row.ID),
		},
	}
	if it.isKIC() {
		binding.Spec.PluginID, binding.Spec.AdoptionPolicy = "", v1alpha1.AdoptOverride
	}
	return binding
}

func (p *planner) policy(it *item, name string, spec v1alpha1.PluginTemplateSpec) *v1alpha1.PluginPolicy {
	ref, _ := targetRef(it.target)
	if it.row.Scope.RouteID == "" {
		spec.AdoptionPolicy = v1alpha1.AdoptOverride // its bindings take the places of the ingress controller's plugins
	}
	if it.row.Scope.ConsumerID != "" && it.scope.Consumer != nil && ref.Kind != "KongConsumer" {
		spec.Scope = &v1alpha1.TemplateScope{Consumer: *it.scope.Consumer}
	}
	return &v1alpha1.PluginPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kindPolicy},
		ObjectMeta: p.meta(it, name),
		Spec: v1alpha1.PluginPolicySpec{
			GatewayRef: p.gatewayRef(it), TargetRefs: []v1alpha1.PolicyTargetRef{ref},
			Template: v1alpha1.PluginBindingTemplate{Spec: spec},
		},
	}
}

func (p *planner) sort() {
	slices.SortFunc(p.result.Objects, func(a, b client.Object) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()),
			cmp.Compare(a.GetObjectKind().GroupVersionKind().Kind, b.GetObjectKind().GroupVersionKind().Kind), cmp.Compare(a.GetName(), b.GetName()))
	})
	slices.SortFunc(p.result.Secrets, func(a, b Secret) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	slices.SortStableFunc(p.result.Remove, func(a, b Removal) int { return cmp.Compare(a.Entry.Address, b.Entry.Address) })
}
