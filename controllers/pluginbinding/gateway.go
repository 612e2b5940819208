package pluginbinding

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

// resolveGateway finds the gateway, checks that it allows this binding, and returns its
// connection.
func (r *Reconciler) resolveGateway(ctx context.Context, s *state) (access, *stepResult) {
	var a access
	if !r.watches(s.gatewayKey.Namespace) {
		return a, notAccepted(v1alpha1.ReasonGatewayNotWatched, r.notWatchedMessage(s))
	}
	gateway := &v1alpha1.KongGateway{}
	err := r.Client.Get(ctx, s.gatewayKey, gateway)
	if apierrors.IsNotFound(err) {
		return a, notAccepted(v1alpha1.ReasonGatewayNotFound, r.notFoundMessage(s))
	}
	if err != nil {
		return a, kubernetesError(err)
	}
	a.gateway = gateway

	if a.policy, a.request, err = r.tenancyOf(ctx, s, gateway); err != nil {
		return a, kubernetesError(err)
	}
	result := checkTenancy(&a, tenancy.Refer)
	if result != nil {
		return a, result
	}
	if a.connection, result = r.getConnection(s); result != nil {
		return a, result
	}
	return a, checkEdition(s, &a.connection)
}

func (r *Reconciler) watches(namespace string) bool {
	return r.Namespaces.Len() == 0 || r.Namespaces.Has(namespace)
}

func (r *Reconciler) notWatchedMessage(s *state) string {
	return fmt.Sprintf("the operator watches only the namespaces %s, and KongGateway %s is in none of them; add its namespace to --watch-namespaces (with OLM, to the OperatorGroup)",
		strings.Join(sets.List(r.Namespaces), ", "), s.gatewayKey)
}

func (r *Reconciler) notFoundMessage(s *state) string {
	if r.Selector == nil || r.Selector.Empty() {
		return fmt.Sprintf("KongGateway %s does not exist. Create it, or delete this binding.", s.gatewayKey)
	}
	return fmt.Sprintf("KongGateway %s does not exist, or does not match this operator's label selector (%s). Create it, or give the binding and its gateway the same matching labels.",
		s.gatewayKey, r.Selector)
}

// getConnection returns the gateway's connection if it can be used now.
func (r *Reconciler) getConnection(s *state) (connection.Connection, *stepResult) {
	c, known := r.Connections.Get(s.gatewayKey)
	switch problem := c.Problem; {
	case !known:
		// The gateway controller has not probed it in this process and will enqueue the binding.
		return c, done()
	case problem == nil:
		return c, nil
	case problem.Suspected:
		return c, requeue() // the next probe is due in a moment
	case problem.Permanent:
		return c, notAccepted(v1alpha1.ReasonGatewayNotAccepted,
			fmt.Sprintf("KongGateway %s cannot be used: %s", s.gatewayKey, problem.Message))
	default:
		return c, &stepResult{
			condition: v1alpha1.ConditionProgrammed, unknown: true, keepConditions: true,
			reason:  v1alpha1.ReasonGatewayNotReady,
			message: fmt.Sprintf("KongGateway %s is not ready: %s", s.gatewayKey, problem.Message),
		}
	}
}

// checkEdition refuses fields that this edition of Kong does not have.
func checkEdition(s *state, c *connection.Connection) *stepResult {
	if c.Info.Enterprise() {
		return nil
	}
	field := enterpriseField(&s.binding.Spec)
	if field == "" {
		return nil
	}
	return notAccepted(v1alpha1.ReasonUnsupportedField,
		fmt.Sprintf("%s exists in Kong Gateway Enterprise only, and KongGateway %s is the %s edition; remove it from the spec",
			field, s.gatewayKey, c.Info.Edition))
}

// enterpriseField names a field of the spec that only Kong Gateway Enterprise has, empty if none is
// set.
func enterpriseField(spec *v1alpha1.PluginBindingSpec) string {
	switch {
	case spec.Scope != nil && spec.Scope.ConsumerGroup != nil:
		return "scope.consumerGroup"
	case spec.Ordering != nil:
		return "ordering"
	case spec.Condition != "":
		return plugin.FieldCondition
	case len(spec.Partials) > 0:
		return plugin.FieldPartials
	default:
		return ""
	}
}

// checkVersion refuses fields that this version of Kong Enterprise does not have, by what Kong said
// about them. The schema of a plugin does not tell: it lists only the fields that the plugin defines
// itself, its config, protocols and the like, and not those that all plugins have. The number of the
// version does not either, since Kong backports. So Kong has the last word, and is asked with the write.
func checkVersion(s *state, err error) *stepResult {
	kongErr := asKongError(err)
	if kongErr == nil || kongErr.Reason != adminapi.Rejected {
		return nil
	}
	for _, field := range kongErr.Fields {
		if field.Message == plugin.MessageUnknownField && declares(&s.binding.Spec, field.Path) {
			result := notAccepted(v1alpha1.ReasonUnsupportedField,
				fmt.Sprintf("Kong %s of KongGateway %s does not have the field %s; remove it from the spec, or upgrade Kong",
					s.access.connection.Info.Version, s.gatewayKey, field.Path))
			result.requeueAfter = slowRetry
			return result
		}
	}
	return nil
}

// declares reports whether the spec has a field that only newer versions of Kong Enterprise have.
func declares(spec *v1alpha1.PluginBindingSpec, field string) bool {
	return field == plugin.FieldCondition && spec.Condition != "" || field == plugin.FieldPartials && len(spec.Partials) > 0
}
