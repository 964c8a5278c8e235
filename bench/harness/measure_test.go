package harness

import (
	"context"
	"errors"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// peerOf returns the values round by round, and notes its runs in order.
func peerOf(name string, role Role, order *[]string, values ...float64) Peer {
	return Peer{Name: name, Role: role, Run: func(context.Context) (Sample, error) {
		*order = append(*order, name)
		if len(values) == 0 {
			return Sample{}, errors.New("broken")
		}
		v := values[0]
		values = values[1:]
		return Sample{Value: v, Detail: map[string]float64{"cpu_s": v / 10}}, nil
	}}
}

// benchmarkOf has no warm-up, so that the values are those of the rounds.
func benchmarkOf(better Better, order *[]string, peers ...Peer) Benchmark {
	return Benchmark{Name: "fixed", Title: "a title", Means: "It means nothing.", Unit: "things/s", Better: better, NoWarmUp: true,
		Setup: func(context.Context, Size) (*Bench, error) {
			return &Bench{Scale: 7, Load: "a load", Peers: peers, Close: func() error {
				*order = append(*order, "close")
				return nil
			}}, nil
		}}
}

func measureOrFail(t *testing.T, b Benchmark, opt Options) *Result {
	t.Helper()
	res, err := Measure(t.Context(), b, opt)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestMeasureInterleavesAndTakesMedians(t *testing.T) {
	var order []string
	b := benchmarkOf(Higher, &order, peerOf("a", Limit, &order, 10, 30, 20), peerOf("b", Ours, &order, 5, 100, 1))
	res := measureOrFail(t, b, Options{Rounds: 3})
	if len(order) != 7 || order[6] != "close" {
		t.Errorf("runs: %v", order)
	}
	for i := 0; i+1 < len(order); i += 2 {
		if order[i] == order[i+1] {
			t.Errorf("a round runs %s twice: %v", order[i], order)
		}
	}
	pa, pb := res.Peers[0], res.Peers[1]
	if pa.Median != 20 || pa.Min != 10 || pa.Max != 30 || *pa.Ratio != 1 || pa.Detail["cpu_s"] != 2 {
		t.Errorf("peer a: %+v", pa)
	}
	// The ratios of the rounds are 0.5, 3.3 and 0.05: their median, not the ratio of the medians.
	if pb.Median != 5 || *pb.Ratio != 0.5 || res.Reference != "a" {
		t.Errorf("peer b against %s: %+v", res.Reference, pb)
	}
	if res.Peers[0].Interval != nil {
		t.Error("three samples have an interval")
	}
}

// No peer bears the same neighbour, or the same place, in every round.
// What only this machine has peers for is concluded after what every machine is to conclude.
func TestComparisonsOfTheMachine(t *testing.T) {
	var order []string
	b := benchmarkOf(Higher, &order, peerOf("a", Limit, &order, 10, 10), peerOf("b", Ours, &order, 5, 5))
	b.Comparisons = []Comparison{{Peer: "b", Against: "a"}}
	setup := b.Setup
	b.Setup = func(ctx context.Context, size Size) (*Bench, error) {
		bench, err := setup(ctx, size)
		bench.Comparisons = []Comparison{{Peer: "a", Against: "b"}}
		return bench, err
	}
	res := measureOrFail(t, b, Options{Rounds: 2})
	if len(res.Comparisons) != 2 || res.Comparisons[0].Measured != 0.5 || res.Comparisons[1].Measured != 2 {
		t.Errorf("comparisons %+v", res.Comparisons)
	}
	if len(b.Comparisons) != 1 {
		t.Errorf("the benchmark's own comparisons are now %+v", b.Comparisons)
	}
}

// A peer that is left out is reported as missing, and does not run.
func TestOnlyWantedPeersRun(t *testing.T) {
	var order []string
	b := benchmarkOf(Higher, &order, peerOf("a", Limit, &order), peerOf("b", Ours, &order, 5))
	res := measureOrFail(t, b, Options{Rounds: 1, Size: Size{Only: regexp.MustCompile("^b$")}})
	if len(order) != 2 || order[0] != "b" || res.Peers[0].Missing != LeftOut || res.Peers[1].Missing != "" {
		t.Errorf("runs %v, peers %+v", order, res.Peers)
	}
}

func TestOrderIsShuffledAndTheSameInEveryRun(t *testing.T) {
	for _, peers := range []int{2, 3, 4, 5, 8} {
		before, first := map[int]map[int]bool{}, map[int]bool{}
		for round := 1; round <= DefaultRounds; round++ {
			got := order(round, peers)
			if again := order(round, peers); !slices.Equal(got, again) {
				t.Fatalf("round %d of %d peers: %v, then %v", round, peers, got, again)
			}
			if sorted := slices.Sorted(slices.Values(got)); sorted[0] != 0 || sorted[peers-1] != peers-1 || len(slices.Compact(sorted)) != peers {
				t.Fatalf("round %d of %d peers: %v", round, peers, got)
			}
			first[got[0]] = true
			for k := 1; k < peers; k++ {
				if before[got[k]] == nil {
					before[got[k]] = map[int]bool{}
				}
				before[got[k]][got[k-1]] = true
			}
		}
		if len(first) < 2 {
			t.Errorf("%d peers: %v is always the first", peers, first)
		}
		for p := range peers {
			if len(before[p]) < min(2, peers-1) {
				t.Errorf("%d peers: peer %d always follows %v", peers, p, before[p])
			}
		}
	}
}

func TestACountThatDiffersIsAnError(t *testing.T) {
	var runs []string
	b := benchmarkOf(Lower, &runs, peerOf("a", Ours, &runs, 11, 12))
	b.Rounds = 1
	res, err := Measure(t.Context(), b, Options{})
	if err == nil || !strings.Contains(err.Error(), "round 2 of 2, a: the count is not exact: 11 in the first round, now 12") || res == nil || len(res.Peers[0].Samples) != 1 {
		t.Errorf("error %v, result %+v", err, res)
	}
}

func TestNothingOfOursIsAnError(t *testing.T) {
	var runs []string
	b := benchmarkOf(Lower, &runs, Peer{Name: "a", Role: Ours, Missing: "gone"}, peerOf("b", Rival, &runs, 1, 2))
	res, err := Measure(t.Context(), b, Options{Rounds: 2})
	if err == nil || !strings.Contains(err.Error(), "nothing of ours was measured") || res == nil || len(res.Peers[1].Samples) != 2 || res.Incomplete == "" {
		t.Errorf("error %v, result %+v", err, res)
	}
}

func TestWarmUpIsNotCounted(t *testing.T) {
	for _, c := range []struct {
		name      string
		benchmark func(*Benchmark)
		opt       Options
		runs      int
	}{
		{"usual", func(*Benchmark) {}, Options{Rounds: 2}, 3},
		{"no warm-up", func(b *Benchmark) { b.NoWarmUp = true }, Options{Rounds: 2}, 2},
		{"a count", func(b *Benchmark) { b.Rounds = 1 }, Options{}, 2},
		{"a count, once", func(b *Benchmark) { b.Rounds = 1 }, Options{Rounds: 1}, 1},
		{"a count, smallest", func(b *Benchmark) { b.Rounds = 1 }, Options{Size: Size{Smallest: true}}, 1},
		{"one round", func(*Benchmark) {}, Options{Rounds: 1}, 1},
		{"smallest", func(*Benchmark) {}, Options{Size: Size{Smallest: true}}, 1},
		{"smallest, two rounds", func(*Benchmark) {}, Options{Rounds: 2, Size: Size{Smallest: true}}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var order []string
			b := benchmarkOf(Higher, &order, peerOf("a", Ours, &order, 1, 2, 3))
			b.NoWarmUp = false
			c.benchmark(&b)
			if b.exact() {
				b = benchmarkOf(Higher, &order, peerOf("a", Ours, &order, 2, 2))
				b.Rounds, b.NoWarmUp = 1, false
			}
			res := measureOrFail(t, b, c.opt)
			if len(order)-1 != c.runs {
				t.Errorf("runs: %v, want %d", order, c.runs)
			}
			if got := res.Peers[0].Samples; len(got) != res.Rounds || !res.Exact && got[len(got)-1].Value != float64(c.runs) {
				t.Errorf("samples: %v", got)
			}
		})
	}
}

func TestMissingPeersAreReported(t *testing.T) {
	var order []string
	b := benchmarkOf(Higher, &order, Peer{Name: "absent", Role: Limit, Missing: "no program x\n(apt install x)"}, peerOf("a", Ours, &order, 4))
	b.Comparisons = []Comparison{{Peer: "a", Against: "absent", Aim: 1}, {Peer: "a", Against: "unheard of"}, {Peer: "a", Detail: "odd", Aim: 1}}
	res := measureOrFail(t, b, Options{Rounds: 1})
	if res.Peers[0].Missing != "no program x (apt install x)" || res.Reference != "a" {
		t.Errorf("peers %+v, reference %q", res.Peers, res.Reference)
	}
	var why []string
	for _, c := range res.Comparisons {
		why = append(why, string(c.Verdict)+": "+c.Why)
	}
	want := []string{"not measured: absent is missing: no program x (apt install x)", "not measured: this size has no unheard of", "not measured: a does not report odd"}
	if diff := cmp.Diff(want, why); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFailureKeepsWhatWasMeasured(t *testing.T) {
	var order []string
	b := benchmarkOf(Higher, &order, peerOf("a", Ours, &order, 1, 2), peerOf("b", Rival, &order, 1))
	b.Comparisons = []Comparison{{Peer: "a", Against: "b"}}
	res, err := Measure(t.Context(), b, Options{Rounds: 2})
	if err == nil || !strings.Contains(err.Error(), "benchmark fixed, round 2 of 2, b: broken") {
		t.Errorf("error: %v", err)
	}
	if order[len(order)-1] != "close" {
		t.Error("Close was not called")
	}
	if res == nil || len(res.Peers[0].Samples) < 1 || len(res.Peers[1].Samples) != 1 || !strings.Contains(res.Incomplete, "broken") {
		t.Fatalf("result: %+v", res)
	}
	if c := res.Comparisons[0]; c.Rounds != 1 || c.Verdict != Unclear {
		t.Errorf("comparison: %+v", c)
	}
}

func TestMeasureRefuses(t *testing.T) {
	var order []string
	run := func(context.Context) (Sample, error) { return Sample{Value: 1}, nil }
	returns := func(s Sample) Peer {
		return Peer{Name: "a", Role: Ours, Run: func(context.Context) (Sample, error) { return s, nil }}
	}
	for _, c := range []struct {
		name  string
		peers []Peer
		opt   Options
		want  string
	}{
		{"rounds", nil, Options{Rounds: -1}, "-1 rounds"},
		{"too many samples", []Peer{{Name: "a", Role: Ours, Run: run}, {Name: "b", Role: Ours, Run: run}, {Name: "c", Role: Ours, Run: run}}, Options{Rounds: 7000}, "21000 samples"},
		{"name", []Peer{{Role: Ours, Run: run}}, Options{}, "no name"},
		{"twins", []Peer{{Name: "a", Role: Ours, Run: run}, {Name: "a", Role: Ours, Run: run}}, Options{}, `two peers are called "a"`},
		{"role", []Peer{{Name: "a", Run: run}}, Options{}, `the role ""`},
		{"nothing to run", []Peer{{Name: "a", Role: Ours}}, Options{}, "neither run nor"},
		{"NaN", []Peer{returns(Sample{Value: math.NaN()})}, Options{}, "measured NaN"},
		{"infinite detail", []Peer{returns(Sample{Detail: map[string]float64{"x_s": math.Inf(1)}})}, Options{}, "measured x_s = +Inf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Measure(t.Context(), benchmarkOf(Higher, &order, c.peers...), c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestMeasureEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var order []string
	peer := Peer{Name: "a", Role: Ours, Run: func(context.Context) (Sample, error) { cancel(); return Sample{Value: 3}, nil }}
	res, err := Measure(ctx, benchmarkOf(Higher, &order, peer), Options{})
	if !errors.Is(err, context.Canceled) || res == nil || len(res.Peers[0].Samples) != 1 || !slices.Equal(order, []string{"close"}) {
		t.Errorf("error %v, result %+v, order %v", err, res, order)
	}
}

func TestMeasureReportsAFailedClose(t *testing.T) {
	var order []string
	b := benchmarkOf(Higher, &order)
	setup := b.Setup
	b.Setup = func(ctx context.Context, size Size) (*Bench, error) {
		bench, err := setup(ctx, size)
		bench.Close = func() error { return errors.New("stuck") }
		return bench, err
	}
	res, err := Measure(t.Context(), b, Options{})
	if err == nil || !strings.Contains(err.Error(), "cleaning up: stuck") || res == nil {
		t.Errorf("error %v, result %v", err, res)
	}
}

func TestEventsCountEveryRun(t *testing.T) {
	var order, got []string
	b := benchmarkOf(Higher, &order, peerOf("a", Ours, &order, 1, 2, 3), Peer{Name: "no", Role: Rival, Missing: "gone"})
	b.NoWarmUp = false
	var last Event
	measureOrFail(t, b, Options{Rounds: 2, Progress: func(e Event) {
		last = e
		got = append(got, string(e.Phase))
		if e.Phase == Measured && e.SoFar().Peers[0].Median <= 0 {
			t.Error("no median so far")
		}
	}})
	want := []string{"setting up", "warming up", "measuring", "measured", "measuring", "measured", "cleaning up", "finished"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	if last.Done != 3 || last.Total != 3 {
		t.Errorf("%d of %d runs", last.Done, last.Total)
	}
}

func TestMeasureRecordsTheMachine(t *testing.T) {
	var order []string
	res := measureOrFail(t, benchmarkOf(Higher, &order, peerOf("a", Ours, &order, 1)), Options{Rounds: 1, Version: "1.2 abc"})
	e, c := res.Environment, res.Conditions
	if e.Version != "1.2 abc" || e.Cores < 1 || e.GOMAXPROCS < 1 || e.Affinity == "" || e.MemoryBytes == 0 || !strings.HasPrefix(e.Kernel, "Linux ") ||
		!strings.HasPrefix(e.Go, "go1") || e.Datapath != "netdev" {
		t.Errorf("environment: %+v", e)
	}
	if c.Began.IsZero() || c.Noise.Spins != spinsPerRound || c.Noise.MedianMS <= 0 || c.Noise.P10 > 1 || c.Noise.P90 < 1 || c.Steal < 0 || c.Steal > 1 {
		t.Errorf("conditions: %+v", c)
	}
}
