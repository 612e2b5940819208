package rename

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
)

func old(change ...func(*v1alpha1.PluginBinding)) *v1alpha1.PluginBinding {
	b := &v1alpha1.PluginBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "old", UID: "1", Labels: map[string]string{"team": "a"}, Annotations: map[string]string{
			"note": "kept", corev1.LastAppliedConfigAnnotation: "{}",
		}},
		Spec:   v1alpha1.PluginBindingSpec{GatewayRef: v1alpha1.GatewayRef{Name: "kong"}, Plugin: "acl", PluginID: "p"},
		Status: v1alpha1.PluginBindingStatus{PluginID: "p"},
	}
	for _, c := range change {
		c(b)
	}
	return b
}

// start returns a renaming over a cluster whose operator gives new bindings the plugin, or not.
func start(t *testing.T, to types.NamespacedName, plugin v1alpha1.UUID, objects ...client.Object) (r *renaming, log *[]string) {
	t.Helper()
	log = &[]string{}
	c := fake.NewClientBuilder().WithScheme(cli.Scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if len((&client.CreateOptions{}).ApplyOptions(opts).DryRun) > 0 {
				if o.GetName() == "refused" {
					return errors.New("the API server does not take it")
				}
				return c.Create(ctx, o, opts...)
			}
			*log = append(*log, "create "+o.GetNamespace()+"/"+o.GetName())
			if binding, ok := o.(*v1alpha1.PluginBinding); ok && plugin != "" {
				binding.Status = v1alpha1.PluginBindingStatus{PluginID: plugin, Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Ready"}}}
			}
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			*log = append(*log, "patch "+o.GetNamespace()+"/"+o.GetName())
			return c.Patch(ctx, o, p, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			*log = append(*log, "delete "+o.GetNamespace()+"/"+o.GetName())
			return c.Delete(ctx, o, opts...)
		},
	}).Build()
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	return &renaming{Client: c, factory: cli.NewFactory(streams), from: types.NamespacedName{Namespace: "shop", Name: "old"}, to: to}, log
}

func TestRenameInAnotherNamespace(t *testing.T) {
	to := types.NamespacedName{Namespace: "orders", Name: "new"}
	r, log := start(t, to, "p", old())
	if err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(*log, ", "); got != "patch shop/old, create orders/new, delete shop/old" {
		t.Error(got)
	}
	made := &v1alpha1.PluginBinding{}
	if err := r.Get(t.Context(), to, made); err != nil {
		t.Fatal(err)
	}
	if made.Spec.Replaces == nil || made.Spec.Replaces.Namespace != "shop" || made.Spec.GatewayRef.Namespace != "shop" || made.Spec.PluginID != "" {
		t.Errorf("%+v", made.Spec)
	}
	if made.Labels["team"] != "a" || made.Annotations["note"] != "kept" || made.Annotations[corev1.LastAppliedConfigAnnotation] != "" {
		t.Errorf("%v %v", made.Labels, made.Annotations)
	}
}

func TestNothingIsWrittenBeforeTheCheck(t *testing.T) {
	same := types.NamespacedName{Namespace: "shop", Name: "new"}
	for name, c := range map[string]struct {
		to  types.NamespacedName
		old *v1alpha1.PluginBinding
	}{
		"the same name": {types.NamespacedName{Namespace: "shop", Name: "old"}, old()},
		"of a policy": {same, old(func(b *v1alpha1.PluginBinding) {
			b.OwnerReferences = []metav1.OwnerReference{{Kind: "PluginPolicy", Name: "p", Controller: ptr.To(true)}}
		})},
		"no plugin": {same, old(func(b *v1alpha1.PluginBinding) { b.Status.PluginID = "" })},
		"paused":    {same, old(func(b *v1alpha1.PluginBinding) { b.Annotations[v1alpha1.PausedAnnotation] = "true" })},
		"missing Secret": {types.NamespacedName{Namespace: "orders", Name: "old"}, old(func(b *v1alpha1.PluginBinding) {
			b.Spec.ConfigFrom = &v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: "s", Key: "k"}}
		})},
	} {
		r, log := start(t, c.to, "p", c.old)
		if err := r.run(t.Context()); err == nil || len(*log) > 0 {
			t.Errorf("%s: %v, %v", name, err, *log)
		}
	}
}

