package verify

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// shape is the size of a random overlay.
type shape struct{ hosts, networks, ports int }

var encaps = map[topo.Encap]string{topo.GRE: "gre", topo.VXLAN: "vxlan", topo.Geneve: "geneve"}

func tep(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{192, 168, byte(200 + i/250), byte(1 + i%250)})
}

// random is a random overlay: access ports and trunks, with and without addresses,
// also of IPv6, spread over hosts.
func random(t testing.TB, s shape, seed uint64) *topo.Snapshot {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	tx := topo.Empty().Begin()
	for i := range s.hosts {
		name := fmt.Sprintf("host%d", i)
		tx.PutHost(topo.Host{Name: name, TEP: tep(i), Declared: true})
		tx.ObserveHost(name, tep(i), [4]uint32{topo.GRE: 10001, topo.VXLAN: 10002, topo.Geneve: 10003})
	}
	for i := range s.networks {
		tenant := fmt.Sprintf("t%d", i%3)
		tx.PutTenant(topo.Tenant{Name: tenant})
		tx.PutNetwork(topo.Network{Tenant: tenant, Name: fmt.Sprintf("n%d", i), Encap: topo.Encap(1 + r.IntN(3)), Key: uint32(100 + i),
			Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/64")}})
	}
	network := func(i int) string { return fmt.Sprintf("t%d/n%d", i%s.networks%3, i%s.networks) }
	numbers := map[int]uint32{}
	for i := range s.ports {
		n := r.IntN(s.networks)
		v4 := netip.AddrFrom4([4]byte{10, 1, byte(1 + i>>7), byte(1 + i&127)})
		p := topo.Port{Name: fmt.Sprintf("p%d", i), MAC: topo.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}}
		switch k := r.IntN(10); {
		case k < 5:
			p.Network, p.Addresses = network(n), []netip.Addr{v4}
		case k < 6:
			p.Network, p.Addresses = network(n), []netip.Addr{v4, netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(1 + i>>8), 15: byte(i)})}
		case k < 7:
			p.Network = network(n)
		default:
			p.Trunk = &topo.Trunk{VLANs: []topo.SubPort{{VLAN: 10, Network: network(n), Addresses: []netip.Addr{v4}}}}
			if s.networks > 2 {
				p.Trunk.VLANs = append(p.Trunk.VLANs, topo.SubPort{VLAN: 20, Network: network(n + 1)})
				p.Trunk.Native = &topo.SubPort{Network: network(n + 2)}
			}
			if r.IntN(2) == 0 {
				p.Profile = topo.ProfileSwitch
			}
		}
		tx.PutPort(p)
		h := r.IntN(s.hosts)
		numbers[h]++
		tx.Bind(p.Name, topo.Binding{Host: fmt.Sprintf("host%d", h), OFPort: numbers[h], Interface: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, i))})
	}
	wires(tx, r, s.hosts, numbers)
	snap, _, err := tx.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// wires adds wires, some on one host and some across two.
func wires(tx *topo.Txn, r *rand.Rand, hosts int, numbers map[int]uint32) {
	tx.PutTenant(topo.Tenant{Name: "w"})
	for i := range r.IntN(4) {
		name := fmt.Sprintf("wire%d", i)
		tx.PutNetwork(topo.Network{Tenant: "w", Name: name, Type: topo.TypeWire, Encap: topo.Encap(1 + r.IntN(3)), Key: uint32(5000 + i)})
		for end := range 2 {
			h := r.IntN(hosts)
			numbers[h]++
			p := topo.Port{Name: fmt.Sprintf("%s-%d", name, end), Network: "w/" + name, Profile: topo.ProfileSwitch}
			tx.PutPort(p)
			tx.Bind(p.Name, topo.Binding{Host: fmt.Sprintf("host%d", h), OFPort: numbers[h], Interface: uuid.NewSHA1(uuid.NameSpaceOID, []byte(p.Name))})
		}
	}
}

