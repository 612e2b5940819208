package validate

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/types"
)

// maxFile bounds what is read to find a line.
const maxFile = 16 << 20

// lines finds lines in files. It reads each file once.
type lines struct{ documents map[string][]*yaml.Node }

func newLines() *lines { return &lines{documents: map[string][]*yaml.Node{}} }

// of finds the line of an object's field in the file that it comes from: of the deepest part of the
// field that the file has. It returns no line for what is no file, such as standard input.
func (l *lines) of(source, kind string, key types.NamespacedName, field string) (file string, line int) {
	documents, known := l.documents[source]
	if !known {
		documents = documentsOf(source)
		l.documents[source] = documents
	}
	for _, document := range documents {
		if object := find(document, kind, key); object != nil {
			return source, descend(object, field)
		}
	}
	return source, 0
}

// documentsOf are the YAML documents of a file, up to the first that cannot be read.
func documentsOf(source string) (documents []*yaml.Node) {
	handle, err := os.Open(source) //nolint:gosec // G304: a file that the user named
	if err != nil {
		return nil
	}
	defer handle.Close()
	text, err := io.ReadAll(io.LimitReader(handle, maxFile))
	if err != nil {
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		document := &yaml.Node{}
		if err := decoder.Decode(document); err != nil {
			return documents
		}
		if len(document.Content) > 0 {
			documents = append(documents, document.Content[0])
		}
	}
}

// find returns the object in a document, also in a List.
func find(node *yaml.Node, kind string, key types.NamespacedName) *yaml.Node {
	metadata := child(node, "metadata")
	namespace := text(child(metadata, "namespace"))
	if text(child(node, "kind")) == kind && text(child(metadata, "name")) == key.Name && (namespace == "" || namespace == key.Namespace) {
		return node
	}
	items := child(node, "items")
	if items == nil {
		return nil
	}
	for _, item := range items.Content {
		if found := find(item, kind, key); found != nil {
			return found
		}
	}
	return nil
}

// descend returns the line of a field such as spec.config.methods[1].
func descend(node *yaml.Node, field string) int {
	line := node.Line
	for part := range strings.SplitSeq(strings.ReplaceAll(field, "[", ".["), ".") {
		next, at := step(node, part)
		if next == nil {
			return line
		}
		node, line = next, at
	}
	return line
}

// step goes one part down, and says in which line that part begins.
func step(node *yaml.Node, part string) (next *yaml.Node, line int) {
	if index, isIndex := strings.CutPrefix(part, "["); isIndex {
		i, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
		if err != nil || node.Kind != yaml.SequenceNode || i < 0 || i >= len(node.Content) {
			return nil, 0
		}
		return node.Content[i], node.Content[i].Line
	}
	if node.Kind != yaml.MappingNode {
		return nil, 0
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == part {
			return node.Content[i+1], node.Content[i].Line
		}
	}
	return nil, 0
}

func child(node *yaml.Node, name string) *yaml.Node {
	if node == nil {
		return nil
	}
	next, _ := step(node, name)
	return next
}

func text(node *yaml.Node) string {
	if node == nil {
		return ""
	}
	return node.Value
}
