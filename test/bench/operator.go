package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/pluginbinding/kong-plugin-operator/test/scrape"
)

// operator is the operator's process.
type operator struct {
	binary   string
	args     []string
	logFile  string
	bindings int
	profiles string // directory; empty: none

	metrics  string // URL
	pprof    string // URL
	cmd      *exec.Cmd
	exited   chan struct{} // closed when cmd has ended
	peakMiB  float64       // of all its processes so far, in MiB
	endedCPU float64       // by those that have ended, in seconds of a processor
}

func newOperator(o options, c *cluster, k *kong, dir string, bindings int) *operator {
	return &operator{
		binary:   o.manager,
		logFile:  filepath.Join(dir, "manager.log"),
		profiles: o.profiles,
		bindings: bindings,
		// One replica, with leader election as it is installed: without, every start waits for
		// what an earlier leader may have sent.
		args: append([]string{
			"--kubeconfig=" + c.kubeconfig, "--cluster-id=" + k.clusterID,
			"--leader-elect", "--leader-election-namespace=" + operatorNamespace,
			"--metrics-secure=false", "--health-probe-bind-address=0",
		}, o.flags...),
	}
}

// start starts the process. It does not wait until the operator is ready.
func (o *operator) start(ctx context.Context) error {
	ports, err := freePorts(ctx, 2)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(o.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	o.metrics, o.pprof = "http://"+ports[0]+"/metrics", "http://"+ports[1]+"/debug/pprof/"
	args := append([]string{"--metrics-bind-address=" + ports[0]}, o.args...)
	if o.profiles != "" {
		args = append(args, "--pprof-bind-address="+ports[1])
	}
	o.cmd = exec.CommandContext(context.WithoutCancel(ctx), o.binary, args...)
	o.cmd.Stdout, o.cmd.Stderr = log, log
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C goes to the bench only
	if err := o.cmd.Start(); err != nil {
		o.cmd = nil
		return fmt.Errorf("start the operator: %w", err)
	}
	cmd, exited := o.cmd, make(chan struct{})
	o.exited = exited
	go func() {
		_ = cmd.Wait() // what came of it is in ProcessState
		close(exited)
	}()
	return nil
}

// stop ends the process as a rolling update does.
func (o *operator) stop() error {
	if o == nil || o.cmd == nil {
		return nil
	}
	if err := o.checkAlive(); err != nil {
		return err
	}
	if u, err := usageOf(o.cmd.Process.Pid); err == nil { // before it is gone
		o.peakMiB = max(o.peakMiB, u.peak)
	}
	if err := o.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-o.exited
	o.endedCPU += finalCPU(o.cmd)
	state := o.cmd.ProcessState
	o.cmd = nil
	if !state.Success() {
		return fmt.Errorf("after SIGTERM the operator ended with %s", state)
	}
	return nil
}

// checkAlive returns an error if the process has ended.
func (o *operator) checkAlive() error {
	select {
	case <-o.exited:
		log, _ := os.ReadFile(o.logFile)
		return fmt.Errorf("the operator exited unexpectedly: %s; its log ends with\n%s", o.cmd.ProcessState, log[max(0, len(log)-2000):])
	default:
		return nil
	}
}

// cpu returns the CPU time of all processes of the operator so far, in seconds.
func (o *operator) cpu() (float64, error) {
	if o.cmd == nil {
		return o.endedCPU, nil
	}
	u, err := usageOf(o.cmd.Process.Pid)
	o.peakMiB = max(o.peakMiB, u.peak)
	return o.endedCPU + u.cpu, err
}

// activity is what the operator's metrics say about its work.
type activity struct {
	reconciles float64 // of bindings so far
	busy       float64 // objects in the queues, and reconciles under way
	lastResync float64 // end of the last resync, in seconds since 1970; 0 before the first
	ready      float64 // bindings
}

func (o *operator) activity(ctx context.Context) (activity, error) {
	if err := o.checkAlive(); err != nil {
		return activity{}, err
	}
	page, err := scrape.Page(ctx, o.metrics)
	if err != nil {
		return activity{}, nil //nolint:nilerr // it is starting
	}
	return activity{
		reconciles: scrape.Sum(scrape.Samples(page, "controller_runtime_reconcile_total"), `controller="pluginbinding"`),
		busy:       scrape.Sum(scrape.Samples(page, "workqueue_depth")) + scrape.Sum(scrape.Samples(page, "controller_runtime_active_workers")),
		lastResync: scrape.Sum(scrape.Samples(page, "kong_operator_gateway_last_sweep_timestamp_seconds")),
		ready:      scrape.Sum(scrape.Samples(page, "kong_operator_bindings"), `condition="Ready",gateway="`+namespace+"/"+gatewayName+`",status="True"`),
	}, nil
}

// pollInterval is how often the bench asks for metrics. For each request the operator counts
// all bindings, which takes time and memory.
func (o *operator) pollInterval() time.Duration {
	return 100*time.Millisecond + time.Duration(o.bindings)*40*time.Microsecond
}

// idlePolls is the number of consecutive polls without activity after which the operator counts
// as idle. The bindings come back into the queue a moment after the first resync, so two are too few.
const idlePolls = 5

// waitUntilIdle waits until the operator has finished a resync at or after a time, has
// reconciled at least so many bindings, and is idle. It returns since when. The operator has no
// metric for "every binding is in sync". This is the same, seen from outside.
func (o *operator) waitUntilIdle(ctx context.Context, within time.Duration, resyncedAt time.Time, reconciles int) (time.Time, error) {
	var (
		since time.Time
		calm  int
		last  activity
	)
	err := wait.PollUntilContextTimeout(ctx, o.pollInterval(), within, true, func(ctx context.Context) (bool, error) {
		now, err := o.activity(ctx)
		if err != nil {
			return false, err
		}
		if now.lastResync < float64(resyncedAt.Unix()) || now.lastResync == 0 || now.busy > 0 || now.reconciles < float64(reconciles) || now.reconciles != last.reconciles {
			calm, since = 0, time.Now()
		}
		last = now
		calm++
		return calm >= idlePolls, nil
	})
	if err != nil {
		return since, fmt.Errorf("the operator did not become idle within %s (%+v): %w", within, last, err)
	}
	return since, nil
}

// profile fetches a profile of the operator: a CPU profile over so many seconds, or a heap
// profile.
func (o *operator) profile(ctx context.Context, kind string, seconds int) ([]byte, error) {
	url := o.pprof + kind
	if seconds > 0 {
		url += "?seconds=" + strconv.Itoa(seconds)
	}
	page, err := scrape.Page(ctx, url)
	return []byte(page), err
}

// freePorts returns n free addresses of 127.0.0.1.
func freePorts(ctx context.Context, n int) ([]string, error) {
	var (
		addresses []string
		listeners []net.Listener
		config    net.ListenConfig
	)
	defer func() { // all of them at the end, so that they differ
		for _, listener := range listeners {
			_ = listener.Close()
		}
	}()
	for range n {
		listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, listener)
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}
