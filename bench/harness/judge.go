package harness

import (
	"cmp"
	"fmt"
)

// Kind is what ComparisonResult.Measured is.
type Kind string

// The kinds.
const (
	KindRatio      Kind = "ratio"      // of Peer to Against
	KindDifference Kind = "difference" // Peer less Aim × Against (Against itself without an aim)
	KindValue      Kind = "value"      // Peer's own
)

// Verdict is what a comparison concludes.
type Verdict string

// The verdicts: the first two with an aim, the next three without. Unclear is where
// the interval lies on both sides of the bound, or where there are too few rounds for one.
const (
	AimReached  Verdict = "reached"
	AimMissed   Verdict = "missed"
	PeerBetter  Verdict = "better" // Peer than Against
	PeerWorse   Verdict = "worse"
	PeerEqual   Verdict = "equal"
	Unclear     Verdict = "cannot be told"
	NotMeasured Verdict = "not measured"
	Noted       Verdict = "noted" // a value without an aim
)

// ComparisonResult is a comparison and what was measured. Better is always set.
type ComparisonResult struct {
	Comparison
	Kind     Kind    `json:"kind,omitempty"`
	Measured float64 `json:"measured"` // the median of all rounds
	// Interval is that of Measured; nil for fewer than MinRounds rounds and for counts.
	Interval *Interval `json:"interval,omitempty"`
	Rounds   int       `json:"rounds"`  // that had both values
	Verdict  Verdict   `json:"verdict"` // by the interval; of a count, by Measured
	// TooNoisy says that the interval is so wide (NoiseBound) that the number says nothing. The
	// verdict may hold all the same, where all of the interval is on one side.
	TooNoisy bool `json:"too_noisy,omitempty"`
	// WeLose says that Peer is ours, Against a rival, and that ours is clearly the worse one,
	// whatever the aim asks.
	WeLose bool `json:"we_lose,omitempty"`
	// Why says why it was not measured.
	Why string `json:"why,omitempty"`
}

// Aimed says that the comparison has an aim.
func (c Comparison) Aimed() bool { return c.Aim != 0 || c.Plus != 0 }

// judge draws the conclusion of one comparison.
func (r *Result) judge(c Comparison) ComparisonResult {
	c.Better = cmp.Or(c.Better, r.Better)
	out := ComparisonResult{Comparison: c, Verdict: NotMeasured}
	p := r.peer(c.Peer)
	if out.Why = whyNot(p, c.Peer, c.Detail); out.Why != "" {
		return out
	}
	if c.Against == "" {
		values, _ := p.values(c.Detail)
		out.Kind = KindValue
		return r.conclude(out, values, c.Aim+c.Plus)
	}
	against := r.peer(c.Against)
	if out.Why = whyNot(against, c.Against, c.Detail); out.Why != "" {
		return out
	}
	pairs := paired(p, against, c.Detail)
	if len(pairs) == 0 {
		out.Why = fmt.Sprintf("%s and %s have no round in common", c.Peer, c.Against)
		return out
	}
	out, values, bound := measure(out, pairs)
	out = r.conclude(out, values, bound)
	if p.Role == Ours && against.Role == Rival {
		out.WeLose = verdict(r.spread(differences(pairs, 1)), 0, c.Better) == PeerWorse
	}
	return out
}

// whyNot says why a peer, or its detail, has no value; empty if it has.
func whyNot(p *PeerResult, name, detail string) string {
	switch {
	case p == nil:
		return fmt.Sprintf("this size has no %s", name)
	case p.Missing != "":
		return fmt.Sprintf("%s is missing: %s", name, p.Missing)
	case !p.Measured():
		return fmt.Sprintf("the run ended before %s was measured", name)
	}
	if values, _ := p.values(detail); len(values) == 0 {
		return fmt.Sprintf("%s does not report %s", name, detail)
	}
	return ""
}

// measure chooses what is compared: ratios where there are any, else differences.
func measure(c ComparisonResult, pairs [][2]float64) (out ComparisonResult, values []float64, bound float64) {
	c.Kind, bound = KindRatio, cmp.Or(c.Aim, 1)
	if c.Plus != 0 {
		c.Kind = KindDifference
	}
	for _, v := range pairs {
		if v[1] <= 0 {
			c.Kind = KindDifference
		}
	}
	if c.Kind == KindRatio {
		for _, v := range pairs {
			values = append(values, v[0]/v[1])
		}
		return c, values, bound
	}
	factor := c.Aim
	if !c.Aimed() {
		factor = 1
	}
	return c, differences(pairs, factor), c.Plus
}

// differences are the first values less the second ones times a factor.
func differences(pairs [][2]float64, factor float64) []float64 {
	var d []float64
	for _, v := range pairs {
		d = append(d, v[0]-factor*v[1])
	}
	return d
}

// conclude fills in what the values say about the bound.
func (r *Result) conclude(c ComparisonResult, values []float64, bound float64) ComparisonResult {
	c.Measured, c.Rounds = Median(values), len(values)
	spread := r.spread(values)
	if !r.Exact {
		c.Interval = spread
	}
	c.TooNoisy = c.Kind != KindDifference && c.Interval.tooWide()
	v := verdict(spread, bound, c.Better)
	switch {
	case !c.Aimed() && c.Kind == KindValue:
		v = Noted
	case c.Aimed() && (v == PeerBetter || v == PeerEqual):
		v = AimReached
	case c.Aimed() && v == PeerWorse:
		v = AimMissed
	}
	c.Verdict = v
	return c
}

// spread is where the median of the values lies: of counts the median itself, else its interval; nil
// for too few rounds.
func (r *Result) spread(values []float64) *Interval {
	if r.Exact {
		return &Interval{Median(values), Median(values)}
	}
	return medianInterval(values)
}

// verdict says on which side of the bound an interval is. Without one nothing can be told: a median of a
// few rounds falls on either side by chance.
func verdict(i *Interval, bound float64, better Better) Verdict {
	if i == nil {
		return Unclear
	}
	above, below := PeerBetter, PeerWorse
	if better == Lower {
		above, below = below, above
	}
	switch {
	case i.Low == bound && i.High == bound:
		return PeerEqual
	case i.Low >= bound:
		return above
	case i.High <= bound:
		return below
	}
	return Unclear
}
