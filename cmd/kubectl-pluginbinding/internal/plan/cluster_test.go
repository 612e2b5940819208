package plan

import (
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

func bindingNamed(name, id string) *v1alpha1.PluginBinding {
	return &v1alpha1.PluginBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Finalizers: []string{v1alpha1.PluginFinalizer}},
		Spec:       v1alpha1.PluginBindingSpec{GatewayRef: v1alpha1.GatewayRef{Name: "kong"}, Plugin: "acl"},
		Status:     v1alpha1.PluginBindingStatus{PluginID: v1alpha1.UUID(id)},
	}
}

// drafted returns a draft over a live cluster with the binding live.
func drafted(t *testing.T) (d *draftCluster, live client.Client, changed *[]string) {
	t.Helper()
	changed = &[]string{}
	live = fake.NewClientBuilder().WithScheme(cli.Scheme).WithObjects(bindingNamed("live", "1")).WithStatusSubresource(&v1alpha1.PluginBinding{}).Build()
	d = newDraftCluster(live, &offsetClock{})
	d.changed = func(kind string, key types.NamespacedName) { *changed = append(*changed, kind+" "+key.Name) }
	if err := controllers.AddIndexes(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	return d, live, changed
}

func listed(t *testing.T, d *draftCluster, opts ...client.ListOption) (names []string) {
	t.Helper()
	list := &v1alpha1.PluginBindingList{}
	if err := d.List(t.Context(), list, opts...); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names
}

func TestADraftOfAClusterHasWhatIsApplied(t *testing.T) {
	d, live, _ := drafted(t)
	if err := d.put(bindingNamed("new", "2")); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, d); len(got) != 2 {
		t.Error(got)
	}
	if got := listed(t, d, client.MatchingFields{reference.IndexPluginID: "2"}); len(got) != 1 || got[0] != "new" {
		t.Error(got)
	}
	if got := listed(t, d, client.InNamespace("other")); len(got) != 0 {
		t.Error(got)
	}
	if err := live.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: "new"}, &v1alpha1.PluginBinding{}); !apierrors.IsNotFound(err) {
		t.Error("the live cluster has it too")
	}
}

func TestPatchesStayInTheDraft(t *testing.T) {
	d, live, changed := drafted(t)
	ctx, key := t.Context(), types.NamespacedName{Namespace: "shop", Name: "live"}
	binding := &v1alpha1.PluginBinding{}
	if err := d.Get(ctx, key, binding); err != nil {
		t.Fatal(err)
	}
	base := binding.DeepCopy()
	binding.Status.PluginID = "3"
	if err := d.Status().Patch(ctx, binding, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
	again, unchanged := &v1alpha1.PluginBinding{}, &v1alpha1.PluginBinding{}
	if err := d.Get(ctx, key, again); err != nil || again.Status.PluginID != "3" {
		t.Error(again.Status, err)
	}
	if err := live.Get(ctx, key, unchanged); err != nil || unchanged.Status.PluginID != "1" {
		t.Error(unchanged.Status, err)
	}
	if len(*changed) != 1 || (*changed)[0] != "PluginBinding live" {
		t.Error(*changed)
	}
}

func TestADeletionWaitsForTheFinalizer(t *testing.T) {
	d, live, _ := drafted(t)
	ctx, binding := t.Context(), bindingNamed("live", "1")
	if err := d.Delete(ctx, binding); err != nil {
		t.Fatal(err)
	}
	if err := d.Get(ctx, client.ObjectKeyFromObject(binding), binding); err != nil || binding.DeletionTimestamp == nil {
		t.Fatal(binding.DeletionTimestamp, err)
	}
	base := binding.DeepCopy()
	binding.Finalizers = nil
	if err := d.Patch(ctx, binding, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
	if err := d.Get(ctx, client.ObjectKeyFromObject(binding), binding); !apierrors.IsNotFound(err) {
		t.Error(err)
	}
	if got := listed(t, d); len(got) != 0 {
		t.Error(got)
	}
	if err := live.Get(ctx, client.ObjectKeyFromObject(base), &v1alpha1.PluginBinding{}); err != nil {
		t.Error(err)
	}
}

func TestTheClockGoesAheadOnly(t *testing.T) {
	c, before := &offsetClock{}, time.Now()
	start := c.Now()
	c.wait(time.Minute)
	if passed := c.Since(start); passed < time.Minute || passed > time.Minute+time.Since(before) {
		t.Error(passed)
	}
}
