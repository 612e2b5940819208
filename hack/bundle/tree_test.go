package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

const root = "../.."

// These tests hold bundle/ to the rest of the tree. What only kustomize can tell is
// checked by `make verify`, which makes the bundle again.

func readAll(t *testing.T, pattern string) []unstructured.Unstructured {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Fatalf("there is no %s", pattern)
	}
	var objects []unstructured.Unstructured
	for _, name := range names {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		found, err := parse(file)
		_ = file.Close()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		objects = append(objects, found...)
	}
	return objects
}

func bundleCSV(t *testing.T) csv {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "bundle", "manifests", packageName+".clusterserviceversion.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return readCSV(t, content)
}

func TestBundleHasTheCRDs(t *testing.T) {
	specs := func(objects []unstructured.Unstructured) map[string]any {
		out := map[string]any{}
		for _, object := range objects {
			if object.GetKind() == "CustomResourceDefinition" {
				out[object.GetName()] = object.Object["spec"]
			}
		}
		return out
	}
	generated := specs(readAll(t, "config/crd/bases/*.yaml"))
	if diff := cmp.Diff(generated, specs(readAll(t, "bundle/manifests/*.yaml"))); diff != "" {
		t.Errorf("the bundle's CRDs are not those of config/crd/bases; run make bundle\n%s", diff)
	}
	var owned, want []string
	for _, crd := range bundleCSV(t).Spec.Owned.Owned {
		owned = append(owned, crd.Name)
	}
	for name := range generated {
		want = append(want, name)
	}
	slices.Sort(owned)
	slices.Sort(want)
	if diff := cmp.Diff(want, owned); diff != "" {
		t.Error(diff)
	}
}

// Every right that the manager has outside OLM it has in the bundle, and no other.
func TestBundleHasTheRights(t *testing.T) {
	var want, got []string
	for _, file := range []string{"role.yaml", "metrics_auth_role.yaml"} {
		want = append(want, rights(rulesOf(t, readAll(t, "config/rbac/"+file)[0]))...)
	}
	install := bundleCSV(t).Spec.Install.Spec
	for _, p := range slices.Concat(install.Permissions, install.ClusterPermissions) {
		got = append(got, rights(p.Rules)...)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(slices.Compact(want), slices.Compact(got)); diff != "" {
		t.Errorf("run make bundle\n%s", diff)
	}
}

// The Lease is in the operator's namespace, and so is the right on it. As one of OLM's
// permissions it would be a right in every namespace that is watched.
func TestTheRightOnTheLeaseIsTheNamespaces(t *testing.T) {
	const name = "kong-plugin-operator-leader-election-role"
	for _, path := range []string{"config/rbac/leader_election_role.yaml", "bundle/manifests/" + name + "_rbac.authorization.k8s.io_v1_role.yaml"} {
		role := readAll(t, path)[0]
		if role.GetKind() != "Role" || !slices.Contains(rights(rulesOf(t, role)), "update coordination.k8s.io/leases []") {
			t.Errorf("%s: a %s with %q", path, role.GetKind(), rights(rulesOf(t, role)))
		}
	}
	var bound rbacv1.RoleBinding
	object := readAll(t, "bundle/manifests/kong-plugin-operator-leader-election-rolebinding_*.yaml")[0]
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &bound); err != nil {
		t.Fatal(err)
	}
	// Without a namespace of its own, a subject is in that of the binding.
	subject := rbacv1.Subject{Kind: "ServiceAccount", Name: "kong-plugin-operator-controller-manager"}
	if bound.RoleRef.Kind != "Role" || bound.RoleRef.Name != name || !slices.Equal(bound.Subjects, []rbacv1.Subject{subject}) {
		t.Errorf("%+v is bound to %+v", bound.Subjects, bound.RoleRef)
	}
	install := bundleCSV(t).Spec.Install.Spec
	for _, p := range slices.Concat(install.Permissions, install.ClusterPermissions) {
		for _, right := range rights(p.Rules) {
			if strings.Contains(right, "/leases") {
				t.Errorf("OLM gives %q wherever the operator watches", right)
			}
		}
	}
}

func rulesOf(t *testing.T, object unstructured.Unstructured) []rbacv1.PolicyRule {
	t.Helper()
	var typed rbacv1.Role // a ClusterRole has its rules in the same place
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &typed); err != nil {
		t.Fatal(err)
	}
	return typed.Rules
}

