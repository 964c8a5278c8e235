package trace

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// TestWhatNATChoosesIsUnsure: an address that the switch chooses is nobody's guess: a copy
// says which of its fields are assumed, and a table that looks at one makes the verdict
// unknown.
func TestWhatNATChoosesIsUnsure(t *testing.T) {
	const snat = "ip,actions=ct(commit,nat(src=9.9.9.9-9.9.9.12),table=1)\n"
	const established = "ip,actions=ct(nat,table=1)\n"
	for _, k := range []struct {
		name, flows string
		conn        Conn
		unknown     string        // what is said not to be known
		unsure      []flows.Field // of the first copy
	}{
		{"one of several", snat + "table=1,ip,actions=output:2", Conn{State: ConnNew}, "", []flows.Field{flows.IPv4Src}},
		{"one of one", "ip,actions=ct(commit,nat(src=9.9.9.9),table=1)\ntable=1,ip,nw_src=9.9.9.9,actions=output:2", Conn{State: ConnNew}, "", nil},
		{"looked at", snat + "table=1,ip,nw_src=9.9.9.9,actions=output:2", Conn{State: ConnNew}, "looks at ip_src", nil},
		{"looked at by what does not count", snat + "table=1,ip,actions=output:2\ntable=1,priority=1,ip,nw_src=9.9.9.9,actions=output:3", Conn{State: ConnNew}, "", []flows.Field{flows.IPv4Src}},
		{"copied and looked at", snat + "table=1,ip,actions=move:NXM_OF_IP_SRC[0..15]->NXM_NX_REG1[0..15],goto_table:2\ntable=2,reg1=5,actions=output:2", Conn{State: ConnNew}, "looks at reg1", nil},
		{"by the stack", snat + "table=1,ip,actions=push:NXM_OF_IP_SRC[],pop:NXM_NX_REG1[],goto_table:2\ntable=2,reg1=5,actions=output:2", Conn{State: ConnNew}, "looks at reg1", nil},
		{"a port", snat + "table=1,ip,actions=output:NXM_OF_IP_SRC[0..15]", Conn{State: ConnNew}, "depends on ip_src", nil},
		{"written over", snat + "table=1,ip,actions=set_field:1.2.3.4->ip_src,goto_table:2\ntable=2,ip,nw_src=1.2.3.4,actions=output:2", Conn{State: ConnNew}, "", nil},
		{"in the list", "ip,actions=ct(commit,nat(dst=9.9.9.9:80-90)),output:2", Conn{State: ConnNew}, "", []flows.Field{flows.UDPDst}},
		{"an old connection", established + "table=1,ip,actions=output:2", Conn{State: ConnEstablished}, "",
			[]flows.Field{flows.IPv4Src, flows.IPv4Dst, flows.UDPSrc, flows.UDPDst}},
		{"an old connection's state", established + "table=1,ct_state=+est,ip,actions=output:2", Conn{State: ConnEstablished}, "",
			[]flows.Field{flows.IPv4Src, flows.IPv4Dst, flows.UDPSrc, flows.UDPDst}},
		{"whether it is translated", established + "table=1,ct_state=+est+snat,ip,actions=output:2", Conn{State: ConnEstablished}, "looks at ct_state", nil},
		{"an old connection of which it is said", established + "table=1,ip,nw_dst=9.9.9.9,actions=output:2",
			Conn{State: ConnEstablished, NAT: &Translation{Dst: client4}}, "", nil},
	} {
		t.Run(k.name, func(t *testing.T) {
			part := &flows.Part{}
			for _, line := range strings.Split(k.flows, "\n") {
				f, err := flows.ParseFlow(line)
				if err != nil {
					t.Fatal(err)
				}
				part.Flows = append(part.Flows, f)
			}
			s, err := New(Config{Ports: testPorts, State: flows.Flat(part)})
			if err != nil {
				t.Fatal(err)
			}
			res := s.Trace(packet(t, 1, ipFrame(t, client4, server4, layers.IPProtocolUDP, 1000, 53)), Options{Conns: []Conn{k.conn}})
			b := res.Branches[0]
			said := strings.Join(b.Unknown, "; ")
			if (k.unknown == "") != (said == "") || !strings.Contains(said, k.unknown) {
				t.Errorf("said not to be known: %q, want %q", said, k.unknown)
			}
			if k.unknown != "" {
				return
			}
			if len(b.Outputs) == 0 && k.unsure != nil {
				t.Fatalf("nothing left: %s", b.Drop)
			}
			for i := range b.Outputs {
				if got := b.Outputs[i].Unsure(); !slices.Equal(got, k.unsure) {
					t.Errorf("unsure are %v, want %v", got, k.unsure)
				}
			}
		})
	}
}

