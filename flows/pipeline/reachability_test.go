package pipeline

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// No network can have the key of probes, so that no guest sends or gets one.
func TestProbeKeyIsNoNetworks(t *testing.T) {
	for e := topo.GRE; e <= topo.Geneve; e++ {
		if lowest, highest := e.KeyRange(); lowest <= ProbeKey && ProbeKey <= highest {
			t.Errorf("a network over %s may have key %d", e, ProbeKey)
		}
		tx := world(t).Begin()
		tx.PutNetwork(topo.Network{Tenant: "red", Name: "x", Encap: e, Key: ProbeKey})
		s, _, err := tx.Commit()
		if err != nil {
			t.Fatal(err)
		}
		if n := s.Network("red/x"); n.Key == ProbeKey {
			t.Errorf("a network over %s was given key %d", e, ProbeKey)
		}
	}
}

// A host has one row for each encapsulation and one meter, however many peers it has.
func TestProbeRowsAreFew(t *testing.T) {
	state, err := Compile(world(t), "host1")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for f := range state.Flows() {
		if f.Cookie.Feature() == uint8(FeatReachability) {
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
	if id := uint32(probeMeter); !flows.OurMeter(id) || id < flows.MeterMin+ownMeters {
		t.Errorf("meter %#x may be a port's", id)
	}
}

// A probe says the same after it was sent, over both families.
func TestProbeRoundTrip(t *testing.T) {
	p := Probe{Nonce: Nonce{1, 15: 2}, From: 3, To: topo.MaxID}
	if n := len(p.Frame()); n != ProbeLen {
		t.Errorf("%d bytes", n)
	}
	for field, tep := range map[flows.Field]netip.Addr{flows.TunIPv4Src: addr("192.168.200.20"), flows.TunIPv6Src: addr("fd99::7")} {
		got, from, ok := ReadProbe(match().With(field, flows.IP(tep)), p.Frame())
		if !ok || got != p || from != tep {
			t.Errorf("%v from %s, %v", got, from, ok)
		}
	}
}

// What is no probe is none, whatever it is.
func TestReadProbeRefuses(t *testing.T) {
	good := Probe{From: 1, To: 2}.Frame()
	in := match().With(flows.TunIPv4Src, flows.IP(addr("192.168.200.20")))
	change := func(at int, b byte) []byte {
		f := slices.Clone(good)
		f[at] = b
		return f
	}
	for n := range 38 {
		if _, _, ok := ReadProbe(in, good[:n]); ok {
			t.Errorf("%d bytes are a probe", n)
		}
	}
	for what, f := range map[string][]byte{"type": change(13, 0), "from": change(30, 0xff), "to": change(34, 0xff)} {
		if _, _, ok := ReadProbe(in, f); ok {
			t.Errorf("a probe with another %s", what)
		}
	}
	if _, _, ok := ReadProbe(nil, good); ok {
		t.Error("a probe that came by no tunnel")
	}
	if _, _, ok := ReadProbe(in, good); !ok {
		t.Error("the probe itself is none")
	}
}

// The peers of a host are those with which it shares a network, by encapsulation.
func TestPeersOf(t *testing.T) {
	s := world(t)
	names := func(host string) (out []string) {
		for _, p := range PeersOf(s.Host(host), s.SegmentsOn(host)) {
			out = append(out, p.Host.Name+" "+p.Encap.String())
		}
		return out
	}
	for host, want := range map[string][]string{
		"host1": {"host2 gre", "host2 vxlan", "host3 gre", "host3 geneve"},
		"host2": {"host1 gre", "host1 vxlan", "host3 gre"},
		"host3": {"host1 gre", "host1 geneve", "host2 gre"},
	} {
		if got := names(host); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
	}
}
