package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// topologyFile is a topology of configs/topologies, as up takes it.
func topologyFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../../configs/topologies", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "name: "+name+"\n")
	if !ok {
		t.Fatalf("%s.yaml lacks its name", name)
	}
	return rest
}

// wireLab is the lab of wire.yaml; ends are the guests at the two ends of each wire.
type wireLab struct {
	*testLab
	ends       map[string][2]*guest
	redA, redB *guest
}

// TestWire: what goes in at one end of a wire, and nothing else, comes out at the
// other one.
func TestWire(t *testing.T) {
	t.Parallel()
	l := &wireLab{testLab: up(t, "wr", topologyFile(t, "wire")), ends: map[string][2]*guest{}}
	for wire, ports := range map[string][2]string{
		"cable1": {"leaf1-et1", "leaf2-et1"}, "cable2": {"leaf1-et2", "leaf2-et2"},
		"cable3": {"leaf1-et3", "leaf2-et3"}, "patch": {"leaf1-et4", "leaf3-et4"},
	} {
		l.ends[wire] = [2]*guest{l.guest(t, ports[0]), l.guest(t, ports[1])}
	}
	l.redA, l.redB = l.guest(t, "red-a"), l.guest(t, "red-b")
	for _, wire := range l.wires() {
		t.Run("untouched/"+wire, func(t *testing.T) { untouched(t, l, wire) })
	}
	t.Run("apart", func(t *testing.T) { wiresApart(t, l) })
	t.Run("a third port", func(t *testing.T) { thirdPort(t, l) })
	t.Run("no far end", func(t *testing.T) { noFarEnd(t, l) })
}

// wires are the names of the wires.
func (l *wireLab) wires() []string { return []string{"cable1", "cable2", "cable3", "patch"} }

// wireFrame is a frame that must come through a wire as it is.
type wireFrame struct {
	name string
	data []byte
	// altered is what Open vSwitch may make of the frame, whatever its flows, before
	// they see it; nil for nothing.
	altered []byte
	// cutOff: it says that it is IP, and is too short for the header. The kernel's tunnel
	// devices drop such a frame, since they copy fields of that header into their own.
	cutOff bool
}

