package tenancy

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

const pluginID = "5a0dc2a4-6c5b-4b3f-9d6e-0a1b2c3d4e5f"

// shop is the namespace of the tenant.
var shop = Namespace{Name: "shop", Labels: map[string]string{"team": "shop"}}

func from(f v1alpha1.FromNamespaces) *v1alpha1.AllowedNamespaces {
	return &v1alpha1.AllowedNamespaces{From: f}
}

func labelled(key, value string) *v1alpha1.AllowedNamespaces {
	return &v1alpha1.AllowedNamespaces{
		From:     v1alpha1.NamespacesFromSelector,
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{key: value}},
	}
}

func gatewayWith(allowed *v1alpha1.AllowedBindings) *v1alpha1.KongGateway {
	gateway := &v1alpha1.KongGateway{ObjectMeta: metav1.ObjectMeta{Namespace: "kong", Name: "main"}}
	gateway.Spec.AllowedBindings = allowed
	return gateway
}

func policyOf(t *testing.T, allowed *v1alpha1.AllowedBindings) Policy {
	t.Helper()
	p, err := NewPolicy(gatewayWith(allowed))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// open is a policy that admits every namespace, and has the defaults otherwise.
func open(edit ...func(*v1alpha1.AllowedBindings)) *v1alpha1.AllowedBindings {
	allowed := &v1alpha1.AllowedBindings{Namespaces: from(v1alpha1.NamespacesFromAll)}
	for _, e := range edit {
		e(allowed)
	}
	return allowed
}

func selectors(s v1alpha1.EntitySelectorsPolicy) func(*v1alpha1.AllowedBindings) {
	return func(a *v1alpha1.AllowedBindings) { a.EntitySelectors = s }
}

func byTags(r *Request) { r.ByTags = true }

func allow(names ...v1alpha1.PluginName) func(*v1alpha1.AllowedBindings) {
	return func(a *v1alpha1.AllowedBindings) { plugins(a).Allow = names }
}

func deny(names ...v1alpha1.PluginName) func(*v1alpha1.AllowedBindings) {
	return func(a *v1alpha1.AllowedBindings) { plugins(a).Deny = names }
}

func plugins(a *v1alpha1.AllowedBindings) *v1alpha1.AllowedPlugins {
	if a.Plugins == nil {
		a.Plugins = &v1alpha1.AllowedPlugins{}
	}
	return a.Plugins
}

func granting(namespaces *v1alpha1.AllowedNamespaces, names ...v1alpha1.PluginName) func(*v1alpha1.AllowedBindings) {
	return func(a *v1alpha1.AllowedBindings) {
		a.Grants = append(a.Grants, v1alpha1.PluginGrant{Namespaces: *namespaces, Plugins: names})
	}
}

func code(c v1alpha1.CodePolicy) func(*v1alpha1.AllowedBindings) {
	return func(a *v1alpha1.AllowedBindings) { a.Code = c }
}

func adoption(limit v1alpha1.AdoptionLimit) func(*v1alpha1.AllowedBindings) {
	return func(a *v1alpha1.AllowedBindings) { a.Adoption = limit }
}

func atMost(n int32) func(*v1alpha1.AllowedBindings) {
	return func(a *v1alpha1.AllowedBindings) { a.MaxBindingsPerNamespace = ptr.To(n) }
}

func sameNamespace(a *v1alpha1.AllowedBindings) { a.Entities = v1alpha1.EntitiesSameNamespace }

func globally(a *v1alpha1.AllowedBindings) { a.GlobalPlugins = v1alpha1.GlobalPluginsAllowed }

// request is an update of a rate limit on a route of the tenant, with all facts known.
func request(edit ...func(*Request)) Request {
	r := Request{
		Namespace: shop, Plugin: "rate-limiting", Rank: 1, Operation: Update, ConfigKnown: true,
		PluginID: pluginID,
		Entities: []Entity{{Kind: "route", Name: "orders", Known: true, Tags: []string{"k8s-namespace:shop"}}},
	}
	for _, e := range edit {
		e(&r)
	}
	return r
}

func doing(o Operation) func(*Request) { return func(r *Request) { r.Operation = o } }

func plugin(name string) func(*Request) { return func(r *Request) { r.Plugin = name } }

func rank(n int) func(*Request) { return func(r *Request) { r.Rank = n } }

func global(r *Request) { r.Global, r.Entities = true, nil }

func acquired(r *Request) { r.Acquired = true }

func withCode(fields ...string) func(*Request) { return func(r *Request) { r.CodeFields = fields } }

func configUnknown(r *Request) { r.ConfigKnown = false }

func on(entities ...Entity) func(*Request) { return func(r *Request) { r.Entities = entities } }

func acquiring(a Acquisition) func(*Request) {
	return func(r *Request) { r.Operation, r.Acquisition = Acquire, a }
}

func TestCheck(t *testing.T) {
	foreign := Entity{Kind: "service", Name: "billing", Known: true, Tags: []string{"k8s-namespace:bank", "team"}}
	untagged := Entity{Kind: "consumer", Name: "alice", Known: true}
	unknown := Entity{Kind: "route", Name: "orders"}
	theirs := Acquisition{Kind: TakeOver, Owner: "PluginBinding kong/guard", OwnerNamespace: "kong"}
	gone := Acquisition{Kind: TakeOverGone, Owner: "PluginBinding old/limit", OwnerNamespace: "old"}
	platformGone := Acquisition{Kind: TakeOverGone, Owner: "PluginBinding kong/guard", OwnerNamespace: "kong"}
	none, unowned, anyOwner := adoption(v1alpha1.AdoptionNone), adoption(v1alpha1.AdoptionUnowned), adoption(v1alpha1.AdoptionAny)

	cases := []struct {
		name    string
		allowed *v1alpha1.AllowedBindings
		request Request
		// rule that refuses; none means that the request is allowed.
		rule Rule
		// says is part of the message.
		says []string
	}{
		{name: "everything is known and allowed", allowed: open(), request: request()},

		// namespaces
		{name: "no allowedBindings", request: request(), rule: RuleNamespaces},
		{name: "no namespaces", allowed: &v1alpha1.AllowedBindings{}, request: request(), rule: RuleNamespaces},
		{name: "only the gateway's own namespace", allowed: &v1alpha1.AllowedBindings{Namespaces: from(v1alpha1.NamespacesFromSame)}, request: request(), rule: RuleNamespaces,
			says: []string{"KongGateway kong/main does not allow bindings from namespace shop. Plugin " + pluginID + " stays in Kong as it is. Have the owner"}},
		{name: "a selector that matches", allowed: &v1alpha1.AllowedBindings{Namespaces: labelled("team", "shop")}, request: request()},
		{name: "a selector that does not match", allowed: &v1alpha1.AllowedBindings{Namespaces: labelled("team", "bank")}, request: request(), rule: RuleNamespaces},
		{name: "a selector that is missing", allowed: &v1alpha1.AllowedBindings{Namespaces: from(v1alpha1.NamespacesFromSelector)}, request: request(), rule: RuleNamespaces},
		{name: "a value that the API does not have", allowed: &v1alpha1.AllowedBindings{Namespaces: from("Near")}, request: request(), rule: RuleNamespaces},
		{name: "no plugin in Kong yet", request: request(func(r *Request) { r.PluginID = "" }), rule: RuleNamespaces,
			says: []string{"from namespace shop. The operator changed nothing in Kong. Have"}},

		// maxBindingsPerNamespace
		{name: "the last that counts", allowed: open(atMost(3)), request: request(rank(3))},
		{name: "the first that does not count", allowed: open(atMost(3)), request: request(rank(4)), rule: RuleMaxBindings,
			says: []string{"KongGateway kong/main allows 3 bindings from namespace shop, and this binding is number 4"}},
		{name: "not counted", allowed: open(atMost(3)), request: request(rank(0)), rule: RuleMaxBindings, says: []string{"has not counted them"}},
		{name: "not counted, before anything is written", allowed: open(atMost(3)), request: request(rank(0), doing(Refer)), rule: RuleMaxBindings},
		{name: "not counted, and without a limit", allowed: open(), request: request(rank(0))},
		{name: "a maximum that the API does not have", allowed: open(atMost(-1)), request: request(rank(2)), rule: RuleMaxBindings},

		// plugins
		{name: "a plugin in allow", allowed: open(allow("cors", "rate-limiting")), request: request()},
		{name: "a plugin that is not in allow", allowed: open(allow("cors")), request: request(), rule: RulePlugins,
			says: []string{"KongGateway kong/main does not allow the plugin rate-limiting from namespace shop", "spec.allowedBindings.plugins.allow"}},
		{name: "a plugin in deny", allowed: open(deny("rate-limiting")), request: request(), rule: RulePlugins, says: []string{"denies the plugin rate-limiting", "plugins.deny"}},
		{name: "a plugin in allow and deny", allowed: open(allow("rate-limiting"), deny("rate-limiting")), request: request(), rule: RulePlugins},
		{name: "a plugin that is not in deny", allowed: open(deny("cors")), request: request()},
		{name: "a grant beside allow", allowed: open(allow("cors"), granting(labelled("team", "shop"), "rate-limiting")), request: request()},
		{name: "a grant beside allow, for others", allowed: open(allow("cors"), granting(labelled("team", "bank"), "rate-limiting")), request: request(), rule: RulePlugins},
		{name: "a grant of another plugin", allowed: open(allow("cors"), granting(labelled("team", "shop"), "acl")), request: request(), rule: RulePlugins},
		{name: "the second grant", allowed: open(allow("cors"), granting(labelled("team", "bank"), "rate-limiting"), granting(from(v1alpha1.NamespacesFromAll), "rate-limiting")), request: request()},
		{name: "a grant of a plugin in deny", allowed: open(deny("rate-limiting"), granting(labelled("team", "shop"), "rate-limiting")), request: request(), rule: RulePlugins},
		{name: "a grant for a namespace that is not selected",
			allowed: &v1alpha1.AllowedBindings{Namespaces: labelled("team", "bank"), Grants: []v1alpha1.PluginGrant{{Namespaces: *labelled("team", "shop"), Plugins: []v1alpha1.PluginName{"rate-limiting"}}}},
			request: request(), rule: RuleNamespaces},

		// code
		{name: "a plugin that runs code", allowed: open(), request: request(plugin("pre-function")), rule: RuleCode,
			says: []string{"The plugin pre-function runs code from its config, and KongGateway kong/main does not allow this from namespace shop", "or to a grant"}},
		{name: "a plugin that runs code, before anything is known", allowed: open(), request: request(plugin("post-function"), doing(Refer), configUnknown), rule: RuleCode},
		{name: "a plugin that runs code, in allow", allowed: open(allow("pre-function")), request: request(plugin("pre-function"))},
		{name: "a plugin that runs code, in a grant", allowed: open(granting(labelled("team", "shop"), "pre-function")), request: request(plugin("pre-function"))},
		{name: "a plugin that runs code, in a grant for others", allowed: open(granting(labelled("team", "bank"), "pre-function")), request: request(plugin("pre-function")), rule: RuleCode},
		{name: "a plugin beside a grant of one that runs code", allowed: open(granting(labelled("team", "shop"), "pre-function")), request: request()},
		{name: "a plugin that runs code, with None, in allow", allowed: open(code(v1alpha1.CodeNone), allow("pre-function")), request: request(plugin("pre-function")), rule: RuleCode,
			says: []string{"have the owner of the gateway change spec.allowedBindings.code"}},
		{name: "a plugin that runs code, with Any", allowed: open(code(v1alpha1.CodeAny)), request: request(plugin("exit-transformer"))},
		{name: "a plugin that runs code, with Any, not in allow", allowed: open(code(v1alpha1.CodeAny), allow("cors")), request: request(plugin("pre-function")), rule: RulePlugins},
		{name: "a policy that the API does not have", allowed: open(code("Some"), allow("pre-function")), request: request(plugin("pre-function")), rule: RuleCode},
		{name: "code in a field", allowed: open(), request: request(plugin("file-log"), withCode("custom_fields_by_lua")), rule: RuleCode,
			says: []string{"The config of the plugin file-log has code in custom_fields_by_lua, and KongGateway kong/main"}},
		{name: "code in many fields", allowed: open(), request: request(withCode("a", "b", "c", "d", "e")), rule: RuleCode, says: []string{"code in a, b, c and 2 more"}},
		{name: "code in a field, in allow", allowed: open(allow("file-log")), request: request(plugin("file-log"), withCode("custom_fields_by_lua"))},
		{name: "code in a field, with None", allowed: open(code(v1alpha1.CodeNone), allow("file-log")), request: request(plugin("file-log"), withCode("custom_fields_by_lua")), rule: RuleCode},
		{name: "code in a field, with Any", allowed: open(code(v1alpha1.CodeAny)), request: request(withCode("x"))},
		{name: "an unknown config, before anything is written", allowed: open(), request: request(doing(Refer), configUnknown)},
		{name: "an unknown config", allowed: open(), request: request(configUnknown), rule: RuleCode, says: []string{"has not read the config"}},
		{name: "an unknown config with Any", allowed: open(code(v1alpha1.CodeAny)), request: request(configUnknown)},

		// globalPlugins
		{name: "a global plugin", allowed: open(), request: request(global), rule: RuleGlobalPlugins,
			says: []string{"KongGateway kong/main does not allow a plugin without a scope from namespace shop", "globalPlugins to Allowed"}},
		{name: "a global plugin that is allowed", allowed: open(globally), request: request(global)},
		{name: "a global plugin by a policy that the API does not have", allowed: open(func(a *v1alpha1.AllowedBindings) { a.GlobalPlugins = "Maybe" }), request: request(global), rule: RuleGlobalPlugins},

		// entities
		{name: "an entity of the namespace", allowed: open(sameNamespace), request: request()},
		{name: "an entity of another namespace", allowed: open(sameNamespace), request: request(on(foreign)), rule: RuleEntities,
			says: []string{"KongGateway kong/main allows only entities with the tag k8s-namespace:shop, which is missing on service billing. "}},
		{name: "an entity without tags", allowed: open(sameNamespace), request: request(on(untagged)), rule: RuleEntities, says: []string{"on consumer alice"}},
		{name: "an entity of the namespace and another", allowed: open(sameNamespace), request: request(on(request().Entities[0], foreign, untagged)), rule: RuleEntities,
			says: []string{"missing on service billing, consumer alice"}},
		{name: "an entity of another namespace, with All", allowed: open(), request: request(on(foreign))},
		{name: "an entity that is not known", allowed: open(sameNamespace), request: request(on(unknown)), rule: RuleEntities, says: []string{"does not know their tags"}},
		{name: "no entity at all", allowed: open(sameNamespace), request: request(on()), rule: RuleEntities},
		{name: "an entity that is not known, before anything is written", allowed: open(sameNamespace), request: request(on(unknown), doing(Refer))},
		{name: "an entity that is not known beside a foreign one, before anything is written", allowed: open(sameNamespace), request: request(on(unknown, foreign), doing(Refer)), rule: RuleEntities},
		{name: "a global plugin has none", allowed: open(sameNamespace, globally), request: request(global)},
		{name: "a policy for entities that the API does not have", allowed: open(func(a *v1alpha1.AllowedBindings) { a.Entities = "Some" }), request: request(on(foreign)), rule: RuleEntities},

		// adoption
		{name: "adopting an unowned plugin", allowed: open(), request: request(acquiring(Acquisition{Kind: AdoptUnowned}))},
		{name: "adopting an unowned plugin, with None", allowed: open(none), request: request(acquiring(Acquisition{Kind: AdoptUnowned})), rule: RuleAdoption,
			says: []string{"to adopt plugin " + pluginID, "adoption to Unowned"}},
		{name: "importing", allowed: open(unowned), request: request(acquiring(Acquisition{Kind: Import}))},
		{name: "importing, with None", allowed: open(none), request: request(acquiring(Acquisition{Kind: Import})), rule: RuleAdoption},
		{name: "importing, with None, before anything is asked", allowed: open(none), request: request(acquiring(Acquisition{Kind: Import}), doing(Refer)), rule: RuleAdoption},
		{name: "importing from another scope", allowed: open(), request: request(acquiring(Acquisition{Kind: Import, Moves: true})), rule: RuleAdoption,
			says: []string{"to move plugin " + pluginID, "Set spec.scope to the scope of the plugin"}},
		{name: "importing from another scope, with Any", allowed: open(anyOwner), request: request(acquiring(Acquisition{Kind: Import, Moves: true}))},
		{name: "taking over", allowed: open(), request: request(acquiring(theirs)), rule: RuleAdoption,
			says: []string{"to take over plugin " + pluginID + ", owned by PluginBinding kong/guard. Plugin " + pluginID + " stays in Kong as it is.", "adoption to Any"}},
		{name: "taking over, with None", allowed: open(none), request: request(acquiring(theirs)), rule: RuleAdoption, says: []string{"to take over"}},
		{name: "taking over, with Any", allowed: open(anyOwner), request: request(acquiring(theirs))},
		{name: "taking over from an owner that is gone", allowed: open(), request: request(acquiring(gone))},
		{name: "taking over from an owner that is gone, with None", allowed: open(none), request: request(acquiring(gone)), rule: RuleAdoption},
		{name: "taking over from an owner in the gateway's namespace that is gone", allowed: open(), request: request(acquiring(platformGone)), rule: RuleAdoption},
		{name: "the same, with Any", allowed: open(anyOwner), request: request(acquiring(platformGone))},
		{name: "replacing a binding", allowed: open(), request: request(acquiring(Acquisition{Kind: Replace, Owner: "PluginBinding shop/old", Moves: true}))},
		{name: "replacing a binding whose plugin existed before", allowed: open(), request: request(acquired, acquiring(Acquisition{Kind: Replace, Owner: "PluginBinding shop/old"}))},
		{name: "replacing it and moving that plugin", allowed: open(), request: request(acquired, acquiring(Acquisition{Kind: Replace, Owner: "PluginBinding shop/old", Moves: true})), rule: RuleAcquired},
		{name: "moving from an owner that is gone", allowed: open(), request: request(acquiring(Acquisition{Kind: TakeOverGone, OwnerNamespace: "old", Moves: true})), rule: RuleAdoption},
		{name: "acquiring without saying how", allowed: open(), request: request(doing(Acquire)), rule: RuleAdoption},
		{name: "acquiring without saying how, with Any", allowed: open(anyOwner), request: request(doing(Acquire))},
		{name: "a limit that the API does not have", allowed: open(adoption("Some")), request: request(acquiring(Acquisition{Kind: AdoptUnowned})), rule: RuleAdoption},

		// acquired
		{name: "updating what was acquired", allowed: open(), request: request(acquired)},
		{name: "restoring what was acquired", allowed: open(), request: request(acquired, doing(Create))},
		{name: "updating what was acquired, with None", allowed: open(none), request: request(acquired), rule: RuleAcquired, says: []string{"to manage plugin " + pluginID}},
		{name: "referring to what was acquired, with None", allowed: open(none), request: request(acquired, doing(Refer)), rule: RuleAcquired},
		{name: "moving what was acquired", allowed: open(), request: request(acquired, doing(Move)), rule: RuleAcquired,
			says: []string{"to move plugin " + pluginID + ", which existed before the binding", "Restore the former spec.scope"}},
		{name: "moving what was acquired, with Any", allowed: open(anyOwner), request: request(acquired, doing(Move))},
		{name: "moving what was created", allowed: open(none), request: request(doing(Move))},

		// deletion
		{name: "deleting what was created", allowed: open(none), request: request(doing(Delete))},
		{name: "deleting what was created, in spite of all rules", request: request(doing(Delete), global, plugin("pre-function"), rank(0), configUnknown)},
		{name: "deleting what was acquired", allowed: open(), request: request(acquired, doing(Delete)), rule: RuleAcquired,
			says: []string{"to delete plugin " + pluginID + ", which existed before the binding. The operator keeps the plugin in Kong and removes its ownership tags. To delete the plugin,"}},
		{name: "deleting what was acquired, with None", allowed: open(none), request: request(acquired, doing(Delete)), rule: RuleAcquired, says: []string{"to delete"}},
		{name: "deleting what was acquired, with Any", allowed: open(anyOwner), request: request(acquired, doing(Delete))},
		{name: "deleting what was acquired, with Any, from a namespace that is not selected any more",
			allowed: &v1alpha1.AllowedBindings{Namespaces: from(v1alpha1.NamespacesFromSame), Adoption: v1alpha1.AdoptionAny},
			request: request(acquired, doing(Delete)), rule: RuleNamespaces, says: []string{"keeps the plugin in Kong"}},
		{name: "deleting what was acquired, with Any, of a plugin that is denied", allowed: open(anyOwner, deny("rate-limiting")), request: request(acquired, doing(Delete)), rule: RulePlugins},
		{name: "deleting what was acquired, with Any, and is global", allowed: open(anyOwner), request: request(acquired, doing(Delete), global), rule: RuleGlobalPlugins},
		{name: "deleting what was acquired, with Any, on an entity of another namespace", allowed: open(anyOwner, sameNamespace), request: request(acquired, doing(Delete), on(foreign)), rule: RuleEntities},
		{name: "deleting what was acquired, with Any, on unknown entities", allowed: open(anyOwner, sameNamespace), request: request(acquired, doing(Delete), on()), rule: RuleEntities},
		{name: "deleting what was acquired, with Any, beyond the maximum and with code", allowed: open(anyOwner, atMost(1)),
			request: request(acquired, doing(Delete), rank(7), plugin("pre-function"), configUnknown)},
		{name: "releasing what was acquired", allowed: open(none), request: request(acquired, doing(Release))},
		{name: "releasing, in spite of all rules", request: request(doing(Release), global, plugin("pre-function"))},

		// entitySelectors
		{name: "selecting by tags", allowed: open(), request: request(byTags, doing(Refer)), rule: RuleSelectors,
			says: []string{"does not allow spec.entitySelector from namespace shop", "entitySelectors to Allowed"}},
		{name: "selecting by tags, with Allowed", allowed: open(selectors(v1alpha1.EntitySelectorsAllowed)), request: request(byTags, doing(Refer))},
		{name: "selecting by tags, with what the API does not have", allowed: open(selectors("Some")), request: request(byTags, doing(Refer)), rule: RuleSelectors},

		// order
		{name: "the first rule decides", allowed: open(deny("pre-function"), atMost(1)), request: request(rank(2), plugin("pre-function"), global), rule: RuleMaxBindings},
	}
	shown := map[Rule]bool{}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			got := Check(policyOf(t, tc.allowed), tc.request)
			if got.Rule != tc.rule || got.Allowed() != (tc.rule == "") || got.Allowed() != (got.Message == "") {
				t.Fatalf("got %q (%s), want %q", got.Rule, got.Message, tc.rule)
			}
			for _, words := range tc.says {
				if !strings.Contains(got.Message, words) {
					t.Errorf("the message does not say %q:\n%s", words, got.Message)
				}
			}
			inThreeParts(t, got)

			own := tc.request
			own.Namespace = Namespace{Name: "kong"}
			if d := Check(policyOf(t, tc.allowed), own); !d.Allowed() {
				t.Errorf("refused in the gateway's own namespace: %s", d.Message)
			}
		})
		shown[tc.rule] = true
	}
	for _, rule := range rules {
		if !shown[rule.name] {
			t.Errorf("no case shows rule %s", rule.name)
		}
	}
}

