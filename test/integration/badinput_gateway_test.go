package integration

import (
	"context"
	"errors"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// strange makes the KongGateway odd, as edited, and a binding to it.
func (s *story) strange(edit func(*v1alpha1.KongGateway)) (*v1alpha1.KongGateway, *v1alpha1.PluginBinding) {
	GinkgoHelper()
	gw := s.gateway("odd")
	edit(gw)
	binding := s.binding("limit", through("odd"))
	s.create(gw, binding)
	return gw, binding
}

// at is a KongGateway with another adminURL.
func at(url string) func(*v1alpha1.KongGateway) {
	return func(gw *v1alpha1.KongGateway) { gw.Spec.AdminURL = url }
}

// unusable checks a gateway that does not answer as it should, and what its binding says.
func (s *story) unusable(gw *v1alpha1.KongGateway, binding *v1alpha1.PluginBinding, want symptom) {
	GinkgoHelper()
	s.gatewayShows(gw, want)
	says := append([]string{"KongGateway " + s.namespace + "/" + gw.Name}, want.says...)
	s.shows(binding, symptom{condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonGatewayNotReady, says: says})
	Expect(binding.Status.PluginID).To(BeEmpty())
	refs := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionResolvedRefs)
	Expect(refs.Status).To(Equal(metav1.ConditionUnknown), "nothing was looked up")
	s.steady(binding)
	s.gatewaySteady(gw)
}

// unacceptable is unusable for a gateway that can never be used as it is.
func (s *story) unacceptable(gw *v1alpha1.KongGateway, binding *v1alpha1.PluginBinding, want symptom) {
	GinkgoHelper()
	s.gatewayShows(gw, want)
	says := append([]string{"KongGateway " + s.namespace + "/" + gw.Name + " cannot be used"}, want.says...)
	s.shows(binding, symptom{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonGatewayNotAccepted, says: says})
	Expect(binding.Status.PluginID).To(BeEmpty())
	s.steady(binding)
	s.gatewaySteady(gw)
}

// noSecrets stands in for an API server whose rules do not let the operator read Secrets.
type noSecrets struct{ client.Reader }

func (r noSecrets) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if _, isSecret := object.(*corev1.Secret); isSecret {
		return apierrors.NewForbidden(corev1.Resource("secrets"), key.Name, errors.New("no rule allows it"))
	}
	return r.Reader.Get(ctx, key, object, options...)
}

