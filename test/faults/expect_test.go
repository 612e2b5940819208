package faults

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// checkFault holds a fault against what is special about it.
func (sim *simulation) checkFault(f *armedFault) {
	if !f.fired {
		return
	}
	what := f.call.name + "/" + f.fault.name
	told := strings.Join(sim.outputs[f.outputsBefore:], "\n")
	wants := map[string][]string{
		kongCreatePlugin + "/400":     {v1alpha1.ReasonRejected},
		kongPutPlugin + "/400":        {v1alpha1.ReasonRejected, v1alpha1.ReasonDeleting},
		kongGetEntity + "/404":        {v1alpha1.ReasonScopeNotFound},
		kongGetSchema + "/404-schema": {v1alpha1.ReasonPluginNotInstalled},
	}
	if reasons := wants[what]; len(reasons) > 0 && !slices.ContainsFunc(reasons, func(reason string) bool { return f.readyReasons[reason] || f.readyReason == reason }) {
		sim.violation("no condition had the reason %s from then on", reasons)
	}
	if what == kongPutPlugin+"/400" && f.readyReasons[v1alpha1.ReasonRejected] && strings.Contains(told, "still serves") != f.pluginServing {
		sim.violation("whether the plugin serves as it last was (%v) is not what was told", f.pluginServing)
	}
	if f.call.name == kongDeletePlugin && !f.fault.crashes && f.fault.name != "429" && len(sim.names) > 0 && !sim.deletionFailureReported() {
		sim.violation("no condition said why the plugin is not removed")
	}
	sim.expectForbidden(f)
	if what == kubePatchBindingStatus+"/invalid" && f.recordsID {
		sim.expectNotForced(f, told)
	}
}

// deletionFailureReported reports whether a condition told of a failed DELETE. What it said of the
// first need not be said again of the second.
func (sim *simulation) deletionFailureReported() bool {
	return slices.ContainsFunc(sim.faults, func(f *armedFault) bool {
		return f.fired && f.call.name == kongDeletePlugin && f.readyReasons[v1alpha1.ReasonDeleting]
	})
}

// expectForbidden wants a right that is missing to be shown, where the status does not tell
// what became of the binding, and is still to be written in this pass.
func (sim *simulation) expectForbidden(f *armedFault) {
	if f.fault.name != "forbidden" {
		return
	}
	before, after := sim.callsAround(f)
	shows := f.object.kind == kindBinding && !f.statusKnown && !slices.Contains(before, kubePatchBindingStatus)
	if f.call.name != kubePatchBindingStatus && shows && !f.readyReasons[v1alpha1.ReasonForbidden] {
		sim.violation("no condition said that a right is missing")
	}
	if f.call.name == kubeAddBindingFinalizer && slices.ContainsFunc(after, func(name string) bool { return slices.Contains(kongWrites, name) }) {
		sim.violation("a write to Kong in the pass in which the finalizer was refused")
	}
}

// expectNotForced wants an alarm when the API server refuses to take an ID, and no more than
// that: it is not sent once more.
func (sim *simulation) expectNotForced(f *armedFault, told string) {
	if n := sim.counterSum("kong_operator_plugin_id_changes_refused_total"); n < 1 {
		sim.violation("no counter told that an ID was refused")
	}
	if !strings.Contains(told, v1alpha1.ReasonIDNotRecorded+" ") {
		sim.violation("no event told that an ID was refused")
	}
	if _, after := sim.callsAround(f); slices.Contains(after, kubePatchBindingStatus) {
		sim.violation("an ID that was refused was sent once more in the same pass")
	}
}

// callsAround are the calls in the pass of a fault, before and after it, by their names.
func (sim *simulation) callsAround(f *armedFault) (before, after []string) {
	met := false
	for _, call := range sim.calls {
		switch {
		case call.callID == f.call:
			met = true
		case call.reconcile != f.reconcile:
		case met:
			after = append(after, call.name)
		default:
			before = append(before, call.name)
		}
	}
	return before, after
}

// triggerReconciles asks for a look where only a new input helps, and lets it settle again.
func (sim *simulation) triggerReconciles(faults []*armedFault) {
	if needTrigger(faults) {
		for _, id := range sim.stored.sorted(kindBinding) {
			binding := &v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{Name: id.Name}}
			change(sim, binding, func(b *v1alpha1.PluginBinding) {
				metav1.SetMetaDataAnnotation(&b.ObjectMeta, v1alpha1.ReconcileRequestedAtAnnotation, "now")
			})
		}
		sim.settle(true)
	}
}

func needTrigger(faults []*armedFault) bool {
	for _, f := range faults {
		if f.fired && f.fault.needsTrigger {
			return true
		}
	}
	return false
}
