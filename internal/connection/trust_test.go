package connection

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/inflight"
	"github.com/pluginbinding/kong-plugin-operator/internal/programmed"
)

const longestWrite = 10 * time.Second

func TestTrust(t *testing.T) {
	binding := func() *v1alpha1.PluginBinding {
		return &v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "limits", UID: "1"}}
	}
	asked := binding()
	asked.Annotations = map[string]string{v1alpha1.ReconcileRequestedAtAnnotation: "now"}
	all := Trust{Presence: true, Absence: true, Scope: true}
	for name, tc := range map[string]struct {
		binding *v1alpha1.PluginBinding
		since   func(*inflight.Tracker, *programmed.Memory, *clocktesting.FakePassiveClock)
		want    Trust
	}{
		"nothing happened": {binding(), func(*inflight.Tracker, *programmed.Memory, *clocktesting.FakePassiveClock) {}, all},
		"a write does not change what the scope means": {binding(), func(writes *inflight.Tracker, _ *programmed.Memory, _ *clocktesting.FakePassiveClock) {
			writes.MarkWritten(binding())
		}, Trust{Scope: true}},
		"a late write may be missing": {binding(), func(writes *inflight.Tracker, _ *programmed.Memory, clock *clocktesting.FakePassiveClock) {
			writes.MarkInFlight(binding(), clock.Now().Add(time.Second))
		}, Trust{Presence: true, Scope: true}},
		"the scope was found wrong": {binding(), func(writes *inflight.Tracker, _ *programmed.Memory, _ *clocktesting.FakePassiveClock) {
			writes.InvalidateScope(binding())
		}, Trust{}},
		"a person asked for a reconcile": {asked, func(_ *inflight.Tracker, memory *programmed.Memory, _ *clocktesting.FakePassiveClock) {
			memory.Set(binding(), programmed.State{Fingerprint: 1})
		}, Trust{}},
		"the request was answered": {asked, func(_ *inflight.Tracker, memory *programmed.Memory, _ *clocktesting.FakePassiveClock) {
			memory.Set(binding(), programmed.State{Fingerprint: 1, RequestedAt: "now"})
		}, all},
		"a day passed": {binding(), func(_ *inflight.Tracker, _ *programmed.Memory, clock *clocktesting.FakePassiveClock) {
			clock.SetTime(clock.Now().Add(inflight.MaxSnapshotAge))
		}, Trust{}},
	} {
		clock := clocktesting.NewFakePassiveClock(time.Unix(1_000_000, 0))
		writes, memory := inflight.NewTracker(clock, clock.Now().Add(-time.Hour)), programmed.NewMemory()
		snapshot := NewSnapshot(writes.Now())
		tc.since(writes, memory, clock)
		if got := snapshot.TrustFor(tc.binding, writes, memory, longestWrite); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
	var none *Snapshot
	if got := none.TrustFor(binding(), nil, nil, longestWrite); got != (Trust{}) {
		t.Errorf("no snapshot: got %+v", got)
	}
}
