package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// resyncTail is how long a resync may still keep the operator busy after its last request.
const resyncTail = time.Second

// idle observes the operator for some resyncs while there is nothing to do.
func (s *environment) idle(ctx context.Context, p *phase) error {
	mark := s.proxy.mark()
	begun := make(chan struct{}, 16)
	s.proxy.setOnResync(func() { begun <- struct{}{} })
	defer s.proxy.setOnResync(nil)

	watch, stop := context.WithCancel(ctx)
	samples := sampleCPU(watch, s.operator)
	defer stop()
	if err := waitForResync(ctx, begun); err != nil {
		return err
	}
	began := time.Now()
	if err := waitForResync(ctx, begun); err != nil {
		return err
	}
	profiled := s.profileResync(ctx) // the API server too: nothing is asked of it
	defer profiled()
	for range s.resyncs - 1 {
		if err := waitForResync(ctx, begun); err != nil {
			return err
		}
	}
	ended := time.Now()
	if err := s.waitForResyncEnd(ctx); err != nil {
		return err
	}
	stop()
	p.Seconds = ended.Sub(began).Seconds()
	p.summarizeIdle(s.proxy.since(mark), <-samples, began, ended)
	for _, e := range s.proxy.since(mark) {
		if e.isWrite() {
			s.fail("idle: write to Kong: %s %s", e.method, e.kind)
		}
	}
	return s.verify(ctx, p.Name)
}

// waitForResync waits until a resync begins.
func waitForResync(ctx context.Context, begun <-chan struct{}) error {
	const longest = 10 * patience
	select {
	case <-begun:
		return nil
	case <-time.After(longest):
		return fmt.Errorf("no resync within %s", longest)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waitForResyncEnd waits until the current resync has ended.
func (s *environment) waitForResyncEnd(ctx context.Context) error {
	calm, last := time.Now(), s.proxy.mark()
	return wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		if mark := s.proxy.mark(); mark != last {
			calm, last = time.Now(), mark
		}
		return time.Since(calm) > resyncTail, nil
	})
}

// cpuSample is the CPU time that a process had used at a time, in seconds.
type cpuSample struct {
	at  time.Time
	cpu float64
}

// sampleCPU samples the operator's CPU time until the context ends.
func sampleCPU(ctx context.Context, o *operator) <-chan []cpuSample {
	out := make(chan []cpuSample, 1)
	pid, spent := o.cmd.Process.Pid, o.endedCPU
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

// timeRange includes both of its ends.
type timeRange struct{ from, to time.Time }

func (s timeRange) contains(t time.Time) bool { return !t.Before(s.from) && !t.After(s.to) }

// resyncsIn returns the times of the operator's resyncs. A resync lasts from the probe before a
// list of plugins to the last page. A probe without a list is not part of a resync.
func resyncsIn(exchanges []exchange) []timeRange {
	sorted := slices.Clone(exchanges)
	slices.SortFunc(sorted, func(a, b exchange) int { return a.began.Compare(b.began) })
	var resyncs []timeRange
	var probed time.Time
	for _, e := range sorted {
		switch {
		case e.kind == "/":
			probed = e.began
		case e.firstPage:
			resyncs = append(resyncs, timeRange{probed, e.ended})
		case e.kind == "/plugins" && len(resyncs) > 0:
			resyncs[len(resyncs)-1].to = e.ended
		}
	}
	return resyncs
}

// summarizeIdle divides the cost into that of resyncs and that of the time between them.
func (p *phase) summarizeIdle(exchanges []exchange, samples []cpuSample, began, ended time.Time) {
	// The resync that begins at the end does not count.
	whole := timeRange{began.Add(-resyncTail), ended.Add(-resyncTail)}
	var resyncs []timeRange
	var took time.Duration
	for _, resync := range resyncsIn(exchanges) {
		if whole.contains(resync.from) {
			resyncs = append(resyncs, resync)
			took += resync.to.Sub(resync.from)
		}
	}
	reads, probes, others := 0, 0, 0
	for _, e := range exchanges {
		switch {
		case !whole.contains(e.began):
		case !e.resync:
			others++
		case slices.ContainsFunc(resyncs, func(s timeRange) bool { return s.contains(e.began) }):
			reads++
		default:
			probes++
		}
	}
	n := float64(max(len(resyncs), 1))
	p.Figures[figSweeps] = float64(len(resyncs))
	p.Figures[figSweepReads] = float64(reads) / n
	p.Figures[figSweepTook] = float64(took.Milliseconds()) / n
	p.Figures[figBetween] = float64(probes)
	p.Figures[figPerBinding] = float64(others)
	busy, idle, between := splitCPU(samples, resyncs, whole)
	p.Figures[figSweepCPU] = 1000 * busy / n
	p.Figures[figIdlePercent] = 100 * idle / max(between.Seconds(), 1e-9)
}

// splitCPU returns the CPU time used during resyncs and between them, and the length of the
// time between them.
func splitCPU(samples []cpuSample, resyncs []timeRange, whole timeRange) (busy, idle float64, between time.Duration) {
	for i := 1; i < len(samples); i++ {
		from, to := samples[i-1], samples[i]
		if !whole.contains(from.at) || !whole.contains(to.at) {
			continue
		}
		inResync := slices.ContainsFunc(resyncs, func(s timeRange) bool {
			return timeRange{s.from, s.to.Add(resyncTail)}.contains(to.at)
		})
		if inResync {
			busy += to.cpu - from.cpu
		} else {
			idle += to.cpu - from.cpu
			between += to.at.Sub(from.at)
		}
	}
	return busy, idle, between
}
