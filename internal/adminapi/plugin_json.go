package adminapi

import (
	"bytes"
	"encoding/json"
	"maps"

	"github.com/kong/go-kong/kong"

	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// encodePlugin encodes the plugin without its ID, which belongs in the path, and without
// unset fields: the community edition of Kong refuses fields of the enterprise edition even
// if they are null.
func encodePlugin(op string, p plugin.Plugin) ([]byte, *Error) {
	if problem := textProblem(p.Name); problem != "" {
		return nil, invalid(op, "the plugin's name %s", problem)
	}
	fields := plugin.Body(p)
	delete(fields, "id")
	body, err := json.Marshal(fields)
	if err != nil { // its text can repeat values
		return nil, invalid(op, "the plugin cannot be encoded as JSON")
	}
	return body, nil
}

// pluginJSON is a plugin as Kong returns it. The type of go-kong lacks updated_at. Its fields for
// newer editions of Kong are shadowed, so that a form it does not expect does no harm.
type pluginJSON struct {
	kong.Plugin
	UpdatedAt *int64          `json:"updated_at"`
	RunOn     json.RawMessage `json:"run_on"`
	Condition json.RawMessage `json:"condition"`
	Partials  json.RawMessage `json:"partials"`

	// unknown holds every field that is not null and that the operator does not know, as JSON.
	unknown map[string]json.RawMessage
}

// knownFields are the fields of a plugin that plugin.Plugin has, and those that Kong sets and
// that mean nothing for what the plugin does.
var knownFields = map[string]bool{
	"id": true, "name": true, "instance_name": true, "enabled": true, "config": true,
	"service": true, "route": true, "consumer": true, "consumer_group": true,
	"protocols": true, "tags": true, "ordering": true, "created_at": true, "updated_at": true,
	"run_on": true, "ws_id": true,
}

func decodePluginJSON(raw []byte) (p pluginJSON, err error) {
	if err = json.Unmarshal(raw, &p); err != nil {
		return pluginJSON{}, err
	}
	p.unknown, err = unknownFields(raw)
	return p, err
}

// unknownFields returns every field of a plugin that is not null and not one of knownFields, as
// JSON. Most plugins have none, so it looks before it decodes the plugin a second time.
func unknownFields(raw []byte) (map[string]json.RawMessage, error) {
	if !mayHaveUnknownFields(raw) {
		return nil, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	maps.DeleteFunc(fields, func(name string, value json.RawMessage) bool {
		return knownFields[name] || bytes.Equal(value, []byte("null"))
	})
	if len(fields) == 0 {
		return nil, nil
	}
	return fields, nil
}

// mayHaveUnknownFields reports whether a JSON object has a key that is not one of knownFields. It
// takes a key with an escape for an unknown one.
func mayHaveUnknownFields(object []byte) bool {
	depth, atKey := 0, true
	for i := 0; i < len(object); i++ {
		switch object[i] {
		case '"':
			end := endOfString(object, i)
			if depth == 1 && atKey && !knownFields[string(object[i+1:end])] {
				return true
			}
			i = end
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ':':
			atKey = atKey && depth != 1
		case ',':
			atKey = atKey || depth == 1
		}
	}
	return false
}

// decodePlugin decodes one plugin. It refuses a plugin without an ID, a name, enabled, config
// or an ID for every entity of its scope. Kong always returns these; a plugin with a zero
// value instead would look as if somebody had changed it.
func decodePlugin(r request, resp response, raw []byte) (plugin.Plugin, *Error) {
	e, err := decodePluginJSON(raw)
	if err != nil {
		return plugin.Plugin{}, r.malformed(resp, "the response is not a plugin of Kong")
	}
	id, validID := uuid(value(e.ID))
	scope, validScope := decodeScope(e.Plugin)
	if !validID || !validScope || value(e.Name) == "" || e.Enabled == nil || e.Config == nil {
		return plugin.Plugin{}, r.malformed(resp, "Kong returned an incomplete plugin")
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
		Unknown:      plugin.UnknownFields(e.unknown),
		CreatedAt:    int64(value(e.CreatedAt)),
		UpdatedAt:    value(e.UpdatedAt),
	}, nil
}

// decodeScope also reports whether every entity in the scope has a valid ID.
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

// values returns the list without nulls. A nil list stays nil.
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
