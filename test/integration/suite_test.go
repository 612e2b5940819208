// Package integration tells the operator's user stories on a real API server: the real
// controllers in this process, and a stand-in for Kong that keeps a journal. Each story
// has namespaces, a Kong and an operator of its own.
package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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

// clusterID marks the plugins of these stories.
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
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd", "bases")},
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

// testEnv is what one story plays in.
type testEnv struct {
	ctx        context.Context
	namespace  string
	namespaces []string
	kong       *kongtest.Server
	operator   *operator
}

// newTestEnv makes a namespace, a Kong with the service orders, its route orders-v1 and the
// consumer alice, a KongGateway named kong for it, and starts the operator.
func newTestEnv(options ...kongtest.Option) *testEnv {
	env := newEnvWithoutOperator(options...)
	env.startOperator()
	env.waitForGateway()
	return env
}

// newEnvWithoutOperator is newStory without an operator.
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
		Name: fmt.Sprintf("story-%d", counter.Add(1)), Labels: labels,
	}}
	Expect(k8s.Create(env.ctx, namespace)).To(Succeed())
	env.namespaces = append(env.namespaces, namespace.Name)
	return namespace.Name
}

// gateway is a KongGateway for the story's Kong, not yet created.
func (env *testEnv) gateway(name string) *v1alpha1.KongGateway {
	return &v1alpha1.KongGateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: name},
		Spec:       v1alpha1.KongGatewaySpec{AdminURL: env.kong.URL(), ResyncInterval: "10s"},
	}
}

// binding is a PluginBinding of rate-limiting on the service orders, not yet created.
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

// waitUntilReady waits until the binding, as it is declared now, is Ready, and returns it.
func (env *testEnv) waitUntilReady(binding *v1alpha1.PluginBinding) *v1alpha1.PluginBinding {
	GinkgoHelper()
	return env.waitForReady(binding, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// waitForReady waits until the summary of the binding is as given for its present generation.
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

// change patches an object's metadata or spec.
func change[T client.Object](env *testEnv, object T, edit func(T)) {
	GinkgoHelper()
	Expect(k8s.Get(env.ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	base := object.DeepCopyObject().(client.Object)
	edit(object)
	Expect(k8s.Patch(env.ctx, object, client.MergeFrom(base))).To(Succeed())
}

// requestReconcile asks the operator to look at the binding now.
func (env *testEnv) requestReconcile(binding *v1alpha1.PluginBinding) {
	GinkgoHelper()
	change(env, binding, func(b *v1alpha1.PluginBinding) {
		metav1.SetMetaDataAnnotation(&b.ObjectMeta, v1alpha1.ReconcileRequestedAtAnnotation, fmt.Sprint(counter.Add(1)))
	})
}

// forceDelete deletes a binding that the operator cannot clean up after: without its finalizer.
func (env *testEnv) forceDelete(binding *v1alpha1.PluginBinding) {
	GinkgoHelper()
	change(env, binding, func(b *v1alpha1.PluginBinding) { b.Finalizers = nil })
	Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
	env.waitUntilGone(binding)
}

// waitUntilGone waits until the object does not exist any more.
func (env *testEnv) waitUntilGone(object client.Object) {
	GinkgoHelper()
	Eventually(env.isGone).WithArguments(object).Should(BeTrue(), "still there")
}

// isGone asks the API server for the object.
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

// kongPlugin is what Kong holds under the binding's recorded ID, nil if nothing.
func (env *testEnv) kongPlugin(binding *v1alpha1.PluginBinding) map[string]any {
	GinkgoHelper()
	Expect(binding.Status.PluginID).NotTo(BeEmpty())
	return env.kong.Plugin(string(binding.Status.PluginID))
}

// ownedPlugins are the plugins in Kong that bear the marks of the binding.
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

// eventReasons are the reasons of the events about the object, in no order.
func (env *testEnv) eventReasons(object client.Object) []string {
	GinkgoHelper()
	list := &eventsv1.EventList{}
	Expect(k8s.List(env.ctx, list, client.InNamespace(object.GetNamespace()))).To(Succeed())
	var reasons []string
	for i := range list.Items {
		if list.Items[i].Regarding.UID == object.GetUID() {
			reasons = append(reasons, list.Items[i].Reason)
		}
	}
	return reasons
}

// operator is one run of the real controllers.
type operator struct {
	stop     context.CancelFunc
	done     chan error
	registry *prometheus.Registry
}

// startOperator runs the controllers over the story's namespaces until the story ends or
// stopOperator. Like the command's, its cache holds only what bears the labels of its selector.
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
		// For so long that nothing of an earlier leader's can be under way.
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

// stopOperator stops it as SIGTERM does.
func (env *testEnv) stopOperator() {
	GinkgoHelper()
	if env.operator == nil {
		return
	}
	env.operator.stop()
	Eventually(env.operator.done, patience).Should(Receive(Succeed()))
	env.operator = nil
}
