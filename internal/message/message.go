// Package message keeps the texts that users read within their bounds, and says the few
// things that both reconcilers have to say alike. It is pure.
package message

import (
	"fmt"
	"strings"
)

// Bounds in bytes: the first one is the API server's.
const (
	// MaxEventNote is the longest note of an event.
	MaxEventNote = 1024
	// MaxCondition is the longest message of a condition. People read it, and a status is stored for
	// each object.
	MaxCondition = 2048
	// MaxSummary is the longest message that the condition Ready repeats from another condition.
	MaxSummary = 512
)

// Bounds of a list of field names in a status.
const (
	maxFieldNames = 32
	maxFieldName  = 256
)

// Truncate shortens a text to at most limit bytes, between characters. What it cuts ends in
// "...".
func Truncate(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len("...")], "") + "..."
}

// Condition is a text as a condition's message.
func Condition(text string) string { return Shorten(text, MaxCondition) }

// Shorten shortens a text to at most limit bytes, and says how much was cut.
func Shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	const reserved = len(" [1234567890 bytes more]")
	kept := strings.ToValidUTF8(text[:limit-reserved], "")
	return fmt.Sprintf("%s [%d bytes more]", kept, len(text)-len(kept))
}

// Summary is a condition's message as Ready repeats it. Of a long one Ready has the beginning, and
// names the condition: nothing long is stored twice.
func Summary(text, condition string) string {
	if len(text) <= MaxSummary {
		return text
	}
	more := fmt.Sprintf(" [the condition %s says more]", condition)
	return Truncate(text, MaxSummary-len(more)) + more
}

// FieldNames keeps a list of field names within what a status takes.
func FieldNames(names []string) []string {
	kept := make([]string, 0, min(len(names), maxFieldNames))
	for _, name := range names[:min(len(names), maxFieldNames)] {
		kept = append(kept, Truncate(name, maxFieldName))
	}
	return kept
}

// Forbidden explains an error of the API server that says that the operator lacks a right.
func Forbidden(err error) string {
	return "the API server refuses the operator: " + err.Error() + "; give its role this right"
}
