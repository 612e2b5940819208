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
	wants := map[string][]string{
		"G4/400":        {v1alpha1.ReasonRejected},
		"G5/400":        {v1alpha1.ReasonRejected, v1alpha1.ReasonDeleting},
		"G3/404":        {v1alpha1.ReasonScopeNotFound},
		"G7/404-schema": {v1alpha1.ReasonPluginNotInstalled},
	}
	if reasons := wants[what]; len(reasons) > 0 && !slices.ContainsFunc(reasons, func(reason string) bool { return w.reasons[reason] }) {
		w.violation("no condition ever had the reason %s", reasons)
	}
	told := strings.Join(w.texts, "\n")
	if what == "G5/400" && w.reasons[v1alpha1.ReasonRejected] && strings.Contains(told, "still serves") != w.serves {
		w.violation("whether the plugin serves as it last was (%v) is not what was told", w.serves)
	}
	if f.call.name == "G6" && !f.fault.deadly && f.fault.name != "429" && len(w.names) > 0 && !w.reasons[v1alpha1.ReasonDeleting] {
		w.violation("no condition said why the plugin is not removed")
	}
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
