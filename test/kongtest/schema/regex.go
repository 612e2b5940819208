package schema

import "strings"

// regexProblem says why PCRE does not compile an expression, in the words of nginx;
// "" if it does. It looks at how parentheses, classes and quantifiers are put
// together, and takes whatever else there is for good.
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

// regexReader goes through an expression once, up to the first problem.
type regexReader struct {
	s       string
	at      int // of the problem, when there is one
	depth   int // of open parentheses
	problem string
	// repeatable says whether what is before may have a quantifier, quantified
	// whether it has one, which may still be made lazy or possessive.
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

// item goes past something that may be repeated.
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

// class goes past [...]. A bracket that comes first is one of the characters.
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

// open goes past "|", or "(" with the "?" or "*" that makes it a special group.
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
