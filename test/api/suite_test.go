package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"
)

const crdDirectory = "../../config/crd/bases"

var (
	cfg *rest.Config
	// api refuses unknown fields, as kubectl apply does.
	api client.Client
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "test/api:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return 1, errors.New("these tests need a real API server and KUBEBUILDER_ASSETS is not set: " +
			"run `make test`, or KUBEBUILDER_ASSETS=$(hack/envtest.sh) go test ./test/api")
	}
	environment := envtest.Environment{CRDDirectoryPaths: []string{crdDirectory}, ErrorIfCRDPathMissing: true}
	if cfg, err = environment.Start(); err != nil {
		return 1, fmt.Errorf("starting the API server: %w", err)
	}
	defer func() { err = errors.Join(err, environment.Stop()) }()
	cfg.QPS = -1 // one after the other they are no burden

	plain, err := client.New(cfg, client.Options{Scheme: runtime.NewScheme()})
	if err != nil {
		return 1, err
	}
	api = client.WithFieldValidation(plain, metav1.FieldValidationStrict)
	return m.Run(), nil
}

// The smallest objects there are. Cases add to them.
const (
	minimalBinding = `
apiVersion: kong.pluginbinding.io/v1alpha1
kind: PluginBinding
metadata: {namespace: default, generateName: case-}
spec:
  gatewayRef: {name: kong}
  plugin: rate-limiting
`
	minimalPolicy = `
apiVersion: kong.pluginbinding.io/v1alpha1
kind: PluginPolicy
metadata: {namespace: default, generateName: case-}
spec:
  gatewayRef: {name: kong}
  targetRefs: [{group: networking.k8s.io, kind: Ingress, name: shop}]
  template: {spec: {plugin: rate-limiting}}
`
	minimalGateway = `
apiVersion: kong.pluginbinding.io/v1alpha1
kind: KongGateway
metadata: {namespace: default, generateName: case-}
spec:
  adminURL: http://kong-admin.kong:8001
`
)

// object is the base with what the patches (YAML, JSON merge patches) change in it.
func object(t *testing.T, base string, patches ...string) *unstructured.Unstructured {
	t.Helper()
	merged := toJSON(t, base)
	for _, patch := range patches {
		if patch == "" {
			continue
		}
		var err error
		if merged, err = jsonpatch.MergePatch(merged, toJSON(t, patch)); err != nil {
			t.Fatalf("merging %s: %v", patch, err)
		}
	}
	var o unstructured.Unstructured
	if err := json.Unmarshal(merged, &o.Object); err != nil {
		t.Fatal(err)
	}
	return &o
}

func toJSON(t *testing.T, text string) []byte {
	t.Helper()
	data, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return data
}

// apply creates the object and removes it when the test is over, whatever holds it.
func apply(t *testing.T, o *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	status, hasStatus := o.Object["status"]
	if err := api.Create(t.Context(), o); err != nil {
		t.Fatalf("creating: %v", err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		release := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
		if err := client.IgnoreNotFound(api.Patch(ctx, o.DeepCopy(), release)); err != nil {
			t.Errorf("releasing: %v", err)
		}
		if err := client.IgnoreNotFound(api.Delete(ctx, o)); err != nil {
			t.Errorf("removing: %v", err)
		}
	})
	if hasStatus {
		o.Object["status"] = status
		if err := api.Status().Update(t.Context(), o); err != nil {
			t.Fatalf("writing the status: %v", err)
		}
	}
	return o
}

// A refusal is one thing that the API server finds wrong.
type refusal struct{ field, message string }

func (r refusal) String() string { return r.field + ": " + r.message }

// refusals of a request; none if it was accepted. Any other failure ends the test.
func refusals(t *testing.T, err error) []refusal {
	t.Helper()
	if err == nil {
		return nil
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsInvalid(err) {
		t.Fatalf("not a refusal by validation: %v", err)
	}
	var all []refusal
	for _, cause := range status.Status().Details.Causes {
		if strings.Contains(cause.Message, "some validation rules were not checked") {
			continue // follows from the others
		}
		all = append(all, refusal{cause.Field, cause.Message})
	}
	return all
}

// expect fails unless the request was refused with exactly this one message on this field, or
// accepted if no field is given.
func expect(t *testing.T, err error, field, message string) {
	t.Helper()
	got := refusals(t, err)
	switch {
	case field == "" && len(got) > 0:
		t.Errorf("refused, and should be accepted: %v", got)
	case field == "":
	case len(got) == 0:
		t.Errorf("accepted, and should be refused: %s: %s", field, message)
	case len(got) > 1:
		t.Errorf("one message would do, and there are %d:\n%v", len(got), got)
	case got[0].field != field || !strings.Contains(got[0].message, message):
		t.Errorf("refused with other words\n got %s\nwant %s: %s", got[0], field, message)
	}
}
