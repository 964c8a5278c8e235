package harness

import (
	"bytes"
	"strings"
	"testing"
)

// summed are two results: one reaches one of its two aims and loses to a rival, the other has a
// peer that is missing.
func summed() []*Result {
	return []*Result{
		{
			Benchmark: "first", Unit: "flows/s", Better: Higher,
			Comparisons: []ComparisonResult{
				{Comparison: Comparison{Peer: "ours", Against: "limit", Aim: 0.9}, Kind: KindRatio, Measured: 0.95, Rounds: 10, Interval: &Interval{0.94, 0.96}, Verdict: AimReached},
				{Comparison: Comparison{Peer: "ours", Against: "rival|1", Aim: 2}, Kind: KindRatio, Measured: 0.5, Rounds: 10, Interval: &Interval{0.4, 0.6}, Verdict: AimMissed, WeLose: true},
			},
		},
		{
			Benchmark: "second", Unit: "ms", Better: Lower,
			Peers:       []PeerResult{{Name: "gone", Role: Rival, Missing: "install it"}},
			Comparisons: []ComparisonResult{{Comparison: Comparison{Peer: "ours", Against: "gone"}, Verdict: NotMeasured, Why: "gone is missing: install it"}},
		},
	}
}

func TestSummaryNamesWhatIsNotWon(t *testing.T) {
	var b bytes.Buffer
	if err := WriteSummary(&b, summed()); err != nil {
		t.Fatal(err)
	}
	want := `1 of 2 aims reached, 1 missed, 0 cannot be told, 0 not measured; we lose in 1 comparison
first: aim missed; we lose to rival|1: ours at least 2 × rival|1, measured 0.50 × (0.40 … 0.60)
second: gone is missing: install it
`
	if got := b.String(); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

// Of the smallest size no comparison is reported, but a missing peer is.
func TestSummaryOfTheSmallestSize(t *testing.T) {
	results := summed()
	for _, r := range results {
		r.Asked.Smallest = true
	}
	var b bytes.Buffer
	if err := WriteSummary(&b, results); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); strings.Contains(got, "first: ") || !strings.Contains(got, "mean nothing") || !strings.Contains(got, "second: gone is missing") {
		t.Errorf("got:\n%s", got)
	}
}

func TestMarkdownSummaryHasEveryAim(t *testing.T) {
	var b bytes.Buffer
	if err := WriteMarkdownSummary(&b, summed()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1 of 2 aims reached",
		"| first | ours at least 0.9 × limit | 0.95 × (0.94 … 0.96) | aim reached |\n",
		"| first | ours at least 2 × rival\\|1 |",
		"Where we lose:\n\n- first: aim missed; we lose to rival\\|1",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "second") {
		t.Errorf("a comparison without an aim is among the aims:\n%s", b.String())
	}
}

// An aim without an interval is neither reached nor missed.
func TestSummaryOfTooFewRounds(t *testing.T) {
	var order []string
	b := benchmarkOf(Higher, &order, peerOf("mine", Ours, &order, 9, 9), peerOf("them", Rival, &order, 10, 10))
	b.Comparisons = []Comparison{{Peer: "mine", Against: "them", Aim: 0.5}, {Peer: "mine", Aim: 100}}
	s := Sum([]*Result{measureOrFail(t, b, Options{Rounds: 2})})
	if s.Verdicts[Unclear] != 2 || s.Aims != 2 || s.Lost != 0 {
		t.Error(s)
	}
}

func TestSummaryOfNothing(t *testing.T) {
	if got, want := Sum(nil).String(), "0 of 0 aims reached, 0 missed, 0 cannot be told, 0 not measured; we lose in no comparison"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
