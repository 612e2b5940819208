package main

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// panel is one of the plots in the picture.
type panel struct {
	title string
	lines []line
	// linear: the Y axis is linear and starts at 0. The other panels are logarithmic. There a
	// cost that grows with the number of bindings is a slope, and any other cost is level.
	linear bool
	// target is the target for targetAt bindings; 0: none.
	target float64
}

type line struct {
	name  string
	value value
}

const targetAt = 10_000

const millisecond = 0.001

// panels lists the panels from left to right and from top to bottom.
var panels = [rows * columns]panel{{
	title: "Until all is done, seconds",
	lines: []line{
		{"first creation", of("first creation", figure("all ready, s", 1))},
		{"deletion", of("deletion of all", seconds)},
		{"restart in sync", of("restart in sync", seconds)},
		{"back in sync after an outage", of("outage", figure("all in sync after, s", 1))},
	},
}, {
	title: "Requests to Kong",
	lines: []line{
		{"first creation", of("first creation", kongRequests)},
		{"restart in sync", of("restart in sync", kongRequests)},
		{"one resync", of("idle", figure("reads per sweep", 1))},
		{"one change", of("one change, idle", figure("requests per change", 1))},
	},
}, {
	title:  "Memory at most, MiB",
	lines:  []line{{"resident, over all phases", peak}},
	linear: true, target: 150,
}, {
	title: "One change, until it is in Kong, ms",
	lines: []line{
		{"amid a full queue, slowest", of("all changed, and one amid", figure("max, ms", 1))},
		{"idle, 95th percentile", of("one change, idle", figure("p95, ms", 1))},
		{"idle, median", of("one change, idle", figure("p50, ms", 1))},
	},
}, {
	title: "The operator's processor time, seconds",
	lines: []line{
		{"first creation", of("first creation", cpuSeconds)},
		{"restart in sync", of("restart in sync", cpuSeconds)},
		{"one resync", of("idle", figure("CPU per sweep, ms", millisecond))},
	},
}, {
	title: "Resyncs and drift, seconds",
	lines: []line{
		{"1% drifted: from resync to repair", of("1% drifted", figure("from sweep to repair, s", 1))},
		{"one resync", of("idle", figure("sweep took, ms", millisecond))},
	},
}}

var (
	paper = color.White
	ink   = color.Gray{Y: 0x33}
	rule  = color.Gray{Y: 0xdd}
	// colours that colour-blind people can distinguish (Okabe and Ito).
	colours = []color.Color{
		color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff},
		color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff},
		color.RGBA{R: 0x00, G: 0x9e, B: 0x73, A: 0xff},
		color.RGBA{R: 0xcc, G: 0x79, B: 0xa7, A: 0xff},
	}
	shapes = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.TriangleGlyph{}, draw.PyramidGlyph{}}
)

func (p panel) draw(r result) (*plot.Plot, error) {
	out := p.empty()
	low, high, err := p.addLines(out, r)
	if err != nil {
		return nil, err
	}
	out.X.Min, out.X.Max = r.widest()
	if p.target > 0 && out.X.Min < targetAt && targetAt < out.X.Max {
		if err := p.addTarget(out); err != nil {
			return nil, err
		}
		high = max(high, p.target)
	}
	p.scale(out, low, high)
	if out.X.Min >= out.X.Max {
		return nil, errors.New("nothing was measured")
	}
	return out, nil
}

