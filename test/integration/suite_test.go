// Package integration tests the operator's user stories on a real API server: the real
// controllers run in this process, against a stand-in for Kong that keeps a journal. Each spec
// has namespaces, a Kong and an operator of its own.
package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// clusterID is the cluster ID in the ownership tags.
const clusterID = "stories"

const (
	patience = 15 * time.Second
	interval = 20 * time.Millisecond
)

var (
	restConfig *rest.Config
	k8s        client.Client
	testScheme = runtime.NewScheme()
	counter    atomic.Int64
)

func TestStories(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "User stories")
}

var _ = BeforeSuite(func() {
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(interval)
	ctrl.SetLogger(zap.New(zap.WriteTo(GinkgoWriter), zap.UseDevMode(true)))
	Expect(os.Getenv("KUBEBUILDER_ASSETS")).NotTo(BeEmpty(),
		"KUBEBUILDER_ASSETS must name a directory with etcd and kube-apiserver; make test provides them")
	Expect(scheme.AddToScheme(testScheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(testScheme)).To(Succeed())

	environment := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd", "bases"), filepath.Join("testdata", "kic.yaml")},
		ErrorIfCRDPathMissing: true,
	}
	var err error
	restConfig, err = environment.Start()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(environment.Stop)
	restConfig.QPS = -1
	k8s, err = client.New(restConfig, client.Options{Scheme: testScheme})
	Expect(err).NotTo(HaveOccurred())
})

// testEnv is the environment of one spec.
type testEnv struct {
	ctx        context.Context
	namespace  string
	namespaces []string
	kong       *kongtest.Server
	operator   *operator
}

// newTestEnv creates a namespace, a Kong with the service orders, its route orders-v1 and the
// consumer alice, and a KongGateway named kong for it. It starts the operator.
func newTestEnv(options ...kongtest.Option) *testEnv {
	env := newEnvWithoutOperator(options...)
	env.startOperator()
	env.waitForGateway()
	return env
}

// newEnvWithoutOperator is newTestEnv without an operator.
func newEnvWithoutOperator(options ...kongtest.Option) *testEnv {
	env := &testEnv{ctx: context.Background()}
	env.namespace = env.newNamespace(nil)
	env.kong = kongtest.New(options...)
	DeferCleanup(env.kong.Close)
	env.kong.Seed("services", map[string]any{"name": "orders", "url": "http://127.0.0.1:9"})
	env.kong.Seed("routes", map[string]any{"name": "orders-v1", "paths": []any{"/orders"}, "service": map[string]any{"name": "orders"}})
	env.kong.Seed("consumers", map[string]any{"username": "alice", "custom_id": "crm-1001"})
	env.create(env.gateway("kong"))
	return env
}

func (env *testEnv) newNamespace(labels map[string]string) string {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: fmt.Sprintf("spec-%d", counter.Add(1)), Labels: labels,
	}}
	Expect(k8s.Create(env.ctx, namespace)).To(Succeed())
	env.namespaces = append(env.namespaces, namespace.Name)
	return namespace.Name
}

// gateway returns a KongGateway for the Kong of this environment. It does not create it.
func (env *testEnv) gateway(name string) *v1alpha1.KongGateway {
	return &v1alpha1.KongGateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: name},
		Spec:       v1alpha1.KongGatewaySpec{AdminURL: env.kong.URL(), ResyncInterval: "10s"},
	}
}

// binding returns a PluginBinding of rate-limiting on the service orders. It does not create
// it.
func (env *testEnv) binding(name string, change ...func(*v1alpha1.PluginBinding)) *v1alpha1.PluginBinding {
	binding := &v1alpha1.PluginBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: name},
		Spec: v1alpha1.PluginBindingSpec{
			GatewayRef: v1alpha1.GatewayRef{Name: "kong"},
			Plugin:     "rate-limiting",
			Scope:      &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "orders"}},
			Config:     jsonOf(`{"minute": 5, "policy": "local"}`),
		},
	}
	for _, c := range change {
		c(binding)
	}
	return binding
}

