package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// The exit codes.
const (
	// CodeError: the command failed, or it found what it looks for.
	CodeError = 1
	// CodeWouldChange: nothing failed, and something would change.
	CodeWouldChange = 2
)

// ExitError ends the command with an exit code.
type ExitError struct {
	Code int
	// Err is printed; nil if the output already says it all.
	Err error
}

// Error implements error.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns the error that is printed.
func (e *ExitError) Unwrap() error { return e.Err }

// ErrFindings ends a command that has printed its findings.
var ErrFindings error = &ExitError{Code: CodeError}

// ErrWouldChange ends a command that has printed what would change.
var ErrWouldChange error = &ExitError{Code: CodeWouldChange}

// Report prints an error, if there is something to print, and returns the exit code.
func Report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	code, shown := CodeError, err
	var exit *ExitError
	if errors.As(err, &exit) {
		code, shown = exit.Code, exit.Err
	}
	if shown != nil {
		fmt.Fprintln(w, "error: "+Printable(shown.Error()))
	}
	return code
}

// Printable replaces what would control a terminal: texts come from Kong, from the cluster and from files.
// Lines and tabs stay.
func Printable(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) || c == '\n' || c == '\t' {
			return c
		}
		return unicode.ReplacementChar
	}, text)
}
