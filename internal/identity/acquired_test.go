package identity_test

import (
	"testing"

	. "github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

func TestAcquiredIsAnOwnershipTag(t *testing.T) {
	b := Binding{Cluster: "c1", Namespace: "shop", Name: "limit", UID: "u", Acquired: true}
	tags := b.OwnershipTags()
	if !IsAcquired(tags) || IsAcquired(b.LookupTags()) {
		t.Errorf("acquired is in %v, and must not be in %v", tags, b.LookupTags())
	}
	if kept := WithoutOwnershipTags(append(tags, "mine")); len(kept) != 1 || kept[0] != "mine" {
		t.Errorf("a released plugin keeps %v", kept)
	}
	if ownership, _ := OwnershipOf(Binding{Cluster: "c1", Namespace: "shop", Name: "limit"}, tags, ""); ownership != Owned {
		t.Errorf("the tag changes ownership to %v", ownership)
	}
}

func TestWithAcquired(t *testing.T) {
	tags := []string{"mine"}
	once := WithAcquired(tags)
	if !IsAcquired(once) || len(once) != 2 || IsAcquired(tags) {
		t.Errorf("%v of %v", once, tags)
	}
	if twice := WithAcquired(once); len(twice) != 2 {
		t.Errorf("twice: %v", twice)
	}
}
