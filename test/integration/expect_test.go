package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// conditionMatch is what a person is shown when something is wrong.
type conditionMatch struct {
	// condition that is not True.
	condition string
	// unknown: it could not be found out; otherwise the condition is False.
	unknown bool
	reason  string
	// says is what the message has to contain: the thing at fault, and what to do.
	contains []string
}

func (m conditionMatch) status() metav1.ConditionStatus {
	if m.unknown {
		return metav1.ConditionUnknown
	}
	return metav1.ConditionFalse
}

// matches checks the conditions of either kind against the symptom.
func (m conditionMatch) matches(g Gomega, conditions []metav1.Condition, generation int64) {
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	g.Expect(ready).NotTo(BeNil(), "no Ready condition yet")
	g.Expect(ready.Reason).To(Equal(m.reason), "%s", ready.Message)
	g.Expect(ready.Status).To(Equal(m.status()), "Ready")
	g.Expect(ready.ObservedGeneration).To(Equal(generation))
	for _, text := range m.contains {
		g.Expect(ready.Message).To(ContainSubstring(text))
	}
	detail := meta.FindStatusCondition(conditions, m.condition)
	g.Expect(detail).NotTo(BeNil(), "no condition %s", m.condition)
	g.Expect(detail.Reason).To(Equal(m.reason), "%s", m.condition)
	g.Expect(detail.Status).To(Equal(m.status()), "%s", m.condition)
	for _, condition := range conditions {
		g.Expect(condition.Message).NotTo(BeEmpty(), "%s", condition.Type)
	}
}

// expectCondition waits until the binding, as it is declared now, has the symptom, and the event
// that goes with it.
func (env *testEnv) expectCondition(binding *v1alpha1.PluginBinding, want conditionMatch) *v1alpha1.PluginBinding {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		env.reload(g, binding)
		want.matches(g, binding.Status.Conditions, binding.Generation)
	}).Should(Succeed())
	Eventually(env.eventReasons).WithArguments(binding).Should(ContainElement(want.reason))
	printCondition("PluginBinding", binding.Status.Conditions)
	return binding
}

// expectGatewayCondition is shows for a KongGateway.
func (env *testEnv) expectGatewayCondition(gw *v1alpha1.KongGateway, want conditionMatch) *v1alpha1.KongGateway {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		env.reload(g, gw)
		want.matches(g, gw.Status.Conditions, gw.Generation)
	}).Should(Succeed())
	Eventually(env.eventReasons).WithArguments(gw).Should(ContainElement(want.reason))
	printCondition("KongGateway", gw.Status.Conditions)
	return gw
}

// printCondition puts what kubectl describe shows of the summary into the output of the story.
func printCondition(kind string, conditions []metav1.Condition) {
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	_, _ = fmt.Fprintf(GinkgoWriter, "READS %s | %s | Ready=%s | %s | %s\n",
		CurrentSpecReport().LeafNodeText, kind, ready.Status, ready.Reason, ready.Message)
}

// expectNoStatusWrite looks a few times more, and nothing about the binding may change by that: not a
// condition, and not even a write that changes nothing.
func (env *testEnv) expectNoStatusWrite(binding *v1alpha1.PluginBinding) {
	GinkgoHelper()
	env.reload(Default, binding)
	told := binding.Status.DeepCopy()
	for range 2 {
		before := reconciles("pluginbinding")
		env.requestReconcile(binding)
		version := binding.ResourceVersion
		Eventually(reconciles).WithArguments("pluginbinding").Should(BeNumerically(">", before))
		Consistently(func(g Gomega) {
			env.reload(g, binding)
			g.Expect(binding.ResourceVersion).To(Equal(version), "the status was written")
		}, "250ms").Should(Succeed())
	}
	Expect(binding.Status).To(Equal(*told))
}

