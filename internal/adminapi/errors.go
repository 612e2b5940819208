package adminapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Reason classifies an error by what the caller knows after it, and so may do next.
type Reason string

const (
	// NotFound: Kong itself reports that the entity does not exist.
	NotFound Reason = "NotFound"
	// Conflict: Kong refused a write because another entity holds a unique key (409).
	Conflict Reason = "Conflict"
	// Rejected: Kong refused the content (400, mostly a schema violation). Error.Fields
	// names the fields.
	Rejected Reason = "Rejected"
	// ReferenceMissing: the plugin refers to a service, route, consumer or consumer group
	// that does not exist.
	ReferenceMissing Reason = "ReferenceMissing"
	// Ambiguous: a reference matches more than one entity.
	Ambiguous Reason = "Ambiguous"
	// Denied: the Admin API refused the credentials (401 or 403).
	Denied Reason = "Denied"
	// Throttled: too many requests (429). Error.RetryAfter is the time to wait. Until then
	// the Client sends no request. Nothing was written.
	Throttled Reason = "Throttled"
	// Unavailable: no response, or none of Kong. Nothing is known, and nothing was written.
	Unavailable Reason = "Unavailable"
	// UnknownOutcome: Kong may have applied the write, or may apply it later.
	UnknownOutcome Reason = "UnknownOutcome"
	// NotDatabase: this Kong runs without a database and accepts no writes (405, code 12).
	NotDatabase Reason = "NotDatabase"
	// TLS: no connection, because one side did not accept the certificate of the other or
	// does not speak TLS. Nothing was written.
	TLS Reason = "TLS"
	// NotKong: the server is not an Admin API of Kong. Only Probe returns it.
	NotKong Reason = "NotKong"
	// Unsupported: Settings name a workspace, and this edition of Kong has none. Only Probe
	// returns it.
	Unsupported Reason = "Unsupported"
	// Invalid: the input cannot become a request. The client sent none.
	Invalid Reason = "Invalid"
)

// Bounds on the content of an error, in bytes and in fields: Kong repeats what it was sent.
const (
	maxErrorText   = 1 << 10
	maxMessage     = 8 << 10
	maxFields      = 100
	maxFieldLength = 512
)

// FieldError is one violation that Kong reports for one field.
type FieldError struct {
	// Path of the field, such as "config.minute" or "config.methods[1]" (counted from 0).
	// Empty when the violation concerns the whole entity.
	Path string
	// Message in Kong's words.
	Message string
}

// Error is the type of every error that a Client returns.
type Error struct {
	Reason Reason
	// Op is the operation that failed, such as "create plugin".
	Op string
	// Status is the HTTP status, 0 without a response.
	Status int
	// Code is Kong's error code, such as 2 for a schema violation; 0 without one.
	Code int
	// Message is the text of Kong, or of this package when Kong gave none. The text of Kong
	// can repeat the config that was sent.
	Message string
	// Fields are the violations that Kong reports, sorted by path.
	Fields []FieldError
	// RetryAfter is the time to wait before the next request, only with Throttled.
	RetryAfter time.Duration

	err error
}

// Error returns one line of at most 1 KiB. The same failure returns the same line.
func (e *Error) Error() string {
	text := e.Message
	if e.Status != 0 {
		text = fmt.Sprintf("Kong answered %d", e.Status)
		if e.Message != "" {
			text += ": " + e.Message
		}
	}
	return truncate(oneLine(e.Op+": "+text), maxErrorText)
}

// Unwrap returns the underlying error, or nil. Its text is not stable.
func (e *Error) Unwrap() error { return e.err }

// ReasonForError returns the Reason of the first *Error in the chain of err, "" for nil,
// and Unavailable for any other error.
func ReasonForError(err error) Reason {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return Unavailable
}

// IsNotFound reports whether Kong itself said that the entity does not exist.
func IsNotFound(err error) bool { return ReasonForError(err) == NotFound }

// IsInternalError reports whether Kong responded with status 500. Kong does so if its database
// fails, or if its own code fails on the content. Kong with a read-only database responds to
// reads, and with 500 to every write: if writes of several plugins fail like this while reads
// succeed, the database refuses writes.
func IsInternalError(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusInternalServerError
}

// invalid is the Error for a request that was never sent.
func invalid(op, format string, args ...any) *Error {
	return &Error{Reason: Invalid, Op: op, Message: fmt.Sprintf(format, args...)}
}

// oneLine joins the lines of a text. Kong prints nested errors over several lines.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " ")
}

// truncate shortens s to at most limit bytes of valid UTF-8.
func truncate(s string, limit int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= limit {
		return s
	}
	const mark = "..."
	cut := limit - len(mark)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + mark
}
