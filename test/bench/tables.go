package main

import (
	"fmt"
	"io"
	"strings"
)

// tables prints the tables of docs/performance.md from a result.
func tables(out io.Writer, r *result) {
	if m := r.last(); len(m.phase(phaseWrites).Figures) > 0 {
		writesTable(out, m)
		return
	}
	fmt.Fprintf(out, "Measured:\n\n")
	measuredTable(out, r)
	fmt.Fprintf(out, "\nBeside the loop:\n\n")
	loopTable(out, r)
	fmt.Fprintf(out, "\nRequests for one binding, at %d bindings:\n\n", r.last().N)
	requestsTable(out, r.last())
	fmt.Fprintf(out, "\nTargets, for %d bindings:\n\n", r.last().N)
	targetsTable(out, r.last())
}

// last is the largest size, if the sizes grow.
func (r *result) last() *measurement {
	if len(r.Runs) == 0 {
		return &measurement{}
	}
	return r.Runs[len(r.Runs)-1]
}

func tableRow(out io.Writer, cells ...string) {
	fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | "))
}

func tableHead(out io.Writer, cells ...string) {
	tableRow(out, cells...)
	fmt.Fprintln(out, strings.Repeat("|---", len(cells))+"|")
}

// tableOfSizes prints one row for each figure, and one column for each size.
func tableOfSizes(out io.Writer, r *result, rows []struct {
	what string
	of   func(*measurement) string
},
) {
	head := []string{""}
	for _, m := range r.Runs {
		head = append(head, grouped(m.N))
	}
	tableHead(out, head...)
	for _, row := range rows {
		cells := []string{row.what}
		for _, m := range r.Runs {
			cells = append(cells, row.of(m))
		}
		tableRow(out, cells...)
	}
}

func measuredTable(out io.Writer, r *result) {
	tableOfSizes(out, r, []struct {
		what string
		of   func(*measurement) string
	}{
		{"first creation, until all are ready", func(m *measurement) string {
			p := m.phase(phaseCreate)
			return fmt.Sprintf("%s, of which %s before the first write", seconds(p.Figures[figAllReady]), seconds(p.Figures[figFirst]))
		}},
		{"plugins created per second; a bare client with 8 requests at a time", func(m *measurement) string {
			return fmt.Sprintf("%.0f; %.0f", m.figure(phaseCreate, figRate), m.figure(phaseBare, figRate))
		}},
		{"restart, all known to be in sync", func(m *measurement) string {
			p := m.phase(phaseRestart)
			return fmt.Sprintf("%s, %d reads", seconds(p.Seconds), p.KongReads)
		}},
		{"a resync", func(m *measurement) string {
			f := m.phase(phaseIdle).Figures
			return fmt.Sprintf("%.0f reads, %s; %s of processor", f[figSweepReads], milliseconds(f[figSweepTook]), milliseconds(f[figSweepCPU]))
		}},
		{"one change, until it is in Kong: p50, p95, maximum", func(m *measurement) string {
			f := m.phase(phaseChange).Figures
			return fmt.Sprintf("%.0f, %.0f, %.0f ms", f[figP50], f[figP95], f[figMax])
		}},
		{"one change while all others wait: p50, maximum", func(m *measurement) string {
			f := m.phase(phaseQueue).Figures
			return fmt.Sprintf("%.0f, %.0f ms", f[figP50], f[figMax])
		}},
		{"change of all", func(m *measurement) string { return seconds(m.phase(phaseQueue).Seconds) }},
		{"1% drifted: from the start of the resync that detects it to the last correction", func(m *measurement) string {
			return ifMeasured(m.phase(phaseDrift), seconds(m.figure(phaseDrift, figFromSweep)))
		}},
		{"gateway down: probes; in sync again after", func(m *measurement) string {
			f := m.phase(phaseOutage).Figures
			return ifMeasured(m.phase(phaseOutage), fmt.Sprintf("%.0f; %s", f[figProbes], seconds(f[figInSync])))
		}},
		{"deletion of all", func(m *measurement) string {
			return ifMeasured(m.phase(phaseDelete), seconds(m.phase(phaseDelete).Seconds))
		}},
		{"memory, maximum", func(m *measurement) string { return fmt.Sprintf("%.0f MiB", m.withoutPoliciesMiB()) }},
	})
}

// ifMeasured is the text, unless the measurement ended before the phase.
func ifMeasured(p *phase, text string) string {
	if p.Seconds == 0 {
		return "not measured"
	}
	return text
}

// againstLoop are the phases that the loop mirrors.
var againstLoop = []struct{ what, own, loop string }{
	{"creation", phaseCreate, phaseLoopCreate},
	{"change of all", phaseQueue, phaseLoopChange},
	{"deletion of all", phaseDelete, phaseLoopDelete},
}

// loopTable shows the operator's rates beside those of the loop, and what each costs the API server.
func loopTable(out io.Writer, r *result) {
	type row = struct {
		what string
		of   func(*measurement) string
	}
	var rows []row
	for _, v := range againstLoop {
		rows = append(rows,
			row{v.what + " per second: the operator; the loop; share", func(m *measurement) string {
				p := m.phase(v.own)
				return ifMeasured(p, fmt.Sprintf("%.0f; %.0f; %.0f%%", p.Figures[figRate], m.figure(v.loop, figRate), p.Figures[figLoopShare]))
			}},
			row{"the API server's processor for one: the operator; the loop", func(m *measurement) string {
				return ifMeasured(m.phase(v.own), fmt.Sprintf("%.1f ms; %.1f ms", m.figure(v.own, figServerMS), m.figure(v.loop, figServerMS)))
			}})
	}
	tableOfSizes(out, r, rows)
}

// requestsTable shows the requests for one binding, with what a start and the resyncs add.
func requestsTable(out io.Writer, m *measurement) {
	each := func(n int) string { return fmt.Sprintf("%.2f", float64(n)/float64(m.N)) }
	tableHead(out, "moment", "Kong: reads", "Kong: writes", "Kubernetes: reads", "Kubernetes: writes", "of these, events")
	for _, v := range againstLoop {
		p := m.phase(v.own)
		tableRow(out, v.what, each(p.KongReads), each(p.KongWrites), each(p.KubernetesReads), each(p.KubernetesWrites),
			each(p.Kubernetes["create events"]+p.Kubernetes["patch events"]))
	}
}

func targetsTable(out io.Writer, m *measurement) {
	tableHead(out, "target", "figure", "")
	for _, v := range m.Targets {
		reached := "reached"
		if !v.Reached {
			reached = "**not reached**"
		}
		tableRow(out, v.Target, v.Figure, reached)
	}
}

// seconds formats a duration with two digits that count.
func seconds(s float64) string {
	if s < 1 {
		return fmt.Sprintf("%.2f s", s)
	}
	if s < 20 {
		return fmt.Sprintf("%.1f s", s)
	}
	return fmt.Sprintf("%.0f s", s)
}

func milliseconds(ms float64) string {
	if ms < 1000 {
		return fmt.Sprintf("%.0f ms", ms)
	}
	return seconds(ms / 1000)
}

// grouped writes a number with a comma before each three digits.
func grouped(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
