package main

import (
	"encoding/json"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// webhookPort is the name of the port of the manager that serves webhooks.
const webhookPort = "webhook"

// webhookDefinitions are what OLM makes a ValidatingWebhookConfiguration from, one per webhook, and the
// Service and the certificate for it. OLM has no matchConditions: there the manager itself tells
// apart what it has to check.
func (in *input) webhookDefinitions() ([]any, error) {
	var definitions []any
	for _, object := range in.webhooks {
		var typed admissionregistrationv1.ValidatingWebhookConfiguration
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &typed); err != nil {
			return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		for i := range typed.Webhooks {
			definition, err := in.webhookDefinition(&typed.Webhooks[i])
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
			}
			definitions = append(definitions, definition)
		}
	}
	return definitions, nil
}

func (in *input) webhookDefinition(w *admissionregistrationv1.ValidatingWebhook) (map[string]any, error) {
	service := w.ClientConfig.Service
	if service == nil || service.Port == nil || service.Path == nil {
		return nil, fmt.Errorf("webhook %s: no Service with a port and a path", w.Name)
	}
	deployment, port, err := in.webhookServer()
	if err != nil {
		return nil, err
	}
	fields := map[string]any{
		"type": "ValidatingAdmissionWebhook", "generateName": w.Name, "deploymentName": deployment,
		"containerPort": *service.Port, "targetPort": port, "webhookPath": *service.Path,
		"admissionReviewVersions": w.AdmissionReviewVersions, "failurePolicy": w.FailurePolicy, "sideEffects": w.SideEffects,
		"timeoutSeconds": w.TimeoutSeconds, "rules": w.Rules,
	}
	if w.ObjectSelector != nil {
		fields["objectSelector"] = w.ObjectSelector
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	definition := map[string]any{}
	return definition, json.Unmarshal(text, &definition)
}

// webhookServer returns the deployment that serves webhooks, and at which port.
func (in *input) webhookServer() (name string, port any, err error) {
	for _, deployment := range in.deployments {
		containers, _, err := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
		if err != nil {
			return "", nil, err
		}
		for _, container := range containers {
			fields, _ := container.(map[string]any)
			ports, _ := fields["ports"].([]any)
			for _, entry := range ports {
				if p, ok := entry.(map[string]any); ok && p["name"] == webhookPort {
					return deployment.GetName(), p["containerPort"], nil
				}
			}
		}
	}
	return "", nil, fmt.Errorf("no container has a port named %s", webhookPort)
}
