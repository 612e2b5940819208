package schema

import "strings"

// regexProblem is nginx's message for an expression that PCRE does not compile, or "".
// It checks parentheses, classes and quantifiers, and accepts the rest.
func regexProblem(s string) string {
	r := regexReader{s: s}
	r.read()
	if r.problem == "" {
		return ""
	}
	why := "pcre2_compile() failed: " + r.problem + ` in "` + s + `"`
	if r.at < len(s) {
		why += ` at "` + s[r.at:] + `"`
	}
	return why
}

// regexReader reads an expression up to the first problem.
type regexReader struct {
	s       string
	at      int // of the problem, when there is one
	depth   int // of open parentheses
	problem string
	// repeatable reports whether the last item may have a quantifier. quantified
	// reports whether it has one, which may still become lazy or possessive.
	repeatable, quantified bool
}

func (r *regexReader) read() {
	for r.at < len(r.s) && r.problem == "" {
		switch c := r.s[r.at]; c {
		case '\\':
			r.escape()
		case '[':
			r.class()
		case '(', '|':
			r.open(c)
		case ')':
			r.shut()
		case '*', '+', '?':
			r.quantifier(c)
		default:
			r.item(1)
		}
	}
	if r.problem == "" && r.depth > 0 {
		r.problem = "missing closing parenthesis"
	}
}

// item skips an item that may be repeated.
func (r *regexReader) item(size int) {
	r.at += size
	r.repeatable, r.quantified = true, false
}

func (r *regexReader) escape() {
	if r.at == len(r.s)-1 {
		r.at, r.problem = len(r.s), `\ at end of pattern`
		return
	}
	r.item(2)
}

// class skips [...]. A bracket at its beginning is one of its characters.
func (r *regexReader) class() {
	i := r.at + 1
	for _, first := range "^]" {
		if i < len(r.s) && rune(r.s[i]) == first {
			i++
		}
	}
	for i < len(r.s) && r.s[i] != ']' {
		switch {
		case r.s[i] == '\\':
			i++
		case strings.HasPrefix(r.s[i:], "[:"):
			if end := strings.Index(r.s[i:], ":]"); end > 0 {
				i += end + 1
			}
		}
		i++
	}
	if i >= len(r.s) {
		r.at, r.problem = len(r.s), "missing terminating ] for character class"
		return
	}
	r.item(i + 1 - r.at)
}

// open skips "|", or "(" with the "?" or "*" of a special group.
func (r *regexReader) open(c byte) {
	r.at++
	r.repeatable, r.quantified = false, false
	if c == '|' {
		return
	}
	r.depth++
	if r.at < len(r.s) && (r.s[r.at] == '?' || r.s[r.at] == '*') {
		r.at++
	}
}

func (r *regexReader) shut() {
	if r.depth == 0 {
		r.problem = "unmatched closing parenthesis"
		return
	}
	r.depth--
	r.item(1)
}

func (r *regexReader) quantifier(c byte) {
	switch {
	case r.quantified && c != '*':
		r.repeatable, r.quantified = false, false
	case !r.repeatable || r.quantified:
		r.problem = "quantifier does not follow a repeatable item"
		return
	default:
		r.quantified = true
	}
	r.at++
}
