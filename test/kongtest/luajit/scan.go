package luajit

import (
	"regexp"
	"strings"
)

type kind int

const (
	symbol kind = iota // or keyword
	name
	numeral
	stringLiteral
)

// token is one token of a chunk.
type token struct {
	kind kind
	text string // as written
	line int    // on which it ends, from 1
}

// near is the token in LuaJIT's messages: as written, but with simple escape
// sequences decoded.
func (t token) near() string {
	if t.kind == stringLiteral && t.text[0] != '[' {
		last := len(t.text) - 1
		return t.text[:1] + escapes.Replace(t.text[1:last]) + t.text[last:]
	}
	return t.text
}

var escapes = strings.NewReplacer(`\a`, "\a", `\b`, "\b", `\f`, "\f", `\n`, "\n", `\r`, "\r", `\t`, "\t", `\v`, "\v",
	`\\`, `\`, `\"`, `"`, `\'`, `'`, "\\\n", "\n")

// grammatical is a text with the same place in the grammar of Lua 5.1, which is the
// parser's. LuaJIT has more forms of literals, and a break that need not be the
// last statement. The parser takes a second separator in a table, LuaJIT does not.
func (t token) grammatical(previous token) string {
	switch {
	case t.kind == stringLiteral:
		return `""`
	case t.kind == numeral:
		return "1"
	case t.text == "break":
		return "goto label"
	case previous.text == "," && t.text == ";", t.text == "," && (previous.text == "," || previous.text == ";"):
		return "@"
	}
	return t.text
}

// lexicalError is text that is no token.
type lexicalError struct {
	line int
	text string
}

var (
	lexeme = regexp.MustCompile(`(?s)^(?:` +
		`(?P<blank>[ \t\r\n\v\f]+|--[^\n]*)` +
		`|(?P<name>[A-Za-z_\x80-\x{10FFFF}][A-Za-z0-9_\x80-\x{10FFFF}]*)` +
		`|(?P<number>\.?[0-9](?:[eEpP][+\-]|[0-9A-Za-z_.])*)` +
		`|(?P<symbol>\.\.\.|\.\.|==|~=|<=|>=|::|.)` +
		`)`)
	keyword = regexp.MustCompile(`^(and|break|do|else|elseif|end|false|for|function|goto|if|in|local|nil|not|or|` +
		`repeat|return|then|true|until|while)$`)
	validNumeral = regexp.MustCompile(`^(?i:0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[+\-]?[0-9]+)?` +
		`|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+\-]?[0-9]+)?)(?i:u?ll|i)?$`)
	openLongBracket = regexp.MustCompile(`^(--)?\[(=*)\[`)
	badLongBracket  = regexp.MustCompile(`^\[=+`)
	quoted          = regexp.MustCompile(`(?s)^(?:"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')`)
	unclosed        = regexp.MustCompile(`(?s)^(?:"(?:\\.|[^"\\\n])*|'(?:\\.|[^'\\\n])*)`)
	beforeBadEscape = regexp.MustCompile(`(?s)^.(?:[^\\]|\\[abfnrtvz\\'"\r\n0-9]|\\x[0-9A-Fa-f]{2}|\\u\{[0-9A-Fa-f]{1,8}\})*`)
)

// scan splits a chunk into tokens. With a lexical error the tokens are those
// before it.
func scan(source string) ([]token, *lexicalError) {
	var tokens []token
	rest, line := source, 1
	if strings.HasPrefix(rest, "#") { // a line for the shell
		first, _, _ := strings.Cut(rest, "\n")
		rest = rest[len(first):]
	}
	for rest != "" {
		t, size, wrong := next(rest)
		line += strings.Count(rest[:size], "\n")
		if wrong != "" {
			return tokens, &lexicalError{line: line, text: wrong}
		}
		if t.text != "" {
			t.line = line
			tokens = append(tokens, t)
		}
		rest = rest[size:]
	}
	return tokens, nil
}

// next reads one token, or a blank, which has no text. wrong is LuaJIT's message
// for what is neither; size is then as far as LuaJIT reads.
func next(rest string) (t token, size int, wrong string) {
	if m := openLongBracket.FindStringSubmatch(rest); m != nil {
		return longBracket(rest, m)
	}
	if m := badLongBracket.FindString(rest); m != "" {
		return t, len(m), "invalid long string delimiter near '" + m + "'"
	}
	if rest[0] == '"' || rest[0] == '\'' {
		return quotedString(rest)
	}
	m := lexeme.FindStringSubmatch(rest)
	t.text = m[0]
	switch {
	case m[lexeme.SubexpIndex("blank")] != "":
		t.text = ""
	case m[lexeme.SubexpIndex("name")] != "" && !keyword.MatchString(m[0]):
		t.kind = name
	case m[lexeme.SubexpIndex("number")] != "":
		t.kind = numeral
		if !validNumeral.MatchString(m[0]) {
			return t, len(m[0]), "malformed number near '" + m[0] + "'"
		}
	}
	return t, len(m[0]), ""
}

// longBracket reads a string or a comment in long brackets; opening is the match of
// openLongBracket.
func longBracket(rest string, opening []string) (t token, size int, wrong string) {
	closing := "]" + opening[2] + "]"
	isComment := opening[1] != ""
	i := strings.Index(rest[len(opening[0]):], closing)
	switch {
	case i < 0 && isComment:
		return t, len(rest), "unfinished long comment near '" + eof + "'"
	case i < 0:
		return t, len(rest), "unfinished long string near '" + eof + "'"
	}
	size = len(opening[0]) + i + len(closing)
	if !isComment {
		t = token{kind: stringLiteral, text: rest[:size]}
	}
	return t, size, ""
}

// quotedString reads a string in quotes.
func quotedString(rest string) (t token, size int, wrong string) {
	text := unclosed.FindString(rest)
	if good := beforeBadEscape.FindString(text); len(good) < len(text) {
		return t, len(good), "invalid escape sequence near '" + escapes.Replace(good) + "'"
	}
	if closed := quoted.FindString(rest); closed != "" {
		return token{kind: stringLiteral, text: closed}, len(closed), ""
	}
	if len(text) == len(rest) {
		return t, len(rest), "unfinished string near '" + eof + "'"
	}
	return t, len(text), "unfinished string near '" + escapes.Replace(text) + "'"
}
