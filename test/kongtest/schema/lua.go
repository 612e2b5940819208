package schema

import (
	"regexp"
	"strings"
)

var luaToken = regexp.MustCompile(`(?s)^(?:` +
	`(?P<blank>\s+|--\[\[.*?\]\]|--[^\n]*)` +
	`|(?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\[\[.*?\]\])` +
	`|(?P<name>[A-Za-z_][A-Za-z0-9_]*)` +
	`|(?P<number>\.?[0-9](?:[eEpP][+\-]|[0-9A-Za-z_.])*)` +
	`|(?P<sign>\.\.\.|\.\.|==|~=|<=|>=|::|.)` +
	`)`)

// luaTokens are the words of a program. It is nil for one with a long bracket of
// some level, which no expression can read.
func luaTokens(code string) []string {
	if regexp.MustCompile(`\[=+\[`).MatchString(code) {
		return nil
	}
	var out []string
	for code != "" {
		m := luaToken.FindStringSubmatch(code)
		if m[luaToken.SubexpIndex("blank")] == "" {
			out = append(out, m[0])
		}
		code = code[len(m[0]):]
	}
	return out
}

var isLuaName = regexp.MustCompile(`^[A-Za-z_]`)

// luaProblem finds what no Lua program may have: brackets and blocks that do not
// end, and a first statement of two names. It is no parser: what it does not see
// is accepted. The words are LuaJIT's.
func luaProblem(code string) string {
	tokens := luaTokens(code)
	if len(tokens) > 1 && isPlainName(tokens[0]) && isPlainName(tokens[1]) {
		return luaChunk(code) + ":1: '=' expected near '" + tokens[1] + "'"
	}
	var open []string
	for _, token := range tokens {
		closing := luaPairs[token]
		switch {
		case closing != "":
			open = append(open, closing)
		case len(open) > 0 && token == open[len(open)-1]:
			open = open[:len(open)-1]
		case luaClosers[token]:
			return ""
		}
	}
	if len(open) == 0 {
		return ""
	}
	line := luaChunk(code) + ":" + luaNumber(float64(1+strings.Count(code, "\n"))) + ": "
	if last := tokens[len(tokens)-1]; luaPairs[last] != "" && !isLuaName.MatchString(last) && last != "{" {
		return line + "unexpected symbol near '<eof>'"
	}
	return line + "'" + open[len(open)-1] + "' expected near '<eof>'"
}

var (
	luaPairs = map[string]string{
		"(": ")", "[": "]", "{": "}", "function": "end", "do": "end", "if": "end", "repeat": "until",
	}
	luaClosers = map[string]bool{")": true, "]": true, "}": true, "end": true, "until": true}
)

func isPlainName(token string) bool { return isLuaName.MatchString(token) && !keywords[token] }

// luaChunk is what Lua calls a program in its messages: its first line, shortened.
func luaChunk(code string) string {
	const longest = 45 // 60 less the brackets, quotes and dots around it
	first, _, more := strings.Cut(code, "\n")
	if len(first) > longest {
		first, more = first[:longest], true
	}
	if more {
		first += "..."
	}
	return `[string "` + first + `"]`
}

// checkLua wants a program; refusal is what comes before Lua's own words.
func checkLua(refusal string) func(string) string {
	return func(code string) string {
		if why := luaProblem(code); why != "" {
			return refusal + ": " + why
		}
		return ""
	}
}
