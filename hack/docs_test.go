package hack_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	linkPattern    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	headingPattern = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *#*$`)
	anchorPattern  = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
	fencePattern   = regexp.MustCompile("(?s)(?:^|\n) *```.*?\n *```")
	spanPattern    = regexp.MustCompile("`[^`\n]*`")
)

// page is a document: where it links to, and where others can.
type page struct {
	links   []string
	anchors map[string]bool
}

func pageOf(text string) page {
	p := page{anchors: map[string]bool{}}
	text = fencePattern.ReplaceAllString(text, "")
	for _, heading := range headingPattern.FindAllStringSubmatch(text, -1) {
		anchor := anchorOf(heading[1])
		for p.anchors[anchor] {
			anchor += "-1"
		}
		p.anchors[anchor] = true
	}
	for _, anchor := range anchorPattern.FindAllStringSubmatch(text, -1) {
		p.anchors[anchor[1]] = true
	}
	for _, link := range linkPattern.FindAllStringSubmatch(spanPattern.ReplaceAllString(text, "code"), -1) {
		p.links = append(p.links, link[1])
	}
	return p
}

// anchorOf is the anchor that GitHub gives a heading.
func anchorOf(heading string) string {
	heading = regexp.MustCompile(`\]\([^)]*\)`).ReplaceAllString(heading, "]")
	return strings.Map(func(c rune) rune {
		switch {
		case c == ' ':
			return '-'
		case c == '-' || c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c):
			return unicode.ToLower(c)
		default:
			return -1
		}
	}, heading)
}

func pages(t *testing.T) map[string]page {
	t.Helper()
	found := map[string]page{}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && (name == "testdata" || name == "dist" || name == ".git") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".md") {
			return nil
		}
		text, err := os.ReadFile(path)
		found[path] = pageOf(string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A link within the repository leads to a file that is there, and to a heading that it has.
func TestLinksLeadSomewhere(t *testing.T) {
	all, links := pages(t), 0
	for from, p := range all {
		for _, link := range p.links {
			if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			links++
			path, anchor, _ := strings.Cut(link, "#")
			target := from
			if path != "" {
				target = filepath.Join(filepath.Dir(from), filepath.FromSlash(path))
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s leads nowhere", from, link)
			} else if to, isPage := all[target]; isPage && anchor != "" && !to.anchors[anchor] {
				t.Errorf("%s: %s has no such heading", from, link)
			}
		}
	}
	if links < 200 {
		t.Errorf("only %d links were found", links)
	}
}
