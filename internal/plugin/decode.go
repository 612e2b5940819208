package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"

	yamlnode "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

const (
	problemNotJSON     = "is not valid JSON"
	problemNotYAML     = "is not valid YAML or JSON"
	problemDuplicate   = "holds a key twice in one object; remove one of them"
	problemDocument    = "holds a second YAML document; remove it, or put it into another key"
	problemMergeKey    = "holds a YAML merge key (<<), which is not supported; write the merged keys out"
	problemSelfAlias   = "holds a YAML alias inside the value that it stands for"
	problemComplexKey  = "holds a YAML key that is not a string, a number or a boolean"
	problemDirectives  = "holds more than 100 YAML tag directives (%TAG), which is the maximum"
	problemSameJSONKey = "holds two YAML keys that are the same in JSON, such as yes and true; remove one of them"
)

const maxTagDirectives = 100

// decodeConfig decodes a JSON or YAML text. It checks the bounds before it decodes, and
// takes the size from the budget.
func decodeConfig(raw []byte, b *budget) (any, *problem) {
	// JSON first: YAML is not quite a superset of it (tabs).
	if json.Valid(raw) {
		return decodeJSON(raw, b)
	}
	return decodeYAML(raw, b)
}

// decodeJSON decodes a JSON text as encoding/json does, but refuses an object that holds a
// key twice, of which encoding/json keeps the last.
func decodeJSON(raw []byte, b *budget) (any, *problem) {
	if !json.Valid(raw) {
		return nil, &problem{text: problemNotJSON}
	}
	s := measureJSON(raw)
	if text := b.exceeded(s); text != "" {
		return nil, &problem{text: text}
	}
	b.take(s)
	d := &jsonDecoder{Decoder: json.NewDecoder(bytes.NewReader(raw)), raw: raw}
	return d.value()
}

// jsonDecoder decodes a text that is valid JSON. Its tokens never fail, but for a number
// beyond the range of float64.
type jsonDecoder struct {
	*json.Decoder
	raw []byte
}

func (d *jsonDecoder) value() (any, *problem) {
	token, err := d.Token()
	if err != nil {
		return nil, &problem{problemNotJSON, d.line()}
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			element, p := d.value()
			if p != nil {
				return nil, p
			}
			list = append(list, element)
		}
		_, _ = d.Token()
		return list, nil
	case json.Delim('{'):
		return d.object()
	}
	return token, nil
}

func (d *jsonDecoder) object() (any, *problem) {
	object := map[string]any{}
	for d.More() {
		token, _ := d.Token()
		key, _ := token.(string)
		if _, twice := object[key]; twice {
			return nil, &problem{problemDuplicate, d.line()}
		}
		value, p := d.value()
		if p != nil {
			return nil, p
		}
		object[key] = value
	}
	_, _ = d.Token()
	return object, nil
}

// line of the last token.
func (d *jsonDecoder) line() int {
	return 1 + bytes.Count(d.raw[:d.InputOffset()], []byte("\n"))
}

// decodeYAML decodes the one document of a YAML text. It first parses the text into a tree
// of nodes, in which aliases are not expanded, and measures what they would expand to.
func decodeYAML(raw []byte, b *budget) (any, *problem) {
	// A node of the tree takes a hundred times the bytes of its text.
	if len(raw) > b.bytes {
		return nil, &problem{text: problemTooLarge}
	}
	if mostYAMLNodes(raw) > 2*maxConfigNodes {
		return nil, &problem{text: problemTooMany}
	}
	// The parser compares each tag directive with all others.
	if bytes.Count(raw, []byte("%TAG")) > maxTagDirectives {
		return nil, &problem{text: problemDirectives}
	}
	root, p := parseYAML(raw)
	if p != nil || root == nil {
		return nil, p
	}
	m := &yamlMeter{budget: *b, anchors: map[*yamlnode.Node]yamlSize{}}
	depth, p := m.measure(root.Content[0], 0)
	if p != nil {
		return nil, p
	}
	b.take(size{nodes: m.total.nodes, bytes: m.total.bytes, depth: depth})
	var value any
	if err := yaml.UnmarshalStrict(raw, &value); err != nil {
		// The parser's own words may quote the Secret.
		return nil, &problem{problemNotYAML, lineOf(err)}
	}
	if countPairs(value) != m.total.pairs {
		return nil, &problem{text: problemSameJSONKey}
	}
	return value, nil
}

// mostYAMLNodes bounds the number of values in a YAML text: each but the first follows one
// of these characters.
func mostYAMLNodes(raw []byte) int {
	n := 1
	for _, c := range raw {
		switch c {
		case '\n', ',', ':', '-', '?', '[', '{':
			n++
		}
	}
	return n
}

