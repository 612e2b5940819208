package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// claim keeps two bindings from recording one plugin that was nobody's: both may have looked
// before either of them wrote its marks. What a status has recorded is that binding's,
// whatever the plugin's marks are by now; and between the decision and a status that the
// cache shows, the first to claim it has it.
func (r *PluginBindingReconciler) claim(ctx context.Context, p *pass) *stop {
	self, id := client.ObjectKeyFromObject(p.binding), p.action.ID
	if p.action.Operation != identity.Adopt || p.observes() {
		r.Ledger.Disclaim(self)
		return nil
	}
	recorded := &v1alpha1.PluginBindingList{}
	// The items are only read.
	if err := r.Client.List(ctx, recorded, client.MatchingFields{indexPluginID: id}, client.UnsafeDisableDeepCopy); err != nil {
		return kubernetesStop(err)
	}
	for i := range recorded.Items {
		if other := &recorded.Items[i]; client.ObjectKeyFromObject(other) != self && r.sameKong(ctx, p, other) {
			return r.conflicted(p, id, identity.Owner{Binding: &identity.Binding{Cluster: r.Cluster, Namespace: other.Namespace, Name: other.Name}})
		}
	}
	first := r.Ledger.Claim(self, place(p.kgw)+id)
	if first == self {
		return nil
	}
	other := &v1alpha1.PluginBinding{}
	if err := r.Client.Get(ctx, first, other); client.IgnoreNotFound(err) != nil {
		return kubernetesStop(err)
	} else if err != nil || other.Status.PluginID != "" || !other.DeletionTimestamp.IsZero() || !mayWrite(other) {
		// It is gone, has recorded another plugin, or does not go on: its claim means nothing.
		r.Ledger.Disclaim(first)
	}
	return lookAgain()
}

// place is where a gateway's plugins are, as far as its spec tells.
func place(gw *v1alpha1.KongGateway) string {
	return gw.Spec.AdminURL + " " + string(gw.Spec.Workspace) + " "
}

// sameKong reports whether another binding's plugins are where this one's are.
func (r *PluginBindingReconciler) sameKong(ctx context.Context, p *pass, other *v1alpha1.PluginBinding) bool {
	key := gatewayKeyOf(other)
	if key == p.gateway {
		return true
	}
	gw := &v1alpha1.KongGateway{}
	return r.Client.Get(ctx, key, gw) == nil && place(gw) == place(p.kgw)
}

// claims are the plugins that bindings are about to adopt: whose each is, and which each has.
type claims struct {
	by   map[string]types.NamespacedName
	held map[types.NamespacedName]string
}

// Claim gives a plugin to the binding unless another one has it, and returns whose it is.
func (l *Ledger) Claim(binding types.NamespacedName, plugin string) types.NamespacedName {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first, claimed := l.claims.by[plugin]; claimed {
		return first
	}
	l.claims.drop(binding)
	l.claims.by[plugin], l.claims.held[binding] = binding, plugin
	return binding
}

// Disclaim ends the claim of a binding: it does not want the plugin any more, or has a
// status in the cache that says so.
func (l *Ledger) Disclaim(binding types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims.drop(binding)
}

func (c *claims) drop(binding types.NamespacedName) {
	if plugin, held := c.held[binding]; held {
		delete(c.by, plugin)
		delete(c.held, binding)
	}
}
