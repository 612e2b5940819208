package importer

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

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

// unnamed is the name of an entity that the file does not name. No entity of Kong has it: what is in such
// an entity is in none that this command can find, and above all not without a scope.
const unnamed = "\x00"

type deckReader struct {
	state *State
	read  int
	err   error
}

// formats are the beginnings of the versions whose places of plugins this command knows.
var formats = []string{"1.", "3."}

func (d *deckReader) root(root deckNode) {
	version := root.text("_format_version")
	switch {
	case version == "":
		d.err = errors.New("the file is not a state file of decK: it has no _format_version")
	case !slices.ContainsFunc(formats, func(known string) bool { return strings.HasPrefix(version, known) }):
		d.err = fmt.Errorf("the file has _format_version %q; this command knows 1.1 and 3.0", version)
	case root.at("_konnect").node != nil:
		d.err = errors.New("the file is for a control plane of Konnect, not for the Kong of a KongGateway")
	}
	if d.err != nil {
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

// nested reads the entities in an entity. Whatever is nested belongs to its parent. Only a service has
// entities with plugins in it, its routes: a consumer in a group is a reference, and so is a group of a
// consumer. Deeper ones are no state of decK, and an alias can make them endless.
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
		if path != "" && (collection.key != "routes" || scope.Service == "") {
			continue
		}
		for i, entity := range parent.list(collection.key) {
			if d.tooMany() {
				return
			}
			name := entity.name()
			inner := scope
			collection.in(&inner, cmp.Or(name, unnamed))
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
		if of := entry.at(ref.key); of.isSomething() {
			*ref.to = cmp.Or(of.name(), unnamed)
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

func (n deckNode) isSomething() bool { return n.node != nil && n.node.Tag != "!!null" }

// name is how other entities refer to an entity: a text, or what names it in a mapping.
func (n deckNode) name() string {
	switch {
	case !n.isSomething():
		return ""
	case n.node.Kind == yaml.ScalarNode:
		return n.node.Value
	}
	for _, key := range []string{"name", "username", "custom_id", "id"} {
		if name := n.text(key); name != "" {
			return name
		}
	}
	return ""
}
