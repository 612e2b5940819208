package integration

import (
	"fmt"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// exchangeEnv is a Kong with the services s1 to s3, each with two routes: s1-a, s1-b and so on.
type exchangeEnv struct {
	*testEnv
	// ids are the IDs of services and routes by name.
	ids map[string]string
	// mark is where the exchange begins in the journal.
	mark  int
	began time.Time
}

func newExchangeEnv() *exchangeEnv {
	GinkgoHelper()
	env := &exchangeEnv{testEnv: newEnvWithoutOperator(), ids: map[string]string{}}
	for i := range 3 {
		service := fmt.Sprintf("s%d", i+1)
		env.ids[service] = env.kong.Seed("services", map[string]any{"name": service, "url": "http://127.0.0.1:9"})["id"].(string)
		for _, letter := range []string{"-a", "-b"} {
			env.ids[service+letter] = env.kong.Seed("routes", map[string]any{
				"name": service + letter, "paths": []any{"/" + service + letter}, "service": map[string]any{"name": service},
			})["id"].(string)
		}
	}
	change(env.testEnv, env.gateway("kong"), func(gw *v1alpha1.KongGateway) { gw.Spec.ResyncInterval = "1h" })
	env.startOperator()
	env.waitForGateway()
	return env
}

func onRoute(name string) *v1alpha1.Scope {
	return &v1alpha1.Scope{Route: &v1alpha1.EntityRef{Name: v1alpha1.Name(name)}}
}

func onService(name string) *v1alpha1.Scope {
	return &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: v1alpha1.Name(name)}}
}

// ready creates one binding per scope, named after their position, and waits until all are Ready.
func (env *exchangeEnv) ready(scopes ...*v1alpha1.Scope) []*v1alpha1.PluginBinding {
	GinkgoHelper()
	var bindings []*v1alpha1.PluginBinding
	for i, scope := range scopes {
		bindings = append(bindings, env.createReady(env.binding(string(rune('a'+i)), func(b *v1alpha1.PluginBinding) { b.Spec.Scope = scope })))
	}
	env.begin()
	return bindings
}

func (env *exchangeEnv) begin() { env.mark, env.began = env.kong.Journal().Mark(), time.Now() }

// apply gives each binding another scope, one right after the other.
func (env *exchangeEnv) apply(bindings []*v1alpha1.PluginBinding, scopes ...*v1alpha1.Scope) {
	GinkgoHelper()
	for i, binding := range bindings {
		change(env.testEnv, binding, func(b *v1alpha1.PluginBinding) { b.Spec.Scope = scopes[i] })
	}
}

// expectMoved waits until all bindings are Ready with the IDs that they had, and checks that Kong
// refused no write on the way.
func (env *exchangeEnv) expectMoved(bindings []*v1alpha1.PluginBinding) {
	GinkgoHelper()
	for _, binding := range bindings {
		id := binding.Status.PluginID
		env.waitUntilReady(binding)
		Expect(binding.Status.PluginID).To(Equal(id))
		Expect(binding.Status.Conflict).To(BeNil())
		Expect(env.kongPlugin(binding)["tags"]).NotTo(ContainElement(HavePrefix("k8s-aside:")))
	}
	for _, request := range env.kong.Journal().Since(env.mark).Requests {
		Expect(request.Status).NotTo(Equal(http.StatusConflict), "%s %s", request.Method, request.Path)
	}
	for _, write := range env.kong.Journal().Since(env.mark).Writes() {
		Expect(write.Kind).To(Equal("update"), "no plugin is deleted or created on the way")
	}
}

// longestGap is the longest time since the exchange began in which no plugin protected a route.
func (env *exchangeEnv) longestGap(route string) time.Duration {
	GinkgoHelper()
	coverage := kongtest.NewCoverage(env.kong.Journal().Changes(), "rate-limiting",
		kongtest.Traffic{Route: env.ids[route], Service: env.ids[route[:2]]})
	gap := coverage.LongestGap(env.began, time.Now()).Duration()
	AddReportEntry("longest gap of "+route, gap.String())
	return gap
}

// requests counts the requests since the exchange began.
func (env *exchangeEnv) requests() int { return len(env.kong.Journal().Since(env.mark).Requests) }

