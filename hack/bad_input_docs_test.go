package hack_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// theAPIServers are in messages that the API server words itself, and not the CRDs.
var theAPIServers = regexp.MustCompile(`Unsupported value|Too many|Too long|request is too large|larger than max|entity too large|^--|^kubectl`)

var field = regexp.MustCompile(`^spec[\w.\[\]]*: `)

// docs/bad-input.md quotes what the CRDs say. A message that was reworded would be looked for in vain.
func TestBadInputDocsQuoteTheCRDs(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "bad-input.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Refused by the API server")
	section, _, _ = strings.Cut(section, "\n## ")
	files, err := filepath.Glob(filepath.Join("..", "config", "crd", "bases", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var definitions strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		definitions.WriteString(strings.ReplaceAll(strings.Join(strings.Fields(string(text)), " "), "''", "'"))
	}
	quoted := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		for _, span := range regexp.MustCompile("`[^`]+`").FindAllString(cells[2], -1) {
			message := strings.Trim(span, "`")
			if theAPIServers.MatchString(message) {
				continue
			}
			quoted++
			if !strings.Contains(definitions.String(), field.ReplaceAllString(message, "")) {
				t.Errorf("no CRD says %q", message)
			}
		}
	}
	if quoted < 20 {
		t.Errorf("only %d messages are quoted", quoted)
	}
}
