package pluginbinding

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

const pluginP = "11111111-1111-4111-8111-111111111111"

var now = metav1.NewTime(time.Unix(1_700_000_000, 0))

// programmedState is a reconcile of generation 2 that found the plugin programmed.
func programmedState() *state {
	binding := &v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "limits", Generation: 2}}
	s := newState(binding, "c1")
	s.access.gateway = &v1alpha1.KongGateway{ObjectMeta: metav1.ObjectMeta{Namespace: "kong", Name: "kong"}}
	s.desired.refsResolved = true
	s.applied.programmed = &plugin.Plugin{ID: pluginP, Scope: plugin.Scope{RouteID: "r"}}
	return s
}

// conditions as "Type=Status/Reason", in their order.
func conditions(status *v1alpha1.PluginBindingStatus) string {
	var words []string
	for _, c := range status.Conditions {
		words = append(words, c.Type+"="+string(c.Status)+"/"+c.Reason)
	}
	return strings.Join(words, " ")
}

func TestNextStatus(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*state)
		result *stepResult
		want   string
	}{
		"programmed": {
			want: "Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs Programmed=True/Programmed Ready=True/Ready",
		},
		"observed": {
			change: func(s *state) { s.binding.Spec.ManagementPolicy = v1alpha1.ObservePlugin },
			want:   "Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs Programmed=True/Programmed Ready=True/Observed",
		},
		"the gateway refuses the binding": {
			change: func(s *state) { s.applied.programmed, s.desired.refsResolved = nil, false },
			result: notAccepted(v1alpha1.ReasonNotAllowedByGateway, "no"),
			want:   "Accepted=False/NotAllowedByGateway ResolvedRefs=Unknown/Pending Programmed=Unknown/Pending Ready=False/NotAllowedByGateway Stalled=True/NotAllowedByGateway",
		},
		"the scope does not exist": {
			change: func(s *state) { s.applied.programmed, s.desired.refsResolved = nil, false },
			result: &stepResult{condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonScopeNotFound, message: "none"},
			want:   "Accepted=True/Accepted ResolvedRefs=False/ScopeNotFound Programmed=Unknown/Pending Ready=False/ScopeNotFound Reconciling=True/ScopeNotFound",
		},
		"Kong does not respond and nothing is known yet": {
			change: func(s *state) { s.applied.programmed, s.desired.refsResolved = nil, false },
			result: &stepResult{condition: v1alpha1.ConditionProgrammed, unknown: true, keepConditions: true, reason: v1alpha1.ReasonKongUnavailable},
			want:   "Accepted=True/Accepted ResolvedRefs=Unknown/Pending Programmed=Unknown/KongUnavailable Ready=Unknown/KongUnavailable Reconciling=True/KongUnavailable",
		},
		"paused": {
			result: &stepResult{condition: v1alpha1.ConditionReady, unknown: true, reason: v1alpha1.ReasonPaused},
			want:   "Ready=Unknown/Paused Stalled=True/Paused",
		},
		"nothing to say": {result: requeue(), want: ""},
	} {
		s := programmedState()
		if tc.change != nil {
			tc.change(s)
		}
		before := s.binding.DeepCopy()
		next := nextStatus(s, tc.result, now)
		if got := conditions(&next); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tc.want)
		}
		if !equality.Semantic.DeepEqual(before, s.binding) {
			t.Errorf("%s: nextStatus changed the binding", name)
		}
	}
}

// A binding in sync has neither Stalled nor Reconciling, so that an operator that is the first to have them
// writes no status.
func TestASyncedStatusOfAnEarlierVersionStays(t *testing.T) {
	s := programmedState()
	s.binding.Status = nextStatus(s, nil, now)
	s.binding.Status.Conditions = slices.DeleteFunc(s.binding.Status.Conditions, func(c metav1.Condition) bool {
		return c.Type == v1alpha1.ConditionStalled || c.Type == v1alpha1.ConditionReconciling
	})
	if next := nextStatus(s, nil, now); !equality.Semantic.DeepEqual(next, s.binding.Status) {
		t.Errorf("the status changes to %s", conditions(&next))
	}
}

