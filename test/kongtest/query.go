package kongtest

import (
	"maps"
	"slices"
	"strings"
)

// args are the arguments of a query or form: a string, true for a name without "=",
// or a []any for a repeated name.
type args map[string]any

// Numbers of arguments that Kong reads. Endpoints of entities refuse more, endpoints
// of schemas ignore more.
const (
	maxEntityArgs = 1000
	maxSchemaArgs = 100
)

// parseArgs reads up to limit arguments of a query string. more reports whether it
// has others.
func parseArgs(raw string, limit int) (out args, more bool) {
	out = args{}
	n := 0
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		if n++; n > limit {
			return out, true
		}
		name, value, has := strings.Cut(part, "=")
		var v any = true
		if has {
			v = unescape(value, true)
		}
		out.add(unescape(name, true), v)
	}
	return out, false
}

func (a args) add(name string, v any) {
	switch old := a[name].(type) {
	case nil:
		a[name] = v
	case []any:
		a[name] = append(old, v)
	default:
		a[name] = []any{old, v}
	}
}

// decoded merges "name[]" and "name[1]" into lists. Kong does so except for
// validations.
func (a args) decoded() args {
	out := args{}
	for _, name := range slices.SortedFunc(maps.Keys(a), compareIndexed) {
		setPath(out, []string{name}, a[name])
	}
	return out
}

// unescape decodes percent escapes. Malformed ones stay.
func unescape(s string, plusIsSpace bool) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b.WriteByte(hexValue(s[i+1])<<4 | hexValue(s[i+2]))
			i += 2
		case s[i] == '+' && plusIsSpace:
			b.WriteByte(' ')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func hexValue(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	default:
		return c - '0'
	}
}

// escape is ngx.escape_uri.
func escape(s string) string {
	const plain = "!'()*-._~"
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}