// inThreeParts holds a message to its shape: three sentences at least, and one object by name.
func inThreeParts(t *testing.T, d Decision) {
	t.Helper()
	if d.Allowed() {
		return
	}
	sentences := strings.Count(d.Message, ". ") + 1
	if sentences < 3 || !strings.HasSuffix(d.Message, ".") || strings.Contains(d.Message, "..") || !strings.Contains(d.Message, "KongGateway kong/main") {
		t.Errorf("not a message of three parts about the gateway: %s", d.Message)
	}
}

func TestZeroPolicyAllowsNothing(t *testing.T) {
	for _, namespace := range []string{"", "shop"} {
		for operation := Refer; operation <= Acquire; operation++ {
			r := request(doing(operation))
			r.Namespace = Namespace{Name: namespace}
			if Check(Policy{}, r).Allowed() {
				t.Errorf("namespace %q, operation %d: allowed", namespace, operation)
			}
		}
	}
}

func TestMessagesAreBounded(t *testing.T) {
	long := strings.Repeat("ä", 5000)
	policy := policyOf(t, open(atMost(1), code(v1alpha1.CodeNone), sameNamespace, adoption(v1alpha1.AdoptionNone), deny(v1alpha1.PluginName(long))))
	policy.gateway.Name = long
	entity := Entity{Kind: "service", Name: long, Known: true}
	base := Request{
		Namespace: Namespace{Name: long}, Plugin: "acl", PluginID: long, Rank: 1, ConfigKnown: true, Operation: Update,
		Entities: []Entity{{Known: true, Tags: []string{NamespaceTag(long)}}},
	}
	for rule, edit := range map[Rule]func(*Request){
		RuleMaxBindings:   func(r *Request) { r.Rank = 1 << 40 },
		RulePlugins:       func(r *Request) { r.Plugin = long },
		RuleCode:          func(r *Request) { r.CodeFields = []string{long, long, long, long, long} },
		RuleGlobalPlugins: func(r *Request) { r.Global = true },
		RuleEntities:      func(r *Request) { r.Entities = []Entity{entity, entity, entity, entity, entity} },
		RuleAdoption: func(r *Request) {
			r.Operation, r.Acquisition = Acquire, Acquisition{Kind: TakeOver, Owner: long}
		},
		RuleAcquired: func(r *Request) { r.Acquired = true },
	} {
		r := base
		edit(&r)
		got := Check(policy, r)
		if got.Rule != rule {
			t.Errorf("got %q, want %q: %s", got.Rule, rule, got.Message)
		}
		if len(got.Message) > MaxMessage || !strings.Contains(got.Message, "ää...") || !strings.HasSuffix(got.Message, ".") {
			t.Errorf("%s: %d bytes: %s", rule, len(got.Message), got.Message)
		}
	}
}

