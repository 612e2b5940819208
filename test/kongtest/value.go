package kongtest

import (
	"strconv"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

func cloneMap(m map[string]any) map[string]any {
	if m == nil {
		return nil
	}
	return clone(m).(map[string]any)
}

// clone copies a JSON value deeply.
func clone(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, e := range x {
			out[k] = clone(e)
		}
		return out
	case []any:
		return cloneList(x)
	default:
		return v
	}
}

// cloneList copies a list deeply. nil stays nil.
func cloneList(list []any) []any {
	if list == nil {
		return nil
	}
	out := make([]any, len(list))
	for i, e := range list {
		out[i] = clone(e)
	}
	return out
}

// shallow copies the top level of a map.
func shallow(m map[string]any) map[string]any {
	out := make(map[string]any, len(m)+3)
	for k, v := range m {
		out[k] = v
	}
	return out
}

func str(v any) string {
	s, _ := v.(string)
	return s
}

// refID is the ID of a reference {"id": ...}, or "".
func refID(v any) string {
	m, _ := v.(map[string]any)
	return str(m["id"])
}

// seconds is a timestamp in Kong's form: whole seconds since 1970.
func seconds(t time.Time) float64 { return float64(t.Unix()) }
