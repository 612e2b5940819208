package schema

import (
	"math"
	"strings"
)

// Kong's error messages.
const (
	errRequired  = "required field missing"
	errUnknown   = "unknown field"
	errMissingPK = "missing primary key"
)

var typeErrors = map[string]string{
	"array": "expected an array", "set": "expected a set", "map": "expected a map", "record": "expected a record",
	"string": "expected a string", "number": "expected a number", "boolean": "expected a boolean",
	"integer": "expected an integer", "function": "expected a function",
}

// validateAll checks a filled table: each field, then required fields, then the checks
// across fields. full requires a complete entity; it is false for an update. The
// result has the errors by field.
func (r *record) validateAll(data map[string]any, full bool) map[string]any {
	sub := r.sub(data)
	if r.subKey != "" && sub == nil {
		return r.subMissing(data[r.subKey])
	}
	errs := r.validateFields(data, sub)
	for _, nf := range r.fields {
		v, present := data[nf.name]
		if nf.Required && v == nil && (present || full) {
			errs[nf.name] = errRequired
		}
	}
	r.runChecks(data, full, errs)
	if sub != nil {
		sub.runChecks(data, full, errs)
	}
	return errs
}

// subMissing is the only error of an entity with an unknown subschema.
func (r *record) subMissing(key any) map[string]any {
	if key == nil {
		return map[string]any{r.subKey: errRequired}
	}
	return map[string]any{r.subKey: strings.ReplaceAll(r.subErr, "%s", firstOf(key))}
}

// firstOf formats a key, or the first of a list of keys.
func firstOf(key any) string {
	switch t := key.(type) {
	case []any:
		if len(t) == 0 {
			return "nil"
		}
		return luaString(t[0])
	case map[string]any:
		return "nil"
	}
	return luaString(key)
}

func (r *record) validateFields(data map[string]any, sub *record) map[string]any {
	errs := map[string]any{}
	for _, k := range sortedKeys(data) {
		f := r.resolve(k, sub)
		if f == nil {
			errs[k] = errUnknown
			continue
		}
		if err := f.validate(data[k]); err != nil {
			errs[k] = err
		}
	}
	return errs
}

// validate checks one value at every depth. It returns nil, a message, or a table of
// messages.
func (f *field) validate(v any) any {
	if v == nil {
		return f.validateNull()
	}
	if f.Eq.set && f.Eq.value == nil {
		return f.errorOr("value must be null")
	}
	if f.Abstract {
		return "error in schema definition: abstract field was not specialized"
	}
	if s, ok := v.(string); ok && f.Referenceable && isReference(s) {
		return nil
	}
	if err := f.validateType(v); err != nil {
		return err
	}
	switch msg := f.runValidators(v); msg {
	case "":
		return nil
	case brokenMark:
		return map[string]any{brokenMark: true}
	default:
		return f.errorOr(msg)
	}
}

// errorOr returns the field's own message, or msg if it has none.
func (f *field) errorOr(msg string) string {
	if f.Err != "" {
		return f.Err
	}
	return msg
}

func (f *field) validateNull() any {
	switch {
	case f.Ne.set && f.Ne.value == nil:
		return f.errorOr("value must not be null")
	case f.Eq.set && f.Eq.value != nil:
		return "value must be " + luaString(f.Eq.value)
	case f.Required:
		return errRequired
	}
	return nil
}

// isReference reports whether s is a vault reference. Kong stores those unchecked.
func isReference(s string) bool {
	return strings.HasPrefix(s, "{vault://") && strings.HasSuffix(s, "}")
}

func (f *field) validateType(v any) any {
	switch f.Type {
	case "array", "set":
		if list, isList := asList(v); isList {
			return f.validateElements(list)
		}
	case "map":
		if table, isTable := asTable(v); isTable {
			return f.validateMap(table)
		}
	case "record":
		if table, isTable := asTable(v); isTable {
			return f.validateRecord(table)
		}
	case "foreign":
		return validateForeign(f.Reference, v)
	default:
		if scalarFits(f.Type, v) {
			return nil
		}
	}
	return typeErrors[f.Type]
}

func scalarFits(kind string, v any) bool {
	ok := true
	switch kind {
	case "string":
		_, ok = v.(string)
	case "boolean":
		_, ok = v.(bool)
	case "number":
		_, ok = v.(float64)
	case "integer":
		n, isNumber := v.(float64)
		ok = isNumber && n == math.Floor(n) && !math.IsInf(n, 0)
	case "function":
		ok = false
	}
	return ok
}

// validateRequired checks a value that may not be null, such as an element of an array.
func (f *field) validateRequired(v any) any {
	if v == nil {
		if err := f.validateNull(); err != nil {
			return err
		}
		return errRequired
	}
	return f.validate(v)
}

func (f *field) validateElements(list []any) any {
	errs := map[string]any{}
	for i, e := range list {
		if err := f.Elements.validateRequired(e); err != nil {
			errs[indexKey(i)] = err
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}

func (f *field) validateMap(table map[string]any) any {
	for _, k := range sortedKeys(table) {
		if err := f.Keys.validateRequired(mapKey(k)); err != nil {
			return err
		}
		if err := f.Values.validateRequired(table[k]); err != nil {
			return err
		}
	}
	return nil
}

// mapKey is the key of a map. The keys of an array in place of a map are numbers.
func mapKey(k string) any {
	if strings.HasPrefix(k, indexMark) {
		return float64(0)
	}
	return k
}

// validateRecord checks the fields of a record as for an insert: defaults count.
func (f *field) validateRecord(table map[string]any) any {
	if f.rec == nil {
		return nil
	}
	data := cloneMap(table)
	errs := f.rec.fill(data, insert)
	if errs == nil {
		errs = f.rec.validateAll(data, true)
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// validateForeign checks a reference: {"id": uuid}. The caller has replaced references
// by name.
func validateForeign(entity string, v any) any {
	table, isTable := asTable(v)
	if !isTable {
		return map[string]any{"id": errMissingPK}
	}
	id, present := table["id"]
	switch {
	case !present || id == false:
	case id == nil:
		return map[string]any{"id": errRequired}
	case primaryKey.validate(id) == nil:
		return nil
	}
	return wrongReference(entity, table)
}

var primaryKey = field{Type: "string", UUID: true}

// wrongReference are the errors of a reference without a valid ID: those that its
// fields have as an entity, or else the missing ID.
func wrongReference(entity string, table map[string]any) map[string]any {
	if target, known := entities()[entity]; known {
		if errs := target.rec.validateAll(table, false); len(errs) > 0 {
			return errs
		}
	} else if id, ok := table["id"]; ok {
		return map[string]any{"id": primaryKey.validate(id)}
	}
	return map[string]any{"id": errMissingPK}
}
