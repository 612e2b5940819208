// Command mutants breaks one rule of the operator at a time and shows which layer of tests fails.
// A rule that can be broken without a failing test is not tested. The checkout stays as it is:
// go test runs with an overlay that replaces the broken file.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
)

func main() {
	only := flag.String("run", "", "run only the mutants whose name matches this `expression`")
	every := flag.Bool("all-layers", false, "run every layer for every mutant, not only up to the first that fails")
	compile := flag.Bool("compile", false, "only check that every mutant compiles")
	jobs := flag.Int("jobs", 1, "try so many mutants at the same time")
	flag.Parse()
	if *compile {
		layers = nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *only, *every, max(1, *jobs))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, every bool, jobs int) error {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	results, err := tryAll(ctx, dir, slices.DeleteFunc(slices.Clone(mutants), func(m mutant) bool { return !pattern.MatchString(m.name) }), every, jobs)
	if len(layers) == 0 && err == nil {
		fmt.Printf("%d mutants compile\n", len(results))
		return nil
	}
	return errors.Join(err, report(results))
}

// tryAll tries the mutants. The error names those that could not be tried; the others are in the results.
func tryAll(ctx context.Context, dir string, of []mutant, every bool, jobs int) ([]result, error) {
	var (
		group   errgroup.Group
		mu      sync.Mutex
		checked = &sound{passed: map[string]bool{}}
		results = make([]result, 0, len(of))
		errs    []error
	)
	group.SetLimit(jobs)
	for i, m := range of {
		group.Go(func() error {
			if ctx.Err() != nil {
				return nil // what was tried is reported
			}
			r, err := m.try(ctx, filepath.Join(dir, strconv.Itoa(i)), every, checked)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("mutant %q: %w", m.name, err))
				return nil
			}
			if len(layers) > 0 {
				fmt.Printf("%-60s %s\n", m.name, r.verdict())
			}
			results = append(results, r)
			return nil
		})
	}
	_ = group.Wait() // no function of the group returns an error
	return results, errors.Join(append(errs, ctx.Err())...)
}

type result struct {
	mutant mutant
	killed []string // the layers that failed
	took   time.Duration
}

func (r result) verdict() string {
	if len(r.killed) == 0 {
		return "SURVIVED"
	}
	return "killed by " + strings.Join(r.killed, ", ")
}

func report(results []result) error {
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RULE\tBROKEN\tLAYER\tSECONDS")
	survived := 0
	for _, r := range results {
		if len(r.killed) == 0 {
			survived++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.0f\n", r.mutant.rule, r.mutant.name, r.verdict(), r.took.Seconds())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Printf("\nmutants: %d, killed %d, survived %d\n", len(results), len(results)-survived, survived)
	if survived > 0 {
		return fmt.Errorf("%d mutants survived", survived)
	}
	return nil
}

// sound remembers which tests pass without any mutant.
type sound struct {
	mu     sync.Mutex
	passed map[string]bool
}

// check runs tests that noticed a mutant without it. Tests that fail anyway would notice every mutant.
func (s *sound) check(ctx context.Context, l layer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := fmt.Sprint(l.packages, l.args)
	if s.passed[key] {
		return nil
	}
	if out, err := l.test(ctx, ""); err != nil {
		return fmt.Errorf("layer %q fails without any mutant:\n%s", l.name, out)
	}
	s.passed[key] = true
	return nil
}

// A layer is a set of tests.
type layer struct {
	name     string
	packages []string
	args     []string
}

// layers in order: the fastest first.
var layers = []layer{
	{name: "pure", packages: []string{"./internal/...", "./controllers/...", "./cmd/..."}},
	{name: "tenant", packages: []string{"./test/tenancy"}},
	{name: "model", packages: []string{"./test/model/..."}},
	{name: "in process", packages: []string{"./test/faults"}},
	{name: "stories", packages: []string{"./test/integration"}, args: []string{"-ginkgo.fail-fast"}},
	{name: "commands", packages: []string{"./test/cli"}, args: []string{"-ginkgo.fail-fast"}},
	processes("."),
}

// test runs the layer, with an overlay if one is given. It returns an error if a test fails.
func (l layer) test(ctx context.Context, overlay string) (output string, err error) {
	args := []string{"test", "-vet=off", "-failfast", "-timeout=15m"}
	if overlay != "" {
		args = append(args, "-overlay="+overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(append(args, l.packages...), l.args...)...)
	cmd.Env = os.Environ()
	if overlay != "" {
		// For the binary that the layer "processes" builds.
		cmd.Env = append(cmd.Env, "GOFLAGS=-overlay="+overlay)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return string(out), err
}

// A mutant breaks one rule.
type mutant struct {
	// rule is the broken rule, in a word.
	rule string
	name string
	file string
	// to replaces from, which must be in the file exactly once.
	from, to string
	// first runs before the layers: the tests for this rule, if there are any.
	first layer
}

// stories returns the specs of a Describe.
func stories(of string) layer {
	return layer{name: "stories", packages: []string{"./test/integration"}, args: []string{"-ginkgo.focus=" + of}}
}

// plans returns some of the tests of package faults.
func plans(test string) layer {
	return layer{name: "in process", packages: []string{"./test/faults"}, args: []string{"-run=" + test}}
}

// webhooks returns some of the tests of the webhooks.
func webhooks(test string) layer {
	return layer{name: "pure", packages: []string{"./controllers/admission", "./internal/plugin", "./cmd/manager"}, args: []string{"-run=" + test}}
}

// processes returns some of the tests with real processes. They run with -count=1: go does not
// know what they build, and would reuse the result of an earlier run.
func processes(test string) layer {
	return layer{name: "processes", packages: []string{"./test/faults/processes"}, args: []string{"-count=1", "-run=" + test}}
}

// layers returns the layers in the order in which they run: first the tests that are there for the rule,
// or those of the package whose file is broken, which are part of the first layer.
func (m mutant) layers() []layer {
	if len(layers) == 0 {
		return nil
	}
	first := m.first
	if first.name == "" {
		first = layer{name: layers[0].name, packages: []string{"./" + filepath.Dir(m.file)}}
	}
	return append([]layer{first}, layers...)
}

// try finds the layers that fail.
func (m mutant) try(ctx context.Context, dir string, every bool, checked *sound) (result, error) {
	began := time.Now()
	overlay, err := m.overlay(dir)
	if err != nil {
		return result{}, err
	}
	if out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-overlay="+overlay, "-o", os.DevNull, "./cmd/manager").CombinedOutput(); err != nil {
		return result{}, fmt.Errorf("it does not compile: %s", out)
	}
	r := result{mutant: m}
	for _, l := range m.layers() {
		if slices.Contains(r.killed, l.name) {
			continue
		}
		if _, err := l.test(ctx, overlay); err != nil {
			if ctx.Err() != nil {
				return result{}, ctx.Err()
			}
			if err := checked.check(ctx, l); err != nil {
				return result{}, err
			}
			r.killed = append(r.killed, l.name)
			if !every {
				break
			}
		}
	}
	r.took = time.Since(began)
	return r, nil
}

// overlay writes the broken file into a new directory, and the overlay that makes go read it instead of the real one.
func (m mutant) overlay(dir string) (string, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	source, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), m.from); n != 1 {
		return "", fmt.Errorf("%s has %q %d times, not once: adapt the mutant to the code", m.file, m.from, n)
	}
	broken := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(broken, []byte(strings.Replace(string(source), m.from, m.to, 1)), 0o600); err != nil {
		return "", err
	}
	original, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{original: broken}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}
