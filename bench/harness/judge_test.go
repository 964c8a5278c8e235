package harness

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// around are ten values whose median is v, spread by the share d.
func around(v, d float64) []float64 {
	var values []float64
	for _, x := range []float64{-1, -0.5, -0.2, -0.1, 0, 0, 0.1, 0.2, 0.5, 1} {
		values = append(values, v*(1+d*x))
	}
	return values
}

func judged(t *testing.T, better Better, rounds int, c Comparison, peers ...Peer) (*Result, ComparisonResult) {
	t.Helper()
	var order []string
	b := benchmarkOf(better, &order, peers...)
	b.Comparisons = []Comparison{c}
	if rounds == 1 {
		b.Rounds = 1
	}
	res := measureOrFail(t, b, Options{Rounds: rounds})
	return res, res.Comparisons[0]
}

func TestVerdicts(t *testing.T) {
	ten, wide, one := around(10, 0.02), around(10, 0.9), []float64{10}
	zero := make([]float64, 10)
	type verdict struct {
		Verdict  Verdict
		Noisy    bool
		Lose     bool
		Sentence string
	}
	for _, c := range []struct {
		name       string
		better     Better
		mine, them []float64
		comparison Comparison
		want       verdict
	}{
		{"higher, reached", Higher, around(9.5, 0.01), ten, Comparison{Aim: 0.9},
			verdict{AimReached, false, true, "aim reached; we lose to them: mine at least 0.9 × them, measured 0.95 × (0.95 … 0.95)"}},
		{"higher, missed", Higher, around(8, 0.01), ten, Comparison{Aim: 0.9},
			verdict{AimMissed, false, true, "aim missed; we lose to them: mine at least 0.9 × them, measured 0.80 × (0.80 … 0.80)"}},
		{"higher, straddles", Higher, around(10, 0.3), ten, Comparison{Aim: 1},
			verdict{Unclear, false, false, "cannot be told: the interval lies on both sides of the bound: mine at least 1 × them, measured 1.00 × (0.92 … 1.07)"}},
		{"higher, noisy", Higher, wide, ten, Comparison{Aim: 1},
			verdict{Unclear, true, false, "cannot be told: the interval lies on both sides of the bound; too noisy for the number to say anything: mine at least 1 × them, measured 1.00 × (0.73 … 1.22)"}},
		{"higher, noisy and all on one side", Higher, wide, around(1, 0.01), Comparison{Aim: 2},
			verdict{AimReached, true, false, "aim reached; too noisy for the number to say anything: mine at least 2 × them, measured 10.0 × (7.32 … 12.2)"}},
		{"lower, reached", Lower, around(5, 0.01), ten, Comparison{Aim: 0.6},
			verdict{AimReached, false, false, "aim reached: mine at most 0.6 × them, measured 0.50 × (0.50 … 0.50)"}},
		{"lower, missed", Lower, around(9, 0.01), ten, Comparison{Aim: 0.6},
			verdict{AimMissed, false, false, "aim missed: mine at most 0.6 × them, measured 0.90 × (0.90 … 0.90)"}},
		{"the bound itself", Higher, ten, ten, Comparison{Aim: 1},
			verdict{AimReached, false, false, "aim reached: mine at least 1 × them, measured 1.00 × (1.00 … 1.00)"}},
		{"no aim, better", Lower, around(9, 0.01), ten, Comparison{},
			verdict{PeerBetter, false, false, "better: mine against them, measured 0.90 × (0.90 … 0.90)"}},
		{"no aim, worse", Lower, around(11, 0.01), ten, Comparison{},
			verdict{PeerWorse, false, true, "worse; we lose to them: mine against them, measured 1.10 × (1.10 … 1.10)"}},
		{"no aim, unclear", Lower, around(10, 0.1), ten, Comparison{},
			verdict{Unclear, false, false, "cannot be told which is better: mine against them, measured 1.00 × (0.98 … 1.02)"}},
		{"plus, reached", Lower, around(14, 0.01), ten, Comparison{Aim: 1, Plus: 5},
			verdict{AimReached, false, true, "aim reached; we lose to them: mine at most 1 × them + 5, measured + 4.00 things/s (+ 3.98 … + 4.02)"}},
		{"plus, missed", Lower, around(14, 0.01), ten, Comparison{Aim: 1, Plus: 3},
			verdict{AimMissed, false, true, "aim missed; we lose to them: mine at most 1 × them + 3, measured + 4.00 things/s (+ 3.98 … + 4.02)"}},
		{"plus below zero", Lower, around(4, 0.01), ten, Comparison{Aim: 1, Plus: -5},
			verdict{AimReached, false, false, "aim reached: mine at most 1 × them - 5, measured - 6.00 things/s (- 6.04 … - 5.95)"}},
		{"against nothing", Higher, zero, zero, Comparison{Aim: 1},
			verdict{AimReached, false, false, "aim reached: mine at least 1 × them, measured + 0 things/s (+ 0 … + 0)"}},
		{"something against nothing", Lower, ten, zero, Comparison{Aim: 1},
			verdict{AimMissed, false, true, "aim missed; we lose to them: mine at most 1 × them, measured + 10.0 things/s (+ 9.94 … + 10.1)"}},
		{"something against nothing, no aim", Lower, ten, zero, Comparison{},
			verdict{PeerWorse, false, true, "worse; we lose to them: mine against them, measured + 10.0 things/s (+ 9.94 … + 10.1)"}},
		{"detail", Higher, ten, around(20, 0.01), Comparison{Detail: "cpu_s", Better: Lower, Aim: 0.6},
			verdict{AimReached, false, false, "aim reached: mine (cpu_s) at most 0.6 × them, measured 0.50 × (0.50 … 0.50)"}},
		{"value", Lower, ten, ten, Comparison{Against: "-", Aim: 10.5},
			verdict{AimReached, false, false, "aim reached: mine at most 10.5, measured 10.0 things/s (9.94 … 10.1)"}},
		{"value without aim", Lower, ten, ten, Comparison{Against: "-"},
			verdict{Noted, false, false, "no aim: mine, measured 10.0 things/s (9.94 … 10.1)"}},
		{"none at all", Lower, zero, ten, Comparison{Against: "-", Plus: 0.5},
			verdict{AimReached, false, false, "aim reached: mine at most 0.5, measured 0 things/s (0 … 0)"}},
		{"counts", Lower, []float64{3}, one, Comparison{Aim: 0.25},
			verdict{AimMissed, false, false, "aim missed: mine at most 0.25 × them, measured 0.30 ×"}},
		{"too few rounds", Higher, []float64{9, 9}, []float64{10, 10}, Comparison{Aim: 0.8},
			verdict{Unclear, false, false, "cannot be told; no interval: only 2 rounds: mine at least 0.8 × them, measured 0.90 ×"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.comparison.Peer = "mine"
			switch c.comparison.Against {
			case "":
				c.comparison.Against = "them"
			case "-":
				c.comparison.Against = ""
			}
			var order []string
			res, got := judged(t, c.better, len(c.mine), c.comparison, peerOf("mine", Ours, &order, c.mine...), peerOf("them", Rival, &order, c.them...))
			if diff := cmp.Diff(c.want, verdict{got.Verdict, got.TooNoisy, got.WeLose, res.Sentence(got)}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Ratios are taken within a round: a machine that halves its speed for some rounds changes nothing.
func TestRatiosAreTakenRoundByRound(t *testing.T) {
	var order []string
	mine, them := []float64{90, 45, 90, 9, 90, 45}, []float64{100, 50, 100, 10, 100, 50}
	_, c := judged(t, Higher, 6, Comparison{Peer: "mine", Against: "them", Aim: 0.85}, peerOf("mine", Ours, &order, mine...), peerOf("them", Limit, &order, them...))
	if c.Measured != 0.9 || c.Interval.Low != 0.9 || c.Interval.High != 0.9 || c.Verdict != AimReached || c.WeLose {
		t.Errorf("%+v, interval %+v", c, c.Interval)
	}
}
