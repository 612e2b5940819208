package integration

import (
	"encoding/json"
	"maps"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
)

// seedUnowned creates a plugin on the service orders without ownership tags, as a person with
// curl would. fields replaces its defaults: rate-limiting with 100 requests a minute.
func (env *testEnv) seedUnowned(fields map[string]any) map[string]any {
	body := map[string]any{
		"name": "rate-limiting", "service": map[string]any{"name": "orders"},
		"config": map[string]any{"minute": 100, "policy": "local"},
	}
	maps.Copy(body, fields)
	return env.kong.Seed("plugins", body)
}

// perMinute returns the fields of a rate-limiting plugin with that limit, for seedUnowned.
func perMinute(minute int, tags ...any) map[string]any {
	fields := map[string]any{"config": map[string]any{"minute": minute, "policy": "local"}}
	if len(tags) > 0 {
		fields["tags"] = tags
	}
	return fields
}

// pluginsJSON returns all plugins as JSON.
func (env *testEnv) pluginsJSON() string {
	GinkgoHelper()
	rows, err := json.Marshal(env.kong.Plugins())
	Expect(err).NotTo(HaveOccurred())
	return string(rows)
}

var _ = Describe("A plugin that is already there", func() {
	It("is adopted under IfIdentical when traffic does not change", func() {
		env := newTestEnv()
		row := env.seedUnowned(perMinute(5))
		binding := env.createReady(env.binding("limit"))
		Expect(binding.Status.PluginID).To(BeEquivalentTo(row["id"]))
		Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDAdopted))
		Expect(env.kong.Journal().Count("POST", "/plugins")).To(BeZero())
		Expect(env.ownedPlugins(binding)).To(HaveLen(1))
		Expect(env.kongPlugin(binding)["created_at"]).To(Equal(row["created_at"]))
		Eventually(env.eventReasons).WithArguments(binding).Should(ContainElement("Adopted"))
	})

	It("is left alone under IfIdentical when it differs, and the condition says in what", func() {
		env := newTestEnv()
		row := env.seedUnowned(perMinute(500))
		before := env.pluginsJSON()
		binding := env.binding("limit")
		env.create(binding)
		env.waitForReady(binding, metav1.ConditionFalse, v1alpha1.ReasonConflict)
		Expect(binding.Status.Conflict.PluginID).To(BeEquivalentTo(row["id"]))
		Expect(readyMessage(binding)).To(And(ContainSubstring(row["id"].(string)), ContainSubstring("config.minute"), ContainSubstring("Override")))
		Expect(binding.Status.PluginID).To(BeEmpty())
		Expect(env.pluginsJSON()).To(Equal(before))
		Eventually(env.eventReasons).WithArguments(binding).Should(ContainElement("Conflict"))
	})

	It("is left alone under Never even if it is the same", func() {
		env := newTestEnv()
		env.seedUnowned(perMinute(5))
		before := env.pluginsJSON()
		binding := env.binding("limit", withAdoptionPolicy(v1alpha1.AdoptNever))
		env.create(binding)
		env.waitForReady(binding, metav1.ConditionFalse, v1alpha1.ReasonConflict)
		Expect(env.pluginsJSON()).To(Equal(before))
	})

	It("is adopted and made as declared under Override", func() {
		env := newTestEnv()
		row := env.seedUnowned(perMinute(500))
		binding := env.createReady(env.binding("limit", withAdoptionPolicy(v1alpha1.AdoptOverride)))
		Expect(binding.Status.PluginID).To(BeEquivalentTo(row["id"]))
		Expect(env.kongPlugin(binding)["config"]).To(HaveKeyWithValue("minute", BeEquivalentTo(5)))
		Expect(env.kong.Plugins()).To(HaveLen(1))
	})

	It("of the ingress controller is not taken, and the condition says how to hand it over", func() {
		env := newTestEnv()
		env.seedUnowned(perMinute(5, "managed-by-ingress-controller"))
		before := env.pluginsJSON()
		binding := env.binding("limit")
		env.create(binding)
		env.waitForReady(binding, metav1.ConditionFalse, v1alpha1.ReasonConflict)
		Expect(readyMessage(binding)).To(And(ContainSubstring("Ingress Controller"), ContainSubstring("KongPlugin")))
		Expect(env.pluginsJSON()).To(Equal(before))
	})

	It("of another tool is taken over under Override", func() {
		env := newTestEnv()
		row := env.seedUnowned(perMinute(5, "managed-by:terraform"))
		binding := env.createReady(env.binding("limit", withAdoptionPolicy(v1alpha1.AdoptOverride)))
		Expect(binding.Status.PluginID).To(BeEquivalentTo(row["id"]))
		Expect(stringsOf(env.kongPlugin(binding)["tags"])).NotTo(ContainElement("managed-by:terraform"))
		Eventually(env.eventNotes).WithArguments(binding, "Adopted").Should(ConsistOf(ContainSubstring("over from the tool terraform")))
	})

	It("is imported by its ID", func() {
		env := newTestEnv()
		row := env.kong.Seed("plugins", map[string]any{"name": "rate-limiting", "config": map[string]any{"hour": 9}})
		binding := env.createReady(env.binding("limit", func(b *v1alpha1.PluginBinding) {
			b.Spec.PluginID = v1alpha1.UUID(row["id"].(string))
		}))
		Expect(binding.Status.PluginID).To(BeEquivalentTo(row["id"]))
		Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDAdopted))
		Expect(idIn(env.kongPlugin(binding), "service")).NotTo(BeNil(), "and brought in line")
		Expect(env.kong.Plugins()).To(HaveLen(1))
	})
})

