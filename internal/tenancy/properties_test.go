package tenancy

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// The words of the generated policies and requests are few, so that they meet.
var (
	somePlugins    = []v1alpha1.PluginName{"acl", "cors", "pre-function", "file-log"}
	someNamespaces = []Namespace{
		shop,
		{Name: "bank", Labels: map[string]string{"team": "bank"}},
		{Name: "bare"},
	}
	codes     = []v1alpha1.CodePolicy{v1alpha1.CodeNone, v1alpha1.CodeNamed, v1alpha1.CodeAny}
	adoptions = []v1alpha1.AdoptionLimit{v1alpha1.AdoptionNone, v1alpha1.AdoptionUnowned, v1alpha1.AdoptionAny}
)

func drawNamespaces(t *rapid.T, label string) *v1alpha1.AllowedNamespaces {
	return rapid.SampledFrom([]*v1alpha1.AllowedNamespaces{
		nil, from(v1alpha1.NamespacesFromSame), from(v1alpha1.NamespacesFromAll), labelled("team", "shop"), labelled("team", "bank"),
	}).Draw(t, label)
}

func drawPlugins(t *rapid.T, label string, least int) []v1alpha1.PluginName {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(somePlugins), least, len(somePlugins), rapid.ID).Draw(t, label)
}

func drawAllowed(t *rapid.T) *v1alpha1.AllowedBindings {
	a := &v1alpha1.AllowedBindings{
		Namespaces:      drawNamespaces(t, "namespaces"),
		Plugins:         &v1alpha1.AllowedPlugins{Allow: drawPlugins(t, "allow", 0), Deny: drawPlugins(t, "deny", 0)},
		Code:            rapid.SampledFrom(codes).Draw(t, "code"),
		EntitySelectors: rapid.SampledFrom([]v1alpha1.EntitySelectorsPolicy{v1alpha1.EntitySelectorsDenied, v1alpha1.EntitySelectorsAllowed}).Draw(t, "entitySelectors"),
		GlobalPlugins:   rapid.SampledFrom([]v1alpha1.GlobalPluginsPolicy{v1alpha1.GlobalPluginsDenied, v1alpha1.GlobalPluginsAllowed}).Draw(t, "globalPlugins"),
		Entities:        rapid.SampledFrom([]v1alpha1.EntityPolicy{v1alpha1.EntitiesSameNamespace, v1alpha1.EntitiesAll}).Draw(t, "entities"),
		Adoption:        rapid.SampledFrom(adoptions).Draw(t, "adoption"),
	}
	for range rapid.IntRange(0, 2).Draw(t, "grants") {
		namespaces := rapid.SampledFrom([]*v1alpha1.AllowedNamespaces{from(v1alpha1.NamespacesFromAll), labelled("team", "shop"), labelled("team", "bank")}).Draw(t, "granted to")
		a.Grants = append(a.Grants, v1alpha1.PluginGrant{Namespaces: *namespaces, Plugins: drawPlugins(t, "granted", 1)})
	}
	if n := rapid.Int32Range(0, 3).Draw(t, "maximum"); n > 0 {
		a.MaxBindingsPerNamespace = &n
	}
	return a
}

func drawRequest(t *rapid.T) Request {
	r := Request{
		Namespace:   rapid.SampledFrom(someNamespaces).Draw(t, "namespace"),
		Plugin:      string(rapid.SampledFrom(somePlugins).Draw(t, "plugin")),
		Global:      rapid.Bool().Draw(t, "global"),
		ByTags:      rapid.Bool().Draw(t, "byTags"),
		Rank:        rapid.IntRange(0, 4).Draw(t, "rank"),
		Operation:   Operation(rapid.IntRange(int(Refer), int(Delete)).Draw(t, "operation")),
		ConfigKnown: rapid.Bool().Draw(t, "config known"),
		Acquired:    rapid.Bool().Draw(t, "acquired"),
		Acquisition: Acquisition{
			Kind:           AcquisitionKind(rapid.IntRange(int(NoAcquisition), int(TakeOver)).Draw(t, "acquisition")),
			Moves:          rapid.Bool().Draw(t, "moves"),
			OwnerNamespace: rapid.SampledFrom([]string{"", "kong", "bank"}).Draw(t, "owner"),
		},
	}
	if rapid.Bool().Draw(t, "code") {
		r.CodeFields = []string{"by_lua"}
	}
	for range rapid.IntRange(0, 2).Draw(t, "entities") {
		r.Entities = append(r.Entities, Entity{
			Kind: "route", Name: "r", Known: rapid.Bool().Draw(t, "known"),
			Tags: rapid.SampledFrom([][]string{nil, {"k8s-namespace:shop"}, {"k8s-namespace:bank", "k8s-namespace:shop"}}).Draw(t, "tags"),
		})
	}
	return r
}

