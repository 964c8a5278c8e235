// Package harness measures the project beside its peers. A benchmark is one file of
// package suite: its workload, its peers, its limit, its unit, its aims, its meaning.
//
// Peers take turns: each round runs every peer once, in an order that is shuffled for each
// round, so that what the machine does beside the benchmark, and what a peer leaves behind
// for the one after it, falls on all alike. The order is the same in every run. What is
// reported are medians, and ratios taken round by round with their intervals: read the
// ratios, not the absolute numbers.
package harness

import (
	"context"
	"regexp"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Better says which values are good.
type Better string

// The two directions.
const (
	Higher Better = "higher"
	Lower  Better = "lower"
)

// Benchmark is one comparison.
type Benchmark struct {
	Name   string // lower case with hyphens
	Title  string // what is measured, one line
	Means  string // what the number means to a user, and how it is taken: a sentence or a few
	Unit   string // of Sample.Value
	Better Better
	// Rounds are the samples of each peer, unless told otherwise; 0 for DefaultRounds. 1 says
	// that the value is a count, the same each time: it is exact and needs no interval. A count is
	// taken twice all the same (countRounds), and one that differs is an error.
	Rounds int
	// NoWarmUp leaves out the run of each peer that comes before the first round and is not
	// counted. A count, a single round and the smallest size have none in any case.
	NoWarmUp bool
	// Comparisons are what is concluded, with an aim or without.
	Comparisons []Comparison
	// Setup prepares what all samples share and names the peers.
	Setup func(ctx context.Context, size Size) (*Bench, error)
}

// DefaultRounds are the samples of each peer where nothing else is said.
const DefaultRounds = 10

// countRounds are the samples of each peer where the value is a count: the second one shows
// that it is the same each time.
const countRounds = 2

// Size is how large a workload is.
type Size struct {
	// Scale is the benchmark's own (flows, ports, milliseconds …); 0 stands for the
	// usual one.
	Scale int
	// Smallest asks for the least that still runs every peer once, in a second or two
	// each: for tests of the benchmark itself. Scale is 0 then.
	Smallest bool
	// Only, if not nil, leaves out the peers whose names it does not match; see Wants. They are reported as missing.
	Only *regexp.Regexp
}

// Wants says whether a peer is to run. Setup need not prepare anything for one that is not.
func (s Size) Wants(peer string) bool { return s.Only == nil || s.Only.MatchString(peer) }

// LeftOut is Peer.Missing of a peer that is not wanted.
const LeftOut = "it was left out of this run (--peers)"

// Comparison sets a peer against another: the ratio of their values (Sample.Value or one of
// Sample.Detail), taken within each round, or without Against the peer's value alone. Where
// Against is 0 in some round there is no ratio, and the difference is taken instead.
type Comparison struct {
	Peer    string `json:"peer"`
	Against string `json:"against,omitempty"`
	// Detail is the Sample.Detail to compare instead of the value, and Better its direction.
	Detail string `json:"detail,omitempty"`
	Better Better `json:"better,omitempty"`
	// Aim is the bound for the ratio (the value, without Against): where higher is better
	// the least, where lower is the most that there should be. 0, without Plus, is no aim.
	Aim float64 `json:"aim,omitempty"`
	// Plus is added to the bound, in the unit of what is compared: at most Aim × Against + Plus.
	// The aim "none at all" for a count is at most a half: Plus 0.5.
	Plus float64 `json:"plus,omitempty"`
}

// Role is what a peer stands for.
type Role string

// The roles. Ours is the project, a Rival does the same work in another way, and a Limit shows
// what the machine or the switch could do at best.
const (
	Ours  Role = "ours"
	Rival Role = "peer"
	Limit Role = "limit"
)

// Bench is a benchmark that is ready to run.
type Bench struct {
	Scale int    // what it was set up for
	Load  string // the workload in a few words
	Peers []Peer
	// Comparisons are concluded after the benchmark's own: of peers that only a machine like this one has.
	Comparisons []Comparison
	// Datapath is the datapath_type of the bridges; empty for netdev, the userspace one.
	Datapath string
	// Close removes what Setup made.
	Close func() error
}

// Peer is one way to do the work.
type Peer struct {
	Name string
	Role Role
	// Run does the work once. What it takes to prepare is not part of the value.
	Run func(ctx context.Context) (Sample, error)
	// Missing says why the peer cannot run on this machine and what to install; Run is nil
	// then. It is reported as missing, and so are the comparisons that name it.
	Missing string
	// Version is the peer's own version, as it says it itself, where it has one.
	Version string
}

// Sample is one measurement.
type Sample struct {
	Value float64 `json:"value"` // in the benchmark's unit
	// Detail are further numbers, by names that end in their unit.
	Detail map[string]float64 `json:"detail,omitempty"`
	// Latency, if not nil, are single latencies in nanoseconds; those of all rounds are
	// merged into one histogram per peer.
	Latency *hdrhistogram.Histogram `json:"-"`
}
