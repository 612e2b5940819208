// Command demo shows the operator at work, with nothing but this checkout. It starts a
// Kubernetes API server and a stand-in for Kong's Admin API (or uses a real gateway), and runs
// the operator's binary between the two. It shows what happens to the plugins while the
// operator is killed, somebody changes Kong directly, and the operator is upgraded. It exits
// with 1 if a check fails, and leaves nothing behind.
//
// Run it with make demo; make run is the same with --keep.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

type options struct {
	keep    bool
	manager string // the operator's binary
	assets  string // the directory of etcd, kube-apiserver and kubectl
	kongURL string // a real Admin API; empty: the stand-in
	force   bool   // use that Admin API although it is not empty
}

func parseOptions() options {
	manager := os.Getenv("DEMO_MANAGER")
	if manager == "" {
		manager = "bin/manager"
	}
	var o options
	flag.BoolVar(&o.keep, "keep", false, "apply the samples and keep everything running until Ctrl-C")
	flag.StringVar(&o.manager, "manager", manager, "the operator's binary (DEMO_MANAGER)")
	flag.Usage = usage
	flag.Parse()
	o.assets = os.Getenv("KUBEBUILDER_ASSETS")
	o.kongURL = os.Getenv("KONG_ADMIN_URL")
	o.force = os.Getenv("DEMO_FORCE") == "1"
	return o
}

func usage() {
	fmt.Fprint(flag.CommandLine.Output(), `Usage: make demo, or make run, from the root of the repository.

Environment:
  KUBEBUILDER_ASSETS  directory with etcd, kube-apiserver and kubectl (make sets it)
  KONG_ADMIN_URL      Admin API of a real Kong to use instead of the stand-in; it must be empty
  DEMO_FORCE=1        use that Kong although it is not empty
  NO_COLOR            no colours

Flags:
`)
	flag.PrintDefaults()
}

func main() {
	os.Exit(run(parseOptions()))
}

func run(o options) int {
	ctx, stop := untilStopped()
	defer stop()
	ctrllog.SetLogger(logr.Discard()) // envtest's; what fails is returned as an error

	tell := newPrinter(os.Stdout)
	if err := runDemo(ctx, o, tell); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	if tell.failed > 0 {
		return 1
	}
	return 0
}

// runDemo sets up the environment, runs the demo in it and tears it down.
func runDemo(ctx context.Context, o options, tell *printer) (err error) {
	s := &environment{options: o, out: tell}
	defer func() { err = errors.Join(err, s.tearDown(context.WithoutCancel(ctx))) }()
	if err := runIn(ctx, s); ctx.Err() == nil {
		return err
	} else if err != nil {
		return errors.New("interrupted") // the interrupt caused the error
	}
	return nil
}

func runIn(ctx context.Context, s *environment) error {
	began := time.Now()
	if err := s.setUp(ctx); err != nil {
		return err
	}
	if s.keep {
		return keep(ctx, s)
	}
	if err := newWalkthrough(s).run(ctx); err != nil {
		return err
	}
	s.out.summary(time.Since(began))
	return nil
}

// untilStopped returns a context that ends when the demo should stop. Besides signals there are
// two such events. One is that the reader of the output goes away: a write to a closed pipe
// would end the process immediately and leave an API server behind. The other is the end of the
// parent process: go run does not forward SIGTERM.
func untilStopped() (context.Context, context.CancelFunc) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	go func() {
		defer stop()
		parent := os.Getppid()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for os.Getppid() == parent {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, stop
}
