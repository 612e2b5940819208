package plugin

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds on redacting. A text that exceeds one is hidden as a whole.
const (
	// maxRedactText bounds a text. Messages are a tenth of it.
	maxRedactText = 16 << 10
	// maxPatternBytes bounds the notations of all values.
	maxPatternBytes = 8 << 20
	// maxRedactSteps bounds the work on one text.
	maxRedactSteps = 8 << 20
)

// patterns are all notations of all values to hide.
type patterns struct {
	// anywhere are hidden wherever they stand, tokens only as whole tokens.
	anywhere, tokens *dictionary
}

// compilePatterns returns the patterns for the values, nil if they exceed the budget.
func compilePatterns(values []string) *patterns {
	var anywhere, tokens []string
	seen := map[string]bool{}
	used := 0
	for _, value := range values {
		for _, part := range parts(value) {
			// What is longer than the text is found by its beginning.
			part = truncate(part, maxRedactText)
			if seen[part] {
				continue
			}
			seen[part] = true
			for _, form := range forms(part) {
				if used += len(form); used > maxPatternBytes {
					return nil
				}
				if isShort(part) {
					tokens = append(tokens, form)
				} else {
					anywhere = append(anywhere, form)
				}
			}
		}
	}
	return &patterns{newDictionary(anywhere), newDictionary(tokens)}
}

// truncate shortens s to at most limit bytes, at the boundary of a character.
func truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// span is a part of a text, by its byte offsets.
type span struct{ start, end int }

// find returns the parts of the text to hide, in the order of their beginnings. It returns
// false if that takes too many steps.
func (p *patterns) find(s string, steps *int) ([]span, bool) {
	var found []span
	for i := range len(s) {
		if word := p.anywhere.longest(s[i:], steps); word >= 0 {
			found = append(found, span{i, i + len(p.anywhere.words[word])})
		}
		if end := p.tokenAt(s, i, steps); end > 0 {
			found = append(found, span{i, end})
		}
		if *steps > maxRedactSteps {
			return nil, false
		}
	}
	if cut, ok := p.cutOff(s, steps); ok {
		found = append(found, cut)
		slices.SortStableFunc(found, func(a, b span) int { return a.start - b.start })
	}
	return found, true
}

// tokenAt returns the end of the token at the offset, 0 if none is there. No letter, digit
// or underscore touches a token.
func (p *patterns) tokenAt(s string, at int, steps *int) int {
	if before, _ := utf8.DecodeLastRuneInString(s[:at]); isWord(before) {
		return 0
	}
	for i := p.tokens.longest(s[at:], steps); i >= 0; i = p.tokens.shorter[i] {
		end := at + len(p.tokens.words[i])
		if after, _ := utf8.DecodeRuneInString(s[end:]); !isWord(after) {
			return end
		}
		*steps++
	}
	return 0
}

// cutOff finds the beginning of a value at the end of a text that was cut short there.
func (p *patterns) cutOff(s string, steps *int) (span, bool) {
	text, short := strings.CutSuffix(s, "...")
	if !short {
		return span{}, false
	}
	for i := 0; i <= len(text)-minRedactLen; i++ {
		if p.anywhere.begins(text[i:], steps) {
			return span{i, len(text)}, true
		}
	}
	return span{}, false
}

// hide replaces the spans; those that overlap or touch become one.
func hide(s string, found []span) string {
	var b strings.Builder
	end := 0
	for i, at := range found {
		if i == 0 || at.start > end {
			b.WriteString(s[end:at.start])
			b.WriteString(redacted)
		}
		end = max(end, at.end)
	}
	b.WriteString(s[end:])
	return b.String()
}
