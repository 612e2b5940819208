package handover

import (
	"context"
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// The names of the steps, which the journal keeps.
const (
	stepShadow        = "make plugins beside"
	stepShadowInForce = "plugins beside in force"
	stepTakeOver      = "take over"
	stepTakenOver     = "taken over"
	stepDetach        = "detach"
	stepGuard         = "guard"
	stepEndGuard      = "end the guard"
	stepRowsGone      = "ingress controller deletes its plugins"
	stepPolicy        = "make the policy"
	stepPolicyInForce = "policy in force"
	stepRemoveShadow  = "remove plugins beside"
)

// beforeSync are the steps up to the one after which the ingress controller has to act.
func (m *mover) beforeSync(i *Item) []step {
	var steps []step
	if i.Way != TakeOver {
		steps = append(steps, step{stepShadow, m.makeShadows}, step{stepShadowInForce, m.shadowsInForce})
	}
	if i.takesOver() {
		steps = append(steps, step{stepTakeOver, m.takeOver}, step{stepTakenOver, m.takenOver})
	}
	return append(steps, step{stepDetach, m.detach})
}

// afterSync are the other steps.
func (m *mover) afterSync(i *Item) []step {
	var steps []step
	if i.takesOver() {
		steps = append(steps, step{stepGuard, m.guard}, step{stepEndGuard, m.endGuard})
	} else {
		steps = append(steps, step{stepRowsGone, m.rowsGone})
	}
	if i.Way == Service {
		steps = append(steps, step{stepPolicy, m.makePolicy}, step{stepPolicyInForce, m.policyInForce})
	}
	if i.hasShadows() {
		steps = append(steps, step{stepRemoveShadow, m.removeShadows})
	}
	return steps
}

// makeShadows makes plugins beside the ingress controller's, each on a route together with its service.
func (m *mover) makeShadows(ctx context.Context, i *Item) error {
	template, err := m.templateNow(ctx, i)
	if err != nil {
		return err
	}
	if i.kindOf() == adminapi.Route {
		return m.wait(ctx, func(ctx context.Context) error {
			return m.create(ctx, i, i.policy(i.shadowName(), template, i.hasShadows()))
		})
	}
	routes, err := m.routesToCover(ctx, i)
	if err != nil {
		return err
	}
	for _, route := range routes {
		shadow := i.binding(i.part("shadow-", route.ID), template, shadowOn(route), true)
		if err := m.wait(ctx, func(ctx context.Context) error { return m.create(ctx, i, shadow) }); err != nil {
			return err
		}
	}
	return nil
}

// shadowsInForce waits until they are Ready and in Kong, and then until Kong has put them into traffic.
func (m *mover) shadowsInForce(ctx context.Context, i *Item) error {
	if i.kindOf() != adminapi.Route {
		return m.bindingsInForce(ctx, i, true)
	}
	if err := m.policyReady(ctx, i, i.shadowName()); err != nil {
		return err
	}
	err := m.wait(ctx, func(ctx context.Context) error {
		routes, err := m.entities(ctx, i)
		if err != nil {
			return err
		}
		var scopes []plugin.Scope
		for _, route := range routes {
			scopes = append(scopes, plugin.Scope{RouteID: route.ID, ServiceID: route.ServiceID})
		}
		return m.inForce(ctx, i, scopes)
	})
	if err != nil {
		return err
	}
	return m.pause(ctx, m.timing.InForce)
}

func (m *mover) bindingsInForce(ctx context.Context, i *Item, shadows bool) error {
	err := m.wait(ctx, func(ctx context.Context) error {
		bindings, err := m.bindingsOf(ctx, i, shadows)
		if err != nil {
			return err
		}
		for n := range bindings {
			if err := readiness(&bindings[n], bindings[n].Status.Conditions); err != nil {
				return err
			}
			if err := m.isOurs(ctx, string(bindings[n].Status.PluginID)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return m.pause(ctx, m.timing.InForce)
}

// isOurs is pending until Kong has the plugin with the operator's tags.
func (m *mover) isOurs(ctx context.Context, id string) error {
	p, err := m.kong.PluginByID(ctx, id)
	switch {
	case adminapi.IsNotFound(err):
		return pending("Kong has no plugin %s", id)
	case err != nil:
		return err
	case !owned(p):
		return pending("plugin %s is not the operator's", id)
	default:
		return nil
	}
}

// takeOver makes the bindings that take the ingress controller's plugins over, and asks the operator to
// guard them.
func (m *mover) takeOver(ctx context.Context, i *Item) error {
	template, err := m.template(ctx, i)
	if err != nil {
		return err
	}
	for _, binding := range i.finals(template) {
		if err := m.wait(ctx, func(ctx context.Context) error { return m.create(ctx, i, binding) }); err != nil {
			return err
		}
	}
	return m.guardFor(ctx, i)
}

// guardFor asks the operator to take the plugins back for some minutes more.
func (m *mover) guardFor(ctx context.Context, i *Item) error {
	bindings, err := m.bindingsOf(ctx, i, false)
	if err != nil {
		return err
	}
	for n := range bindings {
		err := edit(ctx, m.kube, &bindings[n], func(b *v1alpha1.PluginBinding) { b.Annotations[v1alpha1.TakeBackUntilAnnotation] = takeBackUntil() })
		if err != nil {
			return err
		}
	}
	return nil
}

// takenOver waits until every plugin of the ingress controller is a binding's.
func (m *mover) takenOver(ctx context.Context, i *Item) error {
	return m.wait(ctx, func(ctx context.Context) error {
		bindings, err := m.bindingsOf(ctx, i, false)
		if err != nil {
			return err
		}
		taken := map[string]bool{}
		for n := range bindings {
			if err := readiness(&bindings[n], bindings[n].Status.Conditions); err != nil {
				return err
			}
			taken[string(bindings[n].Status.PluginID)] = true
		}
		for _, row := range i.Rows {
			if !taken[row.ID] {
				return pending("no binding has plugin %s", row.ID)
			}
			if err := m.isOurs(ctx, row.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// detach removes the name of the KongPlugin, and nothing else, from the annotation.
func (m *mover) detach(ctx context.Context, i *Item) error {
	if i.takesOver() {
		if err := m.guardFor(ctx, i); err != nil {
			return err
		}
	}
	return m.setAttached(ctx, i, i.detached)
}

// guard watches the plugins until the ingress controller has had two syncs.
func (m *mover) guard(ctx context.Context, i *Item) error {
	if err := m.guardFor(ctx, i); err != nil {
		return err
	}
	since := time.Now()
	return m.wait(ctx, func(ctx context.Context) error {
		for _, row := range i.Rows {
			err := m.isOurs(ctx, row.ID)
			var open *pendingError
			switch {
			case errors.As(err, &open):
				since = time.Now()
				return err
			case err != nil:
				return err
			}
		}
		if time.Since(since) < m.timing.Guard {
			return pending("the ingress controller may not have seen it yet")
		}
		return nil
	})
}

// endGuard leaves the bindings as other people would have written them.
func (m *mover) endGuard(ctx context.Context, i *Item) error {
	bindings, err := m.bindingsOf(ctx, i, false)
	if err != nil {
		return err
	}
	for n := range bindings {
		err := edit(ctx, m.kube, &bindings[n], func(b *v1alpha1.PluginBinding) {
			delete(b.Annotations, v1alpha1.TakeBackUntilAnnotation)
			b.Spec.AdoptionPolicy = v1alpha1.AdoptIfIdentical
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rowsGone waits until the ingress controller has deleted its plugins.
func (m *mover) rowsGone(ctx context.Context, i *Item) error {
	return m.wait(ctx, func(ctx context.Context) error {
		rows, _, err := m.ingressRows(ctx, i)
		if err == nil && len(rows) > 0 {
			return pending("the ingress controller still has plugin %s; does it sync?", rows[0].ID)
		}
		return err
	})
}

// makePolicy makes the policy on a service, whose place the ingress controller has left.
func (m *mover) makePolicy(ctx context.Context, i *Item) error {
	template, err := m.template(ctx, i)
	if err != nil {
		return err
	}
	return m.wait(ctx, func(ctx context.Context) error { return m.create(ctx, i, i.policy(i.Name, template, false)) })
}

func (m *mover) policyInForce(ctx context.Context, i *Item) error {
	if err := m.policyReady(ctx, i, i.Name); err != nil {
		return err
	}
	err := m.wait(ctx, func(ctx context.Context) error {
		services, err := m.entities(ctx, i)
		if err != nil {
			return err
		}
		var scopes []plugin.Scope
		for _, service := range services {
			scopes = append(scopes, plugin.Scope{ServiceID: service.ID})
		}
		return m.inForce(ctx, i, scopes)
	})
	if err != nil {
		return err
	}
	return m.pause(ctx, m.timing.InForce)
}

// removeShadows deletes what stood beside for some time.
func (m *mover) removeShadows(ctx context.Context, i *Item) error {
	policy := &v1alpha1.PluginPolicy{}
	err := m.kube.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: i.shadowName()}, policy)
	switch {
	case err == nil && belongsTo(policy, i):
		if err := m.remove(ctx, policy); err != nil {
			return err
		}
	case client.IgnoreNotFound(err) != nil:
		return err
	}
	bindings, err := m.bindingsOf(ctx, i, true)
	if err != nil {
		return err
	}
	for n := range bindings {
		if err := m.remove(ctx, &bindings[n]); err != nil {
			return err
		}
	}
	return nil
}
