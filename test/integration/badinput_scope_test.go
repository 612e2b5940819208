package integration

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

const (
	unmadeID = "5c0de5c0-de5c-4de5-8c0d-e5c0de5c0de5"
	otherID  = "0dd0dd0d-d0dd-4d0d-8d0d-d0dd0dd0dd0d"
)

var _ = Describe("Bad input: the scope", func() {
	named := func(name string) *v1alpha1.EntityRef { return &v1alpha1.EntityRef{Name: v1alpha1.Name(name)} }
	byID := func() *v1alpha1.EntityRef { return &v1alpha1.EntityRef{ID: unmadeID} }

	DescribeTable("waits for what the scope names, and programs when it is made",
		func(scope *v1alpha1.Scope, words, entity string, body map[string]any) {
			s := newStory()
			unchanged := s.kongAsItWas()
			binding := s.binding("limit", scoped(scope))
			s.create(binding)
			s.shows(binding, symptom{
				condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonScopeNotFound,
				says: []string{"KongGateway " + s.namespace + "/kong has no " + words},
			})
			s.steady(binding)
			unchanged()

			s.kong.Seed(entity, body)
			s.look(binding)
			s.ready(binding)
			Expect(s.owned(binding)).To(HaveLen(1))
		},
		Entry("a service by name", &v1alpha1.Scope{Service: named("billing")}, `service named "billing"`,
			"services", map[string]any{"name": "billing", "url": "http://127.0.0.1:9"}),
		Entry("a service by id", &v1alpha1.Scope{Service: byID()}, "service with the id "+unmadeID,
			"services", map[string]any{"id": unmadeID, "name": "billing", "url": "http://127.0.0.1:9"}),
		Entry("a route by name", &v1alpha1.Scope{Route: named("billing-v1")}, `route named "billing-v1"`,
			"routes", map[string]any{"name": "billing-v1", "paths": []any{"/billing"}}),
		Entry("a route by id", &v1alpha1.Scope{Route: byID()}, "route with the id "+unmadeID,
			"routes", map[string]any{"id": unmadeID, "name": "billing-v1", "paths": []any{"/billing"}}),
		Entry("a consumer by username", &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{Username: "bob"}}, `consumer with the username "bob"`,
			"consumers", map[string]any{"username": "bob"}),
		Entry("a consumer by custom id", &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{CustomID: "crm-1002"}}, `consumer with the custom id "crm-1002"`,
			"consumers", map[string]any{"username": "bob", "custom_id": "crm-1002"}),
		Entry("a consumer by id", &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{ID: unmadeID}}, "consumer with the id "+unmadeID,
			"consumers", map[string]any{"id": unmadeID, "username": "bob"}),
		Entry("the second part of a scope", &v1alpha1.Scope{Service: named("orders"), Consumer: &v1alpha1.ConsumerRef{Username: "bob"}}, `consumer with the username "bob"`,
			"consumers", map[string]any{"username": "bob"}),
	)

	It("sees what the scope names when it is made, without being asked to look", func() {
		s := newStory()
		binding := s.binding("limit", scoped(&v1alpha1.Scope{Service: named("billing")}))
		s.create(binding)
		s.shows(binding, symptom{condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonScopeNotFound})
		s.kong.Seed("services", map[string]any{"name": "billing", "url": "http://127.0.0.1:9"})
		Eventually(func() []map[string]any { return s.owned(binding) }, 2*patience).Should(HaveLen(1), "within a resync interval")
		s.ready(binding)
	})

	It("refuses to choose between two consumers of one custom id", func() {
		s := newStory()
		unchanged := s.kongAsItWas()
		clean := s.kong.Inject(kongtest.Fault{
			Method: http.MethodGet, Template: "/consumers", Kind: kongtest.Answer, Status: http.StatusOK,
			Body: `{"data": [
				{"id": "` + unmadeID + `", "username": "one", "custom_id": "crm-7", "created_at": 1700000000, "updated_at": 1700000000},
				{"id": "` + otherID + `", "username": "two", "custom_id": "crm-7", "created_at": 1700000000, "updated_at": 1700000000}
			], "next": null}`,
		})
		binding := s.binding("limit", scoped(&v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{CustomID: "crm-7"}}))
		s.create(binding)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonScopeAmbiguous,
			says: []string{"KongGateway " + s.namespace + "/kong", "more than one", `consumer with the custom id "crm-7"`, "username or id"},
		})
		s.steady(binding)
		unchanged()

		clean()
		s.kong.Seed("consumers", map[string]any{"username": "two", "custom_id": "crm-7"})
		s.look(binding)
		s.ready(binding)
	})

	It("says that consumer groups are Enterprise's", func() {
		s := newStory()
		unchanged := s.kongAsItWas()
		binding := s.binding("limit", scoped(&v1alpha1.Scope{ConsumerGroup: named("gold")}))
		s.create(binding)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonUnsupportedField,
			says: []string{"scope.consumerGroup exists in Kong Gateway Enterprise only", "KongGateway " + s.namespace + "/kong is the community edition", "remove it from the spec"},
		})
		s.steady(binding)
		unchanged()

		change(s, binding, scoped(&v1alpha1.Scope{Service: named("orders")}))
		s.ready(binding)
	})

	It("says that the ordering of plugins is Enterprise's", func() {
		s := newStory()
		unchanged := s.kongAsItWas()
		binding := s.binding("limit", func(binding *v1alpha1.PluginBinding) {
			binding.Spec.Ordering = &v1alpha1.PluginOrdering{Before: &v1alpha1.PluginOrderingPhases{Access: []v1alpha1.PluginName{"key-auth"}}}
		})
		s.create(binding)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonUnsupportedField,
			says: []string{"ordering exists in Kong Gateway Enterprise only", "remove it from the spec"},
		})
		s.steady(binding)
		unchanged()
	})

	It("tells Kong's own words about a scope that the plugin does not take", func() {
		s := newStory()
		unchanged := s.kongAsItWas()
		binding := s.binding("auth", declaring("key-auth", ""), scoped(&v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{Username: "alice"}}))
		s.create(binding)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			says: []string{"consumer: value must be null"},
		})
		unchanged()
	})
})
