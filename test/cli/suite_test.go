package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
	"sigs.k8s.io/yaml"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/kic"
)

// clusterID is the cluster ID in the ownership tags.
const clusterID = "cli"

const (
	// patience is the timeout for anything that must happen, on a busy machine.
	patience = time.Minute
	interval = 20 * time.Millisecond
)

var (
	environment *envtest.Environment
	restConfig  *rest.Config
	k8s         client.Client
	testScheme  = runtime.NewScheme()
	counter     atomic.Int64
	// binary is the kubectl plugin, and kubeconfig the file of an administrator.
	binary, kubeconfig string
)

func TestCommands(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Commands")
}

var _ = BeforeSuite(func() {
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(interval)
	ctrl.SetLogger(zap.New(zap.WriteTo(GinkgoWriter), zap.UseDevMode(true)))
	Expect(os.Getenv("KUBEBUILDER_ASSETS")).NotTo(BeEmpty(),
		"KUBEBUILDER_ASSETS must name a directory with etcd and kube-apiserver; make test provides them")
	Expect(scheme.AddToScheme(testScheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(testScheme)).To(Succeed())

	directory := GinkgoT().TempDir()
	binary = filepath.Join(directory, "kubectl-pluginbinding")
	output, err := exec.Command("go", "build", "-buildvcs=false", "-tags", "grpcnotrace", "-o", binary, "../../cmd/kubectl-pluginbinding").CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s", output)

	// The kinds of Kong's ingress controller have all their fields from the start: an API server that gets
	// other ones later goes on with the old ones for a while.
	ingressKinds, err := kic.CRDPath()
	Expect(err).NotTo(HaveOccurred())
	environment = &envtest.Environment{
		CRDDirectoryPaths:        []string{filepath.Join("..", "..", "config", "crd", "bases"), ingressKinds},
		ErrorIfCRDPathMissing:    true,
		CRDInstallOptions:        envtest.CRDInstallOptions{MaxTime: patience},
		ControlPlaneStartTimeout: patience,
		ControlPlaneStopTimeout:  patience,
	}
	restConfig, err = environment.Start()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(environment.Stop)
	restConfig.QPS = -1
	k8s, err = client.New(restConfig, client.Options{Scheme: testScheme})
	Expect(err).NotTo(HaveOccurred())
	kubeconfig = filepath.Join(directory, "kubeconfig")
	Expect(os.WriteFile(kubeconfig, environment.KubeConfig, 0o600)).To(Succeed())
})

// testEnv is the environment of one spec.
type testEnv struct {
	ctx       context.Context
	namespace string
	kong      *kongtest.Server
	// home is the directory of the user's files and caches.
	home string
}

// newTestEnv creates a namespace, a Kong with the services orders and users, the route orders-v1 and the consumer alice, and a
// KongGateway named kong for it. It starts an operator for the namespace.
func newTestEnv(options ...kongtest.Option) *testEnv {
	GinkgoHelper()
	env := &testEnv{ctx: context.Background(), home: GinkgoT().TempDir()}
	env.namespace = env.newNamespace()
	env.kong = kongtest.New(options...)
	DeferCleanup(env.kong.Close)
	for _, name := range []string{"orders", "users"} {
		env.kong.Seed("services", map[string]any{"name": name, "url": "http://127.0.0.1:9"})
	}
	env.kong.Seed("routes", map[string]any{"name": "orders-v1", "paths": []any{"/orders"}, "service": map[string]any{"name": "orders"}})
	env.kong.Seed("consumers", map[string]any{"username": "alice", "custom_id": "crm-1001"})
	env.create(env.gateway("kong"))
	DeferCleanup(env.removeObjects) // when the operator has stopped
	env.startOperator()
	Eventually(func(g Gomega) {
		gateway := env.gateway("kong")
		g.Expect(k8s.Get(env.ctx, client.ObjectKeyFromObject(gateway), gateway)).To(Succeed())
		g.Expect(meta.IsStatusConditionTrue(gateway.Status.Conditions, v1alpha1.ConditionReady)).To(BeTrue(), "%+v", gateway.Status.Conditions)
	}).Should(Succeed())
	return env
}

func (env *testEnv) newNamespace() string {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("spec-%d", counter.Add(1))}}
	Expect(k8s.Create(env.ctx, namespace)).To(Succeed())
	return namespace.Name
}

// removeObjects removes what the spec leaves in its namespace. The commands read all namespaces, and the
// Kong of a later spec may get the port of this one: it would be governed by a KongGateway that is left.
func (env *testEnv) removeObjects() {
	GinkgoHelper()
	for _, list := range []client.ObjectList{&v1alpha1.PluginPolicyList{}, &v1alpha1.PluginBindingList{}, &v1alpha1.KongGatewayList{}} {
		Expect(k8s.List(env.ctx, list, client.InNamespace(env.namespace))).To(Succeed())
		Expect(meta.EachListItem(list, func(item runtime.Object) error {
			object := item.(client.Object)
			if len(object.GetFinalizers()) > 0 {
				base := object.DeepCopyObject().(client.Object)
				object.SetFinalizers(nil)
				if err := client.IgnoreNotFound(k8s.Patch(env.ctx, object, client.MergeFrom(base))); err != nil {
					return err
				}
			}
			return client.IgnoreNotFound(k8s.Delete(env.ctx, object))
		})).To(Succeed())
	}
}

