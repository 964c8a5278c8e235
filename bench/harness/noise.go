package harness

import (
	"slices"
	"time"
)

// Noise is how much the same piece of work on one core varied during a run. It is taken before each
// round, while no peer works: what varies then is the machine.
type Noise struct {
	Spins    int     `json:"spins"`
	MedianMS float64 `json:"median_ms"` // of a spin
	// P10 and P90 are percentiles of the spins, relative to the median.
	P10 float64 `json:"p10"`
	P90 float64 `json:"p90"`
}

const (
	spinsPerRound = 5
	spinSteps     = 1_000_000 // one to three milliseconds
)

// gauge collects spins.
type gauge struct {
	ms   []float64
	sink uint64 // keeps the compiler from leaving out the work
}

// take times some spins.
func (g *gauge) take() {
	for range spinsPerRound {
		begun := time.Now()
		g.sink += spin(spinSteps)
		g.ms = append(g.ms, float64(time.Since(begun).Nanoseconds())/1e6)
	}
}

// spin is work that stays in the registers of one core: xorshift64 (Marsaglia, Xorshift RNGs, 2003).
func spin(steps int) uint64 {
	x := uint64(88172645463325252)
	for range steps {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

func (g *gauge) noise() Noise {
	if len(g.ms) == 0 {
		return Noise{}
	}
	v := slices.Sorted(slices.Values(g.ms))
	m := sortedMedian(v)
	return Noise{Spins: len(v), MedianMS: m, P10: quantile(v, 0.1) / m, P90: quantile(v, 0.9) / m}
}

// Spread is the distance of the farther percentile from the median, as a share of it.
func (n Noise) Spread() float64 {
	if n.Spins == 0 {
		return 0
	}
	return max(1-n.P10, n.P90-1)
}
