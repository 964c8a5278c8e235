package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/bridge"
	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/workload"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// FlowProgramming is how fast flows get into one empty bridge: from dialling (or, for a program
// that is run, from its start) to the switch's word that all are in. Every sample has an Open
// vSwitch of its own, fresh.
func FlowProgramming() harness.Benchmark {
	return harness.Benchmark{
		Name:  "flow-programming",
		Title: "flows per second into one bridge",
		Means: "How long a host waits for its flows when it joins, or comes back empty: 100,000 flows at this rate. " +
			"Each sample has a fresh ovs-vswitchd. The session, the raw bytes and ovs-ofctl reach it over TCP on loopback; for them the clock " +
			"runs from dialling, handshake included, and for ovs-ofctl from the start of the program, to the switch's answer that all flows are in. " +
			"The raw bytes are made beforehand; the session encodes within its time, from flows in memory, where ovs-ofctl parses a text. " +
			"The session from text reads the same file as ovs-ofctl and parses it within its time: those two are like for like, but for the start of a process. " +
			"ofnet and os-ken run in network namespaces of their own, across a veth; their clocks start later, once the bridge is " +
			"connected. ovs-ofctl without --bundle and os-ken, which take tens of seconds for all flows, do a tenth of them, and are compared with a " +
			"session that does the same tenth. CPU is of the peer's process, and of ovs-vswitchd beside it.",
		Unit:   "flows/s",
		Better: harness.Higher,
		Comparisons: []harness.Comparison{
			{Peer: peerSession, Against: peerRaw, Aim: 0.9},
			{Peer: peerSessionBundle, Against: peerRaw, Aim: 0.9},
			{Peer: peerSessionBundle, Against: peerRawBundle},
			{Peer: peerSessionText, Against: peerOfctlBundle, Aim: 2},
			{Peer: peerSessionBundle, Against: peerOfctlBundle, Aim: 2},
			{Peer: peerSessionTenth, Against: peerOfctl},
			{Peer: peerSession, Against: peerOfnet, Aim: 2},
			{Peer: peerSessionTenth, Against: peerOSKen},
			{Peer: peerSessionText, Against: peerOfctlBundle, Detail: cpuPerFlow, Better: harness.Lower},
		},
		Setup: func(ctx context.Context, size harness.Size) (*harness.Bench, error) {
			scale := size.Scale
			if scale == 0 {
				scale = 100_000
			}
			if size.Smallest {
				scale = 1000
			}
			if scale < 1 || scale > workload.MaxFlows {
				return nil, fmt.Errorf("%d flows: want 1 … %d", scale, workload.MaxFlows)
			}
			p := &programming{flows: workload.Flows(scale), fewer: workload.Flows(max(scale/10, 1))}
			if err := p.prepare(ctx); err != nil {
				return nil, errors.Join(err, p.close())
			}
			peers := p.peers(ctx)
			if err := ctx.Err(); err != nil { // it, and not what they lack, may be why they are missing
				return nil, errors.Join(err, p.close())
			}
			return &harness.Bench{
				Scale: scale,
				Load: fmt.Sprintf("%d flows of 5 matched fields and 4 actions (%s, %s and %s: %d)",
					scale, peerSessionTenth, peerOfctl, peerOSKen, int(p.fewer)),
				Peers: peers,
				Close: p.close,
			}, nil
		},
	}
}

// The peers of flow-programming.
const (
	peerRaw           = "raw bytes"
	peerRawBundle     = "raw bytes, bundle"
	peerSession       = "session"
	peerSessionBundle = "session, bundle"
	peerSessionTenth  = "session, a tenth"
	peerSessionText   = "session from text, bundle"
	peerOfctl         = "ovs-ofctl add-flows"
	peerOfctlBundle   = "ovs-ofctl --bundle"
	peerOfnet         = "ofnet ofctrl"
	peerOSKen         = "os-ken"
)

// cpuPerFlow is the detail that says what a flow costs the peer's own process.
const cpuPerFlow = "cpu_us_per_flow"

// programming holds what the samples share: every form of the workload, made once.
type programming struct {
	flows, fewer workload.Flows // fewer are for peers that are slow
	dir          string
	text, short  string // files for ovs-ofctl, with flows and with fewer
	raw, bundle  []byte
	ops          []flows.Op
}

func (p *programming) prepare(ctx context.Context) error {
	var err error
	if p.dir, err = bridge.TempDir(); err != nil {
		return err
	}
	if p.text, err = p.writeText("flows.txt", p.flows); err != nil {
		return err
	}
	if p.short, err = p.writeText("fewer.txt", p.fewer); err != nil {
		return err
	}
	p.raw, p.bundle = rawFlows(p.flows), rawBundle(p.flows)
	for _, f := range p.flows.Flows() {
		p.ops = append(p.ops, flows.Op{Kind: flows.AddFlow, Flow: f})
	}
	return ctx.Err()
}

func (p *programming) writeText(name string, n workload.Flows) (file string, err error) {
	file = filepath.Join(p.dir, name)
	f, err := os.Create(file)
	if err != nil {
		return "", err
	}
	return file, errors.Join(n.WriteText(f), f.Close())
}

func (p *programming) close() error { return os.RemoveAll(p.dir) }

// effort is what it took a peer to put flows into a bridge.
type effort struct {
	flows   workload.Flows
	elapsed time.Duration
	cpu     time.Duration // user and system time of the peer's process
	pss     int64         // proportional set size of the peer's process at the end, bytes; 0 where it has none of its own
}

// programmer puts flows into the bridge.
type programmer func(ctx context.Context, b *bridge.Bridge) (effort, error)

// sample runs a programmer against a fresh bridge and counts the flows.
func sample(do programmer) func(context.Context) (harness.Sample, error) {
	return func(ctx context.Context) (s harness.Sample, err error) {
		b, err := bridge.Start(ctx)
		if err != nil {
			return harness.Sample{}, err
		}
		defer func() { err = errors.Join(err, b.Close()) }()
		before, err := b.CPU()
		if err != nil {
			return harness.Sample{}, err
		}
		e, err := do(ctx, b)
		if err != nil {
			return harness.Sample{}, err
		}
		after, err := b.CPU()
		if err != nil {
			return harness.Sample{}, err
		}
		n, err := rawCount(ctx, bridge.Addr, workload.FlowTable) // ovs-ofctl may be missing
		if err != nil {
			return harness.Sample{}, err
		}
		if n != int(e.flows) {
			return harness.Sample{}, fmt.Errorf("the bridge holds %d flows instead of %d", n, int(e.flows))
		}
		perFlow := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(e.flows) }
		s = harness.Sample{
			Value: float64(e.flows) / e.elapsed.Seconds(),
			Detail: map[string]float64{
				"elapsed_s":                e.elapsed.Seconds(),
				cpuPerFlow:                 perFlow(e.cpu),
				"vswitchd_cpu_us_per_flow": perFlow(after - before),
			},
		}
		if e.pss > 0 {
			s.Detail["pss_mb"] = float64(e.pss) / 1e6
		}
		return s, nil
	}
}

// inProcess times work of this very process. It collects garbage beforehand, so
// that what others left does not fall into the time of one peer.
func inProcess(n workload.Flows, work func() error) (effort, error) {
	runtime.GC()
	cpu, err := ownCPU()
	if err != nil {
		return effort{}, err
	}
	start := time.Now()
	err = work()
	elapsed := time.Since(start)
	if err != nil {
		return effort{}, err
	}
	after, err := ownCPU()
	return effort{flows: n, elapsed: elapsed, cpu: after - cpu}, err
}
