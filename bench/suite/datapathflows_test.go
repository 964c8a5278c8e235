package suite

import (
	"regexp"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
)

// What the two kinds of datapaths print.
func TestWhatADatapathShows(t *testing.T) {
	const netdev = "netdev@ovs-netdev:\n  lookups: hit:3462 missed:100 lost:0\n  flows: 15\n  port 0: ovs-netdev (tap)\n"
	const system = "system@ovs-system:\n  lookups: hit:10 missed:4 lost:0\n  flows: 7\n  masks: hit:12 total:3 hit/pkt:0.86\n  port 0: ovs-system (internal)\n"
	const lookups = "Available dpcls implementations:\n  autovalidator (Use count: 0, Priority: 0)\n  generic (Use count: 8, Priority: 1)\n  avx512_gather (Use count: 2, Priority: 0)\n"
	for _, c := range []struct {
		expression *regexp.Regexp
		text       string
		want       int // -1 for an error
	}{
		{shownFlows, netdev, 15},
		{shownFlows, system, 7},
		{shownFlows, netdev + system, 22},
		{shownFlows, "", -1},
		{shownMasks, system, 3},
		{shownMasks, netdev, -1},
		{usedLookups, lookups, 10},
		{usedLookups, netdev, -1},
	} {
		got, err := sum(c.expression, c.text)
		if err != nil {
			got = -1
		}
		if got != c.want {
			t.Errorf("%q in %q: %d, %v; want %d", c.expression, c.text, got, err, c.want)
		}
	}
}

// The pipeline makes no more flows and masks than OVN's: a count, and exact.
func TestDatapathFlowsReachTheirAims(t *testing.T) {
	needSwitch(t)
	res, err := harness.Measure(t.Context(), DatapathFlows(), harness.Options{Size: harness.Size{Scale: 2}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range res.Peers {
		if p.Missing != "" {
			notTested(t, p)
			return
		}
		t.Logf("%s: %v flows, %v masks", p.Name, p.Samples[0].Value, p.Detail)
	}
	for _, c := range res.Comparisons {
		if c.Aimed() && c.Verdict != harness.AimReached {
			t.Errorf("%s: %s", c.Claim(), c.Verdict)
		}
	}
}
