package schema

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	longQuote  = regexp.MustCompile(`\[(=*)\[|\](=*)\]`)
	keywords   = map[string]bool{
		"and": true, "break": true, "do": true, "else": true, "elseif": true, "end": true, "false": true,
		"for": true, "function": true, "if": true, "in": true, "local": true, "nil": true, "not": true, "or": true,
		"repeat": true, "return": true, "then": true, "true": true, "until": true, "while": true, "goto": true,
	}
)

// pretty formats a table as Penlight's pretty.write does with its default indentation:
// the sequence, then names in order, then elements after a hole with their index.
func pretty(v any, indent string) string {
	inner := indent + "  "
	var lines []string
	switch t := v.(type) {
	case map[string]any:
		for _, k := range sortedKeys(t) {
			lines = append(lines, inner+prettyKey(k)+" = "+pretty(t[k], inner))
		}
	case []any:
		hole := false
		for i, e := range t {
			switch {
			case e == nil:
				hole = true
			case hole:
				lines = append(lines, fmt.Sprintf("%s[%d] = %s", inner, i+1, pretty(e, inner)))
			default:
				lines = append(lines, inner+pretty(e, inner))
			}
		}
	case string:
		return quote(t)
	default:
		return luaString(v)
	}
	if len(lines) == 0 {
		return "{\n" + indent + "}"
	}
	return "{\n" + strings.Join(lines, ",\n") + "\n" + indent + "}"
}

func prettyKey(k string) string {
	if identifier.MatchString(k) && !keywords[k] {
		return k
	}
	return "[" + quote(k) + "]"
}

// quote formats a Lua string: %q, or long brackets if it has a line break or brackets.
func quote(s string) string {
	signs, has := longest(s + "]")
	if !strings.Contains(s, "\r") && (has || strings.Contains(s, "\n")) {
		if has {
			signs += "="
		}
		if strings.HasPrefix(s, "\n") {
			s = "\n" + s
		}
		return "[" + signs + "[" + s + "]" + signs + "]"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", "\\\n", "\r", `\r`, "\x00", `\0`).Replace(s) + `"`
}

// longest returns the equal signs of the longest bracket in s.
func longest(s string) (signs string, found bool) {
	for _, m := range longQuote.FindAllStringSubmatch(s, -1) {
		found = true
		if n := m[1] + m[2]; len(n) > len(signs) {
			signs = n
		}
	}
	return signs, found
}
