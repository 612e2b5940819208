package pluginbinding

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

// tenancyOf returns the gateway's policy, and what the binding wants from it as far as its spec
// says. The steps that ask Kong add to the request.
func (r *Reconciler) tenancyOf(ctx context.Context, s *state, gateway *v1alpha1.KongGateway) (tenancy.Policy, tenancy.Request, error) {
	policy, _ := tenancy.NewPolicy(gateway) // an invalid selector selects nothing; the gateway's Accepted condition reports it
	request := tenancy.Request{
		Namespace: tenancy.Namespace{Name: s.binding.Namespace},
		Plugin:    string(s.binding.Spec.Plugin),
		Global:    s.binding.Spec.Scope == nil,
		PluginID:  string(s.binding.Status.PluginID),
		Acquired:  s.binding.Status.PluginIDSource == v1alpha1.PluginIDAdopted,
	}
	if !policy.Restricts(s.binding.Namespace) {
		return policy, request, nil
	}
	s.identity.Acquired = request.Acquired
	namespace := &corev1.Namespace{}
	if err := r.Client.Get(ctx, types.NamespacedName{Name: s.binding.Namespace}, namespace); err != nil {
		return policy, request, err
	}
	request.Namespace.Labels = namespace.Labels
	if policy.NeedsRank() {
		rank, err := r.rank(ctx, s)
		if err != nil {
			return policy, request, err
		}
		request.Rank = rank
	}
	return policy, request, nil
}

// rank is the position of the binding among those of its namespace on the gateway.
func (r *Reconciler) rank(ctx context.Context, s *state) (int, error) {
	bindings := &v1alpha1.PluginBindingList{}
	// The items are only read.
	if err := r.Client.List(ctx, bindings, client.InNamespace(s.binding.Namespace),
		client.MatchingFields{reference.IndexGateway: s.gatewayKey.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return 0, err
	}
	peers := make([]tenancy.Peer, len(bindings.Items))
	for i := range bindings.Items {
		peers[i] = reference.Peer(&bindings.Items[i])
	}
	return tenancy.Rank(reference.Peer(s.binding), peers), nil
}

// checkTenancy asks whether the gateway allows the operation. A refusal is not accepted, and is
// checked again when the gateway, the binding or their namespaces change.
func checkTenancy(a *access, operation tenancy.Operation) *stepResult {
	request := a.request
	request.Operation = operation
	if decision := tenancy.Check(a.policy, request); !decision.Allowed() {
		return notAccepted(v1alpha1.ReasonNotAllowedByGateway, decision.Message)
	}
	return nil
}

// checkAction asks whether the gateway allows what was decided. It runs before every write, after
// all facts are known.
func checkAction(s *state, action identity.Action) *stepResult {
	operation := tenancy.Refer
	switch {
	case action.Adopts != identity.Unknown:
		operation = tenancy.Acquire
		s.access.request.Acquisition = s.acquisition(action)
		s.access.request.PluginID = action.ID
	case action.Operation == identity.Create, action.Operation == identity.Replace:
		operation = tenancy.Create
	case action.Operation == identity.MoveAside, action.Operation == identity.Wait && s.observed.facts.Turn != identity.NoTurn:
		operation = tenancy.Move
	case action.Operation == identity.MoveBack:
		operation = tenancy.Update
	case action.Operation == identity.Delete && action.ID == s.observed.facts.Recorded:
		operation = tenancy.Delete
	case action.Operation == identity.Put:
		operation = tenancy.Update
		if live, exists := s.observed.plugins[action.ID]; !exists {
			operation = tenancy.Create
		} else if live.Scope != s.desired.plugin.Scope {
			operation = tenancy.Move
		}
	}
	result := checkTenancy(&s.access, operation)
	if result != nil {
		result.requeueAfter = max(s.resyncInterval(), slowRetry) // the plugin in Kong may change, and no event says so
	}
	return result
}

// acquisition describes how the binding would acquire the plugin.
func (s *state) acquisition(action identity.Action) tenancy.Acquisition {
	live := s.observed.plugins[action.ID]
	a := tenancy.Acquisition{
		Kind:  tenancy.AdoptUnowned,
		Moves: live.Scope != s.desired.plugin.Scope,
		Owner: action.Owner.Describe(s.identity.Cluster),
	}
	switch {
	case s.replaced != nil:
		a.Kind = tenancy.Replace
		s.access.request.Acquired = identity.IsAcquired(live.Tags)
	case action.Adopts == identity.OwnedByOther:
		a.Kind = tenancy.TakeOver
	case action.Owner.Binding != nil:
		a.Kind, a.OwnerNamespace = tenancy.TakeOverGone, action.Owner.Binding.Namespace
	case s.observed.facts.Import != "":
		a.Kind = tenancy.Import
	}
	return a
}

// tenancyEntity is an entity of the scope, as tenancy needs it.
func tenancyEntity(entity reference.ScopeEntity, found adminapi.Entity) tenancy.Entity {
	return tenancy.Entity{Kind: string(entity.Kind), Name: entity.Label(), Known: true, Tags: found.Tags}
}

// checkCode asks whether the gateway allows the code in the config. Without a schema, it knows code
// by the names of fields.
func checkCode(s *state, d *desired) *stepResult {
	fields := plugin.CodeFields(d.plugin, d.schema)
	for i, field := range fields {
		fields[i] = d.redactor.RedactPath(field)
	}
	s.access.request.ConfigKnown, s.access.request.CodeFields = true, fields
	return checkTenancy(&s.access, tenancy.Refer)
}
