package faults

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// expect holds a fault against what is special about it.
func (w *world) expect(f *planned) {
	if !f.fired {
		return
	}
	what := f.call.name + "/" + f.fault.name
	told := strings.Join(w.texts[f.texts:], "\n")
	wants := map[string][]string{
		"G4/400":        {v1alpha1.ReasonRejected},
		"G5/400":        {v1alpha1.ReasonRejected, v1alpha1.ReasonDeleting},
		"G3/404":        {v1alpha1.ReasonScopeNotFound},
		"G7/404-schema": {v1alpha1.ReasonPluginNotInstalled},
	}
	if reasons := wants[what]; len(reasons) > 0 && !slices.ContainsFunc(reasons, func(reason string) bool { return f.reasons[reason] || f.standing == reason }) {
		w.violation("no condition had the reason %s from then on", reasons)
	}
	if what == "G5/400" && f.reasons[v1alpha1.ReasonRejected] && strings.Contains(told, "still serves") != f.serves {
		w.violation("whether the plugin serves as it last was (%v) is not what was told", f.serves)
	}
	if f.call.name == "G6" && !f.fault.deadly && f.fault.name != "429" && len(w.names) > 0 && !w.saidWhyNotDeleted() {
		w.violation("no condition said why the plugin is not removed")
	}
	w.expectForbidden(f)
	if what == "K5/invalid" && f.records {
		w.expectNotForced(f, told)
	}
}

// saidWhyNotDeleted reports whether a condition told of a failed DELETE. What it said of the
// first need not be said again of the second.
func (w *world) saidWhyNotDeleted() bool {
	return slices.ContainsFunc(w.faults, func(f *planned) bool {
		return f.fired && f.call.name == "G6" && f.reasons[v1alpha1.ReasonDeleting]
	})
}

// expectForbidden wants a right that is missing to be shown, where the status does not tell
// what became of the binding, and is still to be written in this pass.
func (w *world) expectForbidden(f *planned) {
	if f.fault.name != "forbidden" {
		return
	}
	before, after := w.around(f)
	shows := f.of.kind == kindBinding && !f.judged && !slices.Contains(before, "K5")
	if f.call.name != "K5" && shows && !f.reasons[v1alpha1.ReasonForbidden] {
		w.violation("no condition said that a right is missing")
	}
	if f.call.name == "K3" && slices.ContainsFunc(after, func(name string) bool { return slices.Contains(kongWrites, name) }) {
		w.violation("a write to Kong in the pass in which the finalizer was refused")
	}
}

// expectNotForced wants an alarm when the API server refuses to take an ID, and no more than
// that: it is not sent once more.
func (w *world) expectNotForced(f *planned, told string) {
	if n := w.counted("kong_operator_plugin_id_changes_refused_total"); n < 1 {
		w.violation("no counter told that an ID was refused")
	}
	if !strings.Contains(told, v1alpha1.ReasonIDNotRecorded+" ") {
		w.violation("no event told that an ID was refused")
	}
	if _, after := w.around(f); slices.Contains(after, "K5") {
		w.violation("an ID that was refused was sent once more in the same pass")
	}
}

// around are the calls in the pass of a fault, before and after it, by their names.
func (w *world) around(f *planned) (before, after []string) {
	met := false
	for _, call := range w.calls {
		switch {
		case call.callID == f.call:
			met = true
		case call.pass != f.pass:
		case met:
			after = append(after, call.name)
		default:
			before = append(before, call.name)
		}
	}
	return before, after
}

// nudge asks for a look where only a new input helps, and lets it settle again.
func (w *world) nudge(faults []*planned) {
	if nudged(faults) {
		for _, id := range w.truth.sorted(kindBinding) {
			binding := &v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{Name: id.Name}}
			change(w, binding, func(b *v1alpha1.PluginBinding) {
				metav1.SetMetaDataAnnotation(&b.ObjectMeta, v1alpha1.ReconcileRequestedAtAnnotation, "now")
			})
		}
		w.settle(true)
	}
}

func nudged(faults []*planned) bool {
	for _, f := range faults {
		if f.fired && f.fault.nudged {
			return true
		}
	}
	return false
}
