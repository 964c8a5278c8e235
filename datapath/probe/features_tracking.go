package probe

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// trackingFeatures are connection tracking and what builds on it.
func trackingFeatures() []Feature {
	reply := packet{src: addrB, dst: addrA, sport: 2000, dport: 1000, payload: 60}
	reply6 := packet{src: addrB6, dst: addrA6, sport: 2000, dport: 1000, payload: 60}
	to := func(p packet, dst string) packet { p.dst = dst; return p }
	groups := "security groups"
	return []Feature{
		{
			Name: "ct-state", Title: "conntrack: commit, established, per zone", Need: ForService, For: groups,
			question: question{showFeatures, "CT zone"}, fix: module("nf_conntrack", "4.3", "2.6"),
			trial: sends(flows("table=0,ip,ct_state=-trk,actions=ct(table=1,zone=7)",
				"table=1,ip,in_port=1,ct_state=+trk+new,actions=ct(commit,zone=7),output:2",
				"table=1,ip,in_port=2,ct_state=+trk+est,ct_zone=7,actions=output:1",
				"table=1,ip,in_port=2,ct_state=+trk+new,actions=output:3"),
				arrives(p2, reply, p3, "tp_src=2000"), arrives(p1, v4, p2, "tp_src=1000"), arrives(p2, reply, p1, "tp_src=2000")),
		},
		{
			Name: "ct-state-ipv6", Title: "conntrack of IPv6", Need: ForService, For: groups,
			question: question{showFeatures, "CT orig tuple for IPv6"}, fix: module("nf_conntrack", "4.3", "2.6"),
			trial: sends(flows("table=0,ipv6,ct_state=-trk,actions=ct(table=1,zone=7)",
				"table=1,ipv6,in_port=1,ct_state=+trk+new,actions=ct(commit,zone=7),output:2",
				"table=1,ipv6,in_port=2,ct_state=+trk+est,actions=output:1"),
				arrives(p1, v6, p2, "tp_src=1000"), arrives(p2, reply6, p1, "tp_src=2000")),
		},
		{
			Name: "ct-mark", Title: "mark and label on connections", Need: ForService, For: groups + ": which rule let it in",
			question: question{showFeatures, "CT mark"}, fix: module("nf_conntrack", "4.3", "2.6"),
			trial: sends(flows("table=0,ip,ct_state=-trk,actions=ct(table=1,zone=7)",
				"table=1,ip,in_port=1,ct_state=+new,actions=ct(commit,zone=7,exec(set_field:0x5->ct_mark,set_field:0x6->ct_label)),output:2",
				"table=1,ip,in_port=2,ct_mark=5,ct_label=6,actions=output:1"),
				arrives(p1, v4, p2, "tp_src=1000"), arrives(p2, reply, p1, "tp_src=2000")),
		},
		{
			Name: "ct-orig-tuple", Title: "match the first packet's addresses on replies", Need: Known, For: "rules on connections after NAT",
			question: question{showFeatures, "CT orig tuple"},
			trial: sends(flows("table=0,ip,ct_state=-trk,actions=ct(table=1,zone=7)",
				"table=1,ip,in_port=1,ct_state=+new,actions=ct(commit,zone=7),output:2",
				"table=1,ip,in_port=2,ct_state=+est,ct_nw_src="+addrA+",ct_tp_src=1000,actions=output:1"),
				arrives(p1, v4, p2, "tp_src=1000"), arrives(p2, reply, p1, "tp_src=2000")),
		},
		{
			Name: "ct-clear", Title: "forget the connection of a packet", Need: ForService, For: "from one zone to the next: routers",
			question: question{showFeatures, "Conntrack clear"}, fix: newer("4.15", "2.8"),
			trial: sends(flows("table=0,ip,in_port=1,actions=ct(table=1,zone=7)", "table=1,ip,ct_state=+trk,actions=ct_clear,resubmit(,2)",
				"table=2,ip,ct_state=-trk,actions=output:2"), arrives(p1, v4, p2, "tp_src=1000")),
		},
		{
			Name: "ct-two-zones", Title: "a packet through two zones", Need: ForService, For: groups + " at both ends on one host",
			fix: module("nf_conntrack", "4.3", "2.6"),
			trial: sends(flows("table=0,ip,ct_state=-trk,actions=ct(table=1,zone=7)",
				"table=1,ip,in_port=1,ct_zone=7,ct_state=+new,actions=ct(commit,zone=7),ct(table=2,zone=8)",
				"table=2,ip,ct_zone=8,ct_state=+new,actions=ct(commit,zone=8),output:2",
				"table=1,ip,in_port=2,ct_zone=7,ct_state=+est,actions=ct(table=3,zone=8)",
				"table=3,ip,ct_zone=8,ct_state=+est,actions=output:1"),
				arrives(p1, v4, p2, "tp_src=1000"), arrives(p2, reply, p1, "tp_src=2000")),
		},
		{
			Name: "snat", Title: "source NAT", Need: ForService, For: "routers with SNAT",
			question: question{showFeatures, "CT state NAT"}, fix: module("nf_nat", "4.6", "2.8"),
			trial: sends(natFlows("ip", "src="+addrX),
				arrives(p1, v4, p2, "nw_src="+addrX+" nw_dst="+addrB), arrives(p2, to(reply, addrX), p1, "nw_src="+addrB+" nw_dst="+addrA)),
		},
		{
			Name: "snat-ipv6", Title: "source NAT of IPv6", Need: Known, For: "provider networks that translate IPv6",
			trial: sends(natFlows("ipv6", "src="+addrX6),
				arrives(p1, v6, p2, "nw_src="+addrX6), arrives(p2, to(reply6, addrX6), p1, "nw_dst="+addrA6)),
		},
		{
			Name: "dnat", Title: "destination NAT", Need: ForService, For: "floating IPs",
			question: question{showFeatures, "CT state NAT"}, fix: module("nf_nat", "4.6", "2.8"),
			trial: sends(natFlows("ip", "dst="+addrB),
				arrives(p1, to(v4, addrX), p2, "nw_src="+addrA+" nw_dst="+addrB), arrives(p2, reply, p1, "nw_src="+addrX+" nw_dst="+addrA)),
		},
		{
			Name: "snat-ports", Title: "source NAT of two guests with one port", Need: ForService, For: "routers with SNAT",
			fix: module("nf_nat", "4.6", "2.8"),
			trial: sends(natFlows("ip", "src="+addrX+":5000-5001"),
				arrives(p1, v4, p2, "nw_src="+addrX), arrives(p1, packet{src: "192.0.2.3", dst: addrB, payload: 60}, p2, "nw_src="+addrX)),
		},
		{
			Name: "snat-zero", Title: "NAT that only moves a port that is taken (all-zero source NAT)", Need: Known, For: "OVN's load balancers",
			question: question{showFeatures, "Conntrack all-zero IP SNAT"},
		},
		{
			Name: "ct-eventmask", Title: "choose which changes of a connection are told", Need: Known, For: "few events of conntrack -E",
			question: question{showFeatures, "Conntrack eventmask"},
		},
		{
			Name: "ct-timeout", Title: "a timeout of its own for each zone", Need: ForService, For: groups + ": idle connections",
			question: question{showFeatures, "Conntrack timeout policy"}, fix: module("nfnetlink_cttimeout", "5.2", "2.14"),
			trial: trial{tryTimeout},
		},
		{
			Name: "ct-limit", Title: "a limit of connections for each zone", Need: ForService, For: "one port cannot fill the table",
			question: question{zoneLimits, ""}, fix: module("nf_conncount", "4.18", "2.14"),
			trial: trial{tryLimit},
		},
		{
			Name: "ct-fragments", Title: "fragments through conntrack", Need: ForService, For: groups + ": large datagrams",
			fix:   module("nf_defrag_ipv4", "4.3", "2.12"),
			trial: sends(fragmentFlows, fragments(1400)...),
		},
		{
			Name: "ct-small-fragments", Title: "fragments below 1200 bytes through conntrack", Need: Known, For: "guests with a small MTU",
			trial: sends(fragmentFlows, fragments(800)...),
		},
	}
}

