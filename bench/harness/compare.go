package harness

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Negligible is the change of a ratio between two runs that no verdict is made of: two runs on
// one machine differ by more than the rounds of one of them do. Counts have none.
const Negligible = 0.02

// Difference is what changed between two results of one benchmark.
type Difference struct {
	Benchmark string `json:"benchmark"`
	Unit      string `json:"unit"`
	// Exact says that both results are counts, which are compared as they are.
	Exact bool `json:"exact,omitempty"`
	// Warnings say what else differs, so that the change may not be ours.
	Warnings []string `json:"warnings,omitempty"`
	// Reference is the peer that the others are taken relative to in each run; empty for counts, and
	// if no limit and no rival is in both: then the values themselves are compared.
	Reference string   `json:"reference,omitempty"`
	Changes   []Change `json:"changes"`
	// Unpaired are the peers that only one of the results has measured, and which.
	Unpaired []string `json:"unpaired,omitempty"`
}

// Change is that of one peer.
type Change struct {
	Peer   string `json:"peer"`
	Role   Role   `json:"role"`
	Detail string `json:"detail,omitempty"` // empty for the value
	Better Better `json:"better"`
	// Relative says that Old and New are medians of the ratios to Difference.Reference, not of values.
	Relative bool    `json:"relative"`
	Old      float64 `json:"old"`
	New      float64 `json:"new"`
	// Factor is New / Old, and Interval its own; nil where there is none.
	Factor   *float64      `json:"factor,omitempty"`
	Interval *Interval     `json:"interval,omitempty"`
	Verdict  ChangeVerdict `json:"verdict"`
}

// ChangeVerdict is what a Change concludes.
type ChangeVerdict string

// The verdicts.
const (
	ChangeBetter ChangeVerdict = "better"
	ChangeWorse  ChangeVerdict = "worse"
	ChangeNone   ChangeVerdict = "no difference that can be told"
	ChangeNoisy  ChangeVerdict = "too noisy to tell"
	ChangeUntold ChangeVerdict = "too few rounds to tell"
)

// Compare sets a new result against an old one of the same benchmark. Each peer is taken
// relative to a limit or a rival of its own run, so that a machine that was slower that day
// does not count.
func Compare(before, after *Result) (*Difference, error) {
	if before.Benchmark != after.Benchmark {
		return nil, fmt.Errorf("results of two benchmarks, %s and %s, cannot be compared", before.Benchmark, after.Benchmark)
	}
	if before.Unit != after.Unit || before.Better != after.Better {
		return nil, fmt.Errorf("benchmark %s has changed: %s, %s is better, then %s, %s is better: the results cannot be compared",
			before.Benchmark, before.Unit, before.Better, after.Unit, after.Better)
	}
	d := &Difference{Benchmark: after.Benchmark, Unit: after.Unit, Exact: before.Exact && after.Exact, Warnings: warnings(before, after)}
	if !d.Exact {
		d.Reference = commonReference(before, after)
	}
	for i := range after.Peers {
		p := &after.Peers[i]
		old := before.peer(p.Name)
		if !p.Measured() || old == nil || !old.Measured() {
			continue
		}
		for _, detail := range comparedDetails(after, p.Name) {
			if c, ok := d.change(before, after, p, detail); ok {
				d.Changes = append(d.Changes, c)
			}
		}
	}
	d.Unpaired = append(onlyIn(before, after, "old"), onlyIn(after, before, "new")...)
	if len(d.Changes) == 0 {
		return nil, fmt.Errorf("the two results of benchmark %s have no measured peer in common", d.Benchmark)
	}
	return d, nil
}

// Worse says that something of ours got clearly worse.
func (d *Difference) Worse() bool {
	return slices.ContainsFunc(d.Changes, func(c Change) bool { return c.Role == Ours && c.Verdict == ChangeWorse })
}

// comparedDetails are the empty name of the value, and the details that a comparison is about.
func comparedDetails(r *Result, peer string) []string {
	names := []string{""}
	for _, c := range r.Comparisons {
		if (c.Peer == peer || c.Against == peer) && !slices.Contains(names, c.Detail) {
			names = append(names, c.Detail)
		}
	}
	return names
}

// direction is which values of a detail are good.
func (r *Result) direction(detail string) Better {
	for _, c := range r.Comparisons {
		if c.Detail == detail {
			return c.Better
		}
	}
	return r.Better
}

// commonReference is the first limit or else rival that both have measured.
func commonReference(before, after *Result) string {
	for _, role := range []Role{Limit, Rival} {
		for _, p := range after.Peers {
			if old := before.peer(p.Name); p.Role == role && p.Measured() && old != nil && old.Role == role && old.Measured() {
				return p.Name
			}
		}
	}
	return ""
}

