package adminapi

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// visited collects the names of the entities of each set.
type visited map[TagSet][]string

func (v visited) add(set TagSet, e Entity) { v[set] = append(v[set], e.Name) }

func (v visited) sorted() visited {
	for set := range v {
		slices.Sort(v[set])
	}
	return v
}

// TestEntitiesAndTagged holds both ways, a list for each set and one list of all, to the same result.
func TestEntitiesAndTagged(t *testing.T) {
	srv := kongtest.Start(t)
	service := seedID(t, srv, "services", map[string]any{"name": "s", "url": "http://up:80"})
	for name, tags := range map[string][]any{
		"a": {"k8s-name:a", "k8s-namespace:shop"}, "b": {"k8s-namespace:shop", "x", "k8s-name:b"}, "c": {"x"}, "d": {},
	} {
		seedID(t, srv, "routes", map[string]any{"name": name, "paths": []any{"/" + name}, "tags": tags, "service": map[string]any{"id": service}})
	}
	c := probed(t, srv.URL())
	want := visited{
		NewTagSet("k8s-name:a", "k8s-namespace:shop"): {"a"}, NewTagSet("x"): {"b", "c"}, NewTagSet("x", "k8s-name:b"): {"b"}, NewTagSet("k8s-namespace:shop"): {"a", "b"},
	}
	few := []TagSet{NewTagSet("k8s-name:a", "k8s-namespace:shop"), NewTagSet("x"), NewTagSet("x", "k8s-name:b"), NewTagSet("k8s-namespace:shop"), NewTagSet("none")}
	many := slices.Clone(few)
	for i := range maxTaggedLists {
		many = append(many, NewTagSet(fmt.Sprint("missing-", i)))
	}
	for name, sets := range map[string][]TagSet{"few": few, "many": many} {
		got := visited{}
		mark := srv.Journal().Mark()
		found, err := c.EntitiesAndTagged(t.Context(), Route, []EntityRef{{Name: "a"}, {Name: "d"}, {Name: "missing"}}, sets, got.add)
		if diff := cmp.Diff(want, got.sorted()); err != nil || diff != "" || len(found) != 2 {
			t.Errorf("%s: %v, %d found\n%s", name, err, len(found), diff)
		}
		// A list per set, and a request for each name that no list showed; or one list.
		most := len(few) + 2
		if name == "many" {
			most = 1
		}
		if n := len(srv.Journal().Since(mark).Requests); n > most {
			t.Errorf("%s: %d requests, want at most %d", name, n, most)
		}
	}
}

func TestEntitiesByTags(t *testing.T) {
	srv := kongtest.Start(t)
	for i := range 3 {
		seedID(t, srv, "consumers", map[string]any{"username": fmt.Sprint("c", i), "tags": []any{"k8s-name:x", "other"}})
	}
	c := probed(t, srv.URL())
	var names []string
	err := c.EntitiesByTags(t.Context(), Consumer, NewTagSet("k8s-name:x"), func(e Entity) { names = append(names, e.Name) })
	slices.Sort(names)
	if want := []string{"c0", "c1", "c2"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("%v, %v", names, err)
	}
	for name, call := range map[string]func() error{
		"a tag with a comma":        func() error { return c.EntitiesByTags(t.Context(), Route, "a,b,,", func(Entity) {}) },
		"more tags than Kong takes": func() error { return c.EntitiesByTags(t.Context(), Route, "a,b,c,d,e,f", func(Entity) {}) },
		"a kind that is none":       func() error { return c.EntitiesByTags(t.Context(), "vault", "a", func(Entity) {}) },
	} {
		if err := call(); ReasonForError(err) != Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	srv.Inject(kongtest.Fault{Method: http.MethodGet, Template: "/consumers", Kind: kongtest.Answer, Status: 500, Body: `{"message":"An unexpected error occurred"}`})
	if err := c.EntitiesByTags(t.Context(), Consumer, "k8s-name:x", func(Entity) {}); ReasonForError(err) != Unavailable {
		t.Errorf("a list that broke off: %v", err)
	}
}

// TestVisitEntities visits all entities of a kind, and none of a kind that this Kong does not have.
func TestVisitEntities(t *testing.T) {
	srv := kongtest.Start(t)
	for i := range 3 {
		seedID(t, srv, "services", map[string]any{"name": fmt.Sprint("s", i), "url": "http://up:80"})
	}
	c := probed(t, srv.URL())
	for kind, want := range map[EntityKind]int{Service: 3, Route: 0, ConsumerGroup: 0} {
		got := 0
		if err := c.VisitEntities(t.Context(), kind, func(Entity) { got++ }); err != nil || got != want {
			t.Errorf("%s: %d, %v", kind, got, err)
		}
	}
	if err := c.VisitEntities(t.Context(), "upstream", func(Entity) {}); err == nil {
		t.Error("an unknown kind is visited")
	}
	srv.Inject(kongtest.Fault{Template: "/services", Status: http.StatusInternalServerError})
	if err := c.VisitEntities(t.Context(), Service, func(Entity) {}); err == nil {
		t.Error("a failed list is complete")
	}
}
