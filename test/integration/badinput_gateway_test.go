package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// createWithOddGateway creates a KongGateway with an unusual spec, and a binding to it.
func (env *testEnv) createWithOddGateway(edit func(*v1alpha1.KongGateway)) (*v1alpha1.KongGateway, *v1alpha1.PluginBinding) {
	GinkgoHelper()
	gw := env.gateway("odd")
	edit(gw)
	binding := env.binding("limit", withGateway("odd"))
	env.create(gw, binding)
	return gw, binding
}

// withAdminURL sets the adminURL of a KongGateway.
func withAdminURL(url string) func(*v1alpha1.KongGateway) {
	return func(gw *v1alpha1.KongGateway) { gw.Spec.AdminURL = url }
}

// expectUnusableGateway checks the conditions of an unusable gateway and of its binding. The
// gateway may recover by itself.
func (env *testEnv) expectUnusableGateway(gw *v1alpha1.KongGateway, binding *v1alpha1.PluginBinding, want conditionMatch) {
	GinkgoHelper()
	env.expectGatewayCondition(gw, want)
	says := append([]string{"KongGateway " + env.namespace + "/" + gw.Name}, want.contains...)
	env.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonGatewayNotReady, contains: says})
	Expect(binding.Status.PluginID).To(BeEmpty())
	refs := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionResolvedRefs)
	Expect(refs.Status).To(Equal(metav1.ConditionUnknown), "nothing was looked up")
	env.expectNoStatusWrite(binding)
	env.expectNoGatewayStatusWrite(gw)
}

// expectRejectedGateway is expectUnusableGateway for a gateway whose spec or Kong must change.
func (env *testEnv) expectRejectedGateway(gw *v1alpha1.KongGateway, binding *v1alpha1.PluginBinding, want conditionMatch) {
	GinkgoHelper()
	env.expectGatewayCondition(gw, want)
	says := append([]string{"KongGateway " + env.namespace + "/" + gw.Name}, want.contains...)
	env.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonGatewayNotAccepted, contains: says})
	Expect(binding.Status.PluginID).To(BeEmpty())
	env.expectNoStatusWrite(binding)
	env.expectNoGatewayStatusWrite(gw)
}

// forbidSecrets is an API server that does not permit the operator to read Secrets.
type forbidSecrets struct{ client.Reader }

func (r forbidSecrets) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if _, isSecret := object.(*corev1.Secret); isSecret {
		return apierrors.NewForbidden(corev1.Resource("secrets"), key.Name, errors.New("no rule allows it"))
	}
	return r.Reader.Get(ctx, key, object, options...)
}

