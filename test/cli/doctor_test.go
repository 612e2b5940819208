package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// finding is what the doctor says about one thing.
type finding struct{ Kind, Severity, Gateway, Object, Message, Next string }

// doctor runs the command, and checks that it wrote nothing to Kong.
func (env *testEnv) doctor(args ...string) (findings []finding, code int) {
	GinkgoHelper()
	mark := env.kong.Journal().Mark()
	out := env.run(append([]string{"doctor", "-n", env.namespace, "-o", "json"}, args...)...)
	Expect(env.kong.Journal().Since(mark).Changes).To(BeEmpty(), "the doctor wrote to Kong")
	var result struct{ Findings []finding }
	Expect(json.Unmarshal([]byte(out.stdout), &result)).To(Succeed(), "%d %s %s", out.code, out.stdout, out.stderr)
	// Other specs have ingress controllers of their own, whose events are of no namespace.
	findings = slices.DeleteFunc(result.Findings, func(f finding) bool {
		return f.Kind == "IngressControllerStuck" && !strings.Contains(f.Object, env.namespace)
	})
	return findings, out.code
}

// event writes an event about an object of the namespace.
func (env *testEnv) event(reason, kind, name string, count int32) {
	GinkgoHelper()
	env.create(&corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: env.namespace, GenerateName: "event-"},
		InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: env.namespace, Name: name},
		Reason:         reason, Message: "about " + name, Type: corev1.EventTypeWarning, Count: count,
		FirstTimestamp: metav1.Now(), LastTimestamp: metav1.Now(),
	})
}

// lease writes the Lease of an operator that renewed it at a time. It holds for longer than a spec takes.
func (env *testEnv) lease(renewed time.Time) {
	GinkgoHelper()
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: "operator", Labels: map[string]string{"kong.pluginbinding.io/watches": "all"}},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To("pod-1"), LeaseDurationSeconds: ptr.To[int32](600), RenewTime: ptr.To(metav1.NewMicroTime(renewed)),
		},
	}
	env.create(lease)
	DeferCleanup(func() { Expect(k8s.Delete(env.ctx, lease)).To(Succeed()) })
}

func describeFindings(findings []finding) string {
	var lines []string
	for _, f := range findings {
		lines = append(lines, f.Kind+" "+f.Object+": "+f.Message)
	}
	return strings.Join(lines, "\n")
}

func paused(b *v1alpha1.PluginBinding) {
	b.Annotations = map[string]string{v1alpha1.PausedAnnotation: "true"}
}