// rights spells rules out one by one.
func rights(rules []rbacv1.PolicyRule) []string {
	var all []string
	for _, rule := range rules {
		for _, verb := range rule.Verbs {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					all = append(all, fmt.Sprintf("%s %s/%s %v", verb, group, resource, rule.ResourceNames))
				}
			}
			for _, url := range rule.NonResourceURLs {
				all = append(all, verb+" "+url)
			}
		}
	}
	return all
}

// A console proposes one small object per kind. It must work wherever it is applied: it
// names no namespace, no Secret, and no address that only some machine has.
func TestExamplesWorkWhereTheyAreApplied(t *testing.T) {
	var examples []unstructured.Unstructured
	if err := json.Unmarshal([]byte(bundleCSV(t).Metadata.Annotations["alm-examples"]), &examples); err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, example := range examples {
		kinds = append(kinds, example.GetKind())
		content, err := example.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"namespace", "ecretRef", "127.0.0.1", "localhost"} {
			if strings.Contains(string(content), word) {
				t.Errorf("the example of %s says %q: %s", example.GetKind(), word, content)
			}
		}
		typed, err := scheme.New(example.GroupVersionKind())
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(content, typed); err != nil {
			t.Errorf("the example of %s: %v", example.GetKind(), err)
		}
	}
	slices.Sort(kinds)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(crdSchemas(t))), kinds); diff != "" {
		t.Errorf("one example per kind\n%s", diff)
	}
}

// A console shows what has a descriptor. Every field of the spec has one; so has what a
// user asks of a status first. A descriptor whose path is no field of the CRD shows nothing.
func TestDescriptorsAreTheFields(t *testing.T) {
	wantStatus := map[string][]string{
		"KongGateway":   {"version", "conditions"},
		"PluginBinding": {"pluginID", "gateway", "scope", "conflict", "lastDrift", "conditions"},
	}
	schemas := crdSchemas(t)
	for _, crd := range bundleCSV(t).Spec.Owned.Owned {
		schema := schemas[crd.Kind]
		spec := descriptorPaths(t, crd.SpecDescriptors, schema, "spec", crd.Kind)
		for field := range schema.Properties["spec"].Properties {
			if !slices.Contains(spec, field) {
				t.Errorf("%s: spec.%s has no descriptor in config/manifests/bases", crd.Kind, field)
			}
		}
		status := descriptorPaths(t, crd.StatusDescriptors, schema, "status", crd.Kind)
		for _, field := range wantStatus[crd.Kind] {
			if !slices.ContainsFunc(status, func(path string) bool { return path == field || strings.HasPrefix(path, field+".") }) {
				t.Errorf("%s: status.%s has no descriptor in config/manifests/bases", crd.Kind, field)
			}
		}
	}
}

func descriptorPaths(t *testing.T, descriptors []descriptor, schema apiextensionsv1.JSONSchemaProps, part, kind string) []string {
	t.Helper()
	var paths []string
	for _, d := range descriptors {
		at := schema.Properties[part]
		for field := range strings.SplitSeq(d.Path, ".") {
			next, ok := at.Properties[field]
			if !ok {
				t.Errorf("%s: the descriptor of %s.%s describes no field of the CRD", kind, part, d.Path)
				break
			}
			at = next
		}
		if d.DisplayName == "" || d.Description == "" {
			t.Errorf("%s: the descriptor of %s.%s has no name or no description", kind, part, d.Path)
		}
		if slices.Contains(paths, d.Path) {
			t.Errorf("%s: %s.%s is described twice", kind, part, d.Path)
		}
		paths = append(paths, d.Path)
	}
	return paths
}

// crdSchemas are the schemas of the served version by kind.
func crdSchemas(t *testing.T) map[string]apiextensionsv1.JSONSchemaProps {
	t.Helper()
	schemas := map[string]apiextensionsv1.JSONSchemaProps{}
	for _, object := range readAll(t, "config/crd/bases/*.yaml") {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &crd); err != nil {
			t.Fatal(err)
		}
		schemas[crd.Spec.Names.Kind] = *crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	}
	return schemas
}

