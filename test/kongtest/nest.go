package kongtest

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// step is one part of the name of an argument: a field, or an index of a list.
type step struct {
	field string
	index int // from 1; 0 for a field
}

var (
	dotted   = regexp.MustCompile(`(?:[^.](?:\[[^\]]*\])*)+`)
	brackets = regexp.MustCompile(`\[([^\]]*)\]`)
)

// steps splits a name as Kong does for a write: "a.b[2].c" and "a[b]". Text in
// brackets is a key unless it is empty or a number. Kong reads a name that begins or
// ends with a dot as "name".
func steps(name string) []step {
	if strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") {
		return []step{{field: "name"}}
	}
	var out []step
	for _, part := range dotted.FindAllString(name, -1) {
		field := part
		var keys [][]string
		if i := strings.IndexByte(part[1:], '['); i >= 0 {
			if keys = brackets.FindAllStringSubmatch(part[1+i:], -1); keys != nil {
				field = part[:1+i]
			}
		}
		out = append(out, step{field: field})
		for _, key := range keys {
			out = append(out, bracketed(key[1]))
		}
	}
	return out
}

// bracketed is the step of a text in brackets. Empty brackets are index 1.
func bracketed(key string) step {
	if key == "" {
		return step{index: 1}
	}
	if n, err := strconv.Atoi(key); err == nil && n > 0 {
		return step{index: n}
	}
	return step{field: key}
}

// nest turns arguments into a body.
func nest(a args) map[string]any {
	root := &node{}
	for _, name := range slices.Sorted(maps.Keys(a)) {
		path, value := steps(name), a[name]
		list, repeated := value.([]any)
		if !repeated || !strings.HasSuffix(name, "[]") {
			root.put(path, value)
			continue
		}
		for i, v := range list {
			path[len(path)-1].index = i + 1
			root.put(path, v)
		}
	}
	body := map[string]any{}
	for field, n := range root.under {
		body[field.field] = n.value()
	}
	return body
}

// node is a value under construction: a leaf, or nodes by step.
type node struct {
	leaf  any
	under map[step]*node
}

func (n *node) put(path []step, value any) {
	if len(path) == 0 {
		n.add(value)
		return
	}
	if n.under == nil {
		n.under = map[step]*node{}
	}
	if n.under[path[0]] == nil {
		n.under[path[0]] = &node{}
	}
	n.under[path[0]].put(path[1:], value)
}

// add sets the value of a leaf. A second value, by another spelling, makes a list.
func (n *node) add(value any) {
	if n.leaf == nil {
		n.leaf = value
		return
	}
	n.leaf = []any{n.leaf, value}
}

// value is a list, in the order of the indexes, if the node has any.
func (n *node) value() any {
	if n.under == nil {
		return n.leaf
	}
	var list []any
	fields := map[string]any{}
	for _, s := range slices.SortedFunc(maps.Keys(n.under), func(a, b step) int { return a.index - b.index }) {
		if s.index > 0 {
			list = append(list, n.under[s].value())
			continue
		}
		fields[s.field] = n.under[s].value()
	}
	if list != nil {
		return list
	}
	return fields
}
