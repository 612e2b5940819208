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

// ownerTags are literals on purpose: other replicas, other versions and people read these tags
// in Kong. Changing one breaks them.
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
		"OwnershipTags": {
			reason: "All ownership tags, in a stable order: a changed order would cause a write.",
			got:    limits.OwnershipTags(),
			want:   ownerTags,
		},
		"LookupTags": {
			reason: "Without the UID, which changes when a binding is restored. At most five: Kong accepts no more in a query.",
			got:    limits.LookupTags(),
			want:   ownerTags[:5],
		},
		"ClusterTags": {
			reason: "The tags of all plugins of a cluster, for the list of a resync.",
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
		t.Errorf("Appending to one result must not change another.\n%s", diff)
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
			reason: "OwnerOf returns what OwnershipTags wrote, including the UID.",
			tags:   limits.OwnershipTags(),
			want:   Owner{Binding: &limits},
		},
		"OursAmongUserTags": {
			reason: "The user's own tags and the order of the tags change nothing.",
			tags:   []string{"team:payments", "k8s-uid:u1", "k8s-name:limits", "prod", "k8s-namespace:shop", "k8s-kind:PluginBinding", "k8s-cluster:c1", "managed-by:plugin-binding-operator"},
			want:   Owner{Binding: &limits},
		},
		"OtherCluster": {
			reason: "Two clusters can share a Kong. A plugin of another cluster has an owner with that cluster's ID.",
			tags:   Binding{Cluster: "c2", Namespace: "shop", Name: "limits", UID: "u9"}.OwnershipTags(),
			want:   Owner{Binding: &Binding{Cluster: "c2", Namespace: "shop", Name: "limits", UID: "u9"}},
		},
		"NoTags": {
			reason: "A plugin without ownership tags is unowned.",
			want:   Owner{},
		},
		"UserTagsOnly": {
			reason: "Other tags do not make an owner.",
			tags:   []string{"team:payments", "managed", "k8s"},
			want:   Owner{},
		},
		"WithoutManagedBy": {
			reason: "Names of Kubernetes objects alone do not mean that this operator owns the plugin: KIC writes the same tags.",
			tags:   withoutTag(ownerTags, "managed-by:"),
			want:   Owner{},
		},
		"IngressController": {
			reason: "KIC uses a tag without a value, beside tags that look like the operator's.",
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
			reason: "A tool manages it, even if the tag does not name the tool.",
			tags:   []string{"managed-by:"},
			want:   Owner{Tool: "unnamed"},
		},
		"OursAndAnotherTool": {
			reason: "A tool that added its tag intends to manage the plugin. Two writers would overwrite each other.",
			tags:   with(ownerTags, "managed-by:deck"),
			want:   Owner{Tool: "deck"},
		},
		"OursAndIngressController": {
			reason: "The same for the ingress controller.",
			tags:   with(ownerTags, "managed-by-ingress-controller"),
			want:   Owner{Tool: "ingress-controller"},
		},
		"TwoTools": {
			reason: "Kong returns tags in any order. A message that depends on it would flap.",
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

func TestOwnershipOf(t *testing.T) {
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
			reason:       "Ownership tags and instance name are this binding's.",
			binding:      limits,
			tags:         limits.OwnershipTags(),
			instanceName: "c1.shop.limits",
			want:         Owned,
		},
		"Restored": {
			reason:       "A binding that was restored or recreated has another UID and owns the same plugin.",
			binding:      restored,
			tags:         limits.OwnershipTags(),
			instanceName: "c1.shop.limits",
			want:         Owned,
		},
		"OwnInstanceName": {
			reason:       "A name that the user chose does not matter: the tags name the owner.",
			binding:      limits,
			tags:         limits.OwnershipTags(),
			instanceName: "orders-limit",
			want:         Owned,
		},
		"TagsStripped": {
			reason:       "Users can remove tags by mistake. Nothing else generates this instance name.",
			binding:      limits,
			tags:         []string{"team:payments"},
			instanceName: "c1.shop.limits",
			want:         Owned,
		},
		"TagsStrippedOfAnother": {
			reason:       "The generated name identifies another binding just as well.",
			binding:      limits,
			tags:         []string{"team:payments"},
			instanceName: "c1.shop.other.limits",
			want:         OwnedByOther,
		},
		"AnotherClustersName": {
			reason:       "A generated name of another cluster cannot be told from a name that a user chose.",
			binding:      limits,
			instanceName: "c2.shop.limits",
			want:         Unowned,
		},
		"NoGeneratedName": {
			reason:       "A generated name contains a namespace and a name.",
			binding:      limits,
			instanceName: "c1.shop",
			want:         Unowned,
		},
		"NoGeneratedNameEither": {
			reason:       "Neither of the two can be empty.",
			binding:      limits,
			instanceName: "c1..limits",
			want:         Unowned,
		},
		"TagsStrippedAndRenamed": {
			reason:       "Without ownership tags and generated name the plugin is unowned.",
			binding:      limits,
			instanceName: "orders-limit",
			want:         Unowned,
		},
		"NoInstanceName": {
			reason:  "A plugin that someone else created needs no instance name.",
			binding: limits,
			want:    Unowned,
		},
		"OurNameWithAnotherToolsTag": {
			reason:       "The tag of a tool takes precedence over the name.",
			binding:      limits,
			tags:         []string{"managed-by:deck"},
			instanceName: "c1.shop.limits",
			want:         OwnedByOther,
		},
		"IngressController": {
			reason:  "KIC owns its plugins.",
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
			reason:  "Not even the same UID makes it owned.",
			binding: limits,
			tags:    Binding{Cluster: "c1", Namespace: "stage", Name: "limits", UID: "u1"}.OwnershipTags(),
			want:    OwnedByOther,
		},
		"OtherBinding": {
			reason:  "The plugin of another binding in the namespace is owned by that binding.",
			binding: limits,
			tags:    Binding{Cluster: "c1", Namespace: "shop", Name: "quota", UID: "u3"}.OwnershipTags(),
			want:    OwnedByOther,
		},
		"OtherBindingUnderOurName": {
			reason:       "Tags of another binding take precedence over the generated name.",
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
				t.Errorf("%s\ngot ownership %d, want %d", tc.reason, got, tc.want)
			}
			told := OwnerOf(tc.tags)
			if name == "TagsStrippedOfAnother" {
				told = Owner{Binding: &Binding{Cluster: "c1", Namespace: "shop", Name: "other.limits"}}
			}
			if diff := cmp.Diff(told, owner); diff != "" {
				t.Errorf("The owner comes from the tags, or else from the instance name.\n%s", diff)
			}
		})
	}
}

