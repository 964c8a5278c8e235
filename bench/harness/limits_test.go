package harness

import (
	"bytes"
	"strings"
	"testing"
)

// A limit that something exceeds is none, and the result says so.
func TestPeersBeyondALimit(t *testing.T) {
	for _, c := range []struct {
		name   string
		better Better
		rival  []float64
		beyond bool
	}{
		{"higher, beyond", Higher, around(120, 0.01), true},
		{"higher, within", Higher, around(80, 0.01), false},
		{"higher, on both sides", Higher, around(100, 0.1), false},
		{"lower, beyond", Lower, around(80, 0.01), true},
		{"lower, within", Lower, around(120, 0.01), false},
		{"too few rounds", Higher, []float64{120, 120}, false},
		{"a count", Lower, []float64{80}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := len(c.rival)
			r := runOf(t, c.better, around(100, 0)[:n], c.rival, around(100, 0)[:n])
			for form, text := range map[string]string{"text": string(written(t, r.WriteText)), "Markdown": markdownOf(t, r)} {
				if got := strings.Contains(text, "them exceeds the limit limit: the limit is not one here"); got != c.beyond || strings.Contains(text, "mine exceeds") {
					t.Errorf("%s, want %v:\n%s", form, c.beyond, text)
				}
			}
		})
	}
}

// Of several limits each is for the peers that a comparison sets against it.
func TestPeersAreHeldToTheirOwnLimit(t *testing.T) {
	var order []string
	b := benchmarkOf(Higher, &order, peerOf("small", Limit, &order, around(10, 0)...), peerOf("large", Limit, &order, around(100, 0)...),
		peerOf("mine", Ours, &order, around(50, 0)...))
	b.Comparisons = []Comparison{{Peer: "mine", Against: "large", Aim: 0.4}}
	r := measureOrFail(t, b, Options{})
	if got := r.beyondLimits(); got != nil {
		t.Error(got)
	}
	b.Comparisons[0].Against = "small"
	r.derive(b.Comparisons)
	if got := r.beyondLimits(); len(got) != 1 || !strings.HasPrefix(got[0], "mine exceeds the limit small") {
		t.Error(got)
	}
}

func markdownOf(t *testing.T, r *Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteMarkdown(&b, ""); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
