package integration

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// newEnvWithHourlyResync is a story without an operator, whose gateway is swept when the operator
// starts, and then not for an hour.
func newEnvWithHourlyResync(options ...kongtest.Option) *testEnv {
	GinkgoHelper()
	env := newEnvWithoutOperator(options...)
	change(env, env.gateway("kong"), func(gw *v1alpha1.KongGateway) { gw.Spec.ResyncInterval = "1h" })
	return env
}

// resyncs is how often all plugins of the cluster have been listed.
func (env *testEnv) resyncs() int {
	n := 0
	for _, request := range env.kong.Journal().Requests() {
		if isResyncList(request) {
			n++
		}
	}
	return n
}

// isResyncList tells the list of the cluster's plugins from the search for one binding's.
func isResyncList(request kongtest.Request) bool {
	return request.Method == http.MethodGet && request.Template == "/plugins" &&
		strings.Contains(request.Query, "tags=") && !strings.Contains(request.Query, "k8s-name")
}

// fakeClockEnv is a story whose operator has a clock that stands still until sweep moves it, so
// that minutes pass at once.
type fakeClockEnv struct {
	*testEnv
	clock *clocktesting.FakeClock
}

// withFakeClock starts the operator of a story that has none, under such a clock.
func (env *testEnv) withFakeClock(adjust ...func(*controllers.Options)) fakeClockEnv {
	GinkgoHelper()
	clock := clocktesting.NewFakeClock(time.Now())
	env.startOperator(append(adjust, func(o *controllers.Options) {
		o.Clock, o.LeadingSince = clock, clock.Now().Add(-time.Hour)
	})...)
	env.waitForGateway()
	return fakeClockEnv{env, clock}
}

// resync lets at least the resync interval pass, waits until the gateway has been swept, and
// returns it.
func (env fakeClockEnv) resync(after time.Duration) *v1alpha1.KongGateway {
	GinkgoHelper()
	return env.resyncGateway("kong", after)
}

// resyncTimes is sweep, several times with two minutes in between: long enough for an orphan.
func (env fakeClockEnv) resyncTimes(n int) (gw *v1alpha1.KongGateway) {
	GinkgoHelper()
	for range n {
		gw = env.resync(2 * time.Minute)
	}
	return gw
}

// resyncGateway is sweep for another gateway that leads to the story's Kong.
func (env fakeClockEnv) resyncGateway(name string, after time.Duration) *v1alpha1.KongGateway {
	GinkgoHelper()
	waitForIdleGateways() // or the round under way would end at a later time than it began
	swept := env.resyncs()
	env.clock.Step(after)
	gw := env.gateway(name)
	change(env.testEnv, gw, func(gw *v1alpha1.KongGateway) {
		metav1.SetMetaDataAnnotation(&gw.ObjectMeta, v1alpha1.ReconcileRequestedAtAnnotation, fmt.Sprint(counter.Add(1)))
	})
	Eventually(env.resyncs).Should(BeNumerically(">", swept), "a sweep")
	waitForIdleGateways()
	env.reload(Default, gw)
	return gw
}

// probe lets the longest pause between two probes of a gateway that cannot be used pass, and
// waits until it has been probed again, or is gone.
func (env fakeClockEnv) probe(gw *v1alpha1.KongGateway) {
	GinkgoHelper()
	waitForIdleGateways()
	probes := func() int { return env.kong.Journal().Count(http.MethodGet, "/") }
	before := probes()
	env.clock.Step(20 * time.Second)
	base := gw.DeepCopy()
	metav1.SetMetaDataAnnotation(&gw.ObjectMeta, v1alpha1.ReconcileRequestedAtAnnotation, fmt.Sprint(counter.Add(1)))
	// Its own pause may have ended, and it may have been let go.
	Expect(client.IgnoreNotFound(k8s.Patch(env.ctx, gw, client.MergeFrom(base)))).To(Succeed())
	Eventually(func() bool { return probes() > before || env.isGone(gw) }).Should(BeTrue(), "it is not probed")
	waitForIdleGateways()
}

// waitForIdleGateways waits until no gateway is being looked at, nor about to be.
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

// ownershipTags are the marks of a binding's plugin.
func ownershipTags(namespace, name string) []any {
	return []any{
		"managed-by:plugin-binding-operator", "k8s-cluster:" + clusterID, "k8s-kind:PluginBinding",
		"k8s-namespace:" + namespace, "k8s-name:" + name, "k8s-uid:0",
	}
}

// eventNotes are the texts of the events of one reason about an object.
func (env *testEnv) eventNotes(object client.Object, reason string) []string {
	GinkgoHelper()
	list := &eventsv1.EventList{}
	Expect(k8s.List(env.ctx, list, client.InNamespace(object.GetNamespace()))).To(Succeed())
	var notes []string
	for i := range list.Items {
		if list.Items[i].Regarding.UID == object.GetUID() && list.Items[i].Reason == reason {
			notes = append(notes, list.Items[i].Note)
		}
	}
	return notes
}

// refusePuts has every PUT of a plugin answered with a status and a message.
func (env *testEnv) refusePuts(status int, body string) (mend func()) {
	return env.kong.Inject(kongtest.Fault{
		Method: http.MethodPut, Template: "/plugins/{id}", Kind: kongtest.Answer, Status: status, Body: body,
	})
}

const (
	bodyDenied          = `{"message":"you do not have permission to update this resource"}`
	bodyUnexpectedError = `{"message":"An unexpected error occurred"}`
	bodyInvalid         = `{"message":"schema violation (config.minute: is odd)","fields":{"config":{"minute":"is odd"}},"name":"schema violation","code":2}`
)

// observeOnly changes the management policy of a binding.
func observeOnly(binding *v1alpha1.PluginBinding) {
	binding.Spec.ManagementPolicy = v1alpha1.ObservePlugin
}

// paused pauses a binding.
func paused(binding *v1alpha1.PluginBinding) {
	metav1.SetMetaDataAnnotation(&binding.ObjectMeta, v1alpha1.PausedAnnotation, "true")
}

// withPluginID adopts the plugin with that ID.
func withPluginID(id any) func(*v1alpha1.PluginBinding) {
	return func(binding *v1alpha1.PluginBinding) { binding.Spec.PluginID = v1alpha1.UUID(id.(string)) }
}
