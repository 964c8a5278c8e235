package harness

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Claim is what the comparison asks, for example "session at least 0.90 × raw bytes", or without an aim
// what it compares.
func (c Comparison) Claim() string {
	what := c.Peer
	if c.Detail != "" {
		what += " (" + c.Detail + ")"
	}
	if !c.Aimed() {
		if c.Against != "" {
			what += " against " + c.Against
		}
		return what
	}
	what += " at least "
	if c.Better == Lower {
		what = strings.TrimSuffix(what, "at least ") + "at most "
	}
	switch {
	case c.Against == "":
		return what + bound(c.Aim+c.Plus)
	case c.Plus == 0:
		return what + bound(c.Aim) + " × " + c.Against
	case c.Aim == 0:
		return what + bound(c.Plus)
	case c.Plus < 0:
		return what + bound(c.Aim) + " × " + c.Against + " - " + bound(-c.Plus)
	}
	return what + bound(c.Aim) + " × " + c.Against + " + " + bound(c.Plus)
}

// bound is a number as the benchmark's author wrote it.
func bound(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// Figure is what was measured with its interval, for example "0.95 × (0.93 … 0.97)"; empty if
// nothing was.
func (r *Result) Figure(c ComparisonResult) string {
	if c.Verdict == NotMeasured {
		return ""
	}
	format, unit := r.number, ""
	switch {
	case c.Kind == KindRatio:
		unit = " ×"
	case c.Detail == "":
		unit = " " + r.Unit
	}
	if c.Kind == KindDifference {
		format = r.signed
	}
	s := format(c.Measured) + unit
	if c.Interval != nil {
		s += fmt.Sprintf(" (%s … %s)", format(c.Interval.Low), format(c.Interval.High))
	}
	return s
}

// Words is the verdict for people: reached, missed, not measured and why, and what limits it.
func (r *Result) Words(c ComparisonResult) string {
	var s string
	switch c.Verdict {
	case NotMeasured:
		return "not measured: " + c.Why
	case AimReached, AimMissed:
		s = "aim " + string(c.Verdict)
	case PeerBetter, PeerWorse, PeerEqual:
		s = string(c.Verdict)
	case Unclear:
		s = "cannot be told: the interval lies on both sides of the bound"
		switch {
		case c.Interval == nil:
			s = "cannot be told"
		case !c.Aimed():
			s = "cannot be told which is better"
		}
	case Noted:
		s = "no aim"
	}
	if c.WeLose {
		s += "; we lose to " + c.Against
	}
	if c.TooNoisy {
		s += "; too noisy for the number to say anything"
	}
	if !r.Exact && c.Interval == nil {
		s += "; no interval: " + roundsText(c.Rounds)
	}
	return s
}

func roundsText(n int) string {
	if n == 1 {
		return "only 1 round"
	}
	return fmt.Sprintf("only %d rounds", n)
}

// countedText says how far it was checked that a count is exact.
func countedText(rounds int) string {
	if rounds == 1 {
		return "taken once"
	}
	return fmt.Sprintf("the same in all of %d rounds", rounds)
}

// Sentence is the comparison, what was measured and the verdict, in a line.
func (r *Result) Sentence(c ComparisonResult) string {
	s := r.Words(c) + ": " + c.Claim()
	if figure := r.Figure(c); figure != "" {
		s += ", measured " + figure
	}
	return s
}

// Losses are the comparisons in which a rival is clearly better than ours.
func (r *Result) Losses() []ComparisonResult {
	var lost []ComparisonResult
	for _, c := range r.Comparisons {
		if c.WeLose {
			lost = append(lost, c)
		}
	}
	return lost
}

// how says how the numbers came about.
func (r *Result) how() string {
	switch {
	case r.Exact:
		return fmt.Sprintf("an exact count, %s, %s is better", countedText(r.Rounds), r.Better)
	case r.Rounds < MinRounds:
		return fmt.Sprintf("median of %d interleaved rounds, %s is better; no intervals, which take %d rounds", r.Rounds, r.Better, MinRounds)
	}
	return fmt.Sprintf("median of %d interleaved rounds with a %.0f %% interval, %s is better", r.Rounds, 100*Confidence, r.Better)
}

// lines describe the machine and the software, a fact each.
func (e Environment) lines() []string {
	lines := []string{
		fmt.Sprintf("machine: %s, %d cores (affinity %s, GOMAXPROCS %d), %s GiB; %s; %s",
			known(e.CPU), e.Cores, known(e.Affinity), e.GOMAXPROCS, number(float64(e.MemoryBytes)/(1<<30)), known(e.Kernel), known(e.Distribution)),
		fmt.Sprintf("software: ofctl-lab %s, %s, %s, datapath %s", known(e.Version), known(e.Go), known(e.OpenVSwitch), known(e.Datapath)),
	}
	return lines
}

// line describes the conditions.
func (c Conditions) line() string {
	return fmt.Sprintf("run: %s, %s; load %s before, %s after; stolen %s, waiting for disks %s; machine noise ±%s",
		c.Began.UTC().Format("2006-01-02 15:04 UTC"), time.Duration(c.Seconds*float64(time.Second)).Round(time.Second),
		number(c.LoadBefore), number(c.LoadAfter), percent(c.Steal), percent(c.IOWait), percent(c.Noise.Spread()))
}