func readyMessage(binding *v1alpha1.PluginBinding) string {
	if condition := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady); condition != nil {
		return condition.Message
	}
	return ""
}

var _ = Describe("Deleting a binding", func() {
	It("with deletionPolicy Orphan leaves the plugin in Kong without the operator's marks", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit", func(b *v1alpha1.PluginBinding) {
			b.Spec.DeletionPolicy, b.Spec.Tags = v1alpha1.OrphanPlugin, []v1alpha1.Tag{"team:orders"}
		}))
		id := string(binding.Status.PluginID)
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		row := env.kong.Plugin(id)
		Expect(row).NotTo(BeNil())
		Expect(stringsOf(row["tags"])).To(ConsistOf("team:orders"))
		Expect(row["instance_name"]).To(BeNil())
		Expect(row["config"]).To(HaveKeyWithValue("minute", BeEquivalentTo(5)))
		Eventually(env.eventNotes).WithArguments(binding, "Orphaned").Should(ConsistOf(ContainSubstring(id)))
	})

	It("removes a plugin whose ID never reached the status", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		env.stopOperator()
		// A restored backup: the same object without its status, and with another UID.
		env.forceDelete(binding)
		restored := env.binding("limit", func(b *v1alpha1.PluginBinding) { b.Finalizers = []string{v1alpha1.PluginFinalizer} })
		env.create(restored)
		Expect(k8s.Delete(env.ctx, restored)).To(Succeed())
		env.startOperator()
		Eventually(env.kong.Plugins, "30s").Should(BeEmpty())
		env.waitUntilGone(restored)
	})

	It("removes a second plugin with its marks as well, and ends only when a look finds none", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		tags := env.kong.Plugin(string(env.waitUntilReady(binding).Status.PluginID))["tags"]
		env.kong.Seed("plugins", map[string]any{"name": "cors", "tags": tags})
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		Expect(env.kong.Plugins()).To(BeEmpty())
	})

	It("does not touch a plugin that is not its own", func() {
		env := newTestEnv()
		env.seedUnowned(perMinute(500))
		before := env.pluginsJSON()
		binding := env.binding("limit")
		env.create(binding)
		env.waitForReady(binding, metav1.ConditionFalse, v1alpha1.ReasonConflict)
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		Expect(env.pluginsJSON()).To(Equal(before))
	})

	It("waits while the binding is paused", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		change(env, binding, func(b *v1alpha1.PluginBinding) {
			metav1.SetMetaDataAnnotation(&b.ObjectMeta, v1alpha1.PausedAnnotation, "true")
		})
		env.waitForReady(binding, metav1.ConditionUnknown, v1alpha1.ReasonPaused)
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		Consistently(env.kong.Plugins, "500ms").Should(HaveLen(1))
		change(env, binding, func(b *v1alpha1.PluginBinding) { delete(b.Annotations, v1alpha1.PausedAnnotation) })
		env.waitUntilGone(binding)
		Expect(env.kong.Plugins()).To(BeEmpty())
	})
})

