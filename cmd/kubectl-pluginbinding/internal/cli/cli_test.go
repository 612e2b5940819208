package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

func factory() (f *Factory, out, errOut *bytes.Buffer) {
	streams, _, out, errOut := genericiooptions.NewTestIOStreams()
	return NewFactory(streams), out, errOut
}

func TestReport(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		code int
		text string
	}{
		"nothing":                       {nil, 0, ""},
		"an error":                      {errors.New("broken"), 1, "error: broken\n"},
		"findings":                      {ErrFindings, 1, ""},
		"a change":                      {fmt.Errorf("wrapped: %w", ErrWouldChange), 2, ""},
		"what would control a terminal": {errors.New("a\x1b[2J\u009b1m\rb\n\tc"), 1, "error: a\ufffd[2J\ufffd1m\ufffdb\n\tc\n"},
		"a code with a text":            {&ExitError{Code: 2, Err: errors.New("two")}, 2, "error: two\n"},
	} {
		var text bytes.Buffer
		if code := Report(&text, c.err); code != c.code || text.String() != c.text {
			t.Errorf("%s: %d %q", name, code, text.String())
		}
	}
}

type value struct {
	Count int    `json:"count"`
	Name  string `json:"name"`
}

func TestPrint(t *testing.T) {
	result := &Result{
		Kind: "Test", Value: &value{3, "x"}, Names: []string{"a/b"}, Empty: "nothing",
		Columns: []Column{{Name: "One"}, {Name: "Two", Wide: true}}, Rows: []Row{{Cells: []any{"1", "2"}, Level: Bad}},
	}
	for format, want := range map[string]string{
		"":                      "ONE\n1\n",
		"wide":                  "ONE   TWO\n1     2\n",
		"name":                  "a/b\n",
		"yaml":                  "apiVersion: cli.kong.pluginbinding.io/v1alpha1\ncount: 3\nkind: Test\nname: x\n",
		"jsonpath={.count}":     "3",
		"go-template={{.name}}": "x",
	} {
		f, out, _ := factory()
		o := NewOutput()
		o.format = format
		if err := o.Print(f, result); err != nil || out.String() != want {
			t.Errorf("%s: %v, %q, want %q", format, err, out.String(), want)
		}
	}
	f, out, errOut := factory()
	result.Rows = nil
	if err := NewOutput().Print(f, result); err != nil || out.Len() > 0 || errOut.String() != "nothing\n" {
		t.Errorf("%v %q %q", err, out, errOut)
	}
}

// What comes from Kong or from files must not control the terminal.
func TestNothingControlsTheTerminal(t *testing.T) {
	f, out, errOut := factory()
	result := &Result{Columns: []Column{{Name: "One"}, {Name: "Two"}}, Rows: []Row{{Cells: []any{"a\x1b[2J\b\u009b1m", 2}}}}
	if err := NewOutput().Print(f, result); err != nil || out.String() != "ONE               TWO\na\ufffd[2J\ufffd\ufffd1m         2\n" {
		t.Errorf("%v %q", err, out.String())
	}
	f.Notef("a\x1b[2J")
	if errOut.String() != "note: a\ufffd[2J\n" {
		t.Errorf("%q", errOut.String())
	}
}

// A format is refused before the command has done anything.
func TestFormats(t *testing.T) {
	for format, c := range map[string]struct{ table, text bool }{
		"": {true, true}, "json": {true, true}, "jsonpath={.a}": {true, true}, "wide": {true, false}, "name": {true, false},
		"xml": {false, false}, "jsonpath={": {false, false},
	} {
		for o, want := range map[*Output]bool{NewOutput(): c.table, NewTextOutput(): c.text} {
			ran := false
			command := &cobra.Command{Use: "x", RunE: func(*cobra.Command, []string) error { ran = true; return nil }, SilenceErrors: true, SilenceUsage: true}
			o.AddFlags(command)
			command.SetArgs([]string{"-o", format})
			if err := command.Execute(); (err == nil) != want || ran != want {
				t.Errorf("-o %s: %v, want %v", format, err, want)
			}
		}
	}
}

// The libraries say only that a deadline was exceeded, or that there is no such kind.
func TestExplain(t *testing.T) {
	f, _, _ := factory()
	stays := func(why string, err error) {
		t.Helper()
		if got := f.Explain(err); fmt.Sprint(got) != fmt.Sprint(err) {
			t.Errorf("%s: %v becomes %v", why, err, got)
		}
	}
	stays("before there is a deadline", errors.New("x"))
	missing := fmt.Errorf("list: %w", &meta.NoKindMatchError{GroupKind: v1alpha1.GroupVersion.WithKind("KongGateway").GroupKind()})
	if err := f.Explain(missing); !errors.Is(err, missing) || !strings.Contains(err.Error(), "does not have the CustomResourceDefinitions") {
		t.Error(err)
	}
	stays("another kind", &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "apps", Kind: "X"}})
	command := &cobra.Command{}
	command.SetContext(t.Context())
	f.Timeout = time.Nanosecond
	ctx, cancel := f.Context(command)
	<-ctx.Done()
	cancel()
	if err := f.Explain(ctx.Err()); err == nil || !strings.Contains(err.Error(), "not done within 1ns: set --timeout to more") || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	for _, err := range []error{nil, ErrFindings, context.Cause(ctx)} {
		stays("after the deadline", err)
	}
	f.Timeout = time.Hour
	_, cancel = f.Context(command)
	cancel()
	stays("an interruption", context.Canceled)
}

// Colours must not move the columns.
func TestColouredLines(t *testing.T) {
	got := string(coloured([]byte("HEAD\ngood\nplain\nbad\n"), []Row{{Level: Good}, {}, {Level: Bad}}))
	if want := "HEAD\n\x1b[32mgood\x1b[0m\nplain\n\x1b[31mbad\x1b[0m\n"; got != want {
		t.Errorf("%q", got)
	}
}

func TestNotesAppearOnce(t *testing.T) {
	f, _, errOut := factory()
	f.Notef("n %d", 1)
	f.Notef("n %d", 1)
	if errOut.String() != "note: n 1\n" {
		t.Errorf("%q", errOut.String())
	}
}

func TestNobodyToAsk(t *testing.T) {
	f, _, _ := factory()
	if yes, err := f.Confirm("go on?"); yes || err == nil {
		t.Error("a question without a terminal was answered")
	}
}

// A bar appears on a terminal only, and only after two seconds.
func TestProgress(t *testing.T) {
	for name, c := range map[string]struct {
		shown  bool
		passed time.Duration
		drawn  bool
	}{
		"quick":       {true, time.Second, false},
		"slow":        {true, 3 * time.Second, true},
		"no terminal": {false, 3 * time.Second, false},
	} {
		f, _, errOut := factory()
		p := f.NewProgress("working", 10)
		start := p.started
		p.shown, p.now = c.shown, func() time.Time { return start.Add(c.passed) }
		p.Step()
		if (errOut.Len() > 0) != c.drawn {
			t.Errorf("%s: %q", name, errOut.String())
		}
		p.Close()
	}
}
