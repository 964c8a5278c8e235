package trace

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// overlay is a random overlay on three hosts, of which the first has the ports of the
// test switch.
func (g gen) overlay(t testing.TB) *topo.Snapshot {
	t.Helper()
	tx := topo.Empty().Begin()
	for i := range 3 {
		name := fmt.Sprintf("host%d", i)
		tep := netip.AddrFrom4([4]byte{192, 168, 200, byte(20 + i)})
		tx.PutHost(topo.Host{Name: name, TEP: tep, Declared: true})
		tx.ObserveHost(name, tep, [4]uint32{topo.GRE: 101, topo.VXLAN: 102, topo.Geneve: 103})
	}
	tx.PutTenant(topo.Tenant{Name: "red"})
	var names []string
	subnets := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/64"), netip.MustParsePrefix("fd01::/64")}
	for i, key := range []uint32{1000001, 7, 9} {
		name := fmt.Sprintf("n%d", i)
		names = append(names, "red/"+name)
		tx.PutNetwork(topo.Network{Tenant: "red", Name: name, Encap: pick(g, topo.GRE, topo.VXLAN, topo.Geneve), Key: key, Subnets: subnets})
	}
	pool := []string{"10.1.1.1", "10.1.1.2", "10.1.2.1", "fd00::1", "fd00::2", "fd01::1", "fd01::2"}
	g.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
	addresses := func() (as []netip.Addr) {
		for range min(len(pool), pick(g, 0, 0, 1, 2)) {
			as = append(as, netip.MustParseAddr(pool[0]))
			pool = pool[1:]
		}
		return as
	}
	for i := range 8 {
		p := topo.Port{Name: fmt.Sprintf("p%d", i), MAC: topo.MAC{2, 0, 0, 0, 0, byte(1 + i)}}
		if g.oneIn(3) {
			p.Trunk = &topo.Trunk{VLANs: []topo.SubPort{{VLAN: 10, Network: names[0], Addresses: addresses()}, {VLAN: 20, Network: names[1]}}}
			if g.oneIn(2) {
				p.Trunk.Native = &topo.SubPort{Network: names[2]}
			}
			if g.oneIn(2) {
				p.Profile = topo.ProfileSwitch
			}
		} else {
			p.Network, p.Addresses = names[g.IntN(3)], addresses()
		}
		tx.PutPort(p)
		host, ofport := "host0", uint32(i+1)
		if i >= 4 {
			host = fmt.Sprintf("host%d", 1+i%2)
		}
		tx.Bind(p.Name, topo.Binding{Host: host, OFPort: ofport, Interface: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, i))})
	}
	s, _, err := tx.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// member is a packet that a port of the overlay may have sent: with its address, to
// that of another.
func (g gen) member() *Packet {
	p := g.packet()
	if g.oneIn(5) {
		return p
	}
	copy(p.frame, []byte{2, 0, 0, 0, 0, byte(1 + g.IntN(8))})
	if g.oneIn(3) {
		copy(p.frame, g.mac())
	}
	copy(p.frame[6:], []byte{2, 0, 0, 0, 0, byte(p.InPort())})
	p.reload(p.frame)
	return p
}

// TestThePipelineAgainstOpenVSwitch compares what the flows of random overlays make
// of random packets.
func TestThePipelineAgainstOpenVSwitch(t *testing.T) {
	v := startVswitch(t)
	first := firstSeed()
	const perState = 400
	sent := 0
	for n := uint64(0); n*perState < uint64(*traces)/4; n++ {
		g := newGen(first + n)
		state, err := pipeline.Compile(g.overlay(t), "host0")
		if err != nil {
			t.Fatal(err)
		}
		c := &testCase{flows: slices.Collect(state.Flows()), groups: slices.Collect(state.Groups())}
		for range perState {
			c.packets = append(c.packets, g.member())
		}
		sent += v.compare(c, first+n)
	}
	if sent == 0 {
		t.Error("no packet was forwarded: the comparison is of nothing")
	}
	t.Logf("from seed %d on: %d packets were forwarded", first, sent)
}

// TestNetworksAreApart: what a port of one network sends no port of another gets, in
// random overlays, over all hosts.
func TestNetworksAreApart(t *testing.T) {
	for seed := range uint64(40) {
		g := newGen(seed)
		snap := g.overlay(t)
		var hosts []Host
		for i := range 3 {
			name := fmt.Sprintf("host%d", i)
			state, err := pipeline.Compile(snap, name)
			if err != nil {
				t.Fatal(err)
			}
			ports := slices.Clone(testPorts)
			for n := uint32(5); n <= 8; n++ {
				ports = append(ports, Port{Number: n})
			}
			s, err := New(Config{Name: name, State: state, Ports: ports})
			if err != nil {
				t.Fatal(err)
			}
			hosts = append(hosts, Host{name, s, []netip.Addr{netip.AddrFrom4([4]byte{192, 168, 200, byte(20 + i)})}})
		}
		n, err := NewNetwork(hosts...)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			p := g.member()
			if p.InPort() > 4 {
				continue
			}
			hop, err := n.Trace("host0", p, Options{})
			if err != nil {
				t.Fatal(err)
			}
			checkKeys(t, hop, nil)
		}
	}
}

// checkKeys holds that every tunnel on a packet's way has the same key, and that none
// follows another.
func checkKeys(t *testing.T, h *Hop, above *Via) {
	t.Helper()
	for _, next := range h.Next {
		via := h.Result.Branches[next.Branch].Outputs[next.Output].Tunnel
		if above != nil {
			t.Errorf("from a tunnel into a tunnel: %+v, then %+v", *above, *via)
		}
		if next.Lost != "" {
			t.Errorf("lost: %s", next.Lost)
			continue
		}
		checkKeys(t, next.Hop, via)
	}
	if h.Result.Verdict == Unknown {
		t.Errorf("unknown: %+v", h.Result.Branches)
	}
}
