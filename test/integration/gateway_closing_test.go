package integration

import (
	"net/http"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

var _ = Describe("A gateway that is being deleted", func() {
	It("waits for a binding that is being programmed just then, and leaves no plugin behind", func() {
		env := newTestEnv()
		gate := make(chan struct{})
		open := sync.OnceFunc(func() { close(gate) })
		DeferCleanup(open)
		posting := make(chan struct{})
		env.kong.Inject(kongtest.Fault{Method: http.MethodPost, Template: "/plugins", Times: 1, Kind: kongtest.Delay, Before: func(*http.Request) {
			close(posting)
			<-gate
		}})
		binding := env.binding("late")
		env.create(binding)
		Eventually(posting).Should(BeClosed())
		gw := env.gateway("kong")
		Expect(k8s.Delete(env.ctx, gw)).To(Succeed())
		open()
		env.waitUntilReady(binding)
		Consistently(env.isGone, "1s").WithArguments(gw).Should(BeFalse(), "a binding holds a plugin")

		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		env.waitUntilGone(gw)
		Expect(env.kong.Plugins()).To(BeEmpty())
	})
})
