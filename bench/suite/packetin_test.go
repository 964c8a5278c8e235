package suite

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/peers"
	fleet "github.com/ofctl-lab/ofctl-lab/bench/switch"
)

// Both benchmarks come to a sample of every peer at their smallest size.
func TestPacketInsAtTheirSmallest(t *testing.T) {
	needSwitch(t)
	for _, b := range []harness.Benchmark{PacketInLatency(), PacketInRate()} {
		t.Run(b.Name, func(t *testing.T) {
			r, err := harness.Measure(t.Context(), b, harness.Options{Rounds: 1, Size: harness.Size{Smallest: true}})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range r.Peers {
				if p.Missing != "" {
					needPeer(t, p.Missing)
					continue
				}
				if len(p.Samples) != 1 || p.Samples[0].Value <= 0 || p.Samples[0].Detail[cpuPerPacketIn] <= 0 {
					t.Errorf("%s: samples %+v", p.Name, p.Samples)
				}
			}
		})
	}
}

// needPeer fails a test in CI that lacks a peer.
func needPeer(t *testing.T, missing string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Errorf("NOT TESTED, CI=true makes that a failure: %s", missing)
		return
	}
	t.Logf("NOT TESTED: %s", missing)
}

// The learning controllers do learn, and the null responder does not: otherwise they would not be
// doing the same work, or the limit would be none.
func TestControllersLearn(t *testing.T) {
	needSwitch(t)
	p := &packetIns{
		dir: t.TempDir(), window: 20 * time.Millisecond,
		load: fleet.Options{Switches: 2, InFlight: 3, Hosts: 8, LossTimeout: lossTimeout},
	}
	all, err := p.controllers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			if c.missing != "" {
				needPeer(t, c.missing)
				return
			}
			r := load(t.Context(), t, p, c.spec)
			if c.name == peerNull {
				if r.Directed != 0 || r.Spread == 0 {
					t.Errorf("%+v, want it to flood", r.Counters)
				}
			} else if r.Directed == 0 || r.Spread != 0 || r.Wrong+r.Unsolicited+r.Lost != 0 {
				t.Errorf("%+v, want answers to one port and nothing else", r.Counters)
			}
		})
	}
}

// load is what a controller does with the load once it has heard all hosts.
func load(ctx context.Context, t *testing.T, p *packetIns, s peers.Spec) *fleet.Report {
	t.Helper()
	c, err := peers.Start(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	f, err := p.connect(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := &fleet.Report{}
	for r.Answers == 0 {
		if r, err = f.Window(ctx, p.window); err != nil {
			t.Fatal(err)
		}
	}
	return r
}
