package admission

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// answerTime is what a person waits for the webhook at most: then the API server goes on without it.
const answerTime = 3 * time.Second

var number atomic.Int32

// user is a client that keeps the warnings that the API server sends.
type user struct {
	client.Client
	mu       sync.Mutex
	warnings []string
}

func (u *user) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.warnings = append(u.warnings, text)
}

// warned reports whether a warning contains the text.
func (u *user) warned(text string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.ContainsFunc(u.warnings, func(warning string) bool { return strings.Contains(warning, text) })
}

func newUser(t *testing.T) *user {
	t.Helper()
	u := &user{}
	config := rest.CopyConfig(suite.config)
	config.WarningHandlerWithContext = u
	var err error
	if u.Client, err = client.New(config, client.Options{Scheme: suite.scheme}); err != nil {
		t.Fatal(err)
	}
	return u
}

// gatewayFor creates a gateway for the Kong, and waits until the leader accepts it.
func gatewayFor(t *testing.T, kong *kongtest.Server) string {
	t.Helper()
	gateway := &v1alpha1.KongGateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint("kong-", number.Add(1))},
		Spec:       v1alpha1.KongGatewaySpec{AdminURL: kong.URL()},
	}
	if err := suite.client.Create(t.Context(), gateway); err != nil {
		t.Fatal(err)
	}
	if err := eventually(func() (bool, error) {
		err := suite.client.Get(t.Context(), client.ObjectKeyFromObject(gateway), gateway)
		return meta.IsStatusConditionTrue(gateway.Status.Conditions, v1alpha1.ConditionReady), err
	}); err != nil {
		t.Fatal(err, gateway.Status.Conditions)
	}
	return gateway.Name
}

func binding(gateway, config string) *v1alpha1.PluginBinding {
	return &v1alpha1.PluginBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint("binding-", number.Add(1))},
		Spec: v1alpha1.PluginBindingSpec{
			GatewayRef: v1alpha1.GatewayRef{Name: gateway}, Plugin: "rate-limiting",
			Scope:  &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "orders"}},
			Config: &apiextensionsv1.JSON{Raw: []byte(config)},
		},
	}
}

// refused expects Kong's words at the field of the object. The caches of the replica may be late.
func refused(t *testing.T, u *user, object *v1alpha1.PluginBinding, opts ...client.CreateOption) error {
	t.Helper()
	var err error
	if waited := eventually(func() (bool, error) {
		err = u.Create(t.Context(), object.DeepCopy(), append(opts, client.DryRunAll)...)
		return err != nil, nil
	}); waited != nil {
		t.Fatal("admitted")
	}
	want := fmt.Sprintf(`admission webhook "pluginbinding.kong.pluginbinding.io" denied the request: PluginBinding.kong.pluginbinding.io %q is invalid: spec.config.minute: Invalid value: expected a number`, object.Name)
	if !apierrors.IsInvalid(err) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	return err
}

