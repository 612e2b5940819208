package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Bounds on a state file. The largest that people have are a tenth of this.
const (
	MaxStateBytes = 64 << 20
	maxEntities   = 200_000
)

var errTooManyEntities = fmt.Errorf("the file has more than %d entities", maxEntities)

// ParseDeck reads a state file of decK, format 1.1 or 3.0: the places of its plugins, not their
// configs. Several files are one state, as for decK.
func ParseDeck(state *State, name string, raw []byte) error {
	if len(raw) > MaxStateBytes {
		return fmt.Errorf("%s: the file has more than %d MiB", name, MaxStateBytes>>20)
	}
	document := &yaml.Node{}
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	if err := decoder.Decode(document); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s is not valid YAML: %w", name, err)
	}
	d := &deckReader{state: state}
	root := deckNode{}
	if len(document.Content) > 0 {
		root.node = document.Content[0]
	}
	d.root(root)
	if d.err != nil {
		return fmt.Errorf("%s: %w", name, d.err)
	}
	state.Tool, state.Files = "decK", append(state.Files, name)
	return nil
}

type deckReader struct {
	state *State
	read  int
	err   error
}

func (d *deckReader) root(root deckNode) {
	if root.node == nil || root.node.Kind != yaml.MappingNode || root.text("_format_version") == "" {
		d.err = errors.New("the file is not a state file of decK: it has no _format_version")
		return
	}
	if workspace := root.text("_workspace"); workspace != "" {
		if d.state.Workspace != "" && d.state.Workspace != workspace {
			d.err = fmt.Errorf("the files name two workspaces, %s and %s", d.state.Workspace, workspace)
			return
		}
		d.state.Workspace = workspace
	}
	for _, tag := range root.at("_info").list("select_tags") {
		if tag.node.Value != "" && !slices.Contains(d.state.SelectTags, tag.node.Value) {
			d.state.SelectTags = append(d.state.SelectTags, tag.node.Value)
		}
	}
	d.nested(root, "", Entry{})
}

// nested reads the entities in an entity. Whatever is nested belongs to its parent.
func (d *deckReader) nested(parent deckNode, path string, scope Entry) {
	for _, collection := range []struct {
		key string
		in  func(*Entry, string)
	}{
		{"services", func(e *Entry, name string) { e.Service = name }},
		{"routes", func(e *Entry, name string) { e.Service, e.Route = "", name }},
		{"consumers", func(e *Entry, name string) { e.Consumer = name }},
		{"consumer_groups", func(e *Entry, name string) { e.ConsumerGroup = name }},
	} {
		if path != "" && collection.key != "routes" {
			continue // a consumer in a group is a reference, and so is a group of a consumer
		}
		for i, entity := range parent.list(collection.key) {
			if d.tooMany() {
				return
			}
			name := entity.name()
			inner := scope
			collection.in(&inner, name)
			d.nested(entity, join(path, collection.key, name, i), inner)
		}
	}
	for i, entry := range parent.list("plugins") {
		if d.tooMany() {
			return
		}
		d.plugin(entry, join(path, "plugins", entry.text("name"), i), scope)
	}
}

func (d *deckReader) plugin(entry deckNode, address string, scope Entry) {
	scope.Address, scope.ID, scope.Plugin, scope.InstanceName = address, entry.text("id"), entry.text("name"), entry.text("instance_name")
	for _, ref := range []struct {
		key string
		to  *string
	}{
		{"service", &scope.Service}, {"route", &scope.Route}, {"consumer", &scope.Consumer}, {"consumer_group", &scope.ConsumerGroup},
	} {
		if name := entry.at(ref.key).name(); name != "" {
			*ref.to = name
		}
	}
	d.state.Entries = append(d.state.Entries, scope)
}

func (d *deckReader) tooMany() bool {
	if d.read++; d.read > maxEntities {
		d.err = errTooManyEntities
	}
	return d.err != nil
}

func join(path, key, name string, index int) string {
	if name == "" {
		name = fmt.Sprint(index)
	}
	if path != "" {
		path += "."
	}
	return path + key + "[" + name + "]"
}

// deckNode is a part of the file. The zero deckNode is a part that is not there.
type deckNode struct{ node *yaml.Node }

// resolved follows an alias.
func resolved(node *yaml.Node) *yaml.Node {
	if node != nil && node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

// at returns the value of a key, also of one that a merge key brings in.
func (n deckNode) at(key string) deckNode {
	if n.node == nil || n.node.Kind != yaml.MappingNode {
		return deckNode{}
	}
	var merged *yaml.Node
	for i := 0; i+1 < len(n.node.Content); i += 2 {
		switch name := n.node.Content[i]; {
		case name.Value == key:
			return deckNode{resolved(n.node.Content[i+1])}
		case name.Tag == "!!merge":
			merged = resolved(n.node.Content[i+1])
		}
	}
	if merged == nil || merged == n.node || merged.Kind != yaml.MappingNode {
		return deckNode{}
	}
	for i := 0; i+1 < len(merged.Content); i += 2 { // one level: what is merged there does not count
		if merged.Content[i].Value == key {
			return deckNode{resolved(merged.Content[i+1])}
		}
	}
	return deckNode{}
}

func (n deckNode) text(key string) string {
	if value := n.at(key).node; value != nil && value.Kind == yaml.ScalarNode && value.Tag != "!!null" {
		return value.Value
	}
	return ""
}

func (n deckNode) list(key string) []deckNode {
	value := n.at(key).node
	if value == nil || value.Kind != yaml.SequenceNode {
		return nil
	}
	list := make([]deckNode, len(value.Content))
	for i, element := range value.Content {
		list[i] = deckNode{resolved(element)}
	}
	return list
}

// name is how other entities refer to an entity: a text, or the name or ID in a mapping.
func (n deckNode) name() string {
	switch {
	case n.node == nil:
		return ""
	case n.node.Kind == yaml.ScalarNode && n.node.Tag != "!!null":
		return n.node.Value
	}
	for _, key := range []string{"name", "username", "id"} {
		if name := n.text(key); name != "" {
			return name
		}
	}
	return ""
}
