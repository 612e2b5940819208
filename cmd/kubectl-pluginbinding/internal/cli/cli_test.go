package cli

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"
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
		"nothing":            {nil, 0, ""},
		"an error":           {errors.New("broken"), 1, "error: broken\n"},
		"findings":           {ErrFindings, 1, ""},
		"a change":           {fmt.Errorf("wrapped: %w", ErrWouldChange), 2, ""},
		"a code with a text": {&ExitError{Code: 2, Err: errors.New("two")}, 2, "error: two\n"},
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
