package api

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// With config/finalizer-at-creation, the API server itself sets the finalizer of a new binding, and of no
// other: an observed binding gets it only when it owns a plugin, and a finalizer that was removed stays so.
func TestTheFinalizerPolicySetsTheFinalizerAtCreation(t *testing.T) {
	const in = "finalizer-policy"
	apply(t, object(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+in+"}"))
	text, err := os.ReadFile("../../config/finalizer-at-creation/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(text), "---\n") {
		o := object(t, document)
		if o.GetKind() == "MutatingAdmissionPolicy" { // for this test only: the others run beside it
			o = merge(t, o, "spec: {matchConstraints: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: "+in+"}}}}")
		}
		apply(t, o)
	}
	created := func(ctx context.Context, patches ...string) (*unstructured.Unstructured, error) {
		o := object(t, minimalBinding, patches...)
		o.SetNamespace(in)
		return o, api.Create(ctx, o, client.DryRunAll)
	}
	// The API server applies a new policy after a moment.
	err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		o, err := created(ctx)
		return len(o.GetFinalizers()) > 0, err
	})
	if err != nil {
		t.Fatalf("the policy sets no finalizer: %v", err)
	}
	for name, tc := range map[string]struct {
		patch string
		want  []string
	}{
		"plain":                {"", []string{v1alpha1.PluginFinalizer}},
		"another finalizer":    {`metadata: {finalizers: [example.com/mine]}`, []string{"example.com/mine", v1alpha1.PluginFinalizer}},
		"the finalizer itself": {`metadata: {finalizers: [` + v1alpha1.PluginFinalizer + `]}`, []string{v1alpha1.PluginFinalizer}},
		"no finalizers":        {`metadata: {finalizers: []}`, []string{v1alpha1.PluginFinalizer}},
		"managed":              {`spec: {managementPolicy: Manage}`, []string{v1alpha1.PluginFinalizer}},
		"observed":             {`spec: {managementPolicy: Observe}`, nil},
	} {
		o, err := created(t.Context(), tc.patch)
		if err != nil || !slices.Equal(o.GetFinalizers(), tc.want) {
			t.Errorf("%s: %v, %v", name, o.GetFinalizers(), err)
		}
	}

	stored := object(t, minimalBinding, "metadata: {namespace: "+in+"}")
	if err := api.Create(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	expect(t, update(`metadata: {finalizers: null}`)(t, stored), "", "")
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(stored), stored); err != nil || len(stored.GetFinalizers()) > 0 {
		t.Errorf("after the finalizer was removed: %v, %v", stored.GetFinalizers(), err)
	}
	if err := api.Delete(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(stored), stored); !apierrors.IsNotFound(err) {
		t.Errorf("after the deletion: %v", err)
	}
}
