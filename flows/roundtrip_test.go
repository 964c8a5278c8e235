package flows_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/ofctl-lab/ofctl-lab/flows"
)

// dump is the text and the flows of br0.
func (v *vswitch) dump() ([]string, []*Flow) {
	v.t.Helper()
	out, err := v.ofctl("", "dump-flows", "--no-stats")
	if err != nil {
		v.t.Fatal(err)
	}
	fs, err := ParseFlows(strings.NewReader(out))
	if err != nil {
		v.t.Fatalf("%v in\n%s", err, out)
	}
	var lines []string
	for l := range strings.Lines(out) {
		lines = append(lines, strings.TrimSpace(l))
	}
	return lines, fs
}

// load replaces the flows of br0.
func (v *vswitch) load(fs []*Flow) error {
	v.t.Helper()
	var b strings.Builder
	for _, f := range fs {
		b.WriteString(f.String() + "\n")
	}
	if _, err := v.ofctl("", "del-flows"); err != nil {
		return err
	}
	_, err := v.ofctl(b.String(), "add-flows", "-", "--bundle")
	return err
}

// TestKindsOnOpenVSwitch is a flow of each kind in its own words, to be taken by
// a real switch and come back equal.
func TestKindsOnOpenVSwitch(t *testing.T) {
	kinds := strings.Split(strings.TrimSpace(kindsText), "\n")
	v := startVswitch(t)
	for command, arg := range map[string]string{
		"add-group": "group_id=1073741825,type=all",
		"add-meter": "meter=16384,kbps,bands=type=drop,rate=5",
	} {
		if _, err := v.ofctl("", command, arg); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range kinds {
		f, err := ParseFlow(k)
		if err != nil {
			t.Errorf("%s: %v", k, err)
			continue
		}
		if err := f.Validate(); err != nil {
			t.Errorf("%s: %v", k, err)
		}
		// Both the text as it stands and ours must mean the same to the switch.
		for _, text := range []string{k, f.String()} {
			if _, err := v.ofctl("", "del-flows"); err != nil {
				t.Fatal(err)
			}
			if _, err := v.ofctl(text, "add-flows", "-"); err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			lines, got := v.dump()
			if len(got) != 1 || !got[0].Equal(f) {
				t.Errorf("%s\n came back as %s\n parsed as    %v\n want         %v", text, lines, got, f)
				continue
			}
			if got[0].Key() != f.Key() {
				t.Errorf("%s: came back with another key, as %s", text, lines)
			}
			// What the switch is sent in our words it prints in the same.
			if text != k && got[0].String() != lines[0] {
				t.Errorf("the switch prints\n %s, we print\n %s", lines[0], got[0])
			}
		}
	}
}

const kindsText = `
cookie=0xfc70101000000ff, table=3, priority=100, in_port=1 actions=set_field:0x5->reg0,goto_table:10
priority=0 actions=drop
idle_timeout=5,hard_timeout=6,priority=7,in_port=LOCAL,actions=IN_PORT
priority=1,in_port=3,dl_vlan=10,actions=pop_vlan,set_field:0x7->reg1,goto_table:10
priority=1,in_port=3,dl_vlan=10,dl_vlan_pcp=3,actions=strip_vlan,output:2
priority=1,in_port=3,dl_vlan_pcp=3,actions=output:2
priority=1,in_port=3,vlan_tci=0x0000/0x1fff,actions=output:2
priority=1,in_port=3,vlan_tci=0,actions=output:2
priority=1,in_port=3,vlan_tci=0x0000/0x1000,actions=output:2
priority=1,in_port=3,vlan_tci=0x1000/0x1000,actions=output:2
priority=1,in_port=3,vlan_tci=0x1000/0x1fff,actions=output:2
priority=1,in_port=3,vlan_tci=0x1005/0x10ff,actions=output:2
priority=1,in_port=3,vlan_tci=0xb005/0xf0ff,actions=output:2
priority=1,vlan_vid=0x1005,actions=output:2
priority=1,vlan_vid=0x1000/0x1000,actions=output:2
priority=1,vlan_vid=0,actions=output:2
priority=1,tun_id=0xf4241,tun_src=192.168.200.20,in_port=4 actions=set_field:0x7/0xff->reg1,goto_table:10
priority=1,tun_id=0x5/0xff,tun_dst=10.0.0.0/8,actions=load:0x1->NXM_NX_REG2[31],load:3->NXM_NX_REG2[4..5]
priority=1,tun_ipv6_src=fd00::1,tun_ipv6_dst=fd00::/64,actions=set_field:fd00::2->tun_ipv6_dst,output:4
priority=1,reg0=0x5/0x6,reg15=0x9,metadata=0x3/0xf,pkt_mark=0x1,actions=write_metadata:0x5/0xff,goto_table:9
priority=1,metadata=0x3,actions=write_metadata:0x5,goto_table:9
priority=1,dl_src=02:00:00:00:00:01,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=group:1073741825
priority=1,dl_type=0x88cc,actions=drop
priority=1,arp,arp_op=1,arp_spa=10.0.0.1,arp_tpa=10.0.0.0/24,arp_sha=02:00:00:00:00:01,arp_tha=00:00:00:00:00:00,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:02:00:00:00:00:02->eth_src,set_field:2->arp_op,move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],set_field:02:00:00:00:00:02->arp_sha,move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],set_field:10.0.0.5->arp_spa,IN_PORT
priority=1,arp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_proto=1,actions=drop
priority=1,rarp,actions=drop
priority=1,ip,nw_src=10.0.0.1,nw_dst=10.0.0.0/255.0.255.0,nw_tos=32,nw_ecn=1,nw_ttl=64,actions=dec_ttl,set_field:10.0.0.9->ip_dst,set_field:10.0.0.8->ip_src,set_field:7->ip_dscp,set_field:1->nw_ecn,set_field:3->nw_ttl,output:2
priority=1,ip,nw_frag=no,actions=drop
priority=2,ip,nw_frag=yes,actions=drop
priority=3,ip,nw_frag=first,actions=drop
priority=4,ip,nw_frag=later,actions=drop
priority=5,ip,nw_frag=not_later,actions=drop
priority=5,ip,nw_proto=47,actions=drop
priority=5,udp,tp_src=68,tp_dst=67,actions=CONTROLLER:128
priority=5,udp,udp_src=0x10/0xf0,actions=controller
priority=6,reg0=0x7,actions=controller(max_len=14,meter_id=16385),goto_table:9
priority=6,reg0=0x8,actions=controller(meter_id=16385),output:2
priority=6,reg0=0x9,actions=controller(max_len=14),output:2
priority=6,reg0=0xa,actions=write_actions(CONTROLLER:14)
priority=5,udp6,tp_src=547,actions=drop
priority=5,tcp,tcp_flags=+syn-ack,actions=drop
priority=5,tcp,tcp_flags=syn|ack,tcp_src=5,actions=set_field:9->tcp_src
priority=5,tcp6,tcp_dst=80,actions=drop
priority=5,sctp,tp_dst=80,actions=set_field:9->sctp_dst
priority=5,sctp6,tp_dst=80,actions=drop
priority=5,icmp,icmp_type=8,icmp_code=0,actions=set_field:0->icmp_type,set_field:1->icmp_code,output:2
priority=5,ipv6,ipv6_src=fd00::1,ipv6_dst=ff02::/16,ipv6_label=0x5,actions=set_field:fd00::3->ipv6_src
priority=5,ipv6,ipv6_src=::1.2.3.4,actions=set_field:::ffff:1.2.3.4->ipv6_dst
priority=5,icmp6,icmp_type=135,icmp_code=0,nd_target=fd00::1,nd_sll=02:00:00:00:00:01,actions=set_field:136->icmpv6_type,set_field:2->nd_options_type,set_field:0xe0000000->nd_reserved,resubmit(,20)
priority=5,icmp6,icmp_type=136,icmp_code=0,nd_target=fd00::1,nd_tll=02:00:00:00:00:01,actions=set_field:02:00:00:00:00:09->nd_tll,set_field:fd00::7->nd_target
priority=5,icmp6,icmp_type=136,icmp_code=0,nd_reserved=3,nd_options_type=2,actions=drop
priority=5,ct_state=+trk+new,ct_zone=5,ct_mark=0x3/0x7,ct_label=0x10000000000000001,ip,actions=drop
priority=5,ct_state=-trk,ip,actions=drop
priority=5,ct_state=new|trk,actions=drop
priority=6,ct_state=-trk,ip,actions=ct(table=5,zone=7)
priority=6,ct_state=-trk,ipv6,actions=ct(table=5,zone=NXM_NX_REG0[0..15]),ct_clear,output:2
priority=6,ct_state=+trk,ip,actions=ct(commit,force,zone=7,exec(set_field:0x5->ct_mark,load:0x3->NXM_NX_CT_LABEL[64..71])),output:2
priority=7,ct_state=+trk,ip,actions=ct(commit,exec(load:0x3->NXM_NX_CT_MARK[4..7],set_field:0x10000000000000001->ct_label)),output:2
priority=8,ct_state=+trk,ip,actions=ct(commit)
priority=5,actions=push_vlan:0x8100,set_field:4106->vlan_vid,set_field:3->vlan_pcp,output:2
priority=5,actions=push_vlan:0x88a8,output:2
priority=5,dl_vlan=7,actions=load:5->OXM_OF_VLAN_VID[],load:0x3->NXM_OF_VLAN_TCI[13..15]
priority=5,dl_vlan=7,actions=move:OXM_OF_VLAN_VID[]->NXM_NX_REG3[0..11]
priority=5,actions=set_field:0x1005->vlan_tci
priority=5,actions=output:NXM_NX_REG0[],output:NXM_NX_REG0[0..15]
priority=5,actions=NORMAL,FLOOD,ALL,LOCAL,IN_PORT,output:7
priority=5,actions=resubmit(,5),resubmit(7,5),resubmit:7,resubmit(in_port,6),resubmit(7,)
priority=5,actions=meter:16384,output:3,clear_actions,write_actions(set_field:0x3->reg2,group:1073741825),write_metadata:0x1/0x3,goto_table:4
priority=5,actions=clear_actions
priority=5,actions=write_actions(push_vlan:0x8100,set_field:4106->vlan_vid,output:2)
priority=5,ip,actions=write_actions(dec_ttl,output:2)
priority=5,actions=set_field:0x5/0xf0f->reg1
priority=5,actions=set_field:01:00:00:00:00:05/ff:00:00:00:00:0f->eth_dst
priority=5,ipv6,actions=set_field:fd00::5/ffff::ffff->ipv6_src,set_field:fd00::/ffff:ffff:ffff:ffff:ff00::->ipv6_dst
priority=5,actions=set_field:0x5->tun_id,set_field:192.168.200.21->tun_dst,set_field:192.168.200.20->tun_src,output:4
priority=5,actions=load:0x5->NXM_NX_TUN_ID[],load:0x5->NXM_NX_REG1[],load:5->OXM_OF_METADATA[0..31]
priority=5,actions=set_field:0x5->metadata,set_field:6->pkt_mark,load:5->OXM_OF_IN_PORT[]
priority=5,actions=move:OXM_OF_IN_PORT[]->NXM_NX_REG0[],move:NXM_NX_REG1[3]->NXM_NX_REG2[5],move:NXM_NX_REG1[0..7]->NXM_NX_TUN_ID[8..15]
priority=5,actions=output(port=2,max_len=100),output(port=LOCAL,max_len=14)
priority=5,actions=controller(reason=no_match,max_len=64,id=7,userdata=01.02.03.04.05,pause,meter_id=16384),controller(id=7),controller(reason=group),controller(userdata=0102),controller(pause)
priority=5,actions=push_mpls:0x8847,set_mpls_label:5,set_mpls_tc:3,set_field:7->mpls_ttl,dec_mpls_ttl,load:3->OXM_OF_MPLS_LABEL[0..3]
priority=5,mpls,mpls_label=5,mpls_tc=3,mpls_bos=1,mpls_ttl=7,actions=pop_mpls:0x0800,dec_ttl,set_field:10.0.0.1->ip_dst,output:2
priority=5,mplsm,mpls_bos=0,actions=pop_mpls:0x8848,push_mpls:0x8847,push_vlan:0x8100
priority=5,actions=write_actions(push_mpls:0x8847,dec_mpls_ttl,set_queue:5,output:2)
priority=5,actions=push:NXM_OF_IN_PORT[],push:NXM_NX_REG0[2..5],pop:NXM_NX_REG1[],load:0->NXM_OF_IN_PORT[],load:0xfffe->NXM_OF_IN_PORT[],move:NXM_OF_IN_PORT[]->NXM_NX_REG2[0..15],exit
priority=5,actions=set_queue:7,output:2,pop_queue,enqueue:2:5,note:01.02,note:01.02.03.04.05.06.07
priority=5,actions=clone(set_field:0x5->reg0,clone(output:2),set_field:0x5/0xf0f->reg1,output:3),output:4
priority=5,actions=check_pkt_larger(1500)->NXM_NX_REG1[2]
priority=5,tcp,actions=fin_timeout(idle_timeout=5,hard_timeout=6),fin_timeout(idle_timeout=5)
priority=5,ip,actions=dec_ttl(1,2),dec_ttl(0),mod_nw_src:1.2.3.4,mod_nw_dst:1.2.3.5,mod_nw_tos:4,mod_nw_ecn:1
priority=5,ip,actions=ct(commit,table=3,zone=1,nat(src=10.0.0.1-10.0.0.5:1000-2000,random),exec(set_field:0x5->ct_mark)),ct(nat),ct(commit,nat(dst=10.0.0.1,persistent,hash)),ct(commit,nat(src))
priority=5,ipv6,actions=ct(commit,nat(src=[fd00::1]-[fd00::5]:1000)),ct(commit,nat(dst=fd00::1)),ct(commit,nat(dst=[fd00::1]:5)),ct(commit,nat(dst=fd00::1-fd00::2))
priority=5,actions=mod_dl_src:02:00:00:00:00:01,mod_dl_dst:02:00:00:00:00:02,set_tunnel:5,output:2
`

// TestRandomFlowsOnOpenVSwitch puts random flows into a real switch and gets
// them back equal, in our order and in the switch's own words.
func TestRandomFlowsOnOpenVSwitch(t *testing.T) {
	v := startVswitch(t)
	if _, err := v.ofctl("", "add-group", "group_id=1073741825,type=all"); err != nil {
		t.Fatal(err)
	}
	fs := randomFlows(1500)
	if err := v.load(fs); err != nil {
		t.Fatal(err)
	}
	lines, got := v.dump()
	want := Flat(&Part{Flows: fs})
	if d := Diff(Flat(&Part{Flows: got}), want); !d.Empty() || len(d.Conflicts) > 0 {
		for _, c := range d.ModFlows[:min(3, len(d.ModFlows))] {
			t.Errorf("back  %v\nwants %v", c.Old, c.New)
		}
		for _, f := range d.AddFlows[:min(3, len(d.AddFlows))] {
			t.Errorf("lost  %v", f)
		}
		for _, f := range d.DelFlows[:min(3, len(d.DelFlows))] {
			t.Errorf("extra %v", f)
		}
		t.Fatalf("%d changes", d.Len())
	}
	ours := make([]string, len(got))
	for i, f := range got {
		ours[i] = f.String()
	}
	if d := cmp.Diff(lines, ours); d != "" {
		t.Errorf("the switch's words (-) and ours (+):\n%.4000s", d)
	}
	if !slices.EqualFunc(slices.Collect(Flat(&Part{Flows: got}).Flows()), slices.Collect(want.Flows()), (*Flow).Equal) {
		t.Error("the order of flows depends on where they come from")
	}
}

// TestGroupsAndMetersOnOpenVSwitch is the same for groups and meters.
func TestGroupsAndMetersOnOpenVSwitch(t *testing.T) {
	v := startVswitch(t)
	groups := []string{
		"group_id=1,type=all",
		"group_id=2,type=all,bucket=output:1,bucket=actions=set_field:0x5->tun_id,set_field:1.2.3.4->tun_dst,output:2",
		"group_id=3,type=select,bucket=weight:5,actions=output:1,bucket=output:2",
		"group_id=4,type=indirect,bucket=group:2",
		"group_id=5,type=ff,bucket=watch_port:1,actions=output:1,bucket=watch_group:2,actions=output:2",
		"group_id=6,type=all,bucket=actions=load:0x1->NXM_NX_REG1[3],push_vlan:0x8100,set_field:4106->vlan_vid,output:3,bucket=actions=resubmit(,7),bucket=IN_PORT,bucket=actions=drop",
	}
	var text strings.Builder
	want := new(Part)
	for _, s := range groups {
		g, err := ParseGroup(s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if err := g.Validate(); err != nil {
			t.Fatal(err)
		}
		want.Groups = append(want.Groups, g)
		text.WriteString(g.String() + "\n")
	}
	if _, err := v.ofctl(text.String(), "add-groups", "-"); err != nil {
		t.Fatal(err)
	}
	out, err := v.ofctl("", "dump-groups")
	if err != nil {
		t.Fatal(err)
	}
	got := new(Part)
	if got.Groups, err = ParseGroups(strings.NewReader(out)); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	for _, s := range []string{
		"meter=16384,kbps,bands=type=drop,rate=5", "meter=16385,pktps,burst,bands=type=drop,rate=5,burst_size=9",
	} {
		m, err := ParseMeter(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Validate(); err != nil {
			t.Fatal(err)
		}
		want.Meters = append(want.Meters, m)
		if _, err := v.ofctl("", "add-meter", m.String()); err != nil {
			t.Fatal(err)
		}
		out, err := v.ofctl("", "dump-meter", s[:len("meter=16384")])
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(out, "meter=")
		m, err = ParseMeter("meter=" + strings.Join(strings.Fields(body), " "))
		if err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		got.Meters = append(got.Meters, m)
	}
	if !Flat(got).Equal(Flat(want)) {
		t.Errorf("came back as\n%s, want\n%s", out, text.String())
	}
}
