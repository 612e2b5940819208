package validate

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

const document = `# a comment
kind: Secret
metadata: {name: b}
---
kind: List
items:
- kind: PluginBinding
  metadata:
    name: a
- kind: PluginBinding
  metadata:
    name: b
    namespace: shop
  spec:
    config:
      minute: 5
      methods:
      - GET
      - nonsense
`

func TestLineOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]int{
		"spec.config.minute":        16,
		"spec.config.methods[1]":    19,
		"spec.config.methods[7]":    17,
		"spec.config.absent.deeper": 15,
		"spec.plugin":               14,
		"":                          10,
	} {
		if _, line := newLines().of(file, "PluginBinding", types.NamespacedName{Namespace: "shop", Name: "b"}, field); line != want {
			t.Errorf("%q: line %d, want %d", field, line, want)
		}
	}
	for _, key := range []types.NamespacedName{{Namespace: "shop", Name: "c"}, {Namespace: "other", Name: "b"}} {
		if _, line := newLines().of(file, "PluginBinding", key, "spec"); line != 0 {
			t.Errorf("%s: line %d of another object", key, line)
		}
	}
	found := newLines()
	found.of(file, "PluginBinding", types.NamespacedName{Namespace: "shop", Name: "b"}, "spec")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, line := found.of(file, "PluginBinding", types.NamespacedName{Namespace: "shop", Name: "b"}, "spec"); line != 14 {
		t.Error("a file is read again for each finding")
	}
	if _, line := newLines().of("STDIN", "PluginBinding", types.NamespacedName{Name: "b"}, "spec"); line != 0 {
		t.Error("standard input has no lines")
	}
}

func TestIsBelow(t *testing.T) {
	for path, want := range map[string]bool{
		"config.redis.password": true, "config.redis": true, "config.redis.password.x": true, "": true,
		"config.redis.host": false, "config.minute": false,
	} {
		if got := isBelow(path, []string{"config.redis.password"}); got != want {
			t.Errorf("%q: %v", path, got)
		}
	}
	if isBelow("", nil) {
		t.Error("nothing was left out")
	}
}
