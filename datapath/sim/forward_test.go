package sim_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/datapath/sim"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

func frame(t *testing.T) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true},
		&layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: 0x88b5},
		gopacket.Payload("over the tunnel")); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// program gives a switch flows through a session, as a controller does.
func program(t *testing.T, c *openflow.Conn, lines string) {
	t.Helper()
	fs, err := flows.ParseFlows(strings.NewReader(lines))
	if err != nil {
		t.Fatal(err)
	}
	delta := flows.Diff(flows.Flat(&flows.Part{}), flows.Flat(&flows.Part{Flows: fs}))
	if err := c.Commit(t.Context(), flows.Plan(delta)); err != nil {
		t.Fatal(err)
	}
}

// TestFramesGoFromSwitchToSwitch: a hundred switches, each programmed over OpenFlow, pass
// a frame on through tunnels, and count it.
func TestFramesGoFromSwitchToSwitch(t *testing.T) {
	const n = 100
	tep := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 9, 0, byte(i + 1)}) }
	under := sim.NewUnderlay()
	var switches []*sim.Switch
	for i := range n {
		sw := sim.New(uint64(i + 1))
		for _, p := range []ofp13.PortDesc{{Number: 1, Name: "guest"}, {Number: 101, Name: "gre0"}} {
			if err := sw.SetPort(p); err != nil {
				t.Fatal(err)
			}
		}
		if err := under.Join(tep(i), sw, map[string]uint32{"gre": 101}); err != nil {
			t.Fatal(err)
		}
		switches = append(switches, sw)
	}
	cookie := flows.NewCookie(1, 1, 1)
	for i, sw := range switches {
		c := dialled(t, sw, openflow.Options{})
		program(t, c, fmt.Sprintf(`
			cookie=%s,priority=2,in_port=1,dl_dst=02:00:00:00:00:02 actions=set_field:0x5->tun_id,set_field:%s->tun_dst,output:101
			cookie=%[1]s,priority=1,tun_id=0x5,tun_src=%[3]s,in_port=101 actions=output:1`, cookie, tep((i+1)%n), tep((i+n-1)%n)))
	}
	got := make([]string, n)
	for i, sw := range switches {
		sw.Attach(1, func(b []byte, _ *trace.Via) { got[i] += string(b) })
	}
	sent := frame(t)
	for _, sw := range switches {
		if err := sw.Send(1, sent); err != nil {
			t.Fatal(err)
		}
	}
	for i := range got {
		if got[i] != string(sent) {
			t.Errorf("switch %d got %x", i, got[i])
		}
	}
	c := dialled(t, switches[0], openflow.Options{})
	dump, err := c.Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range dump.Flows {
		if s.Packets != 1 || s.Bytes != uint64(len(sent)) {
			t.Errorf("%s: %d packets, %d bytes", s.Flow, s.Packets, s.Bytes)
		}
	}
}

func TestPacketInsAndPacketOuts(t *testing.T) {
	sw := sim.New(1)
	for i := uint32(1); i <= 2; i++ {
		if err := sw.SetPort(ofp13.PortDesc{Number: i, Name: fmt.Sprint("p", i)}); err != nil {
			t.Fatal(err)
		}
	}
	ins := make(chan openflow.PacketIn, 1)
	c := dialled(t, sw, openflow.Options{OnPacketIn: func(in openflow.PacketIn) { in.Data = []byte(string(in.Data)); ins <- in }})
	cookie := flows.NewCookie(2, 1, 9)
	program(t, c, fmt.Sprintf("cookie=%s,table=0,priority=3,in_port=1 actions=set_field:7->reg0,controller", cookie))
	sent := frame(t)
	if err := sw.Send(1, sent); err != nil {
		t.Fatal(err)
	}
	in := <-ins
	if reg, _ := in.Match.Get(flows.Reg0); string(in.Data) != string(sent) || in.Cookie != cookie || in.InPort() != 1 || reg.Value.Lo != 7 {
		t.Errorf("%+v", in)
	}
	got := make(chan []byte, 1)
	sw.Attach(2, func(b []byte, _ *trace.Via) { got <- b })
	if err := c.PacketOut(t.Context(), openflow.PacketOut{InPort: flows.PortController, Data: sent,
		Actions: []flows.Action{flows.PushVLAN{EtherType: 0x8100}, flows.Set(flows.VLANVID, flows.U(0x1005)), flows.Output{Port: 2}}}); err != nil {
		t.Fatal(err)
	}
	want := string(sent[:12]) + "\x81\x00\x00\x05" + string(sent[12:])
	if b := <-got; string(b) != want {
		t.Errorf("%x, want %x", b, want)
	}
	if err := sw.SetLink(1, false); err != nil {
		t.Fatal(err)
	}
	if err := sw.Send(1, sent); err != nil || len(ins) > 0 {
		t.Error("a frame came in without a link: ", err)
	}
	if err := sw.Send(9, sent); err == nil {
		t.Error("a port that is not there took a frame")
	}
	if err := sw.Send(1, sent[:5]); err == nil {
		t.Error("a frame of five bytes")
	}
}

func TestFramesToNobodyAreCounted(t *testing.T) {
	under, sw := sim.NewUnderlay(), sim.New(1)
	for i := uint32(1); i <= 2; i++ {
		if err := sw.SetPort(ofp13.PortDesc{Number: i}); err != nil {
			t.Fatal(err)
		}
	}
	if err := under.Join(netip.MustParseAddr("10.9.0.1"), sw, map[string]uint32{"vxlan": 2}); err != nil {
		t.Fatal(err)
	}
	f, err := flows.ParseFlow("in_port=1 actions=set_field:10.9.0.7->tun_dst,output:2")
	if err != nil {
		t.Fatal(err)
	}
	if err := sw.Do(flows.Op{Kind: flows.AddFlow, Flow: f}); err != nil {
		t.Fatal(err)
	}
	if err := sw.Send(1, frame(t)); err != nil {
		t.Fatal(err)
	}
	if under.Lost() != 1 {
		t.Errorf("%d lost, want 1", under.Lost())
	}
	if err := under.Join(netip.MustParseAddr("10.9.0.1"), sim.New(2), nil); err == nil {
		t.Error("two switches with one endpoint")
	}
}
