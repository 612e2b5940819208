package main

import (
	"strings"
	"testing"
)

func TestTables(t *testing.T) {
	small, large := onTarget(1000), onTarget(10_000)
	create := large.phase(phaseCreate)
	create.Seconds = 100 // the small size ended before
	create.KubernetesReads, create.KubernetesWrites, create.KongWrites = 5000, 20_000, 10_000
	create.Kubernetes = map[string]int{"create events": 300, "patch events": 200}
	create.Figures[figRate], create.Figures[figServerMS] = 95, 19
	large.Phases = append(large.Phases, &phase{Name: phaseLoopCreate, Figures: map[string]float64{figRate: 100, figServerMS: 18}})
	large.checkTargets()
	var out strings.Builder
	tables(&out, &result{Runs: []*measurement{small, large}})
	for _, want := range []string{
		"|  | 1,000 | 10,000 |\n|---|---|---|\n",
		"| memory, maximum | 150 MiB | 150 MiB |",
		"| creation per second: the operator; the loop; share | not measured | 95; 100; 95% |",
		"the loop | not measured | 19.0 ms; 18.0 ms |",
		"| creation | 0.00 | 1.00 | 0.50 | 2.00 | 0.05 |",
		"| first creation, share of the loop's rate >= 95% | 95% | reached |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestTableOfWrites(t *testing.T) {
	p := &phase{Name: phaseWrites, Figures: map[string]float64{"update, ms": 5.44}}
	var out strings.Builder
	tables(&out, &result{Runs: []*measurement{{N: 3000, Phases: []*phase{p}}}})
	if !strings.Contains(out.String(), "| update | 5.4 ms |\n") || strings.Contains(out.String(), "Targets") {
		t.Error(out.String())
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int]string{1: "1", 999: "999", 1000: "1,000", 50_000: "50,000", 1_234_567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
