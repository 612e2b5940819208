package processes

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

const (
	// patience is the timeout for anything that must happen, on a busy machine.
	patience = 90 * time.Second
	interval = 50 * time.Millisecond
	// parallel is how many plans run at a time. A plan spends most of its time waiting.
	parallel = "14"
)

// suite is shared by all plans.
var suite struct {
	config      *rest.Config
	upstream    *tls.Config // towards the API server, as the operator's service account is seen there
	certificate tls.Certificate
	client      client.Client
	manager     string // the binary
	root        string // of the repository
	dir         string
	full        bool
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runSuite(m))
}

func runSuite(m *testing.M) (code int) {
	suite.full = os.Getenv("FAULTS_FULL") == "1"
	if !given("test.parallel") {
		must(nil, flag.Set("test.parallel", parallel))
	}
	ctrl.SetLogger(logr.Discard())
	environment := &envtest.Environment{
		// Never use the cluster of the user's kubeconfig, whatever the environment says.
		UseExistingCluster:       new(false),
		CRDDirectoryPaths:        []string{filepath.Join("..", "..", "..", "config", "crd", "bases")},
		ErrorIfCRDPathMissing:    true,
		CRDInstallOptions:        envtest.CRDInstallOptions{MaxTime: patience},
		ControlPlaneStartTimeout: patience,
		ControlPlaneStopTimeout:  patience,
	}
	cleanUp := sync.OnceFunc(func() {
		if err := errors.Join(environment.Stop(), os.RemoveAll(suite.dir)); err != nil {
			fmt.Fprintln(os.Stderr, "cleaning up:", err)
		}
	})
	defer cleanUp()
	stop := onSignal(cleanUp)
	defer stop()
	if err := setUp(environment); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	began := time.Now()
	code = m.Run()
	total.print(os.Stdout, time.Since(began))
	cleanUp()
	stop()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "left running:", err)
		return 1
	}
	return code
}

// onSignal cleans up when the test is interrupted, and shortly before its timeout. The testing
// package would end the process without cleaning up.
func onSignal(cleanUp func()) (stop func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	var late <-chan time.Time
	var timer *time.Timer
	if limit := flag.Lookup("test.timeout").Value.(flag.Getter).Get().(time.Duration); limit > time.Minute {
		timer = time.NewTimer(limit - 20*time.Second)
		late = timer.C
	}
	end := func(why string) {
		fmt.Fprintln(os.Stderr, why)
		cleanUp()
		os.Exit(1) // the managers go with this process
	}
	go func() {
		select {
		case s := <-signals:
			end("stopped by " + s.String())
		case <-late:
			end("-timeout is nearly over: cleaning up and stopping")
		case <-done:
		}
	}()
	return sync.OnceFunc(func() {
		signal.Stop(signals)
		if timer != nil {
			timer.Stop()
		}
		close(done)
	})
}

func given(name string) (set bool) {
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

func setUp(environment *envtest.Environment) (err error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return errors.New("KUBEBUILDER_ASSETS must name a directory with etcd and kube-apiserver; make test provides them")
	}
	if suite.root, err = filepath.Abs(filepath.Join("..", "..", "..")); err != nil {
		return err
	}
	if suite.dir, err = os.MkdirTemp("", "kong-operator-processes-"); err != nil {
		return err
	}
	if suite.manager = os.Getenv("FAULTS_MANAGER"); suite.manager == "" {
		suite.manager = filepath.Join(suite.dir, "manager")
		if err := build(suite.root, suite.manager, raceDetector); err != nil {
			return err
		}
	}
	if suite.certificate, err = selfSigned(); err != nil {
		return err
	}
	if suite.config, err = environment.Start(); err != nil {
		return fmt.Errorf("start the API server: %w", err)
	}
	suite.config.QPS = -1
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(known); err != nil {
			return err
		}
	}
	if suite.client, err = client.New(suite.config, client.Options{Scheme: known}); err != nil {
		return err
	}
	suite.upstream, err = asInstalled(environment)
	return err
}

// asInstalled returns the TLS config of a client that has the permissions of the roles in
// config/rbac, and no others.
func asInstalled(environment *envtest.Environment) (*tls.Config, error) {
	operator := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "operator"}
	for _, file := range []string{"role.yaml", "leader_election_role.yaml"} {
		text, err := os.ReadFile(filepath.Join(suite.root, "config", "rbac", file))
		if err != nil {
			return nil, err
		}
		// The role for the lease is for one namespace. Here each plan has a namespace of its
		// own.
		role := &rbacv1.ClusterRole{}
		if err := yaml.Unmarshal(text, role); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		role.TypeMeta, role.Namespace = metav1.TypeMeta{}, ""
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: role.Name},
			Subjects:   []rbacv1.Subject{operator},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		}
		for _, object := range []client.Object{role, binding} {
			if err := suite.client.Create(context.Background(), object); err != nil {
				return nil, err
			}
		}
	}
	user, err := environment.AddUser(envtest.User{Name: operator.Name}, suite.config)
	if err != nil {
		return nil, err
	}
	return rest.TLSConfigFor(user.Config())
}

// build builds the manager of a checkout.
func build(dir, output string, race bool) error {
	// The checkout may belong to another user. Then git refuses to report its version.
	arguments := []string{"build", "-buildvcs=false", "-o", output}
	if race {
		arguments = append(arguments, "-race")
	}
	cmd := exec.CommandContext(context.Background(), "go", append(arguments, "./cmd/manager")...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build of the manager in %s: %w\n%s", dir, err, out)
	}
	fmt.Printf("manager of %s built in %s (race detector: %t)\n", dir, time.Since(began).Round(time.Second), race)
	return nil
}

// selfSigned is a certificate for 127.0.0.1 that is its own authority.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "link"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:        true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// must fails the test at an error of the test itself. Without a test it panics.
func must(t *testing.T, err error) {
	if err == nil {
		return
	}
	if t == nil {
		panic(err)
	}
	t.Helper()
	t.Fatal(err)
}
