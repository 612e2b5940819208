package plugin

import (
	"maps"
	"slices"
)

// Differences names the fields, sorted and unique, in which have, as Kong answers it,
// is not what want declares. None means that a write would change nothing. The schema is
// that of the plugin's name; without it only what is declared is compared.
//
// Fields are called as in a binding's spec: plugin, instanceName, enabled, protocols,
// tags, ordering, scope.service, config.redis.host. The names come from the schema: a
// map, an array, or a field that the schema does not know is named as a whole, so that
// no value, nor a key in a map, is ever part of a name. What the schema does not know has
// the name that was declared: where that may be a Secret's, see Redactor.RedactPath.
//
// What Kong makes of a config is no difference: defaults, sets in another order, numbers
// written otherwise, empty arrays shown as empty objects, deprecated twins of fields,
// and secrets that Kong draws when none is given. A field that is not declared and is
// not at its default is a difference: somebody set it by hand.
func Differences(want, have Plugin, s *Schema) []string {
	d := &differences{}
	d.check("plugin", want.Name == have.Name)
	d.check(FieldInstanceName, want.InstanceName == have.InstanceName)
	d.check("enabled", want.Enabled == have.Enabled)
	d.check("protocols", sameProtocols(want.Protocols, have.Protocols, s))
	d.check(FieldTags, sameStrings(want.Tags, have.Tags))
	d.check("ordering", sameOrdering(want.Ordering, have.Ordering))
	d.check("scope.service", want.Scope.ServiceID == have.Scope.ServiceID)
	d.check("scope.route", want.Scope.RouteID == have.Scope.RouteID)
	d.check("scope.consumer", want.Scope.ConsumerID == have.Scope.ConsumerID)
	d.check("scope.consumerGroup", want.Scope.ConsumerGroupID == have.Scope.ConsumerGroupID)
	if s == nil {
		d.declared("config", want.Config, have.Config)
	} else {
		d.record("config", s.config, s.config.carry(want.Config, have.Config), have.Config)
	}
	slices.Sort(d.fields)
	return slices.Compact(d.fields)
}

// differences collects names of fields.
type differences struct{ fields []string }

func (d *differences) check(name string, same bool) {
	if !same {
		d.fields = append(d.fields, name)
	}
}

// record compares field by field, with what Kong would fill in.
func (d *differences) record(path string, r *record, want, have map[string]any) {
	want = r.translate(want, have)
	for _, name := range r.names {
		d.field(path+"."+name, r.fields[name], at(want, name), at(have, name))
	}
	for name, value := range want {
		if r.fields[name] == nil {
			d.check(path+"."+name, covers(value, have[name]))
		}
	}
}

// field compares one field that the schema knows.
func (d *differences) field(path string, f *field, want, have optional) {
	if !want.set {
		if !have.set {
			// not even null in the answer: that Kong does not have the field
			return
		}
		want.value = f.missing()
	}
	if f.record != nil {
		wanted, ok := asMap(want.value)
		held, alsoOK := asMap(have.value)
		if ok && alsoOK {
			d.record(path, f.record, wanted, held)
			return
		}
	}
	d.check(path, f.same(want.value, have.value))
}

// declared compares without a schema, and so only what is declared.
func (d *differences) declared(path string, want, have map[string]any) {
	for name, value := range want {
		d.check(path+"."+name, covers(value, have[name]))
	}
}

// optional tells a field that is null from one that is not there.
type optional struct {
	value any
	set   bool
}

func at(m map[string]any, name string) optional {
	value, ok := m[name]
	return optional{value, ok}
}

// translate moves declared deprecated fields to where their values live now, as Kong
// does before it fills in defaults: a value at the new place wins, null there does not.
// One that cannot be followed is compared with its twin in the answer, when there is
// one, and its successors count as they are; or else with the field in which its value
// turns up. The arguments are not changed.
func (r *record) translate(want, have map[string]any) map[string]any {
	out := want
	for _, t := range r.twins {
		value, ok := want[t.name]
		if !ok {
			continue
		}
		out = maps.Clone(out)
		delete(out, t.name)
		if r.follows(t) {
			out = withAll(out, t.paths, func([]string) any { return value })
			continue
		}
		if _, shown := have[t.name]; shown {
			out = withAll(out, t.paths, func(path []string) any { return valueAt(have, path) })
			out[t.name] = value
			continue
		}
		out[r.landing(t, value, out, have)] = value
	}
	return out
}

// landing finds the field that Kong put a deprecated field's value into without saying
// so: one of the same shape that nobody declared and that holds the value, rather one
// that is not at its default. There is none when Kong changed the value or does not
// have it; then the deprecated field is not as declared.
func (r *record) landing(t twin, value any, want, have map[string]any) string {
	landing := t.name
	for _, name := range r.names {
		f := r.fields[name]
		if _, declared := want[name]; declared || f.generated || shape(f.kind) != shape(t.kind) {
			continue
		}
		if !f.same(value, have[name]) {
			continue
		}
		if !f.same(f.missing(), have[name]) {
			return name
		}
		if landing == t.name {
			landing = name
		}
	}
	return landing
}

// follows says whether a twin's value can be compared where it lives now.
func (r *record) follows(t twin) bool {
	if len(t.paths) == 0 {
		return false
	}
	for _, path := range t.paths {
		f := r.find(path)
		if f == nil || shape(f.kind) != shape(t.kind) {
			return false
		}
	}
	return true
}

// shape is the kind of field as far as JSON tells kinds apart.
func shape(kind string) string {
	switch kind {
	case "integer":
		return "number"
	case kindSet:
		return kindArray
	}
	return kind
}

// withAll returns the object with a value at each path, unless something is there.
func withAll(m map[string]any, paths [][]string, value func(path []string) any) map[string]any {
	for _, path := range paths {
		m = with(m, path, value(path))
	}
	return m
}

// with returns the object with the value at the path, unless something is there.
func with(m map[string]any, path []string, value any) map[string]any {
	old := m[path[0]]
	if len(path) > 1 {
		inner, ok := old.(map[string]any)
		if !ok && old != nil {
			return m
		}
		value = with(inner, path[1:], value)
	} else if old != nil {
		return m
	}
	out := maps.Clone(m)
	if out == nil {
		out = map[string]any{}
	}
	out[path[0]] = value
	return out
}

// valueAt returns what is at the path, nil when nothing is.
func valueAt(m map[string]any, path []string) any {
	if len(path) == 1 {
		return m[path[0]]
	}
	inner, _ := m[path[0]].(map[string]any)
	return valueAt(inner, path[1:])
}

// sameProtocols compares as sets. None in a plugin that should be means the default,
// which only the schema knows.
func sameProtocols(want, have []string, s *Schema) bool {
	if want == nil {
		if s == nil || have == nil {
			return true
		}
		want = s.protocols
	}
	return sameStrings(want, have)
}

// sameStrings compares as sets.
func sameStrings(a, b []string) bool {
	return slices.Equal(
		slices.Compact(slices.Sorted(slices.Values(a))),
		slices.Compact(slices.Sorted(slices.Values(b))),
	)
}

// sameOrdering compares by phase; the names in a phase are in no order of their own.
func sameOrdering(a, b map[string]map[string][]string) bool {
	return holdsOrdering(a, b) && holdsOrdering(b, a)
}

func holdsOrdering(a, b map[string]map[string][]string) bool {
	for when, phases := range a {
		for phase, names := range phases {
			if !sameStrings(names, b[when][phase]) {
				return false
			}
		}
	}
	return true
}
