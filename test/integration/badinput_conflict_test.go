package integration

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

var _ = Describe("Bad input: somebody else's plugin", func() {
	It("names the binding that holds the scope, and programs the second when the first goes", func() {
		s := newStory()
		first := s.created(s.binding("first"))
		unchanged := s.kongAsItWas()
		second := s.binding("second", declaring("rate-limiting", `{"minute": 9, "policy": "local"}`))
		s.create(second)
		s.shows(second, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
			says: []string{
				"plugin " + string(first.Status.PluginID) + " of PluginBinding " + s.namespace + "/first is in the way", "nothing was changed",
				"Delete that binding or give one of the two another scope",
			},
		})
		Expect(second.Status.Conflict.PluginID).To(Equal(string(first.Status.PluginID)))
		Expect(second.Status.Conflict.Owner).To(Equal("PluginBinding " + s.namespace + "/first"))
		s.steady(second)
		s.reload(Default, first)
		s.ready(first)
		unchanged()

		Expect(k8s.Delete(s.ctx, first)).To(Succeed())
		s.gone(first)
		s.ready(second)
		Expect(second.Status.PluginID).NotTo(Equal(first.Status.PluginID))
		Expect(second.Status.Conflict).To(BeNil())
		Expect(s.kong.Plugins()).To(HaveLen(1))
	})

	It("names the plugin that has the new instance name of one that is in force, without trying", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		taken := s.kong.Seed("plugins", map[string]any{"name": "cors", "instance_name": "taken"})["id"].(string)
		unchanged := s.kongAsItWas()
		puts := s.kong.Journal().Count(http.MethodPut, "/plugins/{id}")
		change(s, binding, func(b *v1alpha1.PluginBinding) { b.Spec.InstanceName = "taken" })
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
			says: []string{"plugin " + taken, "It has the instance name taken, and Kong takes each only once"},
		})
		s.steady(binding)
		unchanged()
		Expect(s.kong.Journal().Count(http.MethodPut, "/plugins/{id}")).To(Equal(puts), "Kong has to refuse nothing")

		change(s, binding, func(b *v1alpha1.PluginBinding) { b.Spec.InstanceName = "free" })
		s.ready(binding)
		Expect(s.pluginOf(binding)).To(HaveKeyWithValue("instance_name", "free"))
	})

	It("leaves one plugin to one of two bindings that would both adopt it", func() {
		s := newQuietStory()
		id := s.byHand(limitOf(5))["id"].(string)
		first, second := s.binding("first"), s.binding("second")
		s.create(first, second)
		s.startOperator()
		var has, waits *v1alpha1.PluginBinding
		Eventually(func(g Gomega) {
			s.reload(g, first)
			s.reload(g, second)
			has, waits = first, second
			if has.Status.PluginID == "" {
				has, waits = second, first
			}
			g.Expect(has.Status.PluginID).To(BeEquivalentTo(id))
		}).Should(Succeed())
		s.shows(waits, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
			says: []string{"plugin " + id + " of PluginBinding " + s.namespace + "/" + has.Name, "Delete that binding or give one of the two another scope"},
		})
		Expect(waits.Status.PluginID).To(BeEmpty())

		change(s, has, scoped(&v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{Username: "alice"}}))
		s.ready(has)
		Expect(has.Status.PluginID).To(BeEquivalentTo(id))
		s.look(waits)
		s.ready(waits)
		Expect(s.kong.Plugins()).To(HaveLen(2))
	})

	It("is another binding's plugin although its tags were taken off", func() {
		s := newSlowStory()
		s.startOperator()
		first := s.created(s.binding("first"))
		id := string(first.Status.PluginID)
		s.kong.EditPlugin(id, map[string]any{"tags": []any{}})
		second := s.binding("second")
		s.create(second)
		s.shows(second, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
			says: []string{"plugin " + id + " of PluginBinding " + s.namespace + "/first"},
		})
		s.look(first)
		Eventually(s.kong.Plugin).WithArguments(id).Should(HaveKeyWithValue("tags", Not(BeEmpty())))
		s.ready(first)
	})

	DescribeTable("leaves a plugin that somebody made by hand",
		func(policy v1alpha1.AdoptionPolicy, says ...string) {
			s := newStory()
			id := s.byHand(nil)["id"].(string)
			unchanged := s.kongAsItWas()
			binding := s.binding("limit", adopting(policy))
			s.create(binding)
			s.shows(binding, symptom{
				condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
				says: append(says, "plugin "+id+" of nobody (no owner tags) is in the way", "nothing was changed"),
			})
			Expect(binding.Status.PluginID).To(BeEmpty())
			s.steady(binding)
			unchanged()

			s.kong.DeletePlugin(id)
			s.look(binding)
			s.ready(binding)
		},
		Entry("with adoptionPolicy Never", v1alpha1.AdoptNever, "adoptionPolicy is Never", "delete that plugin in Kong"),
		Entry("with adoptionPolicy IfIdentical, which differs", v1alpha1.AdoptIfIdentical, "in config.minute", "set adoptionPolicy to Override"),
	)

	It("leaves an identical plugin too when adoptionPolicy is Never", func() {
		s := newStory()
		id := s.byHand(limitOf(5))["id"].(string)
		unchanged := s.kongAsItWas()
		binding := s.binding("limit", adopting(v1alpha1.AdoptNever))
		s.create(binding)
		s.shows(binding, symptom{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict, says: []string{id, "adoptionPolicy is Never"}})
		unchanged()

		change(s, binding, adopting(v1alpha1.AdoptIfIdentical))
		s.ready(binding)
		Expect(string(binding.Status.PluginID)).To(Equal(id))
		Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDAdopted))
	})

	It("takes a plugin that somebody made by hand, under its ID, when adoptionPolicy is Override", func() {
		s := newStory()
		id := s.byHand(nil)["id"].(string)
		binding := s.created(s.binding("limit", adopting(v1alpha1.AdoptOverride)))
		Expect(string(binding.Status.PluginID)).To(Equal(id))
		Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDAdopted))
		Expect(s.pluginOf(binding)).To(HaveKeyWithValue("config", HaveKeyWithValue("minute", BeNumerically("==", 5))))
		Eventually(s.events).WithArguments(binding).Should(ContainElement("Adopted"))
		Expect(s.kong.Plugins()).To(HaveLen(1))
	})

	DescribeTable("leaves a plugin that bears another owner's marks",
		func(tags []any, says ...string) {
			s := newStory()
			id := s.byHand(map[string]any{"tags": tags, "config": map[string]any{"minute": 5, "policy": "local"}})["id"].(string)
			unchanged := s.kongAsItWas()
			binding := s.binding("limit")
			s.create(binding)
			s.shows(binding, symptom{
				condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
				says: append(says, "plugin "+id+" of ", "nothing was changed"),
			})
			s.steady(binding)
			unchanged()
		},
		Entry("the ingress controller's", []any{"managed-by-ingress-controller"}, "Kong Ingress Controller", "Remove the KongPlugin or its annotation"),
		Entry("another tool's", []any{"managed-by:deck"}, "the tool deck", "Remove it from that tool's configuration"),
		Entry("another cluster's", []any{"managed-by:plugin-binding-operator", "k8s-cluster:elsewhere", "k8s-kind:PluginBinding", "k8s-namespace:shop", "k8s-name:limit"},
			"PluginBinding shop/limit of cluster elsewhere", "Only one cluster can own it"),
	)

	It("waits for a plugin to import that does not exist, and creates none in its stead", func() {
		s := newStory()
		unchanged := s.kongAsItWas()
		binding := s.binding("limit", importing(unmadeID))
		s.create(binding)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonPluginNotFound,
			says: []string{"KongGateway " + s.namespace + "/kong has no plugin " + unmadeID, "spec.pluginID", "nothing is created in its stead", "make a new binding"},
		})
		s.steady(binding)
		unchanged()

		s.byHand(map[string]any{"id": unmadeID})
		s.look(binding)
		s.ready(binding)
		Expect(binding.Status.PluginID).To(BeEquivalentTo(unmadeID))
	})

	It("does not import a plugin of another name", func() {
		s := newStory()
		id := s.byHand(map[string]any{"name": "key-auth", "config": map[string]any{}})["id"].(string)
		unchanged := s.kongAsItWas()
		binding := s.binding("limit", importing(id))
		s.create(binding)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
			says: []string{"plugin " + id, "nothing was changed", "spec.pluginID names a plugin key-auth and this binding declares rate-limiting", "make a new binding"},
		})
		Expect(binding.Status.PluginID).To(BeEmpty())
		s.steady(binding)
		unchanged()
	})

	It("does not import another binding's plugin", func() {
		s := newStory()
		first := s.created(s.binding("first"))
		unchanged := s.kongAsItWas()
		second := s.binding("second", importing(string(first.Status.PluginID)))
		s.create(second)
		s.shows(second, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
			says: []string{"plugin " + string(first.Status.PluginID) + " of PluginBinding " + s.namespace + "/first", "nothing was changed", "spec.pluginID takes only what belongs to nobody"},
		})
		Expect(second.Status.PluginID).To(BeEmpty())
		s.steady(second)
		unchanged()
	})

	It("does not take an instance name that another plugin has", func() {
		s := newStory()
		id := s.byHand(map[string]any{"instance_name": "shared-name", "consumer": map[string]any{"username": "alice"}})["id"].(string)
		unchanged := s.kongAsItWas()
		binding := s.binding("limit", func(binding *v1alpha1.PluginBinding) { binding.Spec.InstanceName = "shared-name" })
		s.create(binding)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
			says: []string{"plugin " + id, "nothing was changed", "has the instance name shared-name", "set another spec.instanceName"},
		})
		s.steady(binding)
		unchanged()

		change(s, binding, func(binding *v1alpha1.PluginBinding) { binding.Spec.InstanceName = "" })
		s.ready(binding)
	})
})
