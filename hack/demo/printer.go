package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// teller writes the story down and counts which of its claims held.
type teller struct {
	out      io.Writer
	colour   bool
	chapters int
	held     int
	broken   int
	// evidence is shown under a claim that did not hold.
	evidence func() string
}

func newTeller(out *os.File) *teller {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &teller{out: out, colour: terminal && os.Getenv("NO_COLOR") == ""}
}

const (
	bold  = "1"
	faint = "2"
	red   = "31"
	green = "32"
)

func (t *teller) paint(colour, text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// line writes one line. That the reader may have gone away is dealt with by SIGPIPE.
func (t *teller) line(text string) { _, _ = fmt.Fprintln(t.out, text) }

// chapter begins a numbered step.
func (t *teller) chapter(title string) {
	t.chapters++
	t.line("")
	t.line(t.paint(bold, fmt.Sprintf("%d. %s", t.chapters, title)))
}

// say tells what happens.
func (t *teller) say(format string, args ...any) {
	t.line(indent("   ", fmt.Sprintf(format, args...)))
}

// command shows what a person would have typed.
func (t *teller) command(text string) { t.line(t.paint(faint, indent("   ", "$ "+text))) }

// output shows what a command answered.
func (t *teller) output(text string) { t.line(indent("     ", text)) }

// claim notes whether something is as told; err says what is the case instead.
func (t *teller) claim(err error, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if err == nil {
		t.held++
		t.line("   " + t.paint(green, "✓") + " " + what)
		return
	}
	t.broken++
	t.line("   " + t.paint(red, "✗ "+what))
	t.line(indent("     ", err.Error()))
	if t.evidence != nil {
		t.line(t.paint(faint, indent("     | ", t.evidence())))
	}
}

func (t *teller) summary(took time.Duration) {
	colour := green
	if t.broken > 0 {
		colour = red
	}
	t.line("")
	t.line(t.paint(colour, fmt.Sprintf("%d claims held, %d did not; %s in all", t.held, t.broken, seconds(took))))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

func indent(prefix, text string) string {
	text = strings.TrimRight(text, "\n")
	return prefix + strings.ReplaceAll(text, "\n", "\n"+prefix)
}