var _ = Describe("managementPolicy Observe", func() {
	It("writes nothing to Kong and says what would be done", func() {
		env := newTestEnv()
		binding := env.binding("limit", func(b *v1alpha1.PluginBinding) { b.Spec.ManagementPolicy = v1alpha1.ObservePlugin })
		env.create(binding)
		env.waitForReady(binding, metav1.ConditionFalse, v1alpha1.ReasonWouldChange)
		Expect(readyMessage(binding)).To(ContainSubstring("would create the plugin"))
		Expect(env.kong.Plugins()).To(BeEmpty())

		change(env, binding, func(b *v1alpha1.PluginBinding) { b.Spec.ManagementPolicy = v1alpha1.ManagePlugin })
		env.waitUntilReady(binding)
		change(env, binding, func(b *v1alpha1.PluginBinding) {
			b.Spec.ManagementPolicy, b.Spec.Config = v1alpha1.ObservePlugin, jsonOf(`{"minute": 6, "policy": "local"}`)
		})
		env.waitForReady(binding, metav1.ConditionFalse, v1alpha1.ReasonWouldChange)
		Expect(readyMessage(binding)).To(And(ContainSubstring("write plugin"), ContainSubstring("config.minute")))
		Expect(env.kongPlugin(binding)["config"]).To(HaveKeyWithValue("minute", BeEquivalentTo(5)))

		By("deleting the binding without deleting the plugin")
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		Expect(env.kong.Plugins()).To(HaveLen(1))
	})
})

