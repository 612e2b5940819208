package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// afterwards is how long after its last request a sweep may still keep the operator busy.
const afterwards = time.Second

// idle watches the operator for some sweeps while there is nothing to do.
func (s *stage) idle(ctx context.Context, p *phase) error {
	mark := s.proxy.mark()
	begun := make(chan struct{}, 16)
	s.proxy.whenSwept(func() { begun <- struct{}{} })
	defer s.proxy.whenSwept(nil)

	watch, stop := context.WithCancel(ctx)
	samples := sampleCPU(watch, s.operator)
	defer stop()
	if err := nextSweep(ctx, begun); err != nil {
		return err
	}
	began := time.Now()
	if err := nextSweep(ctx, begun); err != nil {
		return err
	}
	profiled := s.profileSweep(ctx)
	defer profiled()
	for range s.sweeps - 1 {
		if err := nextSweep(ctx, begun); err != nil {
			return err
		}
	}
	ended := time.Now()
	if err := s.sweepEnds(ctx); err != nil {
		return err
	}
	stop()
	p.Seconds = ended.Sub(began).Seconds()
	p.sumUpIdle(s.proxy.since(mark), <-samples, began, ended)
	for _, e := range s.proxy.since(mark) {
		if e.write() {
			s.wrong("idle: Kong was written to: %s %s", e.method, e.kind)
		}
	}
	return s.verify(ctx, p.Name)
}

// nextSweep waits until a sweep begins.
func nextSweep(ctx context.Context, begun <-chan struct{}) error {
	const longest = 10 * patience
	select {
	case <-begun:
		return nil
	case <-time.After(longest):
		return fmt.Errorf("no sweep in %s", longest)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sweepEnds waits until the sweep under way has ended.
func (s *stage) sweepEnds(ctx context.Context) error {
	calm, last := time.Now(), s.proxy.mark()
	return wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		if mark := s.proxy.mark(); mark != last {
			calm, last = time.Now(), mark
		}
		return time.Since(calm) > afterwards, nil
	})
}

// cpuSample is how much a process had used at a time, in seconds.
type cpuSample struct {
	at  time.Time
	cpu float64
}

// sampleCPU looks at the operator's use of the processor until the context ends.
func sampleCPU(ctx context.Context, o *operator) <-chan []cpuSample {
	out := make(chan []cpuSample, 1)
	pid, spent := o.cmd.Process.Pid, o.spent
	go func() {
		var samples []cpuSample
		_ = wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(context.Context) (bool, error) { // ends with the context
			u, err := usageOf(pid)
			if err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
			}
			samples = append(samples, cpuSample{time.Now(), spent + u.cpu})
			return false, nil
		})
		out <- samples
	}()
	return out
}

// stretch is a time from one moment to another.
type stretch struct{ from, to time.Time }

func (s stretch) holds(t time.Time) bool { return !t.Before(s.from) && !t.After(s.to) }

// sweepsIn finds when the operator swept: from the probe before a list of plugins to the
// last page. Probes without lists, between the sweeps, are none.
func sweepsIn(exchanges []exchange) []stretch {
	sorted := slices.Clone(exchanges)
	slices.SortFunc(sorted, func(a, b exchange) int { return a.began.Compare(b.began) })
	var sweeps []stretch
	var probed time.Time
	for _, e := range sorted {
		switch {
		case e.kind == "/":
			probed = e.began
		case e.firstPage:
			sweeps = append(sweeps, stretch{probed, e.ended})
		case e.kind == "/plugins" && len(sweeps) > 0:
			sweeps[len(sweeps)-1].to = e.ended
		}
	}
	return sweeps
}

// sumUpIdle divides what was used into sweeps and the time between them.
func (p *phase) sumUpIdle(exchanges []exchange, samples []cpuSample, began, ended time.Time) {
	// The sweep that begins at the end is outside.
	whole := stretch{began.Add(-afterwards), ended.Add(-afterwards)}
	var sweeps []stretch
	var took time.Duration
	for _, sweep := range sweepsIn(exchanges) {
		if whole.holds(sweep.from) {
			sweeps = append(sweeps, sweep)
			took += sweep.to.Sub(sweep.from)
		}
	}
	reads, probes, others := 0, 0, 0
	for _, e := range exchanges {
		switch {
		case !whole.holds(e.began):
		case !e.sweep:
			others++
		case slices.ContainsFunc(sweeps, func(s stretch) bool { return s.holds(e.began) }):
			reads++
		default:
			probes++
		}
	}
	n := float64(max(len(sweeps), 1))
	p.Figures[figSweeps] = float64(len(sweeps))
	p.Figures[figSweepReads] = float64(reads) / n
	p.Figures[figSweepTook] = float64(took.Milliseconds()) / n
	p.Figures[figBetween] = float64(probes)
	p.Figures[figPerBinding] = float64(others)
	busy, idle, between := shareOut(samples, sweeps, whole)
	p.Figures[figSweepCPU] = 1000 * busy / n
	p.Figures[figIdlePercent] = 100 * idle / max(between.Seconds(), 1e-9)
}

// shareOut adds up what was used during sweeps and between them, and the time between.
func shareOut(samples []cpuSample, sweeps []stretch, whole stretch) (busy, idle float64, between time.Duration) {
	for i := 1; i < len(samples); i++ {
		from, to := samples[i-1], samples[i]
		if !whole.holds(from.at) || !whole.holds(to.at) {
			continue
		}
		swept := slices.ContainsFunc(sweeps, func(s stretch) bool {
			return stretch{s.from, s.to.Add(afterwards)}.holds(to.at)
		})
		if swept {
			busy += to.cpu - from.cpu
		} else {
			idle += to.cpu - from.cpu
			between += to.at.Sub(from.at)
		}
	}
	return busy, idle, between
}
