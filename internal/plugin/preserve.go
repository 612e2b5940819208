package plugin

import (
	"maps"
	"slices"
)

// Carry returns want as it has to be written over have: with the same ID and the same
// CreatedAt, and with those values that Kong made itself and would make anew, such as
// the secret of a session plugin that declares none: a new one would log everybody out.
// Neither argument is changed; the result shares with them what is the same.
func PreserveServerFields(want, have Plugin, s *Schema) Plugin {
	out := want
	out.ID = have.ID
	out.CreatedAt = have.CreatedAt
	if s != nil && want.Name == have.Name {
		out.Config = s.config.carry(want.Config, have.Config)
	}
	return out
}

// carry returns the record with the generated values of have where none is declared.
func (r *record) carry(want, have map[string]any) map[string]any {
	if !r.generates {
		return want
	}
	// What a deprecated twin declares is declared: Kong refuses both together.
	declared := r.translate(want, have)
	out := maps.Clone(want)
	for _, name := range r.names {
		value, ok := want[name]
		if ok {
			out[name] = r.fields[name].carryInto(value, have[name])
			continue
		}
		if _, ok := declared[name]; ok {
			continue
		}
		if value, ok := r.fields[name].carried(have[name]); ok {
			if out == nil {
				out = map[string]any{}
			}
			out[name] = value
		}
	}
	return out
}

// carried returns what has to be written for a field that is not declared.
func (f *field) carried(held any) (any, bool) {
	if f.generated {
		return held, made(held)
	}
	if f.record == nil || !f.required || f.hasDefault {
		// Written in part, it would lose its default.
		return nil, false
	}
	h, _ := asMap(held)
	inner := f.record.carry(nil, h)
	return inner, len(inner) > 0
}

// carryInto returns a declared value with the generated values inside it. Elements of
// arrays are paired by their place, those of sets not at all: they have none.
func (f *field) carryInto(want, held any) any {
	if !f.generates() {
		return want
	}
	switch w := want.(type) {
	case map[string]any:
		h, _ := held.(map[string]any)
		if f.record != nil {
			return f.record.carry(w, h)
		}
		if f.kind == kindMap {
			out := maps.Clone(w)
			for key, value := range w {
				out[key] = f.values.carryInto(value, h[key])
			}
			return out
		}
	case []any:
		h, _ := held.([]any)
		if f.kind == kindArray && len(w) == len(h) {
			out := slices.Clone(w)
			for i, value := range w {
				out[i] = f.elements.carryInto(value, h[i])
			}
			return out
		}
	}
	return want
}

// generates says whether there is a generated field in this one.
func (f *field) generates() bool {
	switch {
	case f == nil:
		return false
	case f.record != nil:
		return f.record.generates
	}
	return f.elements.generates() || f.values.generates()
}

// made says whether Kong may have made the value: a key, a secret, an ID, a time.
func made(v any) bool {
	if _, ok := number(v); ok {
		return true
	}
	s, ok := v.(string)
	return ok && s != ""
}
