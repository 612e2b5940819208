package plugin

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// sameSet reports whether each element of one list is the same as some element of the other.
// It writes each element in a canonical form, and looks the forms of one list up among those
// of the other. An element whose form is not found is compared with all others: how Kong
// answers a deprecated field depends on the answer.
func (c *comparer) sameSet(elements *field, desired, live []any) bool {
	desiredForms, liveForms := map[string]bool{}, map[string]bool{}
	forms := make([]string, len(live))
	for i, l := range live {
		forms[i] = c.liveForm(elements, l)
		liveForms[forms[i]] = true
	}
	var left []any
	for _, d := range desired {
		found := false
		for _, form := range c.desiredForms(elements, d) {
			desiredForms[form] = true
			found = found || liveForms[form]
		}
		if !found {
			left = append(left, d)
		}
	}
	if !among(left, live, func(d, l any) bool { return c.same(elements, d, l) }) {
		return false
	}
	left = nil
	for i, l := range live {
		if !desiredForms[forms[i]] {
			left = append(left, l)
		}
	}
	return among(left, desired, func(l, d any) bool { return c.same(elements, d, l) })
}

// among reports whether each element of the list is one of the others.
func among(list, others []any, same func(e, other any) bool) bool {
	for _, e := range list {
		if !slices.ContainsFunc(others, func(other any) bool { return same(e, other) }) {
			return false
		}
	}
	return true
}

// liveForm returns the canonical form of a live value.
func (c *comparer) liveForm(f *field, value any) string {
	return string((&canonical{comparer: c}).append(nil, f, value))
}

// desiredForms returns the canonical forms of the live values that Kong may answer after a
// write of the desired one: with its numbers as they are, with 16 or with 14 digits.
func (c *comparer) desiredForms(f *field, value any) []string {
	exact := &canonical{comparer: c, filled: true}
	forms := []string{string(exact.append(nil, f, value))}
	if exact.rounds {
		for _, digits := range []int{16, 14} {
			forms = append(forms, string((&canonical{comparer: c, filled: true, digits: digits}).append(nil, f, value)))
		}
	}
	return forms
}

// canonical writes values so that comparer.same calls two of them the same if they have the
// same form.
type canonical struct {
	*comparer
	// filled: the value is a desired one, and gets what Kong would fill in.
	filled bool
	// digits to which numbers are rounded, 0 for none.
	digits int
	// rounds: there is a number that Kong may round.
	rounds bool
}

// append appends the form of a value that the field describes.
func (c *canonical) append(b []byte, f *field, value any) []byte {
	if !c.spend(1) {
		return c.appendUnique(b)
	}
	if f == nil || value == nil {
		return c.appendValue(b, value)
	}
	switch f.kind {
	case kindArray, kindSet:
		if list, ok := asList(value); ok {
			return c.appendList(b, list, f.elements, f.kind == kindSet)
		}
	case kindMap:
		if m, ok := asMap(value); ok {
			return c.appendObject(b, m, func(string) *field { return f.values })
		}
	case kindRecord:
		if m, ok := asMap(value); ok && f.record != nil {
			return c.appendRecord(b, m, f.record)
		}
	}
	return c.appendValue(b, value)
}

// appendUnique appends a form that no other value has, for what has none.
func (c *canonical) appendUnique(b []byte) []byte {
	c.unique++
	return strconv.AppendInt(append(b, '?'), int64(c.unique), 10)
}

// appendValue appends the form of a value that no schema describes.
func (c *canonical) appendValue(b []byte, value any) []byte {
	if n, ok := number(value); ok {
		return append(strconv.AppendFloat(append(b, 'n'), c.round(n), 'g', -1, 64), ';')
	}
	switch v := value.(type) {
	case nil:
		return append(b, "null"...)
	case string:
		return append(append(strconv.AppendInt(append(b, 's'), int64(len(v)), 10), ':'), v...)
	case json.Number:
		return append(append(b, 'j'), v...)
	case bool:
		return strconv.AppendBool(b, v)
	case []any:
		return c.appendList(b, v, nil, false)
	case map[string]any:
		if len(v) == 0 {
			return append(b, "[]"...)
		}
		return c.appendObject(b, v, func(string) *field { return nil })
	}
	return c.appendUnique(b)
}

func (c *canonical) round(n float64) float64 {
	digits := c.digits
	if digits == 0 {
		digits = 14
	}
	// What was formatted can be parsed.
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(n, 'g', digits, 64), 64)
	c.rounds = c.rounds || rounded != n
	switch {
	case n == 0:
		return 0 // and not -0
	case c.digits == 0:
		return n
	}
	return rounded
}

// appendList appends the form of a list. That of a set is sorted, with each element once.
func (c *canonical) appendList(b []byte, list []any, elements *field, set bool) []byte {
	forms := make([]string, len(list))
	for i, e := range list {
		forms[i] = string(c.append(nil, elements, e))
	}
	if set {
		slices.Sort(forms)
		forms = slices.Compact(forms)
	}
	b = append(b, '[')
	for _, form := range forms {
		b = append(append(b, form...), ',')
	}
	return append(b, ']')
}

// appendObject appends the form of an object, in which null equals absent.
func (c *canonical) appendObject(b []byte, m map[string]any, inside func(name string) *field) []byte {
	b = append(b, '{')
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if m[key] != nil {
			b = append(c.append(c.appendValue(b, key), inside(key), m[key]), ',')
		}
	}
	return append(b, '}')
}

// appendRecord appends the form of a record. A live one is compared in the fields that the
// schema knows. A desired one that declares other fields, or deprecated ones of which the
// schema does not say how to translate them, has no form.
func (c *canonical) appendRecord(b []byte, m map[string]any, r *record) []byte {
	if !c.spend(len(r.names)) {
		return c.appendUnique(b)
	}
	if c.filled {
		for _, d := range r.declaredDeprecated(m, c.comparer) {
			if !r.translatable(d) {
				return c.appendUnique(b)
			}
		}
		m = r.translate(m, nil, c.comparer)
		for name := range m {
			if r.fields[name] == nil {
				return c.appendUnique(b)
			}
		}
	}
	known := make(map[string]any, len(r.names))
	for _, name := range r.names {
		value, declared := m[name]
		if c.filled && !declared {
			value = r.fields[name].missing()
		}
		known[name] = value
	}
	return c.appendObject(b, known, func(name string) *field { return r.fields[name] })
}