// stricter returns variants that differ in one field and are meant to allow less, by name.
func stricter(t *rapid.T, a *v1alpha1.AllowedBindings) map[string]*v1alpha1.AllowedBindings {
	fewer := func(names []v1alpha1.PluginName) []v1alpha1.PluginName {
		i := rapid.IntRange(0, len(names)-1).Draw(t, "which")
		return slices.Delete(slices.Clone(names), i, i+1)
	}
	type step struct {
		name string
		can  bool
		do   func(a *v1alpha1.AllowedBindings)
	}
	steps := []step{
		{"no other namespace", true, func(a *v1alpha1.AllowedBindings) { a.Namespaces = from(v1alpha1.NamespacesFromSame) }},
		{"a selector instead of all", a.Namespaces != nil && a.Namespaces.From == v1alpha1.NamespacesFromAll, func(a *v1alpha1.AllowedBindings) { a.Namespaces = labelled("team", "shop") }},
		// Without its last name the list would allow all.
		{"one plugin less in allow", len(a.Plugins.Allow) > 1, func(a *v1alpha1.AllowedBindings) { a.Plugins.Allow = fewer(a.Plugins.Allow) }},
		{"one plugin more in deny", true, func(a *v1alpha1.AllowedBindings) {
			a.Plugins.Deny = append(a.Plugins.Deny, rapid.SampledFrom(somePlugins).Draw(t, "denied"))
		}},
		{"no grants", true, func(a *v1alpha1.AllowedBindings) { a.Grants = nil }},
		{"a grant less", len(a.Grants) > 0, func(a *v1alpha1.AllowedBindings) { a.Grants = a.Grants[1:] }},
		{"a grant for fewer namespaces", len(a.Grants) > 0 && a.Grants[0].Namespaces.From == v1alpha1.NamespacesFromAll, func(a *v1alpha1.AllowedBindings) {
			a.Grants[0].Namespaces = *labelled("team", "bank")
		}},
		{"a grant of fewer plugins", len(a.Grants) > 0, func(a *v1alpha1.AllowedBindings) { a.Grants[0].Plugins = fewer(a.Grants[0].Plugins) }},
		{"less code", a.Code != v1alpha1.CodeNone, func(a *v1alpha1.AllowedBindings) { a.Code = codes[slices.Index(codes, a.Code)-1] }},
		{"no selectors", true, func(a *v1alpha1.AllowedBindings) { a.EntitySelectors = v1alpha1.EntitySelectorsDenied }},
		{"no global scope", true, func(a *v1alpha1.AllowedBindings) { a.GlobalPlugins = v1alpha1.GlobalPluginsDenied }},
		{"entities of the namespace", true, func(a *v1alpha1.AllowedBindings) { a.Entities = v1alpha1.EntitiesSameNamespace }},
		{"less adoption", a.Adoption != v1alpha1.AdoptionNone, func(a *v1alpha1.AllowedBindings) { a.Adoption = adoptions[slices.Index(adoptions, a.Adoption)-1] }},
		{"a maximum", a.MaxBindingsPerNamespace == nil, func(a *v1alpha1.AllowedBindings) { a.MaxBindingsPerNamespace = ptr.To[int32](3) }},
		{"a lower maximum", ptr.Deref(a.MaxBindingsPerNamespace, 0) > 1, func(a *v1alpha1.AllowedBindings) { a.MaxBindingsPerNamespace = ptr.To(*a.MaxBindingsPerNamespace - 1) }},
	}
	variants := map[string]*v1alpha1.AllowedBindings{}
	for _, s := range steps {
		if s.can {
			variants[s.name] = a.DeepCopy()
			s.do(variants[s.name])
		}
	}
	return variants
}

func compiled(t *rapid.T, allowed *v1alpha1.AllowedBindings) Policy {
	p, err := NewPolicy(gatewayWith(allowed))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A policy that is stricter in one field never allows what the policy before refused.
func TestStricterNeverAllowsMore(t *testing.T) {
	refusing := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		allowed := drawAllowed(t)
		before := compiled(t, allowed)
		variants := map[string]Policy{}
		for name, variant := range stricter(t, allowed) {
			variants[name] = compiled(t, variant)
		}
		for range 50 {
			r := drawRequest(t)
			was := Check(before, r)
			for name, after := range variants {
				switch is := Check(after, r); {
				case is.Allowed() && !was.Allowed():
					t.Fatalf("with %q a request is allowed that %s refused before", name, was.Rule)
				case was.Allowed() && !is.Allowed():
					refusing[name]++
				}
			}
		}
	})
	if len(refusing) == 0 {
		t.Error("no variant refused anything: the test shows nothing")
	}
}

