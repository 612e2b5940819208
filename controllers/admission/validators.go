package admission

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

type (
	pluginBinding = v1alpha1.PluginBinding
	pluginPolicy  = v1alpha1.PluginPolicy
)

// bindingValidator validates PluginBindings.
type bindingValidator struct{ *checker }

// ValidateCreate implements admission.Validator.
func (v bindingValidator) ValidateCreate(ctx context.Context, binding *pluginBinding) (admission.Warnings, error) {
	return v.validate(ctx, nil, binding)
}

// ValidateUpdate implements admission.Validator. An update that changes nothing that concerns Kong is
// admitted, also if Kong would refuse the object: it was there before.
func (v bindingValidator) ValidateUpdate(ctx context.Context, before, binding *pluginBinding) (admission.Warnings, error) {
	return v.validate(ctx, before, binding)
}

// ValidateDelete implements admission.Validator.
func (bindingValidator) ValidateDelete(context.Context, *pluginBinding) (admission.Warnings, error) {
	return nil, nil
}

func (v bindingValidator) validate(ctx context.Context, before, binding *pluginBinding) (admission.Warnings, error) {
	if !v.manages(binding) || reference.PolicyOf(binding) != nil { // the template of the policy was checked
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	s := subject{
		namespace: binding.Namespace, gateway: reference.GatewayOf(binding),
		spec: &binding.Spec, root: field.NewPath("spec"),
		request: func(allowed tenancy.Policy) (tenancy.Request, error) { return v.bindingRequest(ctx, binding, allowed) },
		changed: before == nil || !sameContent(&before.Spec, &binding.Spec),
	}
	moved := before == nil || !equality.Semantic.DeepEqual(before.Spec.Scope, binding.Spec.Scope)
	if moved {
		s.place = v.placeOf(binding)
	}
	s.conflicts = func() []string {
		if !moved && !s.changed {
			return nil
		}
		return v.conflicts(ctx, binding)
	}
	warnings, problems := v.check(ctx, s)
	if len(problems) > 0 {
		return warnings, apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("PluginBinding").GroupKind(), binding.Name, problems)
	}
	return warnings, nil
}

// policyValidator validates PluginPolicies by their templates.
type policyValidator struct{ *checker }

// ValidateCreate implements admission.Validator.
func (v policyValidator) ValidateCreate(ctx context.Context, p *pluginPolicy) (admission.Warnings, error) {
	return v.validate(ctx, nil, p)
}

// ValidateUpdate implements admission.Validator, see that of bindings.
func (v policyValidator) ValidateUpdate(ctx context.Context, before, p *pluginPolicy) (admission.Warnings, error) {
	return v.validate(ctx, before, p)
}

// ValidateDelete implements admission.Validator.
func (policyValidator) ValidateDelete(context.Context, *pluginPolicy) (admission.Warnings, error) {
	return nil, nil
}

func (v policyValidator) validate(ctx context.Context, before, p *pluginPolicy) (admission.Warnings, error) {
	if !v.manages(p) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	spec := templateOf(p)
	var place *place
	if before == nil || !equality.Semantic.DeepEqual(before.Spec.TargetRefs, p.Spec.TargetRefs) ||
		!equality.Semantic.DeepEqual(before.Spec.Template.Spec.Scope, p.Spec.Template.Spec.Scope) {
		place = placeOfPolicy(p)
	}
	warnings, problems := v.check(ctx, subject{
		namespace: p.Namespace, gateway: reference.GatewayOfPolicy(p),
		spec: spec, root: field.NewPath("spec", "template", "spec"),
		request: func(allowed tenancy.Policy) (tenancy.Request, error) {
			labels, err := v.labelsOf(ctx, allowed, p.Namespace)
			return policy.Request(p, labels), err
		},
		changed: before == nil || !sameContent(templateOf(before), spec), place: place,
	})
	if len(problems) > 0 {
		return warnings, apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("PluginPolicy").GroupKind(), p.Name, problems)
	}
	return warnings, nil
}

// templateOf is the spec of the bindings that a policy makes, without a scope.
func templateOf(p *pluginPolicy) *v1alpha1.PluginBindingSpec { return &policy.Child{}.Binding(p).Spec }

// sameContent reports whether two specs mean the same for Kong's schema. A field that is new in the
// API counts until it is listed here.
func sameContent(a, b *v1alpha1.PluginBindingSpec) bool {
	x, y := *a, *b
	for _, s := range []*v1alpha1.PluginBindingSpec{&x, &y} {
		s.Scope, s.Enabled, s.PluginID, s.Replaces, s.AllowReplacementFrom = nil, nil, "", nil, nil
		s.AdoptionPolicy, s.DeletionPolicy, s.ManagementPolicy = "", "", ""
	}
	return equality.Semantic.DeepEqual(x, y)
}

// manages reports whether the object is this operator's and stays. Another one may have another
// selector or other namespaces.
func (c *checker) manages(object client.Object) bool {
	return object.GetDeletionTimestamp().IsZero() && c.watches(object.GetNamespace()) &&
		(c.Selector == nil || c.Selector.Empty() || c.Selector.Matches(labelsOf(object)))
}
