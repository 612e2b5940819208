package handover

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
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
		return []step{{stepReleaseFinal, m.releaseFinals}, {stepAttach, m.returnAndAttach}, {stepReturnRows, m.returnRows}, {stepRowsBack, m.rowsBack}}, nil
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

// returnAndAttach is attach for plugins that have nothing beside them. Those whose ID the ingress controller
// would not choose get its tags first. Otherwise Kong would refuse its own plugin, and its next sync, of
// what succeeded last, would delete what has its tags. It would do that as well if it synced between the
// two writes, and so they follow each other at once.
func (m *mover) returnAndAttach(ctx context.Context, i *Item) error {
	chosen, err := m.chosenIDs(ctx, i)
	if err != nil {
		return err
	}
	given, err := m.giveBack(ctx, i, func(row Row) bool { return !chosen[row.ID] })
	if err == nil {
		err = m.attach(ctx, i)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	for _, p := range given { // the ingress controller must not find them
		p.Tags = nil
		if _, failed := m.kong.Put(ctx, p); failed != nil {
			err = errors.Join(err, failed)
		}
	}
	return err
}

// chosenIDs are the IDs that the ingress controller gives the item's plugins.
func (m *mover) chosenIDs(ctx context.Context, i *Item) (map[string]bool, error) {
	if i.Object == nil {
		return map[string]bool{kic.PluginID(m.workspace, i.Plugin, kic.ScopeNames{}): true}, nil
	}
	entities, err := m.entities(ctx, i)
	chosen := map[string]bool{}
	for _, e := range entities {
		scope := kic.ScopeNames{Consumer: e.Name}
		if i.kindOf() == adminapi.ConsumerGroup {
			scope = kic.ScopeNames{ConsumerGroup: e.Name}
		}
		chosen[kic.PluginID(m.workspace, i.Plugin, scope)] = true
	}
	return chosen, err
}

// returnRows gives the ingress controller the plugins that it has not taken itself: those that it cannot
// find without its tags. The annotation is on by now, so that it keeps them.
func (m *mover) returnRows(ctx context.Context, i *Item) error {
	if err := m.pause(ctx, m.timing.Sync); err != nil {
		return err
	}
	_, err := m.giveBack(ctx, i, func(Row) bool { return true })
	return err
}

// giveBack puts the ingress controller's tags on those of its former plugins that nobody owns.
func (m *mover) giveBack(ctx context.Context, i *Item, selected func(Row) bool) (given []plugin.Plugin, err error) {
	for _, row := range i.Rows {
		if !selected(row) {
			continue
		}
		p, err := m.kong.PluginByID(ctx, row.ID)
		switch {
		case adminapi.IsNotFound(err):
			continue
		case err != nil:
			return given, err
		case !identity.OwnerOf(p.Tags).IsZero() || len(row.Tags) == 0:
			continue // the ingress controller's again, or somebody else's
		}
		p.Tags, p.InstanceName = row.Tags, ""
		if p, err = m.kong.Put(ctx, p); err != nil {
			return given, fmt.Errorf("plugin %s cannot be given back: %w", row.ID, err)
		}
		given = append(given, p)
	}
	return given, nil
}
