package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// The two tenants of each encapsulation use the same IP and MAC addresses. So do
// all encapsulations, and their keys are the same where they can be. Nobody but
// the tunnel key, and the port a frame enters by, tells any of them apart.
const twinAddresses = `10.1.1.%d], mac: "02:00:00:00:00:0%d"`

type twins struct {
	encap     string
	red, blue uint32 // keys
}

var allTwins = []twins{
	{"gre", 1000001, 1<<32 - 1}, // beyond the 24 bits of the others
	{"vxlan", 1000001, 1<<24 - 1},
	{"geneve", 1000001, 1},
}

// port is the name of a tenant's port.
func (w twins) port(tenant, which string) string { return w.encap + "-" + tenant + "-" + which }

func (w twins) key(tenant string) uint32 {
	if tenant == "red" {
		return w.red
	}
	return w.blue
}

// twinTopology has, per encapsulation and tenant, ports a on host1, b and c on host2.
func twinTopology() string {
	var b strings.Builder
	b.WriteString(twoHosts + `
tenants:
`)
	for _, tenant := range []string{"red", "blue"} {
		fmt.Fprintf(&b, "  - name: %s\n    networks:\n", tenant)
		for _, w := range allTwins {
			fmt.Fprintf(&b, "      - {name: %s, encap: %s, key: %d, subnets: [10.1.1.0/24]}\n", w.encap, w.encap, w.key(tenant))
		}
	}
	b.WriteString("ports:\n")
	for _, w := range allTwins {
		for _, tenant := range []string{"red", "blue"} {
			for i, which := range []string{"a", "b", "c"} {
				host := "host2"
				if which == "a" {
					host = "host1"
				}
				fmt.Fprintf(&b, "  - {name: %s, network: %s/%s, host: %s, addresses: ["+twinAddresses+"}\n",
					w.port(tenant, which), tenant, w.encap, host, i+1, i+1)
			}
		}
	}
	return b.String()
}

// tenantPorts are a tenant's guests.
type tenantPorts struct{ a, b, c *guest }

func (l *testLab) tenant(t *testing.T, w twins, name string) tenantPorts {
	t.Helper()
	return tenantPorts{l.guest(t, w.port(name, "a")), l.guest(t, w.port(name, "b")), l.guest(t, w.port(name, "c"))}
}

// TestTenants: two tenants with the same IP and MAC addresses on two hosts reach
// their own and never the other, under their network's key on the wire.
func TestTenants(t *testing.T) {
	t.Parallel()
	l := up(t, "t", twinTopology())
	for _, w := range allTwins {
		t.Run(w.encap, func(t *testing.T) {
			for _, tenant := range []string{"red", "blue"} {
				for _, addr := range []string{"10.1.1.2", "10.1.1.3"} {
					l.mustPing(t, w.port(tenant, "a"), addr)
				}
				l.mustPing(t, w.port(tenant, "b"), "10.1.1.1")
			}
			t.Run("isolated", func(t *testing.T) {
				isolated(t, l, w, "red", "blue")
				isolated(t, l, w, "blue", "red")
			})
			t.Run("far end down", func(t *testing.T) { farEndDown(t, l, w) })
		})
	}
}

// reaching are frames by which a station may try to reach another one.
func reaching(t *testing.T, from, to station, marker string) [][]byte {
	t.Helper()
	return [][]byte{
		udp(t, from, to, marker),
		udp(t, from, station{broadcast, to.addr}, marker),
		arp(t, layers.ARPReply, to.mac, from, to, marker),
		arp(t, layers.ARPReply, broadcast, from, to, marker),
		experiment(from.mac, to.mac, 0, []byte(marker)),
		experiment(from.mac, broadcast, 0, []byte(marker)),
	}
}

