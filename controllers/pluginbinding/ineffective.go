package pluginbinding

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// ineffective says why Kong never runs a plugin that it holds: it has a service and a route that do
// not belong together, or no protocol of its route. Without a reason nothing is known against it.
func ineffective(live plugin.Plugin, route adminapi.Entity) (reason, text string) {
	switch {
	case live.Scope.RouteID == "" || live.Scope.RouteID != route.ID:
		return "", ""
	case live.Scope.ServiceID != "" && live.Scope.ServiceID != route.ServiceID:
		return v1alpha1.ReasonRouteOfAnotherService,
			"Kong holds the plugin and never runs it: the route of spec.scope does not lead to its service. Name the service of the route, or remove spec.scope.service."
	case len(live.Protocols) > 0 && len(route.Protocols) > 0 && !slices.ContainsFunc(live.Protocols, func(p string) bool { return slices.Contains(route.Protocols, p) }):
		return v1alpha1.ReasonNoCommonProtocol,
			fmt.Sprintf("Kong holds the plugin and never runs it: the plugin is for %s, and its route for %s. Correct spec.protocols, or the route in Kong.",
				words(live.Protocols), words(route.Protocols))
	default:
		return "", ""
	}
}

func words(set []string) string { return strings.Join(slices.Sorted(slices.Values(set)), ", ") }

// setIneffective sets the condition while Kong never runs the plugin, and removes it otherwise: a
// binding without it has nothing to say.
func setIneffective(next *v1alpha1.PluginBindingStatus, s *state) {
	reason, text := "", ""
	if live := s.applied.programmed; live != nil {
		reason, text = ineffective(*live, s.desired.route)
	}
	if reason == "" {
		meta.RemoveStatusCondition(&next.Conditions, v1alpha1.ConditionIneffective)
		return
	}
	meta.SetStatusCondition(&next.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionIneffective, Status: metav1.ConditionTrue, Reason: reason,
		Message: message.Condition(text), ObservedGeneration: s.binding.Generation,
	})
}

// routeFacts is what was seen of the route that decides whether the plugin runs.
func (s *state) routeFacts() string { return reference.RouteFacts(s.desired.route) }
