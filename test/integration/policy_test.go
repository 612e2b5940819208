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

// byHand makes a plugin on the service orders that carries no ownership tags, as a person with
// curl would. fields replaces its defaults: rate-limiting with 100 requests a minute.
func (s *story) byHand(fields map[string]any) map[string]any {
	body := map[string]any{
		"name": "rate-limiting", "service": map[string]any{"name": "orders"},
		"config": map[string]any{"minute": 100, "policy": "local"},
	}
	maps.Copy(body, fields)
	return s.kong.Seed("plugins", body)
}

// limitOf is what a rate-limiting plugin of so many requests a minute has beside the defaults.
func limitOf(minute int, tags ...any) map[string]any {
	fields := map[string]any{"config": map[string]any{"minute": minute, "policy": "local"}}
	if len(tags) > 0 {
		fields["tags"] = tags
	}
	return fields
}

// bytesOf is everything about every plugin, to compare byte for byte.
func (s *story) bytesOf() string {
	GinkgoHelper()
	rows, err := json.Marshal(s.kong.Plugins())
	Expect(err).NotTo(HaveOccurred())
	return string(rows)
}

var _ = Describe("A plugin that is already there", func() {
	It("is adopted under IfIdentical when traffic does not change", func() {
		s := newStory()
		row := s.byHand(limitOf(5))
		binding := s.created(s.binding("limit"))
		Expect(binding.Status.PluginID).To(BeEquivalentTo(row["id"]))
		Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDAdopted))
		Expect(s.kong.Journal().Count("POST", "/plugins")).To(BeZero())
		Expect(s.owned(binding)).To(HaveLen(1))
		Expect(s.pluginOf(binding)["created_at"]).To(Equal(row["created_at"]))
		Eventually(s.events).WithArguments(binding).Should(ContainElement("Adopted"))
	})

	It("is left alone under IfIdentical when it differs, and the condition says in what", func() {
		s := newStory()
		row := s.byHand(limitOf(500))
		before := s.bytesOf()
		binding := s.binding("limit")
		s.create(binding)
		s.becomes(binding, metav1.ConditionFalse, v1alpha1.ReasonConflict)
		Expect(binding.Status.Conflict.PluginID).To(BeEquivalentTo(row["id"]))
		Expect(readyMessage(binding)).To(And(ContainSubstring(row["id"].(string)), ContainSubstring("config.minute"), ContainSubstring("Override")))
		Expect(binding.Status.PluginID).To(BeEmpty())
		Expect(s.bytesOf()).To(Equal(before))
		Eventually(s.events).WithArguments(binding).Should(ContainElement("Conflict"))
	})

	It("is left alone under Never even if it is the same", func() {
		s := newStory()
		s.byHand(limitOf(5))
		before := s.bytesOf()
		binding := s.binding("limit", adopting(v1alpha1.AdoptNever))
		s.create(binding)
		s.becomes(binding, metav1.ConditionFalse, v1alpha1.ReasonConflict)
		Expect(s.bytesOf()).To(Equal(before))
	})

	It("is adopted and made as declared under Override", func() {
		s := newStory()
		row := s.byHand(limitOf(500))
		binding := s.created(s.binding("limit", adopting(v1alpha1.AdoptOverride)))
		Expect(binding.Status.PluginID).To(BeEquivalentTo(row["id"]))
		Expect(s.pluginOf(binding)["config"]).To(HaveKeyWithValue("minute", BeEquivalentTo(5)))
		Expect(s.kong.Plugins()).To(HaveLen(1))
	})

	It("of the ingress controller is not taken, and the condition says how to hand it over", func() {
		s := newStory()
		s.byHand(limitOf(5, "managed-by-ingress-controller"))
		before := s.bytesOf()
		binding := s.binding("limit")
		s.create(binding)
		s.becomes(binding, metav1.ConditionFalse, v1alpha1.ReasonConflict)
		Expect(readyMessage(binding)).To(And(ContainSubstring("Ingress Controller"), ContainSubstring("KongPlugin")))
		Expect(s.bytesOf()).To(Equal(before))
	})

	It("of another tool is taken over under Override", func() {
		s := newStory()
		row := s.byHand(limitOf(5, "managed-by:terraform"))
		binding := s.created(s.binding("limit", adopting(v1alpha1.AdoptOverride)))
		Expect(binding.Status.PluginID).To(BeEquivalentTo(row["id"]))
		Expect(stringsOf(s.pluginOf(binding)["tags"])).NotTo(ContainElement("managed-by:terraform"))
		Eventually(s.notes).WithArguments(binding, "Adopted").Should(ConsistOf(ContainSubstring("was taken over from")))
	})

	It("is imported by its ID", func() {
		s := newStory()
		row := s.kong.Seed("plugins", map[string]any{"name": "rate-limiting", "config": map[string]any{"hour": 9}})
		binding := s.created(s.binding("limit", func(b *v1alpha1.PluginBinding) {
			b.Spec.PluginID = v1alpha1.UUID(row["id"].(string))
		}))
		Expect(binding.Status.PluginID).To(BeEquivalentTo(row["id"]))
		Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDAdopted))
		Expect(idIn(s.pluginOf(binding), "service")).NotTo(BeNil(), "and brought in line")
		Expect(s.kong.Plugins()).To(HaveLen(1))
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
		s := newStory()
		binding := s.created(s.binding("limit", func(b *v1alpha1.PluginBinding) {
			b.Spec.DeletionPolicy, b.Spec.Tags = v1alpha1.OrphanPlugin, []v1alpha1.Tag{"team:orders"}
		}))
		id := string(binding.Status.PluginID)
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.gone(binding)
		row := s.kong.Plugin(id)
		Expect(row).NotTo(BeNil())
		Expect(stringsOf(row["tags"])).To(ConsistOf("team:orders"))
		Expect(row["instance_name"]).To(BeNil())
		Expect(row["config"]).To(HaveKeyWithValue("minute", BeEquivalentTo(5)))
		Eventually(s.notes).WithArguments(binding, "Orphaned").Should(ConsistOf(ContainSubstring(id)))
	})

	It("removes a plugin whose ID never reached the status", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		s.stopOperator()
		// A restored backup: the same object without its status, and with another UID.
		s.forceDelete(binding)
		restored := s.binding("limit", func(b *v1alpha1.PluginBinding) { b.Finalizers = []string{v1alpha1.PluginFinalizer} })
		s.create(restored)
		Expect(k8s.Delete(s.ctx, restored)).To(Succeed())
		s.startOperator()
		Eventually(s.kong.Plugins, "30s").Should(BeEmpty())
		s.gone(restored)
	})

	It("removes a second plugin with its marks as well, and ends only when a look finds none", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		marks := s.kong.Plugin(string(s.ready(binding).Status.PluginID))["tags"]
		s.kong.Seed("plugins", map[string]any{"name": "cors", "tags": marks})
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.gone(binding)
		Expect(s.kong.Plugins()).To(BeEmpty())
	})

	It("does not touch a plugin that is not its own", func() {
		s := newStory()
		s.byHand(limitOf(500))
		before := s.bytesOf()
		binding := s.binding("limit")
		s.create(binding)
		s.becomes(binding, metav1.ConditionFalse, v1alpha1.ReasonConflict)
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.gone(binding)
		Expect(s.bytesOf()).To(Equal(before))
	})

	It("waits while the binding is paused", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		change(s, binding, func(b *v1alpha1.PluginBinding) {
			metav1.SetMetaDataAnnotation(&b.ObjectMeta, v1alpha1.PausedAnnotation, "true")
		})
		s.becomes(binding, metav1.ConditionUnknown, v1alpha1.ReasonPaused)
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		Consistently(s.kong.Plugins, "500ms").Should(HaveLen(1))
		change(s, binding, func(b *v1alpha1.PluginBinding) { delete(b.Annotations, v1alpha1.PausedAnnotation) })
		s.gone(binding)
		Expect(s.kong.Plugins()).To(BeEmpty())
	})
})

