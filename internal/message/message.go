// Package message keeps the texts that users read within their bounds, and says the few
// things that both reconcilers have to say alike. It is pure.
package message

import "strings"

// Bounds of the API server and of the API, in bytes.
const (
	// MaxEventNote is the longest note of an event.
	MaxEventNote = 1024
	// MaxCondition keeps a condition's message within the 32768 bytes that the API takes.
	MaxCondition = 32000
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
