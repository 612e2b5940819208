package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/kstatus"
)

// readSamples returns every object in config/samples, in this namespace.
func readSamples(t *testing.T, namespace string) []*unstructured.Unstructured {
	t.Helper()
	var files []string
	for _, directory := range []string{"", "more", "enterprise", "policies"} {
		found, err := filepath.Glob(filepath.Join("..", "..", "config", "samples", directory, "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	var all []*unstructured.Unstructured
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
		for {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			one := &unstructured.Unstructured{}
			if err := utilyaml.Unmarshal(document, &one.Object); err != nil { // as the API server reads numbers
				t.Fatalf("%s: %v", file, err)
			}
			if one.GroupVersionKind().Group == v1alpha1.GroupVersion.Group {
				one.SetNamespace(namespace)
				one.SetName(strings.ToLower(one.GetKind()) + fmt.Sprintf("-%d-", len(all)) + one.GetName())
				all = append(all, one)
			}
		}
	}
	if len(all) < 20 {
		t.Fatalf("config/samples has %d objects", len(all))
	}
	return all
}

// What somebody declares is what is stored, to the letter: a tool that compares the two finds no
// difference, and applying it again writes nothing; also after the operator wrote its finalizer and
// its status.
func TestSamplesAreAppliedWithoutDifferences(t *testing.T) {
	for _, sample := range readSamples(t, "default") {
		apply := func(options ...client.ApplyOption) *unstructured.Unstructured {
			t.Helper()
			applied := sample.DeepCopy()
			options = append(options, client.FieldOwner("gitops"))
			if err := api.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(applied), options...); err != nil {
				t.Fatalf("%s: %v", sample.GetName(), err)
			}
			return applied
		}
		stored := apply()
		if computed, err := status.Compute(stored); err != nil || computed.Status != status.InProgressStatus {
			t.Errorf("%s: nobody has seen it, and kstatus takes it for %+v (%v)", sample.GetName(), computed, err)
		}
		if lost := notStored(sample.Object, stored.Object); lost != "" {
			t.Errorf("%s: stored otherwise than declared: %s", sample.GetName(), lost)
		}
		asTheOperator(t, stored)
		dry, again := apply(client.DryRunAll), apply()
		if diff := cmp.Diff(stored.Object["spec"], again.Object["spec"]); diff != "" {
			t.Errorf("%s: applying it again changes\n%s", sample.GetName(), diff)
		}
		for _, other := range []*unstructured.Unstructured{dry, again} {
			if other.GetResourceVersion() != stored.GetResourceVersion() {
				t.Errorf("%s: applying it again writes", sample.GetName())
			}
		}
		if err := api.Delete(t.Context(), stored); err != nil {
			t.Fatal(err)
		}
		stored.SetFinalizers(nil)
		if err := api.Patch(t.Context(), stored, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))); err != nil {
			t.Fatal(err)
		}
	}
}

// asTheOperator writes what the operator writes, and updates the object to what is stored then.
func asTheOperator(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	for _, patch := range []struct {
		text    string
		through func(client.Patch) error
	}{
		{`{"metadata":{"finalizers":["kong.pluginbinding.io/plugin"]}}`, func(p client.Patch) error {
			return api.Patch(t.Context(), object, p, client.FieldOwner("manager"))
		}},
		{`{"status":{"observedGeneration":1}}`, func(p client.Patch) error {
			return api.Status().Patch(t.Context(), object, p, client.FieldOwner("manager"))
		}},
	} {
		if err := patch.through(client.RawPatch("application/merge-patch+json", []byte(patch.text))); err != nil {
			t.Fatal(err)
		}
	}
}

// notStored returns the first declared value that is not stored as it is declared.
func notStored(declared, stored any) string {
	fields, ok := declared.(map[string]any)
	if !ok {
		return cmp.Diff(declared, stored)
	}
	in, _ := stored.(map[string]any)
	for name, value := range fields {
		if lost := notStored(value, in[name]); lost != "" {
			return name + "." + lost
		}
	}
	return ""
}

// objectWith is an object of generation 2 whose condition Ready is this one. The conditions for kstatus
// are the operator's own.
func objectWith(t *testing.T, kind string, observed int64, ready *metav1.Condition) *unstructured.Unstructured {
	t.Helper()
	var conditions []metav1.Condition
	if ready != nil {
		conditions = append(conditions, *ready)
		kstatus.Set(&conditions)
	}
	object := &unstructured.Unstructured{}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&v1alpha1.PluginBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "limit", Namespace: "shop", Generation: 2},
		Status:     v1alpha1.PluginBindingStatus{ObservedGeneration: observed, Conditions: conditions},
	})
	if err != nil {
		t.Fatal(err)
	}
	object.Object = content
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	return object
}