// wireFrames are frames of all kinds that switches between guests usually change,
// keep to themselves or drop; size is the largest of the interfaces' MTUs.
func wireFrames(src net.HardwareAddr, size int) []wireFrame {
	other := net.HardwareAddr{0x02, 0x77, 0, 0, 0, 1}
	payload := func(n int) []byte { return bytes.Repeat([]byte{0xa5}, n) }
	raw := func(dst, src net.HardwareAddr, rest ...byte) []byte { return slices.Concat(dst, src, rest) }
	eth := func(etherType uint16, rest []byte) []byte {
		return append(binary.BigEndian.AppendUint16(nil, etherType), rest...)
	}
	out := []wireFrame{
		{name: "untagged", data: tagged(src, other, "plain")},
		{name: "full size", data: raw(other, src, eth(0x88b5, payload(size))...)},
		{name: "VLAN 1", data: tagged(src, other, "vlan 1", tag{cTag, 0, 1})},
		{name: "VLAN 4095", data: tagged(src, other, "vlan 4095", tag{cTag, 7, 4095})},
		{name: "VLAN of full size", data: raw(other, src, slices.Concat(eth(cTag, []byte{0, 5}), eth(0x88b5, payload(size)))...)},
		{name: "VLAN 0", data: tagged(src, other, "vlan 0", tag{cTag, 0, 0})},
		{name: "priority", data: tagged(src, broadcast, "priority", tag{cTag, 5, 0})},
		// The userspace datapath clears the drop-eligible bit of the outer tag as it
		// receives a frame from a kernel device that has taken the tag off (eth_push_vlan).
		{name: "DEI", data: tagged(src, other, "dei", tag{cTag, 0, 0x1064}), altered: tagged(src, other, "dei", tag{cTag, 0, 0x64})},
		{name: "802.1ad", data: tagged(src, other, "s-tag", tag{sTag, 3, 77})},
		{name: "QinQ", data: tagged(src, other, "q-in-q", tag{sTag, 3, 77}, tag{cTag, 1, 12})},
		{name: "QinQ of 8100", data: tagged(src, other, "q-in-q 8100", tag{cTag, 3, 1}, tag{cTag, 1, 1})},
		{name: "QinQ of nearly full size", data: raw(other, src, slices.Concat(eth(cTag, []byte{0, 5}), eth(cTag, []byte{0, 6}), eth(0x88b5, payload(size-4)))...)},
		{name: "three tags", data: tagged(src, other, "three", tag{sTag, 0, 1}, tag{cTag, 0, 2}, tag{cTag, 0, 3})},
		{name: "broadcast", data: tagged(src, broadcast, "everybody")},
		{name: "multicast", data: tagged(src, net.HardwareAddr{1, 0, 0x5e, 0, 0, 251}, "some")},
		{name: "9 bytes of payload", data: raw(other, src, eth(0x88b5, payload(9))...)},
		{name: "no payload", data: raw(other, src, eth(0x88b5, nil)...)},
		{name: "from nobody", data: tagged(make(net.HardwareAddr, 6), other, "zero source")},
		{name: "from a group", data: tagged(net.HardwareAddr{1, 0, 0, 0, 0, 9}, other, "group source")},
		{name: "to its source", data: tagged(src, src, "to itself")},
		{name: "IPv4 of 3 bytes", data: raw(other, src, eth(0x0800, []byte{0x45, 0, 0xff})...), cutOff: true},
		{name: "IPv4 with a wrong checksum", data: raw(other, src, eth(0x0800, append([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0xde, 0xad, 10, 1, 1, 1, 10, 1, 1, 2}, 0, 9, 0, 9, 0, 8, 0xbe, 0xef))...)},
		{name: "IPv4 of TTL 0", data: raw(other, src, eth(0x0800, append([]byte{0x46, 0, 0, 28, 0, 0, 0, 0, 0, 1, 0, 0, 10, 1, 1, 1, 10, 1, 1, 2}, payload(8)...))...)},
		{name: "IPv6 cut off", data: raw(other, src, eth(0x86dd, append([]byte{0x60, 0, 0, 0, 1, 0, 6, 64}, payload(20)...))...), cutOff: true},
		{name: "ARP cut off", data: raw(broadcast, src, eth(0x0806, []byte{0, 1, 8, 0, 6, 4, 0, 1, 2})...)},
		{name: "ARP for a known address", data: raw(broadcast, src, eth(0x0806, slices.Concat([]byte{0, 1, 8, 0, 6, 4, 0, 1}, src, []byte{10, 1, 1, 9}, make([]byte, 6), []byte{10, 1, 1, 1}, payload(18)))...)},
		{name: "length longer than the frame", data: raw(other, src, eth(1000, payload(40))...)},
		{name: "MPLS", data: raw(other, src, eth(0x8847, append([]byte{0, 1, 1, 64}, payload(40)...))...)},
	}
	for _, p := range controlProtocols() {
		out = append(out, wireFrame{name: p.name, data: p.frame(src, "control "+p.name)}, wireFrame{name: p.name + " tagged", data: p.frame(src, "control "+p.name, tag{cTag, 0, 1})})
	}
	random := rand.New(rand.NewPCG(4, 4))
	for i := range 40 {
		f := make([]byte, 14+random.IntN(size))
		for j := range f {
			f[j] = byte(random.Uint32())
		}
		// The rest may be anything but a tag that says that more follows than does:
		// the guest's own kernel drops that before anybody can look.
		binary.BigEndian.PutUint16(f[12:], uint16(0x9000+random.IntN(0x5000)))
		out = append(out, wireFrame{name: fmt.Sprintf("random %d", i), data: f})
	}
	return out
}

