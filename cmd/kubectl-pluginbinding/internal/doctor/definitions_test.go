package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// The definitions of this version have every field; without one, the command names it.
func TestCompareDefinition(t *testing.T) {
	for _, known := range definitions {
		resource, group, _ := strings.Cut(known.name, ".")
		raw, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "config", "crd", "bases", group+"_"+resource+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(raw, definition); err != nil {
			t.Fatal(err)
		}
		if crd := compareDefinition(definition, known.root); !crd.Served || len(crd.Missing) > 0 {
			t.Errorf("%+v", crd)
		}
		spec := definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
		delete(spec.Properties, "gatewayRef")
		delete(spec.Properties, "adminURL")
		if crd := compareDefinition(definition, known.root); len(crd.Missing) != 1 || !slices.Contains([]string{"spec.gatewayRef", "spec.adminURL"}, crd.Missing[0]) {
			t.Errorf("%+v", crd)
		}
		definition.Spec.Versions[0].Served = false
		if crd := compareDefinition(definition, known.root); crd.Served {
			t.Errorf("%+v", crd)
		}
	}
}

func TestPrintGroups(t *testing.T) {
	var b strings.Builder
	facts := healthy()
	facts.Leases[0].Holder, facts.Bindings[0].Status.Conditions = "", nil
	if err := printGroups(&b, Diagnose(facts), false); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"The operator does not run (OperatorNotRunning, 1)\n  Error: Lease kong/operator\n", "\n\nBindings that are not Ready (BindingNotReady, 1)\n  Error: PluginBinding shop/a at kong/main\n", "    Next: "} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("lacks %q:\n%s", line, b.String())
		}
	}
	b.Reset()
	if err := printGroups(&b, nil, true); err != nil || b.String() != "Nothing is wrong.\n" {
		t.Errorf("%v %q", err, b.String())
	}
}
