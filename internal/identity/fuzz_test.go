package identity_test

import (
	"slices"
	"strings"
	"testing"

	. "github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// Tags come from Kong, where anyone can write them.
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
		tags := strings.Split(list, ",") // Kong forbids a comma in a tag
		owner := OwnerOf(tags)
		if owner.Binding != nil && owner.Tool != "" {
			t.Errorf("two owners: %+v", owner)
		}
		if owner.Describe(cluster) == "" {
			t.Errorf("no description of %+v", owner)
		}

		ownership, same := OwnershipOf(limits, tags, instanceName)
		if !owner.IsZero() && same.Describe(cluster) != owner.Describe(cluster) {
			t.Errorf("OwnerOf returns %+v, OwnershipOf returns %+v", owner, same)
		}
		if owner.IsZero() && same.Binding != nil && same.Binding.InstanceName() != instanceName {
			t.Errorf("owner is %+v, instance name is %s", same.Binding, instanceName)
		}
		if !ownership.Found() {
			t.Errorf("an existing plugin has ownership %d", ownership)
		}
		if ownership == Unowned != (same.IsZero() && instanceName != limits.InstanceName()) {
			t.Errorf("ownership %d with owner %+v", ownership, owner)
		}

		reversed := slices.Clone(tags)
		slices.Reverse(reversed)
		if got := OwnerOf(reversed).Describe(cluster); got != owner.Describe(cluster) {
			t.Errorf("the order of tags changes the owner: %q or %q", owner.Describe(cluster), got)
		}

		// Without the ownership tags no binding owns it. Another tool's tags stay.
		left := OwnerOf(WithoutOwnershipTags(tags))
		if left.Binding != nil || left.Tool != owner.Tool {
			t.Errorf("owner %+v, without ownership tags %+v", owner, left)
		}
	})
}

// Facts that contradict each other, or hold values without a constant, must not panic, and
// must not write to a plugin other than the recorded one.
func FuzzDecide(f *testing.F) {
	f.Add("", "", 2, 0, 1, 1, "", "", "", byte(0), false)
	f.Add(idP, "", 1, 2, 0, 1, idP, "", "", byte(0b111), true)
	f.Add("", idQ, 0, 3, 1, 0, idQ, "", "", byte(0b001), false)
	f.Add(idP, idQ, 7, -1, 9, 4, idR, idP, idQ, byte(0xff), true)
	f.Fuzz(func(t *testing.T, recorded, imported string, adoption, byID, byName, byKey int,
		id, named, holder string, flags byte, orphan bool,
	) {
		observation := func(ownership int, id string, flags byte, owner Owner) Observation {
			return Observation{
				Ownership: Ownership(ownership), ID: id, Owner: owner,
				SamePlugin: flags&1 != 0, Equal: flags&2 != 0, SameTraffic: flags&4 != 0, OtherName: flags&8 != 0,
				Aside: flags&16 != 0, OwnerState: OwnerState(flags >> 5),
			}
		}
		facts := Facts{
			Recorded: recorded,
			Import:   imported,
			Adoption: Adoption(adoption),
			ByID:     observation(byID, id, flags, ownerByID),
			ByName:   observation(byName, named, flags>>3, ownerByName),
			ByKey:    observation(byKey, holder, flags>>5, ownerByKey),

			ByInstanceName: observation(byName^byKey, holder, flags>>2, ownerByInstanceName),
			Turn:           Turn(byID ^ byName),
			AsideKey:       observation(byKey, id, flags>>1, ownerByKey),
		}

		action := Decide(facts)
		if _, again := action.Operation.String(), Decide(facts); again != action {
			t.Errorf("%+v, and then %+v", action, again)
		}
		switch action.Operation {
		case Put, Replace, MoveAside, MoveBack, None:
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