// A write that lacks a fact is refused whenever it would be refused with the best fact.
func TestMissingFactsNeverAllowMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy, r := compiled(t, drawAllowed(t)), drawRequest(t)
		r.Operation = rapid.SampledFrom([]Operation{Create, Update, Move, Acquire}).Draw(t, "write")
		good := r
		good.ConfigKnown, good.CodeFields = true, nil
		good.Entities = []Entity{{Kind: "route", Name: "r", Known: true, Tags: []string{NamespaceTag(r.Namespace.Name)}}}
		good.Rank = 1
		lacking := good
		switch rapid.IntRange(0, 2).Draw(t, "lacking") {
		case 0:
			lacking.ConfigKnown = false
		case 1:
			lacking.Entities = nil
		case 2:
			lacking.Rank = 0
		}
		if Check(policy, lacking).Allowed() && !Check(policy, good).Allowed() {
			t.Fatal("a request that lacks a fact is allowed, and one with a good fact is not")
		}
	})
}

// FuzzCheck: nothing panics, the gateway's own namespace is never refused, refusals have a message
// within its bound, and what the binding created may always be deleted.
func FuzzCheck(f *testing.F) {
	f.Add("shop", "team", "shop", "Selector", "pre-function", "acl", "Named", "Denied", "All", "Unowned", int32(3), 2, 1, 4, byte(0xff), "route", "k8s-namespace:shop", "PluginBinding kong/a")
	f.Add("kong", "", "", "All", "acl", "acl", "", "", "SameNamespace", "None", int32(-1), -1, 6, 3, byte(0), "", "", "")
	f.Fuzz(func(t *testing.T, namespace, key, value, fromText, plugin, listed, code, global, entities, adoption string,
		maximum int32, rank, operation, kind int, flags byte, name, tag, owner string) {
		set := v1alpha1.AllowedNamespaces{From: v1alpha1.FromNamespaces(fromText), Selector: labelled(key, value).Selector}
		allowed := &v1alpha1.AllowedBindings{
			Namespaces:    &set,
			Grants:        []v1alpha1.PluginGrant{{Namespaces: set, Plugins: []v1alpha1.PluginName{v1alpha1.PluginName(listed)}}},
			Code:          v1alpha1.CodePolicy(code),
			GlobalPlugins: v1alpha1.GlobalPluginsPolicy(global),
			Entities:      v1alpha1.EntityPolicy(entities),
			Adoption:      v1alpha1.AdoptionLimit(adoption),
		}
		flag := func(bit int) bool { return flags&(1<<bit) != 0 }
		if flag(0) {
			allowed.MaxBindingsPerNamespace = &maximum
		}
		if flag(1) {
			allowed.Plugins = &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{v1alpha1.PluginName(listed)}}
		}
		r := Request{
			Namespace: Namespace{Name: namespace, Labels: map[string]string{key: value}}, Plugin: plugin, Global: flag(2), Rank: rank,
			Operation: Operation(operation), PluginID: owner, ConfigKnown: flag(3), Acquired: flag(4),
			Entities:    []Entity{{Kind: name, Name: name, Known: flag(5), Tags: []string{tag}}},
			Acquisition: Acquisition{Kind: AcquisitionKind(kind), Moves: flag(6), Owner: owner, OwnerNamespace: tag},
		}
		if flag(7) {
			r.CodeFields = []string{name, tag, owner, listed, plugin}
		}
		policy, err := NewPolicy(gatewayWith(allowed))
		got := Check(policy, r)
		if got.Allowed() != (got.Message == "") || len(got.Message) > MaxMessage || !utf8.ValidString(got.Message) {
			t.Errorf("%q: %d bytes: %q", got.Rule, len(got.Message), got.Message)
		}
		if err != nil && strings.Contains(err.Error(), "spec.allowedBindings.namespaces") && got.Allowed() && policy.Restricts(namespace) && r.Operation != Release && r.Operation != Delete {
			t.Errorf("allowed by a selector that is not valid: %v", err)
		}
		created := r
		created.Operation, created.Acquired = Delete, false
		if d := Check(policy, created); !d.Allowed() {
			t.Errorf("a binding may not delete what it created: %s", d.Message)
		}
		r.Namespace.Name = "kong"
		if d := Check(policy, r); !d.Allowed() {
			t.Errorf("refused in the gateway's own namespace: %s", d.Message)
		}
	})
}
