// Command plot draws the figures of the bench against the number of bindings.
//
//	plot RESULT.json PICTURE.svg...
//
// The extension of a picture selects its format: svg, png or pdf.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	_ "gonum.org/v1/plot/vg/vgimg" // png
	_ "gonum.org/v1/plot/vg/vgpdf" // pdf
	_ "gonum.org/v1/plot/vg/vgsvg" // svg
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: plot RESULT.json PICTURE.svg...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(from string, to []string) error {
	r, err := readResult(from)
	if err != nil {
		return err
	}
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	var plots [rows][columns]*plot.Plot
	for i, p := range panels {
		if plots[i/columns][i%columns], err = p.draw(r); err != nil {
			return fmt.Errorf("%s: %w", p.title, err)
		}
	}
	for _, path := range to {
		if err := write(path, plots); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

const (
	rows, columns = 2, 3
	width, height = 33 * vg.Centimeter, 18 * vg.Centimeter
)

func write(path string, plots [rows][columns]*plot.Plot) error {
	canvas, err := draw.NewFormattedCanvas(width, height, strings.TrimPrefix(filepath.Ext(path), "."))
	if err != nil {
		return err
	}
	const gap, edge = 0.8 * vg.Centimeter, 0.4 * vg.Centimeter
	tiles := draw.Tiles{
		Rows: rows, Cols: columns, PadX: gap, PadY: gap,
		PadTop: edge, PadBottom: edge, PadLeft: edge, PadRight: edge,
	}
	all := make([][]*plot.Plot, rows)
	for i := range plots {
		all[i] = plots[i][:]
	}
	whole := draw.New(canvas)
	whole.SetColor(paper)
	whole.Fill(whole.Rectangle.Path())
	for i, row := range plot.Align(all, tiles, whole) {
		for j, tile := range row {
			all[i][j].Draw(tile)
		}
	}
	var picture bytes.Buffer
	if _, err := canvas.WriteTo(&picture); err != nil {
		return err
	}
	// An SVG names its font and does not contain it. Arial's letters are as wide as Liberation's.
	named, also := []byte("font-family:Liberation Sans"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif")
	return os.WriteFile(path, bytes.ReplaceAll(picture.Bytes(), named, also), 0o644)
}
