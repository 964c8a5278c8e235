package e2e

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// trunkTopology has three trunk guests that call the same networks by different
// VLAN IDs: left's 20 is blue, right's 20 is red.
const trunkTopology = twoHosts + `
tenants:
  - name: red
    networks:
      - {name: web, encap: gre, key: 4001, subnets: [10.4.1.0/24]}
      - {name: mgmt, encap: geneve, key: 4002, subnets: [10.4.2.0/24]}
  - name: blue
    networks:
      - {name: web, encap: vxlan, key: 4003, subnets: [10.4.1.0/24]}
  - name: green
    networks:
      - {name: web, encap: vxlan, key: 4004, subnets: [10.4.1.0/24]}
ports:
  - {name: left,  host: host1, interface: et1, profile: switch, trunk: {native: red/mgmt, vlans: {10: red/web, 20: blue/web}}}
  - {name: near,  host: host1, interface: et1, profile: switch, trunk: {native: red/mgmt, vlans: {30: red/web, 40: blue/web}}}
  - {name: right, host: host2, interface: et1, profile: switch, trunk: {native: blue/web, vlans: {20: red/web, 120: red/mgmt}}}
  - {name: mute,  host: host1, interface: et1, profile: switch, trunk: {vlans: {50: green/web}}}
  - {name: red-l,   network: red/web,   host: host1, addresses: [10.4.1.10]}
  - {name: red-r,   network: red/web,   host: host2, addresses: [10.4.1.11]}
  - {name: mgmt-r,  network: red/mgmt,  host: host2, addresses: [10.4.2.11]}
  - {name: blue-r,  network: blue/web,  host: host2, addresses: [10.4.1.11]}
  - {name: green-l, network: green/web, host: host1, addresses: [10.4.1.10]}
  - {name: green-r, network: green/web, host: host2, addresses: [10.4.1.11]}
`

// trunkLab is the lab of trunkTopology with the wires of its guests.
type trunkLab struct {
	*testLab
	left, near, right, redL, redR, mgmtR, blueR, greenL, greenR, mute *guest
}

// TestTrunk: of what a trunk guest sends, each VLAN reaches its network and
// nothing else does, whatever the tags.
func TestTrunk(t *testing.T) {
	t.Parallel()
	l := &trunkLab{testLab: up(t, "tr", trunkTopology)}
	for port, g := range map[string]**guest{"left": &l.left, "near": &l.near, "right": &l.right, "red-l": &l.redL, "red-r": &l.redR,
		"mgmt-r": &l.mgmtR, "blue-r": &l.blueR, "green-l": &l.greenL, "green-r": &l.greenR, "mute": &l.mute} {
		*g = l.guest(t, port)
	}
	t.Run("every ID of a trunk", func(t *testing.T) { everyTrunkID(t, l) })
	t.Run("every ID of an access port", func(t *testing.T) { everyAccessID(t, l) })
	t.Run("priority", func(t *testing.T) { priorityBits(t, l) })
	t.Run("two tags", func(t *testing.T) { twoTags(t, l) })
	t.Run("service tag", func(t *testing.T) { serviceTag(t, l) })
	t.Run("control frames", func(t *testing.T) { controlFrames(t, l) })
	t.Run("unplugged", func(t *testing.T) { replugged(t, l) })
}

// ways lead to every guest of the lab but left.
func (l *trunkLab) ways() []way {
	red, blue := l.left.on(10), l.left.on(20)
	return []way{{red, l.near}, {red, l.right}, {red, l.redL}, {red, l.redR}, {l.left, l.mgmtR}, {blue, l.blueR},
		{l.greenL, l.greenR}, {l.greenR, l.greenL}}
}

// toLeft leads to left too.
func (l *trunkLab) toLeft() []way { return append(l.ways(), way{l.redL, l.left}) }

// tag is an 802.1Q or 802.1ad tag.
type tag struct {
	tpid     uint16
	pcp, vid uint16
}

const (
	cTag = 0x8100 // IEEE 802.1Q-2018 table 9-1
	sTag = 0x88a8
)

