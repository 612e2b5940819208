package integration

import (
	"fmt"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

var _ = Describe("A value from a Secret", func() {
	It("that Kong repeats when it refuses to have the marks taken off is not shown", func() {
		s := newStory()
		hidden := s.eavesdrop()
		s.secret("redis", map[string]string{"password": planted})
		binding := s.created(s.binding("limit",
			declaring("rate-limiting", `{"minute": 5, "policy": "redis", "redis": {"host": "redis.orders"}}`),
			patched("/redis/password", "redis", "password"),
			func(b *v1alpha1.PluginBinding) { b.Spec.DeletionPolicy = v1alpha1.OrphanPlugin }))
		Expect(s.pluginOf(binding)["config"].(map[string]any)["redis"]).To(HaveKeyWithValue("password", planted), "or the story tells nothing")

		mend := s.refusing(http.StatusBadRequest, fmt.Sprintf(
			`{"message":"schema violation (config.redis.password: %[1]s is too short)","fields":{"config":{"redis":{"password":"%[1]s is too short"}}},"name":"schema violation","code":2}`, planted))
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonDeleting,
			says: []string{"waiting to remove the plugin from Kong", "config.redis.password: [redacted] is too short"},
		})
		hidden(planted)

		mend()
		s.gone(binding)
		hidden(planted)
		Expect(s.kong.Plugin(string(binding.Status.PluginID))).To(HaveKeyWithValue("tags", BeEmpty()))
	})

	It("that stands where a name belongs is not shown, and the names of the plugin's fields are", func() {
		s := newStory()
		hidden := s.eavesdrop()
		const misplaced = "hunter2SuperSecret"
		limits := s.secret("limits", map[string]string{"config.yaml": misplaced + ": x\nminute: many\nredis:\n  " + misplaced + ": 1\n  port: none\n"})
		binding := s.binding("limit", configFrom("limits", "config.yaml"))
		unchanged := s.kongAsItWas()
		s.create(binding)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			says: []string{"config.[redacted]: unknown field", "config.redis.[redacted]: unknown field", "config.minute: expected a number", "config.redis.port: expected an integer"},
		})
		Eventually(s.notes).WithArguments(binding, v1alpha1.ReasonRejected).Should(ConsistOf(And(
			ContainSubstring("config.[redacted]: unknown field"), ContainSubstring("config.minute: expected a number"))))
		hidden(misplaced)
		unchanged()

		s.setSecret(limits, "config.yaml", "minute: 7")
		s.ready(binding)
		hidden(misplaced)
	})

	It("that stands where a name belongs is not shown when a plugin in the way is compared with it", func() {
		s := newStory()
		hidden := s.eavesdrop()
		const misplaced = "hunter2SuperSecret"
		s.kong.Seed("plugins", map[string]any{
			"name": "rate-limiting", "service": map[string]any{"name": "orders"},
			"config": map[string]any{"minute": 100, "policy": "local"},
		})
		s.secret("limits", map[string]string{"config.yaml": misplaced + ": x\nminute: 5\npolicy: local\nredis:\n  " + misplaced + ": 1\n"})
		binding := s.binding("limit", configFrom("limits", "config.yaml"))
		unchanged := s.kongAsItWas()
		s.create(binding)
		differ := "config.[redacted], config.minute, config.redis.[redacted]"
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict, says: []string{"differ from this binding's in " + differ},
		})
		change(s, binding, func(b *v1alpha1.PluginBinding) {
			b.Spec.ManagementPolicy, b.Spec.AdoptionPolicy = v1alpha1.ObservePlugin, v1alpha1.AdoptOverride
		})
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonWouldChange, says: []string{" and change " + differ},
		})
		hidden(misplaced)
		unchanged()
	})
})
