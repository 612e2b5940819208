// Package luajit finds the first syntax error of a Lua chunk and reports it in the
// words of LuaJIT 2.1 as Kong builds it (with the extensions of Lua 5.2). Kong
// answers these words when a function in a config does not compile. They quote
// parts of the source.
package luajit

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/yuin/gopher-lua/parse"
)

// SyntaxError returns LuaJIT's message for the first syntax error of a chunk, ""
// if there is none.
//
// The grammar is that of gopher-lua's parser. LuaJIT's message names the token that
// it expected and the token that it found; the parser is asked which tokens it
// would accept there. SyntaxError does not find what LuaJIT refuses in a chunk of
// valid syntax: a break outside of a loop, "..." outside of a vararg function, a
// goto without its label, a call in parentheses as a statement.
func SyntaxError(source string) string {
	tokens, lexical := scan(source)
	n := failingToken(tokens)
	switch {
	case n < len(tokens):
		return message(source, tokens[n].line, expectation(tokens[:n], tokens[n])+" near '"+tokens[n].near()+"'")
	case lexical != nil:
		return message(source, lexical.line, lexical.text)
	case parseTokens(tokens, "") == nil:
		return ""
	}
	end := token{text: eof, line: 1 + strings.Count(source, "\n")}
	return message(source, end.line, expectation(tokens, end)+" near '"+eof+"'")
}

// eof is the name of the end of a chunk in LuaJIT's messages.
const eof = "<eof>"

func message(source string, line int, text string) string {
	return fmt.Sprintf("%s:%d: %s", chunkName(source), line, text)
}

// chunkName is LuaJIT's name for a chunk that is loaded from a string: the source
// up to the first control character. A source of more than 48 bytes, or of more
// than one line, is cut after 45 bytes at most. Sources that begin with "=" or "@"
// are taken for names.
func chunkName(source string) string {
	const idSize = 60 // LUA_IDSIZE
	switch {
	case strings.HasPrefix(source, "="):
		return source[1:min(len(source), idSize)]
	case strings.HasPrefix(source, "@") && len(source) > idSize:
		return "..." + source[len(source)-(idSize-4):]
	case strings.HasPrefix(source, "@"):
		return source[1:]
	}
	n := strings.IndexFunc(source, func(r rune) bool { return r < ' ' })
	if n < 0 {
		n = len(source)
	}
	if n = min(n, idSize-12); n == len(source) {
		return `[string "` + source + `"]`
	}
	return `[string "` + source[:min(n, idSize-15)] + `..."]`
}

// failingToken is the index of the first token that the grammar does not allow
// after those before it, len(tokens) if it allows all.
func failingToken(tokens []token) int {
	if acceptable(parseTokens(tokens, "")) {
		return len(tokens)
	}
	return sort.Search(len(tokens), func(i int) bool { return !acceptable(parseTokens(tokens[:i+1], "")) })
}

// acceptable reports whether a parse got to the end of its input. More input may
// still be missing.
func acceptable(err error) bool {
	var at *parse.Error
	return err == nil || errors.As(err, &at) && at.Pos.Line == parse.EOF
}

// parseTokens parses tokens followed by next.
func parseTokens(tokens []token, next string) error {
	var b strings.Builder
	previous := token{}
	for _, t := range tokens {
		b.WriteString(t.grammatical(previous))
		b.WriteByte(' ')
		previous = t
	}
	b.WriteString(next)
	_, err := parse.Parse(strings.NewReader(b.String()), "")
	return err
}

// expectation is LuaJIT's complaint about the token that follows tokens, which are
// the beginning of a valid chunk. LuaJIT's parser is recursive descent: it names
// the one token that its current function needs.
func expectation(tokens []token, failing token) string {
	p := prefix{tokens: tokens, line: failing.line}
	switch {
	case blockEnds[failing.text] && p.mayClose():
		return p.closing()
	case p.accepts("while"), p.accepts("nil"):
		return "unexpected symbol"
	case p.accepts("..."):
		return "<name> or '...' expected"
	case p.accepts("then"):
		return "'then' expected"
	case p.accepts("do"):
		return "'do' expected"
	case p.accepts("in") && p.accepts("="):
		return "'=' or 'in' expected"
	case p.accepts("}"):
		return p.closes("}")
	case p.accepts(")") && p.accepts("+"): // after an expression
		return p.closes(")")
	case p.accepts(")"): // after a parameter
		return "')' expected"
	}
	for _, next := range []string{"in", "]", "="} {
		if p.accepts(next) {
			return "'" + next + "' expected"
		}
	}
	if p.mayClose() { // after the expressions of a return
		return p.closing()
	}
	return p.incomplete()
}

// blockEnds are the tokens at which LuaJIT stops to read statements.
var blockEnds = map[string]bool{"end": true, "else": true, "elseif": true, "until": true, eof: true}

// prefix is the beginning of a valid chunk. Line is that of the token after it.
type prefix struct {
	tokens []token
	line   int
}

// accepts reports whether the grammar allows next as the next token.
func (p prefix) accepts(next string) bool { return acceptable(parseTokens(p.tokens, next)) }

// complete reports whether the prefix is a chunk.
func (p prefix) complete() bool { return parseTokens(p.tokens, "") == nil }

// mayClose reports whether the innermost block may end here.
func (p prefix) mayClose() bool { return p.complete() || p.accepts("end") || p.accepts("until") }

// closing is the complaint about a token in place of the end of the innermost block.
func (p prefix) closing() string {
	switch {
	case p.complete():
		return "'" + eof + "' expected"
	case p.accepts("end"):
		return p.closes("end")
	}
	return p.closes("until")
}

// incomplete is the complaint about a token in the middle of a statement, where
// nothing can end.
func (p prefix) incomplete() string {
	switch {
	case p.accepts(","):
		return "',' expected"
	case p.accepts("::"):
		return "'::' expected"
	case p.accepts("{") && p.accepts("."):
		return "syntax error" // after an expression that is neither a call nor a variable
	case p.accepts("{"):
		return "function arguments expected"
	case p.accepts("(") && p.accepts("name"):
		return "unexpected symbol"
	case p.accepts("("):
		return "'(' expected"
	}
	return "'<name>' expected"
}

// closes is the complaint about a missing end of the innermost block or bracket. It
// says where that begins unless it is on the same line.
func (p prefix) closes(what string) string {
	open := openBlocks(p.tokens)
	opener := open[len(open)-1]
	if opener.line == p.line {
		return "'" + what + "' expected"
	}
	return fmt.Sprintf("'%s' expected (to close '%s' at line %d)", what, opener.text, opener.line)
}

// openBlocks are the blocks and brackets that the beginning of a valid chunk leaves
// open, the innermost last.
func openBlocks(tokens []token) []token {
	var open []token
	loops := map[int]bool{} // depths of a for or while whose do is still to come
	for _, t := range tokens {
		switch t.text {
		case "for", "while":
			open = append(open, t)
			loops[len(open)] = true
		case "do":
			if loops[len(open)] {
				delete(loops, len(open))
				continue
			}
			open = append(open, t)
		case "function", "if", "repeat", "(", "[", "{":
			open = append(open, t)
		case "end", "until", ")", "]", "}":
			open = open[:len(open)-1]
		}
	}
	return open
}