// tagged is an experiment with tags, the outermost first.
func tagged(src, dst net.HardwareAddr, payload string, tags ...tag) []byte {
	f := experiment(src, dst, 0, []byte(payload))
	var b []byte
	for _, t := range tags {
		b = binary.BigEndian.AppendUint16(b, t.tpid)
		b = binary.BigEndian.AppendUint16(b, t.pcp<<13|t.vid)
	}
	return slices.Insert(f, 12, b...)
}

// form says how a frame is tagged: "untagged", "10", "10 pcp 3", "10, 20".
func form(f []byte) string {
	var tags []string
	for at := 12; at+4 <= len(f); at += 4 {
		tpid := binary.BigEndian.Uint16(f[at:])
		if tpid != cTag && tpid != sTag {
			break
		}
		tci := binary.BigEndian.Uint16(f[at+2:])
		s := fmt.Sprint(tci & 0xfff)
		if pcp := tci >> 13; pcp != 0 {
			s += fmt.Sprintf(" pcp %d", pcp)
		}
		if tpid == sTag {
			s += " 802.1ad"
		}
		tags = append(tags, s)
	}
	if len(tags) == 0 {
		return "untagged"
	}
	return strings.Join(tags, ", ")
}

// sightings are the tags with which a frame was seen, by guest and by the name
// of the frame.
type sightings map[string][]string

// note enters the frames seen at a guest that are named for this test.
func (s sightings) note(prefix string, at *guest, frames []netdev.Frame) {
	for _, f := range marked(frames, prefix) {
		_, rest, _ := strings.Cut(string(f.Data), prefix)
		name, _, _ := strings.Cut(rest, ";")
		s[at.port+" "+name] = append(s[at.port+" "+name], form(f.Data))
	}
}

// collect enters what has arrived at the ends of the ways.
func (s sightings) collect(t *testing.T, prefix string, ways ...way) {
	t.Helper()
	for _, w := range ways {
		s.note(prefix, w.to, w.from.flush(t, w.to))
	}
}

