package pluginpolicy

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

// access is how to reach the policy's gateway, and what the gateway allows.
type access struct {
	gateway    *v1alpha1.KongGateway
	connection connection.Connection
	policy     tenancy.Policy
	request    tenancy.Request
}

// notAccepted is the problem of a policy that its gateway or its spec rules out.
func notAccepted(reason, text string) policy.Problem {
	return policy.Problem{Condition: v1alpha1.ConditionAccepted, Reason: reason, Message: text}
}

// resolveGateway finds the gateway, checks that it allows this policy, and takes its connection.
func (r *Reconciler) resolveGateway(ctx context.Context, s *state) (bool, error) {
	if s.problem = r.checkWatched(s); s.problem.Condition != "" {
		return true, nil
	}
	gateway := &v1alpha1.KongGateway{}
	err := r.Client.Get(ctx, s.gatewayKey, gateway)
	if apierrors.IsNotFound(err) {
		s.problem = notAccepted(v1alpha1.ReasonGatewayNotFound,
			fmt.Sprintf("KongGateway %s does not exist. The operator changes no binding of this policy. Create the gateway, or delete this policy.", s.gatewayKey))
		return true, nil
	}
	if err != nil {
		return true, err
	}
	s.access.gateway = gateway
	if s.access.policy, s.access.request, err = r.tenancyOf(ctx, s.policy, gateway); err != nil {
		return true, err
	}
	if decision := tenancy.Check(s.access.policy, s.access.request); !decision.Allowed() {
		s.problem = notAccepted(v1alpha1.ReasonNotAllowedByGateway, decision.Message)
		return true, nil
	}
	return r.takeConnection(s), nil
}

// checkWatched refuses what this operator would not see.
func (r *Reconciler) checkWatched(s *state) policy.Problem {
	if r.Namespaces.Len() > 0 && !r.Namespaces.Has(s.gatewayKey.Namespace) {
		return notAccepted(v1alpha1.ReasonGatewayNotWatched,
			fmt.Sprintf("The operator watches only the namespaces %s, and KongGateway %s is in none of them. It changes no binding of this policy. Add the namespace to --watch-namespaces (with OLM, to the OperatorGroup).",
				strings.Join(sets.List(r.Namespaces), ", "), s.gatewayKey))
	}
	if r.Selector != nil && !r.Selector.Empty() && !r.Selector.Matches(templateLabels(s.policy)) {
		return notAccepted(v1alpha1.ReasonInvalid,
			fmt.Sprintf("This operator manages only bindings with the labels %s, and the template does not have them. The operator makes no binding. Add the labels to spec.template.metadata.labels.", r.Selector))
	}
	return policy.Problem{}
}

func templateLabels(p *v1alpha1.PluginPolicy) labels.Set {
	set := labels.Set{}
	if metadata := p.Spec.Template.Metadata; metadata != nil {
		for key, value := range metadata.Labels {
			set[key] = string(value)
		}
	}
	return set
}

// tenancyOf returns what the gateway allows, and what the policy wants from it.
func (r *Reconciler) tenancyOf(ctx context.Context, p *v1alpha1.PluginPolicy, gateway *v1alpha1.KongGateway) (tenancy.Policy, tenancy.Request, error) {
	allowed, _ := tenancy.NewPolicy(gateway) // an invalid selector selects nothing
	request := policy.Request(p, nil)
	if !allowed.Restricts(p.Namespace) {
		return allowed, request, nil
	}
	namespace := &corev1.Namespace{}
	err := r.Client.Get(ctx, types.NamespacedName{Name: p.Namespace}, namespace)
	return allowed, policy.Request(p, namespace.Labels), err
}

// takeConnection takes the gateway's connection, and reports whether the reconcile ends without one.
func (r *Reconciler) takeConnection(s *state) (done bool) {
	c, known := r.Connections.Get(s.gatewayKey)
	switch {
	case !known: // the gateway has not been probed yet, and enqueues the policy
		s.keepStatus = true
	case c.Problem != nil && c.Problem.Permanent:
		s.problem = notAccepted(v1alpha1.ReasonGatewayNotAccepted,
			fmt.Sprintf("KongGateway %s cannot be used: %s. The operator changes no binding of this policy.", s.gatewayKey, strings.TrimSuffix(c.Problem.Message, ".")))
	case c.Problem != nil:
		s.gatewayNotReady(c.Problem.Message)
	case !c.Info.Enterprise() && hasConsumerGroup(s.policy):
		s.problem = notAccepted(v1alpha1.ReasonUnsupportedField,
			fmt.Sprintf("Consumer groups exist in Kong Gateway Enterprise only, and KongGateway %s is the %s edition. The operator makes no binding. Remove the target KongConsumerGroup.", s.gatewayKey, c.Info.Edition))
	default:
		s.access.connection = c
		return false
	}
	return true
}

// gatewayNotReady reports an outage, unless the status says already what became of this generation: the
// gateway reports it, too.
func (s *state) gatewayNotReady(text string) {
	s.problem = policy.Problem{
		Condition: v1alpha1.ConditionProgrammed, Unknown: true, Reason: v1alpha1.ReasonGatewayNotReady,
		Message: fmt.Sprintf("KongGateway %s is not ready: %s", s.gatewayKey, text),
	}
	s.keepStatus = s.policy.Status.ObservedGeneration == s.policy.Generation && len(s.policy.Status.Conditions) > 0
}

func hasConsumerGroup(p *v1alpha1.PluginPolicy) bool {
	for _, selector := range policy.Selectors(p) {
		if selector.Kind == adminapi.ConsumerGroup {
			return true
		}
	}
	return false
}
