package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/viper"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
)

// fakeBenchmark has two peers; run is what the first one does, and the other is missing.
func fakeBenchmark(name string, run func(context.Context) (harness.Sample, error)) harness.Benchmark {
	return harness.Benchmark{
		Name: name, Title: "nothing", Unit: "ms", Better: harness.Lower,
		Comparisons: []harness.Comparison{{Peer: "ours", Aim: 2}, {Peer: "ours", Against: "gone", Aim: 1}},
		Setup: func(context.Context, harness.Size) (*harness.Bench, error) {
			return &harness.Bench{
				Scale: 1, Load: "nothing", Close: func() error { return nil },
				Peers: []harness.Peer{
					{Name: "ours", Role: harness.Ours, Run: run},
					{Name: "gone", Role: harness.Rival, Missing: "install it"},
				},
			}, nil
		},
	}
}

func takesNothing(context.Context) (harness.Sample, error) { return harness.Sample{Value: 1}, nil }

// runFakes runs benchmarks as bench run does inside its namespace.
func runFakes(t *testing.T, ctx context.Context, r benchRun) (out string, err error) {
	t.Helper()
	var stdout bytes.Buffer
	a := &app{stdio: stdio{out: &stdout, err: t.Output()}, settings: viper.New()}
	r.options.Rounds = harness.MinRounds
	err = a.runBenchmarks(ctx, r)
	return stdout.String(), err
}

// kept are the names of the files in the directory of results.
func kept(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// One benchmark that fails is named, and the others are run, shown and written.
func TestAFailedBenchmarkDoesNotLoseTheOthers(t *testing.T) {
	broken := errors.New("broken")
	dir := t.TempDir()
	out, err := runFakes(t, t.Context(), benchRun{out: dir, chosen: []harness.Benchmark{
		fakeBenchmark("first", takesNothing),
		fakeBenchmark("second", func(context.Context) (harness.Sample, error) { return harness.Sample{}, broken }),
		fakeBenchmark("third", takesNothing),
	}})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "second") {
		t.Errorf("error: %v", err)
	}
	if got, want := kept(t, dir), "first.json first.svg third.json third.svg"; got != want {
		t.Errorf("files %q, want %q", got, want)
	}
	for _, want := range []string{"first: nothing", "third: nothing", "2 of 4 aims reached", "first: gone is missing: install it"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "second") {
		t.Errorf("a benchmark without a sample has a table:\n%s", out)
	}
}

// An interrupt ends the run; what was complete by then is kept, what was not is not.
func TestAnInterruptKeepsWhatIsComplete(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	_, err := runFakes(t, ctx, benchRun{out: dir, chosen: []harness.Benchmark{
		fakeBenchmark("first", takesNothing),
		fakeBenchmark("second", func(context.Context) (harness.Sample, error) {
			cancel()
			return harness.Sample{Value: 1}, nil
		}),
		fakeBenchmark("third", func(context.Context) (harness.Sample, error) {
			t.Error("a benchmark was run after the interrupt")
			return harness.Sample{}, nil
		}),
	}})
	if err == nil || !strings.Contains(err.Error(), "interrupted: 1 of 3 benchmarks are complete") {
		t.Errorf("error: %v", err)
	}
	if got, want := kept(t, dir), "first.json first.svg"; got != want {
		t.Errorf("files %q, want %q", got, want)
	}
}

// A missing peer is a failure only where one asks for that, and the result is kept all the same.
func TestRequirePeers(t *testing.T) {
	dir := t.TempDir()
	r := benchRun{out: dir, chosen: []harness.Benchmark{fakeBenchmark("first", takesNothing)}}
	if _, err := runFakes(t, t.Context(), r); err != nil {
		t.Error(err)
	}
	r.requirePeers = true
	if _, err := runFakes(t, t.Context(), r); err == nil || !strings.Contains(err.Error(), "first: peer gone is missing: install it") {
		t.Errorf("error: %v", err)
	}
	if got, want := kept(t, dir), "first.json first.svg"; got != want {
		t.Errorf("files %q, want %q", got, want)
	}
}

// An older result is not lost to one that cannot be written, nor is its plot replaced alone.
func TestWriteWholeKeepsTheOldFiles(t *testing.T) {
	dir := t.TempDir()
	var files []wholeFile
	incomplete := (&harness.Result{Conditions: harness.Conditions{Steal: math.NaN()}}).WriteJSON
	complete := func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err }
	for name, write := range map[string]func(io.Writer) error{"x.json": incomplete, "x.svg": complete} {
		f := wholeFile{filepath.Join(dir, name), write}
		if err := os.WriteFile(f.path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	for range 2 { // whichever comes first
		if err := writeWhole(files...); err == nil || !strings.Contains(err.Error(), "x.json") {
			t.Errorf("error: %v", err)
		}
		slices.Reverse(files)
	}
	for _, f := range files {
		if text, err := os.ReadFile(f.path); err != nil || string(text) != "old" {
			t.Errorf("file %q, %v", text, err)
		}
	}
	if got := kept(t, dir); got != "x.json x.svg" {
		t.Errorf("directory %s", got)
	}
}

// A build without a version is recorded as what the Go tools know of it, not as unknown.
func TestUnknownVersionIsNotRecorded(t *testing.T) {
	dir := t.TempDir()
	if _, err := runFakes(t, t.Context(), benchRun{out: dir, chosen: []harness.Benchmark{fakeBenchmark("first", takesNothing)}}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "first.json"))
	if err != nil || strings.Contains(string(text), `"version": "unknown"`) {
		t.Errorf("%v: %s", err, text)
	}
}

// A comparison whose aim has changed since the last result has none beside it.
func TestListForgetsResultsOfOtherAims(t *testing.T) {
	b := fakeBenchmark("first", takesNothing)
	last, err := harness.Measure(t.Context(), b, harness.Options{Rounds: harness.MinRounds})
	if err != nil {
		t.Fatal(err)
	}
	if got := describeBenchmark(b, last); got.Comparisons[0].Figure != "1.00 ms (1.00 … 1.00)" || got.Comparisons[0].Last.Verdict != harness.AimReached || got.Last == nil {
		t.Errorf("got %+v", got)
	}
	b.Comparisons[0].Aim = 3
	if got := describeBenchmark(b, last); got.Comparisons[0].Last != nil || got.Comparisons[1].Last == nil {
		t.Errorf("got %+v", got)
	}
	if got := describeBenchmark(b, nil); got.Last != nil || got.Rounds != harness.DefaultRounds {
		t.Errorf("got %+v", got)
	}
}
