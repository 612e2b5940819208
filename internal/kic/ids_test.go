package kic

import (
	"testing"

	standin "github.com/pluginbinding/kong-plugin-operator/test/kongtest/kic"
)

// The stand-in's IDs are held to recordings of a real ingress controller.
func TestPluginID(t *testing.T) {
	for _, scope := range []ScopeNames{{}, {Service: "a.b.80"}, {Route: "a.i.b..80"}, {Consumer: "alice"}, {Route: "r", Consumer: "alice"}} {
		want := standin.ID("plugins", standin.PluginKey("key-auth", standin.Scope{Service: scope.Service, Route: scope.Route, Consumer: scope.Consumer}))
		if got := PluginID("", "key-auth", scope); got != want {
			t.Errorf("%+v: %s, want %s", scope, got, want)
		}
	}
	if PluginID("team", "key-auth", ScopeNames{}) == PluginID("", "key-auth", ScopeNames{}) {
		t.Error("the workspace does not count")
	}
}