// untouched: every frame arrives as it was sent, in both directions, but for those that a
// tunnel device of the kernel drops.
func untouched(t *testing.T, l *wireLab, wire string) {
	ends := l.ends[wire]
	room := map[string]int{"cable1": 1450, "patch": 1450, "cable2": 1442, "cable3": 1442}[wire]
	for _, e := range ends {
		if got := l.attachment(t, e.port).MTU; got != room {
			t.Errorf("the MTU of %s is %d, want %d", e.port, got, room)
		}
	}
	throughTunnelDevice := ends[0].host != ends[1].host && l.datapathType(t, ends[0].host) == kernelDatapath
	for _, way := range []way{{ends[0], ends[1]}, {ends[1], ends[0]}} {
		for _, f := range wireFrames(way.from.mac, room) {
			if f.cutOff && throughTunnelDevice {
				way.mustNotArrive(t, wire, f)
				continue
			}
			got, err := way.carry(t, f.data)
			if err != nil {
				t.Errorf("%s: %s from %s has not arrived at %s: %v", wire, f.name, way.from.port, way.to.port, err)
			} else if !bytes.Equal(got, f.data) && !bytes.Equal(got, f.altered) {
				t.Errorf("%s: %s from %s has arrived at %s as\n% x\nand was\n% x", wire, f.name, way.from.port, way.to.port, got, f.data)
			}
		}
	}
}

// mustNotArrive: a frame that the kernel's tunnel device drops does not arrive at all, neither
// as it was sent nor otherwise. docs/how-to/wires.md says so.
func (w way) mustNotArrive(t *testing.T, wire string, f wireFrame) {
	t.Helper()
	w.from.send(t, f.data)
	for _, got := range w.from.flush(t, w.to) {
		if !bytes.Equal(got.Data, w.to.last) { // a copy of the frame before
			t.Errorf("%s: after %s from %s has arrived at %s\n% x", wire, f.name, w.from.port, w.to.port, got.Data)
		}
	}
}

// carry sends a frame and returns what arrives next at the other end, copies of
// the frame before left out.
func (w way) carry(t *testing.T, frame []byte) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w.from.send(t, frame)
	again := w.from.repeat(frame)
	defer again()
	for {
		f, err := w.to.Next(ctx)
		if err != nil {
			return nil, err
		}
		if f.Direction == netdev.Received && !bytes.Equal(f.Data, w.to.last) {
			w.to.last = f.Data
			return f.Data, nil
		}
	}
}

// all are ways to the ends of all wires and to the guests of the network.
func (l *wireLab) all() []way {
	out := []way{{l.redA, l.redB}, {l.redB, l.redA}}
	for _, wire := range l.wires() {
		out = append(out, way{l.ends[wire][0], l.ends[wire][1]}, way{l.ends[wire][1], l.ends[wire][0]})
	}
	return out
}