var _ = Describe("What a binding declares", func() {
	It("reaches Kong: instance name, tags, protocols, enabled", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit", func(b *v1alpha1.PluginBinding) {
			b.Spec.InstanceName = "orders-limit"
			b.Spec.Tags = []v1alpha1.Tag{"team:orders"}
			b.Spec.Protocols = []v1alpha1.Protocol{"https"}
			b.Spec.Enabled = ptr.To(false)
		}))
		row := env.kongPlugin(binding)
		Expect(row).To(HaveKeyWithValue("instance_name", "orders-limit"))
		Expect(row).To(HaveKeyWithValue("enabled", false))
		Expect(stringsOf(row["protocols"])).To(ConsistOf("https"))
		Expect(stringsOf(row["tags"])).To(ContainElements("team:orders", "managed-by:plugin-binding-operator",
			"k8s-cluster:"+clusterID, "k8s-namespace:"+env.namespace, "k8s-name:limit", "k8s-uid:"+string(binding.UID)))

		By("renaming it under the same ID")
		change(env, binding, func(b *v1alpha1.PluginBinding) { b.Spec.InstanceName, b.Spec.Enabled = "", nil })
		env.waitUntilReady(binding)
		Expect(env.kongPlugin(binding)).To(HaveKeyWithValue("instance_name", clusterID+"."+env.namespace+".limit"))
		Expect(env.kongPlugin(binding)).To(HaveKeyWithValue("enabled", true))
		Expect(env.kong.Plugins()).To(HaveLen(1))
	})

	It("reaches Kong from a Secret, and again when the Secret changes, without touching the binding", func() {
		env := newTestEnv()
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: "redis"},
			StringData: map[string]string{"password": "12345", "port": "6380"},
		}
		env.create(secret)
		binding := env.createReady(env.binding("limit", func(b *v1alpha1.PluginBinding) {
			b.Spec.Config = jsonOf(`{"minute": 5, "policy": "redis", "redis": {"host": "redis.orders"}}`)
			b.Spec.ConfigPatches = []v1alpha1.ConfigPatch{
				{Path: "/redis/password", ValueFrom: v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: "redis", Key: "password"}}},
				{Path: "/redis/port", Format: v1alpha1.FormatJSON, ValueFrom: v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: "redis", Key: "port"}}},
			}
		}))
		redis := func() any { return env.kongPlugin(binding)["config"].(map[string]any)["redis"] }
		Expect(redis()).To(And(HaveKeyWithValue("password", "12345"), HaveKeyWithValue("port", BeEquivalentTo(6380))))

		generation := binding.Generation
		change(env, secret, func(o *corev1.Secret) {
			o.Data = map[string][]byte{"password": []byte("67890"), "port": []byte("6380")}
		})
		Eventually(redis).Should(HaveKeyWithValue("password", "67890"))
		env.waitUntilReady(binding)
		Expect(binding.Generation).To(Equal(generation))
		Expect(binding.Status.LastDrift).To(BeNil(), "a rotated Secret is not drift")
		Eventually(env.eventNotes).WithArguments(binding, "Updated").Should(ConsistOf(ContainSubstring("config.redis.password")))
	})

	It("reaches Kong from a ConfigMap and as a composed value, and again when the ConfigMap changes", func() {
		env := newTestEnv()
		env.secret("collector", map[string]string{"token": "planted-t0ken"})
		binding := env.binding("log", withPlugin("http-log", ""), func(b *v1alpha1.PluginBinding) {
			b.Spec.ConfigFrom = &v1alpha1.ConfigSource{ConfigMapKeyRef: v1alpha1.ConfigMapKeyRef{Name: "log", Key: "config.yaml"}}
			b.Spec.ConfigPatches = []v1alpha1.ConfigPatch{{Path: "/headers/Authorization", Prefix: "Bearer ", ValueFrom: fromSecret("collector", "token")}}
		})
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonConfigMapNotFound, contains: []string{"ConfigMap log does not exist"},
		})
		configMap := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: "log"},
			Data:       map[string]string{"config.yaml": "http_endpoint: http://collector:8080/one\n"},
		}
		env.create(configMap)
		env.waitUntilReady(binding)
		config := func() any { return env.kongPlugin(binding)["config"] }
		Expect(config()).To(And(HaveKeyWithValue("http_endpoint", "http://collector:8080/one"),
			HaveKeyWithValue("headers", HaveKeyWithValue("Authorization", "Bearer planted-t0ken"))))

		change(env, configMap, func(o *corev1.ConfigMap) { o.Data["config.yaml"] = "http_endpoint: http://collector:8080/two\n" })
		Eventually(config).Should(HaveKeyWithValue("http_endpoint", "http://collector:8080/two"))
		env.waitUntilReady(binding)
		Expect(binding.Status.LastDrift).To(BeNil(), "a changed ConfigMap is not drift")

		By("showing what Kong says about a value of the ConfigMap")
		change(env, configMap, func(o *corev1.ConfigMap) { o.Data["config.yaml"] = "http_endpoint: not-a-url\n" })
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected, contains: []string{"config.http_endpoint"},
		})
	})

	It("reaches Kong as a whole config from a Secret in YAML", func() {
		env := newTestEnv()
		env.create(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: "limits"},
			StringData: map[string]string{"config.yaml": "minute: 7\npolicy: local\n"},
		})
		binding := env.createReady(env.binding("limit", func(b *v1alpha1.PluginBinding) {
			b.Spec.Config = nil
			b.Spec.ConfigFrom = &v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: "limits", Key: "config.yaml"}}
		}))
		Expect(env.kongPlugin(binding)["config"]).To(HaveKeyWithValue("minute", BeEquivalentTo(7)))
	})
})

var _ = Describe("Events", func() {
	It("are not made for passes in which nothing happened", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		Eventually(env.eventReasons).WithArguments(binding).Should(ConsistOf("Created"))
		for range 3 {
			env.requestReconcile(binding)
		}
		Consistently(env.eventReasons, "500ms").WithArguments(binding).Should(ConsistOf("Created"))
	})
})

