package report

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// Bars is a chart of horizontal bars.
type Bars struct {
	Title, Unit string
	names       []string
	values      []float64
	marked      string
}

// Add adds a bar below the others. The marked one stands out by its colour.
func (b *Bars) Add(name string, value float64, marked bool) {
	b.names, b.values = append(b.names, name), append(b.values, value)
	if marked {
		b.marked = name
	}
}

var (
	markedColour = color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff}
	otherColour  = color.RGBA{R: 0xb8, G: 0xc4, B: 0xce, A: 0xff}
)

// Save draws the chart. The end of path says in which format.
func (b *Bars) Save(path string) error {
	p := plot.New()
	p.Title.Text, p.Title.Padding, p.X.Label.Text = b.Title, vg.Points(8), b.Unit
	names := make([]string, len(b.names))
	for i, name := range b.names {
		at := len(names) - 1 - i // the first on top
		names[at] = name
		bar, err := plotter.NewBarChart(plotter.Values{b.values[i]}, 0.2*vg.Inch)
		if err != nil {
			return err
		}
		bar.Horizontal, bar.XMin, bar.LineStyle.Width, bar.Color = true, float64(at), 0, otherColour
		if name == b.marked {
			bar.Color = markedColour
		}
		p.Add(bar)
		p.X.Max = max(p.X.Max, 1.05*b.values[i])
	}
	p.NominalY(names...)
	p.X.Min = 0
	return p.Save(7*vg.Inch, vg.Length(len(names))*0.3*vg.Inch+vg.Inch, path)
}
