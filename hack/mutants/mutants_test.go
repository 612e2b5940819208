package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A mutant whose place in the code has gone would kill nothing and say so only when
// somebody runs them all.
func TestMutantsFollowTheCode(t *testing.T) {
	names := map[string]bool{}
	for _, m := range mutants {
		source, err := os.ReadFile(filepath.Join("..", "..", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), m.from); n != 1 {
			t.Errorf("%s: %s has its place %d times", m.name, m.file, n)
		}
		if m.from == m.to || names[m.name] {
			t.Errorf("%s changes nothing, or is there twice", m.name)
		}
		names[m.name] = true
	}
}
