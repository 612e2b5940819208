package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Changed code can leave a mutant without its place. Without this test only a run of all mutants
// would show that.
func TestMutantsFollowTheCode(t *testing.T) {
	names := map[string]bool{}
	for _, m := range mutants {
		source, err := os.ReadFile(filepath.Join("..", "..", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), m.from); n != 1 {
			t.Errorf("%s: %s has its text %d times, not once", m.name, m.file, n)
		}
		if m.from == m.to || names[m.name] {
			t.Errorf("%s changes nothing, or has the name of another mutant", m.name)
		}
		names[m.name] = true
	}
}

// The table in docs/reliability.md has one row for each mutant, and no other row.
func TestEveryMutantHasARow(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	_, table, _ := strings.Cut(page, "\n| rule | broken | noticed by |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := map[string]int{}
	for line := range strings.SplitSeq(table, "\n") {
		cells := strings.Split(line, " | ")
		if len(cells) != 3 || strings.TrimSuffix(cells[2], " |") == "" {
			t.Errorf("not a row: %s", line)
			continue
		}
		rows[cells[0]+" | "+cells[1]]++
	}
	for _, m := range mutants {
		row := "| " + m.rule + " | " + m.name
		if rows[row] != 1 {
			t.Errorf("docs/reliability.md has %d rows %q", rows[row], row)
		}
		delete(rows, row)
	}
	for row := range rows {
		t.Errorf("docs/reliability.md has the row %q, and there is no such mutant", row)
	}
	if want := fmt.Sprintf("[%d of %[1]d noticed](#mutants)", len(mutants)); !strings.Contains(page, want) {
		t.Errorf("docs/reliability.md does not say %q", want)
	}
}
