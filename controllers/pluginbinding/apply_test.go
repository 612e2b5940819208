package controllers

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// After a change of the cluster id every binding meets its own plugin as another cluster's.
func TestWayBack(t *testing.T) {
	self := identity.Binding{Cluster: "new", Namespace: "shop", Name: "limit"}
	for says, owner := range map[string]identity.Owner{
		"--cluster-id=old again": {Binding: &identity.Binding{Cluster: "old", Namespace: "shop", Name: "limit"}},
		"give it back its tags":  {Binding: &identity.Binding{Cluster: "old", Namespace: "shop", Name: "other"}},
		"or delete it in Kong":   {Tool: "deck"},
		"has taken it over":      {Binding: &identity.Binding{Cluster: "new", Namespace: "shop", Name: "other"}},
		"and plugin name":        {Binding: &self}, // its own marks, on another plugin
	} {
		if got := wayBack(&pass{identity: self}, owner); !strings.Contains(got, says) {
			t.Errorf("%+v: %s", owner, got)
		}
	}
}

func TestAPluginIsClaimedOnce(t *testing.T) {
	l, _ := ledgerAt()
	first, second := types.NamespacedName{Namespace: "shop", Name: "first"}, types.NamespacedName{Namespace: "shop", Name: "second"}
	claimed := func(by types.NamespacedName, plugin string, want types.NamespacedName) {
		t.Helper()
		if got := l.Claim(by, plugin); got != want {
			t.Errorf("%s claims %s: it is %s's, want %s's", by, plugin, got, want)
		}
	}
	claimed(first, "p", first)
	claimed(second, "p", first)
	claimed(first, "p", first)
	claimed(first, "q", first) // and wants the other no more
	claimed(second, "p", second)
	l.Disclaim(second)
	l.Disclaim(second)
	claimed(first, "p", first)
	l.Forget(first)
	claimed(second, "p", second)
	claimed(second, "q", second)
	if len(l.claims.by) != 1 || len(l.claims.held) != 1 {
		t.Errorf("%+v", l.claims)
	}
}