var _ = Describe("A gateway", func() {
	It("that bindings refer to is not deleted before them", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		gw := env.gateway("kong")
		Expect(k8s.Delete(env.ctx, gw)).To(Succeed())
		Eventually(func(g Gomega) {
			env.reload(g, gw)
			ready := meta.FindStatusCondition(gw.Status.Conditions, v1alpha1.ConditionReady)
			g.Expect(ready.Reason).To(Equal(v1alpha1.ReasonInUse))
			g.Expect(ready.Message).To(ContainSubstring("1 remain"))
		}).Should(Succeed())
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		env.waitUntilGone(gw)
		Expect(env.kong.Plugins()).To(BeEmpty())
	})

	It("that is truly gone lets its bindings end, and they say what was left", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		gw := env.gateway("kong")
		env.stopOperator()
		Expect(k8s.Get(env.ctx, keyOf(gw), gw)).To(Succeed())
		change(env, gw, func(o *v1alpha1.KongGateway) { controllerutil.RemoveFinalizer(o, v1alpha1.GatewayFinalizer) })
		Expect(k8s.Delete(env.ctx, gw)).To(Succeed())
		env.waitUntilGone(gw)
		env.startOperator()
		env.waitForReady(binding, metav1.ConditionFalse, v1alpha1.ReasonGatewayNotFound)
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		Eventually(env.eventReasons).WithArguments(binding).Should(ContainElement("PluginLeft"))
		Expect(env.kong.Plugins()).To(HaveLen(1))
	})

	It("says what it found, and how its bindings are", func() {
		env := newTestEnv()
		env.createReady(env.binding("limit"))
		gw := env.gateway("kong")
		Eventually(func(g Gomega) {
			env.reload(g, gw)
			g.Expect(gw.Status.Version).To(Equal("3.9.1"))
			g.Expect(gw.Status.Edition).To(Equal("community"))
			g.Expect(gw.Status.Database).To(Equal("postgres"))
			g.Expect(gw.Status.NodeID).NotTo(BeEmpty())
			g.Expect(gw.Status.Bindings).To(Equal(&v1alpha1.BindingCounts{Total: 1, Ready: 1}))
			g.Expect(gw.Status.LastResync).NotTo(BeNil())
		}, "30s").Should(Succeed())
	})

	It("reports plugins with this cluster's marks that belong to no binding", func() {
		env := newEnvWithoutOperator()
		env.kong.Seed("plugins", map[string]any{"name": "cors", "tags": []any{
			"managed-by:plugin-binding-operator", "k8s-cluster:" + clusterID, "k8s-kind:PluginBinding",
			"k8s-namespace:" + env.namespace, "k8s-name:never-was", "k8s-uid:0",
		}})
		env.startOperator()
		gw := env.gateway("kong")
		Eventually(func(g Gomega) {
			env.reload(g, gw)
			g.Expect(gw.Status.LastResync).NotTo(BeNil())
			g.Expect(gw.Status.LastResync.Orphaned).To(BeEquivalentTo(1))
		}).Should(Succeed())
		Eventually(env.eventReasons).WithArguments(gw).Should(ContainElement("OrphanedPlugins"))
		Expect(env.kong.Plugins()).To(HaveLen(1), "it is reported, not removed")
	})
})

// Nothing may happen because the clock jumps.
var _ = Describe("Time", func() {
	It("that jumps changes nothing in Kong", func() {
		env := newEnvWithoutOperator()
		clock := clocktesting.NewFakeClock(time.Now().Add(-48 * time.Hour))
		env.startOperator(func(o *controllers.Options) { o.Clock, o.LeadingSince = clock, clock.Now().Add(-time.Hour) })
		binding := env.createReady(env.binding("limit"))
		writes := len(env.kong.Journal().Writes())
		fakeClockEnv{env, clock}.resync(96 * time.Hour)
		for range 2 { // the first may be the end of an earlier reconcile
			before := reconciles("pluginbinding")
			env.requestReconcile(binding)
			Eventually(reconciles).WithArguments("pluginbinding").Should(BeNumerically(">", before))
		}
		env.waitUntilReady(binding)
		Expect(env.kong.Journal().Writes()).To(HaveLen(writes))
	})
})
