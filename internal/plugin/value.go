package plugin

import (
	"encoding/json"
	"slices"
	"strconv"
)

// maxCompareSteps bounds the comparison of two plugins. It is ten times what the largest
// config needs. What is not compared within it is a difference.
const maxCompareSteps = 2 << 20

// comparer compares desired values with live ones, and counts the values that it visits.
type comparer struct {
	steps int
	// unique is the number of canonical forms that no other value has.
	unique int
}

// spend counts steps. It reports false when the budget is used up.
func (c *comparer) spend(steps int) bool {
	if c.steps <= maxCompareSteps {
		c.steps += steps
	}
	return c.steps <= maxCompareSteps
}

// same reports whether Kong would answer the live value after a write of the desired one.
// Null equals absent inside objects, an empty array equals an empty object, and numbers
// compare as numbers.
func (c *comparer) same(f *field, desired, live any) bool {
	if f == nil || desired == nil || live == nil {
		return c.sameValue(desired, live)
	}
	if !c.spend(1) {
		return false
	}
	switch f.kind {
	case kindArray, kindSet:
		d, ok := asList(desired)
		l, alsoOK := asList(live)
		if ok && alsoOK {
			return c.sameList(f, d, l)
		}
	case kindMap:
		d, ok := asMap(desired)
		l, alsoOK := asMap(live)
		if ok && alsoOK {
			return c.sameMap(d, l, func(d, l any) bool { return c.same(f.values, d, l) })
		}
	case kindRecord:
		d, ok := asMap(desired)
		l, alsoOK := asMap(live)
		if f.record != nil && ok && alsoOK {
			inside := &differences{comparer: c, first: true}
			inside.record("", f.record, d, l)
			return len(inside.fields) == 0
		}
	}
	return c.sameValue(desired, live)
}

func (c *comparer) sameList(f *field, desired, live []any) bool {
	if f.kind == kindSet {
		return c.sameSet(f.elements, desired, live)
	}
	return slices.EqualFunc(desired, live, func(d, l any) bool { return c.same(f.elements, d, l) })
}

// sameMap compares two objects with free keys. Null equals absent.
func (c *comparer) sameMap(desired, live map[string]any, same func(d, l any) bool) bool {
	for key, d := range desired {
		if l := live[key]; (d != nil || l != nil) && !same(d, l) {
			return false
		}
	}
	for key, l := range live {
		if l != nil && desired[key] == nil {
			return false
		}
	}
	return true
}

// sameValue compares values that no schema describes.
func (c *comparer) sameValue(desired, live any) bool {
	return c.sameJSON(desired, live, func(d, l map[string]any) bool { return c.sameMap(d, l, c.sameValue) })
}

// isSubset reports whether the live value holds everything that the desired one declares.
// Objects in the live value may hold more, because Kong fills in defaults.
func (c *comparer) isSubset(desired, live any) bool {
	return c.sameJSON(desired, live, func(d, l map[string]any) bool {
		for key, value := range d {
			if !c.isSubset(value, l[key]) {
				return false
			}
		}
		return true
	})
}

// sameJSON is the common part of sameValue and isSubset.
func (c *comparer) sameJSON(desired, live any, sameObject func(d, l map[string]any) bool) bool {
	if !c.spend(1) {
		return false
	}
	if d, ok := number(desired); ok {
		l, alsoOK := number(live)
		return alsoOK && sameNumber(d, l)
	}
	switch d := desired.(type) {
	case []any:
		l, ok := asList(live)
		return ok && slices.EqualFunc(d, l, func(a, b any) bool { return c.sameJSON(a, b, sameObject) })
	case map[string]any:
		l, ok := asMap(live)
		return ok && sameObject(d, l)
	}
	return scalar(live) && desired == live
}

// scalar reports whether the value can be a key of a Go map.
func scalar(v any) bool {
	switch v.(type) {
	case nil, string, bool, float64, int, int64, json.Number:
		return true
	}
	return false
}

// asList accepts an empty object as an empty list, because Kong may answer it.
func asList(v any) ([]any, bool) {
	switch t := v.(type) {
	case []any:
		return t, true
	case map[string]any:
		return nil, len(t) == 0
	}
	return nil, false
}

// asMap accepts an empty list as an empty object, because Kong may answer it.
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

// sameNumber reports whether Kong writes the desired number as the live one: it rounds to
// 16 digits, in older versions to 14.
func sameNumber(desired, live float64) bool {
	if desired == live {
		return true
	}
	for _, digits := range []int{16, 14} {
		rounded, err := strconv.ParseFloat(strconv.FormatFloat(desired, 'g', digits, 64), 64)
		if err == nil && rounded == live {
			return true
		}
	}
	return false
}
