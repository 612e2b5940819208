package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// twoNodes stands before a Kong as a Service does before two nodes: each GET / is answered by
// the other node. It returns its address, and a counter of these answers.
func twoNodes(kong string) (address string, answers func() int64) {
	GinkgoHelper()
	target, err := url.Parse(kong)
	Expect(err).NotTo(HaveOccurred())
	var roots atomic.Int64
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(response *http.Response) error {
			if response.Request.URL.Path != "/" {
				return nil
			}
			var root map[string]any
			if err := json.NewDecoder(response.Body).Decode(&root); err != nil {
				return err
			}
			root["node_id"] = []string{unusedID, otherID}[roots.Add(1)%2]
			body, err := json.Marshal(root)
			response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			response.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return err
		},
	}
	server := httptest.NewServer(proxy)
	DeferCleanup(server.Close)
	return server.URL, roots.Load
}

// patientClients give up no request while a spec runs, however slow the machine is.
type patientClients struct{ connection.AdminAPIClients }

func usePatientClients(o *controllers.Options) {
	o.Clients = patientClients{connection.AdminAPIClients{Registry: adminapi.NewRegistry(nil, nil)}}
}

func (c patientClients) Get(gateway string, settings adminapi.Settings) (connection.AdminClient, error) {
	settings.RequestTimeout = time.Hour
	return c.AdminAPIClients.Get(gateway, settings)
}

