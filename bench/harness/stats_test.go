package harness

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}, {[]float64{1e308, 1.5e308}, 1.25e308}} {
		if got := Median(c.in); got != c.want {
			t.Errorf("Median(%v) = %v, want %v", c.in, got, c.want)
		}
	}
}

// The interval holds the true median about as often as it says. Ten samples of a skewed
// distribution are what a benchmark has.
func TestIntervalCoversTheMedian(t *testing.T) {
	const experiments = 400
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name   string
		median float64
		draw   func() float64
	}{
		{"normal", 5, func() float64 { return 5 + rng.NormFloat64() }},
		{"exponential", math.Ln2, rng.ExpFloat64},
		{"log-normal", 1, func() float64 { return math.Exp(rng.NormFloat64()) }},
	} {
		for _, n := range []int{5, 10, 30} {
			held, values := 0, make([]float64, n)
			for range experiments {
				for i := range values {
					values[i] = c.draw()
				}
				i := medianInterval(values)
				if i.Low <= c.median && c.median <= i.High {
					held++
				}
			}
			// Three standard deviations of a share of 400 are 3 %; the bootstrap of a median of few
			// values is known to be a little too narrow.
			if share := float64(held) / experiments; share < 0.90 || share > 0.99 {
				t.Errorf("%s, %d samples: %.1f %% of the intervals hold the median", c.name, n, 100*share)
			}
		}
	}
}

func TestIntervalLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-1e12, 1e12), MinRounds, 30).Draw(t, "values")
		i := medianInterval(values)
		if m := Median(values); i.Low > m || m > i.High || i.Low < slices.Min(values) || i.High > slices.Max(values) {
			t.Errorf("median %v, interval %+v of %v", m, *i, values)
		}
		if again := medianInterval(values); *again != *i {
			t.Errorf("%+v, then %+v", *i, *again)
		}
	})
	if medianInterval(make([]float64, MinRounds-1)) != nil {
		t.Error("too few values have an interval")
	}
}

func TestTooWide(t *testing.T) {
	for _, c := range []struct {
		i    *Interval
		want bool
	}{{nil, false}, {&Interval{1, 1.5}, false}, {&Interval{1, 1.51}, true}, {&Interval{0, 0}, false}, {&Interval{0, 1}, true}, {&Interval{-1, 1}, true}} {
		if got := c.i.tooWide(); got != c.want {
			t.Errorf("%+v: %v", c.i, got)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.000123: "0.00012", 0.0996: "0.10", 1.5: "1.50", 9.994: "9.99", 9.996: "10.0", 99.94: "99.9", 99.96: "100",
		-12.34: "-12.3", 123456.7: "123457", 1e20: "1e+20"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
	for ns, want := range map[int64]string{12: "12 ns", 1_500: "1.50 µs", 12_345_678: "12.3 ms", 61_000_000_000: "61.0 s"} {
		if got := latency(ns); got != want {
			t.Errorf("latency(%d) = %q, want %q", ns, got, want)
		}
	}
}

func TestNoise(t *testing.T) {
	var g gauge
	if n := g.noise(); n != (Noise{}) || n.Spread() != 0 {
		t.Errorf("no spins: %+v", n)
	}
	for i := range 100 {
		g.ms = append(g.ms, 2+float64(i)/100)
	}
	if n := g.noise(); n.Spins != 100 || n.P10 >= 1 || n.P90 <= 1 || math.Abs(n.Spread()-0.163) > 0.01 {
		t.Errorf("%+v, spread %v", n, n.Spread())
	}
	g.take()
	if len(g.ms) != 100+spinsPerRound || g.sink == 0 || slices.Min(g.ms) <= 0 {
		t.Errorf("%d spins, %v", len(g.ms), g.ms[100:])
	}
}
