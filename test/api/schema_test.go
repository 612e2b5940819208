package api

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

type schema = apiextensionsv1.JSONSchemaProps

// A field is one node of a schema. Its path is as in a refusal, with [] for any element of
// a list.
type field struct {
	path     string
	schema   *schema
	required bool
}

// crds are those of config/crd/bases, by kind.
func crds(t *testing.T) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(crdDirectory, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs in %s: %v", crdDirectory, err)
	}
	all := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		crd := new(apiextensionsv1.CustomResourceDefinition)
		if err := yaml.UnmarshalStrict(data, crd); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[crd.Spec.Names.Kind] = crd
	}
	return all
}

// fields of a kind from the root down, parents before children, in a stable order.
func fields(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition) []field {
	t.Helper()
	if n := len(crd.Spec.Versions); n != 1 {
		t.Fatalf("%s has %d versions; this walks one", crd.Name, n)
	}
	var all []field
	var walk func(path string, s *schema, required bool)
	walk = func(path string, s *schema, required bool) {
		all = append(all, field{path, s, required})
		names := make([]string, 0, len(s.Properties))
		for name := range s.Properties {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			child := s.Properties[name]
			walk(strings.TrimPrefix(path+"."+name, "."), &child, slices.Contains(s.Required, name))
		}
		if s.Items != nil {
			walk(path+"[]", s.Items.Schema, false)
		}
		if s.AdditionalProperties != nil {
			walk(path+"{}", s.AdditionalProperties.Schema, false)
		}
	}
	walk("", crd.Spec.Versions[0].Schema.OpenAPIV3Schema, false)
	return all
}

// kubernetes reports whether a field comes from Kubernetes' own types, which we do not shape.
func kubernetes(path string) bool {
	return strings.HasPrefix(path, "metadata") || path == "apiVersion" || path == "kind" ||
		strings.Contains(path, ".selector.") || path == "status.lastResync.duration" || path == "status.resyncInterval"
}

// kubectl explain has only these to show.
func TestEveryFieldIsDescribed(t *testing.T) {
	for kind, crd := range crds(t) {
		for _, f := range fields(t, crd) {
			element := strings.HasSuffix(f.path, "[]") || strings.HasSuffix(f.path, "{}")
			switch {
			case f.path == "metadata" || element && len(f.schema.Properties) == 0:
			case strings.TrimSpace(f.schema.Description) == "":
				t.Errorf("%s: %s has no description", kind, f.path)
			}
		}
	}
}

// What anybody may write into an object has a bound: etcd and the CEL budget have one, too.
func TestEveryFieldIsBounded(t *testing.T) {
	for kind, crd := range crds(t) {
		for _, f := range fields(t, crd) {
			if kubernetes(f.path) {
				continue
			}
			switch s := f.schema; {
			case s.Type == "string" && s.MaxLength == nil && len(s.Enum) == 0 && s.Format == "":
				t.Errorf("%s: the text %s has no maxLength", kind, f.path)
			case s.Type == "array" && s.MaxItems == nil:
				t.Errorf("%s: the list %s has no maxItems", kind, f.path)
			case s.Type == "array" && s.XListType == nil:
				t.Errorf("%s: the list %s does not say how two writers' lists are merged", kind, f.path)
			case s.Type == "integer" && strings.HasPrefix(f.path, "spec") && (s.Minimum == nil || s.Maximum == nil):
				t.Errorf("%s: the number %s has no minimum or no maximum", kind, f.path)
			}
		}
	}
}

// A rule without a case is a rule that nobody has seen at work, and a message nobody has read.
func TestEveryRuleHasACase(t *testing.T) {
	type covered struct{ kind, field, message string }
	cases := map[covered]bool{}
	for kind, table := range map[string][]ruleCase{"PluginBinding": bindingRules, "KongGateway": gatewayRules, "PluginPolicy": policyRules} {
		for _, tc := range table {
			cases[covered{kind, anyElement(tc.field), tc.message}] = true
		}
	}
	for _, tc := range transitions {
		cases[covered{"PluginBinding", anyElement(tc.field), tc.message}] = true
	}

	for _, tc := range policyTransitions {
		cases[covered{"PluginPolicy", anyElement(tc.field), tc.message}] = true
	}

	rules := 0
	for kind, crd := range crds(t) {
		for _, f := range fields(t, crd) {
			path := f.path
			if path == "" {
				path = "<nil>" // as the API server calls the root
			}
			path = strings.ReplaceAll(path, "{}", "[]") // a refusal names the key of a value like an index
			for _, rule := range f.schema.XValidations {
				rules++
				if rule.Message == "" {
					t.Errorf("%s: a rule of %s has no message: %s", kind, path, rule.Rule)
				}
				at := path
				if rule.FieldPath != "" { // the rule says itself which field it speaks of
					at = strings.TrimPrefix(f.path+rule.FieldPath, ".")
				}
				if !cases[covered{kind, at, rule.Message}] {
					t.Errorf("%s: no case shows that %s is refused with %q", kind, at, rule.Message)
				}
			}
		}
	}
	t.Logf("%d rules, %d cases", rules, len(bindingRules)+len(gatewayRules)+len(policyRules)+len(transitions)+len(policyTransitions))
}

// anyElement makes a[3].b into a[].b.
func anyElement(path string) string {
	var b strings.Builder
	index := false
	for _, r := range path {
		switch {
		case r == '[':
			index = true
			b.WriteString("[]")
		case r == ']':
			index = false
		case !index:
			b.WriteRune(r)
		}
	}
	return b.String()
}