// expectNoGatewayStatusWrite waits for two further looks at a gateway, which may not change it, nor come
// one right after the other.
func (env *testEnv) expectNoGatewayStatusWrite(gw *v1alpha1.KongGateway) {
	GinkgoHelper()
	// The count of its bindings follows within a second.
	Eventually(func(g Gomega) {
		env.reload(g, gw)
		g.Expect(gw.Status.Bindings.Total).To(BeEquivalentTo(1))
	}).Should(Succeed())
	version, before := gw.ResourceVersion, reconciles("konggateway")
	Consistently(reconciles, "300ms").WithArguments("konggateway").Should(BeNumerically("<", before+10), "it runs in circles")
	Eventually(reconciles).WithArguments("konggateway").Should(BeNumerically(">", before+1))
	env.reload(Default, gw)
	Expect(gw.ResourceVersion).To(Equal(version), "the status was written")
}

// reconciles is how often a controller has reconciled. Stories run one after another, so that
// it counts the passes of the story's own operator.
func reconciles(controller string) float64 {
	families, err := metrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	var sum float64
	for _, family := range families {
		if family.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "controller" && label.GetValue() == controller {
					sum += metric.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

// kongState is everything that Kong holds, as text.
func (env *testEnv) kongState() string {
	GinkgoHelper()
	text, err := json.MarshalIndent(map[string]any{
		"services": env.kong.Entities("services"), "routes": env.kong.Entities("routes"),
		"consumers": env.kong.Entities("consumers"), "plugins": env.kong.Entities("plugins"),
	}, "", " ")
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// readyAfterProbe is ready for what is noticed only when the gateway is probed again.
func (env *testEnv) readyAfterProbe(binding *v1alpha1.PluginBinding) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		env.reload(g, binding)
		ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
		g.Expect(ready.Reason).To(Equal(v1alpha1.ReasonReady), "%s", ready.Message)
		g.Expect(ready.ObservedGeneration).To(Equal(binding.Generation))
	}, 3*patience).Should(Succeed())
}

// snapshotKong returns a check that Kong still holds exactly what it holds now, and that no
// write was committed in between.
func (env *testEnv) snapshotKong() (check func()) {
	GinkgoHelper()
	rows, mark := env.kongState(), env.kong.Journal().Mark()
	return func() {
		GinkgoHelper()
		Expect(env.kongState()).To(Equal(rows))
		Expect(env.kong.Journal().Since(mark).Writes()).To(BeEmpty())
	}
}

// captureLog keeps what the operator logs from now on.
func captureLog() *gbytes.Buffer {
	logged := gbytes.NewBuffer()
	GinkgoWriter.TeeTo(logged)
	DeferCleanup(GinkgoWriter.ClearTeeWriters)
	return logged
}

// captureOutput keeps what the operator logs from now on, and returns a check that neither the
// log nor a status, an event or a metric shows a secret.
func (env *testEnv) captureOutput() (expectHidden func(secrets ...string)) {
	logged := captureLog()
	return func(secrets ...string) {
		GinkgoHelper()
		places := map[string]string{"log": string(logged.Contents()), "metrics": env.metricsText()}
		for _, list := range []client.ObjectList{&v1alpha1.PluginBindingList{}, &v1alpha1.KongGatewayList{}, &eventsv1.EventList{}} {
			for _, namespace := range env.namespaces {
				Expect(k8s.List(env.ctx, list, client.InNamespace(namespace))).To(Succeed())
				text, err := json.Marshal(list)
				Expect(err).NotTo(HaveOccurred())
				places[fmt.Sprintf("%T in %s", list, namespace)] = string(text)
			}
		}
		for place, text := range places {
			for _, secret := range secrets {
				Expect(strings.Contains(text, secret)).To(BeFalse(), "%s shows the secret", place)
			}
		}
	}
}

// metricsText of the story's operator, as text.
func (env *testEnv) metricsText() string {
	GinkgoHelper()
	families, err := env.operator.registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	var text strings.Builder
	for _, family := range families {
		text.WriteString(family.String())
	}
	return text.String()
}

// secret creates a Secret in the story's namespace.
func (env *testEnv) secret(name string, data map[string]string) *corev1.Secret {
	GinkgoHelper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: name}, StringData: data}
	env.create(secret)
	return secret
}

// setSecretKey changes one key of a Secret.
func (env *testEnv) setSecretKey(secret *corev1.Secret, key, value string) {
	GinkgoHelper()
	change(env, secret, func(object *corev1.Secret) {
		if object.Data == nil {
			object.Data = map[string][]byte{}
		}
		object.Data[key] = []byte(value)
	})
}

