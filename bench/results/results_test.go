package results

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
)

// result is that of a benchmark with one peer, as JSON.
func result(t *testing.T, name string) []byte {
	t.Helper()
	res, err := harness.Measure(t.Context(), harness.Benchmark{
		Name: name, Title: "nothing", Unit: "ms", Better: harness.Lower, Rounds: 1,
		Setup: func(context.Context, harness.Size) (*harness.Bench, error) {
			run := func(context.Context) (harness.Sample, error) { return harness.Sample{Value: 1}, nil }
			return &harness.Bench{
				Scale: 1, Load: "nothing", Close: func() error { return nil },
				Peers: []harness.Peer{{Name: "ours", Role: harness.Ours, Run: run}},
			}, nil
		},
	}, harness.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := res.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadTakesResultsAndNothingElse(t *testing.T) {
	found, err := Read(fstest.MapFS{
		"b.json":    {Data: result(t, "b")},
		"a.json":    {Data: result(t, "a")},
		"a.svg":     {Data: []byte("<svg/>")},
		"README.md": {Data: []byte("# Results")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || found["a"] == nil || found["b"] == nil {
		t.Errorf("found %v", found)
	}
}

func TestReadOfNothing(t *testing.T) {
	if found, err := Read(fstest.MapFS{}); err != nil || len(found) != 0 {
		t.Errorf("found %v, error %v", found, err)
	}
}

// A bad file is named, and does not hide the others.
func TestReadNamesBadFiles(t *testing.T) {
	found, err := Read(fstest.MapFS{
		"broken.json": {Data: []byte("{")},
		"moved.json":  {Data: result(t, "other")},
		"good.json":   {Data: result(t, "good")},
	})
	if err == nil || !strings.Contains(err.Error(), "broken.json: ") || !strings.Contains(err.Error(), "call the file other.json") {
		t.Errorf("error: %v", err)
	}
	if len(found) != 1 || found["good"] == nil {
		t.Errorf("found %v", found)
	}
}

// What is committed can be read.
func TestCommitted(t *testing.T) {
	if _, err := Committed(); err != nil {
		t.Error(err)
	}
}
