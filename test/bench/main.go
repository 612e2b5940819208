// Command bench measures the operator. It runs the real binary between a real Kubernetes API
// server and a Kong, with 100, 1,000 and 10,000 bindings on one gateway. It prints a table,
// says for each target whether it was reached, writes all figures to a JSON file, and compares
// them with an earlier file. Slow results never make it fail. Wrong results do: an unexpected
// write, a changed plugin ID, a binding that is not ready.
//
// Run it with make bench.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// options come from the environment, because make passes that on.
type options struct {
	sizes    []int         // how many bindings, run by run
	out      string        // the JSON file
	base     string        // an earlier one to compare with
	assets   string        // the directory of etcd and kube-apiserver
	manager  string        // the operator's binary
	flags    []string      // further flags of the operator
	kongtest string        // the stand-in's binary
	kongURL  string        // a real Admin API instead of the stand-in
	force    bool          // use that Admin API although it is not empty
	pace     bool          // let the stand-in respond as slowly as Kong does
	resyncs  int           // observed while the operator is idle
	outage   time.Duration // of the gateway
	only     string        // measure only this; empty: everything
	loopMax  int           // at most so many bindings for the loop
	profiles string        // a directory for profiles of the operator; empty: none
}

// What BENCH_ONLY can select.
const (
	onlyPolicies = "policies"
	onlyLoop     = "loop"
	onlyWrites   = "writes"
)

var only = []string{onlyPolicies, onlyLoop, onlyWrites}

// storedResult is the result that the documentation shows.
const storedResult = "docs/performance.json"

const usageText = `Usage: make bench, from the root of the repository.
       go run ./test/bench --project docs/performance.json
           projects the cost of a million bindings on a hundred gateways from that file
       go run ./test/bench --tables docs/performance.json
           prints the tables of docs/performance.md from that file; every run does so for its own

Environment:
  BENCH_N          how many bindings, separated by blanks ("100 1000 10000")
  BENCH_OUT        the JSON file with all figures (dist/bench.json)
  BENCH_BASE       an earlier JSON file to compare with (docs/performance.json)
  BENCH_PACE       "kong": the stand-in responds about as fast as Kong does;
                   "none": it responds as fast as it can ("kong")
  BENCH_SWEEPS     for how many resyncs the idle operator is observed (3)
  BENCH_OUTAGE     how long the gateway is unreachable (60s)
  BENCH_ONLY       "policies": only the phases of policies
                   "loop": only what is compared with the loop: creation, change and deletion of all
                   "writes": only what the ways of writing a status cost the API server
  BENCH_LOOP       how many bindings the loop has at most (10000)
  BENCH_PROFILES   a directory for pprof profiles of the operator (none)
  BENCH_FLAGS      further flags of the operator
  KONG_ADMIN_URL   Admin API of a real Kong to use instead of the stand-in; it must be empty
  BENCH_FORCE=1    use that Kong although it is not empty; the bench removes only what it created
  KUBEBUILDER_ASSETS, BENCH_MANAGER, BENCH_KONGTEST
                   where the binaries are; make sets them
`

func main() {
	flag.Usage = func() { fmt.Fprint(flag.CommandLine.Output(), usageText) }
	projected, tabled := flag.String("project", "", ""), flag.String("tables", "", "")
	flag.Parse()
	if file := *projected + *tabled; file != "" {
		exitOn(show(file, *projected != ""))
		return
	}
	o, err := optionsFrom(os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctrllog.SetLogger(logr.Discard()) // envtest's; what fails is returned as an error
	err = run(ctx, o)
	stop()
	exitOn(err)
}

// show prints what is calculated from a stored result: the projection, or the tables.
func show(file string, projection bool) error {
	r, err := readResult(file)
	switch {
	case err != nil:
		return err
	case projection:
		return project(os.Stdout, r, millionBindings)
	default:
		tables(os.Stdout, r)
		return nil
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func optionsFrom(getenv func(string) string) (options, error) {
	get := func(name, otherwise string) string {
		if value := getenv(name); value != "" {
			return value
		}
		return otherwise
	}
	o := options{
		out:      get("BENCH_OUT", "dist/bench.json"),
		base:     get("BENCH_BASE", storedResult),
		assets:   getenv("KUBEBUILDER_ASSETS"),
		manager:  get("BENCH_MANAGER", "bin/manager"),
		flags:    strings.Fields(getenv("BENCH_FLAGS")),
		kongtest: get("BENCH_KONGTEST", "bin/kongtest"),
		kongURL:  getenv("KONG_ADMIN_URL"),
		force:    getenv("BENCH_FORCE") == "1",
		only:     getenv("BENCH_ONLY"),
		profiles: getenv("BENCH_PROFILES"),
	}
	var errs []error
	for _, word := range strings.Fields(get("BENCH_N", "100 1000 10000")) {
		n, err := strconv.Atoi(word)
		if err == nil && n < minBindings {
			err = fmt.Errorf("BENCH_N: %d: at least %d", n, minBindings)
		}
		errs = append(errs, err)
		o.sizes = append(o.sizes, n)
	}
	switch pace := get("BENCH_PACE", "kong"); pace {
	case "kong", "none":
		o.pace = pace == "kong"
	default:
		errs = append(errs, fmt.Errorf("BENCH_PACE: %q is neither kong nor none", pace))
	}
	if o.only != "" && !slices.Contains(only, o.only) {
		errs = append(errs, fmt.Errorf("BENCH_ONLY: %q is none of %s", o.only, strings.Join(only, ", ")))
	}
	var err error
	o.loopMax, err = strconv.Atoi(get("BENCH_LOOP", "10000"))
	if err == nil && o.loopMax < minBindings {
		err = fmt.Errorf("BENCH_LOOP: %d: at least %d", o.loopMax, minBindings)
	}
	errs = append(errs, err)
	o.resyncs, err = strconv.Atoi(get("BENCH_SWEEPS", "3"))
	if err == nil && o.resyncs < 1 {
		err = fmt.Errorf("BENCH_SWEEPS: %d: at least 1", o.resyncs)
	}
	errs = append(errs, err)
	o.outage, err = time.ParseDuration(get("BENCH_OUTAGE", "60s"))
	errs = append(errs, err)
	if o.assets == "" {
		errs = append(errs, errors.New("KUBEBUILDER_ASSETS is not set: run `make bench`, or set it to the directory that hack/envtest.sh prints"))
	}
	return o, errors.Join(errs...)
}

// run measures one size after the other, writes the figures after each, and returns all wrong
// results at the end.
func run(ctx context.Context, o options) error {
	base, err := readResult(o.base)
	if o.base == storedResult && errors.Is(err, os.ErrNotExist) {
		err = nil // there is none yet
	}
	if err != nil {
		return err
	}
	all := newResult(o)
	var wrong []error
	for _, n := range o.sizes {
		measured, failed := measure(ctx, o, n)
		// Keep the figures from before a failure.
		all.add(measured)
		report(os.Stdout, measured)
		if err := errors.Join(failed, all.write(o.out)); err != nil {
			return err
		}
		for _, text := range measured.Wrong {
			wrong = append(wrong, fmt.Errorf("%d bindings: %s", n, text))
		}
	}
	compare(os.Stdout, base, all)
	fmt.Println()
	tables(os.Stdout, all)
	fmt.Printf("\nAll figures: %s\n", o.out)
	return errors.Join(wrong...)
}