var _ = Describe("managementPolicy Observe", func() {
	It("writes nothing to Kong and says what would be done", func() {
		s := newStory()
		binding := s.binding("limit", func(b *v1alpha1.PluginBinding) { b.Spec.ManagementPolicy = v1alpha1.ObservePlugin })
		s.create(binding)
		s.becomes(binding, metav1.ConditionFalse, v1alpha1.ReasonWouldChange)
		Expect(readyMessage(binding)).To(ContainSubstring("would create the plugin"))
		Expect(s.kong.Plugins()).To(BeEmpty())

		change(s, binding, func(b *v1alpha1.PluginBinding) { b.Spec.ManagementPolicy = v1alpha1.ManagePlugin })
		s.ready(binding)
		change(s, binding, func(b *v1alpha1.PluginBinding) {
			b.Spec.ManagementPolicy, b.Spec.Config = v1alpha1.ObservePlugin, jsonOf(`{"minute": 6, "policy": "local"}`)
		})
		s.becomes(binding, metav1.ConditionFalse, v1alpha1.ReasonWouldChange)
		Expect(readyMessage(binding)).To(And(ContainSubstring("write plugin"), ContainSubstring("config.minute")))
		Expect(s.pluginOf(binding)["config"]).To(HaveKeyWithValue("minute", BeEquivalentTo(5)))

		By("deleting the binding without deleting the plugin")
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.gone(binding)
		Expect(s.kong.Plugins()).To(HaveLen(1))
	})
})

