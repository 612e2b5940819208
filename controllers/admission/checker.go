package admission

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

// checker checks specs.
type checker struct {
	Options
	gateways *gateways
	tenants  *tenants
	counts   *prometheus.CounterVec
}

// subject is what one request is about.
type subject struct {
	namespace string
	gateway   types.NamespacedName
	// spec of the binding, or of the bindings that the policy makes.
	spec *v1alpha1.PluginBindingSpec
	// root is where the spec is in the object.
	root *field.Path
	// request is what the object wants from its gateway.
	request func(tenancy.Policy) (tenancy.Request, error)
	// changed reports whether Kong may say something else than before.
	changed bool
	// conflicts are warnings about other objects; nil if there are none.
	conflicts func() []string
	// place is where the plugin is to be; nil if it is where it was.
	place *place
}

// check returns what Kong refuses, and what the author should know. Whatever it cannot find out, it
// admits.
func (c *checker) check(ctx context.Context, s subject) (admission.Warnings, field.ErrorList) {
	if !s.changed && s.conflicts == nil && s.place == nil {
		return nil, nil
	}
	access, err := c.accessOf(ctx, s)
	if err != nil || access.gateway == nil || !access.decision.Allowed() {
		if s.changed {
			c.counts.WithLabelValues(unchecked).Inc()
		}
		return warningsOf(access.decision.Message), nil
	}
	var warnings []string
	if s.conflicts != nil {
		warnings = s.conflicts()
	}
	if s.changed {
		v, err := c.verdict(ctx, s, access.gateway)
		var silent *uncheckedError
		switch {
		case errors.As(err, &silent):
			c.counts.WithLabelValues(unchecked).Inc()
			v.warnings = []string{silent.warning}
		case len(v.refused) > 0:
			c.counts.WithLabelValues(refused).Inc()
			return nil, problemsOf(s, v.refused)
		default:
			c.counts.WithLabelValues(accepted).Inc()
		}
		warnings = append(warnings, v.warnings...)
	}
	return warningsOf(append([]string{c.claims(ctx, s, access)}, warnings...)...), nil
}

// access is what an object may do on its gateway.
type access struct {
	// gateway is nil if it cannot be asked.
	gateway  *v1alpha1.KongGateway
	policy   tenancy.Policy
	request  tenancy.Request
	decision tenancy.Decision
}

// accessOf returns the gateway if it can be asked, and whether it allows the object. Nothing is asked of
// its Kong before that.
func (c *checker) accessOf(ctx context.Context, s subject) (a access, err error) {
	gateway := &v1alpha1.KongGateway{}
	if !c.watches(s.gateway.Namespace) {
		return a, nil
	}
	if err := c.Client.Get(ctx, s.gateway, gateway); err != nil {
		return a, err
	}
	if !isAccepted(gateway) {
		return a, nil
	}
	if a.policy, err = tenancy.NewPolicy(gateway); err != nil {
		return a, err
	}
	if a.request, err = s.request(a.policy); err != nil {
		return a, err
	}
	a.request.Operation = tenancy.Refer
	a.gateway, a.decision = gateway, tenancy.Check(a.policy, a.request)
	return a, nil
}

// isAccepted reports whether the leader has accepted the gateway as it is and reached its Kong.
func isAccepted(gateway *v1alpha1.KongGateway) bool {
	for _, condition := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionReachable} {
		found := meta.FindStatusCondition(gateway.Status.Conditions, condition)
		if found == nil || found.Status != "True" || found.ObservedGeneration != gateway.Generation {
			return false
		}
	}
	return gateway.DeletionTimestamp.IsZero()
}

// verdict is what Kong says about the spec, or an *uncheckedError.
func (c *checker) verdict(ctx context.Context, s subject, gateway *v1alpha1.KongGateway) (verdict, error) {
	known, err := plugin.RenderKnown(s.spec)
	var invalid *plugin.ConfigError
	switch {
	case errors.As(err, &invalid):
		return verdict{refused: []refusal{{message: invalid.Problem, path: "config"}}}, nil
	case err != nil || known.Empty:
		return verdict{}, &uncheckedError{}
	case tenancy.RunsCode(known.Plugin.Name) || len(plugin.CodeFields(known.Plugin, nil)) > 0:
		return verdict{}, &uncheckedError{}
	}
	if !c.tenants.enter(s.namespace) {
		return verdict{}, busy(s.gateway)
	}
	defer c.tenants.leave(s.namespace)
	return c.gateways.ask(ctx, gateway, question{namespace: s.namespace, known: known, spec: s.spec})
}

// uncheckedError says that Kong was not asked or did not answer. The warning is empty if the object's
// conditions are going to say enough.
type uncheckedError struct{ warning string }

// Error implements error.
func (e *uncheckedError) Error() string { return e.warning }

func busy(gateway types.NamespacedName) *uncheckedError {
	return &uncheckedError{fmt.Sprintf("The config was not checked: too many objects of KongGateway %s or of this namespace are checked at the same time. Its condition Programmed tells whether Kong accepts it.", gateway)}
}

func silent(gateway types.NamespacedName) *uncheckedError {
	return &uncheckedError{fmt.Sprintf("The config was not checked: the Kong of KongGateway %s did not answer in time. Its condition Programmed tells whether Kong accepts it.", gateway)}
}

func (c *checker) watches(namespace string) bool {
	return c.Namespaces.Len() == 0 || c.Namespaces.Has(namespace)
}

func labelsOf(object client.Object) labels.Set { return object.GetLabels() }

// labelsOf returns the labels of a namespace, if the policy needs them.
func (c *checker) labelsOf(ctx context.Context, allowed tenancy.Policy, name string) (map[string]string, error) {
	if !allowed.Restricts(name) {
		return nil, nil
	}
	namespace := &corev1.Namespace{}
	err := c.Client.Get(ctx, types.NamespacedName{Name: name}, namespace)
	return namespace.Labels, err
}

// bindingRequest is what a binding wants from its gateway, as far as its spec says.
func (c *checker) bindingRequest(ctx context.Context, binding *pluginBinding, allowed tenancy.Policy) (tenancy.Request, error) {
	request := tenancy.Request{
		Namespace: tenancy.Namespace{Name: binding.Namespace},
		Plugin:    string(binding.Spec.Plugin), Global: binding.Spec.Scope == nil,
		PluginID: string(binding.Status.PluginID),
		Acquired: binding.Status.PluginIDSource == v1alpha1.PluginIDAdopted,
	}
	var err error
	if request.Namespace.Labels, err = c.labelsOf(ctx, allowed, binding.Namespace); err != nil || !allowed.Restricts(binding.Namespace) || !allowed.NeedsRank() {
		return request, err
	}
	bindings := &v1alpha1.PluginBindingList{}
	if err := c.Client.List(ctx, bindings, client.InNamespace(binding.Namespace),
		client.MatchingFields{reference.IndexGateway: reference.GatewayOf(binding).String()}, client.UnsafeDisableDeepCopy); err != nil {
		return request, err
	}
	self := reference.Peer(binding)
	if self.Created.IsZero() {
		self.Created = c.Clock.Now()
	}
	peers := make([]tenancy.Peer, len(bindings.Items))
	for i := range bindings.Items {
		peers[i] = reference.Peer(&bindings.Items[i])
	}
	request.Rank = tenancy.Rank(self, peers)
	return request, nil
}
