package controllers

import (
	"strings"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// After a change of the cluster id every binding meets its own plugin as another cluster's.
func TestWayBack(t *testing.T) {
	self := identity.Binding{Cluster: "new", Namespace: "shop", Name: "limit"}
	for says, owner := range map[string]identity.Owner{
		"--cluster-id=old again": {Binding: &identity.Binding{Cluster: "old", Namespace: "shop", Name: "limit"}},
		"give it back its tags":  {Binding: &identity.Binding{Cluster: "old", Namespace: "shop", Name: "other"}},
		"or delete it in Kong":   {Tool: "deck"},
	} {
		if got := wayBack(&pass{identity: self}, owner); !strings.Contains(got, says) {
			t.Errorf("%+v: %s", owner, got)
		}
	}
}
