package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// A policy counts a binding as ready that says so of its current generation. So it has to hear of that
// also if nothing else of the condition changes.
func TestAPolicyHearsThatABindingHasSeenItsGeneration(t *testing.T) {
	ready := func(generation int64, reason string) *v1alpha1.PluginBinding {
		return &v1alpha1.PluginBinding{Status: v1alpha1.PluginBindingStatus{Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: reason, ObservedGeneration: generation},
		}}}
	}
	if readyOf(ready(1, "Ready")) == readyOf(ready(2, "Ready")) {
		t.Error("the generation does not count")
	}
	if readyOf(ready(1, "Ready")) == readyOf(ready(1, "Conflict")) {
		t.Error("the reason does not count")
	}
	if readyOf(&v1alpha1.PluginBinding{}) != "" {
		t.Error("a binding without conditions says something")
	}
}
