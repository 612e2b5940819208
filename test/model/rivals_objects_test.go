package model

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
)

func (w *rivalWorld) policyObject(i int, p *rivalPolicy) *v1alpha1.PluginPolicy {
	object := &v1alpha1.PluginPolicy{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: rivalNames[i], UID: "policy", CreationTimestamp: metav1.Time{Time: time.Unix(int64(i), 0)},
	}}
	object.Spec.GatewayRef.Name, object.Spec.Template.Spec.Plugin = "kong", "key-auth"
	target := "elsewhere"
	if p.names {
		target = "shop"
	}
	object.Spec.TargetRefs = []v1alpha1.PolicyTargetRef{{Group: "networking.k8s.io", Kind: "Ingress", Name: target}}
	return object
}

// childOf is the child of a policy that names the target.
func (w *rivalWorld) childOf(object *v1alpha1.PluginPolicy) []policy.Child {
	targets := w.targets(object)
	return policy.Children(object, targets)
}

func (w *rivalWorld) targets(object *v1alpha1.PluginPolicy) []policy.Target {
	targets := policy.Targets(object)
	targets[0].Known, targets[0].Presence = true, policy.Present
	if object.Spec.TargetRefs[0].Name == "shop" {
		targets[0].Entities = []connection.Selected{{ID: "r", Name: "r"}}
	}
	return targets
}

func pluginID(id uint8) v1alpha1.UUID {
	if id == 0 {
		return ""
	}
	return v1alpha1.UUID(fmt.Sprint(id))
}

// object is a binding as a policy sees it.
func (w *rivalWorld) object(i int, b *rivalBinding) *v1alpha1.PluginBinding {
	owner := w.policyObject(i, &rivalPolicy{names: true})
	binding := w.childOf(owner)[0].Binding(owner)
	binding.Status.PluginID = pluginID(b.plugin)
	if b.conflict != 0 {
		binding.Status.Conflict = &v1alpha1.ConflictStatus{PluginID: string(pluginID(b.conflict))}
	}
	if b.replaces {
		binding.Spec.Replaces = &v1alpha1.BindingRef{Name: w.nameOf(1 - i)}
	}
	if b.deleting {
		binding.DeletionTimestamp = &metav1.Time{Time: time.Unix(9, 0)}
	}
	return binding
}

func (w *rivalWorld) nameOf(i int) string {
	owner := w.policyObject(i, &rivalPolicy{names: true})
	return w.childOf(owner)[0].Name
}

// plan is what a policy does about what it has seen.
func (w *rivalWorld) plan(i int, p *rivalPolicy) (plan policy.Plan, conflicted bool) {
	object := w.policyObject(i, p)
	in := policy.Input{Policy: object, Targets: w.targets(object), Blocked: map[string]policy.Block{}}
	in.Children = policy.Children(object, in.Targets)
	var existing *v1alpha1.PluginBinding
	if p.seen[i].exists {
		in.Existing = []v1alpha1.PluginBinding{*w.object(i, &p.seen[i])}
		existing = &in.Existing[0]
	}
	for c := range in.Children {
		child := &in.Children[c]
		block := policy.Contend(object, child, existing, w.rivals(1-i, p))
		if w.protocol.replacesNobody {
			child.Replaces = nil
		}
		if w.protocol.deletesAtOnce && block.Passes {
			block.Passes, block.Yields = false, true
		}
		if block.Reason != "" {
			in.Blocked[child.Name], conflicted = block, true
		}
	}
	return policy.Decide(in), conflicted
}

func (w *rivalWorld) rivals(other int, p *rivalPolicy) []policy.Rival {
	if !p.seen[other].exists {
		return nil
	}
	return []policy.Rival{{
		Binding: w.object(other, &p.seen[other]), Claimant: "PluginPolicy shop/" + rivalNames[other],
		Created: time.Unix(int64(other), 0), ByPolicy: true, Leaving: p.seen[other].deleting || p.leave[other],
	}}
}
