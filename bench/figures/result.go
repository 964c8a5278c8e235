package figures

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// Result is what a figure came to, as it is written to JSON.
type Result struct {
	Figure string       `json:"figure"`
	Title  string       `json:"title"`
	Load   string       `json:"load"`
	Scale  int          `json:"scale"`
	Unit   string       `json:"unit"`
	Better Better       `json:"better"`
	Peers  []PeerResult `json:"peers"`
	Aims   []AimResult  `json:"aims,omitempty"`
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

// AimResult is an aim and what was measured.
type AimResult struct {
	Aim
	Measured float64 `json:"measured"`
	Reached  bool    `json:"reached"`
}

func newResult(fig Figure, bench *Bench, samples [][]Sample) *Result {
	res := &Result{Figure: fig.Name, Title: fig.Title, Load: bench.Load, Scale: bench.Scale, Unit: fig.Unit, Better: fig.Better}
	medians := map[string]float64{}
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
			p.Detail[k] = median(v)
		}
		p.Median, p.Min, p.Max = median(values), slices.Min(values), slices.Max(values)
		medians[p.Name] = p.Median
		p.Ratio = p.Median / medians[bench.Peers[0].Name]
		res.Peers = append(res.Peers, p)
	}
	for _, aim := range fig.Aims {
		got, ok := medians[aim.Peer]
		against, ok2 := medians[aim.Against]
		if !ok || !ok2 {
			continue // a peer that this machine lacks
		}
		r := AimResult{Aim: aim, Measured: got / against}
		if fig.Better == Lower {
			r.Reached = r.Measured <= aim.Ratio
		} else {
			r.Reached = r.Measured >= aim.Ratio
		}
		res.Aims = append(res.Aims, r)
	}
	return res
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
	fmt.Fprintf(w, "%s: %s\n%s; median of %d interleaved rounds, %s is better\n\n", r.Figure, r.Title, r.Load, rounds, r.Better)
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
	for _, a := range r.Aims {
		verdict, bound := "missed", "at least"
		if a.Reached {
			verdict = "reached"
		}
		if r.Better == Lower {
			bound = "at most"
		}
		fmt.Fprintf(w, "aim %s: %s %s %.2f × %s, measured %.2f\n", verdict, a.Peer, bound, a.Ratio, a.Against, a.Measured)
	}
	_, err := fmt.Fprintln(w)
	return err
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
