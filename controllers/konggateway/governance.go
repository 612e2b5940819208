package konggateway

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

// maxKongIDs bounds status.kongIDs.
const maxKongIDs = 16

// checkGovernance refuses the gateway if an older one governs its Kong and does not allow another
// gateway in this namespace. It compares what Kong says about itself, whatever the URL.
func (r *Reconciler) checkGovernance(ctx context.Context, s *state) error {
	if s.probe.result.condition != "" {
		return nil
	}
	gateways := &v1alpha1.KongGatewayList{}
	// The items are only read.
	if err := r.Client.List(ctx, gateways, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	candidates := make([]tenancy.Gateway, 0, len(gateways.Items))
	for i := range gateways.Items {
		candidate, err := r.candidate(ctx, s, &gateways.Items[i])
		if err != nil {
			return err
		}
		candidates = append(candidates, candidate)
	}
	governance, known := tenancy.Govern(candidates)[s.key]
	if !known || governance.Accepted() {
		return nil
	}
	s.probe.result.condition, s.probe.result.reason = v1alpha1.ConditionAccepted, v1alpha1.ReasonGatewayNotAllowed
	s.probe.result.message, s.probe.result.permanent = governance.Message, true
	return nil
}

// ProblemOf is why the operator would not use a gateway that it has not seen, whose Kong answers a probe
// like this; nil if it would. The kubectl plugin asks it, so that a plan says what the operator will say.
func (r *Reconciler) ProblemOf(ctx context.Context, gateway *v1alpha1.KongGateway, info adminapi.Info) (*connection.Problem, error) {
	s := &state{gateway: gateway, key: client.ObjectKeyFromObject(gateway), probe: probe{result: probeResultFrom(info, nil)}}
	if problem := checkSelectors(gateway); problem != nil {
		s.probe.result = *problem
	}
	err := r.checkGovernance(ctx, s)
	return s.probe.result.problem(), err
}

// candidate is a gateway as tenancy compares it. For this gateway it uses what Kong said just now.
func (r *Reconciler) candidate(ctx context.Context, s *state, gateway *v1alpha1.KongGateway) (tenancy.Gateway, error) {
	policy, _ := tenancy.NewPolicy(gateway) // an invalid selector selects nothing
	candidate := tenancy.Gateway{
		Policy:    policy,
		Namespace: tenancy.Namespace{Name: gateway.Namespace},
		Created:   gateway.CreationTimestamp.Time,
		URL:       adminapi.CanonicalURL(gateway.Spec.AdminURL),
		KongIDs:   gateway.Status.KongIDs,
	}
	if client.ObjectKeyFromObject(gateway) == s.key {
		candidate.KongIDs = kongIDs(gateway, s.probe.result.info)
	}
	namespace := &corev1.Namespace{}
	err := r.Client.Get(ctx, types.NamespacedName{Name: gateway.Namespace}, namespace)
	candidate.Namespace.Labels = namespace.Labels
	return candidate, client.IgnoreNotFound(err)
}

// kongIDs are the IDs by which this Kong was known until now and the ones that it reports. They
// start anew when the spec changes, because that may lead to another Kong.
func kongIDs(gateway *v1alpha1.KongGateway, info adminapi.Info) []string {
	var ids []string
	if gateway.Status.ObservedGeneration == gateway.Generation {
		ids = slices.Clone(gateway.Status.KongIDs)
	}
	reported := info.ClusterKey
	if reported == "" {
		reported = info.NodeID
	}
	if reported == "" || slices.Contains(ids, reported) {
		return ids
	}
	ids = append(ids, reported)
	return ids[max(len(ids)-maxKongIDs, 0):]
}
