package faults

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// lastVersionActive matches the part of a message that says that Kong keeps serving the last
// version that it accepted.
var lastVersionActive = regexp.MustCompile(`still serves|remains active in Kong`)

// checkFault checks what is particular to a fault.
func (sim *simulation) checkFault(f *armedFault) {
	if !f.fired {
		return
	}
	what := f.call.name + "/" + f.fault.name
	output := strings.Join(sim.outputs[f.outputsBefore:], "\n")
	wants := map[string][]string{
		kongCreatePlugin + "/400":     {v1alpha1.ReasonRejected},
		kongPutPlugin + "/400":        {v1alpha1.ReasonRejected, v1alpha1.ReasonDeleting},
		kongValidatePlugin + "/400":   {v1alpha1.ReasonRejected},
		kongGetEntity + "/404":        {v1alpha1.ReasonScopeNotFound},
		kongGetSchema + "/404-schema": {v1alpha1.ReasonPluginNotInstalled},
	}
	if f.object.kind == kindGateway {
		delete(wants, kongGetEntity+"/404") // a resync only finds no entity
	}
	if reasons := wants[what]; len(reasons) > 0 && !slices.ContainsFunc(reasons, func(reason string) bool { return f.readyReasons[reason] || f.readyReason == reason }) {
		sim.violation("no condition had the reason %s from then on", reasons)
	}
	if what == kongPutPlugin+"/400" && f.readyReasons[v1alpha1.ReasonRejected] && lastVersionActive.MatchString(output) != f.pluginServing {
		sim.violation("whether the last accepted version stays active (%v) is not what the status says", f.pluginServing)
	}
	if f.call.name == kongDeletePlugin && !f.fault.crashes && f.fault.name != "429" && len(sim.names) > 0 && !sim.deletionFailureReported() {
		sim.violation("no condition says why the plugin is not removed")
	}
	sim.expectForbidden(f)
	if what == kubePatchBindingStatus+"/invalid" && f.recordsID {
		sim.expectNotForced(f, output)
	}
}

// deletionFailureReported reports whether a condition reported a failed DELETE. If two DELETEs
// fail, one report is enough.
func (sim *simulation) deletionFailureReported() bool {
	return slices.ContainsFunc(sim.faults, func(f *armedFault) bool {
		if !f.fired || f.call.name != kongDeletePlugin {
			return false
		}
		if f.bindingStays { // another plugin takes the place
			return slices.ContainsFunc(slices.Collect(maps.Keys(f.readyReasons)), func(reason string) bool { return reason != v1alpha1.ReasonReady })
		}
		return f.readyReasons[v1alpha1.ReasonDeleting]
	})
}

// expectForbidden checks that a missing permission is reported. It is not if the status already
// says what became of the binding, or if this reconcile wrote the status before the call
// failed.
func (sim *simulation) expectForbidden(f *armedFault) {
	if f.fault.name != "forbidden" {
		return
	}
	before, after := sim.callsAround(f)
	shows := f.object.kind == kindBinding && !f.statusKnown && !slices.Contains(before, kubePatchBindingStatus)
	if f.call.name != kubePatchBindingStatus && shows && !f.readyReasons[v1alpha1.ReasonForbidden] {
		sim.violation("no condition reports the missing permission")
	}
	if f.call.name == kubeAddBindingFinalizer && slices.ContainsFunc(after, func(name string) bool { return slices.Contains(kongWrites, name) }) {
		sim.violation("a write to Kong in the reconcile in which the finalizer was refused")
	}
}

// expectNotForced checks that the operator raises an alarm when the API server rejects an ID,
// and does not send the ID again.
func (sim *simulation) expectNotForced(f *armedFault, output string) {
	if n := sim.counterSum("kong_operator_plugin_id_changes_refused_total"); n < 1 {
		sim.violation("no counter reports that an ID was refused")
	}
	if !strings.Contains(output, v1alpha1.ReasonIDNotRecorded+" ") {
		sim.violation("no event reports that an ID was refused")
	}
	if _, after := sim.callsAround(f); slices.Contains(after, kubePatchBindingStatus) {
		sim.violation("a refused ID was sent again in the same reconcile")
	}
}

// callsAround returns the names of the calls before and after a fault, in the same reconcile.
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

// triggerReconciles requests a reconcile of every binding if a fault needs one to recover from,
// and lets the simulation settle again.
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
