package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// environment is what one size is measured in. Everything in it is new, so that no size affects
// the next one.
type environment struct {
	options
	n        int
	plugins  []pluginSpec
	dir      string // all files; removed at the end
	tmp      string // TMPDIR as it was
	cluster  *cluster
	kong     *kong
	proxy    *proxy
	operator *operator
	loop     *loop             // between its phases
	ids      map[string]string // plugin IDs by binding, once they are recorded
	measured *measurement
}

// measure runs all phases for one size.
func measure(ctx context.Context, o options, n int) (m *measurement, err error) {
	s := &environment{options: o, n: n, plugins: pluginSpecs(n), ids: map[string]string{}, measured: &measurement{N: n}}
	defer func() { err = errors.Join(err, s.tearDown(context.WithoutCancel(ctx))) }()
	if err := s.setUp(ctx); err != nil {
		return s.measured, err
	}
	s.measured.Kong = s.kong.description
	for _, p := range s.phases() {
		if err := s.runPhase(ctx, p.name, p.run); err != nil {
			return s.measured, fmt.Errorf("%d bindings, %s: %w", n, p.name, err)
		}
	}
	if err := s.operator.stop(); err != nil {
		return s.measured, err
	}
	s.measured.PeakMiB = s.operator.peakMiB
	if s.options.only == "" {
		s.measured.checkTargets()
	}
	return s.measured, nil
}

// step is one phase to run.
type step struct {
	name string
	run  func(context.Context, *phase) error
}

// phases returns the phases in their order.
func (s *environment) phases() []step {
	policies := []step{
		{phasePolicies, s.createPolicies},
		{phasePolicyRestart, s.restartPolicies},
		{phasePolicyRoute, s.addRoutes},
	}
	switch s.options.only {
	case onlyPolicies:
		return policies
	case onlyWrites:
		return []step{{phaseWrites, s.measureWrites}}
	case onlyLoop:
		return []step{
			{phaseLoad, s.load},
			{phaseLoopCreate, s.loopCreate},
			{phaseLoopChange, s.loopChange},
			{phaseLoopDelete, s.loopDelete},
			{phaseCreate, s.create},
			{phaseQueue, s.fullQueue},
			{phaseDelete, s.delete},
		}
	}
	return append([]step{
		{phaseBare, s.bare},
		{phaseLoad, s.load},
		{phaseLoopCreate, s.loopCreate},
		{phaseLoopChange, s.loopChange},
		{phaseLoopDelete, s.loopDelete},
		{phaseCreate, s.create},
		{phaseSettle, s.restart},
		{phaseRestart, s.restartInSync},
		{phaseIdle, s.idle},
		{phaseChange, s.change},
		{phaseQueue, s.fullQueue},
		{phaseDrift, s.drift},
		{phaseOutage, s.outagePhase},
		{phaseDelete, s.delete},
		{phaseLimited, s.limited},
	}, policies...)
}

func (s *environment) setUp(ctx context.Context) error {
	var err error
	if s.dir, err = os.MkdirTemp("", "kong-plugin-operator-bench-"); err != nil {
		return err
	}
	s.tmp = os.Getenv("TMPDIR")
	if err := os.Setenv("TMPDIR", s.dir); err != nil { // for the API server's and etcd's data
		return err
	}
	if s.kong, err = openKong(ctx, s.options); err != nil {
		return err
	}
	if s.proxy, err = startProxy(s.kong.url, s.pace && s.kongURL == ""); err != nil {
		return err
	}
	if err := s.kong.seed(ctx, s.plugins); err != nil {
		return err
	}
	if s.cluster, err = startCluster(s.options, s.dir); err != nil {
		return err
	}
	s.operator = newOperator(s.options, s.cluster, s.kong, s.dir, s.n)
	return s.cluster.seed(ctx, s.proxy.url)
}

// tearDown stops and removes everything, in reverse order.
func (s *environment) tearDown(ctx context.Context) error {
	var errs []error
	errs = append(errs, s.operator.stop())
	if s.cluster != nil {
		errs = append(errs, s.cluster.stop())
	}
	if s.proxy != nil {
		s.proxy.close()
	}
	if s.kong != nil {
		errs = append(errs, s.kong.close(ctx))
	}
	return errors.Join(append(errs, os.Setenv("TMPDIR", s.tmp), os.RemoveAll(s.dir))...)
}

