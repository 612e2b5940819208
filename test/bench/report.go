package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// report prints the figures of one size.
func report(out io.Writer, m *measurement) {
	fmt.Fprintf(out, "\n%d bindings on one gateway (%s)\n\n", m.N, m.Kong)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "phase\tseconds\tKong reads\tKong writes\tKubernetes reads\tKubernetes writes\tCPU s\tAPI server CPU s\tothers' CPU, %\tMiB so far\tbesides")
	for _, p := range m.Phases {
		fmt.Fprintf(w, "%s\t%.2f\t%d\t%d\t%d\t%d\t%.2f\t%.2f\t%.0f\t%.0f\t%s\n", p.Name, p.Seconds,
			p.KongReads, p.KongWrites, p.KubernetesReads, p.KubernetesWrites, p.CPUSeconds, p.ServerCPUSeconds, p.OthersPercent, p.PeakMiB, otherFigures(p))
	}
	w.Flush()
	fmt.Fprintln(out)
	fmt.Fprintln(w, "target\tfigure\t")
	for _, v := range m.Targets {
		reached := "reached"
		if !v.Reached {
			reached = "NOT reached"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", v.Target, v.Figure, reached)
	}
	w.Flush()
	if busiest := m.peakOthersPercent(); busiest > maxOthersPercent {
		fmt.Fprintf(out, "Other processes used up to %.0f%% of a core meanwhile, so the times are too long.\n", busiest)
	}
	for _, text := range m.Wrong {
		fmt.Fprintln(out, "WRONG:", text)
	}
}

// maxOthersPercent is the share of a core that other processes may use before the times become
// unreliable, in percent.
const maxOthersPercent = 20

func (m *measurement) peakOthersPercent() float64 {
	most := 0.0
	for _, p := range m.Phases {
		most = max(most, p.OthersPercent)
	}
	return most
}

func otherFigures(p *phase) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(p.Figures)) {
		parts = append(parts, name+" "+number(p.Figures[name]))
	}
	return strings.Join(parts, "; ")
}

// number formats a figure with two decimals, or none if it is large or integral.
func number(value float64) string {
	if math.Abs(value) >= 100 || value == math.Trunc(value) {
		return strconv.FormatFloat(value, 'f', 0, 64)
	}
	return strconv.FormatFloat(value, 'f', 2, 64)
}

// compare prints the figures that differ from an earlier result, as ratios.
func compare(out io.Writer, base, now *result) {
	if base == nil {
		return
	}
	fmt.Fprintf(out, "\nCompared with %s: the figure then and now, and their ratio\n\n", base.Time.Format("2006-01-02 15:04"))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "bindings\tphase\tfigure\tthen\tnow\tratio")
	for _, m := range now.Runs {
		old := base.run(m.N)
		if old == nil {
			continue
		}
		for _, p := range m.Phases {
			was, is := old.phase(p.Name).all(), p.all()
			for _, name := range slices.Sorted(maps.Keys(is)) {
				before, known := was[name]
				if !known || before == 0 && is[name] == 0 {
					continue
				}
				fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", m.N, p.Name, name, number(before), number(is[name]), ratio(is[name], before))
			}
		}
	}
	w.Flush()
}

func ratio(is, was float64) string {
	if was == 0 {
		return "new"
	}
	return fmt.Sprintf("%.2f", is/was)
}

// all returns all figures of a phase by name.
func (p *phase) all() map[string]float64 {
	all := map[string]float64{
		"seconds": p.Seconds, "Kong reads": float64(p.KongReads), "Kong writes": float64(p.KongWrites),
		"Kubernetes reads": float64(p.KubernetesReads), "Kubernetes writes": float64(p.KubernetesWrites),
		"CPU s": p.CPUSeconds, "API server CPU s": p.ServerCPUSeconds, "MiB so far": p.PeakMiB,
	}
	maps.Copy(all, p.Figures)
	return all
}