// The old binding stays as long as the new one does not have its plugin.
func TestTheOldBindingStays(t *testing.T) {
	for name, plugin := range map[string]v1alpha1.UUID{"nothing happens": "", "another plugin": "q"} {
		r, log := start(t, types.NamespacedName{Namespace: "shop", Name: "new"}, plugin, old())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := r.run(ctx)
		cancel()
		if err == nil || strings.Join(*log, ", ") != "create shop/new" {
			t.Errorf("%s: %v, %v", name, err, *log)
		}
	}
}

func TestDryRun(t *testing.T) {
	r, _ := start(t, types.NamespacedName{Namespace: "shop", Name: "new"}, "p", old())
	r.dryRun = true
	if err := r.run(t.Context()); !errors.Is(err, cli.ErrWouldChange) {
		t.Error(err)
	}
	if err := r.Get(t.Context(), r.to, &v1alpha1.PluginBinding{}); err == nil {
		t.Error("the new binding exists")
	}
	if err := r.Get(t.Context(), r.from, &v1alpha1.PluginBinding{}); err != nil {
		t.Error(err)
	}
}

// replacement is the new binding as an earlier run left it.
func replacement() *v1alpha1.PluginBinding {
	return &v1alpha1.PluginBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "new"},
		Spec:       v1alpha1.PluginBindingSpec{GatewayRef: v1alpha1.GatewayRef{Name: "kong"}, Plugin: "acl", Replaces: &v1alpha1.BindingRef{Name: "old"}},
		Status: v1alpha1.PluginBindingStatus{PluginID: "p", Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Ready"},
		}},
	}
}

// A run that was interrupted after it deleted the old binding goes on, and one that was done says so.
func TestRenameAgainAfterTheDeletion(t *testing.T) {
	to := types.NamespacedName{Namespace: "shop", Name: "new"}
	r, log := start(t, to, "p", replacement())
	if err := r.run(t.Context()); err != nil || len(*log) > 0 {
		t.Errorf("it is done already: %v, %v", err, *log)
	}
	deleting := func() *v1alpha1.PluginBinding {
		return old(func(b *v1alpha1.PluginBinding) {
			b.DeletionTimestamp, b.Finalizers = ptr.To(metav1.Now()), []string{v1alpha1.PluginFinalizer}
		})
	}
	r, log = start(t, to, "p", replacement(), deleting())
	time.AfterFunc(2*pollInterval, func() {
		_ = r.Patch(context.Background(), deleting(), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.run(ctx); err != nil || strings.Join(*log, ", ") != "patch shop/old" {
		t.Errorf("the old one is being deleted: %v, %v", err, *log)
	}
	unfinished := replacement()
	unfinished.Status = v1alpha1.PluginBindingStatus{}
	r, _ = start(t, to, "p", unfinished.DeepCopy(), deleting())
	if err := r.run(t.Context()); err == nil {
		t.Error("a binding that is being deleted was renamed although the new one has no plugin")
	}
	r, _ = start(t, to, "p", unfinished.DeepCopy())
	if err := r.run(t.Context()); err == nil {
		t.Error("it is said to be done, and the new binding has no plugin")
	}
}

// What the API server does not take is found out before the old binding is changed.
func TestARefusedNameChangesNothing(t *testing.T) {
	r, log := start(t, types.NamespacedName{Namespace: "orders", Name: "refused"}, "p", old())
	if err := r.run(t.Context()); err == nil || !strings.Contains(err.Error(), "Nothing was changed") || len(*log) > 0 {
		t.Errorf("%v, %v", err, *log)
	}
}

// With GitOps, something makes the old binding again.
func TestTheOldBindingComesBack(t *testing.T) {
	r, _ := start(t, types.NamespacedName{Namespace: "shop", Name: "new"}, "p", old())
	again := old(func(b *v1alpha1.PluginBinding) { b.UID = "2" })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.awaitGone(ctx, again); err == nil || !strings.Contains(err.Error(), "created PluginBinding shop/old again") {
		t.Error(err)
	}
}
