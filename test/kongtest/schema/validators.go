package schema

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// runValidators applies the attributes that restrict a value, in Kong's order. It
// returns the first error message, or "".
func (f *field) runValidators(v any) string {
	for _, run := range []func(*field, any) string{
		(*field).checkEquality, (*field).checkNumber, (*field).checkFormat, (*field).checkLength,
		(*field).checkPatterns, (*field).checkElements,
	} {
		if msg := run(f, v); msg != "" {
			return msg
		}
	}
	if f.Validator != "" {
		return validatorFuncs[f.Validator](v)
	}
	return ""
}

func (f *field) checkEquality(v any) string {
	switch {
	case f.Eq.set && !equal(v, f.Eq.value):
		return "value must be " + luaString(f.Eq.value)
	case f.Ne.set && equal(v, f.Ne.value):
		return "value must not be " + luaString(v)
	case f.NotOneOf != nil && oneOf(v, f.NotOneOf):
		return "must not be one of: " + joined(f.NotOneOf)
	case f.OneOf != nil && !oneOf(v, f.OneOf):
		return "expected one of: " + joined(f.OneOf)
	}
	return ""
}

func oneOf(v any, list []any) bool {
	return slices.ContainsFunc(list, func(e any) bool { return equal(v, e) })
}

func joined(list []any) string {
	words := make([]string, len(list))
	for i, e := range list {
		words[i] = luaString(e)
	}
	return strings.Join(words, ", ")
}

func (f *field) checkNumber(v any) string {
	n, ok := v.(float64)
	switch {
	case !ok:
	case f.Gt != nil && n <= *f.Gt:
		return "value must be greater than " + luaNumber(*f.Gt)
	case f.Timestamp && n <= 0:
		return "expected a valid timestamp"
	case f.Between != nil && (n < f.Between[0] || n > f.Between[1]):
		return fmt.Sprintf("value should be between %.0f and %.0f", f.Between[0], f.Between[1])
	}
	return ""
}

var uuidPattern = regexp.MustCompile(`(?i)^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func (f *field) checkFormat(v any) string {
	s, ok := v.(string)
	switch {
	case !ok:
	case f.UUID && !uuidPattern.MatchString(s):
		return "expected a valid UUID"
	case f.IsRegex && regexProblem(s) != "":
		return "not a valid regex: " + s
	}
	return ""
}

func (f *field) checkLength(v any) string {
	var n int
	switch t := v.(type) {
	case string:
		n = len(t)
	case []any:
		n = len(t)
	case map[string]any:
		n = len(t)
	default:
		return ""
	}
	switch {
	case f.LenEq != nil && n != *f.LenEq:
		return fmt.Sprintf("length must be %d", *f.LenEq)
	case f.LenMin != nil && n < *f.LenMin:
		return fmt.Sprintf("length must be at least %d", *f.LenMin)
	case f.LenMin == nil && f.Type == "string" && n < 1:
		return "length must be at least 1"
	case f.LenMax != nil && n > *f.LenMax:
		return fmt.Sprintf("length must be at most %d", *f.LenMax)
	}
	return ""
}

func (f *field) checkPatterns(v any) string {
	s, ok := v.(string)
	if !ok {
		return ""
	}
	if !strings.HasPrefix(s, f.StartsWith) {
		return "should start with: " + f.StartsWith
	}
	if f.NotMatch != "" && luaMatch(s, f.NotMatch) {
		return "invalid value: " + s
	}
	for _, p := range f.MatchNone {
		if luaMatch(s, p.Pattern) {
			return p.Err
		}
	}
	if f.Match != "" && !luaMatch(s, f.Match) {
		return "invalid value: " + s
	}
	for _, p := range f.MatchAll {
		if !luaMatch(s, p.Pattern) {
			return p.Err
		}
	}
	if f.MatchAny != nil && !slices.ContainsFunc(f.MatchAny.Patterns, func(p string) bool { return luaMatch(s, p) }) {
		return f.MatchAny.Err
	}
	return ""
}

func (f *field) checkElements(v any) string {
	list, ok := v.([]any)
	if !ok {
		return ""
	}
	if f.Contains.set && !oneOf(f.Contains.value, list) {
		return "expected to contain: " + luaString(f.Contains.value)
	}
	return f.checkExclusive(list)
}

// checkExclusive requires that all elements are in one of the subsets. The message
// lists the subsets in the order of the elements.
func (f *field) checkExclusive(list []any) string {
	var hit []string
	for _, e := range list {
		for _, subset := range f.Exclusive {
			name := "('" + strings.Join(subset, "', '") + "')"
			if s, ok := e.(string); ok && slices.Contains(subset, s) && !slices.Contains(hit, name) {
				hit = append(hit, name)
			}
		}
	}
	if len(hit) < 2 {
		return ""
	}
	return "these sets are mutually exclusive: " + strings.Join(hit, ", ")
}