// wiresApart: what is sent into a wire is seen at its other end only, and what is
// sent into a network at no end of any wire, whatever its addresses and tags.
func wiresApart(t *testing.T, l *wireLab) {
	cable1 := l.ends["cable1"]
	targets := func(src net.HardwareAddr, marker string) [][]byte {
		return [][]byte{
			tagged(src, broadcast, marker), tagged(src, broadcast, marker, tag{cTag, 0, 0}), tagged(src, broadcast, marker, tag{cTag, 0, 7}, tag{cTag, 0, 9}),
			tagged(src, l.redA.mac, marker), tagged(src, l.redB.mac, marker), tagged(src, l.ends["cable2"][1].mac, marker),
			tagged(src, l.ends["patch"][1].mac, marker), controlProtocols()[0].frame(src, marker), controlProtocols()[3].frame(src, marker),
		}
	}
	t.Run("from a wire", func(t *testing.T) {
		marker := t.Name() + ";"
		frames := targets(cable1[0].mac, marker)
		cable1[0].send(t, frames...)
		for _, w := range l.all() {
			want := 0
			if w.to == cable1[1] {
				want = len(frames)
			}
			if got := len(marked(w.from.flush(t, w.to), marker)); got != want {
				t.Errorf("%d frames from %s have arrived at %s, want %d", got, cable1[0].port, w.to.port, want)
			}
		}
	})
	t.Run("into a wire", func(t *testing.T) {
		marker := t.Name() + ";"
		l.redA.send(t, targets(l.redA.mac, marker)...)
		for _, w := range l.all() {
			got := len(marked(w.from.flush(t, w.to), marker))
			if w.to == l.redB && got == 0 || w.to != l.redB && got != 0 {
				t.Errorf("%d frames from red-a have arrived at %s", got, w.to.port)
			}
		}
	})
	for _, c := range []struct{ name, from, to string }{{"from a wire", "leaf1-et1", "red/web"}, {"into a wire", "red-a", "fabric/cable1"}} {
		t.Run("control/"+c.name, func(t *testing.T) {
			// With a flow that gives the frames to the other network, they arrive there.
			marker := t.Name() + ";"
			from, to := cable1[0], way{l.redA, l.redB}
			next := fmt.Sprintf("goto_table:%d", 70)
			if c.from == "red-a" {
				from, to = l.redA, way{cable1[0], cable1[1]}
				next = fmt.Sprintf("load:%d->NXM_OF_IN_PORT[],goto_table:60", l.portStatus(t, "leaf1-et1").OFPort)
			}
			flow := fmt.Sprintf("table=0,priority=999,in_port=%d,dl_type=0x88b5,actions=load:%d->NXM_NX_REG0[],%s",
				l.portStatus(t, c.from).OFPort, l.networkID(t, c.to), next)
			l.mustPass(t, "host1", flow, marker, func() { from.send(t, tagged(from.mac, broadcast, marker)) }, to)
			l.delForeign(t, "host1")
			l.refreshCounters(t, "host1")
		})
	}
	t.Run("from the underlay", func(t *testing.T) {
		// With the wire's key, but from an address that is no peer's endpoint.
		marker := t.Name() + ";"
		n, err := l.api.Network(t.Context(), "fabric/cable1")
		if err != nil {
			t.Fatal(err)
		}
		under := l.underlay(t, "host2")
		frame := outer{station{net.HardwareAddr{2, 9, 9, 9, 9, 9}, tep(99)}, station{l.hostMAC(t, "host2"), tep(2)}, "gre", n.Key}.
			around(t, controlProtocols()[3].frame(cable1[0].mac, marker))
		l.mustDrop(t, drop{"host2", "unknown-tep", "host host2"}, marker, 1, func() {
			if err := under.Send(frame); err != nil {
				t.Fatal(err)
			}
		}, way{cable1[0], cable1[1]})
	})
}

// thirdPort: a wire has two ends, and the error names them.
func thirdPort(t *testing.T, l *wireLab) {
	text, err := os.ReadFile(l.file)
	if err != nil {
		t.Fatal(err)
	}
	third := filepath.Join(l.root, "third.yaml")
	text = append(text, "  - {name: leaf4-et1, network: fabric/cable1, host: host1}\n"...)
	if err := os.WriteFile(third, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c := l.command(t.Context(), "apply", third)
	err = c.wait()
	if err == nil {
		t.Fatal("a third port was accepted")
	}
	for _, want := range []string{"third.yaml:", "port leaf4-et1", "leaf1-et1", "leaf2-et1", "wire"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if _, err := l.api.Port(t.Context(), "leaf4-et1"); err == nil {
		t.Error("the port is there")
	}
}

// noFarEnd: while the other end is unplugged, frames are dropped by name,
// broadcasts included; plugged in again, it is connected.
func noFarEnd(t *testing.T, l *wireLab) {
	marker := t.Name() + ";"
	ends := l.ends["cable2"]
	l.run(t, "lab", "unplug", ends[1].port)
	l.settled(t)
	frames := [][]byte{tagged(ends[0].mac, broadcast, marker), tagged(ends[0].mac, ends[1].mac, marker, tag{cTag, 0, 5}), controlProtocols()[0].frame(ends[0].mac, marker)}
	l.mustDrop(t, drop{"host1", "no-far-end", "network fabric/cable2"}, marker, len(frames), func() { ends[0].send(t, frames...) }, way{l.redA, l.redB})
	l.run(t, "lab", "plug", ends[1].port)
	l.settled(t)
	ends[1] = l.guest(t, ends[1].port)
	l.ends["cable2"] = ends
	for _, f := range frames {
		if got, err := (way{ends[0], ends[1]}).carry(t, f); err != nil || !bytes.Equal(got, f) {
			t.Errorf("plugged in again: % x, %v", got, err)
		}
	}
}
