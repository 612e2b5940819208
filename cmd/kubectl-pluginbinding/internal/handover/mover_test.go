package handover

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
)

// An object that an interrupted run deletes can go between the refusal to create it again and the look at it.
func TestCreateWhileADeletionEnds(t *testing.T) {
	item := &Item{KongPlugin: Ref{Kind: "KongPlugin", Namespace: "shop", Name: "auth"}, Object: &Ref{Kind: "Ingress", Namespace: "shop", Name: "web"}, Namespace: "shop", Name: "auth"}
	refusals := 1
	m := &mover{kube: fake.NewClientBuilder().WithScheme(cli.Scheme).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
			if refusals--; refusals >= 0 {
				return apierrors.NewAlreadyExists(schema.GroupResource{}, object.GetName())
			}
			return c.Create(ctx, object, options...)
		},
	}).Build()}
	policy := item.policy("auth", &v1alpha1.PluginTemplateSpec{Plugin: "key-auth"}, false)
	var open *pendingError
	if err := m.create(t.Context(), item, policy); !errors.As(err, &open) {
		t.Fatalf("it says %v, and does not wait", err)
	}
	if err := m.create(t.Context(), item, policy); err != nil {
		t.Error(err)
	}
	if err := m.create(t.Context(), item, item.policy("auth", &v1alpha1.PluginTemplateSpec{Plugin: "key-auth"}, false)); err != nil {
		t.Errorf("its own object: %v", err)
	}
	other := *item
	other.KongPlugin.Name = "other"
	if err := m.create(t.Context(), &other, other.policy("auth", &v1alpha1.PluginTemplateSpec{Plugin: "key-auth"}, false)); err == nil || errors.As(err, &open) {
		t.Errorf("an object of another item: %v", err)
	}
}
