package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
)

// benchmark is one whose two peers take no time.
func benchmark(name string) harness.Benchmark {
	return harness.Benchmark{
		Name: name, Title: "time of " + name, Unit: "ms", Better: harness.Lower, Rounds: 5,
		Comparisons: []harness.Comparison{{Peer: "ours", Against: "rival", Aim: 0.5}},
		Setup: func(context.Context, harness.Size) (*harness.Bench, error) {
			takes := func(v float64) func(context.Context) (harness.Sample, error) {
				return func(context.Context) (harness.Sample, error) { return harness.Sample{Value: v}, nil }
			}
			return &harness.Bench{
				Scale: 1, Load: "nothing", Close: func() error { return nil },
				Peers: []harness.Peer{{Name: "ours", Role: harness.Ours, Run: takes(1)}, {Name: "rival", Role: harness.Rival, Run: takes(4)}},
			}, nil
		},
	}
}

// measured are the results of the benchmarks with these names.
func measured(t *testing.T, names ...string) map[string]*harness.Result {
	t.Helper()
	found := map[string]*harness.Result{}
	for _, n := range names {
		r, err := harness.Measure(t.Context(), benchmark(n), harness.Options{})
		if err != nil {
			t.Fatal(err)
		}
		found[n] = r
	}
	return found
}

func written(t *testing.T, all []harness.Benchmark, committed map[string]*harness.Result) string {
	t.Helper()
	p, err := newPage(all, committed)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Sections are in the order of the suite, the summary has every aim, and what has no result is named.
func TestPage(t *testing.T) {
	all := []harness.Benchmark{benchmark("zebra"), benchmark("unmeasured"), benchmark("ant")}
	text := written(t, all, measured(t, "ant", "zebra"))
	want := []string{"Summary", "How to read this", "zebra", "ant"}
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(text, -1) {
		got = append(got, m[1])
	}
	if !slices.Equal(got, want) {
		t.Errorf("sections %q, want %q", got, want)
	}
	for _, want := range []string{
		"2 of 2 aims reached",
		"| zebra | ours at most 0.5 × rival | 0.25 × (0.25 … 0.25) | aim reached |",
		"- unmeasured: time of unmeasured (ms)\n",
		"](../bench/results/ant.svg)",
		"with 95 % confidence",
		"A limit is the best that we know of", "Most peers are processes of\ntheir own", "an order that is drawn anew for each round",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

// Without a result the page says so, and lists what could be measured.
func TestPageWithoutResults(t *testing.T) {
	text := written(t, []harness.Benchmark{benchmark("ant")}, nil)
	if !strings.Contains(text, "No result is committed yet") || !strings.Contains(text, "- ant: ") || strings.Contains(text, "## Summary") {
		t.Error(text)
	}
}

// The result of a benchmark that nobody can repeat is not shown.
func TestPageRefusesResultsOfNoBenchmark(t *testing.T) {
	_, err := newPage([]harness.Benchmark{benchmark("ant")}, measured(t, "ant", "gone"))
	if err == nil || !strings.Contains(err.Error(), "bench/results/gone.json") {
		t.Errorf("error: %v", err)
	}
}

// The plots are those of the results, and no others.
func TestPlots(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gone.svg"), []byte("<svg/>"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := newPage([]harness.Benchmark{benchmark("ant")}, measured(t, "ant"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.plot(dir); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(found) != 1 || filepath.Base(found[0]) != "ant.svg" {
		t.Errorf("found %v, %v", found, err)
	}
	if text, err := os.ReadFile(found[0]); err != nil || !bytes.Contains(text, []byte("</svg>")) {
		t.Errorf("this is no plot: %s, %v", text, err)
	}
}
