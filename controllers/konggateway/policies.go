package konggateway

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

// selecting are the policies of a gateway, by what they select in Kong.
type selecting map[connection.Selector][]types.NamespacedName

// listPolicies lists the policies of the gateway. One that the gateway refuses does not count: a
// tenant must not cause requests to a Kong that he may not use.
func (r *Reconciler) listPolicies(ctx context.Context, s *state) error {
	policies := &v1alpha1.PluginPolicyList{}
	// The items are only read.
	if err := r.Client.List(ctx, policies, client.MatchingFields{reference.IndexGateway: s.key.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	allowed, _ := tenancy.NewPolicy(s.gateway) // an invalid selector selects nothing
	s.selecting = selecting{}
	for i := range policies.Items {
		one := &policies.Items[i]
		request := policy.Request(one, nil)
		if allowed.Restricts(one.Namespace) {
			namespace := &corev1.Namespace{}
			if err := client.IgnoreNotFound(r.Client.Get(ctx, types.NamespacedName{Name: one.Namespace}, namespace)); err != nil {
				return err
			}
			request = policy.Request(one, namespace.Labels)
		}
		if !tenancy.Check(allowed, request).Allowed() {
			continue
		}
		for _, selector := range policy.Selectors(one) {
			s.selecting[selector] = append(s.selecting[selector], client.ObjectKeyFromObject(one))
		}
	}
	return nil
}

// tagSets are the tags of the selectors of one kind.
func (of selecting) tagSets(kind adminapi.EntityKind) []adminapi.TagSet {
	var tagSets []adminapi.TagSet
	for selector := range of {
		if selector.Kind == kind {
			tagSets = append(tagSets, selector.Tags)
		}
	}
	slices.Sort(tagSets)
	return tagSets
}

// selectors of the kinds that this Kong has.
func (of selecting) selectors(info adminapi.Info) []connection.Selector {
	var selectors []connection.Selector
	for selector := range of {
		if selector.Kind != adminapi.ConsumerGroup || info.Enterprise() {
			selectors = append(selectors, selector)
		}
	}
	return selectors
}

// policies that have one of the selectors, each once.
func (of selecting) policies(selectors sets.Set[connection.Selector]) sets.Set[types.NamespacedName] {
	policies := sets.New[types.NamespacedName]()
	for selector := range selectors {
		policies.Insert(of[selector]...)
	}
	return policies
}

// enqueuePolicies requests a reconcile of the policies whose entities are others than before.
func (r *Reconciler) enqueuePolicies(ctx context.Context, s *state) error {
	for key := range s.resync.changedPolicies {
		r.Connections.EnqueuePolicy(ctx, key)
	}
	return nil
}
