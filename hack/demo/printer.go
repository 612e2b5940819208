package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// printer prints the demo and counts its checks.
type printer struct {
	out    io.Writer
	colour bool
	steps  int
	passed int
	failed int
	// failureContext is printed below a failed check.
	failureContext func() string
}

func newPrinter(out *os.File) *printer {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &printer{out: out, colour: terminal && os.Getenv("NO_COLOR") == ""}
}

const (
	bold  = "1"
	faint = "2"
	red   = "31"
	green = "32"
)

func (t *printer) paint(colour, text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// line prints one line. A closed output raises SIGPIPE, which untilStopped handles.
func (t *printer) line(text string) { _, _ = fmt.Fprintln(t.out, text) }

// step begins a numbered step.
func (t *printer) step(title string) {
	t.steps++
	t.line("")
	t.line(t.paint(bold, fmt.Sprintf("%d. %s", t.steps, title)))
}

// sayf prints what happens.
func (t *printer) sayf(format string, args ...any) {
	t.line(indent("   ", fmt.Sprintf(format, args...)))
}

// command prints what a person would have typed.
func (t *printer) command(text string) { t.line(t.paint(faint, indent("   ", "$ "+text))) }

// output prints the output of a command.
func (t *printer) output(text string) { t.line(indent("     ", text)) }

// checkf prints the result of a check. err says what differs.
func (t *printer) checkf(err error, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if err == nil {
		t.passed++
		t.line("   " + t.paint(green, "✓") + " " + what)
		return
	}
	t.failed++
	t.line("   " + t.paint(red, "✗ "+what))
	t.line(indent("     ", err.Error()))
	if t.failureContext != nil {
		t.line(t.paint(faint, indent("     | ", t.failureContext())))
	}
}

func (t *printer) summary(took time.Duration) {
	colour := green
	if t.failed > 0 {
		colour = red
	}
	t.line("")
	t.line(t.paint(colour, fmt.Sprintf("%d checks passed, %d failed; %s in total", t.passed, t.failed, seconds(took))))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

func indent(prefix, text string) string {
	text = strings.TrimRight(text, "\n")
	return prefix + strings.ReplaceAll(text, "\n", "\n"+prefix)
}
