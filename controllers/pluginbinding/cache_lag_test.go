package pluginbinding

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// A status that is equal to the one in the cache is not that of the API server while the cache lags
// behind the operator's own write. The binding looks again until the status is right.
func TestAStatusIsWrittenAlthoughTheCacheLags(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	binding := programmedState().binding
	kube := fake.NewClientBuilder().WithScheme(scheme).WithObjects(binding).WithStatusSubresource(binding).Build()
	r := &Reconciler{Client: kube, Clock: clocktesting.NewFakePassiveClock(now.Time)}
	live := func() *v1alpha1.PluginBinding {
		t.Helper()
		b := &v1alpha1.PluginBinding{}
		if err := kube.Get(t.Context(), client.ObjectKeyFromObject(binding), b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	write := func(cached *v1alpha1.PluginBinding, result *stepResult) *stepResult {
		s := programmedState()
		s.binding = cached.DeepCopy()
		return r.patchStatusIfChanged(t.Context(), s, result)
	}
	refused := func() *stepResult {
		return &stepResult{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected, message: "no"}
	}
	write(live(), nil)
	cached := live()
	write(cached, refused())
	if again := write(cached, nil); again == nil || again.requeueAfter == 0 {
		t.Errorf("it does not look again: %+v", again)
	}
	again := write(live(), nil)
	if again != nil || !meta.IsStatusConditionTrue(live().Status.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("%+v: %+v", again, live().Status.Conditions)
	}
	if again := write(live(), nil); again != nil {
		t.Errorf("it looks again for nothing: %+v", again)
	}

	// A problem that is back is not in the status of the API server either.
	write(live(), refused())
	cached = live()
	write(cached, nil)
	if again := write(cached, refused()); again == nil || again.requeueAfter == 0 || again.reason != v1alpha1.ReasonRejected {
		t.Errorf("it does not look again: %+v", again)
	}
	if again := write(cached, done()); again != nil {
		t.Errorf("it looks again without anything to say: %+v", again)
	}
	if again := write(live(), refused()); again != nil || meta.IsStatusConditionTrue(live().Status.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("%+v: %+v", again, live().Status.Conditions)
	}
	if again := write(live(), refused()); again != nil {
		t.Errorf("it looks again for nothing: %+v", again)
	}
}