func TestFound(t *testing.T) {
	t.Parallel()
	for ownership, want := range map[Ownership]bool{Unknown: false, Absent: false, Owned: true, Unowned: true, OwnedByOther: true} {
		if ownership.Found() != want {
			t.Errorf("ownership %d: Found() is %t, want %t", ownership, !want, want)
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
		"UID":       {"The UID does not count.", Binding{Cluster: "c1", Namespace: "shop", Name: "limits", UID: "u2"}, true},
		"Cluster":   {"The cluster counts.", Binding{Cluster: "c2", Namespace: "shop", Name: "limits", UID: "u1"}, false},
		"Namespace": {"The namespace counts.", Binding{Cluster: "c1", Namespace: "stage", Name: "limits", UID: "u1"}, false},
		"Name":      {"The name counts.", Binding{Cluster: "c1", Namespace: "shop", Name: "quota", UID: "u1"}, false},
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

func TestUnownedOwner(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		owner Owner
		want  bool
	}{
		{Owner{}, true},
		{Owner{Binding: &limits}, false},
		{Owner{Tool: "deck"}, false},
	} {
		if got := tc.owner.IsZero(); got != tc.want {
			t.Errorf("%+v: IsZero() is %t, want %t", tc.owner, got, tc.want)
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
			reason: "A user can paste namespace and name into kubectl. The cluster ID would be noise.",
			owner:  Owner{Binding: &limits},
			want:   "PluginBinding shop/limits",
		},
		"OtherCluster": {
			reason: "kubectl finds nothing here, so the text contains the cluster ID.",
			owner:  Owner{Binding: &Binding{Cluster: "c2", Namespace: "shop", Name: "limits"}},
			want:   "PluginBinding shop/limits of cluster c2",
		},
		"IngressController": {
			reason: "The product name.",
			owner:  Owner{Tool: "ingress-controller"},
			want:   "Kong Ingress Controller",
		},
		"OtherTool": {
			reason: "The name in the tag.",
			owner:  Owner{Tool: "deck"},
			want:   "the tool deck",
		},
		"Nobody": {
			reason: "The text says how the operator knows.",
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

func TestWithoutOwnershipTags(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason     string
		tags, want []string
	}{
		"UsersTags": {
			reason: "A released plugin keeps the user's tags, in their order.",
			tags:   append([]string{"team:payments"}, with(ownerTags, "prod", "k8s")...),
			want:   []string{"team:payments", "prod", "k8s"},
		},
		"OtherTools": {
			reason: "Tags of another tool stay.",
			tags:   with(ownerTags, "managed-by:deck", "managed-by-ingress-controller", "k8s-kind:KongPlugin"),
			want:   []string{"managed-by:deck", "managed-by-ingress-controller", "k8s-kind:KongPlugin"},
		},
		"FormerOwnershipTags": {
			reason: "Ownership tags that an earlier binding left go as well.",
			tags:   with(ownerTags, "k8s-uid:u0", "k8s-name:former"),
			want:   []string{},
		},
		"None": {
			reason: "An empty list, not null: Kong treats the two differently.",
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
				t.Errorf("The argument must not change.\n%s", diff)
			}
		})
	}
}

// Generators of values that Kubernetes and the flag --cluster-id accept.
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
		t.Errorf("All versions must generate the same name: got %q, want %q", got, want)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyBinding.Draw(t, "a"), anyBinding.Draw(t, "b")
		// Independent bindings are rarely similar: let them differ in one part, or move a
		// part of the name into the namespace.
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

func TestOwnershipTagsRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := anyBinding.Draw(t, "binding")
		users := rapid.SliceOfN(anyTag.Filter(func(tag string) bool {
			return !strings.HasPrefix(tag, "managed-by") && !strings.HasPrefix(tag, "k8s-")
		}), 0, 4).Draw(t, "tags of the user")
		tags := rapid.Permutation(slices.Concat(users, b.OwnershipTags())).Draw(t, "tags")

		ownership, owner := OwnershipOf(b, tags, "any")
		if ownership != Owned || owner.Binding == nil || *owner.Binding != b {
			t.Fatalf("ownership %d, owner %+v", ownership, owner)
		}
		other := anyBinding.Filter(func(o Binding) bool { return !o.Same(b) }).Draw(t, "other")
		if ownership, _ := OwnershipOf(other, tags, "any"); ownership != OwnedByOther {
			t.Fatalf("for %+v the ownership is %d", other, ownership)
		}
		left := WithoutOwnershipTags(tags)
		slices.Sort(left)
		slices.Sort(users)
		if !slices.Equal(left, users) {
			t.Fatalf("without ownership tags %q, the user's tags are %q", left, users)
		}
	})
}
