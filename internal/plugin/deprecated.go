package plugin

// translate moves declared deprecated fields to the fields that replaced them, as Kong does
// before it fills in defaults: a value that is declared at the new place wins, null there
// does not. If the schema does not say how to translate a deprecated field, translate
// compares it with the same field in Kong's answer, if present, and takes over the
// replacement fields from the answer. Otherwise it moves the value to the field in which it
// reappears in the answer. The arguments are not changed.
func (r *record) translate(desired, live map[string]any, c *comparer) map[string]any {
	declared := r.declaredDeprecated(desired, c)
	if len(declared) == 0 {
		return desired
	}
	out := c.cloneObjects(desired)
	for _, d := range declared {
		value := desired[d.name]
		delete(out, d.name)
		if r.translatable(d) {
			for _, path := range d.paths {
				putUnlessSet(out, path, c.clone(value))
			}
			continue
		}
		if _, shown := live[d.name]; shown {
			for _, path := range d.paths {
				putUnlessSet(out, path, c.clone(valueAt(live, path)))
			}
			out[d.name] = value
			continue
		}
		out[r.findReplacement(d, value, out, live, c)] = c.clone(value)
	}
	return out
}

// declaredDeprecated returns the deprecated fields that are declared.
func (r *record) declaredDeprecated(desired map[string]any, c *comparer) []deprecatedField {
	var declared []deprecatedField
	if !c.spend(len(r.deprecated)) {
		return nil
	}
	for _, d := range r.deprecated {
		if _, ok := desired[d.name]; ok {
			declared = append(declared, d)
		}
	}
	return declared
}

// cloneObjects returns the object with copies of all objects in it. Lists stay the same.
func (c *comparer) cloneObjects(m map[string]any) map[string]any {
	out := map[string]any{}
	if !c.spend(len(m)) {
		return out
	}
	for key, value := range m {
		out[key] = c.clone(value)
	}
	return out
}

func (c *comparer) clone(value any) any {
	if m, ok := value.(map[string]any); ok {
		return c.cloneObjects(m)
	}
	return value
}

// findReplacement finds the field into which Kong moved a deprecated field's value when the
// schema does not say: a field of the same shape that is not declared and holds the value,
// preferably one that is not at its default. It returns the deprecated name if there is
// none, because Kong changed or dropped the value; then that field is a difference.
func (r *record) findReplacement(d deprecatedField, value any, desired, live map[string]any, c *comparer) string {
	replacement := d.name
	if !c.spend(len(r.names)) {
		return replacement
	}
	for _, name := range r.names {
		f := r.fields[name]
		if _, declared := desired[name]; declared || f.generated || shape(f.kind) != shape(d.kind) {
			continue
		}
		if !c.same(f, value, live[name]) {
			continue
		}
		if !c.same(f, f.missing(), live[name]) {
			return name
		}
		if replacement == d.name {
			replacement = name
		}
	}
	return replacement
}

// translatable reports whether a deprecated field's value can be compared in the fields
// that replaced it.
func (r *record) translatable(d deprecatedField) bool {
	if len(d.paths) == 0 {
		return false
	}
	for _, path := range d.paths {
		f := r.find(path)
		if f == nil || shape(f.kind) != shape(d.kind) {
			return false
		}
	}
	return true
}

// shape is the kind of a field as far as JSON tells kinds apart.
func shape(kind string) string {
	switch kind {
	case "integer":
		return "number"
	case kindSet:
		return kindArray
	}
	return kind
}

// putUnlessSet puts the value at the path into the object, unless something is there or in
// the way.
func putUnlessSet(m map[string]any, path []string, value any) {
	old := m[path[0]]
	if len(path) == 1 {
		if old == nil {
			m[path[0]] = value
		}
		return
	}
	inner, ok := old.(map[string]any)
	if !ok {
		if old != nil {
			return
		}
		inner = map[string]any{}
		m[path[0]] = inner
	}
	putUnlessSet(inner, path[1:], value)
}

// valueAt returns what is at the path, nil when nothing is.
func valueAt(m map[string]any, path []string) any {
	if len(path) == 1 {
		return m[path[0]]
	}
	inner, _ := m[path[0]].(map[string]any)
	return valueAt(inner, path[1:])
}
