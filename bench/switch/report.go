package fleet

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
)

// Counters are numbers of messages.
type Counters struct {
	PacketIns uint64 // sent
	Answers   uint64 // right ones, the sum of the next two
	Directed  uint64 // to the one port of the destination
	Spread    uint64 // flooded, sent to several ports or handed back to the switch

	Wrong       uint64 // packet-outs with a frame that waits, but not right
	Unsolicited uint64 // packet-outs with anything else: made up, doubled or too late
	Lost        uint64 // packet-ins without an answer in time

	FlowMods uint64
	Mods     uint64 // of groups, meters, ports and tables
	Errors   uint64 // OFPT_ERROR
	Others   uint64 // everything else: echoes, barriers, requests
}

func (c *Counters) add(o Counters) {
	c.PacketIns += o.PacketIns
	c.Answers += o.Answers
	c.Directed += o.Directed
	c.Spread += o.Spread
	c.Wrong += o.Wrong
	c.Unsolicited += o.Unsolicited
	c.Lost += o.Lost
	c.FlowMods += o.FlowMods
	c.Mods += o.Mods
	c.Errors += o.Errors
	c.Others += o.Others
}

// Report is what a fleet counted in one window.
type Report struct {
	Counters
	Elapsed time.Duration
	// Latency is from just before a packet-in was written until just after its answer was read, in
	// nanoseconds. Answers that came together came at once, as did packet-ins that left together.
	Latency *hdrhistogram.Histogram
}

// Rate is how many right answers came per second.
func (r *Report) Rate() float64 { return float64(r.Answers) / r.Elapsed.Seconds() }

// stats are those of one switch in one window.
type stats struct {
	Counters
	latency *hdrhistogram.Histogram // nil when there is nothing to time
}

func newStats(timed bool) *stats {
	st := &stats{}
	if timed {
		st.latency = harness.NewLatency()
	}
	return st
}

func (st *stats) record(ns int64) {
	if st.latency != nil {
		// The histogram's range is beyond what is lost already; the bound makes sure of it.
		_ = st.latency.RecordValue(min(ns, st.latency.HighestTrackableValue()))
	}
}

func merge(all []*stats, elapsed time.Duration) *Report {
	r := &Report{Elapsed: elapsed, Latency: harness.NewLatency()}
	for _, st := range all {
		r.add(st.Counters)
		if st.latency != nil {
			r.Latency.Merge(st.latency)
		}
	}
	return r
}
