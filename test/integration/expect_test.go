package integration

import (
	"encoding/json"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// conditionMatch describes a condition that reports a problem.
type conditionMatch struct {
	// condition is the type of the condition that is not True. Ready has the same reason and
	// status.
	condition string
	// unknown: the status is Unknown instead of False.
	unknown bool
	reason  string
	// contains lists what the message of Ready must contain. It names objects, fields and
	// values, and leaves the wording to the operator.
	contains []string
}

func (m conditionMatch) status() metav1.ConditionStatus {
	if m.unknown {
		return metav1.ConditionUnknown
	}
	return metav1.ConditionFalse
}

// matches checks the conditions of an object.
func (m conditionMatch) matches(g Gomega, conditions []metav1.Condition, generation int64) {
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	g.Expect(ready).NotTo(BeNil(), "no Ready condition yet")
	g.Expect(ready.Reason).To(Equal(m.reason), "%s", ready.Message)
	g.Expect(ready.Status).To(Equal(m.status()), "Ready")
	g.Expect(ready.ObservedGeneration).To(Equal(generation))
	for _, text := range m.contains {
		g.Expect(ready.Message).To(ContainSubstring(text))
	}
	detail := meta.FindStatusCondition(conditions, m.condition)
	g.Expect(detail).NotTo(BeNil(), "no condition %s", m.condition)
	g.Expect(detail.Reason).To(Equal(m.reason), "%s", m.condition)
	g.Expect(detail.Status).To(Equal(m.status()), "%s", m.condition)
	for _, condition := range conditions {
		g.Expect(condition.Message).NotTo(BeEmpty(), "%s", condition.Type)
	}
}

// expectCondition waits until the current generation of the binding has the condition, and until
// there is an event with its reason.
func (env *testEnv) expectCondition(binding *v1alpha1.PluginBinding, want conditionMatch) *v1alpha1.PluginBinding {
	GinkgoHelper()
	env.expectConditionOf(binding, func() []metav1.Condition { return binding.Status.Conditions }, want)
	return binding
}

// expectGatewayCondition is expectCondition for a KongGateway.
func (env *testEnv) expectGatewayCondition(gw *v1alpha1.KongGateway, want conditionMatch) *v1alpha1.KongGateway {
	GinkgoHelper()
	env.expectConditionOf(gw, func() []metav1.Condition { return gw.Status.Conditions }, want)
	return gw
}

func (env *testEnv) expectConditionOf(object client.Object, conditions func() []metav1.Condition, want conditionMatch) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		env.reload(g, object)
		want.matches(g, conditions(), object.GetGeneration())
	}).Should(Succeed())
	Eventually(env.eventReasons).WithArguments(object).Should(ContainElement(want.reason))
	printCondition(fmt.Sprintf("%T", object), conditions())
}

// printCondition prints the summary that kubectl describe shows.
func printCondition(kind string, conditions []metav1.Condition) {
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	_, _ = fmt.Fprintf(GinkgoWriter, "READS %s | %s | Ready=%s | %s | %s\n",
		CurrentSpecReport().LeafNodeText, kind, ready.Status, ready.Reason, ready.Message)
}

// expectNoStatusWrite requests some reconciles. None of them may write the status.
func (env *testEnv) expectNoStatusWrite(binding *v1alpha1.PluginBinding) {
	GinkgoHelper()
	env.reload(Default, binding)
	before := binding.Status.DeepCopy()
	for range 2 {
		before := reconciles("pluginbinding")
		env.requestReconcile(binding)
		version := binding.ResourceVersion
		Eventually(reconciles).WithArguments("pluginbinding").Should(BeNumerically(">", before))
		Consistently(func(g Gomega) {
			env.reload(g, binding)
			g.Expect(binding.ResourceVersion).To(Equal(version), "the status was written")
		}, "250ms").Should(Succeed())
	}
	Expect(binding.Status).To(Equal(*before))
}

