package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Options say how to measure.
type Options struct {
	Rounds int // samples of each peer; 0 for the benchmark's usual number
	Size   Size
	// Progress, if not nil, is told of every sample.
	Progress func(round int, peer string, s Sample)
}

// Measure runs a benchmark.
func Measure(ctx context.Context, b Benchmark, opt Options) (res *Result, err error) {
	rounds := cmp.Or(opt.Rounds, b.Rounds, DefaultRounds)
	if rounds < 1 {
		return nil, fmt.Errorf("benchmark %s: %d rounds; at least one is needed", b.Name, rounds)
	}
	bench, err := b.Setup(ctx, opt.Size)
	if err != nil {
		return nil, fmt.Errorf("benchmark %s: %w", b.Name, err)
	}
	defer func() { err = errors.Join(err, bench.Close()) }()

	samples := make([][]Sample, len(bench.Peers))
	for round := range rounds {
		for n := range bench.Peers {
			i := (round + n) % len(bench.Peers)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if bench.Peers[i].Missing != "" {
				continue
			}
			s, err := bench.Peers[i].Run(ctx)
			if err != nil {
				return nil, fmt.Errorf("benchmark %s, round %d of %d, %s: %w", b.Name, round+1, rounds, bench.Peers[i].Name, err)
			}
			samples[i] = append(samples[i], s)
			if opt.Progress != nil {
				opt.Progress(round+1, bench.Peers[i].Name, s)
			}
		}
	}
	return newResult(b, bench, samples), nil
}

// Median of at least one number; of an even count, the mean of the middle two.
func Median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
