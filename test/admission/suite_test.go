package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/kic"
)

const (
	patience    = 60 * time.Second
	interval    = 50 * time.Millisecond
	webhookName = "kong-plugin-operator-webhook"
	system      = "kong-plugin-operator-system"
)

// suite is shared by the tests: one API server, one Kong and two replicas of the operator.
var suite struct {
	config     *rest.Config
	client     client.Client
	scheme     *runtime.Scheme
	kong       *kongtest.Server
	dir        string
	kubeconfig string
	replicas   []*replica
}

// replica is a process of the operator, which serves its webhooks at a port of 127.0.0.1.
type replica struct {
	port int
	cmd  *exec.Cmd
	log  *os.File
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctrl.SetLogger(logr.Discard())
	ingressKinds, err := kic.CRDPath()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	environment := &envtest.Environment{
		UseExistingCluster:       ptr.To(false),
		CRDDirectoryPaths:        []string{filepath.Join("..", "..", "config", "crd", "bases"), ingressKinds},
		ErrorIfCRDPathMissing:    true,
		CRDInstallOptions:        envtest.CRDInstallOptions{MaxTime: patience},
		ControlPlaneStartTimeout: patience,
		ControlPlaneStopTimeout:  patience,
	}
	err = setUp(environment)
	code := 1
	if err == nil {
		code = m.Run()
	}
	for _, r := range suite.replicas {
		err = errors.Join(err, r.stop())
	}
	if suite.kong != nil {
		suite.kong.Close()
	}
	if err = errors.Join(err, environment.Stop(), os.RemoveAll(suite.dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func setUp(environment *envtest.Environment) (err error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return errors.New("KUBEBUILDER_ASSETS must name a directory with etcd and kube-apiserver; make test provides them")
	}
	if suite.dir, err = os.MkdirTemp("", "kong-operator-admission-"); err != nil {
		return err
	}
	if suite.config, err = environment.Start(); err != nil {
		return err
	}
	suite.config.QPS = -1
	suite.scheme = runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(suite.scheme); err != nil {
			return err
		}
	}
	if suite.client, err = client.New(suite.config, client.Options{Scheme: suite.scheme}); err != nil {
		return err
	}
	suite.kong = kongtest.New()
	suite.kong.Seed("services", map[string]any{"name": "orders", "url": "http://127.0.0.1:9"})
	if err := install(environment); err != nil {
		return err
	}
	for range 2 {
		if err := startReplica(); err != nil {
			return err
		}
	}
	return serveCertificate()
}

// install creates what config/webhook adds to an installation, with the rights of its roles.
func install(environment *envtest.Environment) error {
	ctx := context.Background()
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: system}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: webhookName}},
		// Another Secret of the namespace, which the rotation must not need.
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "other"}},
		// The API server finds the webhooks as in a cluster: by the name of the Service, which is in the
		// certificate. Here they are on this machine.
		&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: webhookName},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
		},
	}
	roles, err := rolesOf(environment)
	if err != nil {
		return err
	}
	for _, object := range append(objects, roles...) {
		if err := suite.client.Create(ctx, object); err != nil {
			return fmt.Errorf("%T %s: %w", object, object.GetName(), err)
		}
	}
	return nil
}

// rolesOf returns the roles of an installation with webhooks, bound to a user, and writes the user's
// kubeconfig.
func rolesOf(environment *envtest.Environment) ([]client.Object, error) {
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "operator"}}
	cluster, own := &rbacv1.ClusterRole{}, &rbacv1.Role{}
	if err := errors.Join(patched(cluster, "role.yaml", "configuration_role_patch.yaml"),
		patched(own, "leader_election_role.yaml", "secret_role_patch.yaml")); err != nil {
		return nil, err
	}
	own.Namespace = system
	// The rights on the Secret of the webhooks are those of the Role: without these of the ClusterRole,
	// the test shows that the rotation needs no others.
	for i := range cluster.Rules {
		rule := &cluster.Rules[i]
		if len(rule.APIGroups) == 1 && rule.APIGroups[0] == "" {
			rule.Resources = []string{"namespaces", "configmaps", "services"}
		}
	}
	watched := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "secrets"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list", "watch"}}},
	}
	user, err := environment.AddUser(envtest.User{Name: "operator"}, suite.config)
	if err != nil {
		return nil, err
	}
	text, err := user.KubeConfig()
	if err != nil {
		return nil, err
	}
	suite.kubeconfig = filepath.Join(suite.dir, "kubeconfig")
	return []client.Object{
		cluster, own, watched,
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: cluster.Name}, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: cluster.Name}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: own.Name}, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: own.Name}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: watched.Name}, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: watched.Name}},
	}, os.WriteFile(suite.kubeconfig, text, 0o600)
}