// What OperatorHub and a console show, and what a disconnected cluster is told.
func TestBundleIsPresented(t *testing.T) {
	bundle := bundleCSV(t)
	annotations := bundle.Metadata.Annotations
	for _, feature := range []string{"disconnected", "fips-compliant", "proxy-aware", "tls-profiles", "token-auth-aws", "token-auth-azure", "token-auth-gcp"} {
		if value := annotations["features.operators.openshift.io/"+feature]; value != "true" && value != "false" {
			t.Errorf("feature %s is %q", feature, value)
		}
	}
	for name, want := range map[string]string{
		"capabilities": "Seamless Upgrades",
		"operatorframework.io/suggested-namespace": "kong-plugin-operator-system",
		"operatorframework.io/cluster-monitoring":  "true",
		"repository": "https://github.com/pluginbinding/kong-plugin-operator",
	} {
		if annotations[name] != want {
			t.Errorf("annotation %s is %q, want %q", name, annotations[name], want)
		}
	}
	for _, label := range []string{"arch.amd64", "arch.arm64", "os.linux"} {
		if bundle.Metadata.Labels["operatorframework.io/"+label] != "supported" {
			t.Errorf("label %s: %q", label, bundle.Metadata.Labels)
		}
	}
	if _, err := time.Parse(time.RFC3339, annotations["createdAt"]); err != nil {
		t.Error(err)
	}
	for name, text := range map[string]string{"provider": bundle.Spec.Provider.Name, "product": bundle.Spec.DisplayName} {
		if !strings.Contains(text, "Kong Plugin Operator") {
			t.Errorf("the %s is called %q; the repository is kong-plugin-operator", name, text)
		}
	}
	if !strings.Contains(bundle.Spec.Description, bundle.Spec.Provider.URL+"/blob/main/docs/operations.md") {
		t.Error("the description has no link to the documentation")
	}
}

func TestBundleHasMonitoring(t *testing.T) {
	var kinds []string
	for _, object := range readAll(t, "bundle/manifests/*.yaml") {
		kinds = append(kinds, object.GetKind())
	}
	for _, kind := range []string{"ServiceMonitor", "PrometheusRule"} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("the bundle has no %s; run make bundle", kind)
		}
	}
}

// A KongGateway says where the operator connects to. Whoever administers a namespace does
// not get that right by the way, neither from config/ nor from the bundle.
func TestNobodyIsMadeAGatewayEditorByAggregation(t *testing.T) {
	checked := 0
	for _, pattern := range []string{"config/rbac/*.yaml", "bundle/manifests/*clusterrole.yaml"} {
		for _, object := range readAll(t, pattern) {
			var role rbacv1.ClusterRole
			if object.GetKind() != "ClusterRole" {
				continue
			}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &role); err != nil {
				t.Fatal(err)
			}
			checked++
			for _, rule := range role.Rules {
				reads := !slices.ContainsFunc(rule.Verbs, func(verb string) bool { return !slices.Contains([]string{"get", "list", "watch"}, verb) })
				if reads || !slices.Contains(rule.Resources, "konggateways") {
					continue
				}
				for _, to := range []string{"admin", "edit", "view"} {
					if role.Labels["rbac.authorization.k8s.io/aggregate-to-"+to] != "" {
						t.Errorf("%s: everybody with %q in a namespace may make KongGateways", role.Name, to)
					}
				}
			}
		}
	}
	if checked < 8 {
		t.Errorf("only %d ClusterRoles were checked", checked)
	}
}

func TestBundleNamesOneImage(t *testing.T) {
	bundle := bundleCSV(t)
	image := bundle.Metadata.Annotations["containerImage"]
	if image == "" || strings.HasPrefix(image, "controller:") {
		t.Errorf("image %q is not one that can be pulled; run make bundle IMG=...", image)
	}
	content, err := json.Marshal(bundle.Spec.Install.Spec.Deployments)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), `"image":"`+image+`"`) {
		t.Errorf("the deployment does not run %s", image)
	}
	if related := bundle.Spec.RelatedImages; len(related) != 1 || related[0].Image != image {
		t.Errorf("related images %+v; a mirror needs %s", related, image)
	}
}

// metadata/annotations.yaml and the labels of the image say the same.
func TestAnnotationsAreTheLabels(t *testing.T) {
	for name, want := range map[string][]byte{
		"bundle/metadata/annotations.yaml": annotationsFile(),
		"bundle.Dockerfile":                dockerfile(),
	} {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s: run make bundle\n%s", name, diff)
		}
	}
}
