package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// printer writes the story down and counts which of its claims held.
type printer struct {
	out    io.Writer
	colour bool
	steps  int
	passed int
	failed int
	// evidence is shown under a claim that did not hold.
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

// line writes one line. That the reader may have gone away is dealt with by SIGPIPE.
func (t *printer) line(text string) { _, _ = fmt.Fprintln(t.out, text) }

// step begins a numbered step.
func (t *printer) step(title string) {
	t.steps++
	t.line("")
	t.line(t.paint(bold, fmt.Sprintf("%d. %s", t.steps, title)))
}

// sayf tells what happens.
func (t *printer) sayf(format string, args ...any) {
	t.line(indent("   ", fmt.Sprintf(format, args...)))
}

// command shows what a person would have typed.
func (t *printer) command(text string) { t.line(t.paint(faint, indent("   ", "$ "+text))) }

// output shows what a command answered.
func (t *printer) output(text string) { t.line(indent("     ", text)) }

// checkf notes whether something is as told; err says what is the case instead.
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
	t.line(t.paint(colour, fmt.Sprintf("%d claims held, %d did not; %s in all", t.passed, t.failed, seconds(took))))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

func indent(prefix, text string) string {
	text = strings.TrimRight(text, "\n")
	return prefix + strings.ReplaceAll(text, "\n", "\n"+prefix)
}
