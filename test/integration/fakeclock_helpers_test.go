package integration

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// newEnvWithHourlyResync creates an environment without an operator. Its gateway resyncs when
// the operator starts, and then once per hour.
func newEnvWithHourlyResync(options ...kongtest.Option) *testEnv {
	GinkgoHelper()
	env := newEnvWithoutOperator(options...)
	change(env, env.gateway("kong"), func(gw *v1alpha1.KongGateway) { gw.Spec.ResyncInterval = "1h" })
	return env
}

// resyncs counts how often the operator has listed all plugins of the cluster.
func (env *testEnv) resyncs() int {
	n := 0
	for _, request := range env.kong.Journal().Requests() {
		if isResyncList(request) {
			n++
		}
	}
	return n
}

// brokenOffResyncs counts the resyncs whose list of plugins Kong refused.
func (env *testEnv) brokenOffResyncs() int {
	n := 0
	for _, request := range env.kong.Journal().Requests() {
		if isResyncList(request) && request.Status >= http.StatusBadRequest {
			n++
		}
	}
	return n
}

// isResyncList distinguishes the list of the cluster's plugins from the search for those of one
// binding.
func isResyncList(request kongtest.Request) bool {
	return request.Method == http.MethodGet && request.Template == "/plugins" &&
		strings.Contains(request.Query, "tags=") && !strings.Contains(request.Query, "k8s-name")
}

// fakeClockEnv is an environment whose operator has a fake clock. Only the methods below move
// it, so that minutes pass immediately.
type fakeClockEnv struct {
	*testEnv
	clock *clocktesting.FakeClock
}

// withFakeClock starts the operator with a fake clock. The environment must not have an
// operator yet.
func (env *testEnv) withFakeClock(adjust ...func(*controllers.Options)) fakeClockEnv {
	GinkgoHelper()
	clock := clocktesting.NewFakeClock(time.Now())
	env.startOperator(append(adjust, func(o *controllers.Options) {
		o.Clock, o.LeadingSince = clock, clock.Now().Add(-time.Hour)
	})...)
	env.waitForGateway()
	return fakeClockEnv{env, clock}
}

// resync moves the clock, waits until the gateway has resynced, and returns the gateway. after
// must be at least the resync interval.
func (env fakeClockEnv) resync(after time.Duration) *v1alpha1.KongGateway {
	GinkgoHelper()
	return env.resyncGateway("kong", after)
}

// resyncTimes resyncs several times, two minutes apart. That is long enough to delete an
// orphan.
func (env fakeClockEnv) resyncTimes(n int) (gw *v1alpha1.KongGateway) {
	GinkgoHelper()
	for range n {
		gw = env.resync(2 * time.Minute)
	}
	return gw
}

// resyncGateway is resync for another gateway of the same Kong. Its journal also has the resyncs of the
// others, so that only the metric tells whose it was.
func (env fakeClockEnv) resyncGateway(name string, after time.Duration) *v1alpha1.KongGateway {
	GinkgoHelper()
	gw := env.gateway(name)
	env.waitUntilCounted(gw)
	waitForIdleGateways() // otherwise the clock would move during a reconcile
	brokenOff := env.brokenOffResyncs()
	base := gw.DeepCopy()
	metav1.SetMetaDataAnnotation(&gw.ObjectMeta, v1alpha1.ReconcileRequestedAtAnnotation, fmt.Sprint(counter.Add(1)))
	env.clock.Step(after)
	Expect(k8s.Patch(env.ctx, gw, client.MergeFrom(base))).To(Succeed())
	Eventually(func() bool {
		last := env.metric("kong_operator_gateway_last_sweep_timestamp_seconds", "gateway", keyOf(gw).String())
		return int64(last) == env.clock.Now().Unix() || env.brokenOffResyncs() > brokenOff
	}).Should(BeTrue(), "a resync")
	waitForIdleGateways()
	env.reload(Default, gw)
	return gw
}

// waitUntilCounted waits until the status of the gateway counts its bindings as they are now, which takes
// a second after they change, and until the operator's cache shows their conflicts. If the clock moved
// before, the reconcile that counts would resync, too. It loses its status, and what the resync found,
// when somebody changes the gateway meanwhile.
func (env fakeClockEnv) waitUntilCounted(gw *v1alpha1.KongGateway) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		counts, conflicts := &v1alpha1.BindingCounts{}, 0
		for _, namespace := range env.namespaces {
			bindings := &v1alpha1.PluginBindingList{}
			g.Expect(k8s.List(env.ctx, bindings, client.InNamespace(namespace))).To(Succeed())
			for i := range bindings.Items {
				binding := &bindings.Items[i]
				if reference.GatewayOf(binding) != keyOf(gw) {
					continue
				}
				counts.Total++
				if meta.IsStatusConditionTrue(binding.Status.Conditions, v1alpha1.ConditionReady) {
					counts.Ready++
				}
				if binding.Status.Conflict != nil {
					conflicts++
				}
			}
		}
		env.reload(g, gw)
		g.Expect(gw.Status.Bindings).To(Equal(counts))
		g.Expect(env.metric("kong_operator_conflicts", "gateway", keyOf(gw).String())).To(BeEquivalentTo(conflicts))
	}).Should(Succeed())
}

// probe moves the clock by more than the longest pause between two probes of an unusable
// gateway. It waits until the gateway has been probed again, or is gone.
func (env fakeClockEnv) probe(gw *v1alpha1.KongGateway) {
	GinkgoHelper()
	waitForIdleGateways()
	probes := func() int { return env.kong.Journal().Count(http.MethodGet, "/") }
	before := probes()
	env.clock.Step(20 * time.Second)
	base := gw.DeepCopy()
	metav1.SetMetaDataAnnotation(&gw.ObjectMeta, v1alpha1.ReconcileRequestedAtAnnotation, fmt.Sprint(counter.Add(1)))
	// The operator may have probed it already, and removed its finalizer.
	Expect(client.IgnoreNotFound(k8s.Patch(env.ctx, gw, client.MergeFrom(base)))).To(Succeed())
	Eventually(func() bool { return probes() > before || env.isGone(gw) }).Should(BeTrue(), "it is not probed")
	waitForIdleGateways()
}

// dropConnections is that of testEnv. The second failed probe, which the status shows, is due a second
// after the first one.
func (env fakeClockEnv) dropConnections(binding *v1alpha1.PluginBinding) (mend func()) {
	GinkgoHelper()
	probes := func() int { return env.kong.Journal().Count(http.MethodGet, "/") }
	before, gw := probes(), env.gateway("kong")
	mend = env.kong.Inject(kongtest.Fault{Kind: kongtest.DropBefore})
	env.requestReconcile(binding)
	Eventually(probes).Should(BeNumerically(">", before), "its failed request has the gateway probed")
	env.reload(Default, gw)
	env.probe(gw)
	env.expectGatewayCondition(gw, conditionMatch{condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonUnreachable})
	return mend
}

// waitForIdleGateways waits until no gateway is being reconciled or about to be.
func waitForIdleGateways() {
	GinkgoHelper()
	inARow := 0
	Eventually(func(g Gomega) int {
		families, err := metrics.Registry.Gather()
		g.Expect(err).NotTo(HaveOccurred())
		inARow++
		for _, family := range families {
			for _, sample := range family.GetMetric() {
				busy := family.GetName() == "controller_runtime_active_workers" && hasLabels(sample, []string{"controller", "konggateway"})
				if busy && sample.GetGauge().GetValue() > 0 {
					inARow = 0
				}
			}
		}
		return inARow
	}).Should(BeNumerically(">=", 3))
}