// gateway returns a KongGateway for the Kong of this environment. It does not create it.
func (env *testEnv) gateway(name string) *v1alpha1.KongGateway {
	return &v1alpha1.KongGateway{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "KongGateway"},
		ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: name},
		Spec:       v1alpha1.KongGatewaySpec{AdminURL: env.kong.URL(), ResyncInterval: "10s"},
	}
}

// binding returns a PluginBinding of rate-limiting on the service orders. It does not create it.
func (env *testEnv) binding(name string, change ...func(*v1alpha1.PluginBinding)) *v1alpha1.PluginBinding {
	binding := &v1alpha1.PluginBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PluginBinding"},
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

func jsonOf(text string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(text)} }

func (env *testEnv) create(objects ...client.Object) {
	GinkgoHelper()
	for _, object := range objects {
		Expect(k8s.Create(env.ctx, object)).To(Succeed())
	}
}

// apply applies objects as kubectl apply --server-side does.
func (env *testEnv) apply(objects ...client.Object) {
	GinkgoHelper()
	for _, object := range objects {
		applied := &unstructured.Unstructured{Object: env.content(object)}
		Expect(k8s.Apply(env.ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner("kubectl"), client.ForceOwnership)).To(Succeed())
	}
}

// content is an object as somebody writes it into a file.
func (env *testEnv) content(object client.Object) map[string]any {
	GinkgoHelper()
	raw, err := json.Marshal(object)
	Expect(err).NotTo(HaveOccurred())
	content := map[string]any{}
	Expect(json.Unmarshal(raw, &content)).To(Succeed())
	delete(content, "status")
	unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	return content
}

// file writes objects into a file and returns its name.
func (env *testEnv) file(objects ...client.Object) string {
	GinkgoHelper()
	var text bytes.Buffer
	for _, object := range objects {
		raw, err := yaml.Marshal(env.content(object))
		Expect(err).NotTo(HaveOccurred())
		text.WriteString("---\n")
		text.Write(raw)
	}
	name := filepath.Join(env.home, fmt.Sprintf("objects-%d.yaml", counter.Add(1)))
	Expect(os.WriteFile(name, text.Bytes(), 0o600)).To(Succeed())
	return name
}

// ready waits until the current generation of the binding has that status of Ready.
func (env *testEnv) ready(binding *v1alpha1.PluginBinding, status metav1.ConditionStatus) *v1alpha1.PluginBinding {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		g.Expect(k8s.Get(env.ctx, client.ObjectKeyFromObject(binding), binding)).To(Succeed())
		ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
		g.Expect(ready).NotTo(BeNil(), "no Ready condition yet")
		g.Expect(ready.Status).To(Equal(status), "%s: %s", ready.Reason, ready.Message)
		g.Expect(ready.ObservedGeneration).To(Equal(binding.Generation))
	}).Should(Succeed())
	return binding
}

// startOperator runs the controllers over the namespace until the spec ends.
func (env *testEnv) startOperator() {
	GinkgoHelper()
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:                  testScheme,
		Metrics:                 metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress:  "0",
		Cache:                   cache.Options{DefaultNamespaces: map[string]cache.Config{env.namespace: {}}},
		Controller:              config.Controller{SkipNameValidation: ptr.To(true)},
		GracefulShutdownTimeout: ptr.To(patience),
	})
	Expect(err).NotTo(HaveOccurred())
	ctx, stop := context.WithCancel(env.ctx)
	Expect(controllers.AddToManager(ctx, mgr, controllers.Options{
		ClusterID: clusterID, Namespaces: []string{env.namespace}, Workers: 4,
		Registry: prometheus.NewRegistry(), Clock: clock.RealClock{},
		// So long ago that no write of a former leader can be in flight.
		LeadingSince: time.Now().Add(-time.Hour),
	})).To(Succeed())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	DeferCleanup(func() {
		stop()
		Eventually(done, patience).Should(Receive(Succeed()))
	})
}

// outcome is one run of the plugin.
type outcome struct {
	code           int
	stdout, stderr string
}

// run runs the plugin with an administrator's kubeconfig.
func (env *testEnv) run(args ...string) outcome {
	GinkgoHelper()
	return env.runAs(kubeconfig, args...)
}

// runAs runs the plugin with a kubeconfig.
func (env *testEnv) runAs(kubeconfig string, args ...string) outcome {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(env.ctx, 2*patience)
	defer cancel()
	command := exec.CommandContext(ctx, binary, args...)
	command.Env = []string{"KUBECONFIG=" + kubeconfig, "HOME=" + env.home, "PATH=" + os.Getenv("PATH")}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		Expect(err).NotTo(HaveOccurred())
	}
	return outcome{command.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}
