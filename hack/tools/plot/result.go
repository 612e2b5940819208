package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// result is the part of the bench's file that plot draws.
type result struct {
	Runs []measurement `json:"runs"`
}

type measurement struct {
	Bindings int     `json:"bindings"`
	PeakMiB  float64 `json:"peakMiB"`
	Phases   []phase `json:"phases"`
}

type phase struct {
	Name       string             `json:"name"`
	Seconds    float64            `json:"seconds"`
	KongReads  float64            `json:"kongReads"`
	KongWrites float64            `json:"kongWrites"`
	CPUSeconds float64            `json:"cpuSeconds"`
	Figures    map[string]float64 `json:"figures"`
}

func readResult(path string) (result, error) {
	var r result
	text, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// value takes one figure from a measurement. It returns false if it was not measured.
type value func(measurement) (float64, bool)

func peak(m measurement) (float64, bool) { return m.PeakMiB, m.PeakMiB > 0 }

func of(name string, take func(phase) (float64, bool)) value {
	return func(m measurement) (float64, bool) {
		for _, p := range m.Phases {
			if p.Name == name {
				return take(p)
			}
		}
		return 0, false
	}
}

func seconds(p phase) (float64, bool)      { return p.Seconds, true }
func cpuSeconds(p phase) (float64, bool)   { return p.CPUSeconds, true }
func kongRequests(p phase) (float64, bool) { return p.KongReads + p.KongWrites, true }

// figure takes a figure that only some phases have, times a factor.
func figure(name string, times float64) func(phase) (float64, bool) {
	return func(p phase) (float64, bool) {
		v, known := p.Figures[name]
		return v * times, known
	}
}
