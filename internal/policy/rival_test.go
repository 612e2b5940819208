package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// rivalOf is a rival of the namespace, older or younger than the policies of these tests.
func rivalOf(namespace string, older, byPolicy, leaving bool, pluginID v1alpha1.UUID) Rival {
	rival := Rival{
		Binding:  &v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "rival"}},
		Claimant: "PluginPolicy " + namespace + "/rival", Created: now.Add(time.Minute), ByPolicy: byPolicy, Leaving: leaving,
	}
	if older {
		rival.Created = now.Add(-time.Minute)
	}
	rival.Binding.Status.PluginID = pluginID
	return rival
}

// TestContend has a case for each rule of Contend, and for what keeps a plugin from passing over.
func TestContend(t *testing.T) {
	const theirs, ours = v1alpha1.UUID("r"), v1alpha1.UUID("p")
	inConflict := func(r Rival, with v1alpha1.UUID) Rival {
		r.Binding.Status.Conflict = &v1alpha1.ConflictStatus{PluginID: string(with)}
		return r
	}
	spec := func(r Rival, edit func(*v1alpha1.PluginBindingSpec)) Rival {
		edit(&r.Binding.Spec)
		return r
	}
	for name, tc := range map[string]struct {
		rival Rival
		// exists: the child has a binding, whose plugin has that ID.
		exists   bool
		pluginID v1alpha1.UUID
		conflict v1alpha1.UUID
		replaces *v1alpha1.BindingRef
		want     string
	}{
		"an older policy has the plugin":                     {rival: rivalOf("shop", true, true, false, theirs), want: "not made"},
		"an older policy has no plugin yet":                  {rival: rivalOf("shop", true, true, false, ""), want: "not made"},
		"an older policy has no plugin, this one has":        {rival: rivalOf("shop", true, true, false, ""), exists: true, pluginID: ours, want: "stays"},
		"the same in another namespace":                      {rival: rivalOf("else", true, true, false, ""), exists: true, pluginID: ours, want: "stays for else"},
		"the same, and the older one waits":                  {rival: inConflict(rivalOf("shop", true, true, false, ""), ours), exists: true, pluginID: ours, want: "stays"},
		"neither has a plugin":                               {rival: rivalOf("shop", true, true, false, ""), exists: true, want: "stays"},
		"an older policy took the plugin over":               {rival: rivalOf("shop", true, true, false, ours), exists: true, pluginID: ours, want: "yields"},
		"an older policy has a plugin, this one has none":    {rival: rivalOf("shop", true, true, false, theirs), exists: true, want: "yields"},
		"an older policy moves its plugin here":              {rival: inConflict(rivalOf("shop", true, true, false, theirs), ours), exists: true, pluginID: ours, want: "yields"},
		"both have a plugin, and this one's is out of place": {rival: rivalOf("shop", true, true, false, theirs), exists: true, pluginID: ours, conflict: theirs, want: "yields"},
		"both have a plugin, and nobody complains":           {rival: rivalOf("shop", true, true, false, theirs), exists: true, pluginID: ours, want: "stays"},
		"an older binding waits":                             {rival: inConflict(rivalOf("shop", true, false, false, ""), ours), exists: true, pluginID: ours, want: "yields"},
		"an older binding has another problem":               {rival: rivalOf("shop", true, false, false, ""), exists: true, pluginID: ours, want: "stays"},
		"an older binding waits for another plugin":          {rival: inConflict(rivalOf("shop", true, false, false, ""), theirs), exists: true, pluginID: ours, want: "stays"},
		"a younger policy has the plugin":                    {rival: rivalOf("shop", false, true, false, theirs), want: "replaces shop/rival"},
		"the same, and this one's binding waits":             {rival: rivalOf("shop", false, true, false, theirs), exists: true, want: "replaces shop/rival"},
		"the same, and this one has a plugin":                {rival: rivalOf("shop", false, true, false, theirs), exists: true, pluginID: ours, want: "made"},
		"a younger policy has no plugin yet":                 {rival: rivalOf("shop", false, true, false, ""), exists: true, want: "made"},
		"a younger policy of another namespace":              {rival: rivalOf("else", false, true, false, theirs), want: "made"},
		"the same, and it allows the replacement": {want: "replaces else/rival", rival: spec(rivalOf("else", false, true, false, theirs), func(s *v1alpha1.PluginBindingSpec) {
			s.AllowReplacementFrom = []v1alpha1.NamespaceName{"shop"}
		})},
		"a younger policy passed its plugin on":              {rival: rivalOf("shop", false, true, false, ours), exists: true, pluginID: ours, replaces: &v1alpha1.BindingRef{Name: "rival"}, want: "replaces shop/rival"},
		"an older one passed its plugin on, and leaves":      {rival: rivalOf("shop", true, true, true, ours), exists: true, pluginID: ours, replaces: &v1alpha1.BindingRef{Name: "rival"}, want: "replaces shop/rival"},
		"an older one took its plugin back":                  {rival: rivalOf("shop", true, true, false, ours), exists: true, pluginID: ours, replaces: &v1alpha1.BindingRef{Name: "rival"}, want: "yields"},
		"somebody else's plugin was taken over":              {rival: rivalOf("shop", false, true, false, theirs), exists: true, pluginID: ours, replaces: &v1alpha1.BindingRef{Name: "rival"}, want: "made"},
		"a younger binding has the plugin":                   {rival: rivalOf("shop", false, false, false, theirs), want: "made"},
		"an older policy is being deleted":                   {rival: rivalOf("shop", true, true, true, theirs), want: "replaces shop/rival"},
		"an older binding is being deleted":                  {rival: rivalOf("shop", true, false, true, theirs), want: "replaces shop/rival"},
		"a younger binding is being deleted":                 {rival: rivalOf("shop", false, false, true, theirs), want: "replaces shop/rival"},
		"the same, and this one's binding has its plugin":    {rival: rivalOf("shop", true, false, true, theirs), exists: true, pluginID: ours, want: "made"},
		"an older one without plugin is being deleted":       {rival: rivalOf("shop", true, true, true, ""), want: "not made"},
		"an older one of another namespace is being deleted": {rival: rivalOf("else", true, true, true, theirs), want: "not made"},
		"the plugin of a deleted binding stays in Kong": {want: "not made", rival: spec(rivalOf("shop", true, false, true, theirs), func(s *v1alpha1.PluginBindingSpec) {
			s.DeletionPolicy = v1alpha1.OrphanPlugin
		})},
		"the deleted binding observes": {want: "not made", rival: spec(rivalOf("shop", true, false, true, theirs), func(s *v1alpha1.PluginBindingSpec) {
			s.ManagementPolicy = v1alpha1.ObservePlugin
		})},
	} {
		t.Run(name, func(t *testing.T) {
			p := limits()
			p.CreationTimestamp = metav1.Time{Time: now}
			child := Children(p, with(p, "a"))[0]
			var existing *v1alpha1.PluginBinding
			if tc.exists {
				binding := bindingOf(p, "a")
				binding.Status.PluginID = tc.pluginID
				if tc.conflict != "" {
					binding.Status.Conflict = &v1alpha1.ConflictStatus{PluginID: string(tc.conflict)}
				}
				binding.Spec.Replaces = tc.replaces
				existing = &binding
			}
			block := Contend(p, &child, existing, []Rival{tc.rival})
			if got := outcomeOf(&child, block, tc.exists); got != tc.want {
				t.Errorf("got %q: %+v", got, block)
			}
			declared := child.Binding(p).Spec
			if declared.Replaces != child.Replaces || !slices.Equal(declared.AllowReplacementFrom, child.AllowReplacementFrom) {
				t.Errorf("the binding does not say so: %+v", declared)
			}
		})
	}
}