// runPhase runs one phase and measures its cost.
func (s *environment) runPhase(ctx context.Context, name string, run func(context.Context, *phase) error) error {
	fmt.Fprintf(os.Stderr, "%s  %d bindings: %s\n", time.Now().Format(time.TimeOnly), s.n, name)
	if _, _, err := s.cluster.audit.next(); err != nil {
		return err
	}
	p, mark := &phase{Name: name, Figures: map[string]float64{}}, s.proxy.mark()
	before, err := s.operator.cpu()
	if err != nil {
		return err
	}
	began, theirs, machine, ours := time.Now(), cpuOf(s.cluster.processes), machineCPU(), cpuOf(s.benchProcesses())
	if err := run(ctx, p); err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	if p.Seconds == 0 {
		p.Seconds = took
	}
	after, err := s.operator.cpu()
	if err != nil {
		return err
	}
	p.CPUSeconds, p.ServerCPUSeconds = after-before, cpuOf(s.cluster.processes)-theirs
	others := machineCPU() - machine - (cpuOf(s.benchProcesses()) - ours) - p.ServerCPUSeconds - p.CPUSeconds
	p.OthersPercent = max(0, 100*others/took)
	p.PeakMiB = s.operator.peakMiB
	if name != phaseBare {
		p.countKong(s.proxy.since(mark))
	}
	reads, writes, err := s.cluster.audit.next()
	if err != nil {
		return err
	}
	p.countKubernetes(reads, writes)
	s.measured.Phases = append(s.measured.Phases, p)
	return nil
}

// benchProcesses returns the bench's processes besides the operator and the API server.
func (s *environment) benchProcesses() []int {
	pids := []int{os.Getpid()}
	if s.kong.process != nil {
		pids = append(pids, s.kong.process.Process.Pid)
	}
	return pids
}

// fail records a wrong result. Wrong results do not depend on times.
func (s *environment) fail(format string, args ...any) {
	s.measured.Wrong = append(s.measured.Wrong, fmt.Sprintf(format, args...))
}

// verify checks that every binding is ready, with the same plugin ID as before.
func (s *environment) verify(ctx context.Context, when string) error {
	bindings, err := s.cluster.bindings(ctx)
	if err != nil {
		return err
	}
	if s.measured.BindingBytes == 0 && len(bindings) > 0 {
		text, err := json.Marshal(bindings[0])
		if err != nil {
			return err
		}
		s.measured.BindingBytes = len(text)
	}
	if len(bindings) != s.n {
		s.fail("%s: there are %d bindings", when, len(bindings))
	}
	unready, moved := 0, 0
	for i := range bindings {
		b := &bindings[i]
		if !isReady(b) {
			unready++
		}
		id := string(b.Status.PluginID)
		if was, known := s.ids[b.Name]; known && was != id {
			moved++
		}
		s.ids[b.Name] = id
	}
	if unready > 0 {
		s.fail("%s: %d bindings are not ready", when, unready)
	}
	if moved > 0 {
		s.fail("%s: the plugin IDs of %d bindings changed", when, moved)
	}
	return s.verifyKong(ctx, when)
}

// verifyKong checks that Kong holds the plugins of all bindings, and no others.
func (s *environment) verifyKong(ctx context.Context, when string) error {
	held, err := s.kong.owned(ctx)
	if err != nil {
		return err
	}
	inKong := make(map[string]bool, len(held))
	for _, id := range held {
		inKong[id] = true
	}
	for _, id := range s.ids {
		if !inKong[id] {
			s.fail("%s: Kong has no plugin %s", when, id)
		}
	}
	if len(held) != s.n {
		s.fail("%s: Kong has %d plugins", when, len(held))
	}
	return nil
}

func isReady(b *v1alpha1.PluginBinding) bool {
	ready := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == b.Generation
}

// writesIn counts the plugins that were written in these exchanges.
func writesIn(exchanges []exchange, method string) (n int, first, last time.Time) {
	for _, e := range exchanges {
		if e.method != method || e.status == 0 || e.status >= http.StatusMultipleChoices {
			continue
		}
		n++
		if first.IsZero() || e.began.Before(first) {
			first = e.began
		}
		if e.ended.After(last) {
			last = e.ended
		}
	}
	return n, first, last
}
