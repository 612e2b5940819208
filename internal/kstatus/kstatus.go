// Package kstatus summarizes an object for tools that wait for it: Flux, `flux wait`, Argo CD, cli-utils.
// They read the conditions Stalled and Reconciling as sigs.k8s.io/cli-utils/pkg/kstatus defines
// them: the object failed, or it is still on its way. Both are absent when the object is Ready.
//
// It is pure, and knows conditions only. It must not import a client.
package kstatus

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// stalls says of every reason with which Ready is not True whether the object stalls: nothing
// changes until somebody changes this object, or something that is not applied together with
// it. An object that waits for another one, which may be applied with it, or for an outage to end, is
// still reconciling.
var stalls = map[string]bool{
	v1alpha1.ReasonPaused:              true,
	v1alpha1.ReasonWouldChange:         true,
	v1alpha1.ReasonGatewayNotWatched:   true,
	v1alpha1.ReasonGatewayNotAccepted:  true,
	v1alpha1.ReasonNotAllowedByGateway: true,
	v1alpha1.ReasonUnsupportedField:    true,
	v1alpha1.ReasonInvalidConfig:       true,
	v1alpha1.ReasonScopeAmbiguous:      true,
	v1alpha1.ReasonConflict:            true,
	v1alpha1.ReasonClaimedByKongPlugin: true,
	v1alpha1.ReasonPluginNotInstalled:  true,
	v1alpha1.ReasonRejected:            true,
	v1alpha1.ReasonDenied:              true,
	v1alpha1.ReasonTLSFailed:           true,
	v1alpha1.ReasonDBLess:              true,
	v1alpha1.ReasonUnsupportedVersion:  true,
	v1alpha1.ReasonUnsupportedEdition:  true,
	v1alpha1.ReasonInvalidConnection:   true,
	v1alpha1.ReasonInvalidSelector:     true,
	v1alpha1.ReasonWorkspaceNotFound:   true,
	v1alpha1.ReasonGatewayNotAllowed:   true,
	v1alpha1.ReasonConflicted:          true,
	v1alpha1.ReasonInvalid:             true,
	v1alpha1.ReasonTooManyEntities:     true,

	v1alpha1.ReasonPending:               false,
	v1alpha1.ReasonProgramming:           false,
	v1alpha1.ReasonGatewayNotFound:       false,
	v1alpha1.ReasonGatewayNotReady:       false,
	v1alpha1.ReasonSecretNotFound:        false,
	v1alpha1.ReasonConfigMapNotFound:     false,
	v1alpha1.ReasonScopeNotFound:         false,
	v1alpha1.ReasonReplacementNotAllowed: false,
	v1alpha1.ReasonPluginNotFound:        false,
	v1alpha1.ReasonKongUnavailable:       false,
	v1alpha1.ReasonForbidden:             false,
	v1alpha1.ReasonDeleting:              false,
	v1alpha1.ReasonUnreachable:           false,
	v1alpha1.ReasonNotKong:               false,
	v1alpha1.ReasonDatabaseUnreachable:   false,
	v1alpha1.ReasonInUse:                 false,
	v1alpha1.ReasonWritesFail:            false,
	// A target may be applied after its policy, and the kinds after both.
	v1alpha1.ReasonTargetNotFound:         false,
	v1alpha1.ReasonTargetKindNotInstalled: false,
	v1alpha1.ReasonEntitiesNotFound:       false,
	v1alpha1.ReasonBindingsNotReady:       false,
}

// Set derives Stalled and Reconciling from the condition Ready. At most one of them is there, and then
// it is True.
func Set(conditions *[]metav1.Condition) {
	ready := meta.FindStatusCondition(*conditions, v1alpha1.ConditionReady)
	is, isNot := v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled
	if ready != nil && stalls[ready.Reason] {
		is, isNot = isNot, is
	}
	meta.RemoveStatusCondition(conditions, isNot)
	if ready == nil || ready.Status == metav1.ConditionTrue {
		meta.RemoveStatusCondition(conditions, is)
		return
	}
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: is, Status: metav1.ConditionTrue, Reason: ready.Reason, Message: ready.Message, ObservedGeneration: ready.ObservedGeneration,
	})
}

// temporary are the conditions that an object has only while they are True.
var temporary = []string{
	v1alpha1.ConditionStalled, v1alpha1.ConditionReconciling,
	v1alpha1.ConditionIneffective, v1alpha1.ConditionContested, v1alpha1.ConditionUnstable,
}

// CountLasting counts the conditions that an object keeps once it has them. If they are fewer than
// before, somebody removed the status.
func CountLasting(conditions []metav1.Condition) int {
	n := 0
	for i := range conditions {
		if !slices.Contains(temporary, conditions[i].Type) {
			n++
		}
	}
	return n
}