var _ = Describe("Bindings of one plugin that exchange their scopes", func() {
	It("exchange two routes in one apply, with their IDs, and the first is never without its plugin", func() {
		env := newExchangeEnv()
		bindings := env.ready(onRoute("s1-a"), onRoute("s2-a"))
		env.apply(bindings, onRoute("s2-a"), onRoute("s1-a"))
		env.expectMoved(bindings)
		Expect(env.longestGap("s1-a")).To(BeZero(), "the breaker's place")
		env.longestGap("s2-a")
		AddReportEntry("requests", env.requests())
		Eventually(env.eventReasons).WithArguments(bindings[0]).Should(ContainElements("MovedAside", "Moved"))
		Expect(env.eventReasons(bindings[1])).NotTo(ContainElement("MovedAside"))
	})

	It("exchange three routes in a circle", func() {
		env := newExchangeEnv()
		bindings := env.ready(onRoute("s1-a"), onRoute("s2-a"), onRoute("s3-a"))
		env.apply(bindings, onRoute("s2-a"), onRoute("s3-a"), onRoute("s1-a"))
		env.expectMoved(bindings)
		Expect(env.longestGap("s1-a")).To(BeZero(), "the breaker's place")
		env.longestGap("s2-a")
		env.longestGap("s3-a")
		AddReportEntry("requests", env.requests())
	})

	It("exchange two services: the plugin aside protects one route of its service", func() {
		env := newExchangeEnv()
		bindings := env.ready(onService("s1"), onService("s2"))
		env.apply(bindings, onService("s2"), onService("s1"))
		env.expectMoved(bindings)
		for _, route := range []string{"s1-a", "s1-b", "s2-a", "s2-b"} {
			env.longestGap(route)
		}
	})

	It("exchange a service and the whole gateway", func() {
		env := newExchangeEnv()
		bindings := env.ready(onService("s1"), nil)
		env.apply(bindings, nil, onService("s1"))
		env.expectMoved(bindings)
		env.longestGap("s1-a")
		env.longestGap("s2-a")
	})

	It("exchange two instance names", func() {
		env := newExchangeEnv()
		bindings := env.ready(onRoute("s1-a"), onRoute("s2-a"))
		name := func(names ...v1alpha1.Name) {
			for i, binding := range bindings {
				change(env.testEnv, binding, func(b *v1alpha1.PluginBinding) { b.Spec.InstanceName = names[i] })
			}
		}
		name("one", "two")
		env.expectMoved(bindings)
		env.begin()
		name("two", "one")
		env.expectMoved(bindings)
		Expect(env.kongPlugin(bindings[0])["instance_name"]).To(Equal("two"))
		Expect(env.kongPlugin(bindings[1])["instance_name"]).To(Equal("one"))
		Expect(env.longestGap("s1-a")).To(BeZero())
		Expect(env.longestGap("s2-a")).To(BeZero())
	})
})

