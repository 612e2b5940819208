package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// swapped is a story in which the services orders and billing changed their names after the
// only sweep: what the operator read of Kong has the names the wrong way round.
type swapped struct {
	*story
	// orders bears the name now, billing bore it at the sweep.
	orders, billing string
	// first is a binding on orders that was in force before.
	first *v1alpha1.PluginBinding
}

func newSwapped(beforeSweep ...func(*story)) swapped {
	GinkgoHelper()
	s := newSlowStory()
	s.kong.Seed("services", map[string]any{"name": "billing", "url": "http://127.0.0.1:9"})
	for _, f := range beforeSweep {
		f(s)
	}
	first := s.binding("first")
	s.create(first)
	s.startOperator()
	s.ready(first)
	t := swapped{s, string(s.idOf("services", "billing")), string(s.idOf("services", "orders")), first}
	s.kong.Edit("services", t.billing, map[string]any{"name": "for-a-moment"})
	s.kong.Edit("services", t.orders, map[string]any{"name": "orders"})
	s.kong.Edit("services", t.billing, map[string]any{"name": "billing"})
	return t
}

var _ = Describe("Names that mean another service since the last sweep", func() {
	It("are resolved by Kong when a plugin is made", func() {
		s := newSwapped()
		binding := s.created(s.binding("second", declaring("correlation-id", "")))
		Expect(idIn(s.pluginOf(binding), "service")).To(Equal(s.orders), "the service that bears the name now")
		Expect(binding.Status.Scope.ServiceID).To(Equal(s.orders))
		Expect(s.owned(binding)).To(HaveLen(1))
		Expect(s.sweeps()).To(Equal(1), "or the story tells nothing")
	})

	It("are resolved by Kong when a plugin is written", func() {
		s := newSwapped()
		id := s.first.Status.PluginID
		change(s.story, s.first, declaring("rate-limiting", `{"minute": 6, "policy": "local"}`))
		s.ready(s.first)
		Expect(s.first.Status.PluginID).To(Equal(id))
		Expect(idIn(s.pluginOf(s.first), "service")).To(Equal(s.orders))
		Expect(s.pluginOf(s.first)).To(HaveKeyWithValue("config", HaveKeyWithValue("minute", BeEquivalentTo(6))))
		Expect(s.first.Status.Scope.ServiceID).To(Equal(s.orders))
		Expect(s.kong.Plugins()).To(HaveLen(1))
		Expect(s.sweeps()).To(Equal(1), "or the story tells nothing")
	})

	DescribeTable("are asked for again before a plugin that was there is touched",
		func(policy v1alpha1.AdoptionPolicy, config map[string]any) {
			var stranger map[string]any
			s := newSwapped(func(s *story) {
				stranger = s.kong.Seed("plugins", map[string]any{
					"name": "cors", "service": map[string]any{"name": "orders"}, "config": config, "tags": []any{"team:billing"},
				})
			})
			binding := s.created(s.binding("second", declaring("cors", `{"credentials": true}`), adopting(policy)))
			Expect(s.kong.Plugin(stranger["id"].(string))).To(Equal(stranger), "it is on the service that bears another name now")
			Expect(binding.Status.PluginID).NotTo(BeEquivalentTo(stranger["id"]))
			Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDCreated))
			Expect(idIn(s.pluginOf(binding), "service")).To(Equal(s.orders))
			Expect(s.sweeps()).To(Equal(1), "or the story tells nothing")
		},
		Entry("to take it over", v1alpha1.AdoptOverride, map[string]any{"credentials": false}),
		Entry("to adopt it", v1alpha1.AdoptIfIdentical, map[string]any{"credentials": true}),
		Entry("to call it a conflict", v1alpha1.AdoptIfIdentical, map[string]any{"credentials": false}),
	)

	It("leave alone who holds the place that is meant now", func() {
		s := newSwapped()
		stranger := s.kong.Seed("plugins", map[string]any{"name": "cors", "service": map[string]any{"id": s.orders}, "config": map[string]any{"credentials": false}})
		unchanged := s.kongAsItWas()
		binding := s.binding("second", declaring("cors", `{"credentials": true}`))
		s.create(binding)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
			says: []string{stranger["id"].(string), "config.credentials", "nothing was changed"},
		})
		unchanged()

		By("writing nothing over it either, under the ID of a plugin that was in force")
		s.kong.Seed("plugins", map[string]any{"name": "rate-limiting", "service": map[string]any{"id": s.orders}, "config": map[string]any{"minute": 100}})
		unchanged = s.kongAsItWas()
		change(s.story, s.first, declaring("rate-limiting", `{"minute": 6, "policy": "local"}`))
		s.shows(s.first, symptom{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict, says: []string{"nothing was changed"}})
		unchanged()
	})
})

var _ = Describe("An entity that was given another name", func() {
	It("is missed by the bindings that name it, and its plugin goes on under its ID when it has the name again", func() {
		s := newQuietStory()
		t := s.steer()
		binding := t.created(t.binding("limit"))
		id, service := binding.Status.PluginID, string(t.idOf("services", "orders"))
		t.kong.Edit("services", service, map[string]any{"name": "renamed"})
		t.sweep(2 * time.Minute)
		t.shows(binding, symptom{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonScopeNotFound, says: []string{`no service named "orders"`},
		})
		Expect(t.pluginOf(binding)).NotTo(BeNil(), "Kong keeps it")
		t.sweep(2 * time.Minute)
		t.steady(binding)

		t.kong.Edit("services", service, map[string]any{"name": "orders"})
		t.sweep(2 * time.Minute)
		t.ready(binding)
		Expect(binding.Status.PluginID).To(Equal(id))
		Expect(t.kong.Plugins()).To(HaveLen(1))
	})
})
