package processes

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api/v1"
	"sigs.k8s.io/yaml"
)

// replica is a place where a manager runs, with a proxy of its own to the API server. A manager
// that is started again in it comes back like the container of the same pod.
type replica struct {
	stage      *testEnv
	name       string
	proxy      *proxy
	kubeconfig string
	flags      []string
	standby    bool // runs and does not lead
	processes  []*process

	mu      sync.Mutex
	current *process
}

// process is one process of the manager.
type process struct {
	cmd          *exec.Cmd
	logFile      string
	exited       chan struct{} // closed when it is waited for
	exitExpected atomic.Bool   // by the test
}

// newReplica creates a replica and does not start it.
func (env *testEnv) newReplica(name string, flags ...string) *replica {
	env.t.Helper()
	target, _, err := rest.DefaultServerURL(suite.config.Host, "", schema.GroupVersion{}, true)
	must(env.t, err)
	p := startProxy(env.t, env.calls, target, suite.upstream, &suite.certificate, func(r *http.Request, body []byte) call {
		c := kubernetesCall(r.Method, r.URL, body)
		c.from = name
		return c
	})
	r := &replica{stage: env, name: name, proxy: p, kubeconfig: filepath.Join(env.dir, name+".kubeconfig")}
	r.flags = append([]string{
		"--kubeconfig=" + r.kubeconfig, "--cluster-id=" + env.cluster, "--watch-namespaces=" + env.namespace,
		"--metrics-bind-address=0", "--health-probe-bind-address=0", "--zap-log-level=debug",
	}, flags...)
	must(env.t, os.WriteFile(r.kubeconfig, kubeconfigFor(p.address), 0o600))
	env.replicas = append(env.replicas, r)
	return r
}

// kubeconfigFor trusts the proxy's certificate. The proxy authenticates to the API server with
// its own.
func kubeconfigFor(address string) []byte {
	config := clientcmdapi.Config{
		APIVersion: "v1", Kind: "Config", CurrentContext: "link",
		Clusters: []clientcmdapi.NamedCluster{{Name: "link", Cluster: clientcmdapi.Cluster{
			Server: "https://" + address,
			CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{
				Type: "CERTIFICATE", Bytes: suite.certificate.Certificate[0],
			}),
		}}},
		AuthInfos: []clientcmdapi.NamedAuthInfo{{Name: "link", AuthInfo: clientcmdapi.AuthInfo{Token: "unused"}}},
		Contexts:  []clientcmdapi.NamedContext{{Name: "link", Context: clientcmdapi.Context{Cluster: "link", AuthInfo: "link"}}},
	}
	out, err := yaml.Marshal(config)
	if err != nil {
		panic(err) // plain strings
	}
	return out
}

// start starts a manager.
func (r *replica) start(binary string) *process {
	t := r.stage.t
	t.Helper()
	p := &process{
		cmd:     exec.Command(binary, r.flags...),
		logFile: filepath.Join(r.stage.dir, fmt.Sprintf("%s-%d.log", r.name, len(r.processes)+1)),
		exited:  make(chan struct{}),
	}
	log, err := os.Create(p.logFile)
	must(t, err)
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// Nothing of the caller's environment, which could set flags of the manager.
	p.cmd.Env = []string{"HOME=" + r.stage.dir, "GORACE=halt_on_error=0"}
	p.cmd.SysProcAttr = ownGroup()
	r.mu.Lock() // its first request may be there before this returns
	defer r.mu.Unlock()
	r.stage.startMark = r.stage.calls.mark()
	must(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // ProcessState says it
		close(p.exited)
	}()
	r.current = p
	r.processes = append(r.processes, p)
	t.Cleanup(p.kill)
	return p
}

// process returns the process that runs here or ran last, nil if none did.
func (r *replica) process() *process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// running reports whether a process runs here.
func (r *replica) running() bool { p := r.process(); return p != nil && !p.ended() }

// kill kills the process that runs here.
func (r *replica) kill() { r.process().kill() }

func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// kill kills the process, as the loss of its node would, and waits for its end.
func (p *process) kill() {
	p.exitExpected.Store(true)
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// signal sends a signal. It does nothing when the process has ended.
func (p *process) signal(s os.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		panic(fmt.Sprintf("signal %s to %d: %v", s, p.cmd.Process.Pid, err)) // a process of ours
	}
}

// exit waits for the end of the process and returns its exit code, -1 after a signal.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatalf("process %d did not end within %s\n%s", p.cmd.Process.Pid, patience, p.tail())
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop ends the process as a rolling update does, and expects exit code 0.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.exitExpected.Store(true)
	p.signal(syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Errorf("after SIGTERM the process ended with %s\n%s", p.cmd.ProcessState, p.tail())
	}
}

func (p *process) text() string {
	log, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// tail is the end of the log.
func (p *process) tail() string {
	const lines = 30
	all := strings.Split(strings.TrimSpace(p.text()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