// natFlows translate what comes in by port 1, and take it back in replies.
func natFlows(family, nat string) rules {
	return flows(
		"table=0,"+family+",in_port=1,actions=ct(commit,zone=7,nat("+nat+"),table=1)",
		"table=0,"+family+",in_port=2,actions=ct(zone=7,nat,table=1)",
		"table=1,"+family+",in_port=1,actions=output:2",
		"table=1,"+family+",in_port=2,ct_state=+est,actions=output:1")
}

// fragmentFlows track before they forward.
var fragmentFlows = flows("table=0,ip,in_port=1,actions=ct(table=1,zone=7)", "table=1,ip,ct_state=+new,actions=ct(commit,zone=7),output:2",
	"table=1,ip,ct_state=+inv,actions=output:3")

// fragments are a datagram in two pieces, the first with so many bytes of IP payload. Both are sent before anything has to
// arrive, since a tracker holds the first back until it has the others.
func fragments(first int) []step {
	head := packet{src: addrA, dst: addrB, payload: first + 100, first: first}
	tail := head
	tail.last = true
	return []step{{in: p1, send: head}, arrives(p1, tail, p2, "nw_src="+addrA+" nw_dst="+addrB).unlessAt(p3)}
}

// The zone and the times of the trial of timeouts. A connection of one datagram lives for 30 s in the kernel and for 60 s in
// userspace unless it is told otherwise.
const (
	timeoutZone = 9
	shortLife   = 2 // seconds
	goneWithin  = 20 * time.Second
	manyReplies = 60 // more than there are looks in that time
)

