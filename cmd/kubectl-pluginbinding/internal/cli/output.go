package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"
)

// APIVersion is that of what -o json and -o yaml print. Fields are added to it and never change
// their meaning.
const APIVersion = "cli.kong.pluginbinding.io/v1alpha1"

// Level colours a row on a terminal.
type Level int

// The levels.
const (
	Plain Level = iota
	Good
	Warning
	Bad
)

var colours = map[Level]string{Good: "\x1b[32m", Warning: "\x1b[33m", Bad: "\x1b[31m"}

const colourEnd = "\x1b[0m"

// Column of a table.
type Column struct {
	Name string
	// Wide columns appear with -o wide only.
	Wide bool
}

// Row of a table.
type Row struct {
	Cells []any
	Level Level
}

// Result is what a command found.
type Result struct {
	// Kind and Value are what -o json and -o yaml print: Value is a struct with JSON tags, without
	// apiVersion and kind.
	Kind  string
	Value any
	// Names are what -o name prints, as resource.group/name.
	Names []string
	// Columns and Rows are the table for people.
	Columns []Column
	Rows    []Row
	// Empty is printed instead of a table without rows.
	Empty string
}

// Output is the flag -o and what it does.
type Output struct {
	format string
	flags  *genericclioptions.PrintFlags
	// nameless: what is printed has no names, so that -o name is refused.
	nameless bool
}

const (
	formatWide = "wide"
	formatName = "name"
)

// NewOutput returns an Output for a table.
func NewOutput() *Output {
	o := &Output{flags: genericclioptions.NewPrintFlags("")}
	o.flags.OutputFormat = &o.format
	return o
}

// NewTextOutput returns an Output for what is no table: it has neither wide columns nor names.
func NewTextOutput() *Output {
	o := NewOutput()
	o.nameless = true
	return o
}

// AddFlags adds -o.
func (o *Output) AddFlags(command *cobra.Command) {
	usage, formats := "Output format: wide, name, json, yaml, jsonpath=... or go-template=...; a table if empty", []string{formatWide, formatName}
	if o.nameless {
		usage, formats = "Output format: json, yaml, jsonpath=... or go-template=...; text if empty", nil
	}
	command.Flags().StringVarP(&o.format, "output", "o", "", usage)
	err := command.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(
		append(formats, "json", "yaml", "jsonpath=", "go-template="), cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag exists
	}
	// Before the command does anything: what is done cannot be printed again.
	command.PreRunE = func(*cobra.Command, []string) error { return o.check() }
}

// Human reports whether the output is for people.
func (o *Output) Human() bool { return o.format == "" || o.format == formatWide }

// check refuses a format that there is none of.
func (o *Output) check() error {
	if o.format == "" || !o.nameless && (o.format == formatWide || o.format == formatName) {
		return nil
	}
	if o.format == formatWide || o.format == formatName {
		return fmt.Errorf("-o %s: use json, yaml, jsonpath or go-template", o.format)
	}
	_, err := o.flags.ToPrinter()
	return err
}

// Print prints a result.
func (o *Output) Print(f *Factory, result *Result) error {
	switch {
	case o.Human() && len(result.Rows) == 0:
		fmt.Fprintln(f.ErrOut, result.Empty)
		return nil
	case o.Human():
		return o.printTable(f, result)
	case o.format == formatName:
		for _, name := range result.Names {
			fmt.Fprintln(f.Out, name)
		}
		return nil
	}
	printer, err := o.flags.ToPrinter()
	if err != nil {
		return err
	}
	object, err := result.object()
	if err != nil {
		return err
	}
	return printer.PrintObj(object, f.Out)
}

// object is the result as the printers of cli-runtime take it.
func (r *Result) object() (*unstructured.Unstructured, error) {
	raw, err := json.Marshal(r.Value)
	if err != nil {
		return nil, err
	}
	content := map[string]any{}
	if err := utiljson.Unmarshal(raw, &content); err != nil {
		return nil, err
	}
	content["apiVersion"], content["kind"] = APIVersion, r.Kind
	return &unstructured.Unstructured{Object: content}, nil
}

func (o *Output) printTable(f *Factory, result *Result) error {
	table := &metav1.Table{}
	for _, column := range result.Columns {
		definition := metav1.TableColumnDefinition{Name: column.Name, Type: "string"}
		if column.Wide {
			definition.Priority = 1
		}
		table.ColumnDefinitions = append(table.ColumnDefinitions, definition)
	}
	for _, row := range result.Rows {
		table.Rows = append(table.Rows, metav1.TableRow{Cells: printableCells(row.Cells)})
	}
	var text bytes.Buffer
	printer := printers.NewTablePrinter(printers.PrintOptions{Wide: o.format == formatWide})
	if err := printer.PrintObj(table, &text); err != nil {
		return err
	}
	if !f.Colour() {
		_, err := f.Out.Write(text.Bytes())
		return err
	}
	_, err := f.Out.Write(coloured(text.Bytes(), result.Rows))
	return err
}

func printableCells(cells []any) []any {
	printable := make([]any, len(cells))
	for i, cell := range cells {
		printable[i] = cell
		if text, ok := cell.(string); ok {
			printable[i] = Printable(text)
		}
	}
	return printable
}

// coloured colours the lines of a table. The first line is the header; the printer makes one line of
// each row. Colours in the cells would count as text when the printer aligns the columns.
func coloured(table []byte, rows []Row) []byte {
	lines := bytes.Split(bytes.TrimSuffix(table, []byte("\n")), []byte("\n"))
	for i := range rows {
		colour := colours[rows[i].Level]
		if colour == "" || i+1 >= len(lines) {
			continue
		}
		lines[i+1] = slices.Concat([]byte(colour), lines[i+1], []byte(colourEnd))
	}
	return append(bytes.Join(lines, []byte("\n")), '\n')
}