var _ = Describe("doctor", func() {
	It("finds nothing where nothing is wrong", func() {
		env := newTestEnv()
		env.lease(time.Now())
		binding := env.binding("limit")
		env.apply(binding)
		env.ready(binding, metav1.ConditionTrue)
		findings, code := env.doctor()
		Expect(findings).To(BeEmpty())
		Expect(code).To(BeZero())
		Expect(env.run("doctor", "-n", env.namespace).stdout).To(Equal("Nothing is wrong.\n"))
	})

	It("believes a recent status where an operator without leader election has no Lease", func() {
		env := newTestEnv()
		binding := env.binding("limit")
		env.apply(binding)
		env.ready(binding, metav1.ConditionTrue)
		findings, code := env.doctor()
		Expect(findings).To(BeEmpty(), describeFindings(findings))
		Expect(code).To(BeZero())
	})

	It("finds ten planted faults, and names ten next steps", func() {
		env := newTestEnv()
		limit := env.binding("limit")
		env.apply(limit)
		env.ready(limit, metav1.ConditionTrue)

		orders := env.kong.Entity("services", "orders")["id"]
		minute := map[string]any{"minute": 5}
		// 1: a restore has lost the unique index.
		env.kong.SeedDuplicate(map[string]any{"name": "rate-limiting", "service": map[string]any{"id": orders}, "config": minute})
		// 2: Kong's ingress controller cannot sync.
		env.event("KongConfigurationTranslationFailed", "Ingress", "web", 4)
		// 3: a plugin of a binding that does not exist.
		orphan := env.kong.Seed("plugins", map[string]any{"name": "cors", "tags": identity.Binding{Cluster: clusterID, Namespace: env.namespace, Name: "gone", UID: "u"}.OwnershipTags()})
		// 4: a binding wants the place of a plugin that is not its own.
		env.kong.Seed("plugins", map[string]any{"name": "key-auth", "service": map[string]any{"name": "users"}, "tags": []string{"managed-by:gitops"}})
		conflict := env.binding("guard", func(b *v1alpha1.PluginBinding) {
			b.Spec.Plugin, b.Spec.Config = "key-auth", nil
			b.Spec.Scope = &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "users"}}
		})
		// 5: a plugin that Kong never runs.
		ineffective := env.binding("never", func(b *v1alpha1.PluginBinding) {
			b.Spec.Scope = &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "users"}, Route: &v1alpha1.EntityRef{Name: "orders-v1"}}
		})
		// 6: a gateway that leads nowhere, so that nobody can look into its Kong either.
		nowhere := env.gateway("nowhere")
		nowhere.Spec.AdminURL = "http://127.0.0.1:1"
		// 7: a policy that selects nothing.
		policy := &v1alpha1.PluginPolicy{
			TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PluginPolicy"},
			ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: "nothing"},
			Spec: v1alpha1.PluginPolicySpec{
				GatewayRef: v1alpha1.GatewayRef{Name: "kong"}, EntitySelector: &v1alpha1.EntitySelector{Kind: v1alpha1.SelectRoutes, Tags: []v1alpha1.SelectedTag{"none"}},
				Template: v1alpha1.PluginBindingTemplate{Spec: v1alpha1.PluginTemplateSpec{Plugin: "cors"}},
			},
		}
		env.apply(conflict, ineffective, nowhere, policy)
		env.ready(conflict, metav1.ConditionFalse)
		env.ready(ineffective, metav1.ConditionTrue)
		// 8: somebody deleted the plugin of a binding that is paused, which is also 9: it has been paused for long.
		still := env.binding("still", func(b *v1alpha1.PluginBinding) { b.Spec.Plugin, b.Spec.Config = "bot-detection", nil })
		env.apply(still)
		env.ready(still, metav1.ConditionTrue)
		base := still.DeepCopy()
		paused(still)
		Expect(k8s.Patch(env.ctx, still, client.MergeFrom(base))).To(Succeed())
		env.ready(still, metav1.ConditionUnknown) // the operator has seen the pause, and does not restore the plugin
		env.kong.DeletePlugin(string(still.Status.PluginID))
		// 10: no operator leads.
		env.lease(time.Now().Add(-time.Hour))
		// 11: somebody changes a plugin again and again.
		env.event("DriftCorrected", "PluginBinding", "limit", 5)

		var findings []finding
		code := 0
		Eventually(func(g Gomega) {
			findings, code = env.doctor("--paused-for", "1ms")
			g.Expect(findings).To(HaveLen(12))
		}).Should(Succeed(), func() string { return describeFindings(findings) })
		Expect(code).To(Equal(1))

		want := map[string]string{
			"DuplicatePlugin":        "plugin " + string(limit.Status.PluginID),
			"IngressControllerStuck": "Ingress " + env.namespace + "/web",
			"OrphanedPlugin":         fmt.Sprint("plugin ", orphan["id"]),
			"Conflict":               "PluginBinding " + env.namespace + "/guard",
			"Ineffective":            "PluginBinding " + env.namespace + "/never",
			"GatewayNotReady":        "KongGateway " + env.namespace + "/nowhere",
			"CouldNotLook":           "the Kong of KongGateway " + env.namespace + "/nowhere",
			"PolicyWithoutEntities":  "PluginPolicy " + env.namespace + "/nothing",
			"PluginMissing":          "PluginBinding " + env.namespace + "/still",
			"PausedLong":             "PluginBinding " + env.namespace + "/still",
			"OperatorNotRunning":     "Lease " + env.namespace + "/operator",
			"RepeatedDrift":          "PluginBinding " + env.namespace + "/limit",
		}
		steps := map[string]bool{}
		for _, found := range findings {
			Expect(want).To(HaveKeyWithValue(found.Kind, found.Object))
			delete(want, found.Kind)
			Expect(found.Next).NotTo(BeEmpty())
			steps[found.Next] = true
		}
		Expect(want).To(BeEmpty())
		Expect(steps).To(HaveLen(12), "each has a next step of its own")

		// For people: the titles, and each next step below its finding.
		out := env.run("doctor", "-n", env.namespace, "--paused-for", "1ms")
		Expect(out.code).To(Equal(1))
		Expect(strings.Count(out.stdout, "    Next: ")).To(BeNumerically(">=", 12))
		Expect(out.stdout).To(ContainSubstring("Plugins that exist twice (DuplicatePlugin, 1)\n  Error: plugin " + string(limit.Status.PluginID)))

		// Only the worst.
		findings, _ = env.doctor("--paused-for", "1ms", "--min-severity", "Error")
		Expect(findings).To(HaveEach(HaveField("Severity", "Error")))
		Expect(k8s.Delete(env.ctx, &v1alpha1.KongGateway{ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: "nowhere"}})).To(Succeed())
	})
})
