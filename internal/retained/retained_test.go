package retained

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

func gatewayIn(namespace string) *v1alpha1.KongGateway {
	return &v1alpha1.KongGateway{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "kong"}}
}

// add adds a plugin and stores the list in the gateway, as a reconcile does.
func add(t *testing.T, gateway *v1alpha1.KongGateway, namespace, id string) (lost string) {
	t.Helper()
	p := Of(gateway)
	lost, added := p.Add(namespace, id)
	if !added {
		t.Fatalf("%s of %s was not added", id, namespace)
	}
	gateway.Status.RetainedPlugins = p.Status()
	return lost
}

func TestATenantsListHidesOnlyItsOwnOrphans(t *testing.T) {
	platform, tenant := gatewayIn("kong"), gatewayIn("tenant")
	add(t, platform, "shop", "of-shop")
	add(t, tenant, "shop", "invented")
	tenant.Annotations = map[string]string{v1alpha1.RetainedPluginsAnnotation: "by-hand"}
	for _, tc := range []struct {
		list          *v1alpha1.KongGateway
		trusted       bool
		namespace, id string
		want          bool
	}{
		{platform, true, "shop", "of-shop", true},
		{platform, true, "other", "of-shop", false},
		{platform, false, "shop", "of-shop", false},
		{tenant, false, "shop", "invented", false},
		{tenant, false, "shop", "by-hand", false},
		{tenant, false, "tenant", "by-hand", true},
		{tenant, true, "shop", "invented", true},
	} {
		if got := Of(tc.list).Covers(tc.trusted, tc.namespace, tc.id); got != tc.want {
			t.Errorf("%s, trusted %v, %s of %s: %v", tc.list.Namespace, tc.trusted, tc.id, tc.namespace, got)
		}
	}
}

func TestAFullListHoldsUpNobodyElse(t *testing.T) {
	gateway := gatewayIn("kong")
	p := Of(gateway)
	n := 0
	for namespace := range MaxPlugins / MaxPerNamespace {
		for range MaxPerNamespace {
			n++
			if _, added := p.Add(fmt.Sprintf("tenant-%d", namespace), fmt.Sprint(n)); !added {
				t.Fatal("the list is full too soon")
			}
		}
	}
	if _, added := p.Add("tenant-0", "one more"); added {
		t.Error("a namespace has no bound")
	}
	for _, namespace := range []string{"shop", "kong"} {
		lost, added := p.Add(namespace, "of "+namespace)
		if !added || lost == "" || !p.Covers(true, namespace, "of "+namespace) {
			t.Errorf("%s has to wait for others (%q, %v)", namespace, lost, added)
		}
	}
	if p.len() != MaxPlugins {
		t.Errorf("%d plugins", p.len())
	}
}

func TestNamespacesAreBounded(t *testing.T) {
	p := Of(gatewayIn("kong"))
	for i := range 2 * maxNamespaces {
		p.Add(fmt.Sprintf("n%d", i), fmt.Sprint(i))
	}
	if n := len(p.Status()); n > maxNamespaces {
		t.Errorf("%d namespaces", n)
	}
}

func TestTheAnnotationMovesToTheStatus(t *testing.T) {
	gateway := gatewayIn("kong")
	gateway.Annotations = map[string]string{v1alpha1.RetainedPluginsAnnotation: "a,b,c"}
	p := Of(gateway)
	if !p.Covers(true, "shop", "a") {
		t.Error("the annotation does not count before it is moved")
	}
	p.Assign(map[string]string{"a": "shop", "b": "other"})
	gateway.Status.RetainedPlugins = p.Status()
	p.SetAnnotation(gateway)
	if got := gateway.Annotations[v1alpha1.RetainedPluginsAnnotation]; got != "c" {
		t.Errorf("the annotation has %q", got)
	}
	if p = Of(gateway); !p.Covers(true, "shop", "a") || p.Covers(true, "other", "a") || !p.Covers(true, "other", "b") {
		t.Errorf("%+v", gateway.Status.RetainedPlugins)
	}
	p.Assign(map[string]string{"c": "shop"})
	p.Remove("b")
	if p.SetAnnotation(gateway); len(gateway.Annotations) != 0 || len(p.Status()) != 1 || len(p.Status()[0].PluginIDs) != 2 {
		t.Errorf("%+v, %+v", gateway.Annotations, p.Status())
	}
}
