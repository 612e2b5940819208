package pluginpolicy

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
)

// A status that is equal to the one in the cache is not that of the API server while the cache lags
// behind the operator's own write. The policy looks again until the status is right.
func TestAStatusIsWrittenAlthoughTheCacheLags(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	stored := &v1alpha1.PluginPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "limit", Generation: 1}}
	kube := fake.NewClientBuilder().WithScheme(scheme).WithObjects(stored).WithStatusSubresource(stored).Build()
	r := &Reconciler{
		Client: kube, Events: events.NewFakeRecorder(10),
		Backoff: workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](time.Second, time.Minute),
	}
	key := client.ObjectKeyFromObject(stored)
	live := func() *v1alpha1.PluginPolicy {
		t.Helper()
		p := &v1alpha1.PluginPolicy{}
		if err := kube.Get(t.Context(), key, p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	write := func(cached *v1alpha1.PluginPolicy, reason string) (again bool) {
		t.Helper()
		result, err := r.patchStatus(t.Context(), &state{policy: cached.DeepCopy(), key: key, problem: policy.Problem{
			Condition: v1alpha1.ConditionProgrammed, Unknown: true, Reason: reason, Message: reason,
		}})
		if err != nil {
			t.Fatal(err)
		}
		return result.RequeueAfter > 0
	}
	reason := func() string {
		return meta.FindStatusCondition(live().Status.Conditions, v1alpha1.ConditionProgrammed).Reason
	}
	write(live(), "First")
	cached := live()
	write(cached, "Second")
	if !write(cached, "First") {
		t.Error("it does not look again")
	}
	if again := write(live(), "First"); again || reason() != "First" {
		t.Errorf("it looks again: %v; the API server has %s", again, reason())
	}
	if write(live(), "First") {
		t.Error("it looks again for nothing")
	}
}
