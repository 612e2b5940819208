package pluginbinding

import (
	"strings"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// After a change of the cluster ID, every binding meets its own plugin as another cluster's.
func TestForeignTagsRemediation(t *testing.T) {
	self := identity.Binding{Cluster: "new", Namespace: "shop", Name: "limit"}
	for want, owner := range map[string]identity.Owner{
		"--cluster-id=old":           {Binding: &identity.Binding{Cluster: "old", Namespace: "shop", Name: "limit"}},
		"Restore its ownership tags": {Binding: &identity.Binding{Cluster: "old", Namespace: "shop", Name: "other"}},
		"or delete it in Kong":       {Tool: "deck"},
		"took the plugin over":       {Binding: &identity.Binding{Cluster: "new", Namespace: "shop", Name: "other"}},
		"and its plugin name":        {Binding: &self}, // its own tags, on another plugin
	} {
		if got := foreignTagsRemediation(self, owner); !strings.Contains(got, want) {
			t.Errorf("%+v: %s", owner, got)
		}
	}
}
