package harness

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// runOf is a result of ten rounds: of a limit, a rival and ours.
func runOf(t *testing.T, better Better, limit, rival, mine []float64) *Result {
	t.Helper()
	var order []string
	b := benchmarkOf(better, &order, peerOf("mine", Ours, &order, mine...), peerOf("them", Rival, &order, rival...), peerOf("limit", Limit, &order, limit...))
	b.Comparisons = []Comparison{{Peer: "mine", Against: "limit", Detail: "cpu_s", Better: Lower}}
	if len(mine) == 1 {
		b.Rounds = 1
	}
	return fixedMachine(measureOrFail(t, b, Options{Rounds: len(mine)}))
}

func compareOrFail(t *testing.T, before, after *Result) *Difference {
	t.Helper()
	d, err := Compare(before, after)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func changeOf(t *testing.T, d *Difference, peer, detail string) Change {
	t.Helper()
	for _, c := range d.Changes {
		if c.Peer == peer && c.Detail == detail {
			return c
		}
	}
	t.Fatalf("no change of %s %s in %+v", peer, detail, d.Changes)
	return Change{}
}

func TestCompareVerdicts(t *testing.T) {
	for _, c := range []struct {
		name          string
		better        Better
		before, after []float64 // of ours; the limit is 100
		want          ChangeVerdict
		worse         bool
	}{
		{"higher, better", Higher, around(50, 0.01), around(60, 0.01), ChangeBetter, true}, // it takes more cpu_s
		{"higher, worse", Higher, around(60, 0.01), around(50, 0.01), ChangeWorse, true},
		{"lower, better", Lower, around(60, 0.01), around(50, 0.01), ChangeBetter, false},
		{"lower, worse", Lower, around(50, 0.01), around(60, 0.01), ChangeWorse, true},
		{"the same", Higher, around(50, 0.05), around(50, 0.05), ChangeNone, false},
		{"negligible", Lower, around(50, 0.001), around(50.5, 0.001), ChangeNone, false},
		{"negligible, downwards", Lower, around(50.5, 0.001), around(50, 0.001), ChangeNone, false},
		{"noisy", Lower, around(50, 0.9), around(55, 0.9), ChangeNoisy, false},
		{"few rounds", Lower, []float64{50, 50}, []float64{60, 60}, ChangeUntold, false},
		{"count, worse", Lower, []float64{50}, []float64{51}, ChangeWorse, true},
		{"count, better", Lower, []float64{50}, []float64{49}, ChangeBetter, false},
		{"count from nothing", Lower, []float64{0}, []float64{1}, ChangeWorse, true},
		{"count, the same", Lower, []float64{0}, []float64{0}, ChangeNone, false},
		{"nothing, measured", Lower, make([]float64, 10), make([]float64, 10), ChangeNone, false},
		{"something after nothing, measured", Lower, make([]float64, 10), around(5, 0.1), ChangeWorse, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			limit := around(100, 0)[:len(c.before)]
			d := compareOrFail(t, runOf(t, c.better, limit, limit, c.before), runOf(t, c.better, limit, limit, c.after))
			if got := changeOf(t, d, "mine", ""); got.Verdict != c.want {
				t.Errorf("%+v, want %s", got, c.want)
			}
			if d.Worse() != c.worse {
				t.Errorf("worse: %v", d.Worse())
			}
		})
	}
}

// A machine that is half as fast changes the limit, not what ours is relative to it.
func TestCompareIsRelative(t *testing.T) {
	before, after := runOf(t, Higher, around(100, 0.01), around(80, 0.01), around(90, 0.01)), runOf(t, Higher, around(50, 0.01), around(40, 0.01), around(45, 0.01))
	d := compareOrFail(t, before, after)
	if d.Reference != "limit" {
		t.Errorf("relative to %q", d.Reference)
	}
	if c := changeOf(t, d, "mine", ""); c.Verdict != ChangeNone || !c.Relative || *c.Factor != 1 {
		t.Errorf("mine: %+v", c)
	}
	if c := changeOf(t, d, "limit", ""); c.Verdict != ChangeWorse || c.Relative || c.Old != 100 || c.New != 50 {
		t.Errorf("the limit: %+v", c)
	}
	if d.Worse() {
		t.Error("a slower machine is taken for a slower program")
	}
}

