package identity_test

import (
	"slices"
	"strings"
	"testing"

	. "github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// Tags come from Kong, where anybody may have written them.
func FuzzOwnerOf(f *testing.F) {
	for _, tags := range [][]string{
		nil,
		ownerTags,
		ownerTags[:1],
		{"managed-by:"},
		{"managed-by:", "managed-by:plugin-binding-operator"},
		{"managed-by-ingress-controller", "k8s-name:limits"},
		{"k8s-name:", "k8s-namespace:", "k8s-cluster:", "managed-by:plugin-binding-operator"},
		{"k8s-name:a", "k8s-name:b", "managed-by:plugin-binding-operator"},
		{"", ":", "managed-by"},
	} {
		f.Add(strings.Join(tags, ","), "c1.shop.limits", "c1")
	}
	f.Fuzz(func(t *testing.T, list, instanceName, cluster string) {
		tags := strings.Split(list, ",") // the one character that no tag has
		owner := OwnerOf(tags)
		if owner.Binding != nil && owner.Tool != "" {
			t.Errorf("two owners: %+v", owner)
		}
		if owner.Describe(cluster) == "" {
			t.Errorf("no words for %+v", owner)
		}

		standing, same := OwnershipOf(limits, tags, instanceName)
		if !owner.Nobody() && same.Describe(cluster) != owner.Describe(cluster) {
			t.Errorf("owner is %+v, and for a binding %+v", owner, same)
		}
		if owner.Nobody() && same.Binding != nil && same.Binding.InstanceName() != instanceName {
			t.Errorf("owner is %+v by the name %s", same.Binding, instanceName)
		}
		if !standing.Found() {
			t.Errorf("a plugin that was found is %d", standing)
		}
		if standing == Unowned != (same.Nobody() && instanceName != limits.InstanceName()) {
			t.Errorf("standing %d with owner %+v", standing, owner)
		}

		reversed := slices.Clone(tags)
		slices.Reverse(reversed)
		if got := OwnerOf(reversed).Describe(cluster); got != owner.Describe(cluster) {
			t.Errorf("the order of tags decides: %q or %q", owner.Describe(cluster), got)
		}

		// Without our marks it is no binding's, and whose else it was it still is.
		left := OwnerOf(WithoutOwnershipTags(tags))
		if left.Binding != nil || left.Tool != owner.Tool {
			t.Errorf("owner %+v, unmarked %+v", owner, left)
		}
	})
}

// Facts that contradict each other, with numbers that no constant has, must not stop the
// operator, and must not lead to a write that the recorded ID does not cover.
func FuzzDecide(f *testing.F) {
	f.Add("", "", 2, 0, 1, 1, "", "", "", byte(0), false)
	f.Add(idP, "", 1, 2, 0, 1, idP, "", "", byte(0b111), true)
	f.Add("", idQ, 0, 3, 1, 0, idQ, "", "", byte(0b001), false)
	f.Add(idP, idQ, 7, -1, 9, 4, idR, idP, idQ, byte(0xff), true)
	f.Fuzz(func(t *testing.T, recorded, imported string, adoption, byID, byName, byKey int,
		id, named, holder string, flags byte, orphan bool,
	) {
		sighting := func(standing int, id string, flags byte, owner Owner) Observation {
			return Observation{
				Ownership: Ownership(standing), ID: id, Owner: owner,
				SamePlugin: flags&1 != 0, Equal: flags&2 != 0, SameTraffic: flags&4 != 0,
			}
		}
		facts := Facts{
			Recorded: recorded,
			Import:   imported,
			Adoption: Adoption(adoption),
			ByID:     sighting(byID, id, flags, ownerByID),
			ByName:   sighting(byName, named, flags>>3, ownerByName),
			ByKey:    sighting(byKey, holder, flags>>5, ownerByKey),
		}

		action := Decide(facts)
		if _, again := action.Operation.String(), Decide(facts); again != action {
			t.Errorf("%+v, and then %+v", action, again)
		}
		switch action.Operation {
		case Put, None:
			if recorded == "" || action.ID != recorded {
				t.Errorf("%+v, recorded is %q", action, recorded)
			}
		case Create, RecordID, Adopt, TakeOver:
			if recorded != "" {
				t.Errorf("%+v, recorded is %q", action, recorded)
			}
		}

		ending := DecideDeletion(facts, orphan)
		if _, again := ending.Operation.String(), DecideDeletion(facts, orphan); again != ending {
			t.Errorf("%+v, and then %+v", ending, again)
		}
		if ending.Operation == Delete && orphan || ending.Operation == Release && !orphan {
			t.Errorf("%+v with orphan %t", ending, orphan)
		}
	})
}
