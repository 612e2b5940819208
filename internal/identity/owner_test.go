package identity_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	. "github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

var limits = Binding{Cluster: "c1", Namespace: "shop", Name: "limits", UID: "u1"}

// ownerTags are spelled out: other replicas, other versions and people read them in Kong,
// so that changing one is breaking them.
var ownerTags = []string{
	"managed-by:plugin-binding-operator",
	"k8s-cluster:c1",
	"k8s-kind:PluginBinding",
	"k8s-namespace:shop",
	"k8s-name:limits",
	"k8s-uid:u1",
}

func with(tags []string, more ...string) []string { return append(slices.Clone(tags), more...) }

func withoutTag(tags []string, prefix string) []string {
	return slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return strings.HasPrefix(tag, prefix) })
}

func TestTags(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason    string
		got, want []string
	}{
		"Tags": {
			reason: "All marks, in an order that does not change: a changed order would be a write.",
			got:    limits.OwnershipTags(),
			want:   ownerTags,
		},
		"LookupTags": {
			reason: "Without the UID, which a restored binding does not keep, and at most five: Kong takes no more in a query.",
			got:    limits.LookupTags(),
			want:   ownerTags[:5],
		},
		"ClusterTags": {
			reason: "What all plugins of a cluster have, for the list of the sweep.",
			got:    ClusterTags("c1"),
			want:   ownerTags[:2],
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, tc.got); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
		})
	}
}

func TestTagsDoNotShareMemory(t *testing.T) {
	t.Parallel()
	first := limits.LookupTags()
	_ = append(first, "user:tag")
	second := limits.OwnershipTags()
	if diff := cmp.Diff(ownerTags, second); diff != "" {
		t.Errorf("A caller that appends to one result must not change another.\n%s", diff)
	}
}

func TestOwnerOf(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		tags   []string
		want   Owner
	}{
		"Ours": {
			reason: "What Tags wrote is read back, the UID included.",
			tags:   limits.OwnershipTags(),
			want:   Owner{Binding: &limits},
		},
		"OursAmongUserTags": {
			reason: "Tags of the user's own, and the order in which Kong answers, change nothing.",
			tags:   []string{"team:payments", "k8s-uid:u1", "k8s-name:limits", "prod", "k8s-namespace:shop", "k8s-kind:PluginBinding", "k8s-cluster:c1", "managed-by:plugin-binding-operator"},
			want:   Owner{Binding: &limits},
		},
		"OtherCluster": {
			reason: "Two clusters may share a Kong: another cluster's plugin has an owner, and it is named.",
			tags:   Binding{Cluster: "c2", Namespace: "shop", Name: "limits", UID: "u9"}.OwnershipTags(),
			want:   Owner{Binding: &Binding{Cluster: "c2", Namespace: "shop", Name: "limits", UID: "u9"}},
		},
		"NoTags": {
			reason: "A plugin made by hand is nobody's.",
			want:   Owner{},
		},
		"UserTagsOnly": {
			reason: "Tags that mean nothing to us are nobody's marks.",
			tags:   []string{"team:payments", "managed", "k8s"},
			want:   Owner{},
		},
		"WithoutManagedBy": {
			reason: "Names of Kubernetes objects alone do not say that this operator owns the plugin; KIC writes the same ones.",
			tags:   withoutTag(ownerTags, "managed-by:"),
			want:   Owner{},
		},
		"IngressController": {
			reason: "KIC has a tag without a value, beside tags that look like ours.",
			tags:   []string{"k8s-name:limits", "k8s-namespace:shop", "k8s-kind:KongPlugin", "managed-by-ingress-controller"},
			want:   Owner{Tool: "ingress-controller"},
		},
		"OtherTool": {
			reason: "The value of managed-by is the tool.",
			tags:   []string{"managed-by:terraform"},
			want:   Owner{Tool: "terraform"},
		},
		"ToolLikeOurs": {
			reason: "The value is compared as a whole.",
			tags:   []string{"managed-by:plugin-binding-operator-v2"},
			want:   Owner{Tool: "plugin-binding-operator-v2"},
		},
		"ToolWithoutName": {
			reason: "Somebody manages it, even if the tag does not say who.",
			tags:   []string{"managed-by:"},
			want:   Owner{Tool: "unnamed"},
		},
		"OursAndAnotherTool": {
			reason: "Whoever added a mark means to manage the plugin: two writers would fight, so we stand back.",
			tags:   with(ownerTags, "managed-by:deck"),
			want:   Owner{Tool: "deck"},
		},
		"OursAndIngressController": {
			reason: "The same for the ingress controller.",
			tags:   with(ownerTags, "managed-by-ingress-controller"),
			want:   Owner{Tool: "ingress-controller"},
		},
		"TwoTools": {
			reason: "Kong answers tags in any order; a message that named now the one, now the other would flap.",
			tags:   []string{"managed-by:terraform", "managed-by-ingress-controller", "managed-by:deck"},
			want:   Owner{Tool: "ingress-controller"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, OwnerOf(tc.tags)); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
			slices.Reverse(tc.tags)
			if diff := cmp.Diff(tc.want, OwnerOf(tc.tags)); diff != "" {
				t.Errorf("%s (tags reversed)\n%s", tc.reason, diff)
			}
		})
	}
}

