package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	dto "github.com/prometheus/client_model/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// metric sums a metric of the operator over all series that have the labels, which are names
// and values in turn. A histogram counts its observations. A missing series is 0.
func (env *testEnv) metric(name string, labels ...string) float64 {
	GinkgoHelper()
	families, err := env.operator.registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	var sum float64
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, sample := range family.GetMetric() {
			if hasLabels(sample, labels) {
				sum += sample.GetCounter().GetValue() + sample.GetGauge().GetValue() + float64(sample.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func hasLabels(sample *dto.Metric, labels []string) bool {
	has := map[string]string{}
	for _, label := range sample.GetLabel() {
		has[label.GetName()] = label.GetValue()
	}
	for i := 0; i < len(labels); i += 2 {
		if has[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}

// documentedMetrics returns the names in the table of docs/operations.md.
func documentedMetrics() []string {
	GinkgoHelper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	Expect(err).NotTo(HaveOccurred())
	var names []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(kong_operator_[a-z_]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		names = append(names, row[1])
	}
	return names
}

var _ = Describe("Metrics", func() {
	It("count what was done, and show how things are", func() {
		env := newEnvWithoutOperator()
		gateway := env.namespace + "/kong"
		read := func(name string, labels ...string) float64 {
			return env.metric(name, append(labels, "gateway", gateway)...)
		}
		writes := func(action string) float64 { return read("kong_operator_plugin_writes_total", "action", action) }
		timed := env.withFakeClock()

		By("a creation")
		binding := timed.createReady(timed.binding("limit"))
		Expect(writes("create")).To(BeEquivalentTo(1))
		Expect(writes("put")).To(BeZero())
		Expect(read("kong_operator_kong_requests_total", "method", "POST", "code", "201")).To(BeEquivalentTo(1))
		Expect(read("kong_operator_kong_request_duration_seconds", "method", "POST")).To(BeEquivalentTo(1))
		Eventually(read).WithArguments("kong_operator_bindings", "condition", "Ready", "status", "True").Should(BeEquivalentTo(1))
		Expect(read("kong_operator_conflicts")).To(BeZero())

		Eventually(read).WithArguments("kong_operator_gateway_conditions", "condition", "Reachable", "status", "True").Should(BeEquivalentTo(1))
		Expect(read("kong_operator_gateway_conditions", "condition", "DatabaseReachable", "status", "True")).To(BeEquivalentTo(1))
		Expect(read("kong_operator_gateway_conditions", "status", "False")).To(BeZero())

		By("drift")
		timed.kong.EditPlugin(string(binding.Status.PluginID), map[string]any{"enabled": false})
		timed.requestReconcile(binding)
		Eventually(read).WithArguments("kong_operator_drift_total").Should(BeEquivalentTo(1))
		Expect(writes("put")).To(BeEquivalentTo(1))
		change(timed.testEnv, binding, withPlugin("rate-limiting", `{"minute": 6, "policy": "local"}`))
		timed.waitUntilReady(binding)
		Expect(writes("put")).To(BeEquivalentTo(2))
		Expect(read("kong_operator_drift_total")).To(BeEquivalentTo(1), "a changed declaration is none")

		By("a conflict")
		second := timed.binding("second")
		timed.create(second)
		timed.waitForReady(second, metav1.ConditionFalse, v1alpha1.ReasonConflict)
		Eventually(read).WithArguments("kong_operator_conflicts").Should(BeEquivalentTo(1))
		Expect(read("kong_operator_bindings", "condition", "Ready", "status", "False")).To(BeEquivalentTo(1))
		Expect(k8s.Delete(timed.ctx, second)).To(Succeed())
		timed.waitUntilGone(second)
		Eventually(read).WithArguments("kong_operator_conflicts").Should(BeZero())
		Expect(writes("delete")).To(BeZero())

		By("an orphan")
		Expect(read("kong_operator_orphaned_plugins")).To(BeZero())
		orphan := timed.kong.Seed("plugins", map[string]any{"name": "cors", "tags": ownershipTags(timed.namespace, "never-was")})
		timed.resync(time.Minute)
		Expect(read("kong_operator_orphaned_plugins")).To(BeEquivalentTo(1))
		Expect(read("kong_operator_gateway_last_sweep_timestamp_seconds")).To(BeEquivalentTo(timed.clock.Now().Unix()))
		timed.kong.DeletePlugin(orphan["id"].(string))
		timed.resync(time.Minute)
		Expect(read("kong_operator_orphaned_plugins")).To(BeZero())

		By("a plugin that is let go, and one that is removed")
		left := timed.createReady(timed.binding("left", withPlugin("correlation-id", ""), func(b *v1alpha1.PluginBinding) { b.Spec.DeletionPolicy = v1alpha1.OrphanPlugin }))
		removed := timed.createReady(timed.binding("removed", withPlugin("cors", "")))
		for _, b := range []*v1alpha1.PluginBinding{left, removed} {
			Expect(k8s.Delete(timed.ctx, b)).To(Succeed())
			timed.waitUntilGone(b)
		}
		Expect(writes("orphan")).To(BeEquivalentTo(1))
		Expect(writes("delete")).To(BeEquivalentTo(1))

		By("a plugin that is taken over")
		timed.kong.Seed("plugins", map[string]any{"name": "acl", "service": map[string]any{"name": "orders"}, "config": map[string]any{"deny": []any{"a"}}, "tags": []any{"managed-by:terraform"}})
		timed.createReady(timed.binding("taken", withPlugin("acl", `{"allow": ["a"]}`), withAdoptionPolicy(v1alpha1.AdoptOverride)))
		Expect(writes("takeover")).To(BeEquivalentTo(1))

		By("agreeing with the journal, and with the documentation")
		Expect(read("kong_operator_plugin_writes_total")).To(BeEquivalentTo(len(timed.kong.Journal().Writes())))
		Expect(read("kong_operator_plugin_id_changes_refused_total")).To(BeZero())
		families, err := timed.operator.registry.Gather()
		Expect(err).NotTo(HaveOccurred())
		shown := []string{
			"kong_operator_conflicts",            // it has no series any more
			"kong_operator_events_omitted_total", // nothing was omitted
		}
		for _, family := range families {
			if strings.HasPrefix(family.GetName(), "kong_operator_") {
				shown = append(shown, family.GetName())
			}
		}
		Expect(documentedMetrics()).To(ConsistOf(shown))
	})

	It("count an ID that was lost and found once", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		id := binding.Status.PluginID
		env.stopOperator()
		// A restored backup: the same object without its status, and with another UID.
		env.forceDelete(binding)
		restored := env.binding("limit")
		env.create(restored)

		env.startOperator()
		env.waitUntilReady(restored)
		Expect(restored.Status.PluginID).To(Equal(id))
		Expect(restored.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDRecovered))
		recovered := func() float64 {
			return env.metric("kong_operator_plugin_ids_recovered_total", "gateway", env.namespace+"/kong")
		}
		Eventually(recovered).Should(BeEquivalentTo(1), "it is counted after the status was written")
		env.expectNoStatusWrite(restored)
		Expect(recovered()).To(BeEquivalentTo(1))
		Expect(env.metric("kong_operator_plugin_writes_total", "action", "create")).To(BeZero())

		By("counting none for a plugin that is known")
		env.stopOperator()
		env.startOperator()
		env.waitForGateway()
		env.expectNoStatusWrite(restored)
		Expect(recovered()).To(BeZero())
	})
})