// patched reads a role of config/rbac with the patch of config/webhook.
func patched(role client.Object, name, patch string) error {
	text, err := os.ReadFile(filepath.Join("..", "..", "config", "rbac", name))
	if err != nil {
		return err
	}
	changes, err := os.ReadFile(filepath.Join("..", "..", "config", "webhook", "self-signed", patch))
	if err != nil {
		return err
	}
	original, err := yaml.YAMLToJSON(text)
	if err != nil {
		return err
	}
	if changes, err = yaml.YAMLToJSON(changes); err != nil {
		return err
	}
	decoded, err := jsonpatch.DecodePatch(changes)
	if err != nil {
		return err
	}
	if original, err = decoded.Apply(original); err != nil {
		return err
	}
	return json.Unmarshal(original, role)
}

// startReplica starts the operator's binary. It builds it first.
func startReplica() error {
	binary := filepath.Join(suite.dir, "manager")
	if _, err := os.Stat(binary); err != nil {
		build := exec.CommandContext(context.Background(), "go", "build", "-buildvcs=false", "-o", binary, "./cmd/manager")
		build.Dir = filepath.Join("..", "..")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	r := &replica{port: port}
	if r.log, err = os.Create(filepath.Join(suite.dir, fmt.Sprintf("replica-%d.log", r.port))); err != nil {
		return err
	}
	r.cmd = exec.CommandContext(context.Background(), binary,
		"--kubeconfig="+suite.kubeconfig, "--cluster-id=admission", "--watch-namespaces=default",
		"--metrics-bind-address=0", "--health-probe-bind-address=0", "--leader-elect", "--leader-election-namespace="+system,
		"--enable-webhooks", "--webhook-name="+webhookName, fmt.Sprintf("--webhook-port=%d", r.port), "--webhook-cert-dir="+certDir())
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	suite.replicas = append(suite.replicas, r)
	return r.cmd.Start()
}

// freePort returns a port that nobody listens on, below those that the kernel gives away: the replica opens
// it only when it has its certificate, and until then other tests open many of those.
func freePort() (int, error) {
	const first, after = 20_000, 32_768
	var err error
	for range 100 {
		port := first + rand.IntN(after-first)
		var listener net.Listener
		if listener, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", fmt.Sprintf(":%d", port)); err == nil {
			return port, listener.Close()
		}
	}
	return 0, err
}

func (r *replica) stop() error {
	if r.cmd.Process == nil || r.cmd.ProcessState != nil {
		return nil
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := r.cmd.Wait()
	text, _ := os.ReadFile(r.log.Name())
	if strings.Contains(string(text), "forbidden") {
		err = errors.Join(err, fmt.Errorf("the operator lacks a right:\n%s", text))
	}
	return errors.Join(err, r.log.Close())
}

func certDir() string { return filepath.Join(suite.dir, "certificate") }

// serveCertificate waits until the operator has filled its Secret, mounts it as a kubelet would, and
// makes the configuration. Then it waits until the operator has written its authority into that.
func serveCertificate() error {
	ctx := context.Background()
	secret := &corev1.Secret{}
	if err := eventually(func() (bool, error) {
		err := suite.client.Get(ctx, client.ObjectKey{Namespace: system, Name: webhookName}, secret)
		return len(secret.Data[corev1.TLSCertKey]) > 0, err
	}); err != nil {
		return fmt.Errorf("the Secret stays empty: %w", err)
	}
	if err := os.Mkdir(certDir(), 0o700); err != nil {
		return err
	}
	if err := mount(secret); err != nil {
		return err
	}
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	text, err := os.ReadFile(filepath.Join("..", "..", "config", "webhook", "server", "webhook.yaml"))
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(text, configuration); err != nil {
		return err
	}
	setPort(configuration, suite.replicas[0].port)
	if err := suite.client.Create(ctx, configuration); err != nil {
		return err
	}
	return eventually(func() (bool, error) {
		err := suite.client.Get(ctx, client.ObjectKeyFromObject(configuration), configuration)
		return len(configuration.Webhooks[0].ClientConfig.CABundle) > 0 && len(configuration.Webhooks[1].ClientConfig.CABundle) > 0, err
	})
}

// mount writes the Secret of the webhooks into the directory of the replicas, as a kubelet would.
func mount(secret *corev1.Secret) error {
	for name, value := range secret.Data {
		if err := os.WriteFile(filepath.Join(certDir(), name), value, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func setPort(configuration *admissionregistrationv1.ValidatingWebhookConfiguration, port int) {
	for i := range configuration.Webhooks {
		configuration.Webhooks[i].ClientConfig.Service.Port = ptr.To(int32(port))
	}
}

// eventually waits until holds returns true.
func eventually(holds func() (bool, error)) error {
	for end := time.Now().Add(patience); ; {
		done, err := holds()
		if done && err == nil {
			return nil
		}
		if time.Now().After(end) {
			return errors.Join(errors.New("in vain"), err)
		}
		<-time.After(interval)
	}
}