func outcomeOf(child *Child, block Block, exists bool) string {
	switch {
	case block.Passes && len(child.AllowReplacementFrom) > 0:
		return "stays for " + string(child.AllowReplacementFrom[0])
	case block.Passes:
		return "stays"
	case block.Yields && exists:
		return "yields"
	case block.Reason != "":
		return "not made"
	case child.Replaces != nil && child.Replaces.Namespace == "":
		return "replaces shop/" + child.Replaces.Name
	case child.Replaces != nil:
		return "replaces " + string(child.Replaces.Namespace) + "/" + child.Replaces.Name
	default:
		return "made"
	}
}

// Of several rivals the same one is replaced and named each time, and an older one blocks in any order.
func TestContendIsStable(t *testing.T) {
	p := limits()
	p.CreationTimestamp = metav1.Time{Time: now}
	younger, other, older := rivalOf("shop", false, true, false, "a"), rivalOf("shop", false, true, false, "b"), rivalOf("shop", true, true, false, "c")
	younger.Binding.Name, other.Binding.Name, older.Binding.Name = "a", "b", "c"
	for _, rivals := range [][]Rival{{younger, other, older}, {older, other, younger}, {other, older, younger}} {
		child := Children(p, with(p, "a"))[0]
		block := Contend(p, &child, nil, rivals)
		if child.Replaces == nil || child.Replaces.Name != "a" || !strings.HasPrefix(block.Message, "PluginPolicy shop/rival is older") {
			t.Errorf("replaces %v, %+v", child.Replaces, block)
		}
	}
}

func TestIsLeft(t *testing.T) {
	p := limits()
	child := Children(p, with(p, "a"))[0]
	left := func(edit func(*v1alpha1.PluginBinding)) *v1alpha1.PluginBinding {
		binding := bindingOf(p, "a")
		binding.OwnerReferences = nil
		edit(&binding)
		return &binding
	}
	if !IsLeft(p, &child, left(func(*v1alpha1.PluginBinding) {})) {
		t.Error("a binding without owner is not taken")
	}
	for name, edit := range map[string]func(*v1alpha1.PluginBinding){
		"another controller": func(b *v1alpha1.PluginBinding) { b.OwnerReferences = bindingOf(p, "a").OwnerReferences },
		"no label":           func(b *v1alpha1.PluginBinding) { b.Labels = nil },
		"another name":       func(b *v1alpha1.PluginBinding) { b.Name = "else" },
		"another plugin":     func(b *v1alpha1.PluginBinding) { b.Spec.Plugin = "key-auth" },
		"another gateway":    func(b *v1alpha1.PluginBinding) { b.Spec.GatewayRef.Name = "else" },
		"an import":          func(b *v1alpha1.PluginBinding) { b.Spec.PluginID = "11111111-1111-4111-8111-111111111111" },
	} {
		if IsLeft(p, &child, left(edit)) {
			t.Errorf("%s: taken", name)
		}
	}
}