// isolated holds that what from sends arrives at from's own ports and at none of
// the other tenant's, and that the underlay carries it under from's key. With
// from's frames put into the other's network by a foreign flow, it must arrive.
func isolated(t *testing.T, l *testLab, w twins, from, other string) {
	t.Helper()
	own, foreign := l.tenant(t, w, from), l.tenant(t, w, other)
	wire := l.underlay(t, "host1")
	marker := t.Name() + " from " + from + ";"
	frames := reaching(t, own.a.station(), own.b.station(), marker)
	own.a.send(t, frames...)

	if got := marked(own.a.flush(t, own.b), marker); len(got) != len(frames) {
		t.Errorf("%d of the %d frames arrived at %s", len(got), len(frames), own.b.port)
	}
	// Three of them are for everybody: one copy for each host, none more. The
	// guest's stack on the other side answers some.
	sent := 0
	for _, d := range carried(t, wire, own.a) {
		src, dst := tep(1), tep(2)
		if d.dir == netdev.Received {
			sent++
		} else {
			src, dst = dst, src
		}
		if d.encap != w.encap || d.key != w.key(from) || d.src != src || d.dst != dst {
			t.Errorf("the underlay carried %v; want %s key %d, %v → %v", d, w.encap, w.key(from), src, dst)
		}
	}
	if sent != len(frames) {
		t.Errorf("the underlay carried %d frames, want %d", sent, len(frames))
	}
	if got := arrivedAt(t, foreign, marker); got != "" {
		t.Errorf("frames of %s arrived at %s: %s", from, other, got)
	}

	t.Run("control: "+from+" put into the network of "+other, func(t *testing.T) {
		n, err := l.api.Network(t.Context(), other+"/"+w.encap)
		if err != nil {
			t.Fatal(err)
		}
		port := l.portStatus(t, own.a.port).OFPort
		l.addForeign(t, "host1", fmt.Sprintf("table=0,priority=250,in_port=%d,actions=load:%d->NXM_NX_REG0[],goto_table:60", port, n.ID))
		own.a.send(t, frames...)
		if got := arrivedAt(t, foreign, marker); got == "" {
			t.Errorf("without isolation nothing of %s arrived at %s: this test proves nothing", from, other)
		}
	})
}

func tep(host int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 200, byte(19 + host)}) }

// arrivedAt says at which of the tenant's ports frames with the marker arrived,
// as known when sentinels in both directions have.
func arrivedAt(t *testing.T, p tenantPorts, marker string) string {
	t.Helper()
	var out []string
	for _, way := range []struct{ from, to *guest }{{p.a, p.b}, {p.a, p.c}, {p.b, p.a}} {
		for _, f := range marked(way.from.flush(t, way.to), marker) {
			out = append(out, fmt.Sprintf("%s: % x", way.to.port, f.Data[:min(len(f.Data), 60)]))
		}
	}
	return strings.Join(out, "\n")
}

// farEndDown holds that when a port is gone nobody answers in its place, least of
// all the other tenant's port with the same addresses.
func farEndDown(t *testing.T, l *testLab, w twins) {
	red, blue := l.tenant(t, w, "red"), l.tenant(t, w, "blue")
	gone := blue.b.station()
	l.run(t, "lab", "unplug", blue.b.port)
	defer l.run(t, "lab", "plug", blue.b.port)

	marker := t.Name() + ";"
	blue.a.send(t,
		arp(t, layers.ARPRequest, broadcast, blue.a.station(), station{addr: gone.addr}, marker),
		arp(t, layers.ARPRequest, gone.mac, blue.a.station(), station{addr: gone.addr}, marker),
		udp(t, blue.a.station(), gone, marker),
	)
	blue.a.flush(t, blue.c)
	for _, f := range blue.c.flush(t, blue.a) {
		t.Errorf("somebody answered for %s: % x", blue.b.port, f.Data)
	}
	if got := arrivedAt(t, red, marker); got != "" {
		t.Errorf("frames of blue arrived at red: %s", got)
	}
	if err := l.ping(t, blue.a.port, gone.addr.String()); err == nil {
		t.Errorf("%s is unplugged, and its address answers a ping", blue.b.port)
	}
	l.mustPing(t, red.a.port, gone.addr.String())
}
