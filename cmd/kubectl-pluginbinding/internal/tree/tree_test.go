package tree

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
)

func ready(status metav1.ConditionStatus, reason string) []metav1.Condition {
	return []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: "because"}}
}

func binding(namespace, name, gateway string) *v1alpha1.PluginBinding {
	return &v1alpha1.PluginBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.PluginBindingSpec{GatewayRef: v1alpha1.GatewayRef{Name: gateway}, Plugin: "acl"},
		Status:     v1alpha1.PluginBindingStatus{PluginID: "1", Conditions: ready(metav1.ConditionTrue, "Ready")},
	}
}

func world() client.Client {
	gateway := &v1alpha1.KongGateway{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "kong"}, Spec: v1alpha1.KongGatewaySpec{AdminURL: "http://kong"}}
	policy := &v1alpha1.PluginPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "login", UID: "p"},
		Spec:       v1alpha1.PluginPolicySpec{GatewayRef: v1alpha1.GatewayRef{Name: "kong"}},
		Status:     v1alpha1.PluginPolicyStatus{Conditions: ready(metav1.ConditionFalse, "Conflicted")},
	}
	child := binding("shop", "login-1", "kong")
	child.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PluginPolicy", Name: "login", UID: "p", Controller: ptr.To(true)}}
	far := binding("shop", "far", "kong")
	far.Spec.GatewayRef.Namespace = "absent"
	return fake.NewClientBuilder().WithScheme(cli.Scheme).WithObjects(gateway, policy, child, far, binding("shop", "own", "kong"), binding("other", "elsewhere", "none")).Build()
}

func TestTree(t *testing.T) {
	tree, err := read(t.Context(), world(), "shop", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"gateway absent/kong",
		"└─ binding shop/far",
		"gateway shop/kong",
		"├─ policy shop/login",
		"│  └─ binding shop/login-1",
		"└─ binding shop/own",
	}, "\n")
	var got []string
	for _, row := range tree.result().Rows {
		got = append(got, fmt.Sprint(row.Cells[0]))
	}
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if missing := tree.Gateways[0]; missing.Ready != "Unknown" || !strings.Contains(missing.Message, "not found") {
		t.Errorf("%+v", missing.Node)
	}
	if policy := tree.Gateways[1].Policies[0]; policy.Reason != "Conflicted" || policy.Message != "because" {
		t.Errorf("%+v", policy.Node)
	}
}

func TestTreeOfOneGateway(t *testing.T) {
	tree, err := read(t.Context(), world(), "", &types.NamespacedName{Namespace: "shop", Name: "kong"})
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Gateways) != 1 || len(tree.Gateways[0].Bindings) != 1 || len(tree.Gateways[0].Policies) != 1 {
		t.Errorf("%+v", tree.Gateways)
	}
	if _, err := read(t.Context(), world(), "", &types.NamespacedName{Namespace: "shop", Name: "absent"}); err == nil {
		t.Error("a gateway that does not exist has a tree")
	}
}

// Rows have colours by their level; the text has none.
func TestLevels(t *testing.T) {
	for status, want := range map[string]cli.Level{"True": cli.Good, "False": cli.Bad, "Unknown": cli.Warning} {
		if got := levelOf(Node{Ready: status}); got != want {
			t.Errorf("%s: %v", status, got)
		}
	}
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	if cli.NewFactory(streams).Colour() {
		t.Error("colours without a terminal")
	}
}
