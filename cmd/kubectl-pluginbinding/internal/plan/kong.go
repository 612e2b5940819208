package plan

import (
	"context"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// reads are the methods of connection.AdminClient that write nothing. A method that is added there
// is missing in draftKong until somebody has decided whether it writes.
type reads interface {
	Probe(ctx context.Context) (adminapi.Info, error)
	PluginByID(ctx context.Context, id string) (plugin.Plugin, error)
	PluginByInstanceName(ctx context.Context, instanceName string) (plugin.Plugin, error)
	PluginAt(ctx context.Context, name string, scope plugin.Scope) (plugin.Plugin, error)
	PluginsByTags(ctx context.Context, tags []string) ([]plugin.Plugin, error)
	VisitByTags(ctx context.Context, tags []string, visit func(plugin.Plugin)) error
	VisitAll(ctx context.Context, visit func(plugin.Plugin)) error
	Resolve(ctx context.Context, kind adminapi.EntityKind, ref adminapi.EntityRef) (adminapi.Entity, error)
	Entities(ctx context.Context, kind adminapi.EntityKind, wanted []adminapi.EntityRef) (map[adminapi.EntityRef]adminapi.Entity, error)
	EntitiesAndTagged(ctx context.Context, kind adminapi.EntityKind, wanted []adminapi.EntityRef, sets []adminapi.TagSet,
		visit func(adminapi.TagSet, adminapi.Entity)) (map[adminapi.EntityRef]adminapi.Entity, error)
	EntitiesByTags(ctx context.Context, kind adminapi.EntityKind, set adminapi.TagSet, visit func(adminapi.Entity)) error
	FirstEntities(ctx context.Context, kind adminapi.EntityKind, serviceID string, limit int) ([]adminapi.Entity, error)
	Schema(ctx context.Context, pluginName string) (*plugin.Schema, error)
	ValidateConfig(ctx context.Context, p plugin.Plugin) error
}

// draftKong is a Kong as it would be: it reads the live one and keeps what the operator writes.
type draftKong struct {
	reads
	changed func()

	mu sync.Mutex
	// plugins are those that were written, by ID; nil for a deleted one.
	plugins map[string]*plugin.Plugin
	// before are the same plugins as the live Kong has them; nil for one that it does not have.
	before map[string]*plugin.Plugin
}

var _ connection.AdminClient = &draftKong{}

func newDraftKong(live reads, changed func()) *draftKong {
	return &draftKong{reads: live, changed: changed, plugins: map[string]*plugin.Plugin{}, before: map[string]*plugin.Plugin{}}
}

func notFound(op string) error {
	return &adminapi.Error{Reason: adminapi.NotFound, Op: op, Status: 404, Message: "Not found"}
}

// written returns what was written under an ID.
func (d *draftKong) written(id string) (p *plugin.Plugin, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, ok = d.plugins[id]
	return p, ok
}

// find returns the written plugin that matches.
func (d *draftKong) find(matches func(*plugin.Plugin) bool) *plugin.Plugin {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.plugins {
		if p != nil && matches(p) {
			return p
		}
	}
	return nil
}

// PluginByID implements connection.AdminClient.
func (d *draftKong) PluginByID(ctx context.Context, id string) (plugin.Plugin, error) {
	p, ok := d.written(id)
	switch {
	case !ok:
		return d.reads.PluginByID(ctx, id)
	case p == nil:
		return plugin.Plugin{}, notFound("get plugin")
	default:
		return *p, nil
	}
}

// PluginByInstanceName implements connection.AdminClient.
func (d *draftKong) PluginByInstanceName(ctx context.Context, instanceName string) (plugin.Plugin, error) {
	if p := d.find(func(p *plugin.Plugin) bool { return p.InstanceName == instanceName }); p != nil {
		return *p, nil
	}
	return d.unlessWritten(d.reads.PluginByInstanceName(ctx, instanceName))
}

// PluginAt implements connection.AdminClient.
func (d *draftKong) PluginAt(ctx context.Context, name string, scope plugin.Scope) (plugin.Plugin, error) {
	if p := d.find(func(p *plugin.Plugin) bool { return p.Name == name && p.Scope == scope }); p != nil {
		return *p, nil
	}
	return d.unlessWritten(d.reads.PluginAt(ctx, name, scope))
}

// unlessWritten hides a live plugin that was written or deleted since.
func (d *draftKong) unlessWritten(live plugin.Plugin, err error) (plugin.Plugin, error) {
	if err != nil {
		return live, err
	}
	if _, ok := d.written(live.ID); ok {
		return plugin.Plugin{}, notFound("find plugin")
	}
	return live, nil
}

// PluginsByTags implements connection.AdminClient.
func (d *draftKong) PluginsByTags(ctx context.Context, tags []string) ([]plugin.Plugin, error) {
	var found []plugin.Plugin
	err := d.VisitByTags(ctx, tags, func(p plugin.Plugin) { found = append(found, p) })
	return found, err
}

// VisitByTags implements connection.AdminClient.
func (d *draftKong) VisitByTags(ctx context.Context, tags []string, visit func(plugin.Plugin)) error {
	return d.visit(visit, tags, func(visit func(plugin.Plugin)) error { return d.reads.VisitByTags(ctx, tags, visit) })
}

// VisitAll implements connection.AdminClient.
func (d *draftKong) VisitAll(ctx context.Context, visit func(plugin.Plugin)) error {
	return d.visit(visit, nil, func(visit func(plugin.Plugin)) error { return d.reads.VisitAll(ctx, visit) })
}

func (d *draftKong) visit(visit func(plugin.Plugin), tags []string, live func(func(plugin.Plugin)) error) error {
	err := live(func(p plugin.Plugin) {
		if _, ok := d.written(p.ID); !ok {
			visit(p)
		}
	})
	d.mu.Lock()
	written := make([]plugin.Plugin, 0, len(d.plugins))
	for _, p := range d.plugins {
		if p != nil && hasAll(p.Tags, tags) {
			written = append(written, *p)
		}
	}
	d.mu.Unlock()
	for i := range written {
		visit(written[i])
	}
	return err
}

func hasAll(tags, wanted []string) bool {
	for _, tag := range wanted {
		if !slices.Contains(tags, tag) {
			return false
		}
	}
	return true
}

// Create implements connection.AdminClient.
func (d *draftKong) Create(ctx context.Context, p plugin.Plugin) (plugin.Plugin, error) {
	p.ID = uuid.NewString()
	return d.write(ctx, p, nil)
}

// Put implements connection.AdminClient.
func (d *draftKong) Put(ctx context.Context, p plugin.Plugin) (plugin.Plugin, error) {
	before, err := d.live(ctx, p.ID)
	if err != nil {
		return p, err
	}
	return d.write(ctx, p, before)
}

// write keeps a plugin if Kong would accept it.
func (d *draftKong) write(ctx context.Context, p plugin.Plugin, before *plugin.Plugin) (plugin.Plugin, error) {
	if err := d.ValidateConfig(ctx, p); err != nil {
		return p, err
	}
	if err := d.checkUnique(ctx, p); err != nil {
		return p, err
	}
	d.keep(p.ID, &p, before)
	return p, nil
}

// checkUnique refuses what Kong refuses with 409.
func (d *draftKong) checkUnique(ctx context.Context, p plugin.Plugin) error {
	holder, err := d.PluginAt(ctx, p.Name, p.Scope)
	if err == nil && holder.ID == p.ID || adminapi.IsNotFound(err) {
		holder, err = d.PluginByInstanceName(ctx, p.InstanceName)
	}
	switch {
	case adminapi.IsNotFound(err), err == nil && holder.ID == p.ID:
		return nil
	case err != nil:
		return err
	default:
		return &adminapi.Error{Reason: adminapi.Conflict, Op: "write plugin", Status: 409, Message: "UNIQUE violation"}
	}
}

// Delete implements connection.AdminClient.
func (d *draftKong) Delete(ctx context.Context, id string) error {
	before, err := d.live(ctx, id)
	if err != nil {
		return err
	}
	d.keep(id, nil, before)
	return nil
}

// live returns the plugin in the live Kong, nil if there is none.
func (d *draftKong) live(ctx context.Context, id string) (*plugin.Plugin, error) {
	live, err := d.reads.PluginByID(ctx, id)
	if adminapi.IsNotFound(err) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, err
	}
	return &live, nil
}

func (d *draftKong) keep(id string, p, before *plugin.Plugin) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.plugins[id]; !known {
		d.before[id] = before
	}
	d.plugins[id] = p
	d.changed()
}

// change is what became of one plugin, nil where there is none. isWritten is false if the operator
// writes nothing.
func (d *draftKong) change(id string) (before, after *plugin.Plugin, isWritten bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	after, isWritten = d.plugins[id]
	return d.before[id], after, isWritten
}
