package adminapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"github.com/kong/go-kong/kong"

	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

const (
	opGetPlugin    = "get plugin"
	opListPlugins  = "list plugins"
	opCreatePlugin = "create plugin"
	opPutPlugin    = "put plugin"
	opDeletePlugin = "delete plugin"
)

// PluginByID returns the plugin with this ID. An answer with another ID is Unavailable.
func (c *Client) PluginByID(ctx context.Context, id string) (plugin.Plugin, error) {
	id, failed := idSegment(opGetPlugin, id)
	if failed != nil {
		return plugin.Plugin{}, failed
	}
	r := request{op: opGetPlugin, method: http.MethodGet, path: "/plugins/" + id}
	return c.onePlugin(ctx, r, http.StatusOK, func(p plugin.Plugin) bool { return p.ID == id })
}

// PluginByInstanceName returns the plugin with this instance_name. An answer with another
// one is Unavailable.
func (c *Client) PluginByInstanceName(ctx context.Context, name string) (plugin.Plugin, error) {
	segment, failed := endpointSegment(opGetPlugin, "instance name", name, "enabled")
	if failed != nil {
		return plugin.Plugin{}, failed
	}
	r := request{op: opGetPlugin, method: http.MethodGet, path: "/plugins/" + segment}
	return c.onePlugin(ctx, r, http.StatusOK, func(p plugin.Plugin) bool { return p.InstanceName == name })
}

// PluginsByTags returns all plugins that have all of the tags, one to five. Either the list
// was read to its end, or there is an error.
func (c *Client) PluginsByTags(ctx context.Context, tags []string) ([]plugin.Plugin, error) {
	var all []plugin.Plugin
	if err := c.VisitByTags(ctx, tags, func(p plugin.Plugin) { all = append(all, p) }); err != nil {
		return nil, err
	}
	return all, nil
}

// VisitByTags hands every plugin that has all of the tags, one to five, to visit, page by
// page, so that not all have to be kept. Only without an error was the list read to its end.
func (c *Client) VisitByTags(ctx context.Context, tags []string, visit func(plugin.Plugin)) error {
	filter, failed := tagsQuery(opListPlugins, tags)
	if failed != nil {
		return failed
	}
	failed = c.listPlugins(ctx, "/plugins", url.Values{"tags": {filter}}, func(p plugin.Plugin) bool {
		if hasAll(p.Tags, tags) { // should the filter have been lost on the way
			visit(p)
		}
		return true
	})
	if failed != nil {
		return failed
	}
	return nil
}

func hasAll(have, want []string) bool {
	for _, tag := range want {
		if !slices.Contains(have, tag) {
			return false
		}
	}
	return true
}

