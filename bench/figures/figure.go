// Package figures measures the project against its peers. A figure is one file
// with its workload, peers, unit and aims, and a line in All.
//
// Peers take turns: each round runs every peer once, starting with another one each
// time, so that what the machine does beside the benchmark falls on all alike. What is
// reported is the median, and ratios of medians: read those, not the absolute numbers.
package figures

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Better says which values of a figure are good.
type Better string

// The two directions.
const (
	Higher Better = "higher"
	Lower  Better = "lower"
)

// Figure is one comparison.
type Figure struct {
	Name   string // lower case with hyphens
	Title  string // what is measured, one line
	Unit   string // of Sample.Value
	Better Better
	Rounds int // samples of each peer, unless told otherwise; 0 for 5
	Aims   []Aim
	// Setup prepares what all samples share and names the peers. The scale is
	// the figure's own (flows, ports …); 0 stands for its usual one.
	Setup func(ctx context.Context, scale int) (*Bench, error)
}

// All are the figures, in the order in which they are reported.
func All() []Figure {
	return []Figure{Apply(), PlugFirstPing(), FlowsPerPort(), Throughput(), FlowProgramming()}
}

// Aim is a bound on a peer's median: Ratio times the median of Against, plus
// Plus. Where higher is better it is the least, where lower is the most there should be.
// Without Against, Plus alone is the bound.
type Aim struct {
	Peer    string  `json:"peer"`
	Against string  `json:"against,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"`
	Plus    float64 `json:"plus,omitempty"` // in the unit of what is compared
	// Detail is the Sample.Detail to compare instead of its value, and Better its direction.
	Detail string `json:"detail,omitempty"`
	Better Better `json:"better,omitempty"`
}

// Bench is a figure that is ready to run.
type Bench struct {
	Scale int    // what it was set up for
	Load  string // the workload in a few words
	Peers []Peer
	// Close removes what Setup made.
	Close func() error
}

// Peer is one way to do the work.
type Peer struct {
	Name string
	// Run does the work once. What it takes to prepare is not part of the value.
	Run func(ctx context.Context) (Sample, error)
}

// Sample is one measurement.
type Sample struct {
	Value float64 `json:"value"` // in the figure's unit
	// Detail are further numbers, by names that end in their unit.
	Detail map[string]float64 `json:"detail,omitempty"`
}

// Options say how to measure.
type Options struct {
	Rounds int // samples of each peer; 0 for the figure's usual number
	Scale  int // 0 for the figure's usual one
	// Progress, if not nil, is told of every sample.
	Progress func(round int, peer string, s Sample)
}

// defaultRounds are the samples of each peer where nothing else is said.
const defaultRounds = 5

// Measure runs a figure.
func Measure(ctx context.Context, fig Figure, opt Options) (res *Result, err error) {
	rounds := cmp.Or(opt.Rounds, fig.Rounds, defaultRounds)
	if rounds < 1 {
		return nil, fmt.Errorf("figure %s: %d rounds; at least one is needed", fig.Name, rounds)
	}
	bench, err := fig.Setup(ctx, opt.Scale)
	if err != nil {
		return nil, fmt.Errorf("figure %s: %w", fig.Name, err)
	}
	defer func() { err = errors.Join(err, bench.Close()) }()

	samples := make([][]Sample, len(bench.Peers))
	for round := range rounds {
		for n := range bench.Peers {
			i := (round + n) % len(bench.Peers)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			s, err := bench.Peers[i].Run(ctx)
			if err != nil {
				return nil, fmt.Errorf("figure %s, round %d of %d, %s: %w", fig.Name, round+1, rounds, bench.Peers[i].Name, err)
			}
			samples[i] = append(samples[i], s)
			if opt.Progress != nil {
				opt.Progress(round+1, bench.Peers[i].Name, s)
			}
		}
	}
	return newResult(fig, bench, samples), nil
}

// median of at least one number; of an even count, the mean of the middle two.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