// fromSecret refers to a key of a Secret.
func fromSecret(name, key string) v1alpha1.ConfigSource {
	return v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: name, Key: key}}
}

// withPlugin sets the plugin of a binding and its config.
func withPlugin(name, config string) func(*v1alpha1.PluginBinding) {
	return func(binding *v1alpha1.PluginBinding) {
		binding.Spec.Plugin = v1alpha1.PluginName(name)
		binding.Spec.Config = nil
		if config != "" {
			binding.Spec.Config = jsonOf(config)
		}
	}
}

// withConfigPatch adds a config patch from a Secret.
func withConfigPatch(path, secret, key string) func(*v1alpha1.PluginBinding) {
	return func(binding *v1alpha1.PluginBinding) {
		binding.Spec.ConfigPatches = append(binding.Spec.ConfigPatches, v1alpha1.ConfigPatch{
			Path: path, ValueFrom: fromSecret(secret, key), Format: v1alpha1.FormatString,
		})
	}
}

// withConfigFrom takes the config from a Secret.
func withConfigFrom(secret, key string) func(*v1alpha1.PluginBinding) {
	return func(binding *v1alpha1.PluginBinding) {
		source := fromSecret(secret, key)
		binding.Spec.Config, binding.Spec.ConfigFrom = nil, &source
	}
}

// withGateway binds to another gateway than the one named kong.
func withGateway(gateway string) func(*v1alpha1.PluginBinding) {
	return func(binding *v1alpha1.PluginBinding) { binding.Spec.GatewayRef.Name = gateway }
}

// withScope sets the scope of a binding, nil for a global plugin.
func withScope(scope *v1alpha1.Scope) func(*v1alpha1.PluginBinding) {
	return func(binding *v1alpha1.PluginBinding) { binding.Spec.Scope = scope }
}

// withAdoptionPolicy sets the adoption policy of a binding.
func withAdoptionPolicy(policy v1alpha1.AdoptionPolicy) func(*v1alpha1.PluginBinding) {
	return func(binding *v1alpha1.PluginBinding) { binding.Spec.AdoptionPolicy = policy }
}

// serveReadOnly listens where a Kong was expected, and fails the story when anything but a
// GET comes in.
func serveReadOnly(handler http.HandlerFunc) (url string) {
	var written atomic.Pointer[string]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			line := r.Method + " " + r.URL.Path
			written.Store(&line)
		}
		handler(w, r)
	}))
	DeferCleanup(func() {
		server.Close()
		Expect(written.Load()).To(BeNil(), "a request that could have changed something")
	})
	return server.URL
}

// closedPort is an address on which nothing listens.
func closedPort() string {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	address := listener.Addr().String()
	Expect(listener.Close()).To(Succeed())
	return address
}

// authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         string
}

func newAuthority(name string) authority {
	GinkgoHelper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	template := validNow(name)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	Expect(err).NotTo(HaveOccurred())
	certificate, err := x509.ParseCertificate(der)
	Expect(err).NotTo(HaveOccurred())
	return authority{certificate, key, pemOf("CERTIFICATE", der)}
}

func validNow(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(counter.Add(1)), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// issue makes a certificate for names and addresses, and gives it as tls.crt and tls.key too.
func (a authority) issue(hosts ...string) (tls.Certificate, map[string]string) {
	GinkgoHelper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	template := validNow(strings.Join(hosts, " "))
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	Expect(err).NotTo(HaveOccurred())
	private, err := x509.MarshalPKCS8PrivateKey(key)
	Expect(err).NotTo(HaveOccurred())
	files := map[string]string{
		corev1.TLSCertKey: pemOf("CERTIFICATE", der), corev1.TLSPrivateKeyKey: pemOf("PRIVATE KEY", private),
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, files
}

// pool that trusts the authority.
func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// countEvents is how many events of a reason there are about an object.
func (env *testEnv) countEvents(object client.Object, reason string) int {
	reasons := env.eventReasons(object)
	return len(slices.DeleteFunc(reasons, func(r string) bool { return r != reason }))
}
