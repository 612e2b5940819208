package faults

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// callID is the n-th call of that name since the simulation was armed.
type callID struct {
	name string
	n    int
}

func (c callID) String() string { return fmt.Sprintf("%s.%d", c.name, c.n) }

// call is one recorded call. Its reconcile and time tell whether anything can have happened
// between it and the next call.
type call struct {
	callID
	write     bool
	reconcile int // the reconcile that made it
	at        time.Time
}

// armedFault is a fault that waits for its call.
type armedFault struct {
	call  callID
	fault *fault
	fired bool

	// The state when the fault fired.
	reconcile     int      // when it fired
	object        objectID // being reconciled
	statusKnown   bool     // the status said what became of the plugin
	outputsBefore int      // number of outputs before it
	recordsID     bool     // the failed write records an ID
	pluginServing bool     // the plugin of the failed PUT existed and was a binding's
	bindingStays  bool     // the binding being reconciled is not being deleted
	// readyReason is the reason of Ready for the current generation, readyReasons those that
	// were written afterwards.
	readyReason  string
	readyReasons map[string]bool
}

// arm starts counting calls, and enables the faults.
func (sim *simulation) arm(faults ...*armedFault) {
	sim.armed, sim.counts, sim.faults = true, map[string]int{}, faults
	sim.kubeWritesBeforeArm = sim.kubeWrites
	sim.tracef("armed")
}

// disarm stops counting calls, and disables the faults.
func (sim *simulation) disarm() { sim.armed = false }

// beginCall counts a call and returns the fault that fires at it, if any.
func (sim *simulation) beginCall(name, what string, write bool) *armedFault {
	sim.mu.Lock()
	defer sim.mu.Unlock()
	label := name
	var hit *armedFault
	if sim.armed {
		sim.counts[name]++
		id := callID{name, sim.counts[name]}
		sim.calls = append(sim.calls, call{id, write, sim.reconciles, sim.clock.Now()})
		label = id.String()
		for _, p := range sim.faults {
			if p.call == id && !p.fired {
				hit = p
				sim.recordContext(p)
			}
		}
	}
	line := fmt.Sprintf("%7.1fs   %s %s", sim.clock.Since(epoch).Seconds(), label, what)
	if hit != nil {
		line += " <<< " + hit.fault.name
	}
	sim.trace = append(sim.trace, line)
	return hit
}

// recordContext records the state at the moment when a fault fires.
func (sim *simulation) recordContext(p *armedFault) {
	p.fired, p.reconcile, p.object, p.outputsBefore, p.readyReasons = true, sim.reconciles, sim.current, len(sim.outputs), map[string]bool{}
	if binding, ok := sim.cache[sim.current].(*v1alpha1.PluginBinding); ok {
		p.bindingStays = binding.DeletionTimestamp.IsZero()
		ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
		if ready != nil && ready.ObservedGeneration == binding.Generation {
			p.readyReason, p.statusKnown = ready.Reason, ready.Status != metav1.ConditionUnknown
		}
	}
}

// die ends the process.
func (l *process) die() { l.dead = true }

// after schedules a function.
func (sim *simulation) after(d time.Duration, do func()) {
	sim.timers = append(sim.timers, timer{sim.clock.Now().Add(d), do})
}

// secretValue is the current value of a key of a Secret.
func (sim *simulation) secretValue(name, key string) string {
	secret := &corev1.Secret{}
	sim.must(apiServer.Get(sim.ctx, types.NamespacedName{Namespace: sim.namespace, Name: name}, secret))
	return string(secret.Data[key])
}
