package harness

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// WriteText writes the result as tables for people.
func (r *Result) WriteText(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s\n%s; %s\n", r.Benchmark, r.Title, r.Load, r.how())
	if r.Incomplete != "" {
		fmt.Fprintf(&b, "INCOMPLETE: %s\n", r.Incomplete)
	}
	b.WriteByte('\n')
	r.peerTable(&b)
	r.latencyTable(&b)
	for _, p := range r.Peers {
		if p.Missing != "" {
			fmt.Fprintf(&b, "missing: %s: %s\n", p.Name, p.Missing)
		}
	}
	for _, line := range r.beyondLimits() {
		fmt.Fprintln(&b, line)
	}
	for _, c := range r.Comparisons {
		fmt.Fprintln(&b, r.Sentence(c))
	}
	for _, line := range r.Environment.lines() {
		fmt.Fprintln(&b, line)
	}
	fmt.Fprintf(&b, "%s\n\n", r.Conditions.line())
	_, err := w.Write(b.Bytes())
	return err
}

// details are the names of all details, sorted.
func (r *Result) details() []string {
	names := map[string]bool{}
	for _, p := range r.Peers {
		for k := range p.Detail {
			names[k] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// row is a peer's cells after its name, in the order of header.
func (r *Result) row(p *PeerResult, details []string) []string {
	cells := []string{string(p.Role)}
	if !p.Measured() {
		why := "not measured"
		if p.Missing != "" {
			why = "missing"
		}
		cells = append(cells, why)
		for len(cells) < len(r.header(details)) {
			cells = append(cells, "-")
		}
		return cells
	}
	cells = append(cells, r.number(p.Median))
	if !r.Exact {
		cells = append(cells, r.interval(p.Interval))
	}
	cells = append(cells, r.number(p.Min), r.number(p.Max))
	if r.Reference != "" {
		ratio := "-"
		if p.Ratio != nil {
			ratio = number(*p.Ratio)
		}
		cells = append(cells, ratio)
	}
	for _, d := range details {
		v, ok := p.Detail[d]
		if !ok {
			cells = append(cells, "-")
			continue
		}
		cells = append(cells, r.number(v))
	}
	return cells
}

// header are the names of the columns after the peer's.
func (r *Result) header(details []string) []string {
	cells := []string{"role", r.Unit}
	if !r.Exact {
		cells = append(cells, "interval")
	}
	cells = append(cells, "min", "max")
	if r.Reference != "" {
		cells = append(cells, "to "+r.Reference)
	}
	return append(cells, details...)
}

func (r *Result) peerTable(b *bytes.Buffer) {
	details := r.details()
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	writeRow(t, "peer", r.header(details))
	for i := range r.Peers {
		writeRow(t, r.Peers[i].Name, r.row(&r.Peers[i], details))
	}
	t.Flush() // writing to memory cannot fail
	b.WriteByte('\n')
}

// latencyTable writes nothing if no peer has latencies.
func (r *Result) latencyTable(b *bytes.Buffer) {
	if !slices.ContainsFunc(r.Peers, func(p PeerResult) bool { return p.Latency != nil }) {
		return
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	writeRow(t, "latency", latencyHeader())
	for _, p := range r.Peers {
		if p.Latency != nil {
			writeRow(t, p.Name, p.Latency.row())
		}
	}
	t.Flush() // writing to memory cannot fail
	b.WriteByte('\n')
}

func latencyHeader() []string { return []string{"count", "p50", "p90", "p99", "p99.9", "max"} }

// A percentile is shown from so many latencies on: of fewer it is the maximum, or close to it.
const (
	leastForP99  = 100
	leastForP999 = 1000
)

func (l *Latency) row() []string {
	cells := []string{fmt.Sprint(l.Count), latency(l.P50), latency(l.P90), latency(l.P99), latency(l.P999), latency(l.Max)}
	if l.Count < leastForP99 {
		cells[3] = "-"
	}
	if l.Count < leastForP999 {
		cells[4] = "-"
	}
	if l.Beyond > 0 {
		cells[len(cells)-1] = fmt.Sprintf("%d over a minute", l.Beyond)
	}
	return cells
}

func writeRow(w io.Writer, first string, cells []string) {
	fmt.Fprint(w, first, "\t")
	for _, c := range cells {
		fmt.Fprint(w, c, "\t")
	}
	fmt.Fprintln(w)
}
