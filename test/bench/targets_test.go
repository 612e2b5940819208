package main

import (
	"bytes"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serve serves until the test ends, and returns the URL.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return "http://" + listener.Addr().String()
}

// onTarget returns a measurement that just reaches every target.
func onTarget(n int) *measurement {
	return &measurement{N: n, PeakMiB: 150, Phases: []*phase{
		{Name: phaseCreate, Figures: map[string]float64{figShare: 80, figLoopShare: 95}},
		{Name: phaseDelete, Figures: map[string]float64{figLoopShare: 95}},
		{Name: phaseRestart, Seconds: 10, KongReads: readsAllowed(n), PeakMiB: 150},
		{Name: phaseIdle, Figures: map[string]float64{figIdlePercent: 1, figSweepReads: float64(readsAllowed(n))}},
		{Name: phaseChange, Figures: map[string]float64{figP50: 100, figRequests: 2}},
		{Name: phaseQueue, Figures: map[string]float64{figMax: 1000, figLoopShare: 95}},
		{Name: phaseOutage, Figures: map[string]float64{figInSync: 30, figAway: 60, figProbes: 9}},
		{Name: phasePolicyRoute, Figures: map[string]float64{figP50: 300, figP99: 1000}},
	}}
}

func TestTargets(t *testing.T) {
	m := onTarget(10_000)
	m.checkTargets()
	for _, v := range m.Targets {
		if !v.Reached {
			t.Errorf("%s: %s misses the target", v.Target, v.Figure)
		}
	}
	if len(m.Wrong) > 0 {
		t.Errorf("wrong: %v", m.Wrong)
	}
	for name, spoil := range map[string]func(*measurement){
		"memory":                      func(m *measurement) { m.phase(phaseRestart).PeakMiB = 151 },
		"bare client":                 func(m *measurement) { m.phase(phaseCreate).Figures[figShare] = 79 },
		"creation, share of the loop": func(m *measurement) { m.phase(phaseCreate).Figures[figLoopShare] = 94 },
		"change of all":               func(m *measurement) { m.phase(phaseQueue).Figures[figLoopShare] = 94 },
		"deletion of all":             func(m *measurement) { m.phase(phaseDelete).Figures[figLoopShare] = 94 },
		"restart until all":           func(m *measurement) { m.phase(phaseRestart).Seconds = 11 },
		"restart, reads":              func(m *measurement) { m.phase(phaseRestart).KongReads++ },
		"requests for one":            func(m *measurement) { m.phase(phaseChange).Figures[figRequests] = 3 },
		"probes":                      func(m *measurement) { m.phase(phaseOutage).Figures[figProbes] = 10 },
		"single bindings":             func(m *measurement) { m.phase(phaseIdle).Figures[figPerBinding] = 1 },
		"its plugin, p99":             func(m *measurement) { m.phase(phasePolicyRoute).Figures[figP99] = 1001 },
		"amid":                        func(m *measurement) { m.phase(phaseQueue).Figures[figMax] = 1001 },
	} {
		m := onTarget(10_000)
		spoil(m)
		m.checkTargets()
		var missed []string
		for _, v := range m.Targets {
			if !v.Reached {
				missed = append(missed, v.Target)
			}
		}
		if len(missed) != 1 || !strings.Contains(missed[0], name) {
			t.Errorf("%s: missed %q", name, missed)
		}
	}
}

// Slow results do not make the bench fail. A write in sync does.
func TestAWriteInSyncIsWrong(t *testing.T) {
	m := onTarget(1000)
	m.phase(phaseIdle).KubernetesWrites = 1
	m.checkTargets()
	if len(m.Wrong) != 1 {
		t.Errorf("wrong: %v", m.Wrong)
	}
}

func TestAllowances(t *testing.T) {
	for n, want := range map[int]int{100: 25, 1000: 13, 10_000: 22, 50_000: 68} {
		if got := readsAllowed(n); got != want {
			t.Errorf("%d bindings: %d reads", n, got)
		}
	}
	// 0, 1, 3, 7, 15, 30, 45, 60 s, and one that a shorter pause brought forward.
	for outage, want := range map[time.Duration]int{0: 2, 20 * time.Second: 6, time.Minute: 9} {
		if got := probesAllowed(outage); got != want {
			t.Errorf("%s: %d probes", outage, got)
		}
	}
}

func TestLatencies(t *testing.T) {
	p := &phase{Figures: map[string]float64{}}
	var took []time.Duration
	for i := 20; i > 0; i-- {
		took = append(took, time.Duration(i)*time.Millisecond)
	}
	p.recordLatencies(took)
	for name, want := range map[string]float64{figP50: 10, figP95: 19, figMax: 20, figChanges: 20} {
		if p.Figures[name] != want {
			t.Errorf("%s: %v", name, p.Figures[name])
		}
	}
}