func TestNewPolicyNamesWhatIsWrong(t *testing.T) {
	bad := v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: "Near"}},
	}}
	long := v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "team", Operator: metav1.LabelSelectorOpNotIn, Values: make([]string, 1000)},
			{Key: "team", Operator: metav1.LabelSelectorOpNotIn, Values: make([]string, 25)},
		},
	}}
	gateway := gatewayWith(&v1alpha1.AllowedBindings{
		Namespaces: from(v1alpha1.NamespacesFromAll),
		Grants: []v1alpha1.PluginGrant{
			{Namespaces: *labelled("team", "shop"), Plugins: []v1alpha1.PluginName{"acl"}},
			{Namespaces: bad, Plugins: []v1alpha1.PluginName{"pre-function"}},
		},
	})
	gateway.Spec.AllowedGateways = &v1alpha1.AllowedGateways{Namespaces: &long}
	policy, err := NewPolicy(gateway)
	if err == nil {
		t.Fatal("no error")
	}
	for _, words := range []string{
		`spec.allowedBindings.grants[1].namespaces.selector: "Near" is not a valid label selector operator`,
		"spec.allowedGateways.namespaces.selector: has 1025 values in matchExpressions, and the maximum is 1024",
	} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("the error does not say %q: %v", words, err)
		}
	}
	if strings.Contains(err.Error(), "grants[0]") {
		t.Errorf("the error names what is right: %v", err)
	}
	if got := Check(policy, request()); !got.Allowed() {
		t.Errorf("the rest of the policy cannot be used: %s", got.Message)
	}
	if got := Check(policy, request(plugin("pre-function"))); got.Rule != RuleCode {
		t.Errorf("a selector that is not valid grants something: %+v", got)
	}
	if policy.gateways.has(shop) {
		t.Error("a selector that is not valid admits a gateway")
	}

	gateway.Spec.AllowedBindings.Namespaces = &bad
	policy, err = NewPolicy(gateway)
	if err == nil || !strings.Contains(err.Error(), "spec.allowedBindings.namespaces.selector: ") {
		t.Errorf("namespaces: %v", err)
	}
	if got := Check(policy, request()); got.Rule != RuleNamespaces {
		t.Errorf("a selector that is not valid admits a namespace: %+v", got)
	}

	if _, err := NewPolicy(gatewayWith(nil)); err != nil {
		t.Errorf("without allowedBindings: %v", err)
	}
}

func TestWhatAPolicyNeeds(t *testing.T) {
	plain, strict := policyOf(t, open()), policyOf(t, open(atMost(1), sameNamespace))
	if plain.NeedsRank() || plain.NeedsTags() || !strict.NeedsRank() || !strict.NeedsTags() {
		t.Errorf("rank %t and %t, tags %t and %t", plain.NeedsRank(), strict.NeedsRank(), plain.NeedsTags(), strict.NeedsTags())
	}
	if plain.Restricts("kong") || !plain.Restricts("shop") || !plain.Restricts("") {
		t.Error("a policy applies to all namespaces but its own")
	}
}
