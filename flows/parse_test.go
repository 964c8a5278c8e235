package flows_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	. "github.com/ofctl-lab/ofctl-lab/flows"
)

func TestSyntaxErrorsSayWhere(t *testing.T) {
	for _, c := range []struct {
		text string
		col  int
		msg  string
	}{
		{"priority=1,frob=2 actions=drop", 12, `"frob": unknown field`},
		{"priority=1,frob actions=drop", 12, `"frob": not a protocol`},
		{"priority=1 actions=output:1,learn(table=3)", 29, `learn is not interpreted`},
		{"ip actions=ct(commit,alg=ftp)", 22, "ct(alg) is not interpreted"},
		{"ip actions=ct(commit,nat(src=10.0.0.1:x))", 30, "want ADDRESS"},
		{"ip actions=resubmit(,1,ct)", 22, "resubmit(ct) is not interpreted"},
		{"conj_id=1 actions=drop", 1, "conj_id is not interpreted"},
		{"priority=1 actions=set_field:5->xreg3", 33, "xreg3 is not interpreted"},
		{"priority=1 actions=pop:NXM_OF_IN_PORT[]", 24, "NXM_OF_IN_PORT is not interpreted"},
		{"priority=1 actions=push:NXM_OF_IN_PORT[3..16]", 40, "which has 16"},
		{"priority=1 actions=note:0", 25, "pairs of hexadecimal digits"},
		{"priority=1 actions=output(port=2,len=5)", 34, "not known"},
		{"priority=1 actions=output:1,set_field:5->reg99", 42, `"reg99": unknown field`},
		{"priority=1 actions=load:0x100->NXM_NX_REG0[0..7]", 25, "more than the 8 bits"},
		{"priority=1 actions=load:1->NXM_NX_REG0[30..33]", 40, "which has 32"},
		{"priority=1 actions=move:NXM_NX_REG0[]->NXM_NX_REG1[0..3]", 25, "32 bits to 4 bits"},
		{"priority=1 actions=set_field:1->in_port", 33, "write load:PORT->OXM_OF_IN_PORT[]"},
		{"priority=1 actions=set_field:1->ct_state", 33, "cannot be written"},
		{"priority=65536 actions=drop", 10, "too large, at most 65535"},
		{"priority=x actions=drop", 10, "not a number"},
		{"ip,nw_src=10.0.0.1/33 actions=drop", 20, "at most 32 bits"},
		{"ip,nw_src=fe80::1 actions=drop", 11, "not an address"},
		{"dl_src=02:00:00:00:00 actions=drop", 8, "not an Ethernet address"},
		{"dl_vlan=5000 actions=drop", 9, "at most 4095"},
		{"ip,arp actions=drop", 4, "given before"},
		{"reg0=1,reg0=2 actions=drop", 8, "given before"},
		{"ip,nw_frag=maybe actions=drop", 12, "yes, no, first"},
		{"send_flow_rem,ip actions=drop", 1, "flow flags"},
		{"ip", 1, "no actions"},
		{"ip actions=resubmit(1", 12, "without a closing one"},
		{"ip actions=output:1)", 20, "without an opening one"},
		{"ip actions=drop,output:1", 12, "stands alone"},
		{"ct_state=+trk+nope,ip actions=drop", 15, "unknown flag"},
	} {
		_, err := ParseFlow(c.text)
		var se *SyntaxError
		if !errors.As(err, &se) || se.Column != c.col || !strings.Contains(se.Msg, c.msg) {
			t.Errorf("%s: got %v; want column %d, %s", c.text, err, c.col, c.msg)
		}
	}
	_, err := ParseFlows(strings.NewReader("# one\n\nip actions=drop\nip actions=nope\n"))
	if err == nil || !strings.Contains(err.Error(), `line 4, column 12: "nope": unknown action`) {
		t.Errorf("got %v", err)
	}
	if _, err := ParseFlows(strings.NewReader(strings.Repeat("x", 2<<20))); err == nil {
		t.Error("a line without end was read")
	}
}

