package pluginbinding

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/kstatus"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// progress is the order in which the conditions become True.
var progress = []struct{ condition, reason, message string }{
	{v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "the gateway allows this binding"},
	{v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonResolvedRefs, "every Secret and every part of the scope was found"},
	{v1alpha1.ConditionProgrammed, v1alpha1.ReasonProgrammed, ""},
}

// setConditions derives every condition from the result of the reconcile.
func setConditions(next *v1alpha1.PluginBindingStatus, s *state, result *stepResult) {
	defer kstatus.Set(&next.Conditions)
	set := func(condition string, status metav1.ConditionStatus, reason, text string) {
		meta.SetStatusCondition(&next.Conditions, metav1.Condition{
			Type: condition, Status: status, Reason: reason,
			Message:            message.Condition(text),
			ObservedGeneration: s.binding.Generation,
		})
	}
	if result != nil && result.condition == v1alpha1.ConditionReady {
		set(v1alpha1.ConditionReady, result.status(), result.reason, result.message)
		return
	}
	failed := false
	for _, row := range progress {
		switch {
		case failed:
			set(row.condition, metav1.ConditionUnknown, v1alpha1.ReasonPending, "waiting for "+result.condition)
		case result != nil && result.condition == row.condition:
			failed = true
			set(row.condition, result.status(), result.reason, result.message)
		case row.condition == v1alpha1.ConditionProgrammed:
			set(row.condition, metav1.ConditionTrue, v1alpha1.ReasonProgrammed, programmedMessage(s))
		case row.condition == v1alpha1.ConditionResolvedRefs && !s.desired.refsResolved:
			// Nothing was looked up. For a binding that is being deleted that does not matter.
			if s.binding.DeletionTimestamp.IsZero() {
				set(row.condition, metav1.ConditionUnknown, v1alpha1.ReasonPending, "waiting for the gateway")
			}
		default:
			set(row.condition, metav1.ConditionTrue, row.reason, row.message)
		}
	}
	status, reason, text := summary(next, s, result)
	set(v1alpha1.ConditionReady, status, reason, text)
	setContested(next, s)
	setIneffective(next, s)
}

// summary is the condition Ready.
func summary(next *v1alpha1.PluginBindingStatus, s *state, result *stepResult) (status metav1.ConditionStatus, reason, text string) {
	switch {
	case result == nil && reference.IsObserved(s.binding):
		return metav1.ConditionTrue, v1alpha1.ReasonObserved, programmedMessage(s)
	case result == nil:
		return metav1.ConditionTrue, v1alpha1.ReasonReady, programmedMessage(s)
	}
	text = message.Summary(result.message, result.condition)
	if id := next.PluginID; id != "" && result.condition != v1alpha1.ConditionProgrammed && result.reason != v1alpha1.ReasonScopeNotFound {
		text += "; plugin " + string(id) + " stays in Kong as it last was"
	}
	return result.status(), result.reason, text
}

func programmedMessage(s *state) string {
	live := s.applied.programmed
	if live == nil {
		return ""
	}
	text := "Kong holds plugin " + live.ID + " as declared"
	if fields := s.applied.acceptedDifferences; len(fields) > 0 {
		text += "; Kong changed these fields when it stored them, and the operator accepts its values: " + strings.Join(message.FieldNames(fields), ", ")
	}
	if warnings := s.desired.warnings; len(warnings) > 0 {
		text += ". " + strings.Join(warnings, " ")
	}
	return text
}