func (env *testEnv) create(objects ...client.Object) {
	GinkgoHelper()
	for _, object := range objects {
		Expect(k8s.Create(env.ctx, object)).To(Succeed())
	}
}

// createReady creates the binding and waits until it is Ready.
func (env *testEnv) createReady(binding *v1alpha1.PluginBinding) *v1alpha1.PluginBinding {
	GinkgoHelper()
	env.create(binding)
	return env.waitUntilReady(binding)
}

// waitUntilReady waits until the current generation of the binding is Ready.
func (env *testEnv) waitUntilReady(binding *v1alpha1.PluginBinding) *v1alpha1.PluginBinding {
	GinkgoHelper()
	return env.waitForReady(binding, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// waitForReady waits until the current generation of the binding has that status and reason of
// Ready.
func (env *testEnv) waitForReady(binding *v1alpha1.PluginBinding, status metav1.ConditionStatus, reason string) *v1alpha1.PluginBinding {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		env.reload(g, binding)
		ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
		g.Expect(ready).NotTo(BeNil(), "no Ready condition yet")
		g.Expect(ready.Reason).To(Equal(reason), "%s", ready.Message)
		g.Expect(ready.Status).To(Equal(status))
		g.Expect(ready.ObservedGeneration).To(Equal(binding.Generation))
	}).Should(Succeed())
	return binding
}

