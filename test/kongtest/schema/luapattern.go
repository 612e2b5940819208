package schema

import "strings"

// luaMatch reports whether s matches a Lua pattern, the notation of "match" and similar
// attributes in Kong's schemas. It does not keep captures and does not support back
// references, which no schema has.
func luaMatch(s, pattern string) bool {
	if rest, ok := strings.CutPrefix(pattern, "^"); ok {
		return matchHere(s, rest)
	}
	for i := 0; i <= len(s); i++ {
		if matchHere(s[i:], pattern) {
			return true
		}
	}
	return false
}

func matchHere(s, p string) bool {
	switch {
	case p == "":
		return true
	case p == "$":
		return s == ""
	case p[0] == '(' || p[0] == ')':
		return matchHere(s, p[1:])
	}
	item, rest := splitItem(p)
	if rest == "" {
		return s != "" && matchOne(s[0], item)
	}
	switch rest[0] {
	case '*', '-':
		return matchRepeat(s, item, rest[1:], 0)
	case '+':
		return matchRepeat(s, item, rest[1:], 1)
	case '?':
		return s != "" && matchOne(s[0], item) && matchHere(s[1:], rest[1:]) || matchHere(s, rest[1:])
	}
	return s != "" && matchOne(s[0], item) && matchHere(s[1:], rest)
}

// matchRepeat matches at least least repetitions. Greedy or not, the result is the same.
func matchRepeat(s, item, rest string, least int) bool {
	for n := 0; ; n++ {
		if n >= least && matchHere(s[n:], rest) {
			return true
		}
		if n >= len(s) || !matchOne(s[n], item) {
			return false
		}
	}
}

// splitItem splits the first single-character class off a pattern.
func splitItem(p string) (item, rest string) {
	n := 1
	switch p[0] {
	case '%':
		n = min(2, len(p))
	case '[':
		n = setEnd(p)
	}
	return p[:n], p[n:]
}

// setEnd is the end of a [set]. A "]" at its beginning is an element.
func setEnd(p string) int {
	i := 1
	if i < len(p) && p[i] == '^' {
		i++
	}
	for first := true; i < len(p); first = false {
		switch {
		case p[i] == ']' && !first:
			return i + 1
		case p[i] == '%':
			i++
		}
		i++
	}
	return len(p)
}

func matchOne(c byte, item string) bool {
	switch {
	case item == ".":
		return true
	case item[0] == '%' && len(item) == 2:
		return matchClass(c, item[1])
	case item[0] == '[':
		return matchSet(c, strings.TrimSuffix(item[1:], "]"))
	}
	return c == item[0]
}

func matchSet(c byte, set string) bool {
	body, negated := strings.CutPrefix(set, "^")
	for i := 0; i < len(body); {
		switch {
		case body[i] == '%' && i+1 < len(body):
			if matchClass(c, body[i+1]) {
				return !negated
			}
			i += 2
		case i+2 < len(body) && body[i+1] == '-':
			if body[i] <= c && c <= body[i+2] {
				return !negated
			}
			i += 3
		default:
			if body[i] == c {
				return !negated
			}
			i++
		}
	}
	return negated
}

// matchClass matches %a and other classes. An upper-case letter is the complement; any
// other character matches itself.
func matchClass(c, class byte) bool {
	in, known := false, true
	switch class | 0x20 {
	case 'a':
		in = isLetter(c)
	case 'd':
		in = isDigit(c)
	case 'l':
		in = 'a' <= c && c <= 'z'
	case 'u':
		in = 'A' <= c && c <= 'Z'
	case 's':
		in = c == ' ' || '\t' <= c && c <= '\r'
	case 'w':
		in = isLetter(c) || isDigit(c)
	case 'x':
		in = isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f'
	case 'p':
		in = '!' <= c && c <= '~' && !isLetter(c) && !isDigit(c)
	case 'c':
		in = c < ' ' || c == 0x7f
	default:
		known = false
	}
	if !known || !isLetter(class) {
		return c == class
	}
	return in != ('A' <= class && class <= 'Z')
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
