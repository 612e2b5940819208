package adminapi

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kind says what is known after an error, and so what may be done next.
type Reason string

const (
	// NotFound: Kong itself says that there is no such entity.
	NotFound Reason = "NotFound"
	// Conflict: a write was refused because another entity holds a unique key (409).
	Conflict Reason = "Conflict"
	// Rejected: Kong refused what was sent (400, mostly a schema violation). Fields says why.
	Rejected Reason = "Rejected"
	// ReferenceMissing: a service, route, consumer or consumer group that a plugin
	// refers to does not exist.
	ReferenceMissing Reason = "ReferenceMissing"
	// Ambiguous: a reference answers to more than one entity.
	Ambiguous Reason = "Ambiguous"
	// Denied: the credentials were refused (401 or 403).
	Denied Reason = "Denied"
	// Throttled: too many requests (429). RetryAfter says how long to wait; until then the
	// Client makes no request at all.
	Throttled Reason = "Throttled"
	// Unavailable: no answer, or not one of Kong. Nothing is known, and nothing was written.
	Unavailable Reason = "Unavailable"
	// UnknownOutcome: a write that may have been done, or may be done later.
	UnknownOutcome Reason = "UnknownOutcome"
	// NotDatabase: this Kong runs without a database and takes no writes (405, code 12).
	NotDatabase Reason = "NotDatabase"
	// TLS: no connection because one side did not accept the other's certificate, or
	// does not speak TLS. Nothing was written.
	TLS Reason = "TLS"
	// NotKong: something answers that is not a Kong Admin API. Only from Probe.
	NotKong Reason = "NotKong"
	// Unsupported: a workspace is set and this edition of Kong has none. Only from Probe.
	Unsupported Reason = "Unsupported"
	// Invalid: what was asked for cannot be asked of Kong; no request was made.
	Invalid Reason = "Invalid"
)

// Bounds on what an error carries: Kong repeats what it was sent.
const (
	maxErrorText   = 1 << 10
	maxMessage     = 8 << 10
	maxFields      = 100
	maxFieldLength = 512
)

// FieldError is one complaint of Kong about one field.
type FieldError struct {
	// Path such as "config.minute" or "config.methods[1]" (counted from 0). Empty when
	// the complaint is about the entity as a whole.
	Path string
	// Message in Kong's words.
	Message string
}

// Error is what every method of a Client returns when it fails.
type Error struct {
	Reason Reason
	// Op says what was tried, such as "create plugin".
	Op string
	// Status of the answer, 0 when there was none.
	Status int
	// Code is Kong's own, such as 2 for a schema violation; 0 when there was none.
	Code int
	// Message in Kong's words, or in ours when Kong did not answer. Kong's words can
	// repeat the config that was sent.
	Message string
	// Fields that Kong complains about, sorted by path.
	Fields []FieldError
	// RetryAfter is how long to wait before the next request, with Throttled only.
	RetryAfter time.Duration

	err error
}

// Error returns one line of at most 1 KiB that is the same for the same failure.
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

// Unwrap returns the error of the layer below, if there was one. Its text is not stable.
func (e *Error) Unwrap() error { return e.err }

// KindOf returns the Kind of the first *Error in err's chain, "" for nil, and Unavailable
// for any other error: nothing is known.
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

// IsNotFound says whether Kong itself said that the entity does not exist.
func IsNotFound(err error) bool { return ReasonForError(err) == NotFound }

// invalid is an Error for something that was never sent.
func invalid(op, format string, args ...any) *Error {
	return &Error{Reason: Invalid, Op: op, Message: fmt.Sprintf(format, args...)}
}

// oneLine makes one line of a text: Kong prints nested errors over several.
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
