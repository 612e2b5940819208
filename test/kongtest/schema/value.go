package schema

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// In Lua an array and an object are both tables, and Kong accepts an array where it
// expects a record. indexMark is the first character of the keys of such an array, so
// that they match no field name and differ from the string "1".
const indexMark = "\x00"

func indexKey(i int) string { return indexMark + strconv.Itoa(i+1) }

// asTable returns a JSON array or object as a table; false for anything else.
func asTable(v any) (map[string]any, bool) {
	switch t := v.(type) {
	case map[string]any:
		return t, true
	case []any:
		m := make(map[string]any, len(t))
		for i, e := range t {
			m[indexKey(i)] = e
		}
		return m, true
	}
	return nil, false
}

// asList returns the value as a list: an array, or an empty object, which Kong does
// not distinguish from an empty array.
func asList(v any) ([]any, bool) {
	switch t := v.(type) {
	case []any:
		return t, true
	case map[string]any:
		if len(t) == 0 {
			return []any{}, true
		}
	}
	return nil, false
}

// clone copies a value deeply. It converts Go's number types to float64.
func clone(v any) any {
	switch t := v.(type) {
	case map[string]any:
		return cloneMap(t)
	case []any:
		out := make([]any, len(t))
		for i, e := range t {
			out[i] = clone(e)
		}
		return out
	case []string:
		out := make([]any, len(t))
		for i, e := range t {
			out[i] = e
		}
		return out
	}
	return cloneNumber(v)
}

func cloneNumber(v any) any {
	switch t := v.(type) {
	case json.Number:
		f, err := t.Float64()
		if err != nil {
			return string(t)
		}
		return f
	case int:
		return float64(t)
	case int64:
		return float64(t)
	}
	return v
}

func cloneMap(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, e := range m {
		out[k] = clone(e)
	}
	return out
}

// rounded rounds numbers to 14 digits, as Kong does when it writes them to its
// database.
func rounded(v any) any {
	switch t := v.(type) {
	case map[string]any:
		for k, e := range t {
			t[k] = rounded(e)
		}
	case []any:
		for i, e := range t {
			t[i] = rounded(e)
		}
	case float64:
		n, err := strconv.ParseFloat(strconv.FormatFloat(t, 'g', 14, 64), 64)
		if err == nil {
			return n
		}
	}
	return v
}

// getPath returns the value at a dotted path. It returns false if a part is absent.
func getPath(m map[string]any, path string) (any, bool) {
	head, tail, nested := strings.Cut(path, ".")
	v, ok := m[head]
	if !nested || !ok {
		return v, ok
	}
	inner, isMap := v.(map[string]any)
	if !isMap {
		return nil, false
	}
	return getPath(inner, tail)
}

// setPath sets the value at a dotted path. It creates tables on the way and replaces
// values that are no tables.
func setPath(m map[string]any, path string, v any) {
	head, tail, nested := strings.Cut(path, ".")
	if !nested {
		m[head] = v
		return
	}
	inner, ok := m[head].(map[string]any)
	if !ok {
		inner = map[string]any{}
		m[head] = inner
	}
	setPath(inner, tail, v)
}

// indexable reports whether Kong can follow a dotted path. A number or a boolean on
// the way breaks Kong. A string does not; it has no fields.
func indexable(m map[string]any, path string) bool {
	head, tail, nested := strings.Cut(path, ".")
	if !nested {
		return true
	}
	switch inner := m[head].(type) {
	case float64, bool:
		return false
	case map[string]any:
		return indexable(inner, tail)
	}
	return true
}

// nonEmpty reports whether Kong regards the value as set.
func nonEmpty(v any) bool {
	switch t := v.(type) {
	case nil:
		return false
	case string:
		return t != ""
	case map[string]any:
		return len(t) > 0
	case []any:
		return len(t) > 0
	}
	return true
}

func sortedKeys(m map[string]any) []string {
	return slices.SortedFunc(maps.Keys(m), compareKeys)
}

// compareKeys orders indexes by number, before names.
func compareKeys(a, b string) int {
	ai, aIndex := strings.CutPrefix(a, indexMark)
	bi, bIndex := strings.CutPrefix(b, indexMark)
	if aIndex && bIndex && len(ai) != len(bi) {
		return len(ai) - len(bi)
	}
	return strings.Compare(a, b)
}

func equal(a, b any) bool { return reflect.DeepEqual(a, b) }

// luaString formats a scalar as Lua's tostring does.
func luaString(v any) string {
	switch t := v.(type) {
	case nil:
		return "null"
	case string:
		return t
	case bool:
		return strconv.FormatBool(t)
	case float64:
		return luaNumber(t)
	}
	return "table"
}

// luaNumber formats a number as C's %.14g does.
func luaNumber(f float64) string {
	s := strconv.FormatFloat(f, 'g', 14, 64)
	mantissa, exp, ok := strings.Cut(s, "e")
	if !ok {
		return s
	}
	return trimZeros(mantissa) + "e" + exp
}

func trimZeros(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}
