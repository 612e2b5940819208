package controllers

import (
	"encoding/json"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

func aRow(t *testing.T, id string) plugin.Plugin {
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

// A row is kept as text; what comes out has to be what Kong answered, or a plugin in force
// would look changed.
func TestAViewReturnsRowsAsTheyWere(t *testing.T) {
	view := newView(Moment{})
	full, bare := aRow(t, "full"), plugin.Plugin{ID: "bare", Name: "cors", Config: map[string]any{}}
	for _, row := range []plugin.Plugin{full, bare} {
		view.add(row, types.NamespacedName{}, 0)
		got, ok := view.row(row.ID)
		if !ok || !reflect.DeepEqual(got, row) {
			t.Errorf("kept %+v\nas   %+v, %t", row, got, ok)
		}
		if plugin.Fingerprint(got) != view.fingerprint(row.ID) {
			t.Errorf("%s: another fingerprint", row.ID)
		}
	}
	view.release("full")
	if _, ok := view.row("full"); ok || view.fingerprint("full") == 0 {
		t.Error("a released row is gone, and its fingerprint stays")
	}
}

func TestAViewKeepsNoRowThatIsKnown(t *testing.T) {
	row := aRow(t, "limit")
	for _, tc := range []struct {
		known uint64
		kept  bool
	}{{0, true}, {plugin.Fingerprint(row), false}, {plugin.Fingerprint(row) + 1, true}} {
		view := newView(Moment{})
		view.add(row, types.NamespacedName{Namespace: "shop", Name: "limit"}, tc.known)
		if _, kept := view.row(row.ID); kept != tc.kept {
			t.Errorf("known by %d: kept %t", tc.known, kept)
		}
		if !view.owns(identity.Binding{Namespace: "shop", Name: "limit"}) || view.owns(identity.Binding{Namespace: "shop", Name: "other"}) {
			t.Errorf("known by %d: its owner is not known", tc.known)
		}
	}
}
