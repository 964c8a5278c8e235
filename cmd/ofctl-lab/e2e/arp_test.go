package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// floodTopology has, per encapsulation, a network with two members on host1, one
// each on host2 and host3, and none on host4. A network of another tenant is on
// host1 and host4.
func floodTopology() string {
	var b strings.Builder
	b.WriteString(threeHosts + `
  - {name: host4, tep: 192.168.200.23}
tenants:
  - name: amber
    networks:
      - {name: gre, encap: gre, subnets: [10.3.0.0/24]}
  - name: green
    networks:
`)
	for i, encap := range encaps {
		fmt.Fprintf(&b, "      - {name: %s, encap: %s, key: %d, subnets: [10.3.0.0/24]}\n", encap, encap, 70+i)
	}
	b.WriteString(`
ports:
  - {name: amber-1, network: amber/gre, host: host1, addresses: [10.3.0.1]}
  - {name: amber-4, network: amber/gre, host: host4, addresses: [10.3.0.4]}
`)
	for _, encap := range encaps {
		for i, host := range []string{"host1", "host1", "host2", "host3"} {
			fmt.Fprintf(&b, "  - {name: %s-%d, network: green/%s, host: %s, addresses: [10.3.0.%d]}\n", encap, i+1, encap, host, i+1)
		}
	}
	return b.String()
}

var encaps = []string{"gre", "vxlan", "geneve"}

// nobody is an address in every network that no port has.
var nobody = netip.MustParseAddr("10.3.0.99")

// flooded are the members of one network, and what tells that all has arrived
// on the links of hosts that are not among them.
type flooded struct {
	l        *testLab
	members  []*guest
	outsider [2]*guest // of another network, on host1 and host4
}

func (l *testLab) flooded(t *testing.T, encap string) *flooded {
	t.Helper()
	f := &flooded{l: l, outsider: [2]*guest{l.guest(t, "amber-1"), l.guest(t, "amber-4")}}
	for i := range 4 {
		f.members = append(f.members, l.guest(t, fmt.Sprintf("%s-%d", encap, i+1)))
	}
	return f
}

// others are the members but one.
func (f *flooded) others(from *guest) []*guest {
	var out []*guest
	for _, m := range f.members {
		if m != from {
			out = append(out, m)
		}
	}
	return out
}

// copies counts the frames with the marker that each member, the sender too, and
// the outsiders have got, once all have arrived.
func (f *flooded) copies(t *testing.T, from *guest, marker string) map[string]int {
	t.Helper()
	n := map[string]int{}
	count := func(at *guest, frames []netdev.Frame) { n[at.port] += len(marked(frames, marker)) }
	for _, m := range f.others(from) {
		count(m, from.flush(t, m))
		count(from, m.flush(t, from))
	}
	count(f.outsider[1], f.outsider[0].flush(t, f.outsider[1]))
	count(f.outsider[0], f.outsider[1].flush(t, f.outsider[0]))
	return n
}

// wires captures the links of all hosts.
func (f *flooded) wires(t *testing.T) map[string]*netdev.PacketConn {
	t.Helper()
	out := map[string]*netdev.PacketConn{}
	for _, h := range f.l.hosts {
		out[h] = f.l.underlay(t, h)
	}
	return out
}

// receivedFrom counts the frames with the marker that a host has got from the
// underlay, given a guest whose sentinels have crossed its link since.
func receivedFrom(t *testing.T, wire *netdev.PacketConn, g *guest, marker string) int {
	t.Helper()
	n := 0
	for _, d := range carried(t, wire, g) {
		if d.dir == netdev.Sent && bytes.Contains(d.inner, []byte(marker)) {
			n++
		}
	}
	return n
}

// TestFlood: what is for everybody, or for an address nobody is known to have,
// reaches each member of the network on three hosts exactly once, and no host
// without a member.
func TestFlood(t *testing.T) {
	t.Parallel()
	l := up(t, "f", floodTopology())
	for _, encap := range encaps {
		t.Run(encap, func(t *testing.T) {
			f := l.flooded(t, encap)
			for _, from := range f.members {
				me := from.station()
				for name, frame := range map[string]func(marker string) []byte{
					"unknown ARP": func(marker string) []byte {
						return arp(t, layers.ARPRequest, broadcast, me, station{addr: nobody}, marker)
					},
					"broadcast": func(marker string) []byte {
						return udp(t, me, station{broadcast, netip.MustParseAddr("255.255.255.255")}, marker)
					},
					"multicast": func(marker string) []byte {
						return udp(t, me, station{net.HardwareAddr{1, 0, 0x5e, 1, 2, 3}, netip.MustParseAddr("239.1.2.3")}, marker)
					},
				} {
					f.exactlyOnce(t, from, name, frame)
				}
			}
			t.Run("control: the group twice", func(t *testing.T) {
				n, err := l.api.Network(t.Context(), "green/"+encap)
				if err != nil {
					t.Fatal(err)
				}
				group := 0x40000000 | n.ID
				l.addForeign(t, "host1", fmt.Sprintf("table=70,priority=150,reg0=%d,actions=group:%d,group:%d", n.ID, group, group))
				marker := t.Name() + ";"
				f.members[0].send(t, experiment(f.members[0].mac, broadcast, 0, []byte(marker)))
				for port, got := range f.copies(t, f.members[0], marker) {
					if want := 2 * f.expected(f.members[0], port); got != want {
						t.Errorf("%s got %d copies, want %d: the test does not count what it means to", port, got, want)
					}
				}
			})
		})
	}
}

