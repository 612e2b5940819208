package processes

import (
	"context"
	"fmt"
	"strings"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// The policy of the scenarios, on an Ingress that Kong has as two routes.
const (
	policyName  = "limit"
	olderPolicy = "older"
	ingressName = "shop"
)

// Names of the calls for a policy.
const (
	kubeAddPolicyFinalizer    = "kube/add-policy-finalizer"
	kubeRemovePolicyFinalizer = "kube/remove-policy-finalizer"
	kubePatchPolicyStatus     = "kube/patch-policy-status"
	kubeApplyBinding          = "kube/apply-binding"
	kubeDeleteBinding         = "kube/delete-binding"
	kubeListBindings          = "kube/list-pluginbindings"
	kongListOfIngress         = "kong/list-routes-by-3-tags"
)

func init() {
	scenarios = append(scenarios, scenario{
		name:       "make the bindings of a policy",
		setup:      (*testEnv).startWithIngress,
		trigger:    func(env *testEnv) { env.create(env.policy()) },
		done:       (*testEnv).policyReady,
		required:   []string{kubeAddPolicyFinalizer, kongListOfIngress, kubeApplyBinding, kongCreatePlugin, kubePatchPolicyStatus},
		inShortRun: []string{kubeAddPolicyFinalizer, kubeApplyBinding, kubePatchPolicyStatus},
	}, scenario{
		name: "delete a policy",
		setup: func(env *testEnv) {
			env.startWithIngress()
			env.create(env.policy())
			env.eventually("the policy", env.policyReady)
			env.waitUntilIdle()
		},
		trigger: func(env *testEnv) { must(env.t, suite.client.Delete(context.Background(), env.policy())) },
		done: func(env *testEnv) error {
			if env.get(&v1alpha1.PluginPolicy{}, policyName) || len(env.bindings()) > 0 {
				return fmt.Errorf("the policy, or %d bindings, are left", len(env.bindings()))
			}
			return env.gatewayReady()
		},
		required:   []string{kubeListBindings, kubeDeleteBinding, kongDeletePlugin, kubeRemovePolicyFinalizer},
		inShortRun: []string{kubeListBindings, kubeDeleteBinding, kubeRemovePolicyFinalizer},
	}, scenario{
		name:       "an older policy takes the plugins over",
		setup:      (*testEnv).startWithRivals,
		trigger:    (*testEnv).giveTheOlderPolicyTheIngress,
		done:       (*testEnv).olderPolicyReady,
		required:   []string{kubeApplyBinding, kongPutPlugin, kubePatchBindingStatus, kubeDeleteBinding},
		inShortRun: []string{kongPutPlugin},
	})
}

// startWithRivals has the policy in force, and an older one that has nothing to do yet.
func (env *testEnv) startWithRivals() {
	env.t.Helper()
	env.startWithIngress()
	older := env.policy()
	older.Name, older.Spec.TargetRefs[0].Name = olderPolicy, "another"
	env.create(older)
	env.eventually("a second", func() error { // creation times have seconds
		if !time.Now().After(older.CreationTimestamp.Add(time.Second)) {
			return fmt.Errorf("not over")
		}
		return nil
	})
	env.create(env.policy())
	env.eventually("the policy", env.policyReady)
	env.waitUntilIdle()
}

func (env *testEnv) giveTheOlderPolicyTheIngress() {
	env.t.Helper()
	older := &v1alpha1.PluginPolicy{ObjectMeta: env.meta(olderPolicy)}
	patch := []byte(`{"spec":{"targetRefs":[{"group":"networking.k8s.io","kind":"Ingress","name":"` + ingressName + `"}]}}`)
	must(env.t, suite.client.Patch(context.Background(), older, client.RawPatch(types.MergePatchType, patch)))
}

// olderPolicyReady checks that the plugins belong to the older policy, and that the younger one has no
// bindings left.
func (env *testEnv) olderPolicyReady() error {
	for _, binding := range env.bindings() {
		if !strings.HasPrefix(binding.Name, olderPolicy) || binding.Spec.Replaces != nil {
			return fmt.Errorf("%s is left, or still replaces %+v", binding.Name, binding.Spec.Replaces)
		}
	}
	return env.ready(olderPolicy)
}

// startWithIngress starts the manager beside an Ingress, of which Kong's ingress controller has made two
// routes.
func (env *testEnv) startWithIngress() {
	env.t.Helper()
	for _, host := range []string{"a.example.com", "b.example.com"} {
		env.kong.Seed("routes", map[string]any{
			"name":  "team." + ingressName + ".orders." + host + ".80", // the same in every environment, and so the binding's
			"hosts": []any{host}, "service": map[string]any{"name": "orders"},
			"tags": []any{"k8s-name:" + ingressName, "k8s-namespace:" + env.namespace, "k8s-kind:Ingress", "managed-by-ingress-controller"},
		})
	}
	env.unmanagedRows = env.unmanaged()
	env.create(&networkingv1.Ingress{
		ObjectMeta: env.meta(ingressName),
		Spec: networkingv1.IngressSpec{DefaultBackend: &networkingv1.IngressBackend{
			Service: &networkingv1.IngressServiceBackend{Name: "orders", Port: networkingv1.ServiceBackendPort{Number: 80}},
		}},
	})
	env.startEmpty()
}

// policy declares what binding declares, on an Ingress.
func (env *testEnv) policy() *v1alpha1.PluginPolicy {
	spec := env.binding(bindingName).Spec
	return &v1alpha1.PluginPolicy{
		ObjectMeta: env.meta(policyName),
		Spec: v1alpha1.PluginPolicySpec{
			GatewayRef: spec.GatewayRef,
			TargetRefs: []v1alpha1.PolicyTargetRef{{Group: "networking.k8s.io", Kind: "Ingress", Name: ingressName}},
			Template: v1alpha1.PluginBindingTemplate{Spec: v1alpha1.PluginTemplateSpec{
				Plugin: spec.Plugin, Config: spec.Config, ConfigPatches: spec.ConfigPatches,
			}},
		},
	}
}

// policyReady checks that the policy is ready with one binding per route, and that these are.
func (env *testEnv) policyReady() error { return env.ready(policyName) }

func (env *testEnv) ready(policy string) error {
	p := &v1alpha1.PluginPolicy{}
	env.get(p, policy)
	counts := p.Status.Bindings
	if !meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady) || counts == nil || counts.Total != 2 || counts.Ready != 2 {
		return fmt.Errorf("the policy is not ready: %+v", p.Status)
	}
	return env.bindingsReady()
}
