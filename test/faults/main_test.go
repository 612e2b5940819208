package faults

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// apiServer is a client without faults.
var apiServer client.Client

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctrl.SetLogger(logr.Discard())
	stop, err := start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	printTotal()
	closeStandIns()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the API server:", err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

func start() (stop func() error, err error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return nil, fmt.Errorf("KUBEBUILDER_ASSETS must name a directory with etcd and kube-apiserver; make test provides them")
	}
	if err := v1alpha1.AddToScheme(scheme.Scheme); err != nil {
		return nil, err
	}
	environment := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
		// On a busy machine.
		CRDInstallOptions:        envtest.CRDInstallOptions{MaxTime: time.Minute},
		ControlPlaneStartTimeout: time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}
	// etcd and the API server live for minutes, so their data need not be durable. Garbage
	// collection took a fifth of their time, and memory is cheaper. Nobody watches here, so the
	// watch cache would only keep the leftovers of thousands of runs in memory.
	environment.ControlPlane.Etcd = &envtest.Etcd{}
	environment.ControlPlane.Etcd.Configure().Set("unsafe-no-fsync", "true")
	environment.ControlPlane.GetAPIServer().Configure().Set("watch-cache", "false")
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
		if err := os.Setenv("GOGC", strconv.Itoa(heapGrowth)); err != nil {
			return nil, err
		}
	}
	config, err := environment.Start()
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	if apiServer, err = client.New(config, client.Options{Scheme: scheme.Scheme}); err != nil {
		return nil, err
	}
	standIns = make(chan *standIn, parallelRuns())
	for range cap(standIns) {
		standIns <- newStandIn()
	}
	return func() error {
		config.Dial = nil
		return environment.Stop()
	}, nil
}

// heapGrowth is the GOGC of this process. The API server and etcd inherit it.
const heapGrowth = 400

// parallelRuns returns how many runs are under way at a time, as -parallel says. A run waits
// for the API server for half of its time.
func parallelRuns() int {
	parallel := flag.Lookup("test.parallel")
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f == parallel })
	if !given {
		_ = parallel.Value.Set(strconv.Itoa(3 * runtime.GOMAXPROCS(0))) // a number
	}
	return parallel.Value.(flag.Getter).Get().(int)
}

// objectID identifies an object of a kind that the operator reads.
type objectID struct {
	kind string
	types.NamespacedName
}

const (
	kindBinding   = "binding"
	kindGateway   = "gateway"
	kindSecret    = "secret"
	kindNamespace = "namespace"
	kindPolicy    = "policy" // of which these plans have none
)