func TestStandingOf(t *testing.T) {
	t.Parallel()
	restored := limits
	restored.UID = "u2"
	cases := map[string]struct {
		reason       string
		binding      Binding
		tags         []string
		instanceName string
		want         Ownership
	}{
		"Ours": {
			reason:       "Marks and name are this binding's.",
			binding:      limits,
			tags:         limits.OwnershipTags(),
			instanceName: "c1.shop.limits",
			want:         Owned,
		},
		"Restored": {
			reason:       "A binding from a backup, or made again under its name, has another UID and owns the same plugin.",
			binding:      restored,
			tags:         limits.OwnershipTags(),
			instanceName: "c1.shop.limits",
			want:         Owned,
		},
		"OwnInstanceName": {
			reason:       "A name that the user chose does not take part: the tags say whose it is.",
			binding:      limits,
			tags:         limits.OwnershipTags(),
			instanceName: "orders-limit",
			want:         Owned,
		},
		"TagsStripped": {
			reason:       "Tags are easily lost by hand; nobody else makes the generated name.",
			binding:      limits,
			tags:         []string{"team:payments"},
			instanceName: "c1.shop.limits",
			want:         Owned,
		},
		"TagsStrippedOfAnother": {
			reason:       "The generated name says whose it is as well as it does for this binding.",
			binding:      limits,
			tags:         []string{"team:payments"},
			instanceName: "c1.shop.other.limits",
			want:         OwnedByOther,
		},
		"AnotherClustersName": {
			reason:       "What another cluster calls itself cannot be told from a name that a person made.",
			binding:      limits,
			instanceName: "c2.shop.limits",
			want:         Unowned,
		},
		"NoGeneratedName": {
			reason:       "A generated name has a namespace and a name.",
			binding:      limits,
			instanceName: "c1.shop",
			want:         Unowned,
		},
		"NoGeneratedNameEither": {
			reason:       "Neither of the two is empty.",
			binding:      limits,
			instanceName: "c1..limits",
			want:         Unowned,
		},
		"TagsStrippedAndRenamed": {
			reason:       "With neither mark nor name nothing shows whose it is.",
			binding:      limits,
			instanceName: "orders-limit",
			want:         Unowned,
		},
		"NoInstanceName": {
			reason:  "A plugin made by hand needs no name.",
			binding: limits,
			want:    Unowned,
		},
		"OurNameWithAnotherToolsTag": {
			reason:       "A tool that marked it wins over the name.",
			binding:      limits,
			tags:         []string{"managed-by:deck"},
			instanceName: "c1.shop.limits",
			want:         OwnedByOther,
		},
		"IngressController": {
			reason:  "KIC's plugin is not free to take.",
			binding: limits,
			tags:    []string{"managed-by-ingress-controller", "k8s-namespace:shop", "k8s-name:limits"},
			want:    OwnedByOther,
		},
		"OtherCluster": {
			reason:  "Namespace and name are the same in many clusters.",
			binding: limits,
			tags:    Binding{Cluster: "c2", Namespace: "shop", Name: "limits", UID: "u1"}.OwnershipTags(),
			want:    OwnedByOther,
		},
		"OtherNamespace": {
			reason:  "Not even the same UID makes it ours.",
			binding: limits,
			tags:    Binding{Cluster: "c1", Namespace: "stage", Name: "limits", UID: "u1"}.OwnershipTags(),
			want:    OwnedByOther,
		},
		"OtherBinding": {
			reason:  "The neighbour's plugin is the neighbour's.",
			binding: limits,
			tags:    Binding{Cluster: "c1", Namespace: "shop", Name: "quota", UID: "u3"}.OwnershipTags(),
			want:    OwnedByOther,
		},
		"OtherBindingUnderOurName": {
			reason:       "Tags of another binding win over the generated name.",
			binding:      limits,
			tags:         Binding{Cluster: "c1", Namespace: "shop", Name: "quota", UID: "u3"}.OwnershipTags(),
			instanceName: "c1.shop.limits",
			want:         OwnedByOther,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, owner := OwnershipOf(tc.binding, tc.tags, tc.instanceName)
			if got != tc.want {
				t.Errorf("%s\ngot standing %d, want %d", tc.reason, got, tc.want)
			}
			told := OwnerOf(tc.tags)
			if name == "TagsStrippedOfAnother" {
				told = Owner{Binding: &Binding{Cluster: "c1", Namespace: "shop", Name: "other.limits"}}
			}
			if diff := cmp.Diff(told, owner); diff != "" {
				t.Errorf("The owner for messages is the one that the tags tell, or else the name.\n%s", diff)
			}
		})
	}
}

