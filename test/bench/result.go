package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// result is everything that was measured, as in the JSON file.
type result struct {
	Time   time.Time      `json:"time"`
	Go     string         `json:"go"`
	System string         `json:"system"`
	Cores  int            `json:"cores"`
	Flags  []string       `json:"flags,omitempty"`
	Resync string         `json:"resyncInterval"`
	Outage float64        `json:"outageSeconds"`
	Runs   []*measurement `json:"runs"`
}

func newResult(o options) *result {
	return &result{
		Time: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH,
		Cores: runtime.NumCPU(), Flags: o.flags, Resync: resyncInterval, Outage: o.outage.Seconds(),
	}
}

func (r *result) add(m *measurement) { r.Runs = append(r.Runs, m) }

func (r *result) run(n int) *measurement {
	for _, m := range r.Runs {
		if m.N == n {
			return m
		}
	}
	return nil
}

func (r *result) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func readResult(path string) (*result, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &result{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// measurement is the result of one size.
type measurement struct {
	N       int     `json:"bindings"`
	Kong    string  `json:"kong"`
	PeakMiB float64 `json:"peakMiB"`
	// BindingBytes is the size of one ready binding, as JSON of the API server.
	BindingBytes int            `json:"bindingBytes"`
	Phases       []*phase       `json:"phases"`
	Targets      []targetResult `json:"targets"`
	Wrong        []string       `json:"wrong,omitempty"`
}

// phase is the cost of one phase.
type phase struct {
	Name             string             `json:"name"`
	Seconds          float64            `json:"seconds"`
	KongReads        int                `json:"kongReads"`
	KongWrites       int                `json:"kongWrites"`
	KubernetesReads  int                `json:"kubernetesReads"`
	KubernetesWrites int                `json:"kubernetesWrites"`
	CPUSeconds       float64            `json:"cpuSeconds"`
	ServerCPUSeconds float64            `json:"apiServerCPUSeconds"` // with etcd's
	OthersPercent    float64            `json:"othersPercent"`       // of a core, by other processes
	PeakMiB          float64            `json:"peakMiB"`             // until the end of the phase
	Figures          map[string]float64 `json:"figures,omitempty"`
	Kong             map[string]int     `json:"kong,omitempty"`
	Kubernetes       map[string]int     `json:"kubernetes,omitempty"`
}

func (p *phase) countKong(exchanges []exchange) {
	p.Kong = map[string]int{}
	for _, e := range exchanges {
		p.Kong[e.method+" "+e.kind]++
		if e.isWrite() {
			p.KongWrites++
		} else {
			p.KongReads++
		}
	}
}

func (p *phase) countKubernetes(reads, writes map[string]int) {
	if p.Kubernetes == nil {
		p.Kubernetes = map[string]int{}
	}
	for _, counts := range []map[string]int{reads, writes} {
		for name, n := range counts {
			p.Kubernetes[name] += n
		}
	}
	p.KubernetesReads += total(reads)
	p.KubernetesWrites += total(writes)
}

func total(counts map[string]int) int {
	n := 0
	for _, count := range counts {
		n += count
	}
	return n
}

// withoutPoliciesMiB is the maximum before the first policy is made. The policies come last, and have as
// many bindings again, whose entities the operator keeps as well.
func (m *measurement) withoutPoliciesMiB() float64 {
	most := 0.0
	for _, p := range m.Phases {
		if !strings.HasPrefix(p.Name, "policies,") {
			most = max(most, p.PeakMiB)
		}
	}
	return most
}

// phase returns a phase by name, or an empty one.
func (m *measurement) phase(name string) *phase {
	for _, p := range m.Phases {
		if p.Name == name {
			return p
		}
	}
	return &phase{}
}

func (m *measurement) figure(phase, name string) float64 { return m.phase(phase).Figures[name] }
