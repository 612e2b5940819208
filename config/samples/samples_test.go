// Package samples_test holds the samples to what their kustomization promises.
package samples_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

var directories = []string{".", "more", "enterprise", "policies"}

// sample is one document of one file.
type sample struct {
	file    string
	binding *v1alpha1.PluginBinding
	policy  *v1alpha1.PluginPolicy
	gateway *v1alpha1.KongGateway
	secret  *corev1.Secret

	configMap *corev1.ConfigMap
}

// read decodes every document strictly: a field that the API does not have is an error.
func read(t *testing.T, directory string) []sample {
	t.Helper()
	var all []sample
	for _, file := range files(t, directory) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for document := range bytes.SplitSeq(content, []byte("\n---\n")) {
			one := sample{file: file}
			var kind struct {
				Kind string `json:"kind"`
			}
			if err := yaml.Unmarshal(document, &kind); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			var into any
			switch kind.Kind {
			case "PluginBinding":
				one.binding = &v1alpha1.PluginBinding{}
				into = one.binding
			case "PluginPolicy":
				one.policy = &v1alpha1.PluginPolicy{}
				into = one.policy
			case "KongGateway":
				one.gateway = &v1alpha1.KongGateway{}
				into = one.gateway
			case "Secret":
				one.secret = &corev1.Secret{}
				into = one.secret
			case "ConfigMap":
				one.configMap = &corev1.ConfigMap{}
				into = one.configMap
			case "Namespace":
				into = &corev1.Namespace{}
			default:
				t.Fatalf("%s: a %s has no place among the samples", file, kind.Kind)
			}
			if err := yaml.UnmarshalStrict(document, into); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			all = append(all, one)
		}
	}
	return all
}

func files(t *testing.T, directory string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(directory, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(names, func(name string) bool { return filepath.Base(name) == "kustomization.yaml" })
}

func TestEveryFileIsListedAndExplained(t *testing.T) {
	for _, directory := range directories {
		content, err := os.ReadFile(filepath.Join(directory, "kustomization.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var kustomization struct {
			Resources []string `json:"resources"`
		}
		if err := yaml.Unmarshal(content, &kustomization); err != nil {
			t.Fatal(err)
		}
		var present []string
		for _, file := range files(t, directory) {
			present = append(present, filepath.Base(file))
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(content, []byte("# ")) {
				t.Errorf("%s does not begin by saying what it shows", file)
			}
		}
		slices.Sort(kustomization.Resources)
		if diff := cmp.Diff(present, kustomization.Resources); diff != "" {
			t.Errorf("%s/kustomization.yaml: %s", directory, diff)
		}
	}
}

// No two samples want the same plugin on the same scope of the same gateway, and none has
// the name of another.
func TestSamplesDoNotCompete(t *testing.T) {
	holder, named := map[string]string{}, map[string]string{}
	for _, directory := range directories {
		for _, one := range read(t, directory) {
			if one.binding == nil {
				continue
			}
			place := place(one.binding)
			if other, taken := holder[place]; taken {
				t.Errorf("%s and %s both want %s", other, one.file, place)
			}
			holder[place] = one.file
			name := one.binding.Namespace + "/" + one.binding.Name
			if other, taken := named[name]; taken {
				t.Errorf("%s and %s are both called %s", other, one.file, name)
			}
			named[name] = one.file
		}
	}
}

func place(binding *v1alpha1.PluginBinding) string {
	parts := []string{binding.Spec.GatewayRef.Name, string(binding.Spec.Plugin)}
	scope := binding.Spec.Scope
	if scope == nil {
		return strings.Join(append(parts, "global"), " ")
	}
	if scope.Service != nil {
		parts = append(parts, fmt.Sprint("service ", *scope.Service))
	}
	if scope.Route != nil {
		parts = append(parts, fmt.Sprint("route ", *scope.Route))
	}
	if scope.Consumer != nil {
		consumer := *scope.Consumer
		if consumer.CustomID == "crm-1001" { // the same person
			consumer = v1alpha1.ConsumerRef{Username: "alice"}
		}
		parts = append(parts, fmt.Sprint("consumer ", consumer))
	}
	if scope.ConsumerGroup != nil {
		parts = append(parts, fmt.Sprint("group ", *scope.ConsumerGroup))
	}
	return strings.Join(parts, " ")
}

// Whatever a sample of the first folder refers to in Kubernetes is there too.
func TestReferencesAreThere(t *testing.T) {
	samples := read(t, ".")
	keys, gateways := map[string]bool{}, map[string]bool{}
	for _, one := range samples {
		if one.secret != nil {
			for key := range one.secret.StringData {
				keys["Secret "+one.secret.Namespace+"/"+one.secret.Name+"/"+key] = true
			}
		}
		if one.configMap != nil {
			for key := range one.configMap.Data {
				keys["ConfigMap "+one.configMap.Namespace+"/"+one.configMap.Name+"/"+key] = true
			}
		}
		if one.gateway != nil {
			gateways[one.gateway.Namespace+"/"+one.gateway.Name] = true
		}
	}
	for _, one := range samples {
		if one.binding == nil {
			continue
		}
		spec := one.binding.Spec
		namespace := spec.GatewayRef.Namespace
		if namespace == "" {
			namespace = one.binding.Namespace
		}
		if !gateways[namespace+"/"+spec.GatewayRef.Name] {
			t.Errorf("%s: there is no gateway %s/%s", one.file, namespace, spec.GatewayRef.Name)
		}
		var sources []v1alpha1.ConfigSource
		if spec.ConfigFrom != nil {
			sources = append(sources, *spec.ConfigFrom)
		}
		for _, patch := range spec.ConfigPatches {
			sources = append(sources, patch.ValueFrom)
		}
		for _, source := range sources {
			want := "Secret " + one.binding.Namespace + "/" + source.SecretKeyRef.Name + "/" + source.SecretKeyRef.Key
			if ref := source.ConfigMapKeyRef; ref.Name != "" {
				want = "ConfigMap " + one.binding.Namespace + "/" + ref.Name + "/" + ref.Key
			}
			if !keys[want] {
				t.Errorf("%s: there is no %s", one.file, want)
			}
		}
	}
}

// There is a sample for each kind of target, and one for a selector.
func TestEveryKindOfTargetHasASample(t *testing.T) {
	shown := map[string]bool{}
	for _, one := range read(t, "policies") {
		for _, ref := range one.policy.Spec.TargetRefs {
			shown[ref.Kind] = true
		}
		if one.policy.Spec.EntitySelector != nil {
			shown["entitySelector"] = true
		}
	}
	for _, kind := range []string{"Ingress", "Service", "HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "UDPRoute", "KongConsumer", "KongConsumerGroup", "entitySelector"} {
		if !shown[kind] {
			t.Errorf("no sample has the target %s", kind)
		}
	}
}
