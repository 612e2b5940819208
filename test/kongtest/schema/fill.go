package schema

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
)

// context is the purpose of fill.
type context int

const (
	insert context = iota
	update
	selecting
)

// fill completes a table for a write or a read. It replaces shorthands with their
// targets, and sets absent fields to their default, or to null; an update sets none.
// It changes the data in place. The errors are those of shorthand fields. Kong puts
// them at the top of the entity, whatever the depth of the shorthand.
func (r *record) fill(data map[string]any, ctx context) map[string]any {
	if errs := r.expandShorthands(data, ctx); errs != nil {
		return errs
	}
	sub := r.sub(data)
	for _, nf := range r.fields {
		f := r.resolve(nf.name, sub)
		value, present := data[nf.name]
		if !present && f.Auto && f.Type == "string" && !f.UUID && ctx == insert {
			value, present = randomString(24), true
		}
		value, present, errs := f.adjust(value, present, ctx)
		if errs != nil {
			return errs
		}
		if present {
			data[nf.name] = value
		}
	}
	if ctx == selecting {
		r.prune(data)
	}
	return nil
}

// adjust completes one value, at every depth.
func (f *field) adjust(value any, present bool, ctx context) (any, bool, map[string]any) {
	if ctx == selecting && present && value == nil && f.Required {
		v, ok := f.missing()
		return v, ok, nil
	}
	if f.Abstract {
		return value, present, nil
	}
	if f.Type == "record" {
		return f.adjustRecord(value, present, ctx)
	}
	value, errs := f.adjustElements(value, ctx)
	if errs != nil {
		return nil, false, errs
	}
	if !present && ctx != update {
		value, present = f.missing()
	}
	return value, present, nil
}

func (f *field) adjustRecord(value any, present bool, ctx context) (any, bool, map[string]any) {
	if !present && ctx != update {
		value, present = f.missing()
	}
	if value == nil || f.rec == nil {
		return value, present, nil
	}
	table, ok := asTable(value)
	if _, isNumber := value.(float64); f.Indexed && (isNumber || value == true) {
		return nil, false, map[string]any{brokenMark: true}
	}
	if !ok {
		return value, present, nil
	}
	errs := f.rec.fill(table, ctx)
	return table, present, errs
}

// adjustElements completes the elements of an array, a set or a map. It removes the
// duplicates of a set.
func (f *field) adjustElements(value any, ctx context) (any, map[string]any) {
	switch f.Type {
	case "array", "set":
		list, ok := asList(value)
		if !ok {
			return value, nil
		}
		if f.Type == "set" {
			list = distinct(list)
		}
		for i, e := range list {
			v, _, errs := f.Elements.adjust(e, true, ctx)
			if errs != nil {
				return nil, errs
			}
			list[i] = v
		}
		return list, nil
	case "map":
		return f.adjustMap(value, ctx)
	}
	return value, nil
}

func (f *field) adjustMap(value any, ctx context) (any, map[string]any) {
	if list, ok := value.([]any); ok && len(list) == 0 {
		return map[string]any{}, nil
	}
	m, ok := value.(map[string]any)
	if !ok {
		return value, nil
	}
	for _, k := range sortedKeys(m) {
		v, _, errs := f.Values.adjust(m[k], true, ctx)
		if errs != nil {
			return nil, errs
		}
		m[k] = v
	}
	return m, nil
}

// distinct removes repeated scalars. To Kong two tables always differ.
func distinct(list []any) []any {
	out := make([]any, 0, len(list))
	seen := map[any]bool{}
	for _, e := range list {
		switch e.(type) {
		case map[string]any, []any:
		default:
			if seen[e] {
				continue
			}
			seen[e] = true
		}
		out = append(out, e)
	}
	return out
}

// missing returns the value of an absent field: its default; null if it is optional;
// a record of defaults if it is required. Otherwise it returns false, and validation
// refuses the entity.
func (f *field) missing() (any, bool) {
	switch {
	case f.Default.set:
		return clone(f.Default.value), true
	case f.Nilable:
		return nil, false
	case !f.Required:
		return nil, true
	case f.Type == "record" && !f.Abstract && f.rec != nil:
		m := map[string]any{}
		// defaults have no shorthands, so there are no errors
		_ = f.rec.fill(m, insert)
		return m, true
	}
	return nil, false
}

