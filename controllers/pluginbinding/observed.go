package pluginbinding

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
)

// writesDesired are the operations that write the desired plugin, or lead to that.
var writesDesired = []identity.Operation{identity.Put, identity.Create, identity.Adopt, identity.TakeOver, identity.Replace}

// reportObserved reports what managementPolicy Observe prevents, and the refusal that Manage would meet.
// Kong validates the plugin and writes nothing.
func (r *Reconciler) reportObserved(ctx context.Context, s *state) (applied, *stepResult) {
	if s.action.Operation == identity.None {
		return s.programmed(s.observed.plugins[s.action.ID]), nil
	}
	would := map[identity.Operation]string{
		identity.Put:      "write plugin %s",
		identity.Create:   "create the plugin%s",
		identity.RecordID: "record plugin %s, which carries this binding's ownership tags",
		identity.Adopt:    "adopt plugin %s",
		identity.TakeOver: "take plugin %s over from its owner",
		identity.Replace:  "write plugin %s in place of one with this binding's ownership tags and another ID",
		identity.Delete:   "delete plugin %s, because another plugin of this binding has its place",
		identity.MoveBack: "move plugin %s back to the scope that it had before",
		identity.Wait:     "wait for plugin %s",
	}
	text := "managementPolicy is Observe; with Manage the operator would " + fmt.Sprintf(would[s.action.Operation], s.action.ID)
	if live, ok := s.observed.plugins[s.action.ID]; ok {
		if differences := message.FieldNames(s.publicDifferences(live)); len(differences) > 0 {
			text += " and change " + strings.Join(differences, ", ")
		}
	}
	if slices.Contains(writesDesired, s.action.Operation) {
		if refused := r.validate(ctx, s, s.desired.plugin); refused != nil {
			if refused.reason == v1alpha1.ReasonRejected {
				refused.message = text + ", but Kong would not accept it: " + strings.TrimPrefix(refused.message, refusedPrefix)
			}
			return applied{}, refused
		}
	}
	return applied{}, &stepResult{
		condition:    v1alpha1.ConditionProgrammed,
		reason:       v1alpha1.ReasonWouldChange,
		message:      text,
		requeueAfter: s.resyncInterval(),
	}
}