var _ = Describe("Bad input: the gateway", func() {
	It("waits for a gateway that does not exist", func() {
		env := newTestEnv()
		unchanged := env.snapshotKong()
		binding := env.binding("limit", withGateway("odd"))
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonGatewayNotFound,
			contains: []string{"KongGateway " + env.namespace + "/odd"},
		})
		env.expectNoStatusWrite(binding)
		unchanged()

		env.create(env.gateway("odd"))
		env.waitUntilReady(binding)
	})

	It("says that nothing listens there", func() {
		env := newTestEnv()
		unchanged := env.snapshotKong()
		address := closedPort()
		gw, binding := env.createWithOddGateway(withAdminURL("http://" + address))
		env.expectUnusableGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonUnreachable,
			contains: []string{"connect to " + address + ": connection refused", "spec.adminURL"},
		})
		unchanged()

		change(env, gw, withAdminURL(env.kong.URL()))
		env.waitUntilReady(binding)
	})

	It("says that there is no such host", func() {
		env := newTestEnv()
		gw, binding := env.createWithOddGateway(withAdminURL("http://kong-admin.invalid:8001"))
		env.expectGatewayCondition(gw, conditionMatch{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonUnreachable,
			contains: []string{"connect to kong-admin.invalid:8001", "spec.adminURL"},
		})
		env.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonGatewayNotReady})
	})

	It("says that there is no answer in time", func() {
		env := newTestEnv()
		answering := make(chan struct{})
		DeferCleanup(func() { close(answering) })
		url := serveReadOnly(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-answering:
			case <-r.Context().Done():
			}
		})
		gw, binding := env.createWithOddGateway(func(gw *v1alpha1.KongGateway) {
			gw.Spec.AdminURL = url
			// Long enough to connect, which fails in other words, on a busy machine.
			gw.Spec.Limits = &v1alpha1.GatewayLimits{RequestTimeout: "1s"}
		})
		env.expectUnusableGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonUnreachable,
			contains: []string{"no answer in time", "spec.adminURL"},
		})
	})

	It("says that the token is refused, and picks up a corrected one", func() {
		env := newEnvWithoutOperator(kongtest.WithToken("Kong-Admin-Token", "right-"+plantedSecret))
		env.startOperator()
		expectHidden := env.captureOutput()
		unchanged := env.snapshotKong()
		token := env.secret("token", map[string]string{"token": "wrong-" + plantedSecret})
		gw, binding := env.createWithOddGateway(func(gw *v1alpha1.KongGateway) {
			gw.Spec.Auth = &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "token", Key: "token"}}
		})
		env.expectUnusableGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonDenied,
			contains: []string{"Kong answered 401", "spec.auth.tokenSecretRef"},
		})
		unchanged()

		env.setSecretKey(token, "token", "right-"+plantedSecret+"\n")
		env.waitUntilReady(binding)
		expectHidden(plantedSecret)
	})

	It("says that a token is needed", func() {
		env := newEnvWithoutOperator(kongtest.WithToken("Kong-Admin-Token", plantedSecret))
		env.startOperator()
		unchanged := env.snapshotKong()
		gw, binding := env.createWithOddGateway(withAdminURL(env.kong.URL()))
		env.expectUnusableGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonDenied,
			contains: []string{"Kong answered 401", "spec.auth.tokenSecretRef"},
		})
		unchanged()
	})

	It("waits for the Secret of a token, and for its key", func() {
		env := newTestEnv()
		unchanged := env.snapshotKong()
		gw, binding := env.createWithOddGateway(func(gw *v1alpha1.KongGateway) {
			gw.Spec.Auth = &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "token", Key: "token"}}
		})
		env.expectUnusableGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			contains: []string{"Secret token does not exist in namespace " + env.namespace},
		})
		token := env.secret("token", nil)
		env.expectGatewayCondition(gw, conditionMatch{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			contains: []string{"Secret token in namespace " + env.namespace + " has no key token"},
		})
		unchanged()

		env.setSecretKey(token, "token", plantedSecret)
		env.waitUntilReady(binding)
	})

	It("lets a gateway, the Secret of its token and its bindings go together", func() {
		env := newTestEnv()
		token := env.secret("token", map[string]string{"token": plantedSecret})
		gw, binding := env.createWithOddGateway(func(gw *v1alpha1.KongGateway) {
			gw.Spec.Auth = &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "token", Key: "token"}}
		})
		env.waitUntilReady(binding)
		Expect(k8s.Delete(env.ctx, gw)).To(Succeed())
		Eventually(env.eventReasons).WithArguments(gw).Should(ContainElement(v1alpha1.ReasonInUse))
		Expect(k8s.Delete(env.ctx, token)).To(Succeed())
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		env.waitUntilGone(gw)
		Expect(env.kong.Plugins()).To(BeEmpty())
	})

	It("lets the Secret of its token go before a gateway and its bindings", func() {
		env := newTestEnv()
		token := env.secret("token", map[string]string{"token": plantedSecret})
		gw, binding := env.createWithOddGateway(func(gw *v1alpha1.KongGateway) {
			gw.Spec.Auth = &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "token", Key: "token"}}
		})
		env.waitUntilReady(binding)
		Expect(k8s.Delete(env.ctx, token)).To(Succeed())
		env.expectGatewayCondition(gw, conditionMatch{condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound})
		Expect(k8s.Delete(env.ctx, gw)).To(Succeed())
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		env.waitUntilGone(gw)
		Expect(env.kong.Plugins()).To(BeEmpty())
	})

	It("says that it may not read a Secret", func() {
		env := newEnvWithoutOperator()
		env.secret("token", map[string]string{"token": plantedSecret})
		env.startOperator(func(o *controllers.Options) { o.APIReader = forbidSecrets{k8s} })
		gw := env.gateway("odd")
		gw.Spec.Auth = &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "token", Key: "token"}}
		binding := env.binding("limit", withConfigPatch("/minute", "token", "token"))
		unchanged := env.snapshotKong()
		env.create(gw, binding)
		says := []string{"the API server refuses the operator", `secrets "token" is forbidden`, "give its role this right"}
		env.expectGatewayCondition(gw, conditionMatch{condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonForbidden, contains: says})
		env.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionResolvedRefs, unknown: true, reason: v1alpha1.ReasonForbidden, contains: says})
		env.expectNoStatusWrite(binding)
		unchanged()
	})

	It("says why a binding cannot be deleted whose gateway has lost its labels", func() {
		env := newEnvWithoutOperator()
		gw := env.gateway("kong")
		label := func(value string) {
			change(env, gw, func(gw *v1alpha1.KongGateway) { gw.Labels = map[string]string{"shard": value} })
		}
		label("1")
		env.startOperator(func(o *controllers.Options) { o.Selector = labels.SelectorFromSet(labels.Set{"shard": "1"}) })
		binding := env.createReady(env.binding("limit", func(b *v1alpha1.PluginBinding) { b.Labels = map[string]string{"shard": "1"} }))
		unchanged := env.snapshotKong()
		label("2")
		// The deletion may reach the operator before the label does, and then ends as it should.
		Eventually(env.metric).WithArguments("kong_operator_gateway_conditions", "gateway", keyOf(gw).String()).Should(BeZero(), "the cache still has the gateway")
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonDeleting,
			contains: []string{"KongGateway " + env.namespace + "/kong", "shard=1"},
		})
		unchanged()

		label("1")
		// A cache with a label selector would show a new gateway. The deletion may have ended by itself.
		annotation := fmt.Sprintf(`{"metadata":{"annotations":{%q:"now"}}}`, v1alpha1.ReconcileRequestedAtAnnotation)
		Expect(client.IgnoreNotFound(k8s.Patch(env.ctx, binding, client.RawPatch(types.MergePatchType, []byte(annotation))))).To(Succeed())
		env.waitUntilGone(binding)
		Expect(env.kong.Plugins()).To(BeEmpty())
	})

	It("says that what is in Kong cannot be read all together, if that lasts", func() {
		env := newEnvWithoutOperator()
		timed := env.withFakeClock()
		binding := timed.createReady(timed.binding("limit"))
		mend := timed.kong.Inject(kongtest.Fault{
			Method: http.MethodGet, Template: "/plugins", Kind: kongtest.Answer, Status: http.StatusForbidden,
			Body: `{"message":"you do not have permission to read this resource"}`,
		})
		gw := timed.resync(2 * time.Minute)
		Expect(meta.FindStatusCondition(gw.Status.Conditions, v1alpha1.ConditionReady).Message).NotTo(ContainSubstring("you do not have permission"), "it may be the network")
		for range 2 {
			gw = timed.resync(2 * time.Minute)
			ready := meta.FindStatusCondition(gw.Status.Conditions, v1alpha1.ConditionReady)
			Expect(ready.Status).To(Equal(metav1.ConditionTrue))
			Expect(ready.Message).To(ContainSubstring("you do not have permission"))
		}
		Eventually(timed.eventNotes).WithArguments(gw, "SweepFailed").Should(ConsistOf(ContainSubstring("403")))
		mend()
		gw = timed.resync(2 * time.Minute)
		Expect(meta.FindStatusCondition(gw.Status.Conditions, v1alpha1.ConditionReady).Message).NotTo(ContainSubstring("you do not have permission"))
		timed.waitUntilReady(binding)
	})

	It("says that an HTML page is not Kong's", func() {
		env := newTestEnv()
		gw, binding := env.createWithOddGateway(withAdminURL(serveReadOnly(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html><body>Sign in</body></html>"))
		})))
		env.expectUnusableGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonNotKong,
			contains: []string{"this is not an Admin API of Kong", "spec.adminURL"},
		})
	})

	It("says that JSON of something else is not Kong's", func() {
		env := newTestEnv()
		gw, binding := env.createWithOddGateway(withAdminURL(serveReadOnly(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"status": "ok", "version": "1.0"}`))
		})))
		env.expectUnusableGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonNotKong,
			contains: []string{"this is not an Admin API of Kong", "spec.adminURL"},
		})
	})

	It("says that 404 to everything is not Kong's Admin API", func() {
		env := newTestEnv()
		gw, binding := env.createWithOddGateway(withAdminURL(serveReadOnly(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"message":"Not found"}`))
		})))
		env.expectUnusableGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonNotKong,
			contains: []string{"Kong answered 404", "not the root of an Admin API of Kong", "is the path of adminURL right?"},
		})
	})

	It("says that adminURL points to the proxy's port", func() {
		env := newTestEnv()
		gw, binding := env.createWithOddGateway(withAdminURL(serveReadOnly(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.Header().Set("Server", "kong/3.9.1")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"message":"no Route matched with those values","request_id":"` + plantedSecret + `"}`))
		})))
		expectHidden := env.captureOutput()
		env.expectUnusableGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonNotKong,
			contains: []string{"looks like the proxy port of Kong", "adminURL must point to the Admin API"},
		})
		expectHidden(plantedSecret) // a request ID would change the message every time
	})

	It("follows no redirect, and says where it led", func() {
		env := newTestEnv()
		gw, binding := env.createWithOddGateway(withAdminURL(serveReadOnly(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://kong-admin.example:8444/sign-in?next="+plantedSecret, http.StatusFound)
		})))
		expectHidden := env.captureOutput()
		env.expectUnusableGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonUnreachable,
			contains: []string{"Kong answered 302: a redirect, which is not followed", "should adminURL point to https://kong-admin.example:8444?"},
		})
		expectHidden(plantedSecret)
	})

	It("refuses a Kong without a database", func() {
		env := newEnvWithoutOperator(kongtest.WithDBLess())
		env.startOperator()
		unchanged := env.snapshotKong()
		gw, binding := env.createWithOddGateway(withAdminURL(env.kong.URL()))
		env.expectRejectedGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonDBLess,
			contains: []string{"database=postgres"},
		})
		Expect(gw.Status.Database).To(Equal("off"))
		unchanged()

		env.kong.SetDBLess(false)
		env.readyAfterProbe(binding)
	})

	It("refuses a Kong that is too old", func() {
		env := newEnvWithoutOperator(kongtest.WithVersion("3.1.1"))
		env.startOperator()
		unchanged := env.snapshotKong()
		gw, binding := env.createWithOddGateway(withAdminURL(env.kong.URL()))
		env.expectRejectedGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonUnsupportedVersion,
			contains: []string{"Kong 3.1.1 has no instance_name", "3.2"},
		})
		unchanged()

		env.kong.SetVersion("3.2.0")
		env.readyAfterProbe(binding)
	})

	It("says that the community edition has no workspaces", func() {
		env := newTestEnv()
		unchanged := env.snapshotKong()
		gw, binding := env.createWithOddGateway(func(gw *v1alpha1.KongGateway) { gw.Spec.Workspace = "team-a" })
		env.expectRejectedGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonUnsupportedEdition,
			contains: []string{"spec.workspace"},
		})
		unchanged()

		change(env, gw, func(gw *v1alpha1.KongGateway) { gw.Spec.Workspace = "" })
		env.waitUntilReady(binding)
	})

	It("says that there is no such workspace", func() {
		env := newTestEnv(kongtest.WithWorkspace("team-b"))
		unchanged := env.snapshotKong()
		gw, binding := env.createWithOddGateway(func(gw *v1alpha1.KongGateway) { gw.Spec.Workspace = "team-a" })
		env.expectUnusableGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonWorkspaceNotFound,
			contains: []string{"the workspace does not exist", "spec.workspace"},
		})
		unchanged()
	})

	It("says that a selector cannot be read", func() {
		env := newTestEnv()
		unchanged := env.snapshotKong()
		gw, binding := env.createWithOddGateway(func(gw *v1alpha1.KongGateway) {
			gw.Spec.AllowedBindings = &v1alpha1.AllowedBindings{Namespaces: &v1alpha1.AllowedNamespaces{
				From: v1alpha1.NamespacesFromSelector,
				Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
					{Key: "team", Operator: "Near", Values: []string{"shop"}},
				}},
			}}
		})
		env.expectRejectedGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidSelector,
			contains: []string{"spec.allowedBindings.namespaces.selector", `"Near" is not a valid label selector operator`},
		})
		unchanged()
	})

	It("waits while the database is down, and goes on when it is back", func() {
		env := newTestEnv()
		env.kong.SetDatabaseDown(true)
		unchanged := env.snapshotKong()
		gw, binding := env.createWithOddGateway(withAdminURL(env.kong.URL()))
		env.expectUnusableGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionDatabaseReachable, reason: v1alpha1.ReasonDatabaseUnreachable,
			contains: []string{"does not reach its database"},
		})
		unchanged()

		env.kong.SetDatabaseDown(false)
		env.readyAfterProbe(binding)
	})

	DescribeTable("leaves what is in force alone while the gateway is out of order",
		func(condition, reason string, breakIt func(*testEnv) (mend func())) {
			env := newTestEnv()
			binding := env.createReady(env.binding("limit"))
			unchanged := env.snapshotKong()
			mend := breakIt(env)
			gw := env.gateway("kong")
			env.requestReconcile(binding) // a failed reconcile makes the operator probe the gateway
			env.expectGatewayCondition(gw, conditionMatch{condition: condition, reason: reason})
			env.expectNoStatusWrite(binding)
			unchanged()

			change(env, binding, withPlugin("rate-limiting", `{"minute": 6, "policy": "local"}`))
			env.expectCondition(binding, conditionMatch{
				condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonGatewayNotReady,
				contains: []string{"KongGateway " + env.namespace + "/kong"},
			})
			env.expectNoStatusWrite(binding)
			unchanged()

			mend()
			env.readyAfterProbe(binding)
			Expect(env.kongPlugin(binding)).To(HaveKeyWithValue("config", HaveKeyWithValue("minute", BeNumerically("==", 6))))
			Expect(env.kong.Plugins()).To(HaveLen(1))
		},
		Entry("its database is down", v1alpha1.ConditionDatabaseReachable, v1alpha1.ReasonDatabaseUnreachable, func(env *testEnv) func() {
			env.kong.SetDatabaseDown(true)
			return func() { env.kong.SetDatabaseDown(false) }
		}),
		Entry("everything is answered with an HTML page", v1alpha1.ConditionReachable, v1alpha1.ReasonNotKong, func(env *testEnv) func() {
			return env.kong.Inject(kongtest.Fault{Kind: kongtest.Answer, Status: http.StatusOK, Body: "<html>maintenance</html>"})
		}),
		Entry("everything is answered with Kong's own 404", v1alpha1.ConditionReachable, v1alpha1.ReasonNotKong, func(env *testEnv) func() {
			return env.kong.Inject(kongtest.Fault{Kind: kongtest.Answer, Status: http.StatusNotFound, Body: `{"message":"Not found"}`})
		}),
		Entry("everything is answered with 401", v1alpha1.ConditionReachable, v1alpha1.ReasonDenied, func(env *testEnv) func() {
			return env.kong.Inject(kongtest.Fault{Kind: kongtest.Answer, Status: http.StatusUnauthorized, Body: `{"message":"Invalid RBAC credentials"}`})
		}),
		Entry("every connection is cut", v1alpha1.ConditionReachable, v1alpha1.ReasonUnreachable, func(env *testEnv) func() {
			return env.kong.Inject(kongtest.Fault{Kind: kongtest.DropBefore})
		}),
	)
})
