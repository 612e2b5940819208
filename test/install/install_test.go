// Package install applies every way of installing, as a server-side dry run, to a real API server. The
// chart is compared with these manifests field by field (hack/tools/chart).
package install

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const (
	root      = "../.."
	namespace = "kong-plugin-operator-system"
)

// cluster is an API server with nothing but the namespace, and a kubectl for it.
type cluster struct {
	t                   *testing.T
	kubectl, kubeconfig string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		t.Fatal("KUBEBUILDER_ASSETS must name a directory with etcd, kube-apiserver and kubectl; make test provides them")
	}
	environment := &envtest.Environment{
		UseExistingCluster:       ptr.To(false),
		ControlPlaneStartTimeout: time.Minute, // on a busy machine
		ControlPlaneStopTimeout:  time.Minute,
	}
	config, err := environment.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, kubectl: filepath.Join(assets, "kubectl"), kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	if err := os.WriteFile(c.kubeconfig, environment.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// run runs kubectl and returns what it prints.
func (c *cluster) run(stdin []byte, args ...string) []byte {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), c.kubectl, append([]string{"--kubeconfig=" + c.kubeconfig}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		c.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, complaint.String())
	}
	if complaint.Len() > 0 {
		c.t.Errorf("kubectl %s warns: %s", strings.Join(args, " "), complaint.String())
	}
	return out.Bytes()
}

// build builds a kustomization that is written for this.
func (c *cluster) build(kustomization string) []byte {
	c.t.Helper()
	if err := os.MkdirAll(filepath.Join(root, "dist"), 0o755); err != nil {
		c.t.Fatal(err)
	}
	directory, err := os.MkdirTemp(filepath.Join(root, "dist"), "install-test-")
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(directory) }()
	if err := os.WriteFile(filepath.Join(directory, "kustomization.yaml"), []byte(kustomization), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return c.run(nil, "kustomize", directory)
}

// applies expects the API server to accept the objects, without a warning.
func (c *cluster) applies(manifests []byte, want ...string) {
	c.t.Helper()
	out := string(c.run(manifests, "apply", "--server-side", "--dry-run=server", "-n", namespace, "-f", "-"))
	for _, object := range want {
		if !strings.Contains(out, object+" ") {
			c.t.Errorf("no %s in:\n%s", object, out)
		}
	}
}

func TestEveryWayOfInstallingIsAccepted(t *testing.T) {
	c := newCluster(t)
	const (
		deployment = "deployment.apps/kong-plugin-operator-controller-manager"
		policies   = "customresourcedefinition.apiextensions.k8s.io/pluginpolicies.kong.pluginbinding.io"
		webhook    = "validatingwebhookconfiguration.admissionregistration.k8s.io/kong-plugin-operator-webhook"
		secret     = "secret/kong-plugin-operator-webhook"
	)
	for name, way := range map[string]struct {
		kustomization string
		want          []string
	}{
		"one file": {"resources: [../../config/default]", []string{deployment, policies}},
		"with webhooks": {"resources: [../../config/default]\ncomponents: [../../config/webhook]",
			[]string{deployment, policies, webhook, secret, "service/kong-plugin-operator-webhook"}},
		"with webhooks and another certificate": {"resources: [../../config/default]\ncomponents: [../../config/webhook/server]",
			[]string{deployment, webhook}},
		"with gateway admins and the dashboard": {"resources: [../../config/default, ../../config/grafana]\ncomponents: [../../config/gateway-admins]",
			[]string{deployment}},
	} {
		t.Run(name, func(t *testing.T) {
			at := *c
			at.t = t
			at.applies(at.build(way.kustomization), way.want...)
		})
	}
}

// OLM applies the objects of a bundle, apart from the ClusterServiceVersion.
func TestTheBundleIsAccepted(t *testing.T) {
	c := newCluster(t)
	files, err := filepath.Glob(filepath.Join(root, "bundle", "manifests", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	applied := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte("operators.coreos.com/")) || bytes.Contains(content, []byte("monitoring.coreos.com/")) {
			continue // kinds of OLM and of the Prometheus operator
		}
		c.applies(content)
		applied++
	}
	if applied < 10 {
		t.Errorf("only %d objects", applied)
	}
}