// While Kong does not respond, a status that describes the current generation stays; unless this
// reconcile saw that it is no longer true.
func TestAnOutageKeepsConditions(t *testing.T) {
	outage := &stepResult{condition: v1alpha1.ConditionProgrammed, unknown: true, keepConditions: true, reason: v1alpha1.ReasonKongUnavailable}
	settled := func() *state {
		s := programmedState()
		s.binding.Status = nextStatus(s, nil, now)
		s.binding.Status.PluginID = pluginP
		s.applied = applied{}
		s.observed.facts.Recorded = pluginP
		return s
	}
	for name, tc := range map[string]struct {
		change func(*state)
		kept   bool
	}{
		"nothing was observed":    {func(*state) {}, true},
		"the generation changed":  {func(s *state) { s.binding.Generation++ }, false},
		"the plugin is gone":      {func(s *state) { s.observed.facts.ByID.Ownership = identity.Absent }, false},
		"the plugin differs":      {func(s *state) { s.observed.facts.ByID.Ownership = identity.Owned }, false},
		"the plugin is as it was": {func(s *state) { s.observed.facts.ByID = identity.Observation{Ownership: identity.Owned, Equal: true} }, true},
		"a Secret did not exist then": {func(s *state) {
			meta.RemoveStatusCondition(&s.binding.Status.Conditions, v1alpha1.ConditionResolvedRefs)
		}, false},
	} {
		s := settled()
		tc.change(s)
		next := nextStatus(s, outage, now)
		if kept := meta.IsStatusConditionTrue(next.Conditions, v1alpha1.ConditionReady); kept != tc.kept {
			t.Errorf("%s: Ready stays %v, want %v", name, kept, tc.kept)
		}
	}
}

func TestARecordedIDIsWrittenWhateverTheResult(t *testing.T) {
	s := programmedState()
	s.applied = applied{recordID: pluginP, source: v1alpha1.PluginIDAdopted, wrote: true, drifted: []string{"enabled"}}
	next := nextStatus(s, requeue(), now)
	if next.PluginID != pluginP || next.PluginIDSource != v1alpha1.PluginIDAdopted || next.LastWriteTime == nil || next.LastDrift == nil {
		t.Errorf("%+v", next)
	}
}

// Kong may list a hundred long complaints. The status keeps what a person reads, and keeps it once.
func TestALongRefusalIsStoredOnceAndBounded(t *testing.T) {
	refused := &adminapi.Error{Reason: adminapi.Rejected, Op: "put plugin", Status: 400}
	for i := range 100 {
		refused.Fields = append(refused.Fields, adminapi.FieldError{Path: fmt.Sprintf("config.field_%02d", i), Message: strings.Repeat("expected a number ", 28)})
	}
	s := programmedState()
	s.applied.programmed = nil
	result := kongError(refused, nil)
	result.message += "; the last accepted version of plugin " + pluginP + " remains active in Kong"
	next := nextStatus(s, result, now)
	programmed, ready := meta.FindStatusCondition(next.Conditions, v1alpha1.ConditionProgrammed), meta.FindStatusCondition(next.Conditions, v1alpha1.ConditionReady)
	if len(programmed.Message) > 2048 || !strings.Contains(programmed.Message, "config.field_00: expected a number") ||
		!strings.Contains(programmed.Message, "bytes more]") || !strings.HasSuffix(programmed.Message, "remains active in Kong") {
		t.Errorf("%d bytes: %s", len(programmed.Message), programmed.Message)
	}
	if len(ready.Message) > 512 || ready.Reason != programmed.Reason || !strings.Contains(ready.Message, "the condition Programmed says more") {
		t.Errorf("%d bytes: %s", len(ready.Message), ready.Message)
	}
	if raw, err := json.Marshal(next); err != nil || len(raw) > 4<<10 {
		t.Errorf("the status has %d bytes (%v)", len(raw), err)
	}
}

// An upgrade must not write the status of a binding that is in sync, so the texts of True conditions
// stay as an earlier version wrote them.
func TestTextsOfABindingInSync(t *testing.T) {
	s := programmedState()
	next := nextStatus(s, nil, now)
	want := map[string]string{
		v1alpha1.ConditionAccepted:     "the gateway allows this binding",
		v1alpha1.ConditionResolvedRefs: "every Secret and every part of the scope was found",
		v1alpha1.ConditionProgrammed:   "Kong holds plugin " + pluginP + " as declared",
		v1alpha1.ConditionReady:        "Kong holds plugin " + pluginP + " as declared",
	}
	for _, condition := range next.Conditions {
		if condition.Message != want[condition.Type] {
			t.Errorf("%s: %q", condition.Type, condition.Message)
		}
	}
}
