package konggateway

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// closePause is the time between two looks at the workers that still use a closed connection.
const closePause = 200 * time.Millisecond

// removeFinalizer lets a gateway go that is being deleted and that no binding needs.
//
// A binding can be created at any moment. So the gateway first closes its connection, and waits for
// the reconciles of bindings that took it before. From then on no binding can get a plugin in this
// Kong, and the API server shows all that may have one.
func (r *Reconciler) removeFinalizer(ctx context.Context, s *state) error {
	if s.gateway.DeletionTimestamp.IsZero() || !controllerutil.ContainsFinalizer(s.gateway, v1alpha1.GatewayFinalizer) {
		return nil
	}
	if s.countHolders(s.bindings) > 0 && !s.isAbandoned(s.bindings) {
		r.openConnection(ctx, s.key)
		return nil
	}
	r.Connections.Close(s.key)
	if r.BindingWorkers.Busy(s.key) > 0 {
		s.requeueAfter = closePause
		return nil
	}
	bindings, err := r.listBindingsLive(ctx, s)
	if err != nil {
		return err
	}
	needed := s.countHolders(bindings)
	if needed > 0 && !s.isAbandoned(bindings) {
		r.openConnection(ctx, s.key)
		return nil
	}
	if needed > 0 {
		r.reportAbandoned(ctx, s, needed)
	}
	base := s.gateway.DeepCopy()
	controllerutil.RemoveFinalizer(s.gateway, v1alpha1.GatewayFinalizer)
	if err := client.IgnoreNotFound(r.Client.Patch(ctx, s.gateway, optimistically(base))); err != nil {
		return err
	}
	r.forget(ctx, s.key)
	return nil
}

// openConnection lets the bindings use the connection again.
func (r *Reconciler) openConnection(ctx context.Context, gateway types.NamespacedName) {
	if r.Connections.Open(gateway) {
		r.Connections.EnqueueBindings(ctx, gateway)
	}
}

// livePageSize is how many bindings one request to the API server lists.
const livePageSize = 500

// listBindingsLive lists from the API server the bindings of the gateway that have a finalizer or a
// plugin. A binding without either has nothing in Kong.
func (r *Reconciler) listBindingsLive(ctx context.Context, s *state) ([]v1alpha1.PluginBinding, error) {
	namespaces := sets.List(r.Namespaces)
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	var found []v1alpha1.PluginBinding
	for _, namespace := range namespaces {
		options := []client.ListOption{client.InNamespace(namespace), client.Limit(livePageSize)}
		if r.hasSelector() {
			options = append(options, client.MatchingLabelsSelector{Selector: r.Selector})
		}
		for page := (&v1alpha1.PluginBindingList{}); ; {
			if err := r.APIReader.List(ctx, page, append(options, client.Continue(page.Continue))...); err != nil {
				return nil, err
			}
			for i := range page.Items {
				if binding := &page.Items[i]; reference.GatewayOf(binding) == s.key && hasTraces(binding) {
					found = append(found, *binding)
				}
			}
			if page.Continue == "" {
				break
			}
		}
	}
	return found, nil
}

// reportAbandoned says what stays in Kong.
func (r *Reconciler) reportAbandoned(ctx context.Context, s *state, needed int) {
	result := s.probe.result
	// In a namespace that is being deleted no event can be created.
	log.FromContext(ctx).Info("the gateway and its bindings are being deleted, but their Kong is unusable: the bindings' plugins stay in Kong",
		"bindings", needed, "reason", result.reason, "message", result.message)
	r.Events.Eventf(s.gateway, nil, corev1.EventTypeWarning, "Abandoned", "Delete",
		"The gateway and its bindings (%d) are being deleted, but their Kong is unusable (%s). The operator removed the gateway's finalizer. The bindings' plugins stay in Kong.",
		needed, result.reason)
}

// countHolders counts the bindings that may have a plugin in the gateway's Kong.
func (s *state) countHolders(bindings []v1alpha1.PluginBinding) (n int) {
	for i := range bindings {
		if s.mayHoldPlugin(&bindings[i]) {
			n++
		}
	}
	return n
}

// mayHoldPlugin is true for a binding that has a plugin or may get one, and for one that has no
// conditions yet. It is false for a binding without a plugin that the gateway refused. Whoever creates a
// binding can set the finalizer, and so can an admission policy, so that it alone proves nothing about one
// that the gateway refuses.
func (s *state) mayHoldPlugin(binding *v1alpha1.PluginBinding) bool {
	if s.isRefused(binding) && binding.Status.PluginID == "" {
		return hasTraces(binding) && !s.hasNothing(binding)
	}
	return hasTraces(binding) || len(binding.Status.Conditions) == 0
}

// hasNothing reports whether the last resync proves that the gateway's Kong has no plugin of a binding.
func (r *Reconciler) hasNothing(gateway types.NamespacedName, binding *v1alpha1.PluginBinding) bool {
	c, _ := r.Connections.Last(gateway)
	self := identity.Binding{Cluster: r.ClusterID, Namespace: binding.Namespace, Name: binding.Name}
	return c.Snapshot.TrustFor(binding, r.InFlight, r.Programmed, c.LongestWrite()).Absence && !c.Snapshot.Owns(self)
}

// hasTraces reports whether a reconcile has gone so far that the binding may have a plugin.
func hasTraces(binding *v1alpha1.PluginBinding) bool {
	return binding.Status.PluginID != "" || controllerutil.ContainsFinalizer(binding, v1alpha1.PluginFinalizer)
}

// failuresToAbandon is how many probes in a row have to fail before a gateway is let go whose
// bindings are all being deleted too: with the delays between them, about a minute.
const failuresToAbandon = 8

// isAbandoned reports whether everything that refers to this gateway is being deleted and its Kong
// cannot be used. Waiting for it would block a namespace for ever.
func (s *state) isAbandoned(bindings []v1alpha1.PluginBinding) bool {
	for i := range bindings {
		if bindings[i].DeletionTimestamp.IsZero() && s.mayHoldPlugin(&bindings[i]) {
			return false
		}
	}
	return s.probe.attempted && s.probe.result.problem() != nil && s.consecutiveFailures() >= failuresToAbandon
}