var _ = Describe("Bindings that cannot exchange their scopes", func() {
	conflict := conditionMatch{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict}

	It("stay in conflict, and nothing moves, while one of them is paused; then they exchange", func() {
		env := newExchangeEnv()
		bindings := env.ready(onRoute("s1-a"), onRoute("s2-a"))
		change(env.testEnv, bindings[1], func(b *v1alpha1.PluginBinding) { b.Annotations = map[string]string{v1alpha1.PausedAnnotation: "true"} })
		unchanged := env.snapshotKong()
		env.apply(bindings, onRoute("s2-a"), onRoute("s1-a"))
		env.expectCondition(bindings[0], conflict)
		unchanged()
		change(env.testEnv, bindings[1], func(b *v1alpha1.PluginBinding) { delete(b.Annotations, v1alpha1.PausedAnnotation) })
		env.expectMoved(bindings)
	})

	It("stay in conflict while a third binding wants the same scope", func() {
		env := newExchangeEnv()
		bindings := env.ready(onRoute("s1-a"), onRoute("s2-a"), onRoute("s3-a"))
		env.apply(bindings, onRoute("s1-a"), onRoute("s2-a"), onRoute("s1-a"))
		env.expectCondition(bindings[2], conflict)
		unchanged := env.snapshotKong()
		env.apply(bindings[:2], onRoute("s2-a"), onRoute("s1-a"))
		env.expectCondition(bindings[0], conflict)
		env.expectCondition(bindings[1], conflict)
		unchanged()
	})

	It("stay where they are when Kong refuses the settings of one: nobody leaves a place for it", func() {
		env := newExchangeEnv()
		bindings := env.ready(onRoute("s1-a"), onRoute("s2-a"))
		unchanged := env.snapshotKong()
		change(env.testEnv, bindings[0], func(b *v1alpha1.PluginBinding) { b.Spec.Scope = onRoute("s2-a") })
		change(env.testEnv, bindings[1], func(b *v1alpha1.PluginBinding) {
			b.Spec.Scope, b.Spec.Config = onRoute("s1-a"), jsonOf(`{"minute": -5, "policy": "local"}`)
		})
		env.expectCondition(bindings[1], conditionMatch{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected, contains: []string{"minute"}})
		env.expectCondition(bindings[0], conflict)
		unchanged()
		change(env.testEnv, bindings[1], func(b *v1alpha1.PluginBinding) { b.Spec.Config = jsonOf(`{"minute": 6, "policy": "local"}`) })
		env.expectMoved(bindings)
	})

	It("go back when Kong refuses the other one after the first has moved aside", func() {
		env := newExchangeEnv()
		bindings := env.ready(onRoute("s1-a"), onRoute("s2-a"))
		env.kong.Inject(kongtest.Fault{
			Method: http.MethodPut, Template: "/plugins/{id}", Skip: 1, Times: 1,
			Kind: kongtest.Answer, Status: http.StatusBadRequest, Body: bodyInvalid,
		})
		env.apply(bindings, onRoute("s2-a"), onRoute("s1-a"))
		env.expectCondition(bindings[1], conditionMatch{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected})
		env.expectCondition(bindings[0], conflict)
		Eventually(env.eventReasons).WithArguments(bindings[0]).Should(ContainElements("MovedAside", "MovedBack"))
		Expect(env.kongPlugin(bindings[0])["service"]).To(BeNil())
		Expect(env.longestGap("s1-a")).To(BeZero())
		Expect(env.longestGap("s2-a")).To(BeZero())
		env.requestReconcile(bindings[1])
		for _, binding := range bindings {
			env.waitUntilReady(binding)
		}
	})

	It("are brought back after a crash with one plugin aside, without its binding's status", func() {
		env := newExchangeEnv()
		bindings := env.ready(onRoute("s1-a"), onRoute("s2-a"))
		env.stopOperator()
		row := env.kongPlugin(bindings[0])
		env.kong.EditPlugin(string(bindings[0].Status.PluginID), map[string]any{
			"service": map[string]any{"id": env.ids["s1"]},
			"tags":    append(stringsOf(row["tags"]), "k8s-aside:service="),
		})
		env.startOperator()
		env.waitForGateway()
		Eventually(func() map[string]any { return env.kongPlugin(bindings[0]) }).Should(And(
			HaveKeyWithValue("service", BeNil()), HaveKeyWithValue("tags", Not(ContainElement(HavePrefix("k8s-aside:"))))))
	})

	It("lets a plugin that is aside make room for the one that took its former place", func() {
		env := newExchangeEnv()
		bindings := env.ready(onRoute("s1-a"), onRoute("s2-a"))
		id := string(bindings[0].Status.PluginID)
		env.stopOperator()
		row := env.kong.Plugin(id)
		env.kong.EditPlugin(id, map[string]any{
			"service": map[string]any{"id": env.ids["s1"]},
			"tags":    append(stringsOf(row["tags"]), "k8s-aside:service="),
		})
		taken := env.kong.Seed("plugins", map[string]any{"name": "rate-limiting", "route": map[string]any{"id": env.ids["s1-a"]}, "config": map[string]any{"minute": 1}})
		change(env.testEnv, bindings[0], func(b *v1alpha1.PluginBinding) { b.Spec.Scope = onRoute("s2-a") })
		env.startOperator()
		env.expectCondition(bindings[0], conflict)
		Eventually(env.kong.Plugin).WithArguments(id).Should(BeNil(), "it would run instead of the plugin that has its former place")
		Expect(env.kong.Plugin(taken["id"].(string))).NotTo(BeNil())
		Expect(k8s.Delete(env.ctx, bindings[1])).To(Succeed())
		env.waitUntilReady(bindings[0])
		Expect(string(bindings[0].Status.PluginID)).To(Equal(id))
	})
})
