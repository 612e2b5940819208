package adminapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

const (
	opGetPlugin    = "get plugin"
	opListPlugins  = "list plugins"
	opCreatePlugin = "create plugin"
	opPutPlugin    = "put plugin"
	opDeletePlugin = "delete plugin"

	opValidatePlugin = "validate plugin"
)

// PluginByID returns the plugin with this ID. A response with another ID is Unavailable.
func (c *Client) PluginByID(ctx context.Context, id string) (plugin.Plugin, error) {
	id, failed := idSegment(opGetPlugin, id)
	if failed != nil {
		return plugin.Plugin{}, failed
	}
	r := request{op: opGetPlugin, method: http.MethodGet, path: "/plugins/" + id}
	return c.onePlugin(ctx, r, http.StatusOK, func(p plugin.Plugin) bool { return p.ID == id })
}

// PluginByInstanceName returns the plugin with this instance_name. A response with another
// instance_name is Unavailable.
func (c *Client) PluginByInstanceName(ctx context.Context, name string) (plugin.Plugin, error) {
	segment, failed := endpointSegment(opGetPlugin, "instance name", name, "enabled")
	if failed != nil {
		return plugin.Plugin{}, failed
	}
	r := request{op: opGetPlugin, method: http.MethodGet, path: "/plugins/" + segment}
	return c.onePlugin(ctx, r, http.StatusOK, func(p plugin.Plugin) bool { return p.InstanceName == name })
}

// PluginsByTags returns the plugins that carry all of the tags, one to five. It returns
// either the complete list or an error. More than 1,000 plugins or 16 MiB are an error: use
// VisitByTags for those.
func (c *Client) PluginsByTags(ctx context.Context, tags []string) ([]plugin.Plugin, error) {
	var all []plugin.Plugin
	size := 0
	failed := c.visitByTags(ctx, tags, func(p plugin.Plugin, raw json.RawMessage) *Error {
		size += len(raw)
		if len(all) == maxPluginsByTags || size > maxBytesByTags {
			return &Error{Reason: Unavailable, Op: opListPlugins, Message: fmt.Sprintf("more than %d plugins, or %d MiB of plugins, carry these tags", maxPluginsByTags, maxBytesByTags>>20)}
		}
		all = append(all, p)
		return nil
	})
	if failed != nil {
		return nil, failed
	}
	return all, nil
}

// VisitByTags passes every plugin that carries all of the tags, one to five, to visit. It
// holds one page at a time. If it returns an error, the list is incomplete. That includes a list
// of more than 200,000 plugins, 4,000 pages or 1 GiB, and one that takes longer than 12 request
// time-outs (at least 30 s, and some more for a low rate limit).
func (c *Client) VisitByTags(ctx context.Context, tags []string, visit func(plugin.Plugin)) error {
	failed := c.visitByTags(withPriority(ctx, resyncing), tags, func(p plugin.Plugin, _ json.RawMessage) *Error {
		visit(p)
		return nil
	})
	if failed != nil {
		return failed
	}
	return nil
}

// VisitAll is VisitByTags for every plugin of the workspace, whatever its tags.
func (c *Client) VisitAll(ctx context.Context, visit func(plugin.Plugin)) error {
	failed := c.listPlugins(withPriority(ctx, resyncing), "/plugins", nil, func(p plugin.Plugin, _ json.RawMessage) (bool, *Error) {
		visit(p)
		return true, nil
	})
	if failed != nil {
		return failed
	}
	return nil
}

func (c *Client) visitByTags(ctx context.Context, tags []string, visit func(plugin.Plugin, json.RawMessage) *Error) *Error {
	filter, failed := tagsQuery(opListPlugins, tags)
	if failed != nil {
		return failed
	}
	return c.listPlugins(ctx, "/plugins", url.Values{"tags": {filter}}, func(p plugin.Plugin, raw json.RawMessage) (bool, *Error) {
		if !hasAll(p.Tags, tags) { // a proxy may drop the filter
			return true, nil
		}
		return true, visit(p, raw)
	})
}

func hasAll(have, want []string) bool {
	for _, tag := range want {
		if !slices.Contains(have, tag) {
			return false
		}
	}
	return true
}

// PluginAt returns the plugin with this name and exactly this scope. Kong has no filter for
// that. PluginAt lists the plugins of the narrowest entity of the scope, or all plugins for
// the global scope. NotFound means that the complete list holds no such plugin.
// ReferenceMissing means that an entity of the scope does not exist; Kong deletes the plugins
// of an entity together with it.
func (c *Client) PluginAt(ctx context.Context, name string, scope plugin.Scope) (plugin.Plugin, error) {
	if problem := textProblem(name); problem != "" {
		return plugin.Plugin{}, invalid(opListPlugins, "the plugin's name %s", problem)
	}
	scope, parent, failed := scopePath(scope)
	if failed != nil {
		return plugin.Plugin{}, failed
	}
	var found *plugin.Plugin
	failed = c.listPlugins(ctx, parent+"/plugins", nil, func(p plugin.Plugin, _ json.RawMessage) (bool, *Error) {
		if p.Name == name && p.Scope == scope {
			found = &p
		}
		return found == nil, nil
	})
	switch {
	case failed != nil && failed.Reason == NotFound && parent != "":
		failed.Reason, failed.Message = ReferenceMissing, "the entity of the scope does not exist"
		return plugin.Plugin{}, failed
	case failed != nil:
		return plugin.Plugin{}, failed
	case found == nil:
		return plugin.Plugin{}, c.absent(opListPlugins, "plugin on this scope")
	}
	return *found, nil
}