// overlay is what a snapshot declares, with the flows compiled for it.
func overlay(t testing.TB, s *topo.Snapshot) Overlay {
	t.Helper()
	o := Overlay{Check: pipeline.Check, CheckGroup: pipeline.CheckGroup, Workers: 2}
	for _, n := range s.Networks() {
		o.Networks = append(o.Networks, Network{n.FullName(), encaps[n.Encap], uint64(n.Key)})
	}
	for _, h := range s.Hosts() {
		state, err := pipeline.Compile(s, h.Name)
		if err != nil {
			t.Fatal(err)
		}
		host := Host{Name: h.Name, TEPs: []netip.Addr{h.TEP}, State: state}
		for e, name := range encaps {
			host.Tunnels = append(host.Tunnels, Tunnel{h.Tunnel(e), name, name})
		}
		ports := map[uint32]*Port{}
		for _, seg := range s.SegmentsOn(h.Name) {
			for _, m := range seg.Members {
				if m.Host.Name != h.Name {
					continue
				}
				if ports[m.OFPort] == nil {
					ports[m.OFPort] = &Port{Number: m.OFPort, Name: m.Port.Name}
				}
				p := ports[m.OFPort]
				member := Member{Network: seg.Network.FullName(), Wire: seg.Network.IsWire()}
				if m.Sub != nil {
					member.VLAN = m.Sub.VLAN
				}
				p.Members = append(p.Members, member)
			}
		}
		for _, p := range ports {
			host.Ports = append(host.Ports, *p)
		}
		slices.SortFunc(host.Ports, func(a, b Port) int { return int(a.Number) - int(b.Number) })
		host.Ports = append(host.Ports, Port{Number: 9999, Name: "nobody's"})
		o.Hosts = append(o.Hosts, host)
	}
	return o
}

func verified(t testing.TB, o Overlay) *Report {
	t.Helper()
	r, err := Verify(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func show(r *Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d flows, %d ingresses, %d classes, %d refuted\n", r.Flows, r.Ingresses, r.Classes, r.Refuted)
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "%s: host %s, from %s: %s\n  %s\n  %s\n", v.Kind, v.Host, v.From, v.What, v.Flow, v.Packet)
	}
	for _, d := range r.Doubts {
		fmt.Fprintf(&b, "host %s: %s\n", d.Host, d.Why)
	}
	return b.String()
}

// TestWhatIsCompiledIsProved: LAW: what is compiled for any overlay is proved.
func TestWhatIsCompiledIsProved(t *testing.T) {
	wires, classes, refuted := 0, 0, 0
	for seed := range uint64(60) {
		s := shape{1 + int(seed%4), 1 + int(seed%6), int(seed % 23)}
		o := overlay(t, random(t, s, seed))
		for _, h := range o.Hosts {
			for _, p := range h.Ports {
				if len(p.Members) > 0 && p.Members[0].Wire {
					wires++
				}
			}
		}
		r := verified(t, o)
		if !r.Proved() {
			t.Fatalf("seed %d: %s", seed, show(r))
		}
		classes += r.Classes
		refuted += r.Refuted
	}
	t.Logf("%d ends of wires; %d classes, %d suspicions refuted", wires, classes, refuted)
	if wires == 0 || classes == 0 {
		t.Error("nothing was proved of anything")
	}
}

// BenchmarkVerify is of random overlays whose hosts have about 1,000 flows each.
func BenchmarkVerify(b *testing.B) {
	for _, s := range []shape{{2, 6, 90}, {20, 80, 440}, {100, 400, 2000}} {
		o := overlay(b, random(b, s, 1))
		o.Workers = runtime.GOMAXPROCS(0)
		b.Run(fmt.Sprintf("hosts=%d", s.hosts), func(b *testing.B) {
			b.ReportAllocs()
			var r *Report
			for b.Loop() {
				if r = verified(b, o); !r.Proved() {
					b.Fatal(show(r))
				}
			}
			b.ReportMetric(float64(r.Flows)/float64(r.Hosts), "flows/host")
			b.ReportMetric(float64(r.Classes), "classes")
		})
	}
}
