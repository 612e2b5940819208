package konggateway

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// removeFinalizer lets a gateway go that is being deleted and that no binding needs.
func (r *Reconciler) removeFinalizer(ctx context.Context, s *state) error {
	if s.gateway.DeletionTimestamp.IsZero() || !controllerutil.ContainsFinalizer(s.gateway, v1alpha1.GatewayFinalizer) {
		return nil
	}
	needed := countHolders(s.bindings)
	if needed > 0 && !s.isAbandoned() {
		return nil
	}
	if needed > 0 {
		result := s.probe.result
		// In a namespace that is being deleted no event can be created.
		log.FromContext(ctx).Info("the gateway and its bindings are being deleted, but their Kong is unusable: the bindings' plugins stay in Kong",
			"bindings", needed, "reason", result.reason, "message", result.message)
		r.Events.Eventf(s.gateway, nil, corev1.EventTypeWarning, "Abandoned", "Delete",
			"The gateway and its bindings (%d) are being deleted, but their Kong is unusable (%s). The operator removed the gateway's finalizer. The bindings' plugins stay in Kong.",
			needed, result.reason)
	}
	base := s.gateway.DeepCopy()
	controllerutil.RemoveFinalizer(s.gateway, v1alpha1.GatewayFinalizer)
	if err := client.IgnoreNotFound(r.Client.Patch(ctx, s.gateway, optimistically(base))); err != nil {
		return err
	}
	r.forget(ctx, s.key)
	return nil
}

// countHolders counts the bindings that may have a plugin in the gateway's Kong.
func countHolders(bindings []v1alpha1.PluginBinding) (n int) {
	for i := range bindings {
		if mayHoldPlugin(&bindings[i]) {
			n++
		}
	}
	return n
}

// mayHoldPlugin is true for a binding that has a plugin or may get one, and for one that has no
// conditions yet. It is false for a binding without a plugin that the gateway refused.
func mayHoldPlugin(binding *v1alpha1.PluginBinding) bool {
	return binding.Status.PluginID != "" || controllerutil.ContainsFinalizer(binding, v1alpha1.PluginFinalizer) || len(binding.Status.Conditions) == 0
}

// failuresToAbandon is how many probes in a row have to fail before a gateway is let go whose
// bindings are all being deleted too: with the delays between them, about a minute.
const failuresToAbandon = 8

// isAbandoned reports whether everything that refers to this gateway is being deleted and its Kong
// cannot be used. Waiting for it would block a namespace for ever.
func (s *state) isAbandoned() bool {
	for i := range s.bindings {
		if s.bindings[i].DeletionTimestamp.IsZero() && mayHoldPlugin(&s.bindings[i]) {
			return false
		}
	}
	return s.probe.attempted && s.probe.result.problem() != nil && s.consecutiveFailures() >= failuresToAbandon
}
