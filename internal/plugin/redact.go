package plugin

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// redacted replaces a value from a Secret.
const redacted = "[redacted]"

// minRedactLen is the length, in characters, from which a value is hidden wherever it stands.
// A shorter one is hidden only as a whole token, so that a port 80 does not hide the middle of
// an ID.
const minRedactLen = 4

// Redactor hides values that came from Secrets. Nil hides nothing. It is safe for
// concurrent use. It prints as "[redacted]", never as what it hides.
type Redactor struct {
	values []string
	// keys of objects that came from Secrets, hidden unless the plugin has such fields.
	keys     map[string]bool
	once     sync.Once
	patterns []pattern
}

// pattern is one way in which a value may be written.
type pattern struct {
	text  string
	token bool
}

// Redact returns s with "[redacted]" in place of each value from a Secret: as it is,
// escaped for JSON, for a URL or as a Go string, in base64, and line by line. Shorter
// ones than four characters are hidden where they stand as a whole token. Where values
// overlap all of them go. Of a text that was cut short, which ends in "...", the beginning
// of a value before that goes too. The same input always gives the same output.
func (r *Redactor) Redact(s string) string {
	if r == nil || len(r.values) == 0 && len(r.keys) == 0 {
		return s
	}
	r.once.Do(r.compile)
	var found []span
	for _, p := range r.patterns {
		found = p.cutOff(s, p.find(s, found))
	}
	return cut(s, found)
}

// String implements fmt.Stringer.
func (r *Redactor) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (r *Redactor) GoString() string { return redacted }

// addSecret adds every string and number inside the value. It is not safe for concurrent
// use, and must not be called after Redact.
func (r *Redactor) addSecret(value any) {
	switch v := value.(type) {
	case string:
		r.values = append(r.values, v)
	case float64:
		for _, format := range []struct {
			verb      byte
			precision int
		}{{'g', -1}, {'f', -1}, {'g', 14}, {'g', 16}} { // Go's forms, and those of Kong's Lua
			r.values = append(r.values, strconv.FormatFloat(v, format.verb, format.precision, 64))
		}
	case []any:
		for _, e := range v {
			r.addSecret(e)
		}
	case map[string]any:
		for key, e := range v {
			if r.keys == nil {
				r.keys = map[string]bool{}
			}
			r.keys[key] = true
			r.addSecret(e)
		}
	}
}

// AllowFieldNames shows the names of the plugin's own fields, which are not secret even if
// a Secret contains them. It is not safe for concurrent use, and must not be called after
// Redact.
func (r *Redactor) AllowFieldNames(s *Schema) {
	if r != nil && s != nil {
		s.config.removeKeys(r.keys)
	}
}

// removeKeys removes the names of all fields in the record from the set.
func (r *record) removeKeys(names map[string]bool) {
	for name, f := range r.fields {
		delete(names, name)
		f.removeKeys(names)
	}
	for _, d := range r.deprecated {
		delete(names, d.name)
	}
}

func (f *field) removeKeys(names map[string]bool) {
	if f == nil {
		return
	}
	if f.record != nil {
		f.record.removeKeys(names)
	}
	f.elements.removeKeys(names)
	f.values.removeKeys(names)
}

// RedactPath returns the path of a field with "[redacted]" in place of every name that only
// a Secret contains.
func (r *Redactor) RedactPath(path string) string {
	if r == nil || len(r.keys) == 0 {
		return path
	}
	for key := range r.keys {
		if strings.Contains(path, key) && strings.ContainsAny(key, ".[]") {
			return redacted // not to be told from the names around it
		}
	}
	segments := strings.Split(path, ".")
	for i, segment := range segments {
		name, _, _ := strings.Cut(segment, "[")
		if r.keys[name] || r.keys[segment] {
			segments[i] = redacted
		}
	}
	return strings.Join(segments, ".")
}

// RedactAll returns the redactor for a config whose Secrets are not known. It hides every
// value.
func RedactAll(config map[string]any) *Redactor {
	r := &Redactor{}
	for _, value := range config {
		r.addSecret(value)
	}
	r.keys = nil
	return r
}

