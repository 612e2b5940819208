package identity_test

import (
	"slices"
	"testing"

	. "github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

func TestSameTags(t *testing.T) {
	tags := Binding{Cluster: "c1", Namespace: "shop", Name: "limit", UID: "one"}.OwnershipTags()
	rebuilt := Binding{Cluster: "c1", Namespace: "shop", Name: "limit", UID: "two"}.OwnershipTags()
	moved := Binding{Cluster: "c1", Namespace: "shop", Name: "other", UID: "one"}.OwnershipTags()
	for _, c := range []struct {
		a, b []string
		same bool
	}{
		{tags, rebuilt, true},
		{tags, moved, false},
		{append(slices.Clone(tags), "team"), tags, false},
		{nil, nil, true},
	} {
		if got := SameTags(c.a, c.b); got != c.same {
			t.Errorf("%v and %v: %v", c.a, c.b, got)
		}
	}
}
