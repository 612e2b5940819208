package reference

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

func TestScopes(t *testing.T) {
	id := "11111111-1111-4111-8111-111111111111"
	for _, tc := range []struct {
		scope   *v1alpha1.Scope
		summary string
		first   string
		names   plugin.ScopeNames
	}{
		{nil, "global", "", plugin.ScopeNames{}},
		{&v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "orders"}, Route: &v1alpha1.EntityRef{Name: "r"}}, "service/orders+route/r", `service named "orders"`, plugin.ScopeNames{Service: "orders", Route: "r"}},
		{&v1alpha1.Scope{Route: &v1alpha1.EntityRef{ID: v1alpha1.UUID(id)}}, "route/" + id, "route with the id " + id, plugin.ScopeNames{}},
		{&v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{Username: "eve"}}, "consumer/eve", `consumer with the username "eve"`, plugin.ScopeNames{Consumer: "eve"}},
		{&v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{CustomID: "c-1"}}, "consumer/c-1", `consumer with the custom id "c-1"`, plugin.ScopeNames{}},
		{&v1alpha1.Scope{ConsumerGroup: &v1alpha1.EntityRef{Name: "gold"}}, "consumer-group/gold", `consumer group named "gold"`, plugin.ScopeNames{ConsumerGroup: "gold"}},
	} {
		if got := ScopeSummary(tc.scope); got != tc.summary {
			t.Errorf("summary %s, want %s", got, tc.summary)
		}
		if got := ScopeNames(tc.scope); got != tc.names {
			t.Errorf("%s: names %+v, want %+v", tc.summary, got, tc.names)
		}
		entities := ScopeEntities(tc.scope)
		if len(entities) > 0 && entities[0].String() != tc.first {
			t.Errorf("%s: described as %s, want %s", tc.summary, entities[0], tc.first)
		}
		var resolved plugin.Scope
		for i, entity := range entities {
			entity.SetID(&resolved, string(rune('a'+i)))
		}
		if (resolved == plugin.Scope{}) != (len(entities) == 0) {
			t.Errorf("%s: resolved to %+v", tc.summary, resolved)
		}
	}
}

func TestGatewayOf(t *testing.T) {
	binding := &v1alpha1.PluginBinding{}
	binding.Namespace, binding.Spec.GatewayRef.Name = "shop", "kong"
	if got := GatewayOf(binding); got != (types.NamespacedName{Namespace: "shop", Name: "kong"}) {
		t.Errorf("without a namespace: %s", got)
	}
	binding.Spec.GatewayRef.Namespace = "platform"
	if got := GatewayOf(binding); got != (types.NamespacedName{Namespace: "platform", Name: "kong"}) {
		t.Errorf("with a namespace: %s", got)
	}
}
