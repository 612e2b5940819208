package konggateway

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
)

func kong(version, database string, reachable bool) adminapi.Info {
	return adminapi.Info{Version: version, Edition: "community", Database: database, DatabaseReachable: reachable, NodeID: "n1"}
}

// probed is a reconcile whose probe, the first one, had this result.
func probed(result probeResult) *state {
	s := &state{gateway: &v1alpha1.KongGateway{}}
	s.setProbe(result)
	return s
}

func (s *state) setProbe(result probeResult) {
	s.probe.result, s.health = result, s.health.after(result, time.Unix(1_800_000_000, 0))
}

func TestNextStatus(t *testing.T) {
	for name, tc := range map[string]struct {
		info adminapi.Info
		err  error
		want string
	}{
		"usable": {kong("3.9.1", "postgres", true), nil,
			"ResolvedRefs=True Reachable=True DatabaseReachable=True Accepted=True Ready=True"},
		"no database": {kong("3.9.1", "off", true), nil,
			"ResolvedRefs=True Reachable=True DatabaseReachable=False Accepted=False Ready=False Stalled=True"},
		"database away": {kong("3.9.1", "postgres", false), nil,
			"ResolvedRefs=True Reachable=True DatabaseReachable=False Accepted=Unknown Ready=False Reconciling=True"},
		"too old": {kong("3.1.0", "postgres", true), nil,
			"ResolvedRefs=True Reachable=True DatabaseReachable=True Accepted=False Ready=False Stalled=True"},
		"no response": {adminapi.Info{}, &adminapi.Error{Reason: adminapi.Unavailable, Op: "probe", Message: "refused"},
			"ResolvedRefs=True Reachable=False DatabaseReachable=Unknown Accepted=Unknown Ready=False Reconciling=True"},
		"not an error of Kong": {adminapi.Info{}, errors.New("unexpected"),
			"ResolvedRefs=True Reachable=False DatabaseReachable=Unknown Accepted=Unknown Ready=False Reconciling=True"},
	} {
		s := probed(probeResultFrom(tc.info, tc.err))
		next := nextStatus(s)
		var got []string
		for _, c := range next.Conditions {
			got = append(got, c.Type+"="+string(c.Status))
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", name, strings.Join(got, " "), tc.want)
		}
		if len(s.gateway.Status.Conditions) != 0 {
			t.Errorf("%s: nextStatus changed the gateway", name)
		}
	}
}

func TestEveryProbeErrorHasARowOrIsUnavailable(t *testing.T) {
	for reason, row := range probeErrors {
		got := probeResultFrom(adminapi.Info{}, &adminapi.Error{Reason: reason, Op: "probe", Message: "x"})
		if got.condition != row.condition || got.reason != row.reason || !strings.HasSuffix(got.message, "; "+row.remediation) {
			t.Errorf("%s: %+v", reason, got)
		}
	}
}

// Several nodes may be behind one address. Their IDs do not change the status to and fro.
func TestNodeIDStaysWhileTheKongIsTheSame(t *testing.T) {
	s := probed(probeResultFrom(kong("3.9.1", "postgres", true), nil))
	s.gateway.Status = nextStatus(s)
	other := kong("3.9.1", "postgres", true)
	other.NodeID = "n2"
	s.setProbe(probeResultFrom(other, nil))
	if got := nextStatus(s).NodeID; got != "n1" {
		t.Errorf("another node of the same Kong: nodeID %s", got)
	}
	other.Version = "3.10.0"
	s.setProbe(probeResultFrom(other, nil))
	if got := nextStatus(s).NodeID; got != "n2" {
		t.Errorf("another Kong: nodeID %s", got)
	}
}

func TestFailingResyncsAreReportedFromTheSecondOn(t *testing.T) {
	for failures, reported := range map[int]bool{0: false, 1: false, 2: true, 7: true} {
		s := probed(probeResultFrom(kong("3.9.1", "postgres", true), nil))
		s.resync = resync{failures: failures, lastError: "page 3 broke off"}
		ready := meta.FindStatusCondition(nextStatus(s).Conditions, v1alpha1.ConditionReady)
		if ready.Status != metav1.ConditionTrue || strings.Contains(ready.Message, "page 3 broke off") != reported {
			t.Errorf("after %d failures: %s %q", failures, ready.Status, ready.Message)
		}
	}
}

func TestAcceptedStaysWhileTheDatabaseIsAway(t *testing.T) {
	s := probed(probeResultFrom(kong("3.9.1", "postgres", true), nil))
	s.gateway.Status = nextStatus(s)
	for range failuresToReport {
		s.setProbe(probeResultFrom(kong("3.9.1", "postgres", false), nil))
	}
	s.gateway.Status = nextStatus(s)
	if !meta.IsStatusConditionTrue(s.gateway.Status.Conditions, v1alpha1.ConditionAccepted) || meta.IsStatusConditionTrue(s.gateway.Status.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("%+v", s.gateway.Status.Conditions)
	}
	s.gateway.Generation++ // another spec may lead to another Kong
	accepted := meta.FindStatusCondition(nextStatus(s).Conditions, v1alpha1.ConditionAccepted)
	if accepted.Status != metav1.ConditionUnknown {
		t.Errorf("%+v", accepted)
	}
}
