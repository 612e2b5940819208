package plugin

import (
	"errors"
	"fmt"
)

// Bounds on a config, wherever it comes from. The largest configs that people use, lists of
// addresses and pages of code, stay far below. They hold for the text of a value and for
// what it decodes to, and for a config with all its patches.
const (
	maxConfigBytes = 2 << 20
	maxConfigNodes = 100_000
	maxConfigDepth = 64
)

// Bounds on a schema. The largest that Kong has are a tenth of this.
const (
	maxSchemaBytes = 8 << 20
	maxSchemaNodes = 500_000
)

const (
	problemTooLarge = "makes the config larger than 2 MiB after decoding, which is the maximum"
	problemTooMany  = "makes the config hold more than 100000 values after decoding, which is the maximum"
	problemTooDeep  = "makes the config more than 64 levels deep, which is the maximum"
)

// problem says what is wrong with a text, and in which line, counted from 1. The line is 0
// when it is not known. It never contains a part of the text.
type problem struct {
	text string
	line int
}

// size is what a value takes once it is decoded.
type size struct {
	// nodes are the values in it, itself included.
	nodes int
	// bytes of its scalars and keys.
	bytes int
	// depth is the number of arrays and objects inside each other.
	depth int
}

// budget is what a config may still take. The base of a config and its patches share one.
type budget struct{ nodes, bytes int }

func newBudget() *budget { return &budget{nodes: maxConfigNodes, bytes: maxConfigBytes} }

// exceeded returns which bound the size exceeds, "" for none.
func (b budget) exceeded(s size) string {
	switch {
	case s.depth > maxConfigDepth:
		return problemTooDeep
	case s.nodes > b.nodes:
		return problemTooMany
	case s.bytes > b.bytes:
		return problemTooLarge
	}
	return ""
}

func (b *budget) take(s size) {
	b.nodes -= s.nodes
	b.bytes -= s.bytes
}

// depthOf returns the number of arrays and objects inside each other.
func depthOf(value any) int {
	depth := 0
	switch v := value.(type) {
	case map[string]any:
		for _, e := range v {
			depth = max(depth, depthOf(e))
		}
		return depth + 1
	case []any:
		for _, e := range v {
			depth = max(depth, depthOf(e))
		}
		return depth + 1
	}
	return depth
}

// CheckConfigSize reports whether a JSON text, such as a plugin that Kong answers, stays
// within the bounds of a config. It decodes nothing, and reads each byte once. Call it
// before decoding the text. Its error contains no part of the text.
func CheckConfigSize(raw []byte) error {
	if text := newBudget().exceeded(measureJSON(raw)); text != "" {
		return errors.New("the plugin's JSON " + text)
	}
	return nil
}

// checkSchemaSize is CheckConfigSize for a schema.
func checkSchemaSize(raw []byte) error {
	s := measureJSON(raw)
	if s.bytes > maxSchemaBytes || s.nodes > maxSchemaNodes || s.depth > maxConfigDepth {
		return fmt.Errorf("it is larger than %d bytes or %d values, or nested more than %d levels deep",
			maxSchemaBytes, maxSchemaNodes, maxConfigDepth)
	}
	return nil
}

// measureJSON returns the size of a JSON text without decoding it. The size of a text that
// is not valid JSON has no meaning.
func measureJSON(raw []byte) size {
	s := size{nodes: 1, bytes: len(raw)}
	depth, inString := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			depth++
			s.depth = max(s.depth, depth)
			s.nodes++
		case c == ']' || c == '}':
			depth--
		case c == ',':
			s.nodes++
		}
	}
	return s
}
