package trace

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// endpoints of the packets of these tests.
var (
	client4, server4 = netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("10.1.1.2")
	client6, server6 = netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
)

// ipFrame is a frame with a UDP or TCP header, or an ICMP echo request when port is 0, and
// right checksums.
func ipFrame(t testing.TB, src, dst netip.Addr, proto layers.IPProtocol, from, to uint16) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
	var ip gopacket.NetworkLayer
	var head gopacket.SerializableLayer
	if src.Is4() {
		h := &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		ip, head = h, h
	} else {
		eth.EthernetType = layers.EthernetTypeIPv6
		h := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		ip, head = h, h
	}
	var l4 gopacket.SerializableLayer
	switch proto {
	case layers.IPProtocolTCP:
		h := &layers.TCP{SrcPort: layers.TCPPort(from), DstPort: layers.TCPPort(to), SYN: true, Window: 100}
		_ = h.SetNetworkLayerForChecksum(ip)
		l4 = h
	case layers.IPProtocolUDP:
		h := &layers.UDP{SrcPort: layers.UDPPort(from), DstPort: layers.UDPPort(to)}
		_ = h.SetNetworkLayerForChecksum(ip)
		l4 = h
	default:
		l4 = &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: from, Seq: 1}
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, head, l4, gopacket.Payload("abcd")); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// labelled is a frame with label stack entries in front of what it carries; the last one is
// the bottom.
func labelled(frame []byte, labels ...uint32) []byte {
	out := slices.Clone(frame[:12])
	out = append(out, 0x88, 0x47)
	for i, l := range labels {
		lse := l<<12 | 64
		if i == len(labels)-1 {
			lse |= lseBottom
		}
		out = binary.BigEndian.AppendUint32(out, lse)
	}
	return append(out, frame[14:]...)
}

// routed is an IPv6 frame with a routing header of a type that has segments left.
func routed(frame []byte, kind, segments byte) []byte {
	head := slices.Clone(frame[:54])
	rh := append([]byte{head[20], 2, kind, segments, 0, 0, 0, 0}, server6.AsSlice()...)
	head[20] = extRouting
	binary.BigEndian.PutUint16(head[18:], binary.BigEndian.Uint16(head[18:])+uint16(len(rh)))
	return slices.Concat(head, rh, frame[54:])
}