var _ = Describe("What a binding declares", func() {
	It("reaches Kong: instance name, tags, protocols, enabled", func() {
		s := newStory()
		binding := s.created(s.binding("limit", func(b *v1alpha1.PluginBinding) {
			b.Spec.InstanceName = "orders-limit"
			b.Spec.Tags = []v1alpha1.Tag{"team:orders"}
			b.Spec.Protocols = []v1alpha1.Protocol{"https"}
			b.Spec.Enabled = ptr.To(false)
		}))
		row := s.pluginOf(binding)
		Expect(row).To(HaveKeyWithValue("instance_name", "orders-limit"))
		Expect(row).To(HaveKeyWithValue("enabled", false))
		Expect(stringsOf(row["protocols"])).To(ConsistOf("https"))
		Expect(stringsOf(row["tags"])).To(ContainElements("team:orders", "managed-by:plugin-binding-operator",
			"k8s-cluster:"+clusterID, "k8s-namespace:"+s.namespace, "k8s-name:limit", "k8s-uid:"+string(binding.UID)))

		By("renaming it under the same ID")
		change(s, binding, func(b *v1alpha1.PluginBinding) { b.Spec.InstanceName, b.Spec.Enabled = "", nil })
		s.ready(binding)
		Expect(s.pluginOf(binding)).To(HaveKeyWithValue("instance_name", clusterID+"."+s.namespace+".limit"))
		Expect(s.pluginOf(binding)).To(HaveKeyWithValue("enabled", true))
		Expect(s.kong.Plugins()).To(HaveLen(1))
	})

	It("reaches Kong from a Secret, and again when the Secret changes, without touching the binding", func() {
		s := newStory()
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "redis"},
			StringData: map[string]string{"password": "12345", "port": "6380"},
		}
		s.create(secret)
		binding := s.created(s.binding("limit", func(b *v1alpha1.PluginBinding) {
			b.Spec.Config = jsonOf(`{"minute": 5, "policy": "redis", "redis": {"host": "redis.orders"}}`)
			b.Spec.ConfigPatches = []v1alpha1.ConfigPatch{
				{Path: "/redis/password", ValueFrom: v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: "redis", Key: "password"}}},
				{Path: "/redis/port", Format: v1alpha1.FormatJSON, ValueFrom: v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: "redis", Key: "port"}}},
			}
		}))
		redis := func() any { return s.pluginOf(binding)["config"].(map[string]any)["redis"] }
		Expect(redis()).To(And(HaveKeyWithValue("password", "12345"), HaveKeyWithValue("port", BeEquivalentTo(6380))))

		generation := binding.Generation
		change(s, secret, func(o *corev1.Secret) {
			o.Data = map[string][]byte{"password": []byte("67890"), "port": []byte("6380")}
		})
		Eventually(redis).Should(HaveKeyWithValue("password", "67890"))
		s.ready(binding)
		Expect(binding.Generation).To(Equal(generation))
		Expect(binding.Status.LastDrift).To(BeNil(), "a rotated Secret is not drift")
		Eventually(s.notes).WithArguments(binding, "Updated").Should(ConsistOf(ContainSubstring("config.redis.password")))
	})

	It("reaches Kong as a whole config from a Secret in YAML", func() {
		s := newStory()
		s.create(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "limits"},
			StringData: map[string]string{"config.yaml": "minute: 7\npolicy: local\n"},
		})
		binding := s.created(s.binding("limit", func(b *v1alpha1.PluginBinding) {
			b.Spec.Config = nil
			b.Spec.ConfigFrom = &v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: "limits", Key: "config.yaml"}}
		}))
		Expect(s.pluginOf(binding)["config"]).To(HaveKeyWithValue("minute", BeEquivalentTo(7)))
	})
})

