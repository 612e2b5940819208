package kstatus

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

func TestSet(t *testing.T) {
	ready := func(status metav1.ConditionStatus, reason string) metav1.Condition {
		return metav1.Condition{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: "because of " + reason, ObservedGeneration: 3}
	}
	for name, tc := range map[string]struct {
		ready []metav1.Condition
		want  string
	}{
		"nothing is known":         {nil, ""},
		"in force":                 {[]metav1.Condition{ready(metav1.ConditionTrue, v1alpha1.ReasonReady)}, ""},
		"observed and in force":    {[]metav1.Condition{ready(metav1.ConditionTrue, v1alpha1.ReasonObserved)}, ""},
		"rejected":                 {[]metav1.Condition{ready(metav1.ConditionFalse, v1alpha1.ReasonRejected)}, v1alpha1.ConditionStalled},
		"paused":                   {[]metav1.Condition{ready(metav1.ConditionUnknown, v1alpha1.ReasonPaused)}, v1alpha1.ConditionStalled},
		"waits for a Secret":       {[]metav1.Condition{ready(metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)}, v1alpha1.ConditionReconciling},
		"an outage":                {[]metav1.Condition{ready(metav1.ConditionUnknown, v1alpha1.ReasonKongUnavailable)}, v1alpha1.ConditionReconciling},
		"a reason of the future":   {[]metav1.Condition{ready(metav1.ConditionFalse, "Another")}, v1alpha1.ConditionReconciling},
		"a gateway without Kong":   {[]metav1.Condition{ready(metav1.ConditionFalse, v1alpha1.ReasonUnreachable)}, v1alpha1.ConditionReconciling},
		"a gateway that is DBless": {[]metav1.Condition{ready(metav1.ConditionFalse, v1alpha1.ReasonDBLess)}, v1alpha1.ConditionStalled},
	} {
		for _, before := range []string{"", v1alpha1.ConditionStalled, v1alpha1.ConditionReconciling} {
			conditions := slices.Clone(tc.ready)
			if before != "" {
				conditions = append(conditions, metav1.Condition{Type: before, Status: metav1.ConditionTrue, Reason: "Earlier", Message: "earlier"})
			}
			Set(&conditions)
			var got []string
			for _, c := range conditions {
				if c.Type == v1alpha1.ConditionReady {
					continue
				}
				got = append(got, c.Type)
				if c.Status != metav1.ConditionTrue || c.Reason != tc.ready[0].Reason || c.Message != tc.ready[0].Message || c.ObservedGeneration != 3 {
					t.Errorf("%s: %+v", name, c)
				}
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("%s, after %q: %q, want %q", name, before, got, tc.want)
			}
			again := slices.Clone(conditions)
			Set(&again)
			if !slices.Equal(again, conditions) {
				t.Errorf("%s: the second time changes something: %+v", name, again)
			}
		}
	}
}

// A status that improves has fewer conditions, and has lost none.
func TestCountLasting(t *testing.T) {
	conditions := []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonRejected}}
	Set(&conditions)
	if len(conditions) != 2 || CountLasting(conditions) != 1 {
		t.Errorf("%d of %+v last", CountLasting(conditions), conditions)
	}
	meta.RemoveStatusCondition(&conditions, v1alpha1.ConditionReady)
	if CountLasting(conditions) != 0 {
		t.Errorf("%+v last", conditions)
	}
}

// neverUnready are the reasons that Ready does not have while it is not True.
var neverUnready = []string{
	v1alpha1.ReasonReady, v1alpha1.ReasonAccepted, v1alpha1.ReasonResolvedRefs, v1alpha1.ReasonProgrammed, v1alpha1.ReasonObserved,
	v1alpha1.ReasonReachable, v1alpha1.ReasonIDNotRecorded,
	v1alpha1.ReasonRouteOfAnotherService, v1alpha1.ReasonNoCommonProtocol, v1alpha1.ReasonSomeProbesFail,
}

func TestEveryReasonIsThere(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../api/v1alpha1/conditions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		reason, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if _, known := stalls[reason]; known == slices.Contains(neverUnready, reason) {
			t.Errorf("whether an object with the reason %s stalls: known %v", reason, known)
		}
		return true
	})
	if found != len(stalls)+len(neverUnready) {
		t.Errorf("conditions.go has %d reasons, and here are %d", found, len(stalls)+len(neverUnready))
	}
}