// Flux, cli-utils and Argo CD read the same object.
func TestToolsTellWhatBecameOfAnObject(t *testing.T) {
	scripts := healthScripts(t)
	ready := func(status metav1.ConditionStatus, reason string) *metav1.Condition {
		return &metav1.Condition{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: "why " + reason, ObservedGeneration: 2}
	}
	for name, tc := range map[string]struct {
		observed int64
		ready    *metav1.Condition
		deleted  bool
		kstatus  status.Status
		argocd   string
	}{
		"just created":              {-1, nil, false, status.InProgressStatus, "Progressing"},
		"in force":                  {2, ready(metav1.ConditionTrue, v1alpha1.ReasonReady), false, status.CurrentStatus, "Healthy"},
		"a new generation":          {1, ready(metav1.ConditionTrue, v1alpha1.ReasonReady), false, status.InProgressStatus, "Progressing"},
		"a new one after a mistake": {1, ready(metav1.ConditionFalse, v1alpha1.ReasonRejected), false, status.InProgressStatus, "Progressing"},
		"rejected":                  {2, ready(metav1.ConditionFalse, v1alpha1.ReasonRejected), false, status.FailedStatus, "Degraded"},
		"in conflict":               {2, ready(metav1.ConditionFalse, v1alpha1.ReasonConflict), false, status.FailedStatus, "Degraded"},
		"waits for a Secret":        {2, ready(metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound), false, status.InProgressStatus, "Progressing"},
		"an outage":                 {2, ready(metav1.ConditionUnknown, v1alpha1.ReasonKongUnavailable), false, status.InProgressStatus, "Progressing"},
		"paused":                    {2, ready(metav1.ConditionUnknown, v1alpha1.ReasonPaused), false, status.FailedStatus, "Suspended"},
		"deleted":                   {2, ready(metav1.ConditionTrue, v1alpha1.ReasonReady), true, status.TerminatingStatus, "Progressing"},
	} {
		for kind, script := range scripts {
			object := objectWith(t, kind, tc.observed, tc.ready)
			if tc.deleted {
				now := metav1.Now()
				object.SetDeletionTimestamp(&now)
			}
			computed, err := status.Compute(object)
			if err != nil {
				t.Fatal(err)
			}
			if computed.Status != tc.kstatus {
				t.Errorf("%s: kstatus takes the %s for %s (%s), want %s", name, kind, computed.Status, computed.Message, tc.kstatus)
			}
			health, message := argoHealth(t, script, object)
			if health != tc.argocd || message == "" {
				t.Errorf("%s: Argo CD takes the %s for %s (%q), want %s", name, kind, health, message, tc.argocd)
			}
		}
	}
}

// healthScripts returns Argo CD's script for every kind of ours.
func healthScripts(t *testing.T) map[string]string {
	t.Helper()
	content, err := os.ReadFile("../../config/argocd/argocd-cm-patch.yaml")
	if err != nil {
		t.Fatal(err)
	}
	patch := &corev1.ConfigMap{}
	if err := yaml.UnmarshalStrict(content, patch); err != nil {
		t.Fatal(err)
	}
	scripts := map[string]string{}
	for key, script := range patch.Data {
		kind, ok := strings.CutPrefix(key, "resource.customizations.health."+v1alpha1.GroupVersion.Group+"_")
		if !ok {
			t.Errorf("Argo CD does not know the key %s", key)
		}
		scripts[kind] = script
	}
	for _, kind := range kinds(t) {
		if scripts[kind] == "" {
			t.Errorf("Argo CD is told nothing about a %s", kind)
		}
	}
	return scripts
}

// kinds are those of the CRDs.
func kinds(t *testing.T) (all []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(crdDirectory, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct{ Names struct{ Kind string } }
		}
		if err := yaml.Unmarshal(content, &crd); err != nil {
			t.Fatal(err)
		}
		all = append(all, crd.Spec.Names.Kind)
	}
	return all
}

// argoHealth runs a script as Argo CD does: obj is the object, and the script returns a table.
func argoHealth(t *testing.T, script string, object *unstructured.Unstructured) (health, message string) {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, open := range []lua.LGFunction{lua.OpenBase, lua.OpenTable, lua.OpenString} { // no more than Argo CD
		state.Push(state.NewFunction(open))
		state.Call(0, 0)
	}
	state.SetGlobal("obj", toLua(state, object.Object))
	if err := state.DoString(script); err != nil {
		t.Fatal(err)
	}
	result, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("the script returns %v", state.Get(-1))
	}
	return result.RawGetString("status").String(), result.RawGetString("message").String()
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for name, field := range value {
			table.RawSetString(name, toLua(state, field))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, element := range value {
			table.Append(toLua(state, element))
		}
		return table
	case string:
		return lua.LString(value)
	case bool:
		return lua.LBool(value)
	case int64:
		return lua.LNumber(value)
	case float64:
		return lua.LNumber(value)
	}
	return lua.LNil
}
