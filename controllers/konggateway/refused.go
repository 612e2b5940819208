package konggateway

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

// findRefused returns the bindings that the gateway refuses by their spec. They count for nothing: a
// tenant must not cause requests to a Kong that he may not use, or hold up the deletion of its gateway.
func (r *Reconciler) findRefused(ctx context.Context, s *state) (sets.Set[types.NamespacedName], error) {
	refused := sets.New[types.NamespacedName]()
	policy, _ := tenancy.NewPolicy(s.gateway) // an invalid selector selects nothing
	namespaces, ranks := map[string]tenancy.Namespace{}, map[string]map[string]int{}
	if policy.NeedsRank() {
		ranks = rankBindings(s.bindings)
	}
	for i := range s.bindings {
		binding := &s.bindings[i]
		if !policy.Restricts(binding.Namespace) {
			continue
		}
		namespace, known := namespaces[binding.Namespace]
		if !known {
			object := &corev1.Namespace{}
			if err := client.IgnoreNotFound(r.Client.Get(ctx, types.NamespacedName{Name: binding.Namespace}, object)); err != nil {
				return nil, err
			}
			namespace = tenancy.Namespace{Name: binding.Namespace, Labels: object.Labels}
			namespaces[binding.Namespace] = namespace
		}
		request := tenancy.Request{
			Namespace: namespace,
			Plugin:    string(binding.Spec.Plugin),
			Global:    binding.Spec.Scope == nil,
			Rank:      ranks[binding.Namespace][binding.Name],
			Operation: tenancy.Refer,
		}
		if !tenancy.Check(policy, request).Allowed() {
			refused.Insert(client.ObjectKeyFromObject(binding))
		}
	}
	return refused, nil
}

// rankBindings returns the ranks of bindings by namespace and name.
func rankBindings(bindings []v1alpha1.PluginBinding) map[string]map[string]int {
	peers := map[string][]tenancy.Peer{}
	for i := range bindings {
		peers[bindings[i].Namespace] = append(peers[bindings[i].Namespace], reference.Peer(&bindings[i]))
	}
	ranks := make(map[string]map[string]int, len(peers))
	for namespace := range peers {
		ranks[namespace] = tenancy.Ranks(peers[namespace])
	}
	return ranks
}

// isRefused reports whether the gateway refuses the binding.
func (s *state) isRefused(binding *v1alpha1.PluginBinding) bool {
	return s.refused.Has(client.ObjectKeyFromObject(binding))
}
