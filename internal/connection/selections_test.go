package connection

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
)

var (
	gatewayKey = types.NamespacedName{Namespace: "kong", Name: "kong"}
	ofShop     = Selector{adminapi.Route, "k8s-name:shop"}
	ofAdmin    = Selector{adminapi.Service, "k8s-name:admin"}
)

func keep(s *Selections, entities ...string) sets.Set[Selector] {
	b := s.Begin(ofShop)
	for _, id := range entities {
		b.Add(ofShop, adminapi.Entity{ID: id, Tags: []string{"k8s-namespace:a"}})
	}
	return s.Keep(gatewayKey, b)
}

func TestSelections(t *testing.T) {
	s := NewSelections()
	if _, known := s.Get(gatewayKey, ofShop); known {
		t.Fatal("known before any list")
	}
	for _, step := range []struct {
		entities []string
		changed  int
	}{{nil, 1}, {nil, 0}, {[]string{"b", "a", "a"}, 1}, {[]string{"a", "b"}, 0}, {[]string{"a"}, 1}} {
		if changed := keep(s, step.entities...); changed.Len() != step.changed {
			t.Errorf("%v: %d selectors changed, want %d", step.entities, changed.Len(), step.changed)
		}
	}
	selection, known := s.Get(gatewayKey, ofShop)
	if !known || len(selection.Entities) != 1 || selection.Entities[0].Namespace != "a" {
		t.Errorf("%+v, %t", selection, known)
	}

	// A resync that began before a look and ends after it does not undo what the look showed.
	resync := s.Begin(ofShop, ofAdmin)
	keep(s, "a", "new")
	if changed := s.Keep(gatewayKey, resync); !changed.Equal(sets.New(ofAdmin)) {
		t.Errorf("an outdated list changed %v", changed)
	}
	if selection, _ := s.Get(gatewayKey, ofShop); len(selection.Entities) != 2 {
		t.Errorf("an outdated list won: %+v", selection)
	}

	dropped := s.Begin(ofShop, ofAdmin)
	dropped.Drop(adminapi.Route)
	s.Keep(gatewayKey, dropped)
	if selection, known := s.Get(gatewayKey, ofShop); !known || len(selection.Entities) != 2 {
		t.Error("a list that was not made said something")
	}
	s.Prune(gatewayKey, sets.New(ofAdmin))
	if _, known := s.Get(gatewayKey, ofShop); known {
		t.Error("kept what no policy selects")
	}
	s.Forget(gatewayKey)
	if _, known := s.Get(gatewayKey, ofAdmin); known {
		t.Error("kept what is of another Kong")
	}
}

func TestSelectionsAreBounded(t *testing.T) {
	s := NewSelections()
	b := s.Begin(ofShop)
	for i := range MaxSelected + 1 {
		b.Add(ofShop, adminapi.Entity{ID: fmt.Sprint(i)})
	}
	s.Keep(gatewayKey, b)
	if selection, _ := s.Get(gatewayKey, ofShop); !selection.TooMany || len(selection.Entities) != 0 {
		t.Errorf("%d entities, too many: %t", len(selection.Entities), selection.TooMany)
	}
	if changed := keep(s, "a"); changed.Len() != 1 {
		t.Error("a selector that is small again is no change")
	}

	b = s.Begin()
	for i := range maxSelectedTotal + MaxSelected {
		b.Add(Selector{adminapi.Route, adminapi.TagSet(fmt.Sprint(i / (MaxSelected / 2)))}, adminapi.Entity{ID: fmt.Sprint(i)})
	}
	if b.total > maxSelectedTotal {
		t.Errorf("%d entities in all", b.total)
	}
}