// equal fails the test for each sighting that is not wanted, and each wanted one
// that was not made.
func (s sightings) equal(t *testing.T, want map[string]string) {
	t.Helper()
	for _, k := range slices.Sorted(maps.Keys(s)) {
		if got := strings.Join(s[k], " and "); got != want[k] {
			t.Errorf("seen at (port, frame) %s: %s; want %q", k, got, want[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if s[k] == nil {
			t.Errorf("not seen at (port, frame) %s; want %s", k, want[k])
		}
	}
}

// burst is how many frames are sent before their arrival is awaited: the socket
// of the switch holds no more than a few hundred.
const burst = 64

// sendPaced sends frames no faster than the way takes them, and enters what
// arrives at its end meanwhile.
func (s sightings) sendPaced(t *testing.T, prefix string, frames [][]byte, w way) {
	t.Helper()
	for chunk := range slices.Chunk(frames, burst) {
		w.from.send(t, chunk...)
		s.collect(t, prefix, w)
	}
}

// everyTrunkID: of all 4,096 VLAN IDs, those of the trunk reach their networks,
// and no other reaches anything.
func everyTrunkID(t *testing.T, l *trunkLab) {
	for name, to := range map[string]net.HardwareAddr{"broadcast": broadcast, "unknown unicast": {2, 0xee, 0, 0, 0, 3}} {
		t.Run(name, func(t *testing.T) {
			prefix := t.Name() + " "
			frames := [][]byte{tagged(l.left.mac, to, prefix+"none;")}
			for vid := range uint16(4096) {
				frames = append(frames, tagged(l.left.mac, to, fmt.Sprintf("%s%d;", prefix, vid), tag{cTag, 0, vid}))
			}
			before := l.dropped(t, "host1", "vlan-not-allowed", "port left")
			got := sightings{}
			got.sendPaced(t, prefix, frames, way{l.left.on(10), l.redL})
			got.collect(t, prefix, l.ways()...)
			got.equal(t, map[string]string{
				"near none": "untagged", "right none": "120", "mgmt-r none": "untagged",
				"near 0": "untagged", "right 0": "120", "mgmt-r 0": "untagged",
				"near 10": "30", "right 10": "20", "red-l 10": "untagged", "red-r 10": "untagged",
				"near 20": "40", "right 20": "untagged", "blue-r 20": "untagged",
			})
			if n := l.dropped(t, "host1", "vlan-not-allowed", "port left") - before; n != 4096-3 {
				t.Errorf("%d frames were counted as vlan-not-allowed of port left, want %d", n, 4096-3)
			}
		})
	}
	t.Run("control", func(t *testing.T) {
		marker := t.Name() + ";"
		flow := fmt.Sprintf("table=0,priority=400,in_port=%d,dl_vlan=99,actions=pop_vlan,load:%d->NXM_NX_REG0[],goto_table:10",
			l.portStatus(t, "left").OFPort, l.networkID(t, "green/web"))
		// The switch's guard knows left only in its own networks.
		guard := fmt.Sprintf("table=10,priority=400,in_port=%d,actions=goto_table:60", l.portStatus(t, "left").OFPort)
		l.addForeign(t, "host1", guard)
		send := func() { l.left.send(t, tagged(l.left.mac, broadcast, marker, tag{cTag, 0, 99})) }
		l.mustPass(t, "host1", flow, marker, send, way{l.greenL, l.greenR}, way{l.greenR, l.greenL})
	})
}

// everyAccessID: an access port is no trunk. VLAN 0 is no VLAN (IEEE 802.1Q-2018
// table 9-2, the priority tag) and passes.
func everyAccessID(t *testing.T, l *trunkLab) {
	prefix := t.Name() + " "
	var frames [][]byte
	for vid := range uint16(4096) {
		frames = append(frames, tagged(l.redL.mac, broadcast, fmt.Sprintf("%s%d;", prefix, vid), tag{cTag, 0, vid}))
	}
	before := l.dropped(t, "host1", "vlan-not-allowed", "host host1")
	got := sightings{}
	got.sendPaced(t, prefix, frames, way{l.redL, l.near})
	got.collect(t, prefix, l.toLeft()...)
	got.equal(t, map[string]string{"left 0": "10", "near 0": "30", "right 0": "20", "red-r 0": "untagged"})
	if n := l.dropped(t, "host1", "vlan-not-allowed", "host host1") - before; n != 4095 {
		t.Errorf("%d frames were counted as vlan-not-allowed of host host1, want 4095", n)
	}
	t.Run("control", func(t *testing.T) {
		marker := t.Name() + ";"
		flow := fmt.Sprintf("table=0,priority=400,in_port=%d,dl_vlan=20,actions=pop_vlan,load:%d->NXM_NX_REG0[],goto_table:10",
			l.portStatus(t, "red-l").OFPort, l.networkID(t, "blue/web"))
		l.addForeign(t, "host1", fmt.Sprintf("table=10,priority=400,in_port=%d,actions=goto_table:60", l.portStatus(t, "red-l").OFPort))
		send := func() { l.redL.send(t, tagged(l.redL.mac, broadcast, marker, tag{cTag, 0, 20})) }
		l.mustPass(t, "host1", flow, marker, send, way{l.left.on(20), l.blueR})
	})
}

// priorityBits: they are kept from trunk to trunk, on one host and across hosts,
// and an access port neither gets nor sets them.
func priorityBits(t *testing.T, l *trunkLab) {
	prefix := t.Name() + " "
	want := map[string]string{}
	for pcp := range uint16(8) {
		p := fmt.Sprintf(" pcp %d", pcp)
		native := "0" + p
		if pcp == 0 {
			p, native = "", "untagged"
		}
		name := func(what string) string { return fmt.Sprintf("%s %d", what, pcp) }
		l.left.send(t,
			tagged(l.left.mac, broadcast, prefix+name("vlan")+";", tag{cTag, pcp, 10}),
			tagged(l.left.mac, broadcast, prefix+name("native")+";", tag{cTag, pcp, 0}))
		l.right.send(t, tagged(l.right.mac, broadcast, prefix+name("from right")+";", tag{cTag, pcp, 0}))
		l.redL.send(t, tagged(l.redL.mac, broadcast, prefix+name("access")+";", tag{cTag, pcp, 0}))
		maps.Copy(want, map[string]string{
			"near " + name("vlan"): "30" + p, "right " + name("vlan"): "20" + p,
			"red-l " + name("vlan"): "untagged", "red-r " + name("vlan"): "untagged",
			"near " + name("native"): native, "right " + name("native"): "120" + p, "mgmt-r " + name("native"): "untagged",
			"left " + name("from right"): "20" + p, "near " + name("from right"): "40" + p, "blue-r " + name("from right"): "untagged",
			"left " + name("access"): "10", "near " + name("access"): "30", "right " + name("access"): "20", "red-r " + name("access"): "untagged",
		})
	}
	got := sightings{}
	got.collect(t, prefix, append(l.toLeft(), way{l.right.on(20), l.left}, way{l.right.on(20), l.near})...)
	got.equal(t, want)
}

// twoTags: the tag under a tag names no VLAN of anybody, so nothing with two
// passes.
func twoTags(t *testing.T, l *trunkLab) {
	marker := t.Name() + ";"
	stacks := [][]tag{
		{{cTag, 0, 10}, {cTag, 0, 20}},
		{{cTag, 0, 10}, {cTag, 0, 10}},
		{{sTag, 0, 10}, {cTag, 0, 20}},
		{{cTag, 0, 10}, {sTag, 0, 20}},
		{{sTag, 0, 10}, {sTag, 0, 20}},
		{{cTag, 0, 0}, {cTag, 0, 20}},
		{{cTag, 7, 10}, {cTag, 0, 0}},
		{{cTag, 0, 99}, {cTag, 0, 10}},
		{{cTag, 0, 10}, {cTag, 0, 20}, {cTag, 0, 20}},
	}
	for _, g := range []*guest{l.left, l.redL} {
		t.Run(g.port, func(t *testing.T) {
			send := func() {
				for _, s := range stacks {
					g.send(t, tagged(g.mac, broadcast, marker, s...))
				}
			}
			l.mustDrop(t, drop{"host1", "double-tag", "host host1"}, marker, len(stacks), send, l.toLeft()...)
		})
	}
	t.Run("control", func(t *testing.T) {
		flow := fmt.Sprintf("table=0,priority=400,in_port=%d,dl_vlan=10,actions=pop_vlan,load:%d->NXM_NX_REG0[],goto_table:10",
			l.portStatus(t, "left").OFPort, l.networkID(t, "red/web"))
		send := func() { l.left.send(t, tagged(l.left.mac, broadcast, marker, stacks[0]...)) }
		l.mustPass(t, "host1", flow, marker, send, way{l.redR, l.redL})
	})
}

// serviceTag: OpenFlow 1.3 has no match on the TPID, so a single 802.1ad tag is
// taken for the 802.1Q tag of the same ID. It gets no further than that does, and
// on the same host it keeps its TPID.
func serviceTag(t *testing.T, l *trunkLab) {
	prefix := t.Name() + " "
	for _, vid := range []uint16{0, 10, 20, 30, 99} {
		l.left.send(t, tagged(l.left.mac, broadcast, fmt.Sprintf("%s%d;", prefix, vid), tag{sTag, 0, vid}))
	}
	got := sightings{}
	got.collect(t, prefix, l.ways()...)
	got.equal(t, map[string]string{
		"near 0": "untagged", "right 0": "120", "mgmt-r 0": "untagged",
		"near 10": "30 802.1ad", "right 10": "20", "red-l 10": "untagged", "red-r 10": "untagged",
		"near 20": "40 802.1ad", "right 20": "untagged", "blue-r 20": "untagged",
	})
}

// replugged: a trunk's networks leave with it and are back with it.
func replugged(t *testing.T, l *trunkLab) {
	l.run(t, "lab", "unplug", "left")
	prefix := t.Name() + " "
	l.redL.send(t, tagged(l.redL.mac, broadcast, prefix+"away;"))
	got := sightings{}
	got.collect(t, prefix, way{l.redL, l.near}, way{l.redL, l.right}, way{l.redL, l.redR})
	got.equal(t, map[string]string{"near away": "30", "right away": "20", "red-r away": "untagged"})

	l.run(t, "lab", "plug", "left")
	l.settled(t)
	l.left = l.guest(t, "left")
	l.left.send(t, tagged(l.left.mac, broadcast, prefix+"back;", tag{cTag, 0, 20}))
	got = sightings{}
	got.collect(t, prefix, l.ways()...)
	got.equal(t, map[string]string{"near back": "40", "right back": "untagged", "blue-r back": "untagged"})
}
