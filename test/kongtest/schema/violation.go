package schema

import (
	"fmt"
	"strings"
)

// Violation is Kong's refusal of an entity, code 2 "schema violation".
type Violation struct {
	// Fields are the errors, nested as Kong nests them: a string for a field, a map
	// for a record, a list with nil for the valid elements of an array. The key
	// "@entity" has a list of the messages of entity checks.
	Fields map[string]any

	// Broken is set if Kong's code fails on the entity. Kong answers 500 without a
	// reason: a check that reads a field of a number, or that adds an error below a
	// field that has a message already.
	Broken bool
}

// brokenMark among collected errors makes the violation a broken one.
const brokenMark = "\x00broken"

// addError sets the error at a dotted path. Below a message it breaks Kong.
func addError(errs map[string]any, path string, what any) {
	head, tail, nested := strings.Cut(path, ".")
	if !nested {
		errs[head] = what
		return
	}
	inner, isTable := errs[head].(map[string]any)
	switch {
	case isTable:
	case errs[head] != nil:
		errs[brokenMark] = true
		return
	default:
		inner = map[string]any{}
		errs[head] = inner
	}
	addError(inner, tail, what)
}

func broken(err any) bool {
	m, _ := err.(map[string]any)
	for k, e := range m {
		if k == brokenMark || broken(e) {
			return true
		}
	}
	return false
}

// Message is Kong's message: "schema violation (a.b: text)" or "N schema violations
// (a; b; c)". Entity checks come first, then fields by name. Errors that are nested
// deeper are formatted as a Lua table.
func (v *Violation) Message() string {
	if v.Broken {
		return "broken"
	}
	parts := append(v.entityParts(), v.fieldParts()...)
	if len(parts) == 1 {
		return fmt.Sprintf("schema violation (%s)", parts[0])
	}
	return fmt.Sprintf("%d schema violations (%s)", len(parts), strings.Join(parts, "; "))
}

// Error implements error with the message.
func (v *Violation) Error() string { return v.Message() }

func (v *Violation) entityParts() []string {
	var parts []string
	list, _ := v.Fields["@entity"].([]any)
	for _, e := range list {
		parts = append(parts, luaString(e))
	}
	return parts
}

func (v *Violation) fieldParts() []string {
	var parts []string
	for _, name := range sortedKeys(v.Fields) {
		if name == "@entity" {
			continue
		}
		parts = append(parts, partsOf(name, v.Fields[name])...)
	}
	return parts
}

// partsOf formats the errors of one top-level field.
func partsOf(name string, err any) []string {
	var parts []string
	switch t := err.(type) {
	case map[string]any:
		for _, k := range sortedKeys(t) {
			parts = append(parts, fmt.Sprintf("%s.%s: %s", name, k, leaf(t[k])))
		}
	case []any:
		for i, e := range t {
			if e != nil {
				parts = append(parts, fmt.Sprintf("%s.%d: %s", name, i+1, leaf(e)))
			}
		}
	default:
		parts = append(parts, name+": "+luaString(err))
	}
	return parts
}

func leaf(err any) string {
	switch err.(type) {
	case map[string]any, []any:
		return pretty(err, "")
	}
	return luaString(err)
}

// newViolation returns the violation of the errors, nil if there are none.
func newViolation(errs map[string]any) *Violation {
	if len(errs) == 0 {
		return nil
	}
	if broken(errs) {
		return &Violation{Broken: true}
	}
	fields := map[string]any{}
	for k, e := range errs {
		fields[strings.TrimPrefix(k, indexMark)] = unmark(e)
	}
	return &Violation{Fields: fields}
}

// unmark converts tables of errors by index to lists with nil for valid elements.
func unmark(err any) any {
	m, ok := err.(map[string]any)
	if !ok {
		return err
	}
	if list, ok := unmarkList(m); ok {
		return list
	}
	out := map[string]any{}
	for k, e := range m {
		out[strings.TrimPrefix(k, indexMark)] = unmark(e)
	}
	return out
}

func unmarkList(m map[string]any) ([]any, bool) {
	var list []any
	for _, k := range sortedKeys(m) {
		digits, ok := strings.CutPrefix(k, indexMark)
		if !ok {
			return nil, false
		}
		for i := len(list) + 1; indexKey(i-1) != indexMark+digits; i++ {
			list = append(list, nil)
		}
		list = append(list, unmark(m[k]))
	}
	return list, list != nil
}
