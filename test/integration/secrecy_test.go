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
})
