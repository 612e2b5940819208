package main

import (
	"fmt"
	"time"
)

// verdict says whether a target was reached.
type verdict struct {
	Target  string `json:"target"`
	Figure  string `json:"figure"`
	Reached bool   `json:"reached"`
}

// The targets, as they hold for 10,000 bindings on two cores.
const (
	mostChangeMS      = 100
	mostChangeReqs    = 2
	mostIdlePercent   = 1
	mostRestart       = 10.0 // seconds
	freeReads         = 10   // beside pages of lists
	mostMiB           = 150
	mostAmidMS        = 1000
	mostAfterOutage   = 30.0 // seconds
	leastSharePercent = 80
)

// judge compares what was measured with the targets, and notes what may not be.
func (m *measurement) judge() {
	restart, idle, change := m.phase(phaseRestart), m.phase(phaseIdle), m.phase(phaseChange)
	queue, outage := m.phase(phaseQueue), m.phase(phaseOutage)
	reads := readsAllowed(m.N)
	steps := probesAllowed(time.Duration(m.outageSeconds() * float64(time.Second)))

	m.most("one change in an idle system reaches Kong, p50", change.Figures[figP50], mostChangeMS, "ms")
	m.most("requests for one change", change.Figures[figRequests], mostChangeReqs, "")
	m.most("idle, CPU between sweeps", idle.Figures[figIdlePercent], mostIdlePercent, "% of a core")
	m.most("restart until all are known to be in sync", restart.Seconds, mostRestart, "s")
	m.most("restart, reads", float64(restart.KongReads), float64(reads), "")
	m.most("restart, writes to Kong and to Kubernetes", float64(restart.KongWrites+restart.KubernetesWrites), 0, "")
	m.most("idle, reads per sweep", idle.Figures[figSweepReads], float64(reads), "")
	m.most("idle, requests for single bindings", idle.Figures[figPerBinding], 0, "")
	m.most("idle, writes to Kong and to Kubernetes", float64(idle.KongWrites+idle.KubernetesWrites), 0, "")
	m.most("memory at most, over all phases", m.PeakMiB, mostMiB, "MiB")
	m.most("one change amid the full queue reaches Kong, max", queue.Figures[figMax], mostAmidMS, "ms")
	m.most("all in sync after an outage", outage.Figures[figInSync], mostAfterOutage, "s")
	m.most("probes during the outage, one per back-off step", outage.Figures[figProbes], float64(steps), "")
	share := m.figure(phaseCreate, figShare)
	m.Targets = append(m.Targets, verdict{
		Target: fmt.Sprintf("first creation, share of the bare client's rate >= %d%%", leastSharePercent),
		Figure: fmt.Sprintf("%.0f%%", share), Reached: share >= leastSharePercent,
	})
	for _, p := range []*phase{restart, idle} {
		if p.KubernetesWrites > 0 {
			m.Wrong = append(m.Wrong, fmt.Sprintf("%s: Kubernetes was written to: %v", p.Name, p.Kubernetes))
		}
	}
}

func (m *measurement) most(what string, is, most float64, unit string) {
	m.Targets = append(m.Targets, verdict{
		Target: fmt.Sprintf("%s <= %s", what, quantity(most, unit)), Figure: quantity(is, unit), Reached: is <= most,
	})
}

func quantity(value float64, unit string) string {
	text := number(value)
	if unit != "" {
		text += " " + unit
	}
	return text
}

// readsAllowed is how many reads a restart or a sweep may take: the pages of the plugins,
// those of the services and routes that bindings name, and ten more.
func readsAllowed(n int) int {
	const page = 1000
	pages := func(rows int) int { return (rows + page - 1) / page }
	return pages(n) + 2*pages((n+fewest-1)/fewest) + freeReads
}

// probesAllowed is how many probes an outage may take: one when it begins, and one for
// every step of a back-off from 1 s, doubled, to 15 s. The pauses vary by a tenth, and the
// last of them may have begun before the end.
func probesAllowed(outage time.Duration) int {
	probes, pause := 1, time.Second
	for at := pause; at <= outage; at += pause {
		probes++
		pause = min(2*pause, 15*time.Second)
	}
	return probes + 1
}

func (m *measurement) outageSeconds() float64 { return m.phase(phaseOutage).Figures[figAway] }