// compile computes every form of every value when Redact is first called. Most plugins are
// rendered and appear in no message.
func (r *Redactor) compile() {
	seen := map[string]bool{}
	for _, value := range slices.Concat(r.values, slices.Sorted(maps.Keys(r.keys))) {
		for _, part := range parts(value) {
			if seen[part] {
				continue
			}
			seen[part] = true
			token := utf8.RuneCountInString(part) < minRedactLen
			for _, form := range forms(part) {
				r.patterns = append(r.patterns, pattern{text: form, token: token})
			}
		}
	}
}

// parts returns what must not show of a value: the whole, the whole without the space
// around it, its lines, as they are and trimmed, and each of these with its space as messages
// have it, in single blanks. Parts without any letter or digit that are short say nothing and
// would take punctuation out of every message.
func parts(value string) []string {
	out := []string{value, strings.TrimSpace(value)}
	if strings.Contains(value, "\n") {
		for line := range strings.Lines(value) {
			line = strings.TrimRight(line, "\r\n")
			for _, l := range []string{line, strings.TrimSpace(line)} {
				if utf8.RuneCountInString(l) >= minRedactLen {
					out = append(out, l)
				}
			}
		}
	}
	for _, part := range out {
		out = append(out, inOneLine(part))
	}
	return slices.DeleteFunc(out, func(part string) bool {
		return utf8.RuneCountInString(part) < minRedactLen && !strings.ContainsFunc(part, isWord)
	})
}

// inOneLine puts a text into one line, as internal/adminapi does with what Kong says.
func inOneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " ")
}

// forms returns the ways in which a value may be written, each once. Escaping is done
// twice, for a JSON body that is quoted in an error.
func forms(value string) []string {
	out := []string{value}
	once := escape(value)
	out = append(out, once...)
	for _, form := range once {
		out = append(out, escape(form)...)
	}
	for _, encoding := range []*base64.Encoding{
		base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding,
	} {
		out = append(out, encoding.EncodeToString([]byte(value)))
	}
	out = append(out, url.QueryEscape(value), url.PathEscape(value))
	slices.Sort(out)
	return slices.Compact(out)
}

// escape writes a value as the inside of a string of JSON (Go's with and without HTML
// escapes, and Kong's, which escapes the slash) and of Go.
func escape(value string) []string {
	plain := jsonEscape(value, false)
	return []string{
		plain,
		jsonEscape(value, true),
		strings.NewReplacer("/", `\/`, "\x7f", `\u007f`).Replace(plain),
		inside(strconv.Quote(value)),
		inside(strconv.QuoteToASCII(value)),
	}
}

func jsonEscape(value string, html bool) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(html)
	// a string always encodes
	_ = encoder.Encode(value)
	return inside(strings.TrimSuffix(b.String(), "\n"))
}

// inside takes the quotes off.
func inside(quoted string) string { return quoted[1 : len(quoted)-1] }

// span is a part of a text, by its byte offsets.
type span struct{ start, end int }

// find appends every place in s, overlapping ones too.
func (p pattern) find(s string, found []span) []span {
	for from := 0; ; {
		i := strings.Index(s[from:], p.text)
		if i < 0 {
			return found
		}
		at := span{from + i, from + i + len(p.text)}
		if !p.token || wholeToken(s, at) {
			found = append(found, at)
		}
		from = at.start + 1
	}
}

// cutOff appends the beginning of the value at the end of a text that was cut short there.
func (p pattern) cutOff(s string, found []span) []span {
	text, short := strings.CutSuffix(s, "...")
	if !short || p.token {
		return found
	}
	for n := min(len(p.text)-1, len(text)); n >= minRedactLen; n-- {
		if strings.HasSuffix(text, p.text[:n]) {
			return append(found, span{len(text) - n, len(text)})
		}
	}
	return found
}

// wholeToken says whether no letter, digit or underscore touches the span.
func wholeToken(s string, at span) bool {
	before, _ := utf8.DecodeLastRuneInString(s[:at.start])
	after, _ := utf8.DecodeRuneInString(s[at.end:])
	return !isWord(before) && !isWord(after)
}

func isWord(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

// cut replaces the spans; those that overlap or touch become one.
func cut(s string, found []span) string {
	if len(found) == 0 {
		return s
	}
	slices.SortFunc(found, func(a, b span) int { return a.start - b.start })
	var b strings.Builder
	end := 0
	for i, at := range found {
		if i == 0 || at.start > end {
			b.WriteString(s[end:at.start])
			b.WriteString(redacted)
		}
		end = max(end, at.end)
	}
	b.WriteString(s[end:])
	return b.String()
}
