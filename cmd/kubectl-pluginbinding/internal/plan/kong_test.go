package plan

import (
	"context"
	"slices"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// liveKong has some plugins, and accepts all but one of a name.
type liveKong struct {
	reads
	plugins []plugin.Plugin
}

func (l *liveKong) find(matches func(plugin.Plugin) bool) (plugin.Plugin, error) {
	if i := slices.IndexFunc(l.plugins, matches); i >= 0 {
		return l.plugins[i], nil
	}
	return plugin.Plugin{}, notFound("find")
}

func (l *liveKong) PluginByID(_ context.Context, id string) (plugin.Plugin, error) {
	return l.find(func(p plugin.Plugin) bool { return p.ID == id })
}

func (l *liveKong) PluginByInstanceName(_ context.Context, name string) (plugin.Plugin, error) {
	return l.find(func(p plugin.Plugin) bool { return p.InstanceName == name })
}

func (l *liveKong) PluginAt(_ context.Context, name string, scope plugin.Scope) (plugin.Plugin, error) {
	return l.find(func(p plugin.Plugin) bool { return p.Name == name && p.Scope == scope })
}

func (l *liveKong) VisitByTags(_ context.Context, tags []string, visit func(plugin.Plugin)) error {
	for _, p := range l.plugins {
		if hasAll(p.Tags, tags) {
			visit(p)
		}
	}
	return nil
}

func (l *liveKong) ValidateConfig(_ context.Context, p plugin.Plugin) error {
	if p.Name == "refused" {
		return &adminapi.Error{Reason: adminapi.Rejected}
	}
	return nil
}

func draft(changes *int, plugins ...plugin.Plugin) *draftKong {
	return newDraftKong(&liveKong{plugins: plugins}, func() { *changes++ })
}

var there = plugin.Plugin{ID: "1", Name: "acl", InstanceName: "one", Scope: plugin.Scope{ServiceID: "s"}, Tags: []string{"a", "b"}}

func TestADraftShowsWhatWasWritten(t *testing.T) {
	ctx, changes := t.Context(), 0
	d := draft(&changes, there)
	moved := there
	moved.Scope, moved.InstanceName, moved.Tags = plugin.Scope{RouteID: "r"}, "two", []string{"a"}
	if _, err := d.Put(ctx, moved); err != nil || changes != 1 {
		t.Fatal(err, changes)
	}
	if p, err := d.PluginByID(ctx, "1"); err != nil || p.InstanceName != "two" {
		t.Error(p, err)
	}
	if p, err := d.PluginAt(ctx, "acl", moved.Scope); err != nil || p.ID != "1" {
		t.Error(p, err)
	}
	if _, err := d.PluginAt(ctx, "acl", there.Scope); !adminapi.IsNotFound(err) {
		t.Error("the plugin is still where it was")
	}
	if _, err := d.PluginByInstanceName(ctx, "one"); !adminapi.IsNotFound(err) {
		t.Error("the plugin still has its old name")
	}
	if tagged, err := d.PluginsByTags(ctx, []string{"b"}); err != nil || len(tagged) != 0 {
		t.Error("the plugin still has its old tags")
	}
	if tagged, err := d.PluginsByTags(ctx, []string{"a"}); err != nil || len(tagged) != 1 {
		t.Error(tagged, err)
	}
	if before, after, written := d.change("1"); !written || before.InstanceName != "one" || after.InstanceName != "two" {
		t.Error(before, after, written)
	}
}

func TestADraftRefusesWhatKongRefuses(t *testing.T) {
	ctx, changes := t.Context(), 0
	d := draft(&changes, there)
	for name, p := range map[string]plugin.Plugin{
		"place": {Name: "acl", InstanceName: "new", Scope: there.Scope},
		"name":  {Name: "acl", InstanceName: "one", Scope: plugin.Scope{RouteID: "r"}},
	} {
		if _, err := d.Create(ctx, p); adminapi.ReasonForError(err) != adminapi.Conflict {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.Create(ctx, plugin.Plugin{Name: "refused"}); adminapi.ReasonForError(err) != adminapi.Rejected {
		t.Error(err)
	}
	if changes != 0 {
		t.Error("a refused write was kept")
	}
}

func TestADraftForgetsWhatWasDeleted(t *testing.T) {
	ctx, changes := t.Context(), 0
	d := draft(&changes, there)
	if err := d.Delete(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.PluginByID(ctx, "1"); !adminapi.IsNotFound(err) {
		t.Error(err)
	}
	created, err := d.Create(ctx, plugin.Plugin{Name: "acl", InstanceName: "one", Scope: there.Scope})
	if err != nil || created.ID == "" {
		t.Error(created, err)
	}
	if before, after, written := d.change("1"); !written || before == nil || after != nil {
		t.Error(before, after, written)
	}
}

func TestFieldsOf(t *testing.T) {
	got := fieldsOf([]note{
		{"Updated", "plugin 1 was updated in config.minute, tags"},
		{"DriftCorrected", "plugin 1 differed in config.hour and is as declared again"},
		{"Created", "Kong created plugin 1"},
	})
	if want := []string{"config.hour", "config.minute", "tags"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
