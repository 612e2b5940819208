package handover

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
)

// The names of the steps back.
const (
	stepReleaseFinal = "release the plugins"
	stepRemoveFinal  = "remove what it became"
	stepAttach       = "attach"
	stepReturnRows   = "return the plugins"
	stepRowsBack     = "ingress controller makes its plugins"
)

// back are the steps from wherever the item is to where it was. It looks which those are before the first
// of them is taken; the journal says which one an interrupted run had begun.
func (m *mover) back(ctx context.Context, i *Item) ([]step, error) {
	attached, err := m.attachedNow(ctx, i)
	if err != nil {
		return nil, err
	}
	home := []step{{stepAttach, m.attach}, {stepRowsBack, m.rowsBack}, {stepRemoveShadow, m.removeShadows}}
	if i.Way == Beside {
		return home, nil
	}
	if i.Way == TakeOver {
		return []step{{stepReleaseFinal, m.releaseFinals}, {stepAttach, m.attach}, {stepReturnRows, m.returnRows}, {stepRowsBack, m.rowsBack}}, nil
	}
	became, err := m.became(ctx, i)
	switch {
	case err != nil:
		return nil, err
	case attached && i.Way == SameID && (became || i.Step == stepReleaseFinal || i.Step == stepReturnRows):
		// The ingress controller has not been told, and does not miss its plugins.
		return []step{{stepReleaseFinal, m.releaseFinals}, {stepReturnRows, m.returnRows}, {stepRowsBack, m.rowsBack}, {stepRemoveShadow, m.removeShadows}}, nil
	case attached && !became: // nothing but the plugins beside was made
		return home, nil
	default:
		return append([]step{{stepShadow, m.makeShadows}, {stepShadowInForce, m.shadowsInForce}, {stepRemoveFinal, m.removeFinal}}, home...), nil
	}
}

// became reports whether what the item becomes exists.
func (m *mover) became(ctx context.Context, i *Item) (bool, error) {
	bindings, err := m.bindingsOf(ctx, i, false)
	if err != nil || len(bindings) > 0 {
		return len(bindings) > 0, err
	}
	if i.Way != Service {
		return false, nil
	}
	policy := &v1alpha1.PluginPolicy{}
	err = m.kube.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: i.Name}, policy)
	return err == nil && belongsTo(policy, i), client.IgnoreNotFound(err)
}

// templateNow is what is in force now, so that a plugin beside it changes nothing: that of what the item
// became, or of the KongPlugin.
func (m *mover) templateNow(ctx context.Context, i *Item) (*v1alpha1.PluginTemplateSpec, error) {
	bindings, err := m.bindingsOf(ctx, i, false)
	if err != nil {
		return nil, err
	}
	if len(bindings) > 0 {
		template := templateOf(&bindings[0].Spec)
		return &template, nil
	}
	policy := &v1alpha1.PluginPolicy{}
	err = m.kube.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: i.Name}, policy)
	switch {
	case err == nil && belongsTo(policy, i):
		return &policy.Spec.Template.Spec, nil
	case client.IgnoreNotFound(err) != nil:
		return nil, err
	default:
		return m.template(ctx, i)
	}
}

// attach puts the name of the KongPlugin back into the annotation.
func (m *mover) attach(ctx context.Context, i *Item) error {
	return m.setAttached(ctx, i, i.attached)
}

// rowsBack waits until the ingress controller has a plugin on everything that it made of the object, and
// until Kong has put it into traffic.
func (m *mover) rowsBack(ctx context.Context, i *Item) error {
	err := m.wait(ctx, func(ctx context.Context) error {
		rows, entities, err := m.ingressRows(ctx, i)
		switch {
		case err != nil:
			return err
		case i.Object == nil && len(rows) == 0, len(rows) < len(entities):
			return pending("the ingress controller has %d plugins, and not one on each of %d %ss; does it sync?", len(rows), len(entities), i.kindOf())
		default:
			return nil
		}
	})
	if err != nil {
		return err
	}
	return m.pause(ctx, m.timing.InForce)
}

// removeFinal deletes what the item became, while plugins beside it are in force.
func (m *mover) removeFinal(ctx context.Context, i *Item) error {
	bindings, err := m.bindingsOf(ctx, i, false)
	if err != nil {
		return err
	}
	for n := range bindings {
		if err := m.remove(ctx, &bindings[n]); err != nil {
			return err
		}
	}
	if i.Way != Service {
		return nil
	}
	policy := &v1alpha1.PluginPolicy{}
	err = m.kube.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: i.Name}, policy)
	if apierrors.IsNotFound(err) || err == nil && !belongsTo(policy, i) {
		return nil
	}
	if err != nil {
		return err
	}
	return m.remove(ctx, policy)
}

// releaseFinals deletes the bindings and leaves their plugins in Kong, in force and without an owner.
func (m *mover) releaseFinals(ctx context.Context, i *Item) error {
	bindings, err := m.bindingsOf(ctx, i, false)
	if err != nil {
		return err
	}
	for n := range bindings {
		binding := &bindings[n]
		if err := m.noteRow(ctx, i, string(binding.Status.PluginID)); err != nil {
			return err
		}
		err := edit(ctx, m.kube, binding, func(b *v1alpha1.PluginBinding) {
			b.Spec.DeletionPolicy = v1alpha1.OrphanPlugin
			delete(b.Annotations, v1alpha1.TakeBackUntilAnnotation)
		})
		if err != nil {
			return err
		}
		if err := m.remove(ctx, binding); err != nil {
			return err
		}
	}
	return nil
}

// noteRow remembers a plugin that is released, with the tags of the KongPlugin.
func (m *mover) noteRow(ctx context.Context, i *Item, id string) error {
	for _, row := range i.Rows {
		if row.ID == id || id == "" {
			return nil
		}
	}
	object, err := m.kongPluginOf(ctx, i)
	if err != nil {
		return err
	}
	tags := append(tagsOf(i.KongPlugin.object()), "k8s-uid:"+string(object.GetUID()), "k8s-group:"+kic.Group, "k8s-version:"+kic.Version, m.tag)
	return m.journal.change(ctx, func(*content) { i.Rows = append(i.Rows, Row{ID: id, Tags: tags}) })
}

// returnRows gives the ingress controller the plugins whose IDs it would not choose: those it cannot find
// without its tags. The annotation is on by now, so that it keeps them.
func (m *mover) returnRows(ctx context.Context, i *Item) error {
	if err := m.pause(ctx, m.timing.Sync); err != nil {
		return err
	}
	for _, row := range i.Rows {
		p, err := m.kong.PluginByID(ctx, row.ID)
		switch {
		case adminapi.IsNotFound(err):
			continue
		case err != nil:
			return err
		case !identity.OwnerOf(p.Tags).IsZero() || len(row.Tags) == 0:
			continue // the ingress controller's again, or somebody else's
		}
		p.Tags, p.InstanceName = row.Tags, ""
		if _, err := m.kong.Put(ctx, p); err != nil {
			return fmt.Errorf("plugin %s cannot be given back: %w", row.ID, err)
		}
	}
	return nil
}