func TestFound(t *testing.T) {
	t.Parallel()
	for standing, want := range map[Ownership]bool{Unknown: false, Absent: false, Owned: true, Unowned: true, OwnedByOther: true} {
		if standing.Found() != want {
			t.Errorf("standing %d: Found() is %t, want %t", standing, !want, want)
		}
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		other  Binding
		want   bool
	}{
		"Itself":    {"Nothing differs.", limits, true},
		"UID":       {"The UID never decides.", Binding{"c1", "shop", "limits", "u2"}, true},
		"Cluster":   {"Another cluster's binding is another one.", Binding{"c2", "shop", "limits", "u1"}, false},
		"Namespace": {"Another namespace's is, too.", Binding{"c1", "stage", "limits", "u1"}, false},
		"Name":      {"And so is one of another name.", Binding{"c1", "shop", "quota", "u1"}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if limits.Same(tc.other) != tc.want || tc.other.Same(limits) != tc.want {
				t.Errorf("%s Want %t, both ways round.", tc.reason, tc.want)
			}
		})
	}
}

func TestNobody(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		owner Owner
		want  bool
	}{
		{Owner{}, true},
		{Owner{Binding: &limits}, false},
		{Owner{Tool: "deck"}, false},
	} {
		if got := tc.owner.Nobody(); got != tc.want {
			t.Errorf("%+v: Nobody() is %t, want %t", tc.owner, got, tc.want)
		}
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		owner  Owner
		want   string
	}{
		"SameCluster": {
			reason: "A person can paste namespace and name into kubectl; the cluster would be noise.",
			owner:  Owner{Binding: &limits},
			want:   "PluginBinding shop/limits",
		},
		"OtherCluster": {
			reason: "Here kubectl would find nothing, so the cluster is named.",
			owner:  Owner{Binding: &Binding{Cluster: "c2", Namespace: "shop", Name: "limits"}},
			want:   "PluginBinding shop/limits of cluster c2",
		},
		"IngressController": {
			reason: "By the name that people know it under.",
			owner:  Owner{Tool: "ingress-controller"},
			want:   "Kong Ingress Controller",
		},
		"OtherTool": {
			reason: "As it calls itself.",
			owner:  Owner{Tool: "deck"},
			want:   "the tool deck",
		},
		"Nobody": {
			reason: "It says by what we tell.",
			want:   "nobody (no owner tags)",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tc.owner.Describe("c1"); got != tc.want {
				t.Errorf("%s\n got %q\nwant %q", tc.reason, got, tc.want)
			}
		})
	}
}