func TestCompareWithoutReference(t *testing.T) {
	var order []string
	one := func(v float64) *Result {
		return fixedMachine(measureOrFail(t, benchmarkOf(Lower, &order, peerOf("mine", Ours, &order, around(v, 0.01)...)), Options{}))
	}
	d := compareOrFail(t, one(10), one(20))
	if c := changeOf(t, d, "mine", ""); d.Reference != "" || c.Relative || c.Verdict != ChangeWorse || *c.Factor != 2 {
		t.Errorf("%+v of %+v", c, d)
	}
}

func TestCompareRefuses(t *testing.T) {
	five := around(5, 0.1)
	var order []string
	r := runOf(t, Higher, five, five, five)
	other := *r
	other.Benchmark = "another"
	unit := *r
	unit.Unit = "ms"
	empty := fixedMachine(measureOrFail(t, benchmarkOf(Higher, &order, Peer{Name: "them", Role: Rival, Missing: "gone"}), Options{}))
	for want, b := range map[string]*Result{"two benchmarks, fixed and another": &other, "has changed: things/s": &unit, "no measured peer in common": empty} {
		if _, err := Compare(r, b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestCompareWarns(t *testing.T) {
	five := around(5, 0.1)
	before, after := runOf(t, Higher, five, five, five), runOf(t, Higher, five, five, five)
	if d := compareOrFail(t, before, after); d.Warnings != nil || d.Unpaired != nil {
		t.Errorf("warnings %q, unpaired %q", d.Warnings, d.Unpaired)
	}
	after.Scale, after.Environment.CPU, after.Environment.OpenVSwitch, after.Peers[1].Version = 9, "", "3.2.0", "2"
	before.Incomplete = "interrupted"
	after.Peers[2].Samples, after.Peers[2].Missing = nil, "gone"
	after.Reference = "them"
	d := compareOrFail(t, before, after)
	want := []string{"scale differs: 7, then 9", "CPU differs: Some CPU @ 3 GHz, then unknown",
		"Open vSwitch differs: ovs-vswitchd (Open vSwitch) 3.1.0, then 3.2.0", "version of them differs: unknown, then 2", "the old run is incomplete: interrupted"}
	if diff := cmp.Diff(want, d.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"limit: only in the old result: missing in the other: gone"}, d.Unpaired); diff != "" {
		t.Errorf("unpaired (-want +got):\n%s", diff)
	}
	if d.Reference != "them" {
		t.Errorf("relative to %q", d.Reference)
	}
}

func TestDifferenceText(t *testing.T) {
	before := exampleResult(t)
	after := *before
	after.Environment.Kernel = "Linux 6.12.0 x86_64"
	after.Peers = append([]PeerResult(nil), before.Peers...)
	faster := after.Peers[1]
	faster.Samples = nil
	for _, s := range before.Peers[1].Samples {
		faster.Samples = append(faster.Samples, Sample{Value: s.Value * 0.8, Detail: map[string]float64{"cpu_us_per_flow": s.Detail["cpu_us_per_flow"] * 3}})
	}
	after.Peers[1] = faster
	golden(t, "difference.txt", written(t, compareOrFail(t, before, &after).WriteText))
	golden(t, "difference-count.txt", written(t, compareOrFail(t, countResult(t), countResult(t)).WriteText))
	var out bytes.Buffer
	if compareOrFail(t, before, &after).WriteText(&out) != nil || !compareOrFail(t, before, &after).Worse() {
		t.Error("a fifth slower is not worse")
	}
}
