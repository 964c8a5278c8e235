package trace

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// stateOf reads flows and groups, a line each.
func stateOf(t testing.TB, text string) *flows.State {
	t.Helper()
	part := &flows.Part{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case strings.HasPrefix(line, "group_id"):
			g, err := flows.ParseGroup(line)
			if err != nil {
				t.Fatal(err)
			}
			part.Groups = append(part.Groups, g)
		default:
			f, err := flows.ParseFlow(line)
			if err != nil {
				t.Fatal(err)
			}
			part.Flows = append(part.Flows, f)
		}
	}
	return flows.Flat(part)
}

func switchOf(t testing.TB, text string) *Switch {
	t.Helper()
	s, err := New(Config{Name: "br0", State: stateOf(t, text), Ports: testPorts})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// build makes a frame with gopacket.
func build(t testing.TB, ls ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func udpFrame(t testing.TB) []byte {
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: []byte{10, 0, 0, 1}, DstIP: []byte{10, 0, 0, 2}}
	udp := &layers.UDP{SrcPort: 1000, DstPort: 53}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	return build(t, &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4},
		ip, udp, gopacket.Payload("hello"))
}

func packet(t testing.TB, inPort uint32, frame []byte) *Packet {
	t.Helper()
	p, err := NewPacket(inPort, frame)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tree is the steps as text.
func tree(ss []*Step) string {
	var b strings.Builder
	var walk func(ss []*Step, in string)
	walk = func(ss []*Step, in string) {
		for _, s := range ss {
			fmt.Fprintf(&b, "%s%d", in, s.Kind)
			switch {
			case s.Kind == StepTable && s.Flow == nil:
				fmt.Fprintf(&b, " table %d: none", s.Table)
			case s.Kind == StepTable:
				fmt.Fprintf(&b, " %s", s.Flow)
			case s.Output != nil:
				fmt.Fprintf(&b, " to %d", s.Output.Port)
			}
			if s.Note != "" {
				fmt.Fprintf(&b, " %s", s.Note)
			}
			for _, c := range s.Changes {
				fmt.Fprintf(&b, " %s:%#x→%#x", c.Field, c.Was.Lo, c.Now.Lo)
			}
			b.WriteString("\n")
			walk(s.Steps, in+" ")
		}
	}
	walk(ss, "")
	return b.String()
}

func TestStepsSayWhatHappened(t *testing.T) {
	s := switchOf(t, `
		table=0,priority=5,in_port=1 actions=set_field:7->reg0,set_field:8->reg0,output:1,goto_table:1
		table=1,priority=5,reg0=8 actions=group:1
		group_id=1,type=all,bucket=actions=dec_ttl,output:2,bucket=actions=output:77,bucket=actions=output:3`)
	res := s.Trace(packet(t, 1, udpFrame(t)), Options{Steps: true})
	want := `0 priority=5,in_port=1 actions=set_field:0x7->reg0,set_field:0x8->reg0,output:1,goto_table:1 reg0:0x0→0x8
 5 output to port 1, where the packet came from, is not done
 0 table=1, priority=5,reg0=0x8 actions=group:1
  2
   3 nw_ttl:0x40→0x3f
    4 to 2
   3
    5 output to port 77, which the switch does not have
   3
    4 to 3
`
	if got := tree(res.Branches[0].Steps); got != want || res.Verdict != Forwarded || len(res.Branches) != 1 {
		t.Errorf("%v\n%s\nwant\n%s", res.Verdict, got, want)
	}
	// What a bucket changes, only its own copy has: so says gopacket.
	for i, ttl := range []uint8{63, 64} {
		out := res.Branches[0].Outputs[i]
		ip := gopacket.NewPacket(out.Frame, layers.LayerTypeEthernet, gopacket.Default).Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		if ip.TTL != ttl || fold(sum16(0, ip.Contents)) != 0xffff {
			t.Errorf("output to %d: TTL %d, checksum %#x", out.Port, ip.TTL, ip.Checksum)
		}
	}
}

func TestDropsHaveAReasonAndANearestFlow(t *testing.T) {
	s := switchOf(t, `
		priority=9,udp,in_port=1,tp_dst=53,nw_dst=10.0.0.9 actions=output:2
		priority=8,udp,in_port=2,nw_dst=10.0.0.9 actions=output:3
		priority=7,udp,in_port=1,tp_dst=99 actions=drop
		priority=1,udp actions=drop`)
	res := s.Trace(packet(t, 1, udpFrame(t)), Options{Steps: true})
	b := res.Branches[0]
	near := b.Steps[0].Nearest
	if res.Verdict != Dropped || !strings.Contains(b.Drop, "priority=1,udp actions=drop") {
		t.Errorf("%v: %s", res.Verdict, b.Drop)
	}
	if near == nil || near.Flow.Priority != 9 || flows.Match(near.Differs).String() != "nw_dst=10.0.0.9" {
		t.Errorf("nearest: %+v", near)
	}
	if b := switchOf(t, `priority=9,arp actions=output:2`).Trace(packet(t, 1, udpFrame(t)), Options{}).Branches[0]; b.Drop != "no flow of table 0 takes the packet" {
		t.Error(b.Drop)
	}
}

func TestWhatIsNotKnownIsABranchOrUnknown(t *testing.T) {
	for _, c := range []struct {
		what, state string
		branches    int
		verdict     Verdict
		unknown     string
	}{
		{"NORMAL", `actions=NORMAL`, 1, Unknown, "NORMAL"},
		{"two flows of one priority that agree", "priority=5,ip actions=output:2\npriority=5,in_port=1 actions=output:3", 2, Forwarded, ""},
		{"two flows of one priority that do not", "priority=5,ip actions=output:2\npriority=5,in_port=1 actions=drop", 2, Unknown, ""},
		{"select", "actions=group:1\ngroup_id=1,type=select,bucket=actions=output:2,bucket=weight:0,actions=output:4,bucket=actions=output:3", 2, Forwarded, ""},
		{"the state of a connection", "ip,ct_state=-trk actions=ct(table=1)\ntable=1,ct_state=+est,ip actions=output:2", len(conns), Unknown, ""},
		{"the mark of a connection", "ip actions=ct(table=1)\ntable=1,priority=9,ct_mark=5,ip actions=output:2\ntable=1,priority=1 actions=output:2", len(conns), Unknown, "ct_mark"},
		{"more than can be counted", "priority=5,ip actions=ct(table=1)\n" +
			"table=1,ip actions=ct(table=2)\ntable=2,ip actions=ct(table=3)\ntable=3,ip actions=output:2", 64, Unknown, "more than 64"},
	} {
		res := switchOf(t, c.state).Trace(packet(t, 1, udpFrame(t)), Options{})
		said := ""
		for _, b := range res.Branches {
			said += strings.Join(b.Unknown, " ")
		}
		if len(res.Branches) != c.branches || res.Verdict != c.verdict || !strings.Contains(said, c.unknown) || c.unknown == "" && said != "" {
			t.Errorf("%s: %d branches, %v, %q", c.what, len(res.Branches), res.Verdict, said)
		}
	}
	given := switchOf(t, "ip,ct_state=-trk actions=ct(table=1)\ntable=1,ct_state=+est,ip actions=output:2").
		Trace(packet(t, 1, udpFrame(t)), Options{Conns: []Conn{{State: ConnEstablished}}})
	if given.Verdict != Forwarded || len(given.Branches) != 1 {
		t.Errorf("a given state: %v, %d branches", given.Verdict, len(given.Branches))
	}
}

func TestFlowsThatCannotBeReadMakeItUnknown(t *testing.T) {
	c := Config{State: stateOf(t, "priority=5 actions=output:2"), Unread: []Unread{{Table: 0, Priority: 9, Why: "learn(table=1)"}}}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if res := s.Trace(packet(t, 1, udpFrame(t)), Options{}); res.Verdict != Unknown || !strings.Contains(res.Branches[0].Unknown[0], "learn") {
		t.Errorf("%+v", res)
	}
	g := Config{State: stateOf(t, "actions=group:7"), UnreadGroups: map[uint32]string{7: "an action nobody knows"}}
	if s, err = New(g); err != nil {
		t.Fatal(err)
	}
	if res := s.Trace(packet(t, 1, udpFrame(t)), Options{}); res.Verdict != Unknown || !strings.Contains(res.Branches[0].Unknown[0], "nobody knows") {
		t.Errorf("%+v", res)
	}
	c.Unread[0].Priority = 4 // behind what takes the packet
	if s, err = New(c); err != nil {
		t.Fatal(err)
	}
	if res := s.Trace(packet(t, 1, udpFrame(t)), Options{}); res.Verdict != Forwarded {
		t.Errorf("%+v", res)
	}
}

func TestPacketsAreFollowedThroughTunnels(t *testing.T) {
	addr := netip.MustParseAddr
	a := switchOf(t, `
		in_port=1 actions=set_field:5->tun_id,set_field:192.168.200.21->tun_dst,output:101,set_field:192.168.200.22->tun_dst,output:101,set_field:192.168.200.99->tun_dst,output:101
		in_port=101 actions=output:4`)
	b := switchOf(t, `tun_id=5,tun_src=192.168.200.20,in_port=101 actions=output:2`)
	loop := switchOf(t, `in_port=101 actions=set_field:192.168.200.22->tun_dst,IN_PORT,set_field:192.168.200.20->tun_dst,IN_PORT`)
	n, err := NewNetwork(Host{"a", a, []netip.Addr{addr("192.168.200.20")}}, Host{"b", b, []netip.Addr{addr("192.168.200.21")}},
		Host{"loop", loop, []netip.Addr{addr("192.168.200.22"), addr("192.168.200.23")}})
	if err != nil {
		t.Fatal(err)
	}
	hop, err := n.Trace("a", packet(t, 1, udpFrame(t)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, next := range hop.Next {
		switch {
		case next.Hop == nil:
			got = append(got, next.Lost)
		default:
			got = append(got, next.Hop.Host+" "+next.Hop.Result.Verdict.String())
		}
	}
	want := "b forwarded; loop forwarded; no host has tunnel endpoint 192.168.200.99"
	if s := strings.Join(got, "; "); s != want {
		t.Errorf("%s\nwant %s", s, want)
	}
	if _, err := NewNetwork(Host{"a", a, []netip.Addr{addr("1.1.1.1")}}, Host{"b", b, []netip.Addr{addr("1.1.1.1")}}); err == nil {
		t.Error("two hosts with one endpoint")
	}
	if _, err := n.Trace("c", packet(t, 1, udpFrame(t)), Options{}); err == nil {
		t.Error("an unknown host")
	}
}

func TestLoopsBetweenSwitchesEnd(t *testing.T) {
	send := func(to string) *Switch {
		return switchOf(t, "actions=set_field:"+to+"->tun_dst,output:101,output:102,IN_PORT")
	}
	n, err := NewNetwork(Host{"a", send("10.9.0.2"), []netip.Addr{netip.MustParseAddr("10.9.0.1")}},
		Host{"b", send("10.9.0.1"), []netip.Addr{netip.MustParseAddr("10.9.0.2")}})
	if err != nil {
		t.Fatal(err)
	}
	hop, err := n.Trace("a", packet(t, 101, udpFrame(t)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for depth := 0; ; depth++ {
		if len(hop.Next) == 0 {
			t.Fatalf("ends after %d hops without a word of the loop", depth)
		}
		if hop.Next[0].Hop == nil {
			if !strings.Contains(hop.Next[0].Lost, "loop") || depth != maxHops {
				t.Errorf("after %d hops: %s", depth, hop.Next[0].Lost)
			}
			return
		}
		hop = hop.Next[0].Hop
	}
}

func TestTheConnectionTrackerIsNoWayToLoop(t *testing.T) {
	s := switchOf(t, `ip actions=output:2,ct(table=0),ct(table=0)`)
	b := s.Trace(packet(t, 1, udpFrame(t)), Options{Conns: []Conn{{State: ConnNew}}}).Branches[0]
	if n := 1<<(maxRecirculations+1) - 1; len(b.Outputs) != n {
		t.Errorf("%d copies, want %d", len(b.Outputs), n)
	}
}

func TestAPacketIsNotChangedByItsTrace(t *testing.T) {
	g := newGen(3)
	for range 200 {
		p := g.packet()
		was := *p
		bytes := string(p.frame)
		c := g.testCase(10, 3)
		s, err := c.newSwitch(V31)
		if err != nil {
			t.Fatal(err)
		}
		s.Trace(p, Options{Steps: true})
		if p.fields != was.fields || p.tags != was.tags || string(p.frame) != bytes {
			t.Fatal("changed")
		}
	}
}

// TestOutputsAreWhatTheyAreTakenFor: a frame that leaves, read again, has the fields
// that the packet had.
func TestOutputsAreWhatTheyAreTakenFor(t *testing.T) {
	sw := switchOf(t, `priority=5,udp actions=set_field:1.2.3.4->ip_src,set_field:77->udp_dst,push_vlan:0x8100,set_field:4106->vlan_vid,set_field:02:00:00:00:00:09->eth_dst,set_field:5->ip_dscp,output:2`)
	out := sw.Trace(packet(t, 1, udpFrame(t)), Options{}).Branches[0].Outputs[0]
	got := packet(t, 2, out.Frame).String()
	want := "udp,in_port=2,dl_vlan=10,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:09,nw_src=1.2.3.4,nw_dst=10.0.0.2,nw_tos=20,nw_ttl=64,tp_src=1000,tp_dst=77"
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	d := gopacket.NewPacket(out.Frame, layers.LayerTypeEthernet, gopacket.Default)
	ip, udp := d.Layer(layers.LayerTypeIPv4).(*layers.IPv4), d.Layer(layers.LayerTypeUDP).(*layers.UDP)
	pseudo := cat(ip.SrcIP.To4(), ip.DstIP.To4(), []byte{0, 17}, u16b(int(udp.Length)))
	if fold(sum16(0, ip.Contents)) != 0xffff || fold(sum16(sum16(0, pseudo), cat(udp.Contents, udp.Payload))) != 0xffff {
		t.Error("a checksum is wrong")
	}
}

// FuzzPacket reads any bytes, changes every field there is, and reads what comes out.
func FuzzPacket(f *testing.F) {
	g := newGen(1)
	for range 50 {
		f.Add(g.frame(), uint64(g.Uint32()))
	}
	f.Fuzz(func(t *testing.T, frame []byte, seed uint64) {
		p, err := NewPacket(1, frame)
		if err != nil {
			return
		}
		base, g := *p, newGen(seed)
		for field := flows.EthDst; field.Valid(); field++ {
			if field.Writable() {
				p.Set(field, flows.Value{Hi: g.Uint64(), Lo: g.Uint64()}, field.FullMask())
			}
		}
		if g.oneIn(2) {
			p.pushTag(0x8100)
		}
		emit(&base, p)
		if len(base.frame) < MinFrame {
			t.Fatal("the frame shrank")
		}
		q := packet(t, 1, base.frame)
		if q.fields[flows.EthSrc] != p.fields[flows.EthSrc] {
			t.Fatal("eth_src")
		}
	})
}