// tryTimeout gives a zone a timeout in the database, opens connections, and replies to another one each time until a
// reply belongs to none any more: a reply to the same one would keep it alive. The table of connections is no
// evidence, since Open vSwitch 3.5 leaves those that have expired in it for a while.
func tryTimeout(ctx context.Context, s *scratch) (string, error) {
	dp := string(s.datapath)
	if _, err := s.c.Vsctl(ctx, "--timeout=10", "--id=@d", "create", "Datapath", "datapath_version=0", "--", "set", "Open_vSwitch", ".", "datapaths:"+dp+"=@d"); err != nil {
		return "", err
	}
	life := strconv.Itoa(shortLife)
	_, err := s.c.Vsctl(ctx, "--timeout=10", "add-zone-tp", dp, fmt.Sprintf("zone=%d", timeoutZone), "udp_first="+life, "udp_single="+life, "udp_multiple="+life)
	if err != nil {
		return "", err
	}
	err = s.install(ctx, flows(fmt.Sprintf("table=0,ip,in_port=1,actions=ct(commit,zone=%d),output:2", timeoutZone),
		fmt.Sprintf("table=0,ip,in_port=2,ct_state=-trk,actions=ct(table=1,zone=%d)", timeoutZone),
		"table=1,ip,ct_state=+est,actions=output:1", "table=1,ip,ct_state=+new,actions=output:3"))
	if err != nil {
		return "", err
	}
	for i := range uint16(manyReplies) {
		if err := s.step(ctx, arrives(p1, packet{src: addrA, dst: addrB, sport: 3000 + i}, p2, fmt.Sprintf("tp_src=%d", 3000+i))); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, goneWithin)
	defer cancel()
	alive := 0
	err = until(ctx, func() (bool, error) {
		if alive == manyReplies {
			return false, nil
		}
		port := 3000 + uint16(alive)
		if err := s.wires.send(p2, packet{src: addrB, dst: addrA, sport: usualDestination, dport: port}.frame()); err != nil {
			return false, err
		}
		at, err := s.either(ctx, fmt.Sprintf("tp_dst=%d", port), p1, p3)
		alive++
		return at == p3, err
	})
	if err != nil && ctx.Err() != nil {
		return "", &unlike{fmt.Sprintf("connections that were to live for %d s are there after %s", shortLife, goneWithin)}
	}
	return "", err
}

// tryLimit allows one connection in a zone and opens two. The second is not committed, and so its reply is not
// that of a connection.
func tryLimit(ctx context.Context, s *scratch) (string, error) {
	if _, err := s.c.Appctl(ctx, "dpctl/ct-set-limits", "zone=11,limit=1"); err != nil {
		return "", err
	}
	err := s.install(ctx, flows("table=0,ip,in_port=1,actions=output:3,ct(commit,zone=11),output:2",
		"table=0,ip,in_port=2,ct_state=-trk,actions=ct(table=1,zone=11)",
		"table=1,ip,ct_state=+est,actions=output:1", "table=1,ip,ct_state=+new,actions=output:3"))
	if err != nil {
		return "", err
	}
	second := packet{src: "192.0.2.3", dst: addrB, payload: 60}
	return "", s.steps(ctx,
		arrives(p1, v4, p2, "nw_src="+addrA), arrives(p1, second, p3, "nw_src="+second.src),
		arrives(p2, packet{src: addrB, dst: addrA, sport: 2000, dport: 1000, payload: 60}, p1, "nw_dst="+addrA),
		arrives(p2, packet{src: addrB, dst: second.src, sport: 2000, dport: 1000, payload: 60}, p3, "nw_dst="+second.src))
}
