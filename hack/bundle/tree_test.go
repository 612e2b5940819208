package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
	for _, file := range []string{"role.yaml", "leader_election_role.yaml", "metrics_auth_role.yaml"} {
		for _, object := range readAll(t, "config/rbac/"+file) {
			content, err := json.Marshal(object.Object)
			if err != nil {
				t.Fatal(err)
			}
			var typed rbacv1.Role
			if err := json.Unmarshal(content, &typed); err != nil {
				t.Fatal(err)
			}
			want = append(want, rights(typed.Rules)...)
		}
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

// The examples are the samples, all of them.
func TestBundleHasTheSamples(t *testing.T) {
	names := func(objects []unstructured.Unstructured) []string {
		var out []string
		for _, object := range objects {
			if object.GroupVersionKind().Group == apiGroup {
				out = append(out, object.GetKind()+" "+object.GetName())
			}
		}
		slices.Sort(out)
		return out
	}
	var examples []unstructured.Unstructured
	if err := json.Unmarshal([]byte(bundleCSV(t).Metadata.Annotations["alm-examples"]), &examples); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(names(readAll(t, "config/samples/*.yaml")), names(examples)); diff != "" {
		t.Errorf("run make bundle\n%s", diff)
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
