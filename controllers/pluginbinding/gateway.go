package pluginbinding

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
)

// runsCode names the plugins that run code from their config in Kong's workers. From outside
// the gateway's namespace they have to be allowed by name.
var runsCode = []v1alpha1.PluginName{"pre-function", "post-function", "exit-transformer"}

// codeField of the config of the logging plugins is code as well.
const codeField = "custom_fields_by_lua"

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

	refusal, err := r.checkAllowed(ctx, s, gateway)
	if err != nil {
		return a, kubernetesError(err)
	}
	if refusal != "" {
		return a, notAccepted(v1alpha1.ReasonNotAllowedByGateway, refusal)
	}
	var result *stepResult
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
	field, spec := "", &s.binding.Spec
	switch {
	case spec.Scope != nil && spec.Scope.ConsumerGroup != nil:
		field = "scope.consumerGroup"
	case spec.Ordering != nil:
		field = "ordering"
	default:
		return nil
	}
	return notAccepted(v1alpha1.ReasonUnsupportedField,
		fmt.Sprintf("%s exists in Kong Gateway Enterprise only, and KongGateway %s is the %s edition; remove it from the spec",
			field, s.gatewayKey, c.Info.Edition))
}

// checkAllowed applies the gateway's allowedBindings. An empty string allows the binding.
func (r *Reconciler) checkAllowed(ctx context.Context, s *state, gateway *v1alpha1.KongGateway) (string, error) {
	if s.binding.Namespace == gateway.Namespace {
		return "", nil
	}
	allowed := v1alpha1.AllowedBindings{}
	if gateway.Spec.AllowedBindings != nil {
		allowed = *gateway.Spec.AllowedBindings
	}
	matches, err := r.allowsNamespace(ctx, s.binding.Namespace, allowed.Namespaces)
	if err != nil {
		return "", err
	}
	if !matches {
		return fmt.Sprintf("KongGateway %s does not allow bindings from namespace %s; see its spec.allowedBindings.namespaces",
			s.gatewayKey, s.binding.Namespace), nil
	}
	if !allowsPlugin(s.binding.Spec.Plugin, allowed.Plugins) {
		return fmt.Sprintf("KongGateway %s does not allow the plugin %s from other namespaces; see its spec.allowedBindings.plugins",
			s.gatewayKey, s.binding.Spec.Plugin), nil
	}
	if s.binding.Spec.Scope == nil && !allowed.GlobalScope {
		return fmt.Sprintf("KongGateway %s does not allow plugins without a scope from other namespaces; set spec.scope, or its spec.allowedBindings.globalScope",
			s.gatewayKey), nil
	}
	return "", nil
}

func (r *Reconciler) allowsNamespace(ctx context.Context, name string, allowed *v1alpha1.BindingNamespaces) (bool, error) {
	if allowed == nil {
		return false, nil
	}
	switch allowed.From {
	case v1alpha1.NamespacesFromAll:
		return true, nil
	case v1alpha1.NamespacesFromSelector:
		selector, err := metav1.LabelSelectorAsSelector(allowed.Selector)
		if err != nil {
			return false, nil //nolint:nilerr // an invalid selector matches nothing; the gateway's Accepted condition reports it
		}
		namespace := &corev1.Namespace{}
		if err := r.Client.Get(ctx, types.NamespacedName{Name: name}, namespace); err != nil {
			return false, err
		}
		return selector.Matches(labels.Set(namespace.Labels)), nil
	default:
		return false, nil
	}
}

func allowsPlugin(name v1alpha1.PluginName, allowed *v1alpha1.AllowedPlugins) bool {
	if allowed == nil {
		return !slices.Contains(runsCode, name)
	}
	switch {
	case slices.Contains(allowed.Deny, name):
		return false
	case slices.Contains(allowed.Allow, name):
		return true
	default:
		return len(allowed.Allow) == 0 && !slices.Contains(runsCode, name)
	}
}

// checkCode refuses code in the config from outside the gateway's namespace, unless the plugin
// is allowed by name.
func checkCode(s *state, config map[string]any) *stepResult {
	if code, _ := config[codeField].(map[string]any); len(code) == 0 || s.binding.Namespace == s.access.gateway.Namespace {
		return nil
	}
	if allowed := s.access.gateway.Spec.AllowedBindings; allowed != nil && allowed.Plugins != nil && slices.Contains(allowed.Plugins.Allow, s.binding.Spec.Plugin) {
		return nil
	}
	return notAccepted(v1alpha1.ReasonNotAllowedByGateway,
		fmt.Sprintf("KongGateway %s does not allow config.%s, which is code, from other namespaces; remove it, or have the plugin %s allowed by name in its spec.allowedBindings.plugins",
			s.gatewayKey, codeField, s.binding.Spec.Plugin))
}
