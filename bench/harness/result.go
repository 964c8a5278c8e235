package harness

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// Result is what a benchmark came to, as it is written to JSON.
type Result struct {
	Benchmark   string             `json:"benchmark"`
	Title       string             `json:"title"`
	Load        string             `json:"load"`
	Scale       int                `json:"scale"`
	Unit        string             `json:"unit"`
	Better      Better             `json:"better"`
	Peers       []PeerResult       `json:"peers"`
	Comparisons []ComparisonResult `json:"comparisons,omitempty"`
}

// PeerResult is one peer's samples in the order of the rounds, and what they come to.
type PeerResult struct {
	Name    string             `json:"name"`
	Median  float64            `json:"median"`
	Min     float64            `json:"min"`
	Max     float64            `json:"max"`
	Ratio   float64            `json:"ratio"`            // of the median to the first peer's
	Detail  map[string]float64 `json:"detail,omitempty"` // medians
	Samples []Sample           `json:"samples"`
}

// ComparisonResult is an aim and what was measured: with Plus, the median less Ratio times that
// of Against; without, the ratio of the two.
type ComparisonResult struct {
	Comparison
	Measured float64 `json:"measured"`
	Reached  bool    `json:"reached"`
}

func newResult(b Benchmark, bench *Bench, samples [][]Sample) *Result {
	res := &Result{Benchmark: b.Name, Title: b.Title, Load: bench.Load, Scale: bench.Scale, Unit: b.Unit, Better: b.Better}
	for i, peer := range bench.Peers {
		p := PeerResult{Name: peer.Name, Samples: samples[i], Detail: map[string]float64{}}
		var values []float64
		details := map[string][]float64{}
		for _, s := range samples[i] {
			values = append(values, s.Value)
			for k, v := range s.Detail {
				details[k] = append(details[k], v)
			}
		}
		for k, v := range details {
			p.Detail[k] = Median(v)
		}
		if len(values) == 0 {
			res.Peers = append(res.Peers, p)
			continue
		}
		p.Median, p.Min, p.Max = Median(values), slices.Min(values), slices.Max(values)
		res.Peers = append(res.Peers, p)
		res.Peers[i].Ratio = p.Median / res.Peers[0].Median
	}
	for _, aim := range b.Comparisons {
		if r, ok := res.judge(aim); ok {
			res.Comparisons = append(res.Comparisons, r)
		}
	}
	return res
}

// judge compares the medians that an aim names; false if one of them is of a peer that
// this machine lacks.
func (r *Result) judge(aim Comparison) (ComparisonResult, bool) {
	got, ok := r.median(aim.Peer, aim.Detail)
	against, ok2 := 1.0, aim.Against == ""
	if !ok2 {
		against, ok2 = r.median(aim.Against, aim.Detail)
	}
	if !ok || !ok2 {
		return ComparisonResult{}, false
	}
	bound := aim.Aim*against + aim.Plus
	out := ComparisonResult{Comparison: aim, Measured: got - aim.Aim*against, Reached: got >= bound}
	if aim.Plus == 0 {
		out.Measured = got / against
	}
	if cmp.Or(aim.Better, r.Better) == Lower {
		out.Reached = got <= bound
	}
	return out, true
}

// median is that of a peer's values, or of a detail.
func (r *Result) median(peer, detail string) (float64, bool) {
	i := slices.IndexFunc(r.Peers, func(p PeerResult) bool { return p.Name == peer })
	if i < 0 {
		return 0, false
	}
	if detail == "" {
		return r.Peers[i].Median, true
	}
	v, ok := r.Peers[i].Detail[detail]
	return v, ok
}

// WriteText writes the result as a table for people.
func (r *Result) WriteText(w io.Writer) error {
	details := map[string]bool{}
	for _, p := range r.Peers {
		for k := range p.Detail {
			details[k] = true
		}
	}
	columns := slices.Sorted(maps.Keys(details))

	rounds := 0
	if len(r.Peers) > 0 {
		rounds = len(r.Peers[0].Samples)
	}
	fmt.Fprintf(w, "%s: %s\n%s; median of %d interleaved rounds, %s is better\n\n", r.Benchmark, r.Title, r.Load, rounds, r.Better)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "peer\t%s\tmin\tmax\tratio\t", r.Unit)
	for _, c := range columns {
		fmt.Fprintf(t, "%s\t", c)
	}
	fmt.Fprintln(t)
	for _, p := range r.Peers {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.2f\t", p.Name, number(p.Median), number(p.Min), number(p.Max), p.Ratio)
		for _, c := range columns {
			if v, ok := p.Detail[c]; ok {
				fmt.Fprintf(t, "%s\t", number(v))
			} else {
				fmt.Fprint(t, "-\t")
			}
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, a := range r.Comparisons {
		fmt.Fprintln(w, a.Sentence(r.Better))
	}
	_, err := fmt.Fprintln(w)
	return err
}

// Sentence says whether the aim is reached.
func (a ComparisonResult) Sentence(better Better) string {
	verdict, bound, what := "missed", "at least", a.Peer
	if a.Reached {
		verdict = "reached"
	}
	if cmp.Or(a.Better, better) == Lower {
		bound = "at most"
	}
	if a.Detail != "" {
		what += " (" + a.Detail + ")"
	}
	limit := number(a.Aim + a.Plus)
	switch {
	case a.Against != "" && a.Plus != 0:
		limit = fmt.Sprintf("%.2f × %s + %s", a.Aim, a.Against, number(a.Plus))
	case a.Against != "":
		limit = fmt.Sprintf("%.2f × %s", a.Aim, a.Against)
	}
	measured := fmt.Sprintf("%.2f", a.Measured)
	if a.Plus != 0 && a.Against != "" {
		measured = "+ " + number(a.Measured)
	} else if a.Against == "" {
		measured = number(a.Measured)
	}
	return fmt.Sprintf("aim %s: %s %s %s, measured %s", verdict, what, bound, limit, measured)
}

// number is v with about three digits that mean something.
func number(v float64) string {
	switch {
	case v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