func TestGroupAndMeterErrorsSayWhere(t *testing.T) {
	group := func(s string) error { _, err := ParseGroup(s); return err }
	meter := func(s string) error { _, err := ParseMeter(s); return err }
	for _, c := range []struct {
		parse func(string) error
		text  string
		col   int
		msg   string
	}{
		{group, "type=all", 1, "needs group_id= and type="},
		{group, "group_id=1", 1, "needs group_id= and type="},
		{group, "group_id=1,type=most", 17, `"most": a group is`},
		{group, "group_id=1,type=all,frob=1", 21, "unknown attribute of a group"},
		{group, "group_id=1,type=all,bucket=weight:x,output:1", 35, "not a number"},
		{group, "group_id=1,type=all,bucket=output:1,frob", 37, "unknown action"},
		{group, "group_id=4294967296,type=all", 10, "too large"},
		{meter, "kbps,bands=type=drop,rate=1", 1, "a meter needs"},
		{meter, "meter=1,kbps", 1, "a meter needs"},
		{meter, "meter=1,bands=type=drop,rate=1", 1, "a meter needs"},
		{meter, "meter=1,kbps,rate=1", 14, "after type=drop"},
		{meter, "meter=1,kbps,bands=type=dscp_remark,rate=1", 25, "only drop bands"},
	} {
		var se *SyntaxError
		if err := c.parse(c.text); !errors.As(err, &se) || se.Column != c.col || !strings.Contains(se.Msg, c.msg) {
			t.Errorf("%s: got %v; want column %d, %s", c.text, err, c.col, c.msg)
		}
	}
}

func TestValidateSaysWhy(t *testing.T) {
	ip := Match{}.With(EthType, U(0x800))
	for _, c := range []struct {
		flow Flow
		msg  string
	}{
		{Flow{Match: Match{}.With(IPv4Src, U(1))}, "ip_src needs ip"},
		{Flow{Match: ip.With(TCPDst, U(1))}, "tcp_dst needs tcp or tcp6"},
		{Flow{Match: Match{}.WithMask(EthType, U(0), U(1))}, "cannot be matched in part"},
		{Flow{Match: Match{{Reg1, U(1), U(1)}, {Reg0, U(1), U(1)}}}, "reg0 after reg1"},
		{Flow{Match: Match{{Reg1, U(1), U(1)}, {Reg1, U(1), U(1)}}}, "reg1 twice"},
		{Flow{Match: Match{{Reg1, U(2), U(1)}}}, "outside its mask"},
		{Flow{Match: Match{{200, U(2), U(1)}}}, "not a field"},
		{Flow{Table: 5, Goto: 5}, "higher table"},
		{Flow{Table: 254}, "last table is 253"},
		{Flow{Apply: []Action{Output{}}}, "not a port to output to"},
		{Flow{Apply: []Action{Output{Port: 0x10000}}}, "not a port to output to"},
		{Flow{Apply: []Action{DecTTL{}}}, "must match ip or ipv6"},
		{Flow{Apply: []Action{PopVLAN{}}}, "must match vlan_tci=0x1000/0x1000"},
		{Flow{Apply: []Action{Set(EthType, U(5))}}, "cannot be written"},
		{Flow{Apply: []Action{SetField{Reg0, U(5), U(0xf0f)}}}, "one run of bits"},
		{Flow{Apply: []Action{Move{Subfield{Reg0, 0, 8}, Subfield{Reg1, 0, 9}}}}, "8 bits to 9 bits"},
		{Flow{Apply: []Action{ToGroup{ID: GroupAny}}}, "last group"},
		{Flow{Write: []Action{Resubmit{Port: PortInPort, Table: 3}}}, "cannot be in write_actions"},
		{Flow{Write: []Action{ToController{MaxLen: 14, Meter: 1}}}, "cannot be in write_actions"},
		{Flow{Apply: []Action{ToController{Meter: 0xffff0001}}}, "last meter"},
		{Flow{Apply: []Action{nil}}, "not an action"},
		{Flow{Apply: []Action{PopMPLS{EtherType: 0x800}}}, "must match mpls or mplsm"},
		{Flow{Apply: []Action{PushMPLS{EtherType: 0x800}}}, "0x8847 or 0x8848"},
		{Flow{Match: ip, Apply: []Action{PushMPLS{EtherType: 0x8847}, DecTTL{}}}, "must match ip or ipv6"},
		{Flow{Apply: []Action{OutputTrunc{Port: PortNormal, MaxLen: 100}}}, "takes a part"},
		{Flow{Apply: []Action{OutputTrunc{Port: 1, MaxLen: 13}}}, "14 bytes"},
		{Flow{Apply: []Action{NewClone()}}, "without an action"},
		{Flow{Apply: []Action{NewClone(DecTTL{})}}, "must match ip or ipv6"},
		{Flow{Apply: []Action{Note{Data: "abc"}}}, "multiple of 8"},
		{Flow{Apply: []Action{CheckLarger{Dst: Subfield{Reg0, 0, 2}}}}, "one bit"},
		{Flow{Write: []Action{NewClone(Output{Port: 1})}}, "cannot be in write_actions"},
		{Flow{Match: ip, Apply: []Action{CT{NAT: NAT{Kind: NATSource}}}}, "need commit"},
		{Flow{Match: ip, Apply: []Action{CT{Commit: true, NAT: NAT{Kind: NATSource, PortMin: 5}}}}, "its first address"},
		{Flow{Match: ip, Apply: []Action{CT{Commit: true, NAT: NAT{Kind: NATSource, Min: netip.MustParseAddr("fd00::1")}}}}, "not an address of the packets"},
	} {
		if err := c.flow.Validate(); err == nil || !strings.Contains(err.Error(), c.msg) {
			t.Errorf("%v: got %v, want %q", &c.flow, err, c.msg)
		}
	}
}

