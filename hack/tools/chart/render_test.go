package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	root      = "../../.."
	chartPath = root + "/charts/kong-plugin-operator"
	namespace = "kong-plugin-operator-system"
)

// object is one Kubernetes object as JSON has it.
type object map[string]any

// at returns what a path of field names leads to, or nil.
func (o object) at(path ...string) any {
	var value any = map[string]any(o)
	for _, name := range path {
		fields, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = fields[name]
	}
	return value
}

// objects are those of a release or a kustomization by "Kind namespace/name".
type objects map[string]object

func (o objects) ofKind(kind string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(o)), func(name string) bool { return !strings.HasPrefix(name, kind+" ") })
}

// render is what Helm would send to the API server.
func render(t *testing.T, release string, values map[string]any) objects {
	t.Helper()
	rendered, err := tryRender(release, values)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

func tryRender(release string, values map[string]any) (objects, error) {
	loaded, err := loader.LoadDir(chartPath)
	if err != nil {
		return nil, err
	}
	options := chartutil.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(loaded, values, options, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Engine{Strict: true}.Render(loaded, all)
	if err != nil {
		return nil, err
	}
	found := objects{}
	for name, content := range files {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		if err := found.read([]byte(content)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return found, nil
}

// kustomize builds an overlay of config/ from the text of its kustomization.
func kustomize(t *testing.T, kustomization string) objects {
	t.Helper()
	// Kustomize wants an overlay to say relatively where its base is.
	if err := os.MkdirAll(filepath.Join(root, "dist"), 0o755); err != nil {
		t.Fatal(err)
	}
	directory, err := os.MkdirTemp(filepath.Join(root, "dist"), "chart-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	if err := os.WriteFile(filepath.Join(directory, "kustomization.yaml"), []byte(kustomization), 0o600); err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), directory)
	if err != nil {
		t.Fatal(err)
	}
	content, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	found := objects{}
	if err := found.read(content); err != nil {
		t.Fatal(err)
	}
	return found
}

func (o objects) read(manifests []byte) error {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		one := object{}
		if err := yaml.UnmarshalStrict(document, &one); err != nil {
			return err
		}
		if len(one) == 0 {
			continue
		}
		name := fmt.Sprintf("%v %v/%v", one["kind"], one.at("metadata", "namespace"), one.at("metadata", "name"))
		name = strings.Replace(name, "<nil>/", "", 1)
		if _, twice := o[name]; twice {
			return fmt.Errorf("%s is there twice", name)
		}
		o[name] = one
	}
}

// helmLabels are what Helm's conventions add, to objects and to what selects them.
var helmLabels = []string{"app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"}

// withoutHelm removes what a release has and a kustomization has not.
func withoutHelm(value any) any {
	switch typed := value.(type) {
	case map[string]any:
		kept := map[string]any{}
		for name, field := range typed {
			if slices.Contains(helmLabels, name) || name == "helm.sh/resource-policy" {
				continue
			}
			kept[name] = withoutHelm(field)
		}
		return kept
	case []any:
		kept := make([]any, len(typed))
		for i, item := range typed {
			kept[i] = withoutHelm(item)
		}
		return kept
	}
	return value
}
