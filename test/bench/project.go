package main

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// fleet is the input of the projection besides the measured figures.
type fleet struct {
	bindings, gateways float64
	resync             float64 // seconds
	podMiB             float64 // memory limit of the operator's pod
}

// millionBindings on a hundred gateways, with the defaults of KongGateway and config/manager.
var millionBindings = fleet{bindings: 1e6, gateways: 100, resync: 60, podMiB: 512}

// memoryUtilization is the planned share of the memory limit.
const memoryUtilization = 0.8

// leaseRenewals is the number of renewals of one lease per second (cmd/manager).
const leaseRenewals = 0.5

// project calculates the cost of a fleet from the figures of the two largest sizes.
func project(out io.Writer, r *result, f fleet) error {
	if len(r.Runs) < 2 {
		return errors.New("measure at least two sizes: only then the growing costs are known")
	}
	small, large := r.Runs[len(r.Runs)-2], r.Runs[len(r.Runs)-1]
	n, grown := float64(large.N), float64(large.N-small.N)
	if grown <= 0 || large.phase(phaseIdle).Seconds == 0 {
		return errors.New("the last size must be the largest, and its measurement must have come as far as the idle operator")
	}
	// Cost per binding: what the larger size needs more than the smaller one.
	each := func(of func(*measurement) float64) float64 { return max(0, (of(large)-of(small))/grown) }
	memory := each((*measurement).withoutPoliciesMiB)
	base := large.withoutPoliciesMiB() - memory*n
	resyncTime := large.figure(phaseIdle, figSweepTook) / 1000 / n
	resyncCPU := large.figure(phaseIdle, figSweepCPU) / 1000 / n
	restartCPU := each(func(m *measurement) float64 { return m.phase(phaseRestart).CPUSeconds })
	creationCPU := large.phase(phaseCreate).ServerCPUSeconds / n

	perGateway := f.bindings / f.gateways
	reads := float64(readsAllowed(int(perGateway)) - extraReads + 1) // the pages and the probe
	intervals := math.Ceil(resyncIntervalFactor * resyncTime * perGateway / f.resync)
	interval := min(max(intervals, 1), maxResyncIntervals) * f.resync
	shards := math.Ceil(f.bindings * memory / (memoryUtilization*f.podMiB - base))
	perShard := f.bindings / shards

	fmt.Fprintf(out, "| %.0f bindings on %.0f gateways | from | |\n|---|---|---|\n", f.bindings, f.gateways)
	for _, row := range []struct{ what, from, is string }{
		{"bindings per gateway", "bindings / gateways", fmt.Sprintf("%.0f", perGateway)},
		{"reads of one resync", "the probe + pages of 1,000 plugins, services and routes", fmt.Sprintf("%.0f", reads)},
		{"a resync takes", fmt.Sprintf("%.3f ms a binding", 1000*resyncTime), fmt.Sprintf("%.1f s", resyncTime*perGateway)},
		{"a resync comes every", "`resyncInterval`, or two to five of them, so that it is 50 times what a resync takes", fmt.Sprintf("%.0f s", interval)},
		{"requests to one Kong, in sync", "reads / interval", fmt.Sprintf("%.2f/s", reads/interval)},
		{"requests to all Kongs, in sync", "times gateways", fmt.Sprintf("%.0f/s", f.gateways*reads/interval)},
		{"writes, in sync", "measured", fmt.Sprintf("%d", large.phase(phaseIdle).KongWrites+large.phase(phaseIdle).KubernetesWrites)},
		{"processor, in sync", fmt.Sprintf("%.3f ms a binding and resync", 1000*resyncCPU), fmt.Sprintf("%.1f cores", f.bindings*resyncCPU/interval)},
		{"memory of one operator", fmt.Sprintf("%.0f MiB + %.1f KiB a binding", base, 1024*memory), fmt.Sprintf("%.1f GiB if there were only one", (base+f.bindings*memory)/1024)},
		{"operators (shards)", fmt.Sprintf("%.0f MiB each, four fifths of it used", f.podMiB), fmt.Sprintf("%.0f, of %.0f bindings", shards, perShard)},
		{"leases", "one a shard", fmt.Sprintf("%.0f, renewed %.0f times a second together", shards, shards*leaseRenewals)},
		{"restart of one shard, in sync: processor", fmt.Sprintf("%.2f ms a binding", 1000*restartCPU), fmt.Sprintf("%.0f s", restartCPU*perShard)},
		{"the same: requests to Kong", "gateways of the shard x (one resync + schemas)", fmt.Sprintf("%.0f", math.Ceil(f.gateways/shards)*(reads+float64(len(pluginKinds))))},
		{"bindings in etcd", fmt.Sprintf("%d bytes each", large.BindingBytes), fmt.Sprintf("%.1f GiB", f.bindings*float64(large.BindingBytes)/(1<<30))},
		{"first creation: the API server's processor", fmt.Sprintf("%.1f ms a binding", 1000*creationCPU), fmt.Sprintf("%.1f core hours", f.bindings*creationCPU/3600)},
	} {
		fmt.Fprintf(out, "| %s | %s | %s |\n", row.what, row.from, row.is)
	}
	return nil
}

// The operator resyncs once in so many intervals that resyncs use a fiftieth of the time, but at least
// once in five.
const (
	resyncIntervalFactor = 50
	maxResyncIntervals   = 5
)