func TestNamesInText(t *testing.T) {
	f, err := ParseFlow("table=3,in_port=7 actions=output:7,resubmit(7,4),goto_table:4")
	if err != nil {
		t.Fatal(err)
	}
	o := FormatOptions{
		TableName: func(n uint8) string { return map[uint8]string{3: "classify", 4: "l2_dst"}[n] },
		PortName:  func(n uint32) string { return map[uint32]string{7: "red a"}[n] },
	}
	want := `cookie=0x0, duration=9s, table=classify, n_packets=1, n_bytes=2, in_port="red a" actions=output:"red a",resubmit("red a",l2_dst),goto_table:l2_dst`
	if got := (FlowStats{Flow: f, Packets: 1, Bytes: 2, Duration: 9}).Format(o); got != want {
		t.Errorf("got %s", got)
	}
	s, err := ParseFlowStats((FlowStats{Flow: f, Packets: 1, Bytes: 2, Duration: 9}).String())
	if err != nil || s.Packets != 1 || s.Bytes != 2 || s.Duration != 9 || !s.Flow.Equal(f) {
		t.Errorf("got %+v, %v", s, err)
	}
}

// FuzzParseFlow holds that no text crashes the parser, that Validate and Normalize
// take whatever it makes, and that a valid flow survives its own text.
func FuzzParseFlow(f *testing.F) {
	for _, k := range strings.Split(strings.TrimSpace(kindsText), "\n") {
		f.Add(k)
	}
	f.Fuzz(func(t *testing.T, s string) {
		fl, err := ParseFlow(s)
		if err != nil {
			var se *SyntaxError
			if !errors.As(err, &se) || se.Column < 1 || se.Column > len(s)+1 {
				t.Fatalf("%q: %#v", s, err)
			}
			return
		}
		if Normalize(fl) != fl {
			t.Fatalf("%q: not in normal form: %v", s, fl)
		}
		if fl.Validate() != nil {
			return
		}
		again, err := ParseFlow(fl.String())
		if err != nil || !again.Equal(fl) || again.Key() != fl.Key() {
			t.Fatalf("%q: %v comes back as %v, %v", s, fl, again, err)
		}
	})
}

func FuzzParseGroup(f *testing.F) {
	f.Add("group_id=2,type=all,bucket=output:1,bucket=weight:5,actions=set_field:0x5->tun_id,output:2")
	f.Add("group_id=5,type=ff,bucket=watch_port:1,actions=output:1,bucket=watch_group=2,bucket_id:3,drop")
	f.Fuzz(func(t *testing.T, s string) {
		g, err := ParseGroup(s)
		if err != nil || g.Validate() != nil ||
			slices.ContainsFunc(g.Buckets, func(b Bucket) bool { return (&Flow{Apply: b.Actions}).Validate() != nil }) {
			return
		}
		if again, err := ParseGroup(g.String()); err != nil || !again.Equal(g) {
			t.Fatalf("%q: %v comes back as %v, %v", s, g, again, err)
		}
	})
}

func FuzzParseMeter(f *testing.F) {
	f.Add("meter=16385,pktps,burst,bands=type=drop,rate=5,burst_size=9")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMeter(s)
		if err != nil {
			return
		}
		if again, err := ParseMeter(m.String()); err != nil || !again.Equal(m) {
			t.Fatalf("%q: %v comes back as %v, %v", s, m, again, err)
		}
	})
}