// PluginAt returns the plugin of this name on exactly this scope. Kong has no filter for
// that: the plugins of the narrowest entity of the scope are listed, all plugins for the
// global one. NotFound means that the list was read to its end, ReferenceMissing that an
// entity of the scope does not exist (Kong deleted its plugins together with it).
func (c *Client) PluginAt(ctx context.Context, name string, scope plugin.Scope) (plugin.Plugin, error) {
	if problem := textProblem(name); problem != "" {
		return plugin.Plugin{}, invalid(opListPlugins, "the plugin's name %s", problem)
	}
	scope, parent, failed := scopePath(scope)
	if failed != nil {
		return plugin.Plugin{}, failed
	}
	var found *plugin.Plugin
	failed = c.listPlugins(ctx, parent+"/plugins", nil, func(p plugin.Plugin) bool {
		if p.Name == name && p.Scope == scope {
			found = &p
		}
		return found == nil
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

// scopePath returns the scope with its IDs as Kong writes them, and the path of the entity
// in it that tends to have the fewest plugins.
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

// Create makes a new plugin, to which Kong assigns the ID; p.ID is not sent. After
// UnknownOutcome the plugin may exist, under an ID that nobody knows yet.
func (c *Client) Create(ctx context.Context, p plugin.Plugin) (plugin.Plugin, error) {
	body, failed := encodePlugin(opCreatePlugin, p)
	if failed != nil {
		return plugin.Plugin{}, failed
	}
	r := request{op: opCreatePlugin, method: http.MethodPost, path: "/plugins", body: body}
	return c.onePlugin(ctx, r, http.StatusCreated, func(got plugin.Plugin) bool { return got.Name == p.Name })
}

// Put makes the plugin with p.ID be exactly p, whether it exists or not; what p leaves out
// goes back to Kong's defaults. Whoever holds that ID is replaced: look first.
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

// Delete deletes the plugin with this ID, whosever it is; that there is none is no error.
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

// onePlugin makes a request that is answered with the plugin that was asked for.
func (c *Client) onePlugin(ctx context.Context, r request, want int, asked func(plugin.Plugin) bool) (plugin.Plugin, error) {
	a, failed := c.call(ctx, r, want)
	if failed != nil {
		return plugin.Plugin{}, failed
	}
	p, failed := decodePlugin(r, a, a.body)
	if failed != nil {
		return plugin.Plugin{}, failed
	}
	if !asked(p) {
		return plugin.Plugin{}, r.malformed(a, "Kong answered with another plugin")
	}
	return p, nil
}

// listPlugins hands every plugin of a list to visit, until that says that it is enough.
func (c *Client) listPlugins(ctx context.Context, path string, filter url.Values, visit func(plugin.Plugin) (more bool)) *Error {
	return c.list(ctx, opListPlugins, path, filter, func(r request, a response, row json.RawMessage) (bool, *Error) {
		p, failed := decodePlugin(r, a, row)
		if failed != nil {
			return false, failed
		}
		return visit(p), nil
	})
}

// encodePlugin writes the whole plugin without its ID, which belongs into the path, and
// without what is not set: Kong's community edition refuses fields of the enterprise
// edition even when they are null.
func encodePlugin(op string, p plugin.Plugin) ([]byte, *Error) {
	if problem := textProblem(p.Name); problem != "" {
		return nil, invalid(op, "the plugin's name %s", problem)
	}
	fields := plugin.Body(p)
	delete(fields, "id")
	body, err := json.Marshal(fields)
	if err != nil { // its text repeats values
		return nil, invalid(op, "the plugin cannot be written as JSON")
	}
	return body, nil
}

// entity is a plugin as Kong answers it; go-kong's type lacks updated_at.
type pluginJSON struct {
	kong.Plugin
	UpdatedAt *int64 `json:"updated_at"`
}

// decodePlugin reads one plugin. Whatever lacks what every plugin of Kong has is refused:
// an ID, a name, config, and an ID for every entity of its scope. Taking the lack for a
// value would make a plugin look as if somebody had changed it.
func decodePlugin(r request, a response, raw []byte) (plugin.Plugin, *Error) {
	var e pluginJSON
	if json.Unmarshal(raw, &e) != nil {
		return plugin.Plugin{}, r.malformed(a, "the answer is not a plugin of Kong")
	}
	id, validID := uuid(value(e.ID))
	scope, validScope := decodeScope(e.Plugin)
	if !validID || !validScope || value(e.Name) == "" || e.Enabled == nil || e.Config == nil {
		return plugin.Plugin{}, r.malformed(a, "Kong answered with an incomplete plugin")
	}
	return plugin.Plugin{
		ID:           id,
		Name:         value(e.Name),
		InstanceName: value(e.InstanceName),
		Scope:        scope,
		Enabled:      *e.Enabled,
		Protocols:    values(e.Protocols),
		Tags:         values(e.Tags),
		Ordering:     decodeOrdering(e.Ordering),
		Config:       e.Config,
		CreatedAt:    int64(value(e.CreatedAt)),
		UpdatedAt:    value(e.UpdatedAt),
	}, nil
}

// decodeScope says also whether every entity in it has a valid ID.
func decodeScope(p kong.Plugin) (s plugin.Scope, valid bool) {
	valid = true
	set := func(to, id *string) {
		var ok bool
		*to, ok = uuid(value(id))
		valid = valid && ok
	}
	if p.Service != nil {
		set(&s.ServiceID, p.Service.ID)
	}
	if p.Route != nil {
		set(&s.RouteID, p.Route.ID)
	}
	if p.Consumer != nil {
		set(&s.ConsumerID, p.Consumer.ID)
	}
	if p.ConsumerGroup != nil {
		set(&s.ConsumerGroupID, p.ConsumerGroup.ID)
	}
	return s, valid
}

func decodeOrdering(o *kong.PluginOrdering) map[string]map[string][]string {
	if o == nil {
		return nil
	}
	ordering := map[string]map[string][]string{}
	if len(o.Before) > 0 {
		ordering["before"] = o.Before
	}
	if len(o.After) > 0 {
		ordering["after"] = o.After
	}
	if len(ordering) == 0 {
		return nil
	}
	return ordering
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// values copies a list without its nulls; nil stays nil.
func values(list []*string) []string {
	if list == nil {
		return nil
	}
	all := make([]string, 0, len(list))
	for _, p := range list {
		if p != nil {
			all = append(all, *p)
		}
	}
	return all
}
