package pluginbinding

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// takeBackHint is the age at which the hint for a binding is renewed while the ingress controller
// hands its plugin over. A younger hint makes the operator look at Kong at least every second.
const takeBackHint = 2 * time.Second

// hintTakeBack makes the operator look at Kong while the ingress controller hands the plugin over. The
// ingress controller may write over the plugin, or delete it, until it has seen that its annotation is
// gone. No event tells of that.
func (r *Reconciler) hintTakeBack(s *state) {
	s.takesBack = reference.TakesBack(s.binding, r.Clock.Now())
	key := client.ObjectKeyFromObject(s.binding)
	if age, hinted := r.hints.age(key, r.Clock); s.takesBack && (!hinted || age >= takeBackHint) {
		r.Hint(key)
	}
}

// noteHandOver says in the facts that the ingress controller hands the plugin over.
func (s *state) noteHandOver() {
	byID := &s.observed.facts.ByID
	if s.takesBack && byID.Ownership == identity.OwnedByOther && byID.Owner.Tool == identity.ToolIngressController {
		byID.OwnerState = identity.OwnerHandsOver
	}
}

// restoresHandedOver reports whether the action brings a plugin back that was handed over to this
// binding. Its ID is the ingress controller's own, so that Kong does not refuse the ingress
// controller's write to that place.
func (s *state) restoresHandedOver(action identity.Action) bool {
	_, exists := s.observed.plugins[action.ID]
	return s.takesBack && action.Operation == identity.Put && !exists && s.binding.Status.PluginIDSource != v1alpha1.PluginIDCreated
}