var _ = Describe("Drift", func() {
	It("is put right under the same ID, and its fields are named", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		s.kong.EditPlugin(string(binding.Status.PluginID), map[string]any{"enabled": false, "config": map[string]any{"minute": 9999}})
		s.look(binding)
		Eventually(func() any { return s.pluginOf(binding)["enabled"] }).Should(BeTrue())
		Eventually(func(g Gomega) {
			s.reload(g, binding)
			g.Expect(binding.Status.LastDrift).NotTo(BeNil())
			g.Expect(binding.Status.LastDrift.Fields).To(ConsistOf("config.minute", "enabled"))
		}).Should(Succeed())
		Eventually(s.events).WithArguments(binding).Should(ContainElement("DriftCorrected"))
	})

	It("is not what was declared during a pause", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		change(s, binding, pausing)
		s.becomes(binding, metav1.ConditionUnknown, v1alpha1.ReasonPaused)
		change(s, binding, func(b *v1alpha1.PluginBinding) { b.Spec.Enabled = ptr.To(false) })
		Eventually(func(g Gomega) {
			s.reload(g, binding)
			g.Expect(binding.Status.ObservedGeneration).To(Equal(binding.Generation))
		}).Should(Succeed())
		change(s, binding, func(b *v1alpha1.PluginBinding) { delete(b.Annotations, v1alpha1.PausedAnnotation) })
		s.ready(binding)
		Expect(s.pluginOf(binding)).To(HaveKeyWithValue("enabled", false))
		Eventually(s.events).WithArguments(binding).Should(And(ContainElement("Updated"), Not(ContainElement("DriftCorrected"))))
		Expect(binding.Status.LastDrift).To(BeNil())
	})

	It("is also a plugin that somebody moved to another scope", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		id := string(binding.Status.PluginID)
		s.kong.EditPlugin(id, map[string]any{"service": nil, "consumer": map[string]any{"id": string(s.idOf("consumers", "alice"))}})
		s.look(binding)
		Eventually(s.kong.Plugin).WithArguments(id).Should(HaveKeyWithValue("service", HaveKeyWithValue("id", BeEquivalentTo(s.idOf("services", "orders")))))
		Eventually(func(g Gomega) {
			s.reload(g, binding)
			g.Expect(binding.Status.LastDrift).NotTo(BeNil())
			g.Expect(binding.Status.LastDrift.Fields).To(ConsistOf("scope.consumer", "scope.service"))
		}).Should(Succeed())
		Eventually(s.events).WithArguments(binding).Should(And(ContainElement("DriftCorrected"), Not(ContainElement("Moved"))))
		Expect(s.metric("kong_operator_drift_total", "gateway", s.namespace+"/kong")).To(BeEquivalentTo(1))
	})

	It("is found by the sweep without anybody's asking", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		s.kong.EditPlugin(string(binding.Status.PluginID), map[string]any{"enabled": false})
		Eventually(func() any { return s.pluginOf(binding)["enabled"] }, "30s").Should(BeTrue())
	})

	It("of the marks is put right: the plugin is known by its ID", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		s.kong.EditPlugin(string(binding.Status.PluginID), map[string]any{"tags": []any{}, "instance_name": "mine-now"})
		s.look(binding)
		Eventually(func() []map[string]any { return s.owned(binding) }).Should(HaveLen(1))
		Expect(s.pluginOf(binding)).To(HaveKeyWithValue("instance_name", clusterID+"."+s.namespace+".limit"))
	})

	It("that Kong makes itself of a declaration is written once, and not for ever", func() {
		s := newQuietStory()
		s.startOperator(newOddDialer)
		binding := s.created(s.binding("limit"))
		Expect(s.pluginOf(binding)["config"]).To(HaveKeyWithValue("minute", BeEquivalentTo(6)))
		Expect(binding.Status.AcceptedDifferences).NotTo(BeNil())
		Expect(binding.Status.AcceptedDifferences.Fields).To(ConsistOf("config.minute"))
		Expect(readyMessage(binding)).To(ContainSubstring("config.minute"))

		By("staying quiet, over a restart too")
		s.stopOperator()
		mark := s.kong.Journal().Mark()
		s.startOperator(newOddDialer)
		for range 3 {
			s.look(binding)
		}
		Eventually(func() int { return len(s.kong.Journal().Since(mark).Requests) }).Should(BeNumerically(">", 5))
		Consistently(func() int { return len(s.kong.Journal().Since(mark).Writes()) }, "500ms").Should(BeZero())

		By("putting right what somebody changes by hand")
		s.kong.EditPlugin(string(binding.Status.PluginID), map[string]any{"config": map[string]any{"hour": 77}})
		s.look(binding)
		Eventually(func() any { return s.pluginOf(binding)["config"] }).Should(HaveKeyWithValue("hour", BeNil()))

		By("writing when the declaration changes")
		change(s, binding, func(b *v1alpha1.PluginBinding) { b.Spec.Config = jsonOf(`{"minute": 8, "policy": "local"}`) })
		Eventually(func() any { return s.pluginOf(binding)["config"] }).Should(HaveKeyWithValue("minute", BeEquivalentTo(9)))
	})
})