func (env *testEnv) reload(g Gomega, object client.Object) {
	GinkgoHelper()
	g.Expect(k8s.Get(env.ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
}

// change patches an object as a user would.
func change[T client.Object](env *testEnv, object T, edit func(T)) {
	GinkgoHelper()
	Expect(k8s.Get(env.ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	base := object.DeepCopyObject().(client.Object)
	edit(object)
	Expect(k8s.Patch(env.ctx, object, client.MergeFrom(base))).To(Succeed())
}

// requestReconcile requests a reconcile of the binding.
func (env *testEnv) requestReconcile(binding *v1alpha1.PluginBinding) {
	GinkgoHelper()
	change(env, binding, func(b *v1alpha1.PluginBinding) {
		metav1.SetMetaDataAnnotation(&b.ObjectMeta, v1alpha1.ReconcileRequestedAtAnnotation, fmt.Sprint(counter.Add(1)))
	})
}

// forceDelete removes the finalizer and deletes the binding, so that its plugin stays.
func (env *testEnv) forceDelete(binding *v1alpha1.PluginBinding) {
	GinkgoHelper()
	change(env, binding, func(b *v1alpha1.PluginBinding) { b.Finalizers = nil })
	Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
	env.waitUntilGone(binding)
}

// waitUntilGone waits until the object no longer exists.
func (env *testEnv) waitUntilGone(object client.Object) {
	GinkgoHelper()
	Eventually(env.isGone).WithArguments(object).Should(BeTrue(), "still there")
}

// isGone reads the object from the API server.
func (env *testEnv) isGone(object client.Object) bool {
	return apierrors.IsNotFound(k8s.Get(env.ctx, client.ObjectKeyFromObject(object), object))
}

func (env *testEnv) waitForGateway() {
	GinkgoHelper()
	gw := &v1alpha1.KongGateway{ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: "kong"}}
	Eventually(func(g Gomega) {
		env.reload(g, gw)
		g.Expect(meta.IsStatusConditionTrue(gw.Status.Conditions, v1alpha1.ConditionReady)).To(BeTrue(), "%+v", gw.Status.Conditions)
	}).Should(Succeed())
}

// kongPlugin returns the plugin in Kong under the binding's recorded ID, or nil.
func (env *testEnv) kongPlugin(binding *v1alpha1.PluginBinding) map[string]any {
	GinkgoHelper()
	Expect(binding.Status.PluginID).NotTo(BeEmpty())
	return env.kong.Plugin(string(binding.Status.PluginID))
}

// ownedPlugins returns the plugins in Kong that carry the ownership tags of the binding.
func (env *testEnv) ownedPlugins(binding *v1alpha1.PluginBinding) []map[string]any {
	var mine []map[string]any
	for _, row := range env.kong.Plugins() {
		tags := stringsOf(row["tags"])
		instance, _ := row["instance_name"].(string)
		standing, _ := identity.OwnershipOf(identity.Binding{Cluster: clusterID, Namespace: binding.Namespace, Name: binding.Name}, tags, instance)
		if standing == identity.Owned {
			mine = append(mine, row)
		}
	}
	return mine
}

// eventsAbout returns the events about the object.
func (env *testEnv) eventsAbout(object client.Object) []eventsv1.Event {
	GinkgoHelper()
	list := &eventsv1.EventList{}
	Expect(k8s.List(env.ctx, list, client.InNamespace(object.GetNamespace()))).To(Succeed())
	return slices.DeleteFunc(list.Items, func(e eventsv1.Event) bool { return e.Regarding.UID != object.GetUID() })
}

// eventReasons returns the reasons of the events about the object, in no order.
func (env *testEnv) eventReasons(object client.Object) []string {
	GinkgoHelper()
	var reasons []string
	for _, event := range env.eventsAbout(object) {
		reasons = append(reasons, event.Reason)
	}
	return reasons
}

// eventNotes returns the notes of the events of one reason about the object.
func (env *testEnv) eventNotes(object client.Object, reason string) []string {
	GinkgoHelper()
	var notes []string
	for _, event := range env.eventsAbout(object) {
		if event.Reason == reason {
			notes = append(notes, event.Note)
		}
	}
	return notes
}

// operator is one run of the controllers.
type operator struct {
	stop     context.CancelFunc
	done     chan error
	registry *prometheus.Registry
}

// startOperator runs the controllers over the namespaces of the environment, until the spec
// ends or stopOperator. As in the manager, the cache holds only objects that match the
// selector.
func (env *testEnv) startOperator(adjust ...func(*controllers.Options)) {
	GinkgoHelper()
	namespaces := map[string]cache.Config{}
	for _, name := range env.namespaces {
		namespaces[name] = cache.Config{}
	}
	op := &operator{done: make(chan error, 1), registry: prometheus.NewRegistry()}
	options := controllers.Options{
		ClusterID: clusterID, Namespaces: env.namespaces, Workers: 4,
		Registry: op.registry, Clock: clock.RealClock{},
		// So long ago that no write of a former leader can be in flight.
		LeadingSince: time.Now().Add(-time.Hour),
	}
	for _, a := range adjust {
		a(&options)
	}
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:                 testScheme,
		Metrics:                metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: "0",
		Cache: cache.Options{
			DefaultNamespaces: namespaces,
			ByObject: map[client.Object]cache.ByObject{
				&v1alpha1.KongGateway{}:   {Label: options.Selector},
				&v1alpha1.PluginBinding{}: {Label: options.Selector},
				&v1alpha1.PluginPolicy{}:  {Label: options.Selector},
			},
		},
		Controller:              config.Controller{SkipNameValidation: ptr.To(true)},
		GracefulShutdownTimeout: ptr.To(patience),
	})
	Expect(err).NotTo(HaveOccurred())
	ctx, stop := context.WithCancel(env.ctx)
	op.stop = stop
	Expect(controllers.AddToManager(ctx, mgr, options)).To(Succeed())
	go func() { op.done <- mgr.Start(ctx) }()
	env.operator = op
	DeferCleanup(env.stopOperator)
}

// stopOperator stops the operator as SIGTERM does.
func (env *testEnv) stopOperator() {
	GinkgoHelper()
	if env.operator == nil {
		return
	}
	env.operator.stop()
	Eventually(env.operator.done, patience).Should(Receive(Succeed()))
	env.operator = nil
}
