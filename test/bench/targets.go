package main

import (
	"fmt"
	"time"
)

// targetResult says whether a target was reached.
type targetResult struct {
	Target  string `json:"target"`
	Figure  string `json:"figure"`
	Reached bool   `json:"reached"`
}

// The targets, for 10,000 bindings on two cores.
const (
	maxChangeMS           = 100
	maxChangeRequests     = 2
	maxIdlePercent        = 1
	maxRestartSeconds     = 10.0 // seconds
	extraReads            = 10   // in addition to the pages
	maxMiB                = 150
	maxQueueLatencyMS     = 1000
	maxSecondsAfterOutage = 30.0 // seconds
	minSharePercent       = 80
	minLoopPercent        = 95
	maxRouteP50MS         = 300
	maxRouteP99MS         = 1000
)

// checkTargets compares the figures with the targets, and records writes that must not happen.
func (m *measurement) checkTargets() {
	restart, idle, change := m.phase(phaseRestart), m.phase(phaseIdle), m.phase(phaseChange)
	queue, outage := m.phase(phaseQueue), m.phase(phaseOutage)
	reads := readsAllowed(m.N)
	steps := probesAllowed(time.Duration(m.outageSeconds() * float64(time.Second)))

	m.atMost("one change in an idle system reaches Kong, p50", change.Figures[figP50], maxChangeMS, "ms")
	m.atMost("requests for one change", change.Figures[figRequests], maxChangeRequests, "")
	m.atMost("idle, CPU between sweeps", idle.Figures[figIdlePercent], maxIdlePercent, "% of a core")
	m.atMost("restart until all are known to be in sync", restart.Seconds, maxRestartSeconds, "s")
	m.atMost("restart, reads", float64(restart.KongReads), float64(reads), "")
	m.atMost("restart, writes to Kong and to Kubernetes", float64(restart.KongWrites+restart.KubernetesWrites), 0, "")
	m.atMost("idle, reads per sweep", idle.Figures[figSweepReads], float64(reads), "")
	m.atMost("idle, requests for single bindings", idle.Figures[figPerBinding], 0, "")
	m.atMost("idle, writes to Kong and to Kubernetes", float64(idle.KongWrites+idle.KubernetesWrites), 0, "")
	m.atMost("memory at most, before the policies", m.withoutPoliciesMiB(), maxMiB, "MiB")
	m.atMost("one change amid the full queue reaches Kong, max", queue.Figures[figMax], maxQueueLatencyMS, "ms")
	m.atMost("all in sync after an outage", outage.Figures[figInSync], maxSecondsAfterOutage, "s")
	m.atMost("probes during the outage, one per back-off step", outage.Figures[figProbes], float64(steps), "")
	policies, route := m.phase(phasePolicyRestart), m.phase(phasePolicyRoute)
	m.atMost("policies, restart, writes to Kong and to Kubernetes", float64(policies.KongWrites+policies.KubernetesWrites), 0, "")
	m.atMost("policies, from a new route in Kong to its plugin, p50", route.Figures[figP50], maxRouteP50MS, "ms")
	m.atMost("policies, from a new route in Kong to its plugin, p99", route.Figures[figP99], maxRouteP99MS, "ms")
	m.atLeast("first creation, share of the bare client's rate", m.figure(phaseCreate, figShare), minSharePercent)
	m.atLeast("first creation, share of the loop's rate", m.figure(phaseCreate, figLoopShare), minLoopPercent)
	m.atLeast("change of all, share of the loop's rate", queue.Figures[figLoopShare], minLoopPercent)
	m.atLeast("deletion of all, share of the loop's rate", m.figure(phaseDelete, figLoopShare), minLoopPercent)
	for _, p := range []*phase{restart, idle, policies} {
		if p.KubernetesWrites > 0 {
			m.Wrong = append(m.Wrong, fmt.Sprintf("%s: writes to Kubernetes: %v", p.Name, p.Kubernetes))
		}
	}
}

func (m *measurement) atMost(what string, is, most float64, unit string) {
	m.Targets = append(m.Targets, targetResult{
		Target: fmt.Sprintf("%s <= %s", what, quantity(most, unit)), Figure: quantity(is, unit), Reached: is <= most,
	})
}

func (m *measurement) atLeast(what string, is, least float64) {
	m.Targets = append(m.Targets, targetResult{
		Target: fmt.Sprintf("%s >= %.0f%%", what, least), Figure: fmt.Sprintf("%.0f%%", is), Reached: is >= least,
	})
}

func quantity(value float64, unit string) string {
	text := number(value)
	if unit != "" {
		text += " " + unit
	}
	return text
}

// readsAllowed is how many reads a restart or a resync may take: the pages of the plugins,
// those of the services and routes that bindings name, or a request for each if they are few, and ten more.
func readsAllowed(n int) int {
	const page, few = 1000, 10
	pages := func(rows int) int { return (rows + page - 1) / page }
	entities := (n + minBindings - 1) / minBindings
	if entities > few {
		entities = pages(entities)
	}
	return pages(n) + 2*entities + extraReads
}

// probesAllowed is how many probes an outage may take: one when it begins, and one for every
// step of a backoff that doubles from 1 s to 15 s. The pauses vary by a tenth, and the last one
// may have begun before the outage.
func probesAllowed(outage time.Duration) int {
	probes, pause := 1, time.Second
	for at := pause; at <= outage; at += pause {
		probes++
		pause = min(2*pause, 15*time.Second)
	}
	return probes + 1
}

func (m *measurement) outageSeconds() float64 { return m.phase(phaseOutage).Figures[figAway] }
