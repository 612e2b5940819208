package plugin

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
)

// UnknownFields returns the fields of a plugin entity, as Kong answers it, that only some
// versions of Kong have and that are set, for Plugin.Unknown; nil if there are none. A binding
// can declare some of them, condition and partials of the enterprise edition. Nothing else is
// known of the others. A field that is null, an empty list or an empty object is not set.
func UnknownFields(entity map[string]json.RawMessage) map[string]json.RawMessage {
	var unknown map[string]json.RawMessage
	for name, raw := range entity {
		if slices.Contains(entityFields, name) || empty(decodedJSON(raw)) {
			continue
		}
		if unknown == nil {
			unknown = map[string]json.RawMessage{}
		}
		unknown[name] = slices.Clone(raw) // and not the rest of the answer
	}
	return unknown
}

// WithoutUnknown returns the desired plugin with null declared for each unknown field of the
// live one, but those to keep and those that the desired one declares. A PUT of the result of
// PreserveServerFields then removes them. Use it for a plugin that the operator has written
// before, to undo what somebody added by hand.
func (p Plugin) WithoutUnknown(live Plugin, keep []string) Plugin {
	declared := p.Unknown
	p.Unknown = maps.Clone(declared)
	for name := range live.Unknown {
		if _, ok := declared[name]; ok || slices.Contains(keep, name) {
			continue
		}
		if p.Unknown == nil {
			p.Unknown = map[string]json.RawMessage{}
		}
		p.Unknown[name] = json.RawMessage("null")
	}
	return p
}

// preserveUnknown returns the unknown fields that a PUT has to send: those of the live plugin,
// unless the desired one declares them.
func preserveUnknown(desired, live map[string]json.RawMessage) map[string]json.RawMessage {
	if len(live) == 0 {
		return desired
	}
	out := maps.Clone(live)
	maps.Copy(out, desired)
	return out
}

// checkUnknown compares the unknown fields. One that is at its default in the schema counts as
// not set.
func (d *differences) checkUnknown(desired, live map[string]json.RawMessage, s *Schema) {
	value := func(fields map[string]json.RawMessage, name string) any {
		value := decodedJSON(fields[name])
		if empty(value) && s != nil {
			value = s.defaults[name]
		}
		if empty(value) {
			return nil
		}
		return value
	}
	for _, fields := range []map[string]json.RawMessage{desired, live} {
		for name := range fields {
			same := d.sameValue
			if name == FieldPartials {
				same = d.samePartials
			}
			d.check(unknownName(name), same(value(desired, name), value(live, name)))
		}
	}
}

// FieldUnknown stands in Differences for an unknown field whose name is no plain word, since
// whoever answers for Kong chooses it.
const FieldUnknown = "unknown field"

var plainName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

func unknownName(name string) string {
	if !plainName.MatchString(name) {
		return FieldUnknown
	}
	return name
}

// decodedJSON decodes what is valid JSON, within the bounds of a config. Anything else is
// compared as a text.
func decodedJSON(raw json.RawMessage) any {
	var value any
	if len(raw) > 0 && (newBudget().exceeded(measureJSON(raw)) != "" || json.Unmarshal(raw, &value) != nil) {
		return string(raw)
	}
	return value
}
