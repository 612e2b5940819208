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
		env := newTestEnv()
		expectHidden := env.captureOutput()
		env.secret("redis", map[string]string{"password": plantedSecret})
		binding := env.createReady(env.binding("limit",
			withPlugin("rate-limiting", `{"minute": 5, "policy": "redis", "redis": {"host": "redis.orders"}}`),
			withConfigPatch("/redis/password", "redis", "password"),
			func(b *v1alpha1.PluginBinding) { b.Spec.DeletionPolicy = v1alpha1.OrphanPlugin }))
		Expect(env.kongPlugin(binding)["config"].(map[string]any)["redis"]).To(HaveKeyWithValue("password", plantedSecret), "or the spec proves nothing")

		mend := env.refusePuts(http.StatusBadRequest, fmt.Sprintf(
			`{"message":"schema violation (config.redis.password: %[1]s is too short)","fields":{"config":{"redis":{"password":"%[1]s is too short"}}},"name":"schema violation","code":2}`, plantedSecret))
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonDeleting,
			contains: []string{"config.redis.password: invalid value"},
		})
		expectHidden(plantedSecret)

		mend()
		env.waitUntilGone(binding)
		expectHidden(plantedSecret)
		Expect(env.kong.Plugin(string(binding.Status.PluginID))).To(HaveKeyWithValue("tags", BeEmpty()))
	})

	It("that stands where a name belongs is not shown, and the names of the plugin's fields are", func() {
		env := newTestEnv()
		expectHidden := env.captureOutput()
		const misplaced = "hunter2SuperSecret"
		limits := env.secret("limits", map[string]string{"config.yaml": misplaced + ": x\nminute: many\nredis:\n  " + misplaced + ": 1\n  port: none\n"})
		binding := env.binding("limit", withConfigFrom("limits", "config.yaml"))
		unchanged := env.snapshotKong()
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			contains: []string{"config.[redacted]: unknown field", "config.redis.[redacted]: unknown field", "config.minute: expected a number", "config.redis.port: expected an integer"},
		})
		Eventually(env.eventNotes).WithArguments(binding, v1alpha1.ReasonRejected).Should(ConsistOf(And(
			ContainSubstring("config.[redacted]: unknown field"), ContainSubstring("config.minute: expected a number"))))
		expectHidden(misplaced)
		unchanged()

		env.setSecretKey(limits, "config.yaml", "minute: 7")
		env.waitUntilReady(binding)
		expectHidden(misplaced)
	})

	It("that stands where a name belongs is not shown when a plugin in the way is compared with it", func() {
		env := newTestEnv()
		expectHidden := env.captureOutput()
		const misplaced = "hunter2SuperSecret"
		env.kong.Seed("plugins", map[string]any{
			"name": "rate-limiting", "service": map[string]any{"name": "orders"},
			"config": map[string]any{"minute": 100, "policy": "local"},
		})
		env.secret("limits", map[string]string{"config.yaml": misplaced + ": x\nminute: 5\npolicy: local\nredis:\n  " + misplaced + ": 1\n"})
		binding := env.binding("limit", withConfigFrom("limits", "config.yaml"))
		unchanged := env.snapshotKong()
		env.create(binding)
		differ := "config.[redacted], config.minute, config.redis.[redacted]"
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict, contains: []string{differ},
		})
		change(env, binding, func(b *v1alpha1.PluginBinding) {
			b.Spec.ManagementPolicy, b.Spec.AdoptionPolicy = v1alpha1.ObservePlugin, v1alpha1.AdoptOverride
		})
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			contains: []string{"would adopt", differ, "config.[redacted]: unknown field", "config.redis.[redacted]: unknown field"},
		})
		expectHidden(misplaced)
		unchanged()
	})
})
