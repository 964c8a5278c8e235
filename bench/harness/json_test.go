package harness

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResultSurvivesJSON(t *testing.T) {
	for name, r := range map[string]*Result{"example": exampleResult(t), "count": countResult(t)} {
		text := written(t, r.WriteJSON)
		back, err := ReadResult(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(string(text), string(written(t, back.WriteJSON))); diff != "" {
			t.Errorf("%s: written again (-first +again):\n%s", name, diff)
		}
		for what, write := range map[string][2]func(io.Writer) error{"text": {r.WriteText, back.WriteText}, "plot": {r.WriteSVG, back.WriteSVG}} {
			if diff := cmp.Diff(string(written(t, write[0])), string(written(t, write[1]))); diff != "" {
				t.Errorf("%s: %s of what was read:\n%s", name, what, diff)
			}
		}
	}
}

// What a benchmark says may have line breaks; the result must be one that can be read.
func TestWhatMeasureWritesCanBeRead(t *testing.T) {
	var order []string
	b := benchmarkOf(Higher, &order, peerOf("a", Ours, &order, 1), Peer{Name: "b", Role: Rival, Version: "1\n2", Missing: "one\ttwo\n\x1b[3m" + strings.Repeat("…", 6000)})
	b.Means = "one\n  two\xff"
	b.Comparisons = []Comparison{{Peer: "a", Against: "b"}}
	res, err := Measure(t.Context(), b, Options{Rounds: 2})
	if err == nil || res.Means != "one two?" || res.Peers[1].Version != "1 2" {
		t.Errorf("error %v, result %+v", err, res)
	}
	if _, err := ReadResult(bytes.NewReader(written(t, res.WriteJSON))); err != nil {
		t.Error(err)
	}
}

// A file is not believed what its samples do not say.
func TestReadResultDerivesAnew(t *testing.T) {
	for name, r := range map[string]*Result{"example": exampleResult(t), "count": countResult(t)} {
		want := string(written(t, r.WriteJSON))
		for i := range r.Peers {
			p := &r.Peers[i]
			p.Median, p.Min, p.Max, p.Interval, p.Ratio, p.Detail = 1e6, 7, 1e7, &Interval{5, 3}, nil, map[string]float64{"x": 1}
			if p.Latency != nil {
				p.Latency.Count, p.Latency.P50, p.Latency.P90, p.Latency.P99, p.Latency.P999, p.Latency.Max = 1, 2, 3, 4, 5, 6
			}
		}
		for i := range r.Comparisons {
			r.Comparisons[i] = ComparisonResult{Comparison: r.Comparisons[i].Comparison, Kind: "guess", Measured: 99, Interval: &Interval{9, 1}, Rounds: -1, Verdict: "sure", WeLose: true}
		}
		r.Reference = "nobody"
		back, err := ReadResult(bytes.NewReader(written(t, r.WriteJSON)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, string(written(t, back.WriteJSON))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A size may lack a peer that a comparison names: it says so, and can be read.
func TestReadResultOfASizeWithoutAPeer(t *testing.T) {
	var order []string
	b := benchmarkOf(Higher, &order, peerOf("a", Ours, &order, 1))
	b.Comparisons = []Comparison{{Peer: "a", Against: "large"}}
	back, err := ReadResult(bytes.NewReader(written(t, measureOrFail(t, b, Options{Rounds: 1}).WriteJSON)))
	if err != nil || back.Comparisons[0].Why != "this size has no large" {
		t.Errorf("error %v, result %+v", err, back)
	}
}

func TestReadResultBoundsSamples(t *testing.T) {
	r := exampleResult(t)
	r.Rounds = 5000
	for i := range r.Peers[:4] {
		r.Peers[i].Samples = make([]Sample, 5000)
	}
	if _, err := ReadResult(bytes.NewReader(written(t, r.WriteJSON))); err == nil || !strings.Contains(err.Error(), "are too many; at most 20000") {
		t.Errorf("error %v", err)
	}
}

func TestReadResultRefuses(t *testing.T) {
	good := string(written(t, exampleResult(t).WriteJSON))
	change := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q in the result", old)
		}
		return strings.Replace(good, old, with, 1)
	}
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "unexpected end"},
		{"a list", "[]", "cannot unmarshal array"},
		{"cut", good[:len(good)/2], "unexpected end"},
		{"no schema", "{}", "no field schema"},
		{"another schema", change(`"schema": 1`, `"schema": 99`), "schema 99; this ofctl-lab reads 1"},
		{"text for a number", change(`"scale": 7`, `"scale": "7"`), "scale"},
		{"NaN", change(`"scale": 7`, `"scale": NaN`), "invalid character"},
		{"too large a number", change(`"spins": 100`, `"spins": 1e999`), "1e999"},
		{"no name", change(`"benchmark": "flow-programming"`, `"benchmark": ""`), "benchmark is empty"},
		{"no unit", change(`"unit": "flows/s"`, `"unit": ""`), "unit is empty"},
		{"direction", change(`"better": "higher"`, `"better": "sideways"`), `better is "sideways"`},
		{"rounds", change(`"rounds": 10`, `"rounds": 1000000`), "1000000 rounds"},
		{"fewer rounds than samples", change(`"rounds": 10`, `"rounds": 3`), "10 samples in 3 rounds"},
		{"twins", change(`"name": "session",`, `"name": "raw bytes",`), `two peers are called "raw bytes"`},
		{"role", change(`"role": "limit"`, `"role": "boss"`), `role is "boss"`},
		{"escape sequence", change(`"load": "a load"`, `"load": "a\u001b[2J"`), "the character U+001B cannot be printed"},
		{"right to left", change(`"load": "a load"`, `"load": "a\u202eb"`), "U+202E"},
		{"isolate", change(`"load": "a load"`, `"load": "a\u2066b"`), "U+2066"},
		{"line separator", change(`"load": "a load"`, `"load": "a\u2028b"`), "U+2028"},
		{"unknown peer", change(`"against": "raw bytes"`, `"against": "nobody"`), `no peer is called "nobody", and yet the verdict is "reached"`},
		{"a count that differs", change(`"rounds": 10`, `"exact": true, "rounds": 10`), "the count is not exact"},
		{"too far apart", change(`"aim": 0.9`, `"aim": 1e308, "plus": 1`), "which is no number"},
		{"histogram", change(`"hdr_v2": "`, `"hdr_v2": "!`), "histogram of latencies"},
		{"time", change(`"seconds": 61.5`, `"seconds": -1`), "took -1 s"},
		{"date", change(`"began": "2026`, `"began": "soon`), "parsing time"},
		{"long", change(`"load": "a load"`, `"load": "`+strings.Repeat("a", maxText+1)+`"`), "too long"},
		{"huge", strings.Repeat(" ", maxResultBytes) + good, "more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ReadResult(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	if _, err := ReadResult(io.MultiReader(strings.NewReader("{"), failing{})); err == nil || !strings.Contains(err.Error(), "permission") {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, os.ErrPermission }

// Whatever is accepted can be written, compared and read again.
func FuzzReadResult(f *testing.F) {
	for _, name := range []string{"testdata/example.json", "testdata/count.json"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"schema":1,"benchmark":"b","unit":"u","better":"lower","rounds":9,"peers":[{"name":"a","role":"ours","samples":[{"value":1},{"value":-1e300}]}],
		"comparisons":[{"peer":"a","better":"lower","verdict":"noted","kind":"value"},{"peer":"x","against":"y","better":"higher","verdict":"missed","kind":"ratio","aim":2}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ReadResult(bytes.NewReader(text))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := r.WriteText(&out); err != nil {
			t.Errorf("text: %v", err)
		}
		if strings.ContainsRune(out.String(), 0x1b) {
			t.Error("the text moves the cursor")
		}
		if err := r.WriteMarkdown(&out, ""); err != nil {
			t.Errorf("Markdown: %v", err)
		}
		if err := r.WriteSVG(&out); err != nil && !strings.Contains(err.Error(), "cannot be drawn") {
			t.Errorf("plot: %v", err)
		}
		if d, err := Compare(r, r); err == nil {
			if err := d.WriteText(&out); err != nil {
				t.Errorf("difference: %v", err)
			}
		}
		out.Reset()
		if err := r.WriteJSON(&out); err != nil {
			t.Fatalf("JSON: %v", err)
		}
		if _, err := ReadResult(&out); err != nil {
			t.Errorf("what was written cannot be read: %v", err)
		}
	})
}
