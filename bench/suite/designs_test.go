package suite

import (
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
)

// The benchmarks on the designs come to a result at their smallest, of every design that this
// machine can have, and leave nothing behind.
func TestDesignsAtTheirSmallest(t *testing.T) {
	needSwitch(t)
	all := append(ourDesigns(), peerVLAN, peerOVN)
	for _, c := range []struct {
		benchmark harness.Benchmark
		peers     []string
		details   []string
	}{
		{FirstPacket(), append(slices.Clone(all), peerTunnel, peerLimit), []string{nextPacket}},
		{DatapathFlows(), all, []string{datapathMasks}},
		{ARPCopies(), all, []string{announcedFrames, unknownFrames}},
		{ConnectionRate(), append(slices.Clone(all), peerTunnel, peerLimit), []string{cpuPerConnection}},
	} {
		t.Run(c.benchmark.Name, func(t *testing.T) {
			res, err := harness.Measure(t.Context(), c.benchmark, harness.Options{Rounds: 1, Size: harness.Size{Smallest: true}})
			if err != nil {
				t.Fatal(err)
			}
			var peers []string
			for _, p := range res.Peers {
				peers = append(peers, p.Name)
				if p.Missing != "" {
					notTested(t, p)
					continue
				}
				if len(p.Samples) != 1 || p.Samples[0].Value < 0 {
					t.Errorf("%s: samples %+v", p.Name, p.Samples)
				}
				if diff := cmp.Diff(c.details, slices.Sorted(maps.Keys(p.Detail))); diff != "" {
					t.Errorf("%s: details (-want +got):\n%s", p.Name, diff)
				}
			}
			if diff := cmp.Diff(c.peers, peers); diff != "" {
				t.Errorf("peers (-want +got):\n%s", diff)
			}
			nothingLeft(t)
		})
	}
}

// notTested says that a peer is missing; CI=true makes that a failure.
func notTested(t *testing.T, p harness.PeerResult) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Errorf("NOT TESTED: %s is missing: %s; CI=true makes that a failure", p.Name, p.Missing)
		return
	}
	t.Logf("NOT TESTED: %s is missing: %s", p.Name, p.Missing)
}

// After forget, the datapaths have nothing, and the next packet makes them ask: that is what
// the first packet of first-packet is.
func TestForgetEmptiesTheDatapaths(t *testing.T) {
	needSwitch(t)
	ctx := t.Context()
	s, err := startDesigns(ctx, []string{peerTunnel}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	d := s.all[0]
	flows := func() (sum int) {
		t.Helper()
		for _, host := range []string{overlay.Host1, overlay.Host2} {
			n, _, err := d.datapathSize(ctx, host)
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
		return sum
	}
	if err := d.warm(ctx); err != nil {
		t.Fatal(err)
	}
	// Both ways: out of the guest, in from the underlay and out of the tunnel.
	if n := flows(); n < 6 {
		t.Errorf("after an echo the datapaths have %d flows", n)
	}
	// The hosts themselves may send a packet in between.
	left := -1
	for range 10 {
		if err := d.forget(ctx); err != nil {
			t.Fatal(err)
		}
		if left = flows(); left == 0 {
			break
		}
	}
	if left != 0 {
		t.Errorf("%d flows are left each time", left)
	}
	if _, err := d.firstPackets(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if n := flows(); n < 3 {
		t.Errorf("after a first packet the datapaths have %d flows", n)
	}
}
