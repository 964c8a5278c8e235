package harness

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Schema is the version of the JSON form of Result. It changes when a field
// changes its meaning or goes; a reader ignores fields that it does not know.
const Schema = 1

// Result is what a benchmark came to, as it is written to JSON.
type Result struct {
	Schema    int    `json:"schema"`
	Benchmark string `json:"benchmark"`
	Title     string `json:"title"`
	Means     string `json:"means,omitempty"`
	Load      string `json:"load,omitempty"`
	Scale     int    `json:"scale"`
	Unit      string `json:"unit"`
	Better    Better `json:"better"`
	Rounds    int    `json:"rounds"` // asked for; each peer's samples are those that were taken
	// Exact says that the values are counts, the same each time, and have no interval.
	Exact bool `json:"exact,omitempty"`
	// Asked are the options that differed from the usual.
	Asked Asked `json:"asked"`
	// Incomplete says why the run ended early; empty if it did not.
	Incomplete string `json:"incomplete,omitempty"`
	// Reference is the peer that PeerResult.Ratio refers to: the first limit, else the first
	// rival, else the first peer, of those that were measured; empty if none was.
	Reference   string             `json:"reference,omitempty"`
	Peers       []PeerResult       `json:"peers"`
	Comparisons []ComparisonResult `json:"comparisons,omitempty"`
	Environment Environment        `json:"environment"`
	Conditions  Conditions         `json:"conditions"`
}

// Asked are the options of a run; zero values are the usual.
type Asked struct {
	Rounds   int  `json:"rounds,omitempty"`
	Scale    int  `json:"scale,omitempty"`
	Smallest bool `json:"smallest,omitempty"`
}

// PeerResult is one peer's samples in the order of the rounds, and what they come to.
type PeerResult struct {
	Name    string `json:"name"`
	Role    Role   `json:"role"`
	Version string `json:"version,omitempty"`
	// Missing says why the peer was not measured; the numbers are 0 then.
	Missing string  `json:"missing,omitempty"`
	Median  float64 `json:"median"`
	// Interval is that of the median; nil for fewer than MinRounds samples and for counts.
	Interval *Interval `json:"interval,omitempty"`
	Min      float64   `json:"min"`
	Max      float64   `json:"max"`
	// Ratio is the median of the ratios to Result.Reference, taken round by round; nil where the
	// reference is 0.
	Ratio   *float64           `json:"ratio,omitempty"`
	Detail  map[string]float64 `json:"detail,omitempty"` // medians
	Latency *Latency           `json:"latency,omitempty"`
	Samples []Sample           `json:"samples,omitempty"`
}

// Measured says that the peer has samples.
func (p *PeerResult) Measured() bool { return len(p.Samples) > 0 }

// Command is what repeats the run.
func (r *Result) Command() string {
	c := "ofctl-lab bench run " + r.Benchmark
	if r.Asked.Rounds != 0 {
		c += fmt.Sprintf(" --rounds %d", r.Asked.Rounds)
	}
	if r.Asked.Scale != 0 {
		c += fmt.Sprintf(" --scale %d", r.Asked.Scale)
	}
	if r.Asked.Smallest {
		c += " --smallest"
	}
	return c
}

// result is what the samples until now come to.
func (m *measurement) result() *Result {
	r := &Result{
		Schema: Schema, Benchmark: m.Name, Title: oneLine(m.Title), Means: oneLine(m.Means), Unit: m.Unit, Better: m.Better,
		Load: oneLine(m.bench.Load), Scale: m.bench.Scale, Rounds: m.rounds, Exact: m.exact(),
		Asked:       Asked{m.opt.Rounds, m.opt.Size.Scale, m.opt.Size.Smallest},
		Environment: m.env, Conditions: m.cond,
	}
	for i, peer := range m.bench.Peers {
		r.Peers = append(r.Peers, PeerResult{
			Name: peer.Name, Role: peer.Role, Version: oneLine(peer.Version), Missing: oneLine(peer.Missing),
			Samples: slices.Clone(m.samples[i]), Latency: sumLatency(m.samples[i]),
		})
	}
	r.derive(m.Comparisons)
	return r
}