var _ = Describe("The load on a gateway", func() {
	It("of two nodes is one: another node that answers is nothing new", func() {
		env := newEnvWithoutOperator()
		address, answers := twoNodes(env.kong.URL())
		change(env, env.gateway("kong"), withAdminURL(address))
		timed := env.withFakeClock()
		binding := timed.createReady(timed.binding("limit"))
		Eventually(func(g Gomega) {
			gw := timed.gateway("kong")
			timed.reload(g, gw)
			g.Expect(gw.Status.Bindings.Ready).To(BeEquivalentTo(1))
		}).Should(Succeed())
		settled := timed.resync(time.Minute) // which counts its plugin
		version, seen := binding.ResourceVersion, answers()
		for range 4 {
			Expect(timed.resync(time.Minute).Status).To(Equal(settled.Status))
		}
		Expect(answers()).To(BeNumerically(">=", seen+4), "or the spec proves nothing")
		timed.reload(Default, binding)
		Expect(binding.ResourceVersion).To(Equal(version))
	})

	It("does not grow with a binding whose writes are all refused", func() {
		env := newEnvWithHourlyResync()
		env.startOperator()
		binding := env.createReady(env.binding("limit"))
		env.refusePuts(http.StatusForbidden, bodyDenied)
		env.kong.EditPlugin(string(binding.Status.PluginID), map[string]any{"enabled": false})
		mark, resynced := env.kong.Journal().Mark(), env.resyncs()
		since := func(method, template string) (n int) {
			for _, request := range env.kong.Journal().Since(mark).Requests {
				if request.Method == method && request.Template == template {
					n++
				}
			}
			return n
		}
		for n := range 5 {
			env.requestReconcile(binding)
			// A status that lost against the next request is written after one more try.
			Eventually(since).WithArguments(http.MethodPut, "/plugins/{id}").Should(BeNumerically(">", n), "refused again and again")
		}
		env.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonDenied})
		Eventually(since).WithArguments(http.MethodGet, "/").Should(BeNumerically(">=", 2), "each has the gateway probed")
		Expect(env.resyncs()).To(Equal(resynced), "and not everything read again")
		Expect(since(http.MethodGet, "/services")).To(BeZero())
	})

	It("that takes its time holds up no change on another", func() {
		env := newEnvWithoutOperator()
		slow := kongtest.New()
		DeferCleanup(slow.Close)
		gw := env.gateway("slow")
		gw.Spec.AdminURL = slow.URL()
		env.create(gw)
		// With one worker per gateway there are 32: fewer than slow bindings.
		env.startOperator(usePatientClients, func(o *controllers.Options) { o.Workers = 1 })
		other := env.createReady(env.binding("other"))
		var bindings []*v1alpha1.PluginBinding
		for i := range 40 {
			name := fmt.Sprintf("slow-%d", i)
			slow.Seed("services", map[string]any{"name": name, "url": "http://127.0.0.1:9"})
			bindings = append(bindings, env.createReady(env.binding(name, withGateway("slow"), withScope(&v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: v1alpha1.Name(name)}}))))
		}

		gate := make(chan struct{})
		open := sync.OnceFunc(func() { close(gate) })
		DeferCleanup(open)
		var held atomic.Int64
		slow.Inject(kongtest.Fault{Method: http.MethodGet, Template: "/plugins/{id}", Kind: kongtest.Delay, Before: func(*http.Request) {
			held.Add(1)
			<-gate
		}})
		for _, binding := range bindings {
			change(env, binding, func(b *v1alpha1.PluginBinding) { b.Spec.Enabled = ptr.To(false) })
		}
		Eventually(held.Load).Should(BeNumerically(">=", 1))
		change(env, other, func(b *v1alpha1.PluginBinding) { b.Spec.Enabled = ptr.To(false) })
		env.waitUntilReady(other)
		Expect(env.kongPlugin(other)).To(HaveKeyWithValue("enabled", false))

		open()
		for _, binding := range bindings {
			env.waitUntilReady(binding)
			Expect(slow.Plugin(string(binding.Status.PluginID))).To(HaveKeyWithValue("enabled", false))
		}
	})

	It("is one probe at its own pace while it is down, whatever happens to its bindings", func() {
		env := newEnvWithoutOperator()
		timed := env.withFakeClock()
		first := timed.createReady(timed.binding("first"))
		timed.dropConnections(first)
		waitForIdleGateways()
		mark := timed.kong.Journal().Mark()
		for i := range 3 {
			binding := timed.binding(fmt.Sprintf("new-%d", i), withScope(&v1alpha1.Scope{Route: &v1alpha1.EntityRef{Name: "orders-v1"}}))
			timed.create(binding)
			timed.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonGatewayNotReady})
		}
		Eventually(func(g Gomega) {
			gw := timed.gateway("kong")
			timed.reload(g, gw)
			g.Expect(gw.Status.Bindings.Total).To(BeEquivalentTo(4))
		}).Should(Succeed())
		waitForIdleGateways()
		Expect(timed.kong.Journal().Since(mark).Requests).To(BeEmpty())
	})

	It("follows the rate that Kong allows, and every new binding gets its turn", func() {
		env := newTestEnv()
		env.waitForGateway()
		const perSecond = 10
		env.kong.SetRateLimit(perSecond, perSecond)
		began, mark := time.Now(), env.kong.Journal().Mark()
		bindings := make([]*v1alpha1.PluginBinding, 8)
		for i := range bindings {
			name := fmt.Sprintf("limited-%d", i)
			env.kong.Seed("services", map[string]any{"name": name, "url": "http://127.0.0.1:9"})
			bindings[i] = env.binding(name, withScope(&v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: v1alpha1.Name(name)}}))
			env.create(bindings[i])
		}
		for _, binding := range bindings {
			env.waitUntilReady(binding)
		}
		answered := 0
		for _, request := range env.kong.Journal().Since(mark).Requests {
			if request.Status != http.StatusTooManyRequests {
				answered++
			}
		}
		AddReportEntry("eight bindings at ten requests a second", fmt.Sprintf("%v, %d requests answered", time.Since(began).Round(time.Millisecond), answered))
		Expect(answered).To(BeNumerically("<=", 8*len(bindings)+perSecond), "no reconcile began again and again")
	})

	It("ends for as long as it asks, and its bindings stay as they are", func() {
		env := newEnvWithHourlyResync() // whatever comes after the pause comes from the bindings
		env.startOperator()
		first := env.createReady(env.binding("first"))
		second := env.createReady(env.binding("second", withPlugin("correlation-id", "")))
		before := []v1alpha1.PluginBindingStatus{*first.Status.DeepCopy(), *second.Status.DeepCopy()}
		const wait = 2 * time.Second
		var asked atomic.Int64
		env.kong.Inject(kongtest.Fault{
			Method: http.MethodGet, Template: "/plugins/{id}", Times: 1,
			Kind: kongtest.Answer, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"2"}},
			Body:   `{"message":"API rate limit exceeded"}`,
			Before: func(*http.Request) { asked.Store(time.Now().UnixNano()) },
		})
		env.requestReconcile(first)
		Eventually(env.metric).WithArguments("kong_operator_kong_requests_total", "code", "429").Should(BeEquivalentTo(1))
		mark := env.kong.Journal().Mark()
		env.requestReconcile(second)
		env.requestReconcile(first)
		Eventually(func() []kongtest.Request { return env.kong.Journal().Since(mark).Requests }).ShouldNot(BeEmpty(), "it goes on")
		quiet := env.kong.Journal().Since(mark).Requests[0].Time.Sub(time.Unix(0, asked.Load()))
		Expect(quiet).To(BeNumerically(">=", wait), "for both bindings")

		By("going on with both")
		for i, binding := range []*v1alpha1.PluginBinding{first, second} {
			Eventually(func(g Gomega) {
				asked := false
				for _, request := range env.kong.Journal().Since(mark).Requests {
					asked = asked || request.Path == "/plugins/"+string(binding.Status.PluginID)
				}
				g.Expect(asked).To(BeTrue(), "%s", binding.Name)
			}).Should(Succeed())
			env.reload(Default, binding)
			Expect(binding.Status).To(Equal(before[i]))
		}
		gw := env.gateway("kong")
		env.reload(Default, gw)
		Eventually(env.eventReasons).WithArguments(gw).Should(ConsistOf(v1alpha1.ReasonReady))
	})
})
