// Command demo shows the operator at work, with nothing but this checkout: it starts a
// Kubernetes API server and a stand-in for Kong's Admin API (or uses a real gateway),
// runs the operator's binary between the two, and tells what becomes of the plugins
// while the operator is killed, Kong is changed behind its back, and the operator is
// upgraded. It exits with 1 when something did not happen as told, and leaves nothing
// behind.
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
  KONG_ADMIN_URL      Admin API of a real Kong to use instead of the stand-in; it has to be empty
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

// runDemo sets the stage, plays on it and clears it away, whatever happens.
func runDemo(ctx context.Context, o options, tell *printer) (err error) {
	s := &environment{options: o, out: tell}
	defer func() { err = errors.Join(err, s.tearDown(context.WithoutCancel(ctx))) }()
	if err := runIn(ctx, s); ctx.Err() == nil {
		return err
	} else if err != nil {
		return errors.New("interrupted") // whatever was under way failed because of that
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

// untilStopped is done when somebody wants the demo to end. A reader of its output that
// goes away counts (a write to a closed pipe would end the process at once, and leave
// an API server behind), and so does the end of whoever started it: go run does not
// pass a SIGTERM on.
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
