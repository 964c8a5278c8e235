package suite

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/bench/peers/ovn"
)

// Both benchmarks of throughput measure every design that this machine can have, and those that it
// cannot are there too, as missing.
func TestThroughputAtItsSmallest(t *testing.T) {
	needSwitch(t)
	for _, c := range []struct {
		benchmark harness.Benchmark
		details   []string
	}{
		{ThroughputTCP(), []string{pingMedian, pingsLost, sentAgain, cpuPerGB}},
		{ThroughputUDP(), []string{loadPerPacket, lostPackets, sentPackets, cpuPerPacket}},
	} {
		t.Run(c.benchmark.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			res, err := harness.Measure(ctx, c.benchmark, harness.Options{Rounds: 1, Size: harness.Size{Smallest: true}})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, p := range res.Peers {
				names = append(names, p.Name)
				if p.Missing != "" {
					if !isOVN(p.Name) || ovn.Missing() == "" {
						t.Errorf("%s is missing: %s", p.Name, p.Missing)
					}
					continue
				}
				if len(p.Samples) != 1 || p.Samples[0].Value <= 0 {
					t.Errorf("%s: samples %+v", p.Name, p.Samples)
				}
				for _, d := range c.details {
					if v, ok := p.Samples[0].Detail[d]; !ok || v < 0 {
						t.Errorf("%s: %s is %v, measured: %v", p.Name, d, v, ok)
					}
				}
			}
			if diff := cmp.Diff(throughputDesigns(), names); diff != "" {
				t.Errorf("peers (-want +got):\n%s", diff)
			}
			nothingLeft(t)
		})
	}
}

// Every comparison is of designs that are measured, and of details that they have.
func TestThroughputComparesWhatItMeasures(t *testing.T) {
	for _, c := range throughputComparisons("some_detail") {
		for _, peer := range []string{c.Peer, c.Against} {
			if !slices.Contains(throughputDesigns(), peer) {
				t.Errorf("%+v: no design is called %q", c, peer)
			}
		}
		if c.Detail != "" && c.Better != harness.Lower {
			t.Errorf("%+v: less of it is better", c)
		}
	}
}

// On the kernel datapath every design is measured twice, and what is compared is measured. On the userspace datapath,
// where offloads cannot be on, it is once.
func TestOffloadsComparesWhatItMeasures(t *testing.T) {
	var s designs
	for _, name := range throughputDesigns() {
		d, err := newDesign(name, 1)
		if err != nil {
			t.Fatal(err)
		}
		s.all = append(s.all, d)
	}
	for datapath, want := range map[string]int{kernelDatapath: 2 * len(s.all), "netdev": len(s.all)} {
		s.datapath = datapath
		b := s.benchOffloads(costsOfTCP(), nil)
		if len(b.Peers) != want || (len(b.Comparisons) > 0) != (datapath == kernelDatapath) {
			t.Errorf("%s: %d peers, want %d; %d comparisons", datapath, len(b.Peers), want, len(b.Comparisons))
		}
		for _, c := range b.Comparisons {
			for _, name := range []string{c.Peer, c.Against} {
				if !slices.ContainsFunc(b.Peers, func(p harness.Peer) bool { return p.Name == name }) {
					t.Errorf("%+v: no peer is called %q", c, name)
				}
			}
		}
	}
}

func TestEveryDesignHasALayout(t *testing.T) {
	for _, name := range throughputDesigns() {
		l, err := layoutOf(name)
		if err != nil || l.role == "" || l.far == "" || l.mtu < 1400 || l.mtu > 1500 {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	if _, err := layoutOf("carrier pigeon"); err == nil {
		t.Error("a design that is not there has a layout")
	}
}

func TestThroughputRefusesSizes(t *testing.T) {
	for _, scale := range []int{-1, maxThroughputWindow + 1} {
		if _, err := throughputSpanOf(harness.Size{Scale: scale}); err == nil {
			t.Errorf("%d ms are accepted", scale)
		}
	}
	usual, err := throughputSpanOf(harness.Size{})
	if err != nil || usual.window != throughputWindow*time.Millisecond {
		t.Errorf("usual: %+v, %v", usual, err)
	}
	smallest, err := throughputSpanOf(harness.Size{Smallest: true})
	if err != nil || smallest.window >= usual.window {
		t.Errorf("smallest: %+v, %v", smallest, err)
	}
}

// What the datapath does with a packet of ours is what it does for one static flow: as many
// passes, the same actions and no other, however long the pipeline is. This holds on a noisy machine,
// where times do not.
func TestPipelineIsOneFlowInTheDatapath(t *testing.T) {
	needSwitch(t)
	s, err := startDesigns(t.Context(), []string{peerGRE, peerTunnel, peerOneHost, peerLimit}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		nothingLeft(t)
	})
	for _, d := range s.all {
		if err := d.fixNeighbours(t.Context()); err != nil {
			t.Fatal(err)
		}
		// First the way is found, then it is empty, then it carries the echoes alone.
		for _, step := range []func(context.Context) error{d.warm, d.forget, d.warm} {
			if err := step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for ours, limit := range map[*design]*design{s.all[0]: s.all[1], s.all[2]: s.all[3]} {
		for _, host := range []string{overlay.Host1, ours.far} {
			want, got := ipv4Actions(t, limit, host), ipv4Actions(t, ours, host)
			if len(want) == 0 {
				t.Fatalf("%s, %s: no flows in the datapath", limit.name, host)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s: actions (-%s +%s):\n%s", ours.name, host, limit.name, ours.name, diff)
			}
		}
	}
}

var (
	actionPart = regexp.MustCompile(`eth_type\(0x0800\).*actions:(.*)$`)
	anyNumber  = regexp.MustCompile(`[0-9a-f]{2}(:[0-9a-f]{2}){5}|0x[0-9a-f]+|\d+`)
)

// ipv4Actions are the distinct actions of a host's datapath flows for IPv4, with # for every
// number, in order.
func ipv4Actions(t *testing.T, d *design, host string) []string {
	t.Helper()
	datapath, err := d.datapath(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.lab.Run(t.Context(), host, "ovs-appctl", "dpctl/dump-flows", datapath+"@ovs-"+datapath)
	if err != nil {
		t.Fatal(err)
	}
	var actions []string
	for line := range strings.Lines(out) {
		m := actionPart.FindStringSubmatch(strings.TrimSpace(line))
		if m != nil {
			actions = append(actions, anyNumber.ReplaceAllString(m[1], "#"))
		}
	}
	slices.Sort(actions)
	return slices.Compact(actions)
}