// TestWhereOpenVSwitchFails: what Open vSwitch does not survive, or does to the wrong
// bytes, is said. (Each was seen on a real one, which for the tests would not be there any
// more.)
func TestWhereOpenVSwitchFails(t *testing.T) {
	sound := ipFrame(t, client4, server4, layers.IPProtocolUDP, 1000, 53)
	tagged := slices.Concat(sound[:12], []byte{0x81, 0, 0, 10}, sound[12:])
	snap := slices.Concat(sound[:12], []byte{0, 40, 0xaa, 0xaa, 3, 0, 0, 0}, sound[12:])
	bottomless := slices.Concat(sound[:12], []byte{0x88, 0x47, 0, 0, 0x10, 64, 0, 0, 0x20, 64})
	deep := slices.Concat(sound[:12], []byte{0x88, 0x47, 0, 0, 0x10, 64, 0, 0, 0x20, 64, 0, 0, 0x30, 64, 0, 0, 0x41, 64})
	for _, k := range []struct {
		name, actions string
		frame         []byte
		says          string
	}{
		{"a label off a stack without a bottom", "clone(push_mpls:0x8847,output:2),output:3", bottomless, "Open vSwitch aborts"},
		{"a label off one with a bottom", "clone(push_mpls:0x8847,output:2),output:3", labelled(sound, 1, 2), ""},
		{"too many labels within an action of the datapath", "check_pkt_larger(20)->NXM_NX_REG0[0],pop_mpls:0x0800", deep, "Open vSwitch aborts"},
		{"too many labels", "pop_mpls:0x0800", deep, ""},
		{"labels behind two tags of which one was read", "push_vlan:0x8100,CONTROLLER:0,push_mpls:0x8847,output:2", tagged, "writes over the wrong bytes"},
		{"labels behind a tag", "CONTROLLER:0,push_mpls:0x8847,output:2", tagged, ""},
		{"labels in place of a length", "push_mpls:0x8847,CONTROLLER:0,push_mpls:0x8847,output:2", snap, "writes over the wrong bytes"},
		{"an address behind two tags", "push_vlan:0x8100,CONTROLLER:0,set_field:9.9.9.9->ip_dst,output:2", tagged, "writes over the wrong bytes"},
	} {
		t.Run(k.name, func(t *testing.T) {
			match := ""
			switch {
			case strings.Contains(k.actions, "ip_dst"):
				match = "ip,"
			case strings.Contains(k.actions, "pop_mpls"):
				match = "mpls,"
			}
			f, err := flows.ParseFlow(match + "actions=" + k.actions)
			if err != nil {
				t.Fatal(err)
			}
			s, err := New(Config{Ports: testPorts, State: flows.Flat(&flows.Part{Flows: []*flows.Flow{f}})})
			if err != nil {
				t.Fatal(err)
			}
			res := s.Trace(packet(t, 1, k.frame), Options{})
			said := strings.Join(res.Branches[0].Unknown, "; ")
			if (k.says == "") != (said == "") || !strings.Contains(said, k.says) {
				t.Errorf("said: %q, want %q", said, k.says)
			}
		})
	}
}