var _ = Describe("Events", func() {
	It("are not made for passes in which nothing happened", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		Eventually(s.events).WithArguments(binding).Should(ConsistOf("Created"))
		for range 3 {
			s.look(binding)
		}
		Consistently(s.events, "500ms").WithArguments(binding).Should(ConsistOf("Created"))
	})
})

var _ = Describe("A gateway", func() {
	It("that bindings refer to is not deleted before them", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		gw := s.gateway("kong")
		Expect(k8s.Delete(s.ctx, gw)).To(Succeed())
		Eventually(func(g Gomega) {
			s.reload(g, gw)
			ready := meta.FindStatusCondition(gw.Status.Conditions, v1alpha1.ConditionReady)
			g.Expect(ready.Reason).To(Equal(v1alpha1.ReasonInUse))
			g.Expect(ready.Message).To(ContainSubstring("1 left"))
		}).Should(Succeed())
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.gone(binding)
		s.gone(gw)
		Expect(s.kong.Plugins()).To(BeEmpty())
	})

	It("that is truly gone lets its bindings end, and they say what was left", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		gw := s.gateway("kong")
		s.stopOperator()
		Expect(k8s.Get(s.ctx, keyOf(gw), gw)).To(Succeed())
		change(s, gw, func(o *v1alpha1.KongGateway) { controllerutil.RemoveFinalizer(o, v1alpha1.GatewayFinalizer) })
		Expect(k8s.Delete(s.ctx, gw)).To(Succeed())
		s.gone(gw)
		s.startOperator()
		s.becomes(binding, metav1.ConditionFalse, v1alpha1.ReasonGatewayNotFound)
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.gone(binding)
		Eventually(s.events).WithArguments(binding).Should(ContainElement("PluginLeft"))
		Expect(s.kong.Plugins()).To(HaveLen(1))
	})

	It("says what it found, and how its bindings are", func() {
		s := newStory()
		s.created(s.binding("limit"))
		gw := s.gateway("kong")
		Eventually(func(g Gomega) {
			s.reload(g, gw)
			g.Expect(gw.Status.Version).To(Equal("3.9.1"))
			g.Expect(gw.Status.Edition).To(Equal("community"))
			g.Expect(gw.Status.Database).To(Equal("postgres"))
			g.Expect(gw.Status.NodeID).NotTo(BeEmpty())
			g.Expect(gw.Status.Bindings).To(Equal(&v1alpha1.BindingCounts{Total: 1, Ready: 1}))
			g.Expect(gw.Status.LastResync).NotTo(BeNil())
		}, "30s").Should(Succeed())
	})

	It("reports plugins with this cluster's marks that belong to no binding", func() {
		s := newQuietStory()
		s.kong.Seed("plugins", map[string]any{"name": "cors", "tags": []any{
			"managed-by:plugin-binding-operator", "k8s-cluster:" + clusterID, "k8s-kind:PluginBinding",
			"k8s-namespace:" + s.namespace, "k8s-name:never-was", "k8s-uid:0",
		}})
		s.startOperator()
		gw := s.gateway("kong")
		Eventually(func(g Gomega) {
			s.reload(g, gw)
			g.Expect(gw.Status.LastResync).NotTo(BeNil())
			g.Expect(gw.Status.LastResync.Orphaned).To(BeEquivalentTo(1))
		}).Should(Succeed())
		Eventually(s.events).WithArguments(gw).Should(ContainElement("OrphanedPlugins"))
		Expect(s.kong.Plugins()).To(HaveLen(1), "it is reported, not removed")
	})
})

// The operator may only be as quick as its clock: a story that needs no waiting.
var _ = Describe("Time", func() {
	It("that jumps changes nothing in Kong", func() {
		s := newQuietStory()
		clock := clocktesting.NewFakeClock(time.Now().Add(-48 * time.Hour))
		s.startOperator(func(o *controllers.Options) { o.Clock, o.LeadingSince = clock, clock.Now().Add(-time.Hour) })
		binding := s.created(s.binding("limit"))
		writes := len(s.kong.Journal().Writes())
		steered{s, clock}.sweep(96 * time.Hour)
		for range 2 { // the first may be the end of a pass from before
			before := passes("pluginbinding")
			s.look(binding)
			Eventually(passes).WithArguments("pluginbinding").Should(BeNumerically(">", before))
		}
		s.ready(binding)
		Expect(s.kong.Journal().Writes()).To(HaveLen(writes))
	})
})