var _ = Describe("Bad input: the gateway", func() {
	It("waits for a gateway that does not exist", func() {
		s := newStory()
		unchanged := s.kongAsItWas()
		binding := s.binding("limit", through("odd"))
		s.create(binding)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonGatewayNotFound,
			says: []string{"no KongGateway " + s.namespace + "/odd", "create it, or delete this binding"},
		})
		s.steady(binding)
		unchanged()

		s.create(s.gateway("odd"))
		s.ready(binding)
	})

	It("says that nothing listens there", func() {
		s := newStory()
		unchanged := s.kongAsItWas()
		address := closedPort()
		gw, binding := s.strange(at("http://" + address))
		s.unusable(gw, binding, symptom{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonUnreachable,
			says: []string{"connect to " + address + ": connection refused", "check spec.adminURL"},
		})
		unchanged()

		change(s, gw, at(s.kong.URL()))
		s.ready(binding)
	})

	It("says that there is no such host", func() {
		s := newStory()
		gw, binding := s.strange(at("http://kong-admin.invalid:8001"))
		s.gatewayShows(gw, symptom{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonUnreachable,
			says: []string{"connect to kong-admin.invalid:8001", "check spec.adminURL"},
		})
		s.shows(binding, symptom{condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonGatewayNotReady})
	})

	It("says that there is no answer in time", func() {
		s := newStory()
		answering := make(chan struct{})
		DeferCleanup(func() { close(answering) })
		url := somethingElse(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-answering:
			case <-r.Context().Done():
			}
		})
		gw, binding := s.strange(func(gw *v1alpha1.KongGateway) {
			gw.Spec.AdminURL = url
			gw.Spec.Limits = &v1alpha1.GatewayLimits{RequestTimeout: "200ms"}
		})
		s.unusable(gw, binding, symptom{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonUnreachable,
			says: []string{"no answer in time", "check spec.adminURL"},
		})
	})

	It("says that the token is refused, and picks up a corrected one", func() {
		s := newQuietStory(kongtest.WithToken("Kong-Admin-Token", "right-"+planted))
		s.startOperator()
		hidden := s.eavesdrop()
		unchanged := s.kongAsItWas()
		token := s.secret("token", map[string]string{"token": "wrong-" + planted})
		gw, binding := s.strange(func(gw *v1alpha1.KongGateway) {
			gw.Spec.Auth = &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "token", Key: "token"}}
		})
		s.unusable(gw, binding, symptom{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonDenied,
			says: []string{"Kong answered 401", "check the token in spec.auth.tokenSecretRef"},
		})
		unchanged()

		s.setSecret(token, "token", "right-"+planted+"\n")
		s.ready(binding)
		hidden(planted)
	})

	It("says that a token is needed", func() {
		s := newQuietStory(kongtest.WithToken("Kong-Admin-Token", planted))
		s.startOperator()
		unchanged := s.kongAsItWas()
		gw, binding := s.strange(at(s.kong.URL()))
		s.unusable(gw, binding, symptom{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonDenied,
			says: []string{"Kong answered 401", "spec.auth.tokenSecretRef"},
		})
		unchanged()
	})

	It("waits for the Secret of a token, and for its key", func() {
		s := newStory()
		unchanged := s.kongAsItWas()
		gw, binding := s.strange(func(gw *v1alpha1.KongGateway) {
			gw.Spec.Auth = &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "token", Key: "token"}}
		})
		s.unusable(gw, binding, symptom{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			says: []string{"no Secret token in namespace " + s.namespace},
		})
		token := s.secret("token", nil)
		s.gatewayShows(gw, symptom{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			says: []string{"Secret token in namespace " + s.namespace + " has no key token"},
		})
		unchanged()

		s.setSecret(token, "token", planted)
		s.ready(binding)
	})

	It("lets a gateway, the Secret of its token and its bindings go together", func() {
		s := newStory()
		token := s.secret("token", map[string]string{"token": planted})
		gw, binding := s.strange(func(gw *v1alpha1.KongGateway) {
			gw.Spec.Auth = &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "token", Key: "token"}}
		})
		s.ready(binding)
		Expect(k8s.Delete(s.ctx, gw)).To(Succeed())
		Eventually(s.events).WithArguments(gw).Should(ContainElement(v1alpha1.ReasonInUse))
		Expect(k8s.Delete(s.ctx, token)).To(Succeed())
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.gone(binding)
		s.gone(gw)
		Expect(s.kong.Plugins()).To(BeEmpty())
	})

	It("lets the Secret of its token go before a gateway and its bindings", func() {
		s := newStory()
		token := s.secret("token", map[string]string{"token": planted})
		gw, binding := s.strange(func(gw *v1alpha1.KongGateway) {
			gw.Spec.Auth = &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "token", Key: "token"}}
		})
		s.ready(binding)
		Expect(k8s.Delete(s.ctx, token)).To(Succeed())
		s.gatewayShows(gw, symptom{condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound})
		Expect(k8s.Delete(s.ctx, gw)).To(Succeed())
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.gone(binding)
		s.gone(gw)
		Expect(s.kong.Plugins()).To(BeEmpty())
	})

	It("says that it may not read a Secret", func() {
		s := newQuietStory()
		s.secret("token", map[string]string{"token": planted})
		s.startOperator(func(o *controllers.Options) { o.APIReader = noSecrets{k8s} })
		gw := s.gateway("odd")
		gw.Spec.Auth = &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "token", Key: "token"}}
		binding := s.binding("limit", patched("/minute", "token", "token"))
		unchanged := s.kongAsItWas()
		s.create(gw, binding)
		says := []string{"the API server refuses the operator", `secrets "token" is forbidden`, "give its role this right"}
		s.gatewayShows(gw, symptom{condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonForbidden, says: says})
		s.shows(binding, symptom{condition: v1alpha1.ConditionResolvedRefs, unknown: true, reason: v1alpha1.ReasonForbidden, says: says})
		s.steady(binding)
		unchanged()
	})

	It("says why a binding cannot be deleted whose gateway has lost its labels", func() {
		s := newQuietStory()
		gw := s.gateway("kong")
		label := func(value string) {
			change(s, gw, func(gw *v1alpha1.KongGateway) { gw.Labels = map[string]string{"shard": value} })
		}
		label("1")
		s.startOperator(func(o *controllers.Options) { o.Selector = labels.SelectorFromSet(labels.Set{"shard": "1"}) })
		binding := s.created(s.binding("limit", func(b *v1alpha1.PluginBinding) { b.Labels = map[string]string{"shard": "1"} }))
		unchanged := s.kongAsItWas()
		label("2")
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonDeleting,
			says: []string{"waiting to remove the plugin from Kong", "there is no KongGateway " + s.namespace + "/kong with the labels of what this operator looks after (shard=1)"},
		})
		unchanged()

		label("1")
		s.look(binding) // a cache that is restricted to these labels would show a new gateway
		s.gone(binding)
		Expect(s.kong.Plugins()).To(BeEmpty())
	})

	It("says that what is in Kong cannot be read all together, if that lasts", func() {
		s := newQuietStory()
		t := s.steer()
		binding := t.created(t.binding("limit"))
		mend := t.kong.Inject(kongtest.Fault{
			Method: http.MethodGet, Template: "/plugins", Kind: kongtest.Answer, Status: http.StatusForbidden,
			Body: `{"message":"you do not have permission to read this resource"}`,
		})
		gw := t.sweep(2 * time.Minute)
		Expect(meta.FindStatusCondition(gw.Status.Conditions, v1alpha1.ConditionReady).Message).NotTo(ContainSubstring("cannot be read"), "it may be the network")
		for range 2 {
			gw = t.sweep(2 * time.Minute)
			ready := meta.FindStatusCondition(gw.Status.Conditions, v1alpha1.ConditionReady)
			Expect(ready.Status).To(Equal(metav1.ConditionTrue))
			Expect(ready.Message).To(And(ContainSubstring("the plugins cannot be read all together"), ContainSubstring("you do not have permission")))
		}
		Eventually(t.notes).WithArguments(gw, "SweepFailed").Should(ConsistOf(ContainSubstring("403")))
		mend()
		gw = t.sweep(2 * time.Minute)
		Expect(meta.FindStatusCondition(gw.Status.Conditions, v1alpha1.ConditionReady).Message).NotTo(ContainSubstring("cannot be read"))
		t.ready(binding)
	})

	It("says that an HTML page is not Kong's", func() {
		s := newStory()
		gw, binding := s.strange(at(somethingElse(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html><body>Sign in</body></html>"))
		})))
		s.unusable(gw, binding, symptom{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonNotKong,
			says: []string{"this is not an Admin API of Kong", "check spec.adminURL"},
		})
	})

	It("says that JSON of something else is not Kong's", func() {
		s := newStory()
		gw, binding := s.strange(at(somethingElse(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"status": "ok", "version": "1.0"}`))
		})))
		s.unusable(gw, binding, symptom{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonNotKong,
			says: []string{"this is not an Admin API of Kong", "check spec.adminURL"},
		})
	})

	It("says that 404 to everything is not Kong's Admin API", func() {
		s := newStory()
		gw, binding := s.strange(at(somethingElse(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"message":"Not found"}`))
		})))
		s.unusable(gw, binding, symptom{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonNotKong,
			says: []string{"Kong answered 404", "not the root of an Admin API of Kong", "is the path of adminURL right?"},
		})
	})

	It("says that adminURL points to the proxy's port", func() {
		s := newStory()
		gw, binding := s.strange(at(somethingElse(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.Header().Set("Server", "kong/3.9.1")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"message":"no Route matched with those values","request_id":"` + planted + `"}`))
		})))
		hidden := s.eavesdrop()
		s.unusable(gw, binding, symptom{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonNotKong,
			says: []string{"looks like a proxy port", "adminURL needs the Admin API's"},
		})
		hidden(planted) // a request id would make every message another one
	})

	It("follows no redirect, and says where it led", func() {
		s := newStory()
		gw, binding := s.strange(at(somethingElse(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://kong-admin.example:8444/sign-in?next="+planted, http.StatusFound)
		})))
		hidden := s.eavesdrop()
		s.unusable(gw, binding, symptom{
			condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonUnreachable,
			says: []string{"Kong answered 302: a redirect, which is not followed", "should adminURL point to https://kong-admin.example:8444?"},
		})
		hidden(planted)
	})

	It("refuses a Kong without a database", func() {
		s := newQuietStory(kongtest.WithDBLess())
		s.startOperator()
		unchanged := s.kongAsItWas()
		gw, binding := s.strange(at(s.kong.URL()))
		s.unacceptable(gw, binding, symptom{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonDBLess,
			says: []string{"runs without a database", "use a Kong with database=postgres"},
		})
		Expect(gw.Status.Database).To(Equal("off"))
		unchanged()

		s.kong.SetDBLess(false)
		s.readySoon(binding)
	})

	It("refuses a Kong that is too old", func() {
		s := newQuietStory(kongtest.WithVersion("3.1.1"))
		s.startOperator()
		unchanged := s.kongAsItWas()
		gw, binding := s.strange(at(s.kong.URL()))
		s.unacceptable(gw, binding, symptom{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonUnsupportedVersion,
			says: []string{"Kong 3.1.1 has no instance_name", "upgrade to 3.2 or later"},
		})
		unchanged()

		s.kong.SetVersion("3.2.0")
		s.readySoon(binding)
	})

	It("says that the community edition has no workspaces", func() {
		s := newStory()
		unchanged := s.kongAsItWas()
		gw, binding := s.strange(func(gw *v1alpha1.KongGateway) { gw.Spec.Workspace = "team-a" })
		s.unacceptable(gw, binding, symptom{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonUnsupportedEdition,
			says: []string{"this edition of Kong has none", "remove spec.workspace"},
		})
		unchanged()

		change(s, gw, func(gw *v1alpha1.KongGateway) { gw.Spec.Workspace = "" })
		s.ready(binding)
	})

	It("says that there is no such workspace", func() {
		s := newStory(kongtest.WithWorkspace("team-b"))
		unchanged := s.kongAsItWas()
		gw, binding := s.strange(func(gw *v1alpha1.KongGateway) { gw.Spec.Workspace = "team-a" })
		s.unusable(gw, binding, symptom{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonWorkspaceNotFound,
			says: []string{"the workspace does not exist", "create it, or correct spec.workspace"},
		})
		unchanged()
	})

	It("says that a selector cannot be read", func() {
		s := newStory()
		unchanged := s.kongAsItWas()
		gw, binding := s.strange(func(gw *v1alpha1.KongGateway) {
			gw.Spec.AllowedBindings = &v1alpha1.AllowedBindings{Namespaces: &v1alpha1.BindingNamespaces{
				From: v1alpha1.NamespacesFromSelector,
				Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
					{Key: "team", Operator: "Near", Values: []string{"shop"}},
				}},
			}}
		})
		s.unacceptable(gw, binding, symptom{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidSelector,
			says: []string{"spec.allowedBindings.namespaces.selector", `"Near" is not a valid label selector operator`},
		})
		unchanged()
	})

	It("waits while the database is down, and goes on when it is back", func() {
		s := newStory()
		s.kong.SetDatabaseDown(true)
		unchanged := s.kongAsItWas()
		gw, binding := s.strange(at(s.kong.URL()))
		s.unusable(gw, binding, symptom{
			condition: v1alpha1.ConditionDatabaseReachable, reason: v1alpha1.ReasonDatabaseUnreachable,
			says: []string{"does not reach its database", "nothing is changed until the database is back"},
		})
		unchanged()

		s.kong.SetDatabaseDown(false)
		s.readySoon(binding)
	})

	DescribeTable("leaves what is in force alone while the gateway is out of order",
		func(condition, reason string, breakIt func(*story) (mend func())) {
			s := newStory()
			binding := s.created(s.binding("limit"))
			unchanged := s.kongAsItWas()
			mend := breakIt(s)
			gw := s.gateway("kong")
			s.look(binding) // what it hears has the gateway probed
			s.gatewayShows(gw, symptom{condition: condition, reason: reason})
			s.steady(binding)
			unchanged()

			change(s, binding, declaring("rate-limiting", `{"minute": 6, "policy": "local"}`))
			s.shows(binding, symptom{
				condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonGatewayNotReady,
				says: []string{"KongGateway " + s.namespace + "/kong is not ready"},
			})
			s.steady(binding)
			unchanged()

			mend()
			s.readySoon(binding)
			Expect(s.pluginOf(binding)).To(HaveKeyWithValue("config", HaveKeyWithValue("minute", BeNumerically("==", 6))))
			Expect(s.kong.Plugins()).To(HaveLen(1))
		},
		Entry("its database is down", v1alpha1.ConditionDatabaseReachable, v1alpha1.ReasonDatabaseUnreachable, func(s *story) func() {
			s.kong.SetDatabaseDown(true)
			return func() { s.kong.SetDatabaseDown(false) }
		}),
		Entry("everything is answered with an HTML page", v1alpha1.ConditionReachable, v1alpha1.ReasonNotKong, func(s *story) func() {
			return s.kong.Inject(kongtest.Fault{Kind: kongtest.Answer, Status: http.StatusOK, Body: "<html>maintenance</html>"})
		}),
		Entry("everything is answered with Kong's own 404", v1alpha1.ConditionReachable, v1alpha1.ReasonNotKong, func(s *story) func() {
			return s.kong.Inject(kongtest.Fault{Kind: kongtest.Answer, Status: http.StatusNotFound, Body: `{"message":"Not found"}`})
		}),
		Entry("everything is answered with 401", v1alpha1.ConditionReachable, v1alpha1.ReasonDenied, func(s *story) func() {
			return s.kong.Inject(kongtest.Fault{Kind: kongtest.Answer, Status: http.StatusUnauthorized, Body: `{"message":"Invalid RBAC credentials"}`})
		}),
		Entry("every connection is cut", v1alpha1.ConditionReachable, v1alpha1.ReasonUnreachable, func(s *story) func() {
			return s.kong.Inject(kongtest.Fault{Kind: kongtest.DropBefore})
		}),
	)
})