// expectNoGatewayStatusWrite waits for two further reconciles of a gateway. They must not write
// its status, nor follow each other immediately.
func (env *testEnv) expectNoGatewayStatusWrite(gw *v1alpha1.KongGateway) {
	GinkgoHelper()
	// The gateway counts its bindings within a second.
	Eventually(func(g Gomega) {
		env.reload(g, gw)
		g.Expect(gw.Status.Bindings.Total).To(BeEquivalentTo(1))
	}).Should(Succeed())
	version, before := gw.ResourceVersion, reconciles("konggateway")
	Consistently(reconciles, "300ms").WithArguments("konggateway").Should(BeNumerically("<", before+10), "it runs in circles")
	// The pause between two probes of a gateway that cannot be used grows to more than patience.
	Eventually(reconciles, 2*patience).WithArguments("konggateway").Should(BeNumerically(">", before+1))
	env.reload(Default, gw)
	Expect(gw.ResourceVersion).To(Equal(version), "the status was written")
}

// reconciles returns how often a controller has reconciled. Specs run one after another, so the
// counter is the current operator's.
func reconciles(controller string) float64 {
	families, err := metrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	var sum float64
	for _, family := range families {
		if family.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "controller" && label.GetValue() == controller {
					sum += metric.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

// kongState returns everything that Kong holds, as text.
func (env *testEnv) kongState() string {
	GinkgoHelper()
	text, err := json.MarshalIndent(map[string]any{
		"services": env.kong.Entities("services"), "routes": env.kong.Entities("routes"),
		"consumers": env.kong.Entities("consumers"), "plugins": env.kong.Entities("plugins"),
	}, "", " ")
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// readyAfterProbe is waitUntilReady for a change that only the next probe of the gateway
// notices.
func (env *testEnv) readyAfterProbe(binding *v1alpha1.PluginBinding) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		env.reload(g, binding)
		ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
		g.Expect(ready.Reason).To(Equal(v1alpha1.ReasonReady), "%s", ready.Message)
		g.Expect(ready.ObservedGeneration).To(Equal(binding.Generation))
	}, 3*patience).Should(Succeed())
}

// snapshotKong returns a check that Kong still holds exactly what it holds now, and that no
// write was committed in between.
func (env *testEnv) snapshotKong() (check func()) {
	GinkgoHelper()
	rows, mark := env.kongState(), env.kong.Journal().Mark()
	return func() {
		GinkgoHelper()
		Expect(env.kongState()).To(Equal(rows))
		Expect(env.kong.Journal().Since(mark).Writes()).To(BeEmpty())
	}
}

// captureLog captures the operator's log from now on.
func captureLog() *gbytes.Buffer {
	logged := gbytes.NewBuffer()
	GinkgoWriter.TeeTo(logged)
	DeferCleanup(GinkgoWriter.ClearTeeWriters)
	return logged
}

// captureOutput captures the operator's log from now on. It returns a check that no secret is
// in the log, a status, an event or a metric.
func (env *testEnv) captureOutput() (expectHidden func(secrets ...string)) {
	logged := captureLog()
	return func(secrets ...string) {
		GinkgoHelper()
		places := map[string]string{"log": string(logged.Contents()), "metrics": env.metricsText()}
		for _, list := range []client.ObjectList{&v1alpha1.PluginBindingList{}, &v1alpha1.KongGatewayList{}, &eventsv1.EventList{}} {
			for _, namespace := range env.namespaces {
				Expect(k8s.List(env.ctx, list, client.InNamespace(namespace))).To(Succeed())
				text, err := json.Marshal(list)
				Expect(err).NotTo(HaveOccurred())
				places[fmt.Sprintf("%T in %s", list, namespace)] = string(text)
			}
		}
		for place, text := range places {
			for _, secret := range secrets {
				Expect(strings.Contains(text, secret)).To(BeFalse(), "%s shows the secret", place)
			}
		}
	}
}

// metricsText returns the operator's metrics as text.
func (env *testEnv) metricsText() string {
	GinkgoHelper()
	families, err := env.operator.registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	var text strings.Builder
	for _, family := range families {
		text.WriteString(family.String())
	}
	return text.String()
}

// secret creates a Secret.
func (env *testEnv) secret(name string, data map[string]string) *corev1.Secret {
	GinkgoHelper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: name}, StringData: data}
	env.create(secret)
	return secret
}

// setSecretKey changes one key of a Secret.
func (env *testEnv) setSecretKey(secret *corev1.Secret, key, value string) {
	GinkgoHelper()
	change(env, secret, func(object *corev1.Secret) {
		if object.Data == nil {
			object.Data = map[string][]byte{}
		}
		object.Data[key] = []byte(value)
	})
}
