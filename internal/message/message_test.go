package message

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestShorten(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("x", MaxCondition), strings.Repeat("x", MaxCondition+1), strings.Repeat("ä", 40_000)} {
		got := Condition(text)
		if len(text) <= MaxCondition {
			if got != text {
				t.Errorf("%d bytes became %d", len(text), len(got))
			}
			continue
		}
		if len(got) > MaxCondition || !utf8.ValidString(got) || !strings.HasSuffix(got, " bytes more]") {
			t.Errorf("%d bytes became %d: %q", len(text), len(got), got[len(got)-40:])
		}
	}
	if got, want := Shorten(strings.Repeat("x", 100), 40), strings.Repeat("x", 16)+" [84 bytes more]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSummary(t *testing.T) {
	if short := strings.Repeat("x", MaxSummary); Summary(short, "Programmed") != short {
		t.Error("a short message is not repeated as it is")
	}
	if got := Summary(strings.Repeat("x", MaxSummary+1), "Programmed"); len(got) > MaxSummary || !strings.HasSuffix(got, "... [the condition Programmed says more]") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
