package main

import (
	"image/color"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// A chart compares one figure of all peers by horizontal bars.
type chart struct {
	title, unit string
	bars        []bar
}

type bar struct {
	name  string
	value float64
	ours  bool
}

func (c *chart) add(name string, value float64, ours bool) {
	c.bars = append(c.bars, bar{name, value, ours})
}

var (
	oursColor  = color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff}
	otherColor = color.RGBA{R: 0xb8, G: 0xc4, B: 0xce, A: 0xff}
)

// save draws the chart as an SVG file, the first bar on top.
func (c *chart) save(path string) error {
	p := plot.New()
	p.Title.Text = c.title
	p.X.Label.Text = c.unit
	p.X.Min = 0
	bars := slices.Clone(c.bars)
	slices.Reverse(bars)
	longest := 0.0
	for _, b := range bars {
		longest = max(longest, 1.05*b.value)
	}
	p.Title.Padding = vg.Points(8)
	names := make([]string, len(bars))
	for i, b := range bars {
		names[i] = b.name
	}
	for _, ours := range []bool{true, false} {
		if err := addBars(p, bars, ours); err != nil {
			return err
		}
	}
	p.NominalY(names...)
	p.X.Max = longest
	return p.Save(7*vg.Inch, vg.Length(len(bars))*0.3*vg.Inch+vg.Inch, path)
}

// addBars draws either our bars or the others'. The rest are of no length.
func addBars(p *plot.Plot, bars []bar, ours bool) error {
	values := make(plotter.Values, len(bars))
	for i, b := range bars {
		if b.ours == ours {
			values[i] = b.value
		}
	}
	drawn, err := plotter.NewBarChart(values, 0.2*vg.Inch)
	if err != nil {
		return err
	}
	drawn.Horizontal = true
	drawn.LineStyle.Width = 0
	drawn.Color = otherColor
	if ours {
		drawn.Color = oursColor
	}
	p.Add(drawn)
	return nil
}
