package harness

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	plotWidth  = 760 * vg.Length(1) // points
	plotRow    = 26                 // points of each peer
	plotMargin = 110                // points of title, axis and edges
	plotEdge   = 8                  // points that stay free on each side
	// logFrom is how many times the least value the largest one is where the axis becomes logarithmic.
	logFrom = 20
	// halfRow is how far a mark reaches up and down in its row, rows being 1 apart.
	halfRow = 0.36
)

// plotPeer is a peer in its row of the plot.
type plotPeer struct {
	peer  *PeerResult
	y     float64
	aims  []float64
	color color.Color
}

// WriteSVG writes the result as a plot: in a row each the peers' samples, and their medians with the
// intervals. The same result makes the same bytes. Values that are too large or too small
// to draw are an error.
func (r *Result) WriteSVG(w io.Writer) error {
	p, err := r.plot()
	if err != nil {
		return fmt.Errorf("plot of benchmark %s: %w", r.Benchmark, err)
	}
	canvas := vgsvg.New(plotWidth, vg.Length(plotMargin+plotRow*len(r.Peers)))
	page := draw.New(canvas)
	page.SetColor(p.BackgroundColor)
	page.Fill(page.Rectangle.Path())
	p.Draw(draw.Crop(page, plotEdge, -plotEdge, plotEdge, -plotEdge))
	_, err = canvas.WriteTo(w)
	return err
}

func (r *Result) plot() (*plot.Plot, error) {
	rows := r.plotRows()
	lo, hi, err := plotRange(rows)
	if err != nil {
		return nil, err
	}
	p := plot.New()
	p.Title.Text = r.Title
	p.X.Label.Text = fmt.Sprintf("%s, %s is better. %s", r.Unit, r.Better, r.plotKey())
	p.Y.Min, p.Y.Max = -0.6, float64(len(rows))-0.4
	p.X.Min, p.X.Max = lo, hi
	p.X.Tick.Marker = plot.ConstantTicks(ticks(lo, hi))
	if lo > 0 {
		p.X.Scale = plot.LogScale{}
	}
	var names []plot.Tick
	for _, row := range rows {
		names = append(names, plot.Tick{Value: row.y, Label: row.label()})
	}
	p.Y.Tick.Marker = plot.ConstantTicks(names)
	p.Y.Tick.Length, p.Y.LineStyle.Width = 0, 0
	for _, style := range []*text.Style{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label} {
		style.Font.Variant = "Sans"
	}
	p.Title.Padding, p.X.Label.Padding, p.X.Padding = 8, 6, 4
	p.X.Label.TextStyle.Font.Size = 9
	return p, r.drawRows(p, rows)
}

// plotKey explains the marks.
func (r *Result) plotKey() string {
	if r.Exact {
		return "Dot: the count; mark: aim."
	}
	return fmt.Sprintf("Rings: samples; dot and bar: median and its %.0f %% interval; mark: aim.", 100*Confidence)
}

// plotRows are the peers from the top down, with their aims.
func (r *Result) plotRows() []plotPeer {
	var rows []plotPeer
	for i := range r.Peers {
		p := &r.Peers[i]
		row := plotPeer{peer: p, y: float64(len(r.Peers) - 1 - i), color: roleColor(p.Role)}
		for _, c := range r.Comparisons {
			if c.Peer != p.Name || c.Detail != "" || !c.Aimed() || c.Verdict == NotMeasured {
				continue
			}
			aim := c.Aim + c.Plus
			if c.Against != "" {
				against := r.peer(c.Against)
				if against == nil {
					continue
				}
				aim = c.Aim*against.Median + c.Plus
			}
			row.aims = append(row.aims, aim)
		}
		rows = append(rows, row)
	}
	return rows
}

// label is the peer's name and role.
func (row plotPeer) label() string {
	switch {
	case row.peer.Missing != "":
		return row.peer.Name + " (missing)"
	case !row.peer.Measured():
		return row.peer.Name + " (not measured)"
	case row.peer.Role == Limit:
		return row.peer.Name + " (limit)"
	case row.peer.Role == Ours:
		return row.peer.Name + " (ours)"
	}
	return row.peer.Name
}

// roleColor is from the palette of Okabe and Ito, which colour-blind people can tell apart.
func roleColor(role Role) color.Color {
	switch role {
	case Ours:
		return color.NRGBA{R: 0, G: 114, B: 178, A: 255}
	case Rival:
		return color.NRGBA{R: 213, G: 94, B: 0, A: 255}
	}
	return color.NRGBA{R: 0, G: 158, B: 115, A: 255}
}

