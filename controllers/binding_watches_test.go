package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// The operator's own status writes enqueue nothing, also when they take a condition away. A status that
// somebody removed does.
func TestOwnStatusWritesEnqueueNothing(t *testing.T) {
	with := func(types ...string) *v1alpha1.PluginBinding {
		binding := &v1alpha1.PluginBinding{}
		for _, name := range types {
			binding.Status.Conditions = append(binding.Status.Conditions, metav1.Condition{Type: name})
		}
		return binding
	}
	for name, tc := range map[string]struct {
		was, is *v1alpha1.PluginBinding
		want    bool
	}{
		"in force after a mistake": {with(v1alpha1.ConditionReady, v1alpha1.ConditionStalled), with(v1alpha1.ConditionReady), false},
		"in force after an outage": {with(v1alpha1.ConditionReady, v1alpha1.ConditionReconciling), with(v1alpha1.ConditionReady), false},
		"a mistake":                {with(v1alpha1.ConditionReady), with(v1alpha1.ConditionReady, v1alpha1.ConditionStalled), false},
		"a restored object":        {with(v1alpha1.ConditionReady), with(), true},
	} {
		if got := declarationChanged().Update(event.UpdateEvent{ObjectOld: tc.was, ObjectNew: tc.is}); got != tc.want {
			t.Errorf("%s: enqueued %v, want %v", name, got, tc.want)
		}
	}
}