// The CPU time within a second of a resync belongs to the resync.
func TestSplitCPU(t *testing.T) {
	t0 := time.Now()
	at := func(s float64) time.Time { return t0.Add(time.Duration(s * float64(time.Second))) }
	exchanges := []exchange{
		{kind: "/", resync: true, began: at(1), ended: at(1.1)},
		{kind: "/plugins", resync: true, firstPage: true, began: at(1.1), ended: at(1.5)},
		{kind: "/plugins", resync: true, began: at(1.5), ended: at(2)},
		{kind: "/plugins/{id}", began: at(5), ended: at(5.1)},
		{kind: "/", resync: true, began: at(6), ended: at(6.1)},
		{kind: "/", resync: true, began: at(11), ended: at(11.1)},
		{kind: "/plugins", resync: true, firstPage: true, began: at(11.1), ended: at(12)},
	}
	p := &phase{Figures: map[string]float64{}}
	p.summarizeIdle(exchanges, []cpuSample{
		{at(1), 10}, {at(2.5), 10.5}, {at(4), 10.6}, {at(6), 10.7}, {at(9.5), 10.7},
	}, at(1), at(11.1))
	for name, want := range map[string]float64{
		figSweeps: 1, figSweepReads: 3, figBetween: 1, figSweepTook: 1000, figPerBinding: 1, figSweepCPU: 500, figIdlePercent: 100 * 0.2 / 7,
	} {
		if math.Abs(p.Figures[name]-want) > 0.001 {
			t.Errorf("%s: %v, want %v", name, p.Figures[name], want)
		}
	}
}

func TestCompare(t *testing.T) {
	base, now := &result{}, &result{}
	base.add(&measurement{N: 100, Phases: []*phase{{Name: phaseRestart, Seconds: 2, Figures: map[string]float64{"gone": 1}}}})
	now.add(&measurement{N: 100, Phases: []*phase{{Name: phaseRestart, Seconds: 5, KongReads: 3}}})
	now.add(&measurement{N: 1000, Phases: []*phase{{Name: phaseRestart, Seconds: 7}}})
	path := filepath.Join(t.TempDir(), "sub", "base.json")
	if err := base.write(path); err != nil {
		t.Fatal(err)
	}
	read, err := readResult(path)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	compare(&out, read, now)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 5 || strings.Join(strings.Fields(lines[3]), " ") != "100 restart in sync Kong reads 0 3 new" ||
		strings.Join(strings.Fields(lines[4]), " ") != "100 restart in sync seconds 2 5 2.50" {
		t.Errorf("%s", out.String())
	}
}

// The projection does not multiply a cost that does not grow with the bindings.
func TestProject(t *testing.T) {
	size := func(n int, peak float64) *measurement {
		return &measurement{N: n, BindingBytes: 1 << 10, Phases: []*phase{
			{Name: phaseIdle, Seconds: 1, PeakMiB: peak, Figures: map[string]float64{figSweepTook: 1000, figSweepCPU: 300}},
			{Name: phaseRestart}, {Name: phaseCreate}, {Name: phasePolicies, PeakMiB: 3 * peak},
		}}
	}
	r := &result{Runs: []*measurement{size(1000, 60), size(10_000, 150)}}
	var out bytes.Buffer
	if err := project(&out, r, millionBindings); err != nil {
		t.Fatal(err)
	}
	// 50 MiB + 0.01 MiB a binding; 10,000 / (0.8 x 512 - 50) = 28 shards.
	for _, want := range []string{"| reads of one resync ", " | 13 |", "50 MiB + 10.2 KiB a binding", "| 28, of 35714 bindings |", "| 0.22/s |", "| 1.0 GiB |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	r.Runs = r.Runs[1:]
	if err := project(&out, r, millionBindings); err == nil {
		t.Error("one size does not show growth")
	}
}

func TestOptions(t *testing.T) {
	env := map[string]string{"KUBEBUILDER_ASSETS": "/assets"}
	o, err := optionsFrom(func(name string) string { return env[name] })
	if err != nil || len(o.sizes) != 3 || !o.pace || o.resyncs != 3 || o.outage != time.Minute {
		t.Errorf("%+v, %v", o, err)
	}
	for name, value := range map[string]string{
		"BENCH_N": "100 x", "BENCH_PACE": "fast", "BENCH_SWEEPS": "many", "BENCH_OUTAGE": "60", "KUBEBUILDER_ASSETS": "",
	} {
		bad := map[string]string{"KUBEBUILDER_ASSETS": "/assets", name: value}
		if _, err := optionsFrom(func(name string) string { return bad[name] }); err == nil {
			t.Errorf("%s=%q is taken", name, value)
		}
	}
	if _, err := optionsFrom(func(name string) string {
		return map[string]string{"KUBEBUILDER_ASSETS": "/assets", "BENCH_N": "3"}[name]
	}); err == nil || !strings.Contains(err.Error(), "at least 16") {
		t.Errorf("three bindings: %v", err)
	}
}

// Kong keeps one plugin of each kind on an entity.
func TestSpecimensDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range pluginSpecs(1000) {
		key := s.plugin + " " + s.kind + " " + s.entity
		if seen[key] {
			t.Errorf("twice: %s", key)
		}
		seen[key] = true
	}
}
