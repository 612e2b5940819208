package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// cluster is an API server with its etcd on free ports of 127.0.0.1. It has no nodes and
// no other controllers.
type cluster struct {
	client.Client
	env        *envtest.Environment
	kubeconfig string // the file
	cache      string // kubectl's
}

func newCluster(dir string) *cluster {
	return &cluster{
		kubeconfig: filepath.Join(dir, "kubeconfig"),
		cache:      filepath.Join(dir, "kubectl-cache"),
		env: &envtest.Environment{
			// Never use the cluster of the user's kubeconfig, whatever the environment says.
			UseExistingCluster:       new(false),
			CRDDirectoryPaths:        []string{filepath.Join("config", "crd", "bases")},
			ErrorIfCRDPathMissing:    true,
			ControlPlaneStartTimeout: time.Minute,
			ControlPlaneStopTimeout:  teardownTimeout,
		},
	}
}

func (c *cluster) start() error {
	config, err := c.env.Start()
	if err != nil {
		return fmt.Errorf("start the API server: %w", err)
	}
	if err := os.WriteFile(c.kubeconfig, c.env.KubeConfig, 0o600); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	c.Client, err = client.New(config, client.Options{Scheme: scheme})
	return err
}

func (c *cluster) stop() error { return c.env.Stop() }

func (c *cluster) String() string {
	return c.env.Config.Host + " (an API server and etcd, no nodes)"
}

// kubectl runs kubectl with a standard input and returns what it wrote.
func (c *cluster) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.env.ControlPlane.KubectlPath, append([]string{"--cache-dir", c.cache}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// bindings lists all PluginBindings, or those of a namespace.
func (c *cluster) bindings(ctx context.Context, opts ...client.ListOption) ([]v1alpha1.PluginBinding, error) {
	var list v1alpha1.PluginBindingList
	err := c.List(ctx, &list, opts...)
	return list.Items, err
}

func (c *cluster) binding(ctx context.Context, key client.ObjectKey) (*v1alpha1.PluginBinding, error) {
	b := &v1alpha1.PluginBinding{}
	return b, c.Get(ctx, key, b)
}

func (c *cluster) gateway(ctx context.Context) (*v1alpha1.KongGateway, error) {
	g := &v1alpha1.KongGateway{}
	return g, c.Get(ctx, client.ObjectKey{Namespace: "kong-demo", Name: "kong"}, g)
}