// scopePath returns the scope with its IDs in lower case, and the path of the entity in it
// that usually has the fewest plugins.
func scopePath(s plugin.Scope) (scope plugin.Scope, path string, failed *Error) {
	for _, dimension := range []struct {
		collection string
		id         *string
	}{
		{"/consumers/", &s.ConsumerID}, {"/routes/", &s.RouteID},
		{"/services/", &s.ServiceID}, {"/consumer_groups/", &s.ConsumerGroupID},
	} {
		if *dimension.id == "" {
			continue
		}
		if *dimension.id, failed = idSegment(opListPlugins, *dimension.id); failed != nil {
			return s, "", failed
		}
		if path == "" {
			path = dimension.collection + *dimension.id
		}
	}
	return s, path, nil
}

// Create creates a plugin and returns it as Kong stored it. Kong assigns the ID; Create does
// not send p.ID. After UnknownOutcome the plugin may exist under an unknown ID.
func (c *Client) Create(ctx context.Context, p plugin.Plugin) (plugin.Plugin, error) {
	body, failed := encodePlugin(opCreatePlugin, p)
	if failed != nil {
		return plugin.Plugin{}, failed
	}
	r := request{op: opCreatePlugin, method: http.MethodPost, path: "/plugins", body: body}
	return c.onePlugin(ctx, r, http.StatusCreated, func(got plugin.Plugin) bool { return got.Name == p.Name })
}

// Put replaces the plugin with ID p.ID, or creates it under that ID, and returns it as Kong
// stored it. Kong resets what p leaves out to its defaults. Put replaces any plugin with that
// ID, so callers read it first.
func (c *Client) Put(ctx context.Context, p plugin.Plugin) (plugin.Plugin, error) {
	id, failed := idSegment(opPutPlugin, p.ID)
	if failed != nil {
		return plugin.Plugin{}, failed
	}
	body, failed := encodePlugin(opPutPlugin, p)
	if failed != nil {
		return plugin.Plugin{}, failed
	}
	r := request{op: opPutPlugin, method: http.MethodPut, path: "/plugins/" + id, body: body}
	return c.onePlugin(ctx, r, http.StatusOK, func(got plugin.Plugin) bool { return got.ID == id && got.Name == p.Name })
}

// Delete deletes the plugin with this ID, whoever owns it. A missing plugin is no error.
func (c *Client) Delete(ctx context.Context, id string) error {
	id, failed := idSegment(opDeletePlugin, id)
	if failed != nil {
		return failed
	}
	r := request{op: opDeletePlugin, method: http.MethodDelete, path: "/plugins/" + id}
	if _, failed = c.call(ctx, r, http.StatusNoContent); failed != nil {
		return failed
	}
	return nil
}

// ValidateConfig asks Kong whether it would accept the plugin, without writing anything: nil means
// yes, and Rejected that its schema refuses the plugin. Kong checks neither whether the entities of
// the scope exist nor whether the name and scope are taken. A process that is not the leader may
// validate as well.
func (c *Client) ValidateConfig(ctx context.Context, p plugin.Plugin) error {
	p.ScopeNames = plugin.ScopeNames{} // Kong does not resolve names here
	body, failed := encodePlugin(opValidatePlugin, p)
	if failed != nil {
		return failed
	}
	r := request{op: opValidatePlugin, method: http.MethodPost, path: "/schemas/plugins/validate", body: body, readOnly: true, limit: maxValidationBody}
	resp, failed := c.call(ctx, r, http.StatusOK)
	switch {
	case failed != nil && failed.Reason == NotFound:
		failed.Reason, failed.Message = Unavailable, "this Admin API cannot validate plugins"
		return failed
	case failed != nil:
		return failed
	case !resp.isExactly("schema validation successful"):
		return r.malformed(resp, "the response is not the result of a validation")
	}
	return nil
}

// onePlugin sends a request and returns the plugin in the response. matches reports whether
// it is the requested one.
func (c *Client) onePlugin(ctx context.Context, r request, want int, matches func(plugin.Plugin) bool) (plugin.Plugin, error) {
	resp, failed := c.call(ctx, r, want)
	if failed != nil {
		return plugin.Plugin{}, failed
	}
	p, failed := decodePlugin(r, resp, resp.body)
	if failed != nil {
		return plugin.Plugin{}, failed
	}
	if !matches(p) {
		return plugin.Plugin{}, r.malformed(resp, "Kong returned another plugin")
	}
	return p, nil
}

// listPlugins passes every plugin of a list to visit, until visit returns false.
func (c *Client) listPlugins(ctx context.Context, path string, filter url.Values, visit func(plugin.Plugin, json.RawMessage) (bool, *Error)) *Error {
	return c.readList(ctx, list{op: opListPlugins, path: path, filter: filter, maxRows: maxPlugins, visit: func(r request, resp response, row json.RawMessage) (bool, *Error) {
		p, failed := decodePlugin(r, resp, row)
		if failed != nil {
			return false, failed
		}
		return visit(p, row)
	}})
}
