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
		Labels      map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Version     string `json:"version"`
		Replaces    string `json:"replaces"`
		DisplayName string `json:"displayName"`
		Description string `json:"description"`
		Provider    struct {
			Name string `json:"name"`
			URL  string `json:"url"`
		} `json:"provider"`
		RelatedImages []struct {
			Image string `json:"image"`
		} `json:"relatedImages"`
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

				SpecDescriptors   []descriptor `json:"specDescriptors"`
				StatusDescriptors []descriptor `json:"statusDescriptors"`
			} `json:"owned"`
		} `json:"customresourcedefinitions"`
	} `json:"spec"`
}

// descriptor tells a console what a field is.
type descriptor struct {
	Path        string `json:"path"`
	DisplayName string `json:"displayName"`
	Description string `json:"description"`
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
	files, err := assemble(fixture(t), release{version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"bundle.Dockerfile",
		"bundle/manifests/kong-plugin-operator.clusterserviceversion.yaml",
		"bundle/manifests/kong.pluginbinding.io_things.yaml",
		"bundle/manifests/leases_rbac.authorization.k8s.io_v1_role.yaml",
		"bundle/manifests/leases_rbac.authorization.k8s.io_v1_rolebinding.yaml",
		"bundle/manifests/metrics_v1_service.yaml",
		"bundle/manifests/monitor_monitoring.coreos.com_v1_servicemonitor.yaml",
		"bundle/manifests/prometheus_rbac.authorization.k8s.io_v1_role.yaml",
		"bundle/manifests/prometheus_rbac.authorization.k8s.io_v1_rolebinding.yaml",
		"bundle/manifests/reader_rbac.authorization.k8s.io_v1_clusterrole.yaml",
		"bundle/metadata/annotations.yaml",
		"bundle/tests/scorecard/config.yaml",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(files))); diff != "" {
		t.Error(diff)
	}
	for _, name := range want[3:6] {
		if strings.Contains(string(files[name]), "namespace:") {
			t.Errorf("%s says a namespace; it belongs where the operator is installed", name)
		}
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
	files, err := assemble(fixture(t), release{version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	install := readCSV(t, files["bundle/manifests/kong-plugin-operator.clusterserviceversion.yaml"]).Spec.Install.Spec

	rule := func(group, resource, verb string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{verb}}
	}
	inNamespace := []permission{{ServiceAccountName: "manager", Rules: []rbacv1.PolicyRule{
		rule("", "secrets", "get"),
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

// What somebody else's account is given stays given to it, where it is.
func TestAForeignAccountKeepsItsNamespace(t *testing.T) {
	files, err := assemble(fixture(t), release{version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	bound := string(files["bundle/manifests/prometheus_rbac.authorization.k8s.io_v1_rolebinding.yaml"])
	if !strings.Contains(bound, "name: somebody-elses\n  namespace: monitoring") {
		t.Error(bound)
	}
	if csv := string(files["bundle/manifests/kong-plugin-operator.clusterserviceversion.yaml"]); strings.Contains(csv, "somebody-elses") {
		t.Error("OLM is to make an account of somebody else")
	}
}

func TestSameInputSameFiles(t *testing.T) {
	reversed := fixture(t)
	slices.Reverse(reversed)
	one, err := assemble(fixture(t), release{version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := assemble(reversed, release{version: "1.2.3"})
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
		release release
		want    string
	}{
		"a version that is none":          {release: release{version: "v1"}, want: "must be like 1.2.3"},
		"a replaced version that is none": {release: release{version: "1.2.3", replaces: "v1.2.2"}, want: `"v1.2.2": must be like 1.2.3`},
		"a version that replaces itself":  {release: release{version: "1.2.3", replaces: "1.2.3"}, want: "cannot replace itself"},
		"a time of creation that is none": {release: release{version: "1.2.3", createdAt: "today"}, want: `createdAt "today"`},
		"a Secret, which no console can make": {
			change: func(all []unstructured.Unstructured) []unstructured.Unstructured {
				return append(all, object("v1", "Secret"))
			},
			want: "Secret x: no place for it",
		},
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
			_, err := assemble(objects, test.release)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// Without a version of its own the bundle has the base's.
func TestVersionOfTheBase(t *testing.T) {
	files, err := assemble(fixture(t), release{})
	if err != nil {
		t.Fatal(err)
	}
	if got := readCSV(t, files["bundle/manifests/kong-plugin-operator.clusterserviceversion.yaml"]).Spec.Version; got != "0.0.0" {
		t.Errorf("version %q", got)
	}
}

// What a release says of itself and of the version before it.
func TestReleaseIsInTheBundle(t *testing.T) {
	const path = "bundle/manifests/kong-plugin-operator.clusterserviceversion.yaml"
	files, err := assemble(fixture(t), release{version: "1.2.3", replaces: "1.2.2", skipRange: ">=1.0.0 <1.2.3", createdAt: "2026-05-06T07:08:09Z"})
	if err != nil {
		t.Fatal(err)
	}
	got := readCSV(t, files[path])
	if got.Spec.Replaces != "kong-plugin-operator.v1.2.2" {
		t.Errorf("replaces %q", got.Spec.Replaces)
	}
	for name, want := range map[string]string{"olm.skipRange": ">=1.0.0 <1.2.3", "createdAt": "2026-05-06T07:08:09Z"} {
		if got.Metadata.Annotations[name] != want {
			t.Errorf("%s is %q, want %q", name, got.Metadata.Annotations[name], want)
		}
	}
	files, err = assemble(fixture(t), release{version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	got = readCSV(t, files[path])
	if _, has := got.Metadata.Annotations["olm.skipRange"]; has || got.Spec.Replaces != "" {
		t.Errorf("the first version replaces %q, annotations %v", got.Spec.Replaces, got.Metadata.Annotations)
	}
	if created := got.Metadata.Annotations["createdAt"]; created != "2026-01-02T03:04:05Z" {
		t.Errorf("createdAt %q is not the base's", created)
	}
}

// Only an image by digest is found in the registry of a disconnected cluster.
func TestDisconnectedIsSaidOfAnImageByDigest(t *testing.T) {
	const digest = "example.com/operator@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for image, want := range map[string]string{"example.com/operator:v1.2.3": "false", digest: "true"} {
		objects := fixture(t)
		for _, object := range objects {
			if object.GetKind() != "Deployment" {
				continue
			}
			containers := []any{map[string]any{"name": "manager", "image": image}}
			if err := unstructured.SetNestedSlice(object.Object, containers, "spec", "template", "spec", "containers"); err != nil {
				t.Fatal(err)
			}
		}
		files, err := assemble(objects, release{version: "1.2.3"})
		if err != nil {
			t.Fatal(err)
		}
		got := readCSV(t, files["bundle/manifests/kong-plugin-operator.clusterserviceversion.yaml"])
		if value := got.Metadata.Annotations["features.operators.openshift.io/disconnected"]; value != want || got.Spec.RelatedImages[0].Image != image {
			t.Errorf("%s: disconnected is %q, related image %q", image, value, got.Spec.RelatedImages[0].Image)
		}
	}
}

// The console offers cluster monitoring only for what can be monitored, and the description asks for
// kinds only if the bundle has some of them.
func TestMonitoringFollowsTheServiceMonitor(t *testing.T) {
	base, err := os.ReadFile("../../config/manifests/bases/kong-plugin-operator.clusterserviceversion.yaml")
	if err != nil {
		t.Fatal(err)
	}
	described, err := parse(bytes.NewReader(base))
	if err != nil {
		t.Fatal(err)
	}
	description, _, _ := unstructured.NestedString(described[0].Object, "spec", "description")
	for _, monitored := range []bool{true, false} {
		objects := fixture(t)
		for i := range objects {
			if objects[i].GetKind() == "ClusterServiceVersion" {
				if err := unstructured.SetNestedField(objects[i].Object, description, "spec", "description"); err != nil {
					t.Fatal(err)
				}
			}
		}
		objects = slices.DeleteFunc(objects, func(object unstructured.Unstructured) bool {
			return !monitored && object.GetKind() == "ServiceMonitor"
		})
		files, err := assemble(objects, release{version: "1.2.3"})
		if err != nil {
			t.Fatal(err)
		}
		got := readCSV(t, files["bundle/manifests/kong-plugin-operator.clusterserviceversion.yaml"])
		if _, says := got.Metadata.Annotations["operatorframework.io/cluster-monitoring"]; says != monitored {
			t.Errorf("ServiceMonitor in the bundle: %t; cluster-monitoring annotation: %t", monitored, says)
		}
		if asks := strings.Contains(got.Spec.Description, "ServiceMonitor"); asks != monitored || !strings.Contains(got.Spec.Description, "Admin API that the operator's pods can reach.\n") || !strings.Contains(got.Spec.Description, "\n- If you may rebuild the cluster") {
			t.Errorf("ServiceMonitor in the bundle: %t; the description asks for it: %t", monitored, asks)
		}
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

	if err := run(manifests, output, release{version: "1.2.3"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", stale, err)
	}
	if _, err := os.Stat(filepath.Join(output, "bundle.Dockerfile")); err != nil {
		t.Error(err)
	}
}