func TestKongsRefusalIsTheAPIServers(t *testing.T) {
	u, gateway := newUser(t), gatewayFor(t, suite.kong)
	bad := binding(gateway, `{"minute": "five"}`)
	_ = refused(t, u, bad)
	if err := eventually(func() (bool, error) {
		err := u.Create(t.Context(), bad)
		if err == nil { // the API server did not wait long enough for the webhook
			err = u.Delete(t.Context(), bad)
			bad = binding(gateway, `{"minute": "five"}`)
			return false, err
		}
		return apierrors.IsInvalid(err), nil
	}); err != nil {
		t.Fatalf("not a dry run: %v", err)
	}
	good := binding(gateway, `{"minute": 5}`)
	if err := u.Create(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if err := eventually(func() (bool, error) {
		err := u.Get(t.Context(), client.ObjectKeyFromObject(good), good)
		return meta.IsStatusConditionTrue(good.Status.Conditions, v1alpha1.ConditionReady), err
	}); err != nil {
		t.Fatal(err, good.Status.Conditions)
	}
	if err := eventually(func() (bool, error) {
		changed := good.DeepCopy()
		changed.Spec.Config = &apiextensionsv1.JSON{Raw: []byte(`{"minute": "five"}`)}
		err := u.Patch(t.Context(), changed, client.MergeFrom(good))
		if err == nil { // as above
			return false, u.Patch(t.Context(), changed, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"config":{"minute":5}}}`)))
		}
		return apierrors.IsInvalid(err), nil
	}); err != nil {
		t.Errorf("an update: %v", err)
	}
	second := binding(gateway, `{"minute": 5}`)
	if err := eventually(func() (bool, error) { // the cache of the replica may be late
		err := u.Create(t.Context(), second.DeepCopy(), client.DryRunAll)
		return u.warned("PluginBinding " + good.Name + " declares the plugin rate-limiting on the same scope"), err
	}); err != nil {
		t.Errorf("%v: warnings %q", err, u.warnings)
	}
	if err := u.Delete(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if err := eventually(func() (bool, error) {
		return apierrors.IsNotFound(u.Get(t.Context(), client.ObjectKeyFromObject(good), good)), nil
	}); err != nil {
		t.Error("the finalizer stays:", err)
	}
}

func TestAPolicyIsRefusedAtItsTemplate(t *testing.T) {
	u, gateway := newUser(t), gatewayFor(t, suite.kong)
	policy := &v1alpha1.PluginPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "limit"},
		Spec: v1alpha1.PluginPolicySpec{
			GatewayRef: v1alpha1.GatewayRef{Name: gateway}, TargetRefs: []v1alpha1.PolicyTargetRef{{Kind: "Service", Name: "orders"}},
		},
	}
	policy.Spec.Template.Spec.Plugin = "rate-limiting"
	policy.Spec.Template.Spec.Config = &apiextensionsv1.JSON{Raw: []byte(`{"minute": "five"}`)}
	var err error
	if waited := eventually(func() (bool, error) {
		err = u.Create(t.Context(), policy.DeepCopy(), client.DryRunAll)
		return err != nil, nil
	}); waited != nil {
		t.Fatal("admitted")
	}
	if !strings.HasSuffix(err.Error(), `is invalid: spec.template.spec.config.minute: Invalid value: expected a number`) {
		t.Error(err)
	}
}

// admitted expects the object to pass.
func admitted(t *testing.T, u *user, object *v1alpha1.PluginBinding) {
	t.Helper()
	if err := u.Create(t.Context(), object, client.DryRunAll); err != nil {
		t.Error(err)
	}
}

// The API server bounds how long somebody waits for the webhooks.
func TestTheAPIServerGoesOnWithoutTheWebhooks(t *testing.T) {
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := suite.client.Get(t.Context(), client.ObjectKey{Name: webhookName}, configuration); err != nil {
		t.Fatal(err)
	}
	for _, webhook := range configuration.Webhooks {
		if limit := time.Duration(ptr.Deref(webhook.TimeoutSeconds, 10)) * time.Second; limit > answerTime || ptr.Deref(webhook.FailurePolicy, "") != admissionregistrationv1.Ignore {
			t.Errorf("%s: %s, %s", webhook.Name, limit, ptr.Deref(webhook.FailurePolicy, ""))
		}
	}
}

func TestWhatCannotBeKnownIsAdmitted(t *testing.T) {
	u, gateway := newUser(t), gatewayFor(t, suite.kong)
	_ = refused(t, u, binding(gateway, `{"minute": "five"}`))
	for name, object := range map[string]*v1alpha1.PluginBinding{
		"no such gateway": binding("none", `{"minute": "five"}`),
		"another namespace's gateway, which does not allow it": func() *v1alpha1.PluginBinding {
			b := binding(gateway, `{"minute": "five"}`)
			b.Spec.GatewayRef.Namespace, b.Namespace = "default", "kube-public"
			return b
		}(),
		"a Secret that does not exist": func() *v1alpha1.PluginBinding {
			b := binding(gateway, "")
			b.Spec.Config = nil
			b.Spec.ConfigFrom = &v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: "none", Key: "config"}}
			return b
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			before := suite.kong.Journal().Count(http.MethodPost, "/schemas/plugins/validate")
			admitted(t, u, object)
			if after := suite.kong.Journal().Count(http.MethodPost, "/schemas/plugins/validate"); after != before {
				t.Errorf("Kong was asked %d times", after-before)
			}
		})
	}
}

func TestAKongThatIsSlowOrDownHoldsNobodyUp(t *testing.T) {
	for name, fault := range map[string]kongtest.Fault{
		"slow": {Template: "/schemas/plugins/validate", Kind: kongtest.Delay, Delay: time.Minute},
		"down": {Template: "/schemas/plugins/validate", Kind: kongtest.DropBefore},
	} {
		t.Run(name, func(t *testing.T) {
			kong := kongtest.Start(t)
			kong.Inject(fault)
			u, gateway := newUser(t), gatewayFor(t, kong)
			other := gatewayFor(t, suite.kong)
			_ = refused(t, u, binding(other, `{"minute": "five"}`))
			if err := eventually(func() (bool, error) { // the replica's cache has the gateway
				admitted(t, u, binding(gateway, `{"minute": "five"}`))
				return len(u.warnings) > 0, nil
			}); err != nil {
				t.Fatal("no warning")
			}
			if !strings.Contains(u.warnings[0], "did not answer in time") {
				t.Errorf("%q", u.warnings)
			}
			_ = refused(t, u, binding(other, `{"minute": "six"}`))
		})
	}
}

func TestAReplicaThatDoesNotLeadServes(t *testing.T) {
	u, gateway := newUser(t), gatewayFor(t, suite.kong)
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	for _, r := range []*replica{suite.replicas[1], suite.replicas[0]} {
		if err := eventually(func() (bool, error) {
			if err := suite.client.Get(t.Context(), client.ObjectKey{Name: webhookName}, configuration); err != nil {
				return false, err
			}
			setPort(configuration, r.port)
			err := suite.client.Update(t.Context(), configuration)
			return err == nil, err
		}); err != nil {
			t.Fatal(err)
		}
		_ = refused(t, u, binding(gateway, `{"minute": "seven"}`))
	}
}

func TestACertificateThatWasLostComesBack(t *testing.T) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: system, Name: webhookName}
	if err := suite.client.Get(t.Context(), key, secret); err != nil {
		t.Fatal(err)
	}
	authority := string(secret.Data["ca.crt"])
	secret.Data = nil
	if err := suite.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := eventually(func() (bool, error) {
		if err := suite.client.Get(t.Context(), key, secret); err != nil {
			return false, err
		}
		err := suite.client.Get(t.Context(), client.ObjectKey{Name: webhookName}, configuration)
		now := string(secret.Data["ca.crt"])
		return now != "" && now != authority && string(configuration.Webhooks[0].ClientConfig.CABundle) == now, err
	}); err != nil {
		t.Fatal(err)
	}
	if err := mount(secret); err != nil {
		t.Fatal(err)
	}
	_ = refused(t, newUser(t), binding(gatewayFor(t, suite.kong), `{"minute": "five"}`)) // the replica serves the new one
}
