package plugin

import (
	"slices"
)

// Differences returns the names of the fields, sorted and unique, in which the live plugin
// is not as the desired one declares. None means that a write would change nothing. The
// schema is that of the plugin's name; without it only declared fields are compared.
//
// Fields have the names of a binding's spec: plugin, instanceName, enabled, protocols,
// tags, ordering, scope.service, config.redis.host. Their names come from the schema. A
// map, an array and a field that the schema does not know are named as a whole, so that a
// name never contains a value or a key of a map. A field that the schema does not know has
// its declared name, which may come from a Secret: see Redactor.RedactPath.
//
// These are not differences, because Kong makes them: defaults, sets in another order,
// numbers in another notation, empty arrays as empty objects, deprecated fields that moved,
// and secrets that Kong generates. A field that is not declared and not at its default is a
// difference: somebody set it by hand. A field of the plugin entity that only some versions of
// Kong have is a difference under its own name, such as condition, if it is not as declared, or
// set and not declared. What a declared partial fills in is no difference.
func Differences(desired, live Plugin, s *Schema) []string {
	fields, _ := compare(desired, live, s)
	return fields
}

// compare returns also the number of steps that it took.
func compare(desired, live Plugin, s *Schema) (fields []string, steps int) {
	d := &differences{comparer: &comparer{}, fromPartials: pathsOfPartials(desired.Unknown, live.Unknown)}
	d.check("plugin", desired.Name == live.Name)
	d.check(FieldInstanceName, desired.InstanceName == live.InstanceName)
	d.check("enabled", desired.Enabled == live.Enabled)
	d.check("protocols", sameProtocols(desired.Protocols, live.Protocols, s))
	d.check(FieldTags, sameStrings(desired.Tags, live.Tags))
	d.check("ordering", sameOrdering(desired.Ordering, live.Ordering))
	d.check("scope.service", desired.Scope.ServiceID == live.Scope.ServiceID)
	d.check("scope.route", desired.Scope.RouteID == live.Scope.RouteID)
	d.check("scope.consumer", desired.Scope.ConsumerID == live.Scope.ConsumerID)
	d.check("scope.consumerGroup", desired.Scope.ConsumerGroupID == live.Scope.ConsumerGroupID)
	d.checkUnknown(desired.Unknown, live.Unknown, s)
	if s == nil {
		d.declared("config", desired.Config, live.Config)
	} else {
		d.record("config", s.config, s.config.preserve(desired.Config, live.Config, d.comparer), live.Config)
	}
	slices.Sort(d.fields)
	return slices.Compact(d.fields), d.steps
}

// differences collects names of fields.
type differences struct {
	*comparer
	fields []string
	// first: one difference is enough.
	first bool
	// fromPartials are the paths that partials fill in.
	fromPartials map[string]bool
}

func (d *differences) check(name string, same bool) {
	if !same {
		d.fields = append(d.fields, name)
	}
}

func (d *differences) enough() bool { return d.first && len(d.fields) > 0 }

// record compares field by field, with what Kong would fill in.
func (d *differences) record(path string, r *record, desired, live map[string]any) {
	if !d.spend(len(r.names)) {
		d.check(path, false)
		return
	}
	desired = r.translate(desired, live, d.comparer)
	for _, name := range r.names {
		if d.field(path+"."+name, r.fields[name], at(desired, name), at(live, name)); d.enough() {
			return
		}
	}
	for name, value := range desired {
		if r.fields[name] == nil {
			d.check(path+"."+name, d.isSubset(value, live[name]))
		}
	}
}

// field compares one field that the schema knows.
func (d *differences) field(path string, f *field, desired, live optional) {
	if !desired.set {
		if !live.set || d.fromPartials[path] {
			// The answer does not even have null: that Kong does not have the field.
			return
		}
		desired.value = f.missing()
	}
	if f.record != nil {
		desiredRecord, ok := asMap(desired.value)
		liveRecord, alsoOK := asMap(live.value)
		if ok && alsoOK {
			d.record(path, f.record, desiredRecord, liveRecord)
			return
		}
	}
	d.check(path, d.same(f, desired.value, live.value))
}

// declared compares without a schema, and so only what is declared.
func (d *differences) declared(path string, desired, live map[string]any) {
	for name, value := range desired {
		d.check(path+"."+name, d.isSubset(value, live[name]))
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

// sameProtocols compares as sets. In a desired plugin nil means the default, which only
// the schema knows.
func sameProtocols(desired, live []string, s *Schema) bool {
	if desired == nil {
		if s == nil || live == nil {
			return true
		}
		desired = s.protocols
	}
	return sameStrings(desired, live)
}

// sameStrings compares as sets.
func sameStrings(a, b []string) bool {
	return slices.Equal(
		slices.Compact(slices.Sorted(slices.Values(a))),
		slices.Compact(slices.Sorted(slices.Values(b))),
	)
}

// sameOrdering compares by phase. The names in a phase have no order.
func sameOrdering(a, b map[string]map[string][]string) bool {
	return containsOrdering(a, b) && containsOrdering(b, a)
}

func containsOrdering(a, b map[string]map[string][]string) bool {
	for when, phases := range a {
		for phase, names := range phases {
			if !sameStrings(names, b[when][phase]) {
				return false
			}
		}
	}
	return true
}
