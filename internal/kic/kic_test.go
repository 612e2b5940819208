package kic

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestObjectOf(t *testing.T) {
	ingress := []string{"k8s-name:shop", "k8s-namespace:web", "k8s-kind:Ingress", "k8s-uid:u1", "k8s-group:networking.k8s.io", "k8s-version:v1", "team", "managed-by-ingress-controller"}
	service := []string{"k8s-name:api", "k8s-namespace:web", "k8s-kind:Service", "k8s-uid:u2", "k8s-version:v1", "managed-by-ingress-controller"}
	for name, c := range map[string]struct {
		tags []string
		want Object
		uid  types.UID
		ok   bool
	}{
		"an Ingress":         {ingress, Object{"networking.k8s.io", "v1", "Ingress", "web", "shop"}, "u1", true},
		"a core kind":        {service, Object{"", "v1", "Service", "web", "api"}, "u2", true},
		"by hand":            {[]string{"team"}, Object{}, "", false},
		"no tags":            {nil, Object{}, "", false},
		"without a UID":      {ingress[:3], Object{Kind: "Ingress", Namespace: "web", Name: "shop"}, "", false},
		"the first of a tag": {append([]string{"k8s-name:first"}, service...), Object{"", "v1", "Service", "web", "first"}, "u2", true},
	} {
		if got, uid, ok := ObjectOf(c.tags); got != c.want || uid != c.uid || ok != c.ok {
			t.Errorf("%s: %+v %s %v", name, got, uid, ok)
		}
	}
}

func TestAttached(t *testing.T) {
	web := func(name string) types.NamespacedName { return types.NamespacedName{Namespace: "web", Name: name} }
	for annotation, want := range map[string][]types.NamespacedName{
		"":                      nil,
		",, ":                   nil,
		"auth":                  {web("auth")},
		" auth , limit":         {web("auth"), web("limit")},
		"platform:auth,limit":   {{Namespace: "platform", Name: "auth"}, web("limit")},
		"platform:":             nil,
		strings.Repeat("a,", 9): slices.Repeat([]types.NamespacedName{web("a")}, 9),
	} {
		if got := Attached(map[string]string{PluginsAnnotation: annotation}, "web"); !slices.Equal(got, want) {
			t.Errorf("%q: %v", annotation, got)
		}
	}
	if got := Attached(map[string]string{PluginsAnnotation: strings.Repeat("a,", 100_000)}, "web"); len(got) != MaxPlugins {
		t.Errorf("%d names of a long annotation", len(got))
	}
}

func TestWanted(t *testing.T) {
	a, b, c := types.NamespacedName{Name: "a"}, types.NamespacedName{Name: "b"}, types.NamespacedName{Name: "c"}
	if got := Wanted([][]types.NamespacedName{{a, b}, {b, c}}); !slices.Equal(got, []types.NamespacedName{b}) {
		t.Errorf("%v", got)
	}
	if got := Wanted([][]types.NamespacedName{{a, b}, nil}); len(got) > 0 {
		t.Errorf("%v is attached to one of two", got)
	}
	if got := Wanted(nil); got != nil {
		t.Errorf("%v", got)
	}
}

func TestInterests(t *testing.T) {
	var interests Interests
	shop, api := Object{"networking.k8s.io", "v1", "Ingress", "web", "shop"}, Object{"", "v1", "Service", "web", "api"}
	one, two := types.NamespacedName{Name: "one"}, types.NamespacedName{Name: "two"}
	interests.Note(one, []Object{shop, api})
	interests.Note(two, []Object{shop})
	beta := shop
	beta.Version = "v1beta1"
	if got := interests.BindingsOf(beta); len(got) != 2 {
		t.Errorf("%v", got)
	}
	interests.Note(one, []Object{api})
	if got := interests.BindingsOf(shop); !slices.Equal(got, []types.NamespacedName{two}) {
		t.Errorf("%v", got)
	}
	interests.Forget(one)
	interests.Note(two, nil)
	if len(interests.bindings)+len(interests.objects) > 0 {
		t.Errorf("entries are left: %v %v", interests.bindings, interests.objects)
	}
}
