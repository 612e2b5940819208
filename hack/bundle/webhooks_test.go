package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// The webhooks of the bundle are those of config/webhook, as far as OLM has the fields.
func TestBundleHasTheWebhooks(t *testing.T) {
	var want admissionregistrationv1.ValidatingWebhookConfiguration
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(readAll(t, "config/webhook/server/webhook.yaml")[0].Object, &want); err != nil {
		t.Fatal(err)
	}
	definitions, _, err := unstructured.NestedSlice(readAll(t, "bundle/manifests/"+packageName+".clusterserviceversion.yaml")[0].Object, "spec", "webhookdefinitions")
	if err != nil || len(definitions) != len(want.Webhooks) || len(definitions) != 2 {
		t.Fatal(len(definitions), err)
	}
	for i, entry := range definitions {
		fields := entry.(map[string]any)
		w := want.Webhooks[i]
		for name, value := range map[string]any{
			"type": "ValidatingAdmissionWebhook", "failurePolicy": "Ignore", "sideEffects": "None", "timeoutSeconds": 3,
			"containerPort": 443, "targetPort": 9443,
			"generateName": w.Name, "webhookPath": *w.ClientConfig.Service.Path,
		} {
			if fmt.Sprint(fields[name]) != fmt.Sprint(value) {
				t.Errorf("%s: %s is %v, want %v", w.Name, name, fields[name], value)
			}
		}
		var got admissionregistrationv1.ValidatingWebhook
		fields["name"] = fields["generateName"]
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]any{w.Rules, w.ObjectSelector, w.AdmissionReviewVersions}, []any{got.Rules, got.ObjectSelector, got.AdmissionReviewVersions}); diff != "" {
			t.Errorf("%s:\n%s", w.Name, diff)
		}
	}
}

func TestAWebhookNeedsAServer(t *testing.T) {
	configuration := readAll(t, "config/webhook/server/webhook.yaml")[0]
	in := &input{webhooks: []unstructured.Unstructured{configuration}}
	if _, err := in.webhookDefinitions(); err == nil || !strings.Contains(err.Error(), "no container has a port named webhook") {
		t.Error(err)
	}
	unstructured.RemoveNestedField(configuration.Object, "webhooks")
	if err := unstructured.SetNestedSlice(configuration.Object, []any{map[string]any{"name": "a", "clientConfig": map[string]any{"url": "https://a"}}}, "webhooks"); err != nil {
		t.Fatal(err)
	}
	if _, err := in.webhookDefinitions(); err == nil || !strings.Contains(err.Error(), "webhook a: no Service") {
		t.Error(err)
	}
}
