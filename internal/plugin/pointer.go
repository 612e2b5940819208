package plugin

import (
	"fmt"
	"strconv"
	"strings"
)

var unescapeToken = strings.NewReplacer("~1", "/", "~0", "~")

// parsePointer returns the tokens of a JSON pointer, or the problem with it.
func parsePointer(pointer string) ([]string, string) {
	if !strings.HasPrefix(pointer, "/") {
		return nil, "path is not a JSON pointer: it has to start with '/'"
	}
	rest := strings.NewReplacer("~0", "", "~1", "").Replace(pointer)
	if strings.Contains(rest, "~") {
		return nil, "path is not a JSON pointer: '~' has to be written ~0 and '/' ~1"
	}
	tokens := strings.Split(pointer[1:], "/")
	for i, token := range tokens {
		tokens[i] = unescapeToken.Replace(token)
	}
	return tokens, ""
}

// putAt sets the value at a JSON pointer (RFC 6901) in the node, in place, and returns the
// node. It creates missing objects on the way. An index replaces an existing element. "-"
// appends, and creates a missing array. If it cannot set the value, putAt returns the problem.
func putAt(node any, tokens []string, value any) (any, string) {
	if len(tokens) == 0 {
		return value, ""
	}
	switch n := node.(type) {
	case nil:
		if tokens[0] == "-" {
			return putInArray(nil, tokens, value)
		}
		return putInObject(map[string]any{}, tokens, value)
	case map[string]any:
		return putInObject(n, tokens, value)
	case []any:
		return putInArray(n, tokens, value)
	}
	return nil, fmt.Sprintf("path goes through a %s before %q", kindOf(node), tokens[0])
}

func putInObject(n map[string]any, tokens []string, value any) (any, string) {
	child, problem := putAt(n[tokens[0]], tokens[1:], value)
	if problem == "" {
		n[tokens[0]] = child
	}
	return n, problem
}

func putInArray(n []any, tokens []string, value any) (any, string) {
	if tokens[0] == "-" {
		child, problem := putAt(nil, tokens[1:], value)
		return append(n, child), problem
	}
	i, err := strconv.Atoi(tokens[0])
	switch {
	case err != nil || strconv.Itoa(i) != tokens[0] || i < 0:
		return nil, fmt.Sprintf("path has %q where an array needs an index or '-'", tokens[0])
	case i >= len(n):
		return nil, fmt.Sprintf("path has index %d, and the array ends before it", i)
	}
	child, problem := putAt(n[i], tokens[1:], value)
	if problem == "" {
		n[i] = child
	}
	return n, problem
}

// kindOf returns the JSON kind of a scalar.
func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	}
	return "number"
}
