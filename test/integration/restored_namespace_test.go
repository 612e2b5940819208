package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// restoreRenamed makes a Ready binding in the namespace old, removes it without the operator as if its
// cluster were gone, and creates a copy in the namespace of the gateway. It returns the copy, and the
// ID of the plugin.
func restoreRenamed(env *testEnv, withStatus bool) (copied *v1alpha1.PluginBinding, id v1alpha1.UUID) {
	GinkgoHelper()
	old := env.newNamespace(map[string]string{"tenant": "yes"})
	change(env, env.gateway("kong"), func(gw *v1alpha1.KongGateway) {
		gw.Spec.AllowedBindings = &v1alpha1.AllowedBindings{Namespaces: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}}
	})
	env.startOperator()
	env.waitForGateway()
	lost := env.binding("limit", func(b *v1alpha1.PluginBinding) {
		b.Namespace, b.Spec.GatewayRef.Namespace = old, env.namespace
	})
	env.createReady(lost)
	env.stopOperator()
	env.forceDelete(lost)
	copied = env.binding("limit")
	env.create(copied)
	if withStatus {
		copied.Status = lost.Status
		Expect(k8s.Status().Update(env.ctx, copied)).To(Succeed())
	}
	return copied, lost.Status.PluginID
}

var _ = Describe("A restore into a renamed namespace", func() {
	for _, tc := range []struct {
		name       string
		removes    bool
		withStatus bool
	}{
		{"reported orphans", false, false}, {"removed orphans, with --cluster-id", true, false},
		{"a restored status", false, true}, {"a restored status, with --cluster-id", true, true},
	} {
		It("keeps the plugin, in force and under its ID: "+tc.name, func() {
			env := newEnvWithoutOperator()
			copied, id := restoreRenamed(env, tc.withStatus)
			mark, began := env.kong.Journal().Mark(), time.Now()
			timed := env.withFakeClock(func(o *controllers.Options) { o.RemoveOrphans = tc.removes })
			timed.expectCondition(copied, conditionMatch{
				condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
				contains: []string{string(id), "That binding does not exist"},
			})
			timed.resyncTimes(1)
			timed.requestReconcile(copied)
			timed.waitUntilReady(copied)
			Expect(copied.Status.PluginID).To(Equal(id))
			timed.resyncTimes(2)
			Expect(timed.ownedPlugins(copied)).To(HaveLen(1))
			for _, write := range env.kong.Journal().Since(mark).Writes() {
				Expect(write.Kind).To(Equal("update"))
			}
			service := env.kong.Entity("services", "orders")["id"].(string)
			route := env.kong.Entity("routes", "orders-v1")["id"].(string)
			coverage := kongtest.NewCoverage(env.kong.Journal().Changes(), "rate-limiting", kongtest.Traffic{Route: route, Service: service})
			Expect(coverage.Gaps(began, time.Now())).To(BeEmpty())
		})
	}
})