// change is that of a peer, or of one of its details; false if one of the results lacks it.
func (d *Difference) change(before, after *Result, p *PeerResult, detail string) (Change, bool) {
	c := Change{Peer: p.Name, Role: p.Role, Detail: detail, Better: cmp.Or(after.direction(detail), after.Better)}
	was, now, relative := d.series(before, after, p.Name, detail)
	if len(was) == 0 || len(now) == 0 {
		return c, false
	}
	c.Relative, c.Old, c.New = relative, Median(was), Median(now)
	if c.Old > 0 && finite(c.New/c.Old) {
		factor := c.New / c.Old
		c.Factor = &factor
	}
	a, b := &Interval{c.Old, c.Old}, &Interval{c.New, c.New}
	if !d.Exact {
		a, b = medianInterval(was), medianInterval(now)
		if a != nil && b != nil {
			c.Interval = factorInterval(was, now)
		}
	}
	c.Verdict = c.judge(a, b)
	return c, true
}

// series are the values of a peer in both runs, as ratios to the reference if both have them. The reference
// itself is taken as it is.
func (d *Difference) series(before, after *Result, peer, detail string) (was, now []float64, relative bool) {
	if d.Reference != "" && d.Reference != peer {
		was, now = before.ratios(peer, d.Reference, detail), after.ratios(peer, d.Reference, detail)
		if was != nil && now != nil {
			return was, now, true
		}
	}
	was, _ = before.peer(peer).values(detail)
	now, _ = after.peer(peer).values(detail)
	return was, now, false
}

// ratios are those of two peers, round by round; nil if there are none in some round.
func (r *Result) ratios(peer, against, detail string) []float64 {
	var ratios []float64
	for _, v := range paired(r.peer(peer), r.peer(against), detail) {
		if v[1] <= 0 || !finite(v[0]/v[1]) {
			return nil
		}
		ratios = append(ratios, v[0]/v[1])
	}
	return ratios
}

// factorInterval is the percentile-bootstrap interval of the quotient of two medians; nil if
// the old one may be 0.
func factorInterval(was, now []float64) *Interval {
	rng := rand.New(rand.NewPCG(seed, 1))
	old, factors := resampledMedians(was, rng), resampledMedians(now, rng)
	for i := range factors {
		factors[i] /= old[i]
		if old[i] <= 0 || !finite(factors[i]) {
			return nil
		}
	}
	return span(factors)
}

// judge concludes by the interval of the factor, or where there is none, by those of the medians.
func (c Change) judge(was, now *Interval) ChangeVerdict {
	better, worse := ChangeBetter, ChangeWorse
	if c.Better == Lower {
		better, worse = worse, better
	}
	switch {
	case was == nil || now == nil:
		return ChangeUntold
	case c.Interval == nil && now.Low > was.High, c.Interval != nil && c.Interval.Low > 1 && *c.Factor > 1+Negligible:
		return better
	case c.Interval == nil && now.High < was.Low, c.Interval != nil && c.Interval.High < 1 && *c.Factor < 1-Negligible:
		return worse
	case c.Interval.tooWide():
		return ChangeNoisy
	}
	return ChangeNone
}

// warnings name what makes two runs hard to compare.
func warnings(before, after *Result) []string {
	var w []string
	differ := func(what, was, now string) {
		if was != now {
			w = append(w, fmt.Sprintf("%s differs: %s, then %s", what, known(was), known(now)))
		}
	}
	differ("scale", fmt.Sprint(before.Scale), fmt.Sprint(after.Scale))
	differ("load", before.Load, after.Load)
	a, b := before.Environment, after.Environment
	differ("CPU", a.CPU, b.CPU)
	differ("number of cores", fmt.Sprint(a.Cores), fmt.Sprint(b.Cores))
	differ("affinity", a.Affinity, b.Affinity)
	differ("kernel", a.Kernel, b.Kernel)
	differ("Open vSwitch", a.OpenVSwitch, b.OpenVSwitch)
	differ("datapath", a.Datapath, b.Datapath)
	differ("Go", a.Go, b.Go)
	for _, p := range after.Peers {
		if old := before.peer(p.Name); old != nil && p.Measured() && old.Measured() {
			differ("version of "+p.Name, old.Version, p.Version)
		}
	}
	for when, r := range []*Result{before, after} {
		if r.Incomplete != "" {
			w = append(w, fmt.Sprintf("the %s run is incomplete: %s", []string{"old", "new"}[when], r.Incomplete))
		}
	}
	return w
}

// onlyIn names the peers that r has measured and other has not.
func onlyIn(r, other *Result, which string) []string {
	var names []string
	for _, p := range r.Peers {
		o := other.peer(p.Name)
		if !p.Measured() || o != nil && o.Measured() {
			continue
		}
		why := ""
		if o != nil && o.Missing != "" {
			why = ": missing in the other: " + o.Missing
		}
		names = append(names, fmt.Sprintf("%s: only in the %s result%s", p.Name, which, why))
	}
	return names
}
