package plugin

import (
	"encoding/json"
	"slices"
	"strconv"
)

// same says whether Kong, given want, would answer have. Null and absent are the same
// inside objects, empty arrays and empty objects are, and numbers compare as numbers.
func (f *field) same(want, have any) bool {
	if f == nil || want == nil || have == nil {
		return sameValue(want, have)
	}
	switch f.kind {
	case kindArray, kindSet:
		wanted, ok := asList(want)
		held, alsoOK := asList(have)
		if ok && alsoOK {
			return f.sameList(wanted, held)
		}
	case kindMap:
		wanted, ok := asMap(want)
		held, alsoOK := asMap(have)
		if ok && alsoOK {
			return sameMap(wanted, held, f.values.same)
		}
	case kindRecord:
		wanted, ok := asMap(want)
		held, alsoOK := asMap(have)
		if f.record != nil && ok && alsoOK {
			d := &differences{}
			d.record("", f.record, wanted, held)
			return len(d.fields) == 0
		}
	}
	return sameValue(want, have)
}

func (f *field) sameList(want, have []any) bool {
	if f.kind == kindSet {
		return among(want, have, f.elements.same) &&
			among(have, want, func(h, w any) bool { return f.elements.same(w, h) })
	}
	return slices.EqualFunc(want, have, f.elements.same)
}

// among says whether each element of the list is one of the others.
func among(list, others []any, same func(e, other any) bool) bool {
	index := map[any]bool{}
	for _, other := range others {
		if scalar(other) {
			index[other] = true
		}
	}
	for _, e := range list {
		if scalar(e) && index[e] {
			continue
		}
		if !slices.ContainsFunc(others, func(other any) bool { return same(e, other) }) {
			return false
		}
	}
	return true
}

// scalar says whether the value can be a key of a Go map.
func scalar(v any) bool {
	switch v.(type) {
	case nil, string, bool, float64, int, int64, json.Number:
		return true
	}
	return false
}

// sameMap compares two objects with free keys; null is as good as absent.
func sameMap(want, have map[string]any, same func(w, h any) bool) bool {
	for key, w := range want {
		if h := have[key]; (w != nil || h != nil) && !same(w, h) {
			return false
		}
	}
	for key, h := range have {
		if h != nil && want[key] == nil {
			return false
		}
	}
	return true
}

// sameValue compares values of which no schema speaks.
func sameValue(want, have any) bool {
	return compare(want, have, func(w, h map[string]any) bool { return sameMap(w, h, sameValue) })
}

// covers says whether have holds everything that want declares; objects in have may
// hold more, since Kong fills in what it knows.
func covers(want, have any) bool {
	return compare(want, have, func(w, h map[string]any) bool {
		for key, value := range w {
			if !covers(value, h[key]) {
				return false
			}
		}
		return true
	})
}

// compare is the part that sameValue and covers have in common.
func compare(want, have any, sameObject func(w, h map[string]any) bool) bool {
	if w, ok := number(want); ok {
		h, alsoOK := number(have)
		return alsoOK && sameNumber(w, h)
	}
	switch w := want.(type) {
	case []any:
		h, ok := asList(have)
		return ok && slices.EqualFunc(w, h, func(a, b any) bool { return compare(a, b, sameObject) })
	case map[string]any:
		h, ok := asMap(have)
		return ok && sameObject(w, h)
	}
	return scalar(have) && want == have
}

// asList takes an empty object for an empty list, as Kong may answer it.
func asList(v any) ([]any, bool) {
	switch t := v.(type) {
	case []any:
		return t, true
	case map[string]any:
		return nil, len(t) == 0
	}
	return nil, false
}

// asMap takes an empty list for an empty object, as Kong may answer it.
func asMap(v any) (map[string]any, bool) {
	switch t := v.(type) {
	case map[string]any:
		return t, true
	case []any:
		return nil, len(t) == 0
	}
	return nil, false
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case float64:
		return n, true
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case json.Number:
		f, err := n.Float64()
		return f, err == nil
	}
	return 0, false
}

// sameNumber takes a number as Kong writes it, rounded to 16 digits (14 in older
// versions), for the one that was declared.
func sameNumber(want, have float64) bool {
	if want == have {
		return true
	}
	for _, digits := range []int{16, 14} {
		rounded, err := strconv.ParseFloat(strconv.FormatFloat(want, 'g', digits, 64), 64)
		if err == nil && rounded == have {
			return true
		}
	}
	return false
}
