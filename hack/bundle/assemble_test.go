package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// csv is what the tests look at in a ClusterServiceVersion.
type csv struct {
	Metadata struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Version string `json:"version"`
		Install struct {
			Spec struct {
				Deployments []struct {
					Name string         `json:"name"`
					Spec map[string]any `json:"spec"`
				} `json:"deployments"`
				Permissions        []permission `json:"permissions"`
				ClusterPermissions []permission `json:"clusterPermissions"`
			} `json:"spec"`
		} `json:"install"`
		Owned struct {
			Owned []struct {
				Name    string `json:"name"`
				Version string `json:"version"`
				Kind    string `json:"kind"`
			} `json:"owned"`
		} `json:"customresourcedefinitions"`
	} `json:"spec"`
}

func readCSV(t *testing.T, content []byte) csv {
	t.Helper()
	var out csv
	if err := yaml.Unmarshal(content, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func fixture(t *testing.T) []unstructured.Unstructured {
	t.Helper()
	content, err := os.ReadFile("testdata/manifests.yaml")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := parse(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func TestAssemble(t *testing.T) {
	files, err := assemble(fixture(t), "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"bundle.Dockerfile",
		"bundle/manifests/kong-plugin-operator.clusterserviceversion.yaml",
		"bundle/manifests/kong.pluginbinding.io_things.yaml",
		"bundle/manifests/metrics_v1_service.yaml",
		"bundle/manifests/reader_rbac.authorization.k8s.io_v1_clusterrole.yaml",
		"bundle/metadata/annotations.yaml",
		"bundle/tests/scorecard/config.yaml",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(files))); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(string(files[want[3]]), "namespace:") {
		t.Error("the service says a namespace; it belongs where the operator is installed")
	}
	if strings.Contains(string(files[want[2]]), "status:") {
		t.Error("the CRD has a status")
	}

	got := readCSV(t, files[want[1]])
	if got.Metadata.Name != "kong-plugin-operator.v1.2.3" || got.Spec.Version != "1.2.3" || got.Metadata.Namespace != "" {
		t.Errorf("name %q, version %q, namespace %q", got.Metadata.Name, got.Spec.Version, got.Metadata.Namespace)
	}
	if image := got.Metadata.Annotations["containerImage"]; image != "example.com/operator:v1.2.3" {
		t.Errorf("image %q", image)
	}
	if len(got.Spec.Install.Spec.Deployments) != 1 || got.Spec.Install.Spec.Deployments[0].Spec["replicas"] != float64(2) {
		t.Errorf("deployments %+v", got.Spec.Install.Spec.Deployments)
	}
	var examples []struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal([]byte(got.Metadata.Annotations["alm-examples"]), &examples); err != nil {
		t.Fatal(err)
	}
	if len(examples) != 2 || examples[0].Metadata.Name != "first" || examples[1].Metadata.Name != "second" {
		t.Errorf("examples %+v", examples)
	}
}

// What can be given in a namespace is not asked for in the whole cluster.
func TestPermissionsAreSplit(t *testing.T) {
	files, err := assemble(fixture(t), "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	install := readCSV(t, files["bundle/manifests/kong-plugin-operator.clusterserviceversion.yaml"]).Spec.Install.Spec

	rule := func(group, resource, verb string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{verb}}
	}
	inNamespace := []permission{{ServiceAccountName: "manager", Rules: []rbacv1.PolicyRule{
		rule("", "secrets", "get"), rule("coordination.k8s.io", "leases", "get"),
	}}}
	if diff := cmp.Diff(inNamespace, install.Permissions); diff != "" {
		t.Error(diff)
	}
	inCluster := []permission{{ServiceAccountName: "manager", Rules: []rbacv1.PolicyRule{
		rule("", "namespaces", "get"), rule("authentication.k8s.io", "tokenreviews", "create"),
	}}}
	if diff := cmp.Diff(inCluster, install.ClusterPermissions); diff != "" {
		t.Error(diff)
	}
}

func TestSameInputSameFiles(t *testing.T) {
	reversed := fixture(t)
	slices.Reverse(reversed)
	one, err := assemble(fixture(t), "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	other, err := assemble(reversed, "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(one, other); diff != "" {
		t.Error(diff)
	}
}

func TestAssembleRefuses(t *testing.T) {
	object := func(apiVersion, kind string) unstructured.Unstructured {
		return unstructured.Unstructured{Object: map[string]any{
			"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": "x"},
		}}
	}
	for name, test := range map[string]struct {
		change  func([]unstructured.Unstructured) []unstructured.Unstructured
		version string
		want    string
	}{
		"a version that is none": {version: "v1", want: "must be like 1.2.3"},
		"a kind without a place": {
			change: func(all []unstructured.Unstructured) []unstructured.Unstructured {
				return append(all, object("batch/v1", "Job"))
			},
			want: "Job x: no place for it",
		},
		"a CRD that the base does not describe": {
			change: func(all []unstructured.Unstructured) []unstructured.Unstructured {
				crd := object("apiextensions.k8s.io/v1", "CustomResourceDefinition")
				crd.Object["spec"] = map[string]any{
					"names":    map[string]any{"kind": "X"},
					"versions": []any{map[string]any{"name": "v1"}},
				}
				return append(all, crd)
			},
			want: `"x v1 X"`,
		},
		"nothing": {
			change: func([]unstructured.Unstructured) []unstructured.Unstructured { return nil },
			want:   "are needed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			objects := fixture(t)
			if test.change != nil {
				objects = test.change(objects)
			}
			_, err := assemble(objects, test.version)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// Without a version of its own the bundle has the base's.
func TestVersionOfTheBase(t *testing.T) {
	files, err := assemble(fixture(t), "")
	if err != nil {
		t.Fatal(err)
	}
	if got := readCSV(t, files["bundle/manifests/kong-plugin-operator.clusterserviceversion.yaml"]).Spec.Version; got != "0.0.0" {
		t.Errorf("version %q", got)
	}
}

// What an earlier run left behind is not in the next bundle.
func TestRunRemovesWhatIsStale(t *testing.T) {
	output := t.TempDir()
	stale := filepath.Join(output, "bundle", "manifests", "gone.yaml")
	if err := os.MkdirAll(filepath.Dir(stale), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stale, []byte("kind: Gone\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	manifests, err := os.Open("testdata/manifests.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer manifests.Close()

	if err := run(manifests, output, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", stale, err)
	}
	if _, err := os.Stat(filepath.Join(output, "bundle.Dockerfile")); err != nil {
		t.Error(err)
	}
}
