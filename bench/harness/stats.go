package harness

import (
	"math/rand/v2"
	"slices"
)

const (
	// MinRounds are the least samples that an interval is taken from.
	MinRounds = 5
	// Confidence is that of every interval.
	Confidence = 0.95
	// NoiseBound is how many times its lower end the upper end of an interval may be. Beyond
	// it the number says nothing, and a result says so.
	NoiseBound = 1.5

	resamples = 2000
	// seed makes every interval a function of its samples alone. It has no meaning.
	seed = 20
)

// Interval is where a median lies with the probability Confidence: from Low to High.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Median of at least one number; of an even count, the mean of the middle two.
func Median(values []float64) float64 {
	return sortedMedian(slices.Sorted(slices.Values(values)))
}

func sortedMedian(v []float64) float64 {
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	// Halved first, so that the sum of two huge numbers does not overflow.
	return v[n/2-1]/2 + v[n/2]/2
}

// quantile of sorted numbers by the nearest rank; q is 0 … 1.
func quantile(sorted []float64, q float64) float64 {
	i := int(q * float64(len(sorted)))
	return sorted[min(i, len(sorted)-1)]
}

// medianInterval is the percentile-bootstrap interval of the median (Efron and Tibshirani, An
// Introduction to the Bootstrap, chapter 13); nil for fewer than MinRounds values. It assumes
// nothing about the distribution, which for times on a shared machine is skewed.
func medianInterval(values []float64) *Interval {
	if len(values) < MinRounds {
		return nil
	}
	return span(resampledMedians(values, rand.New(rand.NewPCG(seed, 0))))
}

// resampledMedians are the medians of random samples of the values, with replacement.
func resampledMedians(values []float64, rng *rand.Rand) []float64 {
	medians, sample := make([]float64, resamples), make([]float64, len(values))
	for i := range medians {
		for j := range sample {
			sample[j] = values[rng.IntN(len(values))]
		}
		slices.Sort(sample)
		medians[i] = sortedMedian(sample)
	}
	return medians
}

// span is the middle part of the numbers, Confidence of them.
func span(values []float64) *Interval {
	slices.Sort(values)
	tail := (1 - Confidence) / 2
	return &Interval{Low: quantile(values, tail), High: quantile(values, 1-tail)}
}

// tooWide says that an interval of ratios or of values tells nothing. One that reaches 0
// or below does so in any case.
func (i *Interval) tooWide() bool {
	return i != nil && i.Low != i.High && (i.Low <= 0 || i.High > NoiseBound*i.Low)
}
