package harness

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fixed is a figure whose peers return the given values, round by round.
func fixed(better Better, order *[]string, values map[string][]float64, aims ...Comparison) Benchmark {
	var names []string
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	return Benchmark{Name: "fixed", Title: "a title", Unit: "things/s", Better: better, Comparisons: aims,
		Setup: func(context.Context, Size) (*Bench, error) {
			b := &Bench{Scale: 7, Load: "a load", Close: func() error { *order = append(*order, "close"); return nil }}
			for _, name := range names {
				left := values[name]
				b.Peers = append(b.Peers, Peer{Name: name, Run: func(context.Context) (Sample, error) {
					*order = append(*order, name)
					if len(left) == 0 {
						return Sample{}, errors.New("broken")
					}
					v := left[0]
					left = left[1:]
					return Sample{Value: v, Detail: map[string]float64{"cpu_s": v / 10}}, nil
				}})
			}
			return b, nil
		}}
}

func TestMeasureInterleavesAndTakesMedians(t *testing.T) {
	var order []string
	fig := fixed(Higher, &order, map[string][]float64{"a": {10, 30, 20}, "b": {5, 100, 1}},
		Comparison{Peer: "b", Against: "a", Aim: 0.5}, Comparison{Peer: "a", Against: "b", Aim: 4}, Comparison{Peer: "b", Against: "a", Aim: 0.25}, Comparison{Peer: "absent", Against: "a", Aim: 1})
	res, err := Measure(context.Background(), fig, Options{Rounds: 3})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "b", "a", "a", "b", "close"}, order); diff != "" {
		t.Errorf("order of runs (-want +got):\n%s", diff)
	}
	a, b := res.Peers[0], res.Peers[1]
	if a.Median != 20 || a.Min != 10 || a.Max != 30 || a.Ratio != 1 || a.Detail["cpu_s"] != 2 {
		t.Errorf("peer a: %+v", a)
	}
	if b.Median != 5 || b.Ratio != 0.25 {
		t.Errorf("peer b: %+v", b)
	}
	want := []ComparisonResult{
		{Comparison{Peer: "b", Against: "a", Aim: 0.5}, 0.25, false},
		{Comparison{Peer: "a", Against: "b", Aim: 4}, 4, true},
		{Comparison{Peer: "b", Against: "a", Aim: 0.25}, 0.25, true},
	}
	if diff := cmp.Diff(want, res.Comparisons); diff != "" {
		t.Errorf("aims (-want +got):\n%s", diff)
	}
	var text strings.Builder
	if err := res.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"median of 3", "things/s", "aim missed: b at least 0.50 × a, measured 0.25", "aim reached: a at least 4.00 × b"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &text)
		}
	}
}

func TestAimWhereLowerIsBetter(t *testing.T) {
	var order []string
	fig := fixed(Lower, &order, map[string][]float64{"a": {10}, "b": {5}}, Comparison{Peer: "b", Against: "a", Aim: 0.5}, Comparison{Peer: "a", Against: "b", Aim: 1.9})
	res, err := Measure(context.Background(), fig, Options{Rounds: 1})
	if err != nil {
		t.Fatal(err)
	}
	if !res.Comparisons[0].Reached || res.Comparisons[1].Reached {
		t.Errorf("aims: %+v", res.Comparisons)
	}
}

func TestAimsThatAdd(t *testing.T) {
	var order []string
	fig := fixed(Lower, &order, map[string][]float64{"a": {10}, "b": {14}},
		Comparison{Peer: "b", Against: "a", Aim: 1, Plus: 5}, Comparison{Peer: "b", Against: "a", Aim: 1, Plus: 3},
		Comparison{Peer: "b", Aim: 13}, Comparison{Peer: "b", Aim: 14},
		Comparison{Peer: "b", Against: "a", Aim: 1, Detail: "cpu_s", Better: Higher}, Comparison{Peer: "b", Aim: 1, Detail: "absent"})
	if _, err := Measure(context.Background(), fig, Options{}); err == nil {
		t.Fatal("ten rounds are usual, and there was but one value")
	}
	res, err := Measure(context.Background(), fig, Options{Rounds: 1})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range res.Comparisons {
		got = append(got, a.Sentence(res.Better))
	}
	want := []string{
		"aim reached: b at most 1.00 × a + 5.00, measured + 4.00",
		"aim missed: b at most 1.00 × a + 3.00, measured + 4.00",
		"aim missed: b at most 13.0, measured 14.0",
		"aim reached: b at most 14.0, measured 14.0",
		"aim reached: b (cpu_s) at least 1.00 × a, measured 1.40",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMeasureNamesWhatFailedAndCleansUp(t *testing.T) {
	var order []string
	fig := fixed(Higher, &order, map[string][]float64{"a": {1, 2}, "b": {1}})
	_, err := Measure(context.Background(), fig, Options{Rounds: 2})
	if err == nil || !strings.Contains(err.Error(), "benchmark fixed, round 2 of 2, b: broken") {
		t.Errorf("error: %v", err)
	}
	if order[len(order)-1] != "close" {
		t.Error("Close was not called")
	}
	if _, err := Measure(context.Background(), fig, Options{Rounds: -1}); err == nil {
		t.Error("-1 rounds are accepted")
	}
}


func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := Median(c.in); got != c.want {
			t.Errorf("Median(%v) = %v, want %v", c.in, got, c.want)
		}
	}
}