func TestUnmarked(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason     string
		tags, want []string
	}{
		"UsersTags": {
			reason: "An orphaned plugin keeps what the user gave it, in its order.",
			tags:   append([]string{"team:payments"}, with(ownerTags, "prod", "k8s")...),
			want:   []string{"team:payments", "prod", "k8s"},
		},
		"OtherTools": {
			reason: "Marks of another tool are not ours to take off.",
			tags:   with(ownerTags, "managed-by:deck", "managed-by-ingress-controller", "k8s-kind:KongPlugin"),
			want:   []string{"managed-by:deck", "managed-by-ingress-controller", "k8s-kind:KongPlugin"},
		},
		"OlderMarks": {
			reason: "Marks that an earlier life of the binding left go, too.",
			tags:   with(ownerTags, "k8s-uid:u0", "k8s-name:former"),
			want:   []string{},
		},
		"None": {
			reason: "An empty list and not null, which Kong would take for another value.",
			want:   []string{},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := slices.Clone(tc.tags)
			got := WithoutOwnershipTags(tc.tags)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(before, tc.tags); diff != "" {
				t.Errorf("The tags that were given stay as they were.\n%s", diff)
			}
		})
	}
}

// Generators of what Kubernetes and the flag for the cluster id let through.
var (
	anyCluster   = rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?`)
	anyNamespace = rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?`)
	anyName      = rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,4}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,4}[a-z0-9])?){0,3}`)
	anyUID       = rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}`)
	anyBinding   = rapid.Custom(func(t *rapid.T) Binding {
		return Binding{
			Cluster:   anyCluster.Draw(t, "cluster"),
			Namespace: anyNamespace.Draw(t, "namespace"),
			Name:      anyName.Draw(t, "name"),
			UID:       anyUID.Draw(t, "uid"),
		}
	})
	anyTag = rapid.StringMatching(`[a-z][a-z0-9:._ -]{0,12}`)
)

func TestInstanceName(t *testing.T) {
	t.Parallel()
	if got, want := limits.InstanceName(), "c1.shop.limits"; got != want {
		t.Errorf("Any version has to make the same name: got %q, want %q", got, want)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyBinding.Draw(t, "a"), anyBinding.Draw(t, "b")
		// Independent bindings hardly ever come close: let them differ in one part, or
		// move a part of the name over the border.
		switch rapid.IntRange(0, 4).Draw(t, "differ in") {
		case 0:
			b = Binding{Cluster: b.Cluster, Namespace: a.Namespace, Name: a.Name}
		case 1:
			b = Binding{Cluster: a.Cluster, Namespace: b.Namespace, Name: a.Name}
		case 2:
			b = Binding{Cluster: a.Cluster, Namespace: a.Namespace, Name: b.Name}
		case 3:
			b = Binding{Cluster: a.Cluster, Namespace: b.Namespace, Name: a.Namespace + "." + a.Name}
		}
		if same := a.InstanceName() == b.InstanceName(); same != a.Same(b) {
			t.Fatalf("same name %t, same binding %t: %+v, %+v", same, a.Same(b), a, b)
		}
	})
}

func TestMarksAreReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := anyBinding.Draw(t, "binding")
		users := rapid.SliceOfN(anyTag.Filter(func(tag string) bool {
			return !strings.HasPrefix(tag, "managed-by") && !strings.HasPrefix(tag, "k8s-")
		}), 0, 4).Draw(t, "tags of the user")
		tags := rapid.Permutation(slices.Concat(users, b.OwnershipTags())).Draw(t, "tags")

		standing, owner := OwnershipOf(b, tags, "any")
		if standing != Owned || owner.Binding == nil || *owner.Binding != b {
			t.Fatalf("standing %d, owner %+v", standing, owner)
		}
		other := anyBinding.Filter(func(o Binding) bool { return !o.Same(b) }).Draw(t, "other")
		if standing, _ := OwnershipOf(other, tags, "any"); standing != OwnedByOther {
			t.Fatalf("for %+v it is %d", other, standing)
		}
		left := WithoutOwnershipTags(tags)
		slices.Sort(left)
		slices.Sort(users)
		if !slices.Equal(left, users) {
			t.Fatalf("unmarked %q, the user's are %q", left, users)
		}
	})
}
