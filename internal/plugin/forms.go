package plugin

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// parts returns the parts of a value that must not appear: the whole, the whole without the
// space around it, its lines, as they are and trimmed, and each of these with its space as
// messages have it, in single blanks. A short part without a letter or a digit is no secret,
// and would hide the punctuation of every message.
func parts(value string) []string {
	out := []string{value, strings.TrimSpace(value)}
	if strings.Contains(value, "\n") {
		for line := range strings.Lines(value) {
			line = strings.TrimRight(line, "\r\n")
			for _, l := range []string{line, strings.TrimSpace(line)} {
				if !isShort(l) {
					out = append(out, l)
				}
			}
		}
	}
	for _, part := range out {
		out = append(out, inOneLine(part))
	}
	return slices.DeleteFunc(out, func(part string) bool {
		return isShort(part) && !strings.ContainsFunc(part, isWord)
	})
}

// isShort reports whether a value has fewer than minRedactLen characters.
func isShort(value string) bool {
	return len(value) < minRedactLen*utf8.UTFMax && utf8.RuneCountInString(value) < minRedactLen
}

// inOneLine puts a text into one line, as internal/adminapi does with Kong's messages.
func inOneLine(s string) string {
	if !strings.ContainsFunc(s, isSpace) {
		return s
	}
	return strings.Join(strings.FieldsFunc(s, isSpace), " ")
}

func isSpace(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// forms returns the notations of a value, each once. Escaping is done twice, for a JSON body
// that an error quotes.
func forms(value string) []string {
	out := []string{value}
	if strings.ContainsFunc(value, isEscaped) {
		for _, form := range escape(value) {
			out = append(out, form)
			out = append(out, escape(form)...)
		}
	}
	if strings.ContainsFunc(value, isURLEscaped) {
		out = append(out, url.QueryEscape(value), url.PathEscape(value))
	}
	for _, encoding := range []*base64.Encoding{
		base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding,
	} {
		out = append(out, encoding.EncodeToString([]byte(value)))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// isEscaped reports whether a string of JSON or of Go may escape the character.
func isEscaped(r rune) bool {
	return r < ' ' || r > '~' || strings.ContainsRune("\"\\/<>&", r)
}

// isURLEscaped reports whether a URL may escape the character.
func isURLEscaped(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune("-_.~", r)
}

// escape writes a value as the inside of a string of JSON (Go's with and without HTML
// escapes, and Kong's, which escapes the slash) and of Go.
func escape(value string) []string {
	plain := jsonEscape(value, false)
	out := []string{
		plain,
		jsonEscape(value, true),
		strings.NewReplacer("/", `\/`, "\x7f", `\u007f`).Replace(plain),
		inside(strconv.Quote(value)),
		inside(strconv.QuoteToASCII(value)),
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func jsonEscape(value string, html bool) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(html)
	// A string always encodes.
	_ = encoder.Encode(value)
	return inside(strings.TrimSuffix(b.String(), "\n"))
}

// inside removes the quotes.
func inside(quoted string) string { return quoted[1 : len(quoted)-1] }

func isWord(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)
}