// expected is how many copies of a frame to everybody a port shall get.
func (f *flooded) expected(from *guest, port string) int {
	for _, m := range f.others(from) {
		if m.port == port {
			return 1
		}
	}
	return 0
}

func (f *flooded) exactlyOnce(t *testing.T, from *guest, name string, frame func(string) []byte) {
	t.Helper()
	marker := fmt.Sprintf("%s %s from %s;", t.Name(), name, from.port)
	wires := f.wires(t)
	from.send(t, frame(marker))
	for port, got := range f.copies(t, from, marker) {
		if want := f.expected(from, port); got != want {
			t.Errorf("%s from %s: %d copies at %s, want %d", name, from.port, got, port, want)
		}
	}
	// Sentinels between a member here and one there have crossed each link by now;
	// here is the last one that crossed the link of each host.
	for host, wire := range wires {
		want := 1
		witness := from
		switch {
		case host == "host4":
			want, witness = 0, f.outsider[1]
		case host == from.host:
			want = 0
		}
		if host != "host4" {
			witness = f.across(t, from, host)
		}
		if got := receivedFrom(t, wire, witness, marker); got != want {
			t.Errorf("%s from %s: the underlay brought %s %d copies, want %d", name, from.port, host, got, want)
		}
	}
}

// across sends sentinels over the link of a host, and returns who sent them.
func (f *flooded) across(t *testing.T, from *guest, host string) *guest {
	t.Helper()
	for _, m := range f.others(from) {
		if m.host == host && m.host != from.host {
			from.flush(t, m)
			return from
		}
	}
	for _, m := range f.others(from) {
		if m.host != host {
			m.flush(t, from)
			return m
		}
	}
	t.Fatalf("no sentinels cross the link of %s", host)
	return nil
}

// TestKnownARP: a request for an address that a port has is answered by the
// sender's own switch: nobody else sees it, and the underlay carries no ARP.
func TestKnownARP(t *testing.T) {
	t.Parallel()
	l := up(t, "k", floodTopology())
	for _, encap := range encaps {
		t.Run(encap, func(t *testing.T) {
			f := l.flooded(t, encap)
			for _, from := range f.members {
				for _, owner := range f.others(from) {
					f.answered(t, from, owner)
				}
			}
			t.Run("guest's own ARP", func(t *testing.T) {
				wire := l.underlay(t, "host1")
				l.exec(t, "host1/"+encap+"-1", "ip", "neigh", "flush", "dev", "eth0")
				l.mustPing(t, encap+"-1", "10.3.0.3")
				f.members[0].flush(t, f.members[2])
				if n := arpCarried(t, wire, f.members[0]); n != 0 {
					t.Errorf("the underlay carried %d ARP packets", n)
				}
			})
			t.Run("control: not answered in the switch", func(t *testing.T) {
				n, err := l.api.Network(t.Context(), "green/"+encap)
				if err != nil {
					t.Fatal(err)
				}
				l.addForeign(t, "host1", fmt.Sprintf("table=30,priority=150,arp,reg0=%d,actions=goto_table:60", n.ID))
				wire := l.underlay(t, "host1")
				l.exec(t, "host1/"+encap+"-1", "ip", "neigh", "flush", "dev", "eth0")
				l.mustPing(t, encap+"-1", "10.3.0.3")
				f.members[0].flush(t, f.members[2])
				if n := arpCarried(t, wire, f.members[0]); n == 0 {
					t.Error("with ARP left to the guests the underlay carried none: this test proves nothing")
				}
			})
		})
	}
}

// arpCarried counts the ARP packets that crossed a link in tunnels.
func arpCarried(t *testing.T, wire *netdev.PacketConn, g *guest) int {
	t.Helper()
	n := 0
	for _, d := range carried(t, wire, g) {
		if arpOf(netdev.Frame{Data: d.inner}) != nil {
			n++
		}
	}
	return n
}

// answered asks for owner's address as from, and holds that one answer comes,
// that it is right, and that no other guest has seen the question.
func (f *flooded) answered(t *testing.T, from, owner *guest) {
	t.Helper()
	marker := fmt.Sprintf("%s %s asks for %s;", t.Name(), from.port, owner.port)
	wires := f.wires(t)
	from.send(t, arp(t, layers.ARPRequest, broadcast, from.station(), station{addr: owner.addr}, marker))
	var answers []*layers.ARP
	for _, m := range f.others(from) {
		if seen := marked(from.flush(t, m), marker); len(seen) != 0 {
			t.Errorf("%s: seen at %s", marker, m.port)
		}
		for _, a := range m.flush(t, from) {
			if p := arpOf(a); p != nil {
				answers = append(answers, p)
			}
		}
	}
	if len(answers) != 1 {
		t.Fatalf("%s: %d answers, want 1", marker, len(answers))
	}
	a := answers[0]
	if a.Operation != layers.ARPReply || !bytes.Equal(a.SourceHwAddress, owner.mac) || !bytes.Equal(a.SourceProtAddress, owner.addr.AsSlice()) ||
		!bytes.Equal(a.DstHwAddress, from.mac) || !bytes.Equal(a.DstProtAddress, from.addr.AsSlice()) {
		t.Errorf("%s: the answer is %+v, want that %v is at %v", marker, a, owner.addr, owner.mac)
	}
	for host, wire := range wires {
		if host == "host4" {
			continue // nothing crossed it, so nothing ends the capture; see TestFlood
		}
		if n := arpCarried(t, wire, f.across(t, from, host)); n != 0 {
			t.Errorf("%s: the underlay at %s carried %d ARP packets", marker, host, n)
		}
	}
}