// prune removes keys that are no fields, and sets empty strings to null where a string
// may not be empty.
func (r *record) prune(data map[string]any) {
	for k, v := range data {
		f := r.byName[k]
		if f == nil {
			if !r.isDeprecated(k) {
				delete(data, k)
			}
			continue
		}
		if f.Type == "string" && v == "" && (f.LenMin == nil || *f.LenMin > 0) {
			data[k] = nil
		}
	}
}

// isDeprecated reports whether the name is a deprecated field that answers have.
func (r *record) isDeprecated(name string) bool {
	for _, s := range r.shorthands {
		if s.name == name {
			return len(s.Deprecation.ReplacedWith) > 0
		}
	}
	return false
}

// expandShorthands replaces shorthand fields with their targets. For a read it adds
// the deprecated fields.
func (r *record) expandShorthands(data map[string]any, ctx context) map[string]any {
	errs := map[string]any{}
	for _, s := range r.shorthands {
		if value, ok := data[s.name]; ok {
			if !s.replaceable(data) {
				return map[string]any{brokenMark: true}
			}
			if err := s.expand(s.name, value, data); err != nil {
				errs[s.name] = err
				continue
			}
		}
		if ctx == selecting && len(s.Deprecation.ReplacedWith) > 0 {
			data[s.name], _ = getPath(data, strings.Join(s.Deprecation.ReplacedWith[0].Path, "."))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// expand sets the targets of one shorthand. The replacement of a deprecated field wins
// over that field, and the two must not differ. Any other shorthand wins over its
// targets.
func (f *field) expand(name string, value any, data map[string]any) any {
	if err := f.validate(value); err != nil {
		return err
	}
	if err := f.contradiction(name, value, data); err != "" {
		return err
	}
	delete(data, name)
	deprecated := f.Deprecation.Message != ""
	for k, v := range f.expansion(value) {
		old, has := data[k]
		inner, isTable := v.(map[string]any)
		switch {
		case isTable && deprecated:
			data[k] = overlay(inner, tableOrEmpty(old))
		case isTable:
			data[k] = overlay(tableOrEmpty(old), inner)
		case !deprecated || !has || old == nil:
			data[k] = v
		}
	}
	return nil
}

// replaceable reports whether Kong can look up the replacements of a deprecated field.
// A number in their path breaks Kong.
func (f *field) replaceable(data map[string]any) bool {
	for _, target := range f.Deprecation.ReplacedWith {
		if !indexable(data, strings.Join(target.Path, ".")) {
			return false
		}
	}
	return true
}

func (f *field) contradiction(name string, value any, data map[string]any) string {
	if value == nil {
		return ""
	}
	for _, target := range f.Deprecation.ReplacedWith {
		path := strings.Join(target.Path, ".")
		v, _ := getPath(data, path)
		if v != nil && v != false && !equal(v, value) {
			return fmt.Sprintf("both deprecated and new field are used but their values mismatch: %s = %s vs %s = %s",
				name, luaString(value), path, luaString(v))
		}
	}
	return ""
}

// expansion returns the targets of a shorthand with their values.
func (f *field) expansion(value any) map[string]any {
	if f.Shorthand != "" {
		return shorthandFuncs[f.Shorthand](value)
	}
	path := f.Path
	if len(f.Deprecation.ReplacedWith) > 0 {
		path = f.Deprecation.ReplacedWith[0].Path
	}
	out := map[string]any{}
	if len(path) > 0 {
		setPath(out, strings.Join(path, "."), value)
	}
	return out
}

func tableOrEmpty(v any) map[string]any {
	if m, ok := v.(map[string]any); ok {
		return m
	}
	return map[string]any{}
}

// overlay merges two tables deeply. top wins except where it is null.
func overlay(bottom, top map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range bottom {
		out[k] = v
	}
	for k, v := range top {
		inner, isTable := v.(map[string]any)
		old, wasTable := out[k].(map[string]any)
		switch {
		case isTable && wasTable:
			out[k] = overlay(old, inner)
		case v != nil || out[k] == nil:
			out[k] = v
		}
	}
	return out
}

// randomString is a secret of letters and digits from n random bytes. Kong uses 24
// bytes for a token and 33 for a session secret.
func randomString(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return strings.NewReplacer("+", "a", "/", "b").Replace(base64.StdEncoding.EncodeToString(b))
}