// parseYAML returns the document in the text, nil if there is none. Empty documents after
// it do not count: a text may end with a separator.
func parseYAML(raw []byte) (*yamlnode.Node, *problem) {
	decoder := yamlnode.NewDecoder(bytes.NewReader(raw))
	var first *yamlnode.Node
	for {
		document := &yamlnode.Node{}
		err := decoder.Decode(document)
		switch {
		case errors.Is(err, io.EOF):
			return first, nil
		case err != nil:
			return nil, &problem{problemNotYAML, lineOf(err)}
		case first == nil:
			first = document
		case !isEmptyYAML(document.Content[0]):
			return nil, &problem{problemDocument, document.Line}
		}
	}
}

func isEmptyYAML(n *yamlnode.Node) bool {
	return n.Kind == yamlnode.ScalarNode && n.Style == 0 && n.Value == ""
}

// yamlSize is what a node takes once its aliases are expanded.
type yamlSize struct {
	size
	// pairs of keys and values in its mappings.
	pairs int
}

// yamlMeter measures a tree of nodes with every alias expanded, without expanding one.
type yamlMeter struct {
	budget budget
	total  yamlSize
	// anchors has the size of each node that an alias may refer to. An alias follows its
	// anchor, so that the node is complete unless it contains the alias.
	anchors map[*yamlnode.Node]yamlSize
}

// measure adds the node to the total, and returns its depth. level is the number of nodes
// around it.
func (m *yamlMeter) measure(n *yamlnode.Node, level int) (depth int, p *problem) {
	before := m.total
	switch n.Kind {
	case yamlnode.AliasNode:
		s, complete := m.anchors[n.Alias]
		if !complete {
			return 0, &problem{problemSelfAlias, n.Line}
		}
		m.total.nodes += s.nodes
		m.total.bytes += s.bytes
		m.total.pairs += s.pairs
		depth = s.depth
	case yamlnode.MappingNode, yamlnode.SequenceNode:
		if depth, p = m.measureInside(n, level+1); p != nil {
			return 0, p
		}
		depth++
		m.total.nodes++
	default:
		m.total.nodes++
		m.total.bytes += len(n.Value)
	}
	if n.Anchor != "" {
		m.anchors[n] = yamlSize{
			size:  size{m.total.nodes - before.nodes, m.total.bytes - before.bytes, depth},
			pairs: m.total.pairs - before.pairs,
		}
	}
	if text := m.budget.exceeded(size{m.total.nodes, m.total.bytes, level + depth}); text != "" {
		return 0, &problem{text, n.Line}
	}
	return depth, nil
}

// measureInside measures the elements of a sequence, or the keys and values of a mapping.
func (m *yamlMeter) measureInside(n *yamlnode.Node, level int) (depth int, p *problem) {
	if level > maxConfigDepth {
		return 0, &problem{problemTooDeep, n.Line}
	}
	keys := map[string]bool{}
	for i, inner := range n.Content {
		if n.Kind == yamlnode.MappingNode && i%2 == 0 {
			if text := m.addKey(keys, inner); text != "" {
				return 0, &problem{text, inner.Line}
			}
			continue
		}
		d, p := m.measure(inner, level)
		if p != nil {
			return 0, p
		}
		depth = max(depth, d)
	}
	return depth, nil
}

// addKey adds the key of a mapping to the set and to the total, or returns what is wrong
// with it.
func (m *yamlMeter) addKey(keys map[string]bool, key *yamlnode.Node) string {
	if key.Kind == yamlnode.AliasNode {
		key = key.Alias
	}
	switch {
	case key.Kind != yamlnode.ScalarNode:
		return problemComplexKey
	case key.ShortTag() == "!!merge":
		return problemMergeKey
	case keys[key.Value]:
		return problemDuplicate
	}
	keys[key.Value] = true
	m.total.bytes += len(key.Value)
	m.total.pairs++
	if key.Anchor != "" {
		m.anchors[key] = yamlSize{size: size{nodes: 1, bytes: len(key.Value)}}
	}
	return ""
}

// countPairs returns the number of keys in all objects of a value.
func countPairs(value any) int {
	n := 0
	switch v := value.(type) {
	case map[string]any:
		n = len(v)
		for _, e := range v {
			n += countPairs(e)
		}
	case []any:
		for _, e := range v {
			n += countPairs(e)
		}
	}
	return n
}

var lineNumber = regexp.MustCompile(`line (\d{1,9})\b`)

// lineOf finds the line number in a YAML parser's error, 0 when there is none.
func lineOf(err error) int {
	m := lineNumber.FindStringSubmatch(err.Error())
	if m == nil {
		return 0
	}
	// Nine digits always fit.
	line, _ := strconv.Atoi(m[1])
	return line
}
