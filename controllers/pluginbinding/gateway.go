package controllers

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
)

// runsCode names the plugins that run code from their config in Kong's workers. From
// outside the gateway's namespace they have to be allowed by name.
var runsCode = []v1alpha1.PluginName{"pre-function", "post-function", "exit-transformer"}

// codeField of the config of the logging plugins is code as well.
const codeField = "custom_fields_by_lua"

// admit finds the gateway, asks whether it allows this binding, and takes its connection.
func (r *PluginBindingReconciler) admit(ctx context.Context, p *pass) *stop {
	if !r.watches(p.gateway.Namespace) {
		return refused(v1alpha1.ReasonGatewayNotWatched, r.unwatched(p))
	}
	gw := &v1alpha1.KongGateway{}
	err := r.Client.Get(ctx, p.gateway, gw)
	if apierrors.IsNotFound(err) {
		return refused(v1alpha1.ReasonGatewayNotFound, r.noGateway(p))
	}
	if err != nil {
		return kubernetesStop(err)
	}
	p.kgw = gw

	reason, err := r.whyNotAllowed(ctx, p)
	if err != nil {
		return kubernetesStop(err)
	}
	if reason != "" {
		return refused(v1alpha1.ReasonNotAllowedByGateway, reason)
	}
	if s := r.connect(p); s != nil {
		return s
	}
	return unsupported(p)
}

func (r *PluginBindingReconciler) watches(namespace string) bool {
	return r.Namespaces.Len() == 0 || r.Namespaces.Has(namespace)
}

func (r *PluginBindingReconciler) unwatched(p *pass) string {
	return fmt.Sprintf("the operator watches only the namespaces %s, and KongGateway %s is in none of them; add its namespace to --watch-namespaces (with OLM, to the OperatorGroup)",
		strings.Join(sets.List(r.Namespaces), ", "), p.gateway)
}

func (r *PluginBindingReconciler) noGateway(p *pass) string {
	if r.Selector == nil || r.Selector.Empty() {
		return fmt.Sprintf("there is no KongGateway %s; create it, or delete this binding", p.gateway)
	}
	return fmt.Sprintf("there is no KongGateway %s with the labels of what this operator looks after (%s); create it, or give the binding and its gateway the same labels",
		p.gateway, r.Selector)
}

func refused(reason, message string) *stop {
	return &stop{condition: v1alpha1.ConditionAccepted, reason: reason, message: message}
}

// connect takes the gateway's connection if it can be used now.
func (r *PluginBindingReconciler) connect(p *pass) *stop {
	connection, known := r.Connections.Get(p.gateway)
	if !known {
		// The gateway controller has not probed it in this process and will announce it.
		// Until then nothing is known that is worth a write.
		return &stop{}
	}
	p.connection = connection
	switch problem := connection.Problem; {
	case problem == nil:
		return nil
	case problem.Permanent:
		return refused(v1alpha1.ReasonGatewayNotAccepted,
			fmt.Sprintf("KongGateway %s cannot be used: %s", p.gateway, problem.Message))
	default:
		return &stop{
			condition: v1alpha1.ConditionProgrammed, unknown: true, transient: true,
			reason:  v1alpha1.ReasonGatewayNotReady,
			message: fmt.Sprintf("KongGateway %s is not ready: %s", p.gateway, problem.Message),
		}
	}
}

// unsupported refuses fields that this edition of Kong does not have.
func unsupported(p *pass) *stop {
	if p.connection.Info.Enterprise() {
		return nil
	}
	const only = "%s exists in Kong Gateway Enterprise only, and KongGateway %s is the %s edition; remove it from the spec"
	spec := &p.binding.Spec
	switch {
	case spec.Scope != nil && spec.Scope.ConsumerGroup != nil:
		return refused(v1alpha1.ReasonUnsupportedField, fmt.Sprintf(only, "scope.consumerGroup", p.gateway, p.connection.Info.Edition))
	case spec.Ordering != nil:
		return refused(v1alpha1.ReasonUnsupportedField, fmt.Sprintf(only, "ordering", p.gateway, p.connection.Info.Edition))
	}
	return nil
}

// whyNotAllowed applies the gateway's allowedBindings. An empty answer allows.
func (r *PluginBindingReconciler) whyNotAllowed(ctx context.Context, p *pass) (string, error) {
	if p.binding.Namespace == p.kgw.Namespace {
		return "", nil
	}
	allowed := v1alpha1.AllowedBindings{}
	if p.kgw.Spec.AllowedBindings != nil {
		allowed = *p.kgw.Spec.AllowedBindings
	}
	in, err := r.namespaceAllowed(ctx, p.binding.Namespace, allowed.Namespaces)
	if err != nil {
		return "", err
	}
	if !in {
		return fmt.Sprintf("KongGateway %s does not allow bindings from namespace %s; see its spec.allowedBindings.namespaces",
			p.gateway, p.binding.Namespace), nil
	}
	if !pluginAllowed(p.binding.Spec.Plugin, allowed.Plugins) {
		return fmt.Sprintf("KongGateway %s does not allow the plugin %s from other namespaces; see its spec.allowedBindings.plugins",
			p.gateway, p.binding.Spec.Plugin), nil
	}
	if p.binding.Spec.Scope == nil && !allowed.GlobalScope {
		return fmt.Sprintf("KongGateway %s does not allow plugins without a scope from other namespaces; set spec.scope, or its spec.allowedBindings.globalScope",
			p.gateway), nil
	}
	return "", nil
}

func (r *PluginBindingReconciler) namespaceAllowed(ctx context.Context, name string, allowed *v1alpha1.BindingNamespaces) (bool, error) {
	if allowed == nil {
		return false, nil
	}
	switch allowed.From {
	case v1alpha1.NamespacesFromAll:
		return true, nil
	case v1alpha1.NamespacesFromSelector:
		selector, err := metav1.LabelSelectorAsSelector(allowed.Selector)
		if err != nil {
			return false, nil //nolint:nilerr // a selector that cannot be read matches nothing; the gateway's Accepted condition says so
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

// bringsCode refuses code in the config from outside the gateway's namespace, unless the
// plugin is allowed by name.
func (p *pass) bringsCode() *stop {
	if code, _ := p.want.Config[codeField].(map[string]any); len(code) == 0 || p.binding.Namespace == p.kgw.Namespace {
		return nil
	}
	if allowed := p.kgw.Spec.AllowedBindings; allowed != nil && allowed.Plugins != nil && slices.Contains(allowed.Plugins.Allow, p.binding.Spec.Plugin) {
		return nil
	}
	return refused(v1alpha1.ReasonNotAllowedByGateway,
		fmt.Sprintf("KongGateway %s does not allow config.%s, which is code, from other namespaces; remove it, or have the plugin %s allowed by name in its spec.allowedBindings.plugins",
			p.gateway, codeField, p.binding.Spec.Plugin))
}

func pluginAllowed(name v1alpha1.PluginName, allowed *v1alpha1.AllowedPlugins) bool {
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
