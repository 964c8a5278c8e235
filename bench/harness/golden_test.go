package harness

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// golden holds bytes to those of a file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: go test -update writes it", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: go test -update if it should be so (-want +got):\n%s", path, diff)
	}
}

// steady returns values around a middle, the same in each test.
func steady(name string, role Role, middle, spread float64) Peer {
	rng := rand.New(rand.NewPCG(7, uint64(len(name))))
	return Peer{Name: name, Role: role, Version: name + " 1.0", Run: func(context.Context) (Sample, error) {
		v := middle * (1 + spread*(2*rng.Float64()-1))
		h := NewLatency()
		for i := range 1000 {
			if err := h.RecordValue(int64(1e9 / v * (1 + float64(i%100)/100))); err != nil {
				return Sample{}, err
			}
		}
		return Sample{Value: v, Detail: map[string]float64{"cpu_us_per_flow": 1e6 / v, "pss_MB": 12}, Latency: h}, nil
	}}
}

// exampleResult has one of everything.
func exampleResult(t *testing.T) *Result {
	var order []string
	missing := Peer{Name: "OVN", Role: Rival, Missing: "no ovn-northd; install the Debian package ovn-central (make bench-deps)"}
	b := benchmarkOf(Higher, &order, steady("raw bytes", Limit, 90_000, 0.02), steady("session", Ours, 87_000, 0.02),
		steady("session, bundle", Ours, 60_000, 0.05), steady("ovs-ofctl --bundle", Rival, 72_000, 0.05), steady("a noisy | one", Rival, 20_000, 0.9), missing)
	b.Name, b.Title, b.Unit, b.Rounds = "flow-programming", "flows into one bridge", "flows/s", 10
	b.Means = "How fast a switch is filled: from the first byte to the answer after the barrier."
	b.Comparisons = []Comparison{
		{Peer: "session", Against: "raw bytes", Aim: 0.9},
		{Peer: "session, bundle", Against: "ovs-ofctl --bundle", Aim: 2},
		{Peer: "session, bundle", Against: "session"},
		{Peer: "session", Against: "a noisy | one", Aim: 1},
		{Peer: "session", Against: "OVN", Aim: 1},
		{Peer: "session", Against: "ovs-ofctl --bundle", Detail: "cpu_us_per_flow", Better: Lower, Aim: 0.5},
		{Peer: "session", Against: "raw bytes", Detail: "cpu_us_per_flow", Better: Lower, Aim: 1, Plus: 1},
		{Peer: "session", Detail: "pss_MB", Better: Lower, Aim: 20},
		{Peer: "session"},
	}
	return fixedMachine(measureOrFail(t, b, Options{Size: Size{Scale: 1000}}))
}

// countResult is of a benchmark that counts.
func countResult(t *testing.T) *Result {
	var order []string
	b := benchmarkOf(Lower, &order, peerOf("local port", Ours, &order, 11, 11), peerOf("remote port", Ours, &order, 0, 0),
		peerOf("OVN, local port", Rival, &order, 31, 31), peerOf("OVN, remote port", Rival, &order, 0, 0))
	b.Name, b.Unit, b.Rounds = "flows-per-port", "flows", 1
	b.Comparisons = []Comparison{{Peer: "local port", Aim: 12}, {Peer: "local port", Against: "OVN, local port"},
		{Peer: "remote port", Against: "OVN, remote port", Aim: 1}, {Peer: "remote port", Against: "OVN, remote port"}, {Peer: "remote port", Plus: 0.5}}
	return fixedMachine(measureOrFail(t, b, Options{}))
}

// fixedMachine replaces what differs from run to run.
func fixedMachine(r *Result) *Result {
	r.Environment = Environment{Version: "0.3.0", CPU: "Some CPU @ 3 GHz", Cores: 2, GOMAXPROCS: 2, Affinity: "0-1", MemoryBytes: 8 << 30,
		Kernel: "Linux 6.1.0 x86_64", Distribution: "Debian GNU/Linux 12 (12.11)", Go: "go1.26 linux/amd64", OpenVSwitch: "ovs-vswitchd (Open vSwitch) 3.1.0", Datapath: "netdev"}
	r.Conditions = Conditions{Began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Seconds: 61.5, LoadBefore: 0.1, LoadAfter: 1.2, Steal: 0.003, IOWait: 0.01,
		Noise: Noise{Spins: 100, MedianMS: 1.5, P10: 0.98, P90: 1.04}}
	return r
}

func written(t *testing.T, write func(io.Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGoldenFiles(t *testing.T) {
	for name, r := range map[string]*Result{"example": exampleResult(t), "count": countResult(t)} {
		golden(t, name+".txt", written(t, r.WriteText))
		golden(t, name+".md", written(t, func(w io.Writer) error { return r.WriteMarkdown(w, name+".svg") }))
		golden(t, name+".json", written(t, r.WriteJSON))
		golden(t, name+".svg", written(t, r.WriteSVG))
	}
}

func TestSVGIsXMLAndDeterministic(t *testing.T) {
	for n := range 15 {
		t.Run(fmt.Sprintf("%d peers", n), func(t *testing.T) {
			var order []string
			var peers []Peer
			for i := range n {
				peers = append(peers, steady(strings.Repeat("<&\">", i+1), []Role{Ours, Rival, Limit}[i%3], 100*float64(i*i+1), 0.1))
			}
			b := benchmarkOf(Higher, &order, peers...)
			res := measureOrFail(t, b, Options{Rounds: 6})
			first := written(t, res.WriteSVG)
			if second := written(t, res.WriteSVG); !bytes.Equal(first, second) {
				t.Error("the same result makes two plots")
			}
			dec := xml.NewDecoder(bytes.NewReader(first))
			texts := 0
			for {
				token, err := dec.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("no XML: %v", err)
				}
				if el, ok := token.(xml.StartElement); ok && el.Name.Local == "text" {
					texts++
				}
			}
			if texts < n+2 {
				t.Errorf("only %d texts", texts)
			}
			if bytes.Contains(first, []byte("NaN")) || bytes.Contains(first, []byte("Inf")) {
				t.Error("a coordinate is no number")
			}
		})
	}
}

func TestPlotOfOddValues(t *testing.T) {
	for _, c := range []struct {
		values []float64
		fails  bool
	}{
		{[]float64{0, 0, 0}, false}, {[]float64{-5, 5}, false}, {[]float64{-5, -4}, false}, {[]float64{1e-99, 1e99}, false},
		{[]float64{7}, false}, {[]float64{1e300}, true}, {[]float64{5e-320}, true}, {[]float64{0, 1e-90}, false},
	} {
		var order []string
		res := measureOrFail(t, benchmarkOf(Lower, &order, peerOf("a", Ours, &order, c.values...)), Options{Rounds: len(c.values)})
		var b bytes.Buffer
		err := res.WriteSVG(&b)
		if (err != nil) != c.fails {
			t.Errorf("%v: %v", c.values, err)
		}
		if err == nil && (strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf")) {
			t.Errorf("%v: a coordinate is no number", c.values)
		}
	}
}
