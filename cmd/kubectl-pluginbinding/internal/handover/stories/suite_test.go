// Package stories moves plugins between the stand-in for Kong's ingress controller and the operator, on a
// real API server, and shows from the journal of the stand-in for Kong that no request met a route
// without its plugin.
package stories

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/handover"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/kic"
)

// tick is the interval of the ingress controller. A hand-over waits in proportion.
const tick = 40 * time.Millisecond

// patience is the timeout for anything that must happen, on a busy machine.
const patience = time.Minute

var timing = handover.Timing{
	InForce: tick, Sync: 2 * tick, Guard: 5 * tick, Poll: 10 * time.Millisecond, Step: patience, Lease: 300 * time.Millisecond,
}

var (
	config *rest.Config
	kube   client.WithWatch
)

// parallel is how many hand-overs run at a time. Most of their time is waiting.
const parallel = "6"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", parallel); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return 1, fmt.Errorf("KUBEBUILDER_ASSETS must name a directory with etcd and kube-apiserver; make test provides them")
	}
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr), zap.Level(zapSilent)))
	for _, add := range []func() error{
		func() error { return v1alpha1.AddToScheme(scheme.Scheme) },
		func() error { return gatewayv1.Install(scheme.Scheme) },
	} {
		if err := add(); err != nil {
			return 1, err
		}
	}
	paths, err := kic.CRDPaths()
	if err != nil {
		return 1, err
	}
	environment := &envtest.Environment{
		CRDDirectoryPaths:        append(paths, filepath.Join("..", "..", "..", "..", "..", "config", "crd", "bases")),
		ErrorIfCRDPathMissing:    true,
		CRDInstallOptions:        envtest.CRDInstallOptions{MaxTime: patience},
		ControlPlaneStartTimeout: patience,
		ControlPlaneStopTimeout:  patience,
	}
	if config, err = environment.Start(); err != nil {
		return 1, err
	}
	defer func() {
		if stopped := environment.Stop(); err == nil {
			err = stopped
		}
	}()
	config.QPS = -1
	if kube, err = client.NewWithWatch(config, client.Options{}); err != nil {
		return 1, err
	}
	code = m.Run()
	fmt.Printf("%d worlds, %d hand-overs that were disturbed\n", worlds.Load(), interrupted.Load())
	return code, nil
}
