package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/pluginbinding/kong-plugin-operator/test/scrape"
)

// operator is the operator's process.
type operator struct {
	binary       string
	args         []string
	logFile      string
	metrics      string // URL
	ready        string // URL
	cmd          *exec.Cmd
	exited       chan struct{} // closed when cmd ended, with this error
	exitErr      error
	exitExpected bool // the demo ends the process
}

func newOperator(binary, kubeconfig, clusterID, logFile string) *operator {
	return &operator{
		binary:  binary,
		logFile: logFile,
		// One replica without leader election. A killed replica would leave its lease behind,
		// and the next one would wait for it.
		args: []string{"--kubeconfig=" + kubeconfig, "--cluster-id=" + clusterID, "--leader-elect=false", "--metrics-secure=false"},
	}
}

func (o *operator) String() string {
	return fmt.Sprintf("%s %s (pid %d)", o.binary, o.args[1], o.cmd.Process.Pid)
}

// start starts the process and waits until it is ready.
func (o *operator) start(ctx context.Context) error {
	metrics, health, err := twoFreePorts(ctx)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(o.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	o.metrics, o.ready = "http://"+metrics+"/metrics", "http://"+health+"/readyz"
	// A signal stops the process, not the context.
	o.cmd = exec.CommandContext(context.WithoutCancel(ctx), o.binary, append([]string{
		"--metrics-bind-address=" + metrics, "--health-probe-bind-address=" + health,
	}, o.args...)...)
	o.cmd.Stdout, o.cmd.Stderr = log, log
	// Ctrl-C goes to the demo only, which then stops the operator.
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	o.exitExpected = false
	if err := o.cmd.Start(); err != nil {
		o.cmd = nil
		return fmt.Errorf("start the operator: %w", err)
	}
	o.await()
	return o.becomeReady(ctx)
}

// await records the end of the process.
func (o *operator) await() {
	cmd, exited := o.cmd, make(chan struct{})
	o.exited = exited
	go func() {
		o.exitErr = cmd.Wait()
		close(exited)
	}()
}

func (o *operator) becomeReady(ctx context.Context) error {
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		if err := o.unexpectedExit(); err != nil {
			return false, err
		}
		_, err := scrape.Page(ctx, o.ready)
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("the operator did not become ready: %w; its log ends with\n%s", err, indent("  ", o.tail()))
	}
	return nil
}

// unexpectedExit returns an error if the process ended by itself.
func (o *operator) unexpectedExit() error {
	if o == nil || o.cmd == nil || o.exitExpected {
		return nil
	}
	select {
	case <-o.exited:
		return fmt.Errorf("the operator exited unexpectedly: %s", o.cmd.ProcessState)
	default:
		return nil
	}
}

// kill ends the process as the loss of its node would.
func (o *operator) kill() error {
	o.exitExpected = true
	if err := o.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-o.exited
	return nil
}

// stop ends the process as a rolling update does: SIGTERM, a grace period, SIGKILL.
func (o *operator) stop() error {
	if o.cmd == nil {
		return nil
	}
	o.exitExpected = true
	select {
	case <-o.exited:
		return nil
	default:
	}
	if err := o.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-o.exited:
		if o.exitErr != nil {
			return fmt.Errorf("after SIGTERM the operator ended with: %w", o.exitErr)
		}
		return nil
	case <-time.After(teardownTimeout):
		return errors.Join(fmt.Errorf("the operator did not stop within %s of a SIGTERM", teardownTimeout), o.kill())
	}
}

// tail returns the end of the log.
func (o *operator) tail() string {
	const most = 15
	log, err := os.ReadFile(o.logFile)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(log)) {
		if !strings.Contains(line, "Starting ") { // controller-runtime's watches, many
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

// twoFreePorts returns two free addresses of 127.0.0.1.
func twoFreePorts(ctx context.Context) (one, other string, err error) {
	first, err := listen(ctx)
	if err != nil {
		return "", "", err
	}
	defer first.Close()
	second, err := listen(ctx)
	if err != nil {
		return "", "", err
	}
	defer second.Close()
	return first.Addr().String(), second.Addr().String(), nil
}

// listen listens on a port below those that the kernel gives away: nobody else gets it before the operator
// opens it.
func listen(ctx context.Context) (listener net.Listener, err error) {
	const first, after = 20_000, 32_768
	for range 100 {
		port := first + rand.IntN(after-first)
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return listener, nil
		}
	}
	return nil, err
}
