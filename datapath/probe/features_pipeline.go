package probe

const (
	addrA  = "192.0.2.1"
	addrB  = "192.0.2.2"
	addrX  = "203.0.113.9" // what NAT translates to
	addrA6 = "2001:db8::1"
	addrB6 = "2001:db8::2"
	addrX6 = "2001:db8:9::9"
)

// v4 and v6 are a datagram from a to b.
var (
	v4 = packet{src: addrA, dst: addrB, payload: 60}
	v6 = packet{src: addrA6, dst: addrB6, payload: 60}
)

// pipelineFeatures are what rewrites and copies packets.
func pipelineFeatures() []Feature {
	tagged, double := v4, v4
	tagged.vlans, double.vlans = []uint16{10}, []uint16{10, 20}
	large := v4
	large.payload = 400
	arp := packet{src: addrA, dst: addrB, arp: true}
	solicit := packet{src: addrA6, dst: addrB6, ns: true}
	return []Feature{
		{
			Name: "masked-set", Title: "set some bits of a field", Need: Now, For: "VLAN ID with its priority kept",
			question: question{showFeatures, "Masked set action"}, fix: newer("4.0", "2.5"),
			trial: sends(flows("in_port=1,actions=set_field:0a:00:00:00:00:00/ff:00:00:00:00:00->eth_dst,output:2"),
				arrives(p1, v4, p2, "dl_dst=0a:be:00:00:00:02 nw_dst="+addrB)),
		},
		{
			Name: "recirculation", Title: "recirculation", Need: Now, For: "conntrack, MPLS, select groups",
			question: question{showFeatures, "Recirc"}, fix: newer("3.19", "2.5"),
		},
		{
			Name: "flow-identifiers", Title: "flows known by an identifier (UFID)", Need: Known, For: "revalidation without the whole key",
			question: question{showFeatures, "Ufid"},
		},
		{
			Name: "clone", Title: "a copy that is changed, the original not", Need: Now, For: "one copy per peer of a broadcast",
			question: question{showFeatures, "Clone action"}, fix: newer("4.12", "2.8"),
			trial: sends(flows("ip,in_port=1,actions=clone(set_field:"+addrX+"->ip_dst,output:2),output:3"),
				arrives(p1, v4, p2, "nw_dst="+addrX), arrives(p1, v4, p3, "nw_dst="+addrB)),
		},
		{
			Name: "sample-nesting", Title: "nested samples, levels", Need: Known, For: "mirrors, sFlow",
			question: question{showFeatures, "Sample nesting"},
		},
		{
			Name: "truncate", Title: "output cut to a length", Need: Known, For: "mirrors of headers",
			question: question{showFeatures, "Truncate action"},
			trial:    sends(flows("in_port=1,actions=output(port=2,max_len=64)"), arrives(p1, large, p2, "len=64")),
		},
		{
			Name: "drop-action", Title: "drop as an action of its own, with a reason", Need: Known, For: "drop reasons in perf and dropwatch",
			question: question{showFeatures, "Explicit Drop action"},
		},
		{
			Name: "vlan", Title: "push, change and pop an 802.1Q tag", Need: Now, For: "trunk ports",
			fix: newer("3.3", "2.5"),
			trial: sends(flows("in_port=1,vlan_tci=0,actions=push_vlan:0x8100,set_field:4196->vlan_vid,output:2",
				"in_port=1,dl_vlan=10,actions=set_field:4107->vlan_vid,output:2", "in_port=2,dl_vlan=10,actions=pop_vlan,output:3"),
				arrives(p1, v4, p2, "vlan1=100"), arrives(p1, tagged, p2, "vlan1=11"), arrives(p2, tagged, p3, "nw_dst="+addrB+" len=102")),
		},
		{
			Name: "two-tags", Title: "look at the inner of two tags", Need: Known, For: "QinQ inside a network",
			question: question{showFeatures, "Max VLAN headers"},
			trial: sends(flows("table=0,in_port=1,dl_vlan=10,actions=pop_vlan,resubmit(,1)", "table=1,dl_vlan=20,actions=output:2"),
				arrives(p1, double, p2, "vlan1=20")),
		},
		{
			Name: "qinq-push", Title: "push an S-tag in front of a tag", Need: Known, For: "QinQ wires",
			trial: sends(flows("in_port=1,actions=push_vlan:0x88a8,set_field:4296->vlan_vid,output:2"),
				arrives(p1, tagged, p2, "vlan1=200 vlan2=10")),
		},
		{
			Name: "mpls", Title: "push and pop an MPLS label", Need: Known, For: "MPLS towards a provider",
			question: question{showFeatures, "Max MPLS depth"},
			trial: sends(flows("ip,in_port=1,actions=push_mpls:0x8847,set_field:77->mpls_label,output:2", "mpls,in_port=2,actions=pop_mpls:0x0800,output:3"),
				arrives(p1, v4, p2, "mpls=77")),
		},
		{
			Name: "mpls-add", Title: "MPLS in front of the Ethernet header", Need: Known, For: "MPLS over other layers",
			question: question{showFeatures, "MPLS Label add"},
		},
		{
			Name: "dec-ttl", Title: "decrement TTL and hop limit", Need: ForService, For: "routers",
			fix: newer("4.0", "2.5"),
			trial: sends(flows("ip,in_port=1,actions=dec_ttl,output:2", "ipv6,in_port=1,actions=dec_ttl,output:2"),
				arrives(p1, v4, p2, "nw_ttl=63"), arrives(p1, v6, p2, "nw_ttl=63")),
		},
		{
			Name: "check-pkt-larger", Title: "look at the length of a packet", Need: ForService, For: "routers: packet too big, path MTU",
			question: question{showFeatures, "Check pkt length action"}, fix: newer("5.2", "2.12"),
			trial: sends(flows("table=0,ip,in_port=1,actions=check_pkt_larger(300)->NXM_NX_REG0[0],resubmit(,1)",
				"table=1,reg0=0/1,actions=output:2", "table=1,reg0=1/1,actions=output:3"),
				arrives(p1, v4, p2, "nw_dst="+addrB), arrives(p1, large, p3, "nw_dst="+addrB)),
		},
		{
			Name: "arp-answer", Title: "answer ARP by flows", Need: Now, For: "known neighbours answered in the switch",
			fix: newer("3.3", "2.5"),
			trial: sends(flows("arp,in_port=1,arp_op=1,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:"+macB.String()+"->eth_src,"+
				"set_field:2->arp_op,move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],"+
				"set_field:"+macB.String()+"->arp_sha,set_field:"+addrB+"->arp_spa,in_port"),
				arrives(p1, arp, p1, "arp_op=2 arp_spa="+addrB+" arp_sha="+macB.String())),
		},
		{
			Name: "nd-answer", Title: "answer neighbour solicitations by flows", Need: Known, For: "known IPv6 neighbours answered in the switch and not by the controller",
			question: question{showFeatures, "IPv6 ND Extension"},
			trial: sends(flows("table=0,icmp6,in_port=1,icmp_type=135,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:"+macB.String()+"->eth_src,"+
				"move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[],set_field:"+addrB6+"->ipv6_src,set_field:136->icmpv6_type,"+
				"set_field:2->nd_options_type,set_field:0x60000000->nd_reserved,resubmit(,1)",
				"table=1,icmp6,icmp_type=136,actions=set_field:"+macB.String()+"->nd_tll,in_port"),
				arrives(p1, solicit, p1, "nd_target="+addrB6+" nd_flags=0x60")),
		},
	}
}