// empty is the panel without lines: its title, axes, grid and legend.
func (p panel) empty() *plot.Plot {
	out := plot.New()
	out.BackgroundColor = paper
	out.Title.Text, out.Title.Padding, out.Title.TextStyle.Color = p.title, vg.Points(6), ink
	out.Title.TextStyle.Font.Size = vg.Points(13)
	out.X.Label.Text = "bindings on one gateway"
	out.X.Scale, out.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(decades)
	for _, axis := range []*plot.Axis{&out.X, &out.Y} {
		axis.Padding, axis.Label.TextStyle.Color, axis.Tick.Label.Color = 0, ink, ink
		axis.LineStyle.Color, axis.Tick.LineStyle.Color = ink, ink
		axis.Label.TextStyle.Font.Size, axis.Tick.Label.Font.Size = vg.Points(11), vg.Points(10)
	}
	if !p.linear {
		out.Y.Scale, out.Y.Tick.Marker = plot.LogScale{}, plot.TickerFunc(decades)
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = rule, rule
	out.Add(grid)
	out.Legend.Top, out.Legend.Left = true, true
	out.Legend.TextStyle.Font.Size, out.Legend.TextStyle.Color = vg.Points(10), ink
	out.Legend.XOffs, out.Legend.YOffs, out.Legend.Padding = vg.Points(4), vg.Points(-4), vg.Points(2)
	return out
}

// addLines draws the lines, and returns their smallest and largest value.
func (p panel) addLines(out *plot.Plot, r result) (low, high float64, err error) {
	low = math.Inf(1)
	for i, l := range p.lines {
		points := l.points(r)
		if len(points) == 0 {
			return 0, 0, fmt.Errorf("%s was not measured", l.name)
		}
		for _, at := range points {
			low, high = min(low, at.Y), max(high, at.Y)
		}
		curve, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return 0, 0, err
		}
		curve.Color, curve.Width = colours[i], vg.Points(1.8)
		marks.Color, marks.Shape, marks.Radius = colours[i], shapes[i], vg.Points(3.5)
		out.Add(curve, marks)
		out.Legend.Add(l.name, curve, marks)
	}
	return low, high, nil
}

// addTarget marks the target.
func (p panel) addTarget(out *plot.Plot) error {
	mark, err := plotter.NewScatter(plotter.XYs{{X: targetAt, Y: p.target}})
	if err != nil {
		return err
	}
	mark.Color, mark.Shape, mark.Radius = ink, draw.CrossGlyph{}, vg.Points(4.5)
	out.Add(mark)
	out.Legend.Add("target", mark)
	return nil
}

// scale leaves room for the legend above the lines.
func (p panel) scale(out *plot.Plot, low, high float64) {
	if p.linear {
		out.Y.Min, out.Y.Max = 0, high*1.5
		return
	}
	bottom := math.Floor(math.Log10(low))
	room := 0.08 + 0.065*float64(len(p.lines)) // of the height
	out.Y.Min = math.Pow(10, bottom)
	out.Y.Max = math.Pow(10, bottom+max(math.Log10(high)-bottom, 1)/(1-room))
}

func (l line) points(r result) plotter.XYs {
	var points plotter.XYs
	for _, m := range r.Runs {
		if y, known := l.value(m); known && y > 0 { // 0 has no place on a logarithmic scale
			points = append(points, plotter.XY{X: float64(m.Bindings), Y: y})
		}
	}
	return points
}

// widest returns the smallest and the largest size, with room for the marks.
func (r result) widest() (low, high float64) {
	low = math.Inf(1)
	for _, m := range r.Runs {
		low, high = min(low, float64(m.Bindings)), max(high, float64(m.Bindings))
	}
	return low / 1.3, high * 1.3
}

// decades labels the powers of ten, and marks the steps between them.
func decades(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for power := math.Floor(math.Log10(low)); math.Pow(10, power) <= high; power++ {
		decade := math.Pow(10, power)
		for step := 1.0; step < 10; step++ {
			at := step * decade
			if at < low*0.999 || at > high*1.001 {
				continue
			}
			label := ""
			if step == 1 {
				label = grouped(at)
			}
			ticks = append(ticks, plot.Tick{Value: at, Label: label})
		}
	}
	return ticks
}

func grouped(value float64) string {
	text := strconv.FormatFloat(value, 'f', -1, 64)
	if value < 1 {
		return text
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