// derive works out everything that the samples and the comparisons come to.
func (r *Result) derive(comparisons []Comparison) {
	for i := range r.Peers {
		r.sumUp(&r.Peers[i])
	}
	r.Reference = ""
	if ref := r.reference(); ref != nil {
		r.Reference = ref.Name
		for i := range r.Peers {
			r.Peers[i].Ratio = ratioOf(&r.Peers[i], ref)
		}
	}
	r.Comparisons = nil
	for _, c := range comparisons {
		r.Comparisons = append(r.Comparisons, r.judge(c))
	}
}

// sumUp works out what the samples of a peer come to; its latencies stay as they are.
func (r *Result) sumUp(p *PeerResult) {
	*p = PeerResult{Name: p.Name, Role: p.Role, Version: p.Version, Missing: p.Missing, Samples: p.Samples, Latency: p.Latency}
	if !p.Measured() {
		return
	}
	values, _ := p.values("")
	p.Median, p.Min, p.Max = Median(values), slices.Min(values), slices.Max(values)
	if !r.Exact {
		p.Interval = medianInterval(values)
	}
	details := map[string][]float64{}
	for _, s := range p.Samples {
		for k, v := range s.Detail {
			details[k] = append(details[k], v)
		}
	}
	for k, v := range details {
		if p.Detail == nil {
			p.Detail = map[string]float64{}
		}
		p.Detail[k] = Median(v)
	}
}

// oneLine is a text without line breaks and other characters that cannot be printed, and cut where it is
// longer than a result may hold.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	text = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText-len("…")], "") + "…"
	}
	return text
}

// values are those of the samples, or of a detail, and which samples have them.
func (p *PeerResult) values(detail string) (values []float64, has []bool) {
	for _, s := range p.Samples {
		v, ok := s.Value, true
		if detail != "" {
			v, ok = s.Detail[detail]
		}
		has = append(has, ok)
		if ok {
			values = append(values, v)
		}
	}
	return values, has
}

// reference is the peer that the others' ratios refer to; nil if none was measured.
func (r *Result) reference() *PeerResult {
	for _, fits := range []func(Role) bool{
		func(role Role) bool { return role == Limit },
		func(role Role) bool { return role == Rival },
		func(Role) bool { return true },
	} {
		if i := slices.IndexFunc(r.Peers, func(p PeerResult) bool { return p.Measured() && fits(p.Role) }); i >= 0 {
			return &r.Peers[i]
		}
	}
	return nil
}

// peer finds one by its name; nil if there is none.
func (r *Result) peer(name string) *PeerResult {
	if i := slices.IndexFunc(r.Peers, func(p PeerResult) bool { return p.Name == name }); i >= 0 {
		return &r.Peers[i]
	}
	return nil
}

// ratioOf is the median of the ratios of two peers, round by round; nil where there is none.
func ratioOf(p, ref *PeerResult) *float64 {
	pairs := paired(p, ref, "")
	if len(pairs) == 0 {
		return nil
	}
	var ratios []float64
	for _, v := range pairs {
		if v[1] == 0 {
			return nil
		}
		ratios = append(ratios, v[0]/v[1])
	}
	m := Median(ratios)
	if !finite(m) {
		return nil
	}
	return &m
}

// paired are the values of two peers, or of a detail, in those rounds in which both have one.
func paired(a, b *PeerResult, detail string) [][2]float64 {
	var pairs [][2]float64
	for i := range min(len(a.Samples), len(b.Samples)) {
		x, y := a.Samples[i].Value, b.Samples[i].Value
		if detail != "" {
			var ok, ok2 bool
			x, ok = a.Samples[i].Detail[detail]
			y, ok2 = b.Samples[i].Detail[detail]
			if !ok || !ok2 {
				continue
			}
		}
		pairs = append(pairs, [2]float64{x, y})
	}
	return pairs
}
