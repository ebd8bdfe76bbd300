package main

import (
	"cmp"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	chartWidth  = 25 * vg.Centimeter
	chartHeight = 14 * vg.Centimeter
	legendWidth = 6.6 * vg.Centimeter
)

// chart writes a scenario's load and goodput over time as name.svg.
func chart(dir string, results []result) (err error) {
	s := results[0].scenario
	unit := cmp.Or(s.unit, "demand")
	load, goodput := panel(s, "load, × "+unit+" (log)"), panel(s, "goodput, × "+unit)
	load.Title.Text = s.title
	load.Y.Scale, load.Y.Tick.Marker = plot.LogScale{}, doublings{}
	goodput.X.Label.Text = "seconds"
	legend := plot.NewLegend()
	for i := range results {
		r := &results[i]
		if r.policy.colour == nil {
			continue
		}
		line := r.line(r.attempts, 0.25)
		load.Add(line)
		goodput.Add(r.line(r.good, 0))
		legend.Add(r.policy.name, line)
	}
	shade(load, s)
	shade(goodput, s)
	return drawTo(filepath.Join(dir, s.name+".svg"), load, goodput, &legend)
}

func panel(s scenario, y string) *plot.Plot {
	p := plot.New()
	p.Y.Label.Text = y
	p.X.Min, p.X.Max = 0, s.length.Seconds()
	p.Add(plotter.NewGrid())
	return p
}

// line is a count over time as a multiple of the demand, not below floor.
func (r *result) line(counts []int, floor float64) *plotter.Line {
	width := int(r.scenario.grain / bin)
	points := make(plotter.XYs, len(counts)/width)
	for i := range points {
		points[i].X = float64(i) * r.scenario.grain.Seconds()
		rate := float64(sum(counts[i*width:(i+1)*width])) / r.scenario.grain.Seconds()
		points[i].Y = max(rate/r.demand, floor)
	}
	line := &plotter.Line{XYs: points, LineStyle: plotter.DefaultLineStyle, StepStyle: plotter.PostStep}
	line.Color, line.Width, line.Dashes = r.policy.colour, vg.Points(1.5), r.policy.dashes
	return line
}

// shade marks the outage. The plot's range must be known.
func shade(p *plot.Plot, s scenario) {
	from, until := s.from.Seconds(), s.until.Seconds()
	box, err := plotter.NewPolygon(plotter.XYs{
		{X: from, Y: p.Y.Min},
		{X: until, Y: p.Y.Min},
		{X: until, Y: p.Y.Max},
		{X: from, Y: p.Y.Max},
	})
	if err != nil {
		panic(err) // four points are enough
	}
	box.Color, box.LineStyle.Width = color.NRGBA{R: 200, G: 60, B: 60, A: 28}, 0
	p.Add(box)
}

// drawTo puts the panels one above the other, with the legend on their right.
func drawTo(name string, load, goodput *plot.Plot, legend *plot.Legend) (err error) {
	canvas := vgsvg.New(chartWidth, chartHeight)
	all := draw.New(canvas)
	all.FillPolygon(color.White, []vg.Point{{}, {X: chartWidth}, {X: chartWidth, Y: chartHeight}, {Y: chartHeight}})
	left := draw.Crop(all, 0, -legendWidth, 0, 0)
	panels := [][]*plot.Plot{{load}, {goodput}}
	places := plot.Align(panels, draw.Tiles{Rows: 2, Cols: 1, PadY: vg.Points(8), PadTop: 4, PadBottom: 4, PadLeft: 4}, left)
	for i := range panels {
		panels[i][0].Draw(places[i][0])
	}
	legend.Top, legend.Left, legend.Padding = true, true, vg.Points(4)
	legend.Draw(draw.Crop(all, chartWidth-legendWidth+vg.Points(10), 0, 0, -vg.Points(30)))

	file, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = canvas.WriteTo(file)
	if closing := file.Close(); err == nil {
		err = closing
	}
	return err
}

// doublings are the marks of a logarithmic axis: 1, 2, 4 …
type doublings struct{}

func (doublings) Ticks(low, high float64) (ticks []plot.Tick) {
	step := 1.0
	if math.Log2(high/low) > 8 {
		step = 2
	}
	for e := math.Ceil(math.Log2(low)); e <= math.Log2(high); e += step {
		value := math.Exp2(e)
		ticks = append(ticks, plot.Tick{Value: value, Label: strconv.FormatFloat(value, 'g', -1, 64)})
	}
	return ticks
}