// TestRecirculationIsThatOfOpenVSwitch sends packets through what has them read anew by a
// real userspace datapath, which ofproto/trace does not show, and compares what leaves, byte
// for byte.
func TestRecirculationIsThatOfOpenVSwitch(t *testing.T) {
	v := startVswitch(t)
	c := v.capture()
	udp, tcp := layers.IPProtocolUDP, layers.IPProtocolTCP
	for _, k := range []struct {
		name  string
		flows string
		frame []byte
	}{
		{"source, behind the tracker", "ip,actions=ct(commit,zone=1,nat(src=9.9.9.9),table=1)\ntable=1,ip,nw_src=9.9.9.9,actions=output:2\ntable=1,priority=1,actions=output:3",
			ipFrame(t, client4, server4, udp, 1000, 53)},
		{"source with a port", "ip,actions=ct(commit,zone=2,nat(src=9.9.9.9:777),table=1)\ntable=1,udp,tp_src=777,actions=output:2",
			ipFrame(t, client4, server4, udp, 1000, 53)},
		{"destination with a port, TCP", "ip,actions=ct(commit,zone=3,nat(dst=9.9.9.9:8080),table=1)\ntable=1,tcp,tp_dst=8080,actions=output:2",
			ipFrame(t, client4, server4, tcp, 1000, 80)},
		{"the state says so", "ip,actions=ct(commit,zone=4,nat(dst=9.9.9.9),table=1)\ntable=1,ct_state=+new+dnat-snat,ip,actions=output:2\ntable=1,priority=1,actions=output:3",
			ipFrame(t, client4, server4, tcp, 1000, 80)},
		{"IPv6", "ipv6,actions=ct(commit,zone=5,nat(src=[fd09::9]:1234),table=1)\ntable=1,ipv6,ipv6_src=fd09::9,actions=output:2",
			ipFrame(t, client6, server6, udp, 1000, 53)},
		{"ICMP", "ip,actions=ct(commit,zone=6,nat(src=9.9.9.9),table=1)\ntable=1,ip,actions=output:2",
			ipFrame(t, client4, server4, layers.IPProtocolICMPv4, 7, 0)},
		{"what follows in the list", "ip,actions=ct(commit,zone=7,nat(src=9.9.9.9)),output:2,set_field:7->nw_ttl,output:3,resubmit(,1)\ntable=1,ip,nw_src=10.1.1.1,actions=output:4",
			ipFrame(t, client4, server4, udp, 1000, 53)},
		{"written over with what it was", "ip,actions=ct(commit,zone=8,nat(src=9.9.9.9)),set_field:10.1.1.1->ip_src,output:2,set_field:10.1.1.7->ip_src,output:3",
			ipFrame(t, client4, server4, udp, 1000, 53)},
		{"behind the tracker again", "ip,actions=ct(commit,zone=9,nat(src=9.9.9.9)),ct(zone=10,table=1)\ntable=1,ip,nw_src=9.9.9.9,actions=output:2\ntable=1,priority=1,actions=output:3",
			ipFrame(t, client4, server4, udp, 1000, 53)},
		{"not committed", "ip,actions=ct(zone=11,nat,table=1)\ntable=1,ip,nw_src=10.1.1.1,actions=output:2",
			ipFrame(t, client4, server4, udp, 1000, 53)},
		{"in a clone", "ip,actions=clone(ct(commit,zone=12,nat(src=9.9.9.9)),output:2),output:3",
			ipFrame(t, client4, server4, udp, 1000, 53)},
		{"without an address", "ip,actions=ct(commit,zone=13,nat(src),table=1)\ntable=1,ip,actions=output:2",
			ipFrame(t, client4, server4, udp, 1000, 53)},
		{"without its label", "mpls,actions=output:2,pop_mpls:0x0800,output:3,dec_ttl,output:4",
			labelled(ipFrame(t, client4, server4, udp, 1000, 53), 5)},
		{"without two labels", "mpls,actions=pop_mpls:0x8847,pop_mpls:0x0800,set_field:9.9.9.9->ip_src,resubmit(,1),output:4\ntable=1,ip,nw_src=9.9.9.9,actions=output:2",
			labelled(ipFrame(t, client4, server4, udp, 1000, 53), 5, 6)},
		{"without its label and in another table", "mpls,actions=resubmit(,1),output:4\ntable=1,mpls,actions=pop_mpls:0x0800,goto_table:2\ntable=2,udp,tp_dst=53,actions=output:2",
			labelled(ipFrame(t, client4, server4, udp, 1000, 53), 5)},
		{"without its label in a clone, which ends the list", "mpls,actions=clone(pop_mpls:0x0800,dec_ttl,output:2),output:3",
			labelled(ipFrame(t, client4, server4, udp, 1000, 53), 5)},
		{"without its label and with nothing left to do", "mpls,actions=output:2,pop_mpls:0x0800,note:01\nip,actions=output:3",
			labelled(ipFrame(t, client4, server4, udp, 1000, 53), 5)},
		{"another label", "ipv6,actions=push_mpls:0x8847,set_field:77->mpls_label,output:2,push_mpls:0x8848,dec_mpls_ttl,output:3",
			ipFrame(t, client6, server6, udp, 1000, 53)},
		{"a hash, which ends the clone's list", "ip,actions=clone(group:1),output:3",
			ipFrame(t, client4, server4, udp, 1000, 53)},
		{"a hash", "ip,actions=push_vlan:0x8100,group:1,resubmit(,1)\ntable=1,dl_vlan=0,actions=output:3",
			ipFrame(t, client4, server4, udp, 1000, 53)},
		{"addresses in front of a routing header", "ipv6,actions=set_field:fd09::9->ipv6_src,output:2,set_field:fd09::8->ipv6_dst,output:3",
			routed(ipFrame(t, client6, server6, udp, 1000, 53), 0, 1)},
		{"addresses in front of a routing header that is done with", "ipv6,actions=set_field:fd09::9->ipv6_src,output:2,set_field:fd09::8->ipv6_dst,output:3",
			routed(ipFrame(t, client6, server6, udp, 1000, 53), 0, 0)},
		{"addresses in front of a routing header of another type", "ipv6,actions=set_field:fd09::9->ipv6_src,output:2,set_field:fd09::8->ipv6_dst,output:3",
			routed(ipFrame(t, client6, server6, udp, 1000, 53), 2, 1)},
		{"nat in front of a routing header", "ipv6,actions=ct(commit,zone=15,nat(src=fd09::9),table=1)\ntable=1,ipv6,actions=output:2",
			routed(ipFrame(t, client6, server6, udp, 1000, 53), 2, 1)},
		{"behind a tag", "ip,actions=push_vlan:0x8100,set_field:4106->vlan_vid,ct(commit,zone=14,nat(src=9.9.9.9),table=1),output:3\ntable=1,ip,actions=output:2",
			ipFrame(t, client4, server4, udp, 1000, 53)},
	} {
		t.Run(k.name, func(t *testing.T) {
			tc := &testCase{groups: []*flows.Group{{ID: 1, Type: flows.GroupSelect, Buckets: []flows.Bucket{
				{Weight: 1, WatchPort: flows.PortAny, WatchGroup: flows.GroupAny, Actions: []flows.Action{flows.Output{Port: 2}}}}}}}
			for _, line := range strings.Split(k.flows, "\n") {
				f, err := flows.ParseFlow(line)
				if err != nil {
					t.Fatal(err)
				}
				tc.flows = append(tc.flows, f)
			}
			if err := v.load(tc); err != nil {
				t.Fatal(err)
			}
			v.call("revalidator/purge")
			s, err := tc.newSwitch(v.version)
			if err != nil {
				t.Fatal(err)
			}
			p := packet(t, 1, k.frame)
			b := s.Trace(p, Options{Conns: []Conn{{State: ConnNew}}}).Branches[0]
			ours, theirs := weSay(b), c.through(p, len(b.Outputs))
			if !slices.Equal(ours, theirs) || len(ours) == 0 || len(b.Unknown) > 0 {
				t.Errorf("Open vSwitch\n  %s\nwe\n  %s\n%v", counted(theirs), counted(ours), b.Unknown)
			}
		})
	}
}