// plotRange is what the axis shows: from 0, or where the values are far apart, from the
// least of them, and then it is logarithmic.
func plotRange(rows []plotPeer) (lo, hi float64, err error) {
	var values []float64
	for _, row := range rows {
		for _, s := range row.peer.Samples {
			values = append(values, s.Value)
		}
		if row.peer.Measured() {
			values = append(values, row.peer.Median)
		}
		if i := row.peer.Interval; i != nil {
			values = append(values, i.Low, i.High)
		}
		values = append(values, row.aims...)
	}
	if len(values) == 0 {
		return 0, 1, nil
	}
	for _, v := range values {
		// So that no sum or quotient of two of them leaves the numbers.
		if abs := math.Abs(v); v != 0 && !(abs > 1e-100 && abs < 1e100) {
			return 0, 0, fmt.Errorf("%v cannot be drawn", v)
		}
	}
	lo, hi = slices.Min(values), slices.Max(values)
	switch {
	case lo > 0 && hi > logFrom*lo:
		return lo / 1.2, hi * 1.2, nil
	case lo == 0 && hi == 0:
		return 0, 1, nil
	}
	pad := (max(hi, 0) - min(lo, 0)) * 0.04
	if lo < 0 {
		return lo - pad, max(hi, 0) + pad, nil
	}
	return 0, hi + pad, nil
}

// drawRows adds lines and dots. Later ones lie on top.
func (r *Result) drawRows(p *plot.Plot, rows []plotPeer) error {
	grid := plotter.NewGrid()
	grid.Horizontal.Width = 0
	grid.Vertical.Color = color.Gray{Y: 225}
	p.Add(grid)
	if ref := r.peer(r.Reference); ref != nil && ref.Role == Limit {
		style := draw.LineStyle{Color: roleColor(Limit), Width: 0.75, Dashes: []vg.Length{2, 3}}
		if err := line(p, style, plotter.XY{X: ref.Median, Y: p.Y.Min}, plotter.XY{X: ref.Median, Y: p.Y.Max}); err != nil {
			return err
		}
	}
	for _, row := range rows {
		if !row.peer.Measured() {
			continue
		}
		if err := row.draw(p); err != nil {
			return err
		}
	}
	return nil
}

func (row plotPeer) draw(p *plot.Plot) error {
	var samples plotter.XYs
	// Samples that are all the same lie under the dot.
	if row.peer.Min != row.peer.Max {
		for _, s := range row.peer.Samples {
			samples = append(samples, plotter.XY{X: s.Value, Y: row.y})
		}
		rings, err := plotter.NewScatter(samples)
		if err != nil {
			return err
		}
		rings.GlyphStyle = draw.GlyphStyle{Color: color.Gray{Y: 120}, Radius: 3, Shape: draw.RingGlyph{}}
		p.Add(rings)
	}
	if i := row.peer.Interval; i != nil {
		style := draw.LineStyle{Color: row.color, Width: 2}
		if err := line(p, style, plotter.XY{X: i.Low, Y: row.y}, plotter.XY{X: i.High, Y: row.y}); err != nil {
			return err
		}
	}
	dot, err := plotter.NewScatter(plotter.XYs{{X: row.peer.Median, Y: row.y}})
	if err != nil {
		return err
	}
	dot.GlyphStyle = draw.GlyphStyle{Color: row.color, Radius: 4, Shape: draw.CircleGlyph{}}
	p.Add(dot)
	for _, aim := range row.aims {
		style := draw.LineStyle{Color: color.Black, Width: 1.5}
		if err := line(p, style, plotter.XY{X: aim, Y: row.y - halfRow}, plotter.XY{X: aim, Y: row.y + halfRow}); err != nil {
			return err
		}
	}
	return nil
}

func line(p *plot.Plot, style draw.LineStyle, from, to plotter.XY) error {
	l, err := plotter.NewLine(plotter.XYs{from, to})
	if err != nil {
		return err
	}
	l.LineStyle = style
	p.Add(l)
	return nil
}

// ticks are those of the axis; it is logarithmic if lo is above 0.
func ticks(lo, hi float64) []plot.Tick {
	if lo > 0 {
		return logTicks(lo, hi)
	}
	raw := (hi - lo) / 6
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * unit
	for _, m := range []float64{1, 2, 5} {
		if raw <= m*unit {
			step = m * unit
			break
		}
	}
	var found []plot.Tick
	for i := math.Ceil(lo / step); i*step <= hi; i++ {
		found = append(found, plot.Tick{Value: i * step, Label: tickLabel(i * step)})
	}
	return found
}

// logTicks are 1, 2 and 5 of each power of ten, or where there are many powers, some of them.
func logTicks(lo, hi float64) []plot.Tick {
	first, last := math.Floor(math.Log10(lo)), math.Ceil(math.Log10(hi))
	steps, every := []float64{1, 2, 5}, 1.0
	if last-first > 4 {
		steps, every = []float64{1}, math.Ceil((last-first)/10)
	}
	var found []plot.Tick
	for e := first; e <= last; e += every {
		for _, m := range steps {
			if v := m * math.Pow(10, e); v >= lo && v <= hi {
				found = append(found, plot.Tick{Value: v, Label: tickLabel(v)})
			}
		}
	}
	return found
}

// tickLabel is short, with k and M for thousands and millions.
func tickLabel(v float64) string {
	switch abs := math.Abs(v); {
	case abs >= 1e15:
		return fmt.Sprintf("%.0e", v)
	case abs >= 1e6:
		return fmt.Sprintf("%.6gM", v/1e6)
	case abs >= 1e4:
		return fmt.Sprintf("%.6gk", v/1e3)
	}
	return fmt.Sprintf("%.6g", v)
}
