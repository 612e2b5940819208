package connection

import (
	"encoding/json"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/inflight"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

func newPlugin(t *testing.T, id string) plugin.Plugin {
	t.Helper()
	var config map[string]any
	if err := json.Unmarshal([]byte(`{"minute":1e3,"hour":null,"big":9007199254740993,"small":0.1,"list":[],"text":"<&>\u2028","on":true}`), &config); err != nil {
		t.Fatal(err)
	}
	self := identity.Binding{Cluster: "c", Namespace: "shop", Name: id, UID: "u"}
	return plugin.Plugin{
		ID: id, Name: "rate-limiting", InstanceName: self.InstanceName(), Enabled: true,
		Scope:     plugin.Scope{RouteID: "r"},
		Protocols: []string{"http"}, Tags: self.OwnershipTags(), Config: config,
		Ordering:  map[string]map[string][]string{"before": {"access": {"acl"}}},
		CreatedAt: 1700000000, UpdatedAt: 1700000001,
	}
}

// A snapshot keeps plugins as text. What comes out has to be what Kong returned, or a
// programmed plugin would look changed.
func TestSnapshotReturnsPluginsUnchanged(t *testing.T) {
	snapshot := NewSnapshot(inflight.Time{})
	full, bare := newPlugin(t, "full"), plugin.Plugin{ID: "bare", Name: "cors", Config: map[string]any{}}
	for _, item := range []plugin.Plugin{full, bare} {
		snapshot.Add(item, types.NamespacedName{}, 0)
		got, ok := snapshot.Plugin(item.ID)
		if !ok || !reflect.DeepEqual(got, item) {
			t.Errorf("kept %+v\nas   %+v, %t", item, got, ok)
		}
		if plugin.Fingerprint(got) != snapshot.Fingerprint(item.ID) {
			t.Errorf("%s: another fingerprint", item.ID)
		}
	}
	snapshot.Evict("full")
	if _, ok := snapshot.Plugin("full"); ok || snapshot.Fingerprint("full") == 0 {
		t.Error("Evict has to drop the config and to keep the fingerprint")
	}
}

func TestSnapshotKeepsNoConfigThatIsKnown(t *testing.T) {
	item := newPlugin(t, "limit")
	for _, tc := range []struct {
		known uint64
		kept  bool
	}{{0, true}, {plugin.Fingerprint(item), false}, {plugin.Fingerprint(item) + 1, true}} {
		snapshot := NewSnapshot(inflight.Time{})
		snapshot.Add(item, types.NamespacedName{Namespace: "shop", Name: "limit"}, tc.known)
		if _, kept := snapshot.Plugin(item.ID); kept != tc.kept {
			t.Errorf("known by %d: kept %t", tc.known, kept)
		}
		if !snapshot.Owns(identity.Binding{Namespace: "shop", Name: "limit"}) || snapshot.Owns(identity.Binding{Namespace: "shop", Name: "other"}) {
			t.Errorf("known by %d: the owner is missing", tc.known)
		}
	}
}