// TestNATOfReplies: what the tracker makes of a reply is what the connection says, if
// somebody says that.
func TestNATOfReplies(t *testing.T) {
	v := startVswitch(t)
	c := v.capture()
	tc := &testCase{}
	for _, line := range []string{
		"in_port=1,ip,actions=ct(commit,zone=1,nat(src=9.9.9.9:777),table=1)",
		"in_port=2,ip,actions=ct(zone=1,nat,table=2)",
		"table=1,ip,actions=output:2", "table=2,ct_state=+est+rpl,ip,actions=output:1",
	} {
		f, err := flows.ParseFlow(line)
		if err != nil {
			t.Fatal(err)
		}
		tc.flows = append(tc.flows, f)
	}
	if err := v.load(tc); err != nil {
		t.Fatal(err)
	}
	s, err := tc.newSwitch(v.version)
	if err != nil {
		t.Fatal(err)
	}
	c.through(packet(t, 1, ipFrame(t, client4, server4, layers.IPProtocolUDP, 1000, 53)), 1)
	reply := packet(t, 2, ipFrame(t, server4, netip.MustParseAddr("9.9.9.9"), layers.IPProtocolUDP, 53, 777))
	said := Conn{State: ConnEstablished | ConnReply, NAT: &Translation{Dst: client4, DstPort: 1000}}
	ours := weSay(s.Trace(reply, Options{Conns: []Conn{said}}).Branches[0])
	if theirs := c.through(reply, 1); !slices.Equal(ours, theirs) || len(ours) != 1 {
		t.Errorf("Open vSwitch\n  %s\nwe\n  %s", counted(theirs), counted(ours))
	}
}
