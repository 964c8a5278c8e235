package verify

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// world has two networks of two tenants, with the same addresses, on three hosts.
//
//	host0: 1 a (red), 2 b (blue), 3 t (trunk: VLAN 10 red, VLAN 20 blue)
//	host1: 1 c (red), 2 d (blue)
//	host2: 1 e (red), 2 f (blue)
func world(t testing.TB) *topo.Snapshot { return worldOn(t, tep) }

// worldOn is the world with other tunnel endpoints.
func worldOn(t testing.TB, tep func(int) netip.Addr) *topo.Snapshot {
	t.Helper()
	tx := topo.Empty().Begin()
	for i := range 3 {
		name := fmt.Sprintf("host%d", i)
		tx.PutHost(topo.Host{Name: name, TEP: tep(i), Declared: true})
		tx.ObserveHost(name, tep(i), [4]uint32{topo.GRE: 10001, topo.VXLAN: 10002, topo.Geneve: 10003})
	}
	subnets := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	tx.PutTenant(topo.Tenant{Name: "red"})
	tx.PutTenant(topo.Tenant{Name: "blue"})
	tx.PutNetwork(topo.Network{Tenant: "red", Name: "n", Encap: topo.GRE, Key: 100, Subnets: subnets})
	tx.PutNetwork(topo.Network{Tenant: "blue", Name: "n", Encap: topo.VXLAN, Key: 101, Subnets: subnets})
	bind := func(p topo.Port, host int, n uint32) {
		p.MAC = topo.MAC{2, 0, 0, 0, byte(host), byte(n)}
		tx.PutPort(p)
		tx.Bind(p.Name, topo.Binding{Host: fmt.Sprintf("host%d", host), OFPort: n, Interface: uuid.NewSHA1(uuid.NameSpaceOID, []byte(p.Name))})
	}
	address := func(i int) []netip.Addr { return []netip.Addr{netip.AddrFrom4([4]byte{10, 1, 1, byte(i)})} }
	bind(topo.Port{Name: "a", Network: "red/n", Addresses: address(1)}, 0, 1)
	bind(topo.Port{Name: "b", Network: "blue/n", Addresses: address(1)}, 0, 2)
	bind(topo.Port{Name: "t", Trunk: &topo.Trunk{VLANs: []topo.SubPort{{VLAN: 10, Network: "red/n"}, {VLAN: 20, Network: "blue/n"}}}}, 0, 3)
	bind(topo.Port{Name: "c", Network: "red/n", Addresses: address(2)}, 1, 1)
	bind(topo.Port{Name: "d", Network: "blue/n", Addresses: address(2)}, 1, 2)
	bind(topo.Port{Name: "e", Network: "red/n"}, 2, 1)
	bind(topo.Port{Name: "f", Network: "blue/n"}, 2, 2)
	s, _, err := tx.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// planted is what stands in a switch beside what was compiled: flows and groups in
// ovs-ofctl's words. RED and BLUE are the networks' register values, RG and BG their
// groups. A group takes the place of the one with its number.
type planted struct {
	name string
	text string // of host0
	want string // the kinds of violations, or "proved" or "doubt"
	says string // in the violation or doubt
	// strict holds flows against the declarations too.
	strict bool
}

var plants = []planted{
	{name: "to another tenant's port", text: "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99 actions=output:2",
		want: "isolation", says: "reaches port b"},
	{name: "into another tenant's network", want: "isolation", says: "reaches port b",
		text: "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99 actions=set_field:BLUE->reg0,set_field:2->reg2,goto_table:90"},
	{name: "admitted to another network, but guarded", want: "proved",
		text: "table=0,priority=290,in_port=1 actions=set_field:BLUE->reg0,goto_table:10"},
	{name: "admitted to another network, and let through", want: "isolation key", says: "blue/n",
		text: "table=0,priority=290,in_port=1,dl_type=0x88b6 actions=set_field:BLUE->reg0,goto_table:10\ntable=10,priority=400,reg0=BLUE,in_port=1 actions=goto_table:60"},
	{name: "by a copy of registers", want: "isolation", says: "reaches port b",
		text: "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99 actions=move:NXM_OF_ETH_SRC[0..1]->NXM_NX_REG5[4..5],goto_table:61\n" +
			"table=61,priority=1,reg5=0x10 actions=output:2"},
	{name: "by a copy of registers that cannot be", want: "proved",
		text: "table=60,priority=500,reg0=RED,in_port=1,dl_dst=02:00:00:00:99:99 actions=move:NXM_OF_ETH_SRC[0..1]->NXM_NX_REG5[4..5],goto_table:61\n" +
			"table=61,priority=1,reg5=0x20 actions=output:2"},
	{name: "by a copy of what is not known", want: "isolation", says: "reaches port b",
		text: "table=60,priority=500,reg0=RED,in_port=1 actions=move:NXM_OF_ETH_DST[0..1]->NXM_NX_REG5[4..5],goto_table:61\n" +
			"table=61,priority=1,reg5=0x30 actions=output:2"},
	{name: "below flows that take everything", want: "proved",
		text: "table=0,priority=35,in_port=1 actions=output:2"},
	{name: "above one flow and below others", want: "isolation", says: "reaches port b",
		text: "table=10,priority=85,reg0=RED,in_port=1,dl_type=0x0800,nw_src=10.9.9.9 actions=output:2\ntable=10,priority=95,reg0=RED,in_port=1,dl_type=0x0800,nw_dst=10.8.0.0/16 actions=drop"},
	{name: "from a port of nobody", text: "table=0,priority=290,in_port=9999 actions=output:1", want: "isolation", says: "of no network"},
	{name: "from the bridge itself", text: "table=0,priority=290,in_port=LOCAL actions=output:1", want: "isolation", says: "of no network"},
	{name: "to a port of nobody", text: "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99 actions=output:9999", want: "membership", says: "in none"},
	{name: "to a port that is not there", text: "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99 actions=output:777", want: "proved"},
	{name: "a key of no network", want: "isolation", says: "of no network",
		text: "table=0,priority=290,in_port=10001,tun_id=77 actions=set_field:RED->reg0,set_field:1->reg1,goto_table:60"},
	{name: "a key in another encapsulation", want: "isolation loop", says: "of no network",
		text: "table=0,priority=290,in_port=10002,tun_id=100 actions=set_field:RED->reg0,set_field:1->reg1,goto_table:60"},
	{name: "another network's key arrives", want: "isolation loop", says: "of blue/n",
		text: "table=0,priority=290,in_port=10001,tun_id=100 actions=set_field:BLUE->reg0,set_field:1->reg1,goto_table:60"},

	{name: "a flood to another tenant", text: "group_id=RG,type=all,bucket=actions=output:1,bucket=actions=output:2", want: "isolation", says: "reaches port b"},
	{name: "a selected bucket", text: "group_id=RG,type=select,bucket=weight:1,actions=output:1,bucket=weight:1,actions=output:2", want: "isolation", says: "reaches port b"},

	{name: "a VLAN to two networks", want: "isolation key", says: "blue/n",
		text: "table=0,priority=290,in_port=3,dl_vlan=10,dl_vlan_pcp=3 actions=set_field:BLUE->reg0,set_field:0->vlan_tci,goto_table:60"},
	{name: "a VLAN that the port does not carry", want: "isolation", says: "of no network",
		text: "table=0,priority=290,in_port=3,dl_vlan=30 actions=set_field:BLUE->reg0,set_field:0->vlan_tci,goto_table:60"},
	{name: "out with a VLAN that the port does not carry", want: "membership", says: "VLAN 99",
		text: "table=90,priority=500,reg0=RED,reg2=3 actions=load:0x1063->NXM_OF_VLAN_TCI[0..12],output:3"},
	{name: "out with another network's VLAN", want: "isolation", says: "VLAN 20",
		text: "table=90,priority=500,reg0=RED,reg2=3 actions=load:0x1014->NXM_OF_VLAN_TCI[0..12],output:3"},

	{name: "a tag under one that is taken off", want: "membership", says: "VLAN 4095",
		text: "table=0,priority=400,in_port=3,dl_vlan=10 actions=set_field:0->vlan_tci,set_field:RED->reg0,goto_table:10"},
	{name: "a VLAN ID without a tag", want: "membership", says: "VLAN 0",
		text: "table=90,priority=500,reg0=BLUE,reg2=3 actions=load:0x14->NXM_OF_VLAN_TCI[0..12],output:3"},
	{name: "in_port known in part", want: "isolation", says: "reaches port b",
		text: "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99 actions=load:0->OXM_OF_IN_PORT[0..7],goto_table:61\ntable=61,priority=1,in_port=0 actions=output:2"},
	{name: "from a tunnel into another, to where it came to", want: "proved",
		text: "table=0,priority=500,in_port=10001 actions=output:10002"},
	{name: "from a tunnel into another, to where it came from", want: "loop", says: "leaves host host0",
		text: "table=0,priority=500,in_port=10001,tun_id=100 actions=move:NXM_NX_TUN_IPV4_SRC[]->NXM_NX_TUN_IPV4_DST[],in_port"},
	{name: "arp_op has 8 bits in the switch", want: "isolation", says: "reaches port b",
		text: "table=0,priority=500,in_port=1,arp,arp_op=1 actions=load:1->NXM_OF_ARP_OP[8],goto_table:61\ntable=61,priority=10,arp,arp_op=1 actions=output:2"},
	{name: "arp_op read back", want: "isolation", says: "reaches port b",
		text: "table=0,priority=500,in_port=1,arp,arp_op=1 actions=load:1->NXM_OF_ARP_OP[8],move:NXM_OF_ARP_OP[]->NXM_NX_REG6[0..15],goto_table:61\ntable=61,priority=10,reg6=1 actions=output:2"},
	{name: "in_port that is no port number", want: "isolation", says: "reaches port b",
		text: "table=0,priority=500,in_port=1 actions=load:1->OXM_OF_IN_PORT[16],goto_table:61\ntable=61,priority=10,in_port=ANY actions=output:2"},
	{name: "in_port that is no port number, read back", want: "isolation", says: "reaches port b",
		text: "table=0,priority=500,in_port=1 actions=load:1->OXM_OF_IN_PORT[16],move:OXM_OF_IN_PORT[]->NXM_NX_REG5[],goto_table:61\ntable=61,priority=10,reg5=0xffffffff actions=output:2"},
	{name: "in_port by a move", want: "isolation", says: "reaches port b",
		text: "table=0,priority=500,in_port=1 actions=load:0x10001->NXM_NX_REG5[],move:NXM_NX_REG5[]->OXM_OF_IN_PORT[],move:OXM_OF_IN_PORT[]->NXM_NX_REG6[],goto_table:61\ntable=61,priority=10,reg6=0x10001 actions=drop\ntable=61,priority=1 actions=output:2"},
	{name: "in_port of 16 reserved bits", want: "isolation", says: "reaches port b",
		text: "table=0,priority=500,in_port=1 actions=load:0xff08->OXM_OF_IN_PORT[0..15],move:OXM_OF_IN_PORT[]->NXM_NX_REG6[],goto_table:61\ntable=61,priority=10,reg6=0xff08 actions=drop\ntable=61,priority=1 actions=output:2"},
	{name: "a mark from another bridge", want: "doubt", says: "to port 2",
		text: "table=0,priority=500,in_port=9999,pkt_mark=7 actions=output:2"},
	{name: "every key", want: "isolation", says: "of no network",
		text: "table=0,priority=290,in_port=10001 actions=set_field:RED->reg0,set_field:1->reg1,goto_table:60"},
	{name: "the keys of one network by a mask", want: "proved",
		text: "table=0,priority=290,in_port=10001,tun_id=100/0xffffffffffffffff actions=set_field:RED->reg0,set_field:1->reg1,goto_table:10"},

	{name: "another network's key", want: "key", says: "with key 101", text: "table=90,priority=500,reg0=RED,reg2=0x10000 actions=set_field:101->tun_id,output:10001"},
	{name: "no key", want: "key", says: "with key 0", text: "table=90,priority=500,reg0=RED,reg2=0x10000 actions=output:10001"},
	{name: "another encapsulation", want: "key loop", says: "vxlan", text: "table=90,priority=500,reg0=RED,reg2=0x10000 actions=set_field:100->tun_id,output:10002"},
	{name: "to an address of nobody", want: "key", says: "no other host",
		text: "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99 actions=set_field:1.2.3.4->tun_dst,set_field:0x10000->reg2,goto_table:90"},

	{name: "a tunnel into a tunnel", want: "loop", says: "leaves host host0",
		text: "table=60,priority=500,reg0=RED,reg1=1,dl_dst=02:00:00:00:99:99 actions=set_field:100->tun_id,set_field:192.168.200.3->tun_dst,in_port"},
	{name: "a tunnel into itself, which the switch does not do", want: "proved",
		text: "table=60,priority=500,reg0=RED,reg1=1,dl_dst=02:00:00:00:99:99 actions=set_field:100->tun_id,set_field:192.168.200.3->tun_dst,output:10001"},

	{name: "two buckets for a port", want: "duplicate", says: "port a", text: "group_id=RG,type=all,bucket=actions=output:1,bucket=actions=output:1"},
	{name: "two of which one is selected", want: "proved", text: "group_id=RG,type=select,bucket=weight:1,actions=output:1,bucket=weight:1,actions=output:1"},
	{name: "two buckets for a peer", want: "duplicate", says: "on host host1",
		text: "group_id=RG,type=all,bucket=actions=set_field:100->tun_id,set_field:192.168.200.2->tun_dst,output:10001,bucket=actions=set_field:100->tun_id,set_field:192.168.200.2->tun_dst,output:10001"},
	{name: "an output and a flood", want: "duplicate", says: "2 copies",
		text: "table=60,priority=500,reg0=RED,dl_dst=ff:ff:ff:ff:ff:ff actions=output:1,goto_table:70"},
	{name: "a copy to the sender", want: "duplicate", says: "sender", text: "table=60,priority=500,reg0=RED,reg1=0,dl_dst=ff:ff:ff:ff:ff:ff,in_port=1 actions=in_port"},
	{name: "a copy to the sender by resubmit", want: "duplicate", says: "sender",
		text: "table=60,priority=500,reg0=RED,reg1=0,dl_dst=ff:ff:ff:ff:ff:ff,in_port=1 actions=resubmit(,61)\ntable=61,priority=1 actions=in_port"},
	{name: "a copy to the sender's own port, in_port taken away", want: "duplicate", says: "sender",
		text: "table=60,priority=500,reg0=RED,reg1=0,dl_dst=ff:ff:ff:ff:ff:ff,in_port=1 actions=load:0->OXM_OF_IN_PORT[0..15],output:1"},
	{name: "back into its own network's tunnel, in_port taken away", want: "loop", says: "leaves host host0 by one to",
		text: "table=60,priority=500,reg0=RED,reg1=1,dl_dst=ff:ff:ff:ff:ff:ff actions=load:0->OXM_OF_IN_PORT[0..15],set_field:100->tun_id,set_field:192.168.200.2->tun_dst,output:10001"},

	{name: "a foreign flow that drops", text: "cookie=1,table=0,priority=500,in_port=1,dl_type=0x0800 actions=drop", want: "undeclared", says: "cookie", strict: true},
	{name: "a foreign flow that nothing reaches", text: "cookie=1,table=0,priority=35,in_port=1 actions=drop", want: "proved", strict: true},
	{name: "a foreign flow in a table that is not used", text: "cookie=1,table=200,priority=35 actions=output:1", want: "proved", strict: true},
	{name: "a foreign group", text: "group_id=7,type=all,bucket=actions=output:1\ncookie=0xfc7050100000001,table=70,priority=500,reg0=RED actions=group:7",
		want: "undeclared", says: "range", strict: true},

	{name: "groups in themselves", want: "doubt", says: "nested",
		text: "group_id=RG,type=all,bucket=actions=group:RG,bucket=actions=group:RG"},
	{name: "NORMAL", text: "table=60,priority=500,reg0=RED actions=NORMAL", want: "doubt", says: "NORMAL"},
	{name: "NORMAL where nothing comes", text: "table=0,priority=35,in_port=1 actions=NORMAL", want: "proved"},
	{name: "a port by a field", text: "table=60,priority=500,reg0=RED actions=output:NXM_OF_ETH_DST[0..15]", want: "doubt", says: "not known"},
	{name: "an action set", text: "table=60,priority=500,reg0=RED actions=write_actions(output:2)", want: "doubt", says: "action set"},
	{name: "behind the connection tracker", want: "isolation", says: "reaches port b",
		text: "table=60,priority=500,reg0=RED,dl_type=0x0800 actions=ct(table=61)\ntable=61,priority=1,ct_state=+new,ip actions=output:2"},
}

// plant is the overlay of the world with something planted.
func plant(t testing.TB, p planted) Overlay {
	t.Helper()
	return plantIn(t, world(t), p)
}

func plantIn(t testing.TB, s *topo.Snapshot, p planted) Overlay {
	t.Helper()
	o := overlay(t, s)
	if !p.strict {
		o.Check, o.CheckGroup = nil, nil
	}
	red, blue := uint64(s.Network("red/n").ID), uint64(s.Network("blue/n").ID)
	text := strings.NewReplacer("RED", fmt.Sprintf("%#x", red), "BLUE", fmt.Sprintf("%#x", blue),
		"RG", fmt.Sprint(0x40000000+red), "BG", fmt.Sprint(0x40000000+blue)).Replace(p.text)
	part := &flows.Part{Flows: slices.Collect(o.Hosts[0].State.Flows()), Groups: slices.Collect(o.Hosts[0].State.Groups())}
	for _, line := range strings.Split(text, "\n") {
		switch {
		case line == "":
		case strings.HasPrefix(line, "group_id="):
			g, err := flows.ParseGroup(line)
			if err != nil {
				t.Fatal(err)
			}
			part.Groups = append(slices.DeleteFunc(part.Groups, func(x *flows.Group) bool { return x.ID == g.ID }), g)
		default:
			f, err := flows.ParseFlow(line)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			part.Flows = append(slices.DeleteFunc(part.Flows, func(x *flows.Flow) bool { return x.Key() == f.Key() }), f)
		}
	}
	o.Hosts[0].State = flows.Flat(part)
	return o
}

func TestEveryPlantIsFound(t *testing.T) {
	for _, p := range plants {
		t.Run(p.name, func(t *testing.T) {
			r := verified(t, plant(t, p))
			if got := summary(r); got != p.want {
				t.Fatalf("got %s, want %s: %s", got, p.want, show(r))
			}
			if p.says != "" && !strings.Contains(show(r), p.says) {
				t.Errorf("nothing says %q: %s", p.says, show(r))
			}
			for _, v := range r.Violations {
				if len(v.Frame) == 0 || v.Trace == nil || v.Flow == nil {
					t.Errorf("a violation without a packet: %+v", v)
				}
			}
		})
	}
}

// summary is the kinds of violations that were found, or the verdict.
func summary(r *Report) string {
	var kinds []string
	for _, v := range r.Violations {
		if k := v.Kind.String(); !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	switch {
	case len(kinds) > 0:
		return strings.Join(kinds, " ")
	case len(r.Doubts) > 0:
		return "doubt"
	}
	return "proved"
}

// TestUnreadFlow: a flow that could not be read leaves a doubt exactly where packets
// may meet it.
func TestUnreadFlow(t *testing.T) {
	for _, c := range []struct {
		u    trace.Unread
		want string
	}{
		{trace.Unread{Table: 60, Priority: 500, Why: "learn"}, "doubt"},
		{trace.Unread{Table: 0, Priority: 500, Match: flows.Match{}.With(flows.InPort, flows.U(1)), Why: "learn"}, "doubt"},
		{trace.Unread{Table: 0, Priority: 500, Match: flows.Match{}.With(flows.InPort, flows.U(777)), Why: "learn"}, "proved"},
		{trace.Unread{Table: 61, Priority: 500, Why: "learn"}, "proved"},
	} {
		o := plant(t, planted{})
		o.Hosts[0].Unread = []trace.Unread{c.u}
		if r := verified(t, o); summary(r) != c.want {
			t.Errorf("%+v: got %s, want %s: %s", c.u, summary(r), c.want, show(r))
		}
	}
}

// TestAllowed: what a router may do is no violation.
func TestAllowed(t *testing.T) {
	o := plant(t, plants[0])
	o.Allowed = func(from, to string) bool { return from == "red/n" && to == "blue/n" }
	if r := verified(t, o); !r.Proved() {
		t.Error(show(r))
	}
	o.Allowed = func(from, to string) bool { return from == "blue/n" && to == "red/n" }
	if r := verified(t, o); r.Proved() {
		t.Error("what is allowed in one direction counts in the other")
	}
}

// TestDeclarations: an overlay that contradicts itself is not proved, one that cannot be
// told apart is an error.
func TestDeclarations(t *testing.T) {
	o := plant(t, planted{})
	o.Hosts[0].Ports[0].Members = append(slices.Clone(o.Hosts[0].Ports[0].Members), Member{Network: "blue/n"})
	if r := verified(t, o); !slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Kind == Membership }) {
		t.Errorf("a port of two networks: %s", show(r))
	}
	o = plant(t, planted{})
	o.Networks = append(slices.Clone(o.Networks), Network{Name: "third", Encap: "gre", Key: 100})
	if r := verified(t, o); !slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Kind == Membership }) {
		t.Errorf("a key of two networks: %s", show(r))
	}
	o = plant(t, planted{})
	o.Hosts[1].TEPs = o.Hosts[0].TEPs
	if _, err := Verify(t.Context(), o); err == nil {
		t.Error("two hosts with one tunnel endpoint")
	}
	o = plant(t, planted{})
	o.Hosts[1].Name = o.Hosts[0].Name
	if _, err := Verify(t.Context(), o); err == nil {
		t.Error("two hosts with one name")
	}
}

// TestWire: a wire takes all frames of its port, whatever their tags, and is as
// separate as any other network.
func TestWire(t *testing.T) {
	wire := func(text string) Overlay {
		var part flows.Part
		for _, line := range strings.Split(text, "\n") {
			f, err := flows.ParseFlow(line)
			if err != nil {
				t.Fatal(err)
			}
			part.Flows = append(part.Flows, f)
		}
		port := func(n uint32, name, network string) Port {
			return Port{Number: n, Name: name, Members: []Member{{Wire: true, Network: network}}}
		}
		return Overlay{
			Networks: []Network{{"w", "gre", 1}, {"other", "gre", 2}},
			Hosts: []Host{{Name: "host0", State: flows.Flat(&part),
				Ports: []Port{port(1, "x", "w"), port(2, "y", "w"), port(3, "z", "other")}}},
		}
	}
	for text, want := range map[string]string{
		"in_port=1 actions=output:2\nin_port=2 actions=output:1":                                   "proved",
		"in_port=1,dl_vlan=7 actions=output:3\nin_port=2 actions=output:1":                         "isolation",
		"in_port=1,dl_vlan=7 actions=push_vlan:0x8100,set_field:4099->vlan_vid,output:2":           "proved",
		"in_port=1 actions=output:2,output:2":                                                      "duplicate",
		"priority=40000,in_port=1,dl_vlan=7 actions=drop\nin_port=1,dl_vlan=7 actions=output:3":    "proved",
		"priority=40000,in_port=1,vlan_tci=0x1000/0x1000 actions=drop\nin_port=1 actions=output:3": "isolation",
		// A fragment is looked up as if its ports were 0, whatever was written there.
		"in_port=1,tcp actions=set_field:81->tcp_dst,resubmit(,1)\ntable=1,tcp,tp_dst=0 actions=output:3": "doubt",
	} {
		if r := verified(t, wire(text)); summary(r) != want {
			t.Errorf("%s\ngot %s, want %s: %s", text, summary(r), want, show(r))
		}
	}
}

// TestOverIPv6: hosts whose tunnels go over IPv6 are proved, and not, like others.
func TestOverIPv6(t *testing.T) {
	s := worldOn(t, func(i int) netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(1 + i)}) })
	for _, p := range []planted{
		{want: "proved"},
		{text: "table=0,priority=290,in_port=10001,tun_id=77 actions=set_field:RED->reg0,set_field:1->reg1,goto_table:10", want: "isolation"},
		{text: "table=60,priority=500,reg0=RED,dl_dst=02:00:00:00:99:99 actions=set_field:fd09::9->tun_ipv6_dst,set_field:0x10000->reg2,goto_table:90", want: "key"},
	} {
		if r := verified(t, plantIn(t, s, p)); summary(r) != p.want {
			t.Errorf("%s: got %s, want %s: %s", p.text, summary(r), p.want, show(r))
		}
	}
}

// TestSecondTunnelPort: a loop needs no other encapsulation.
func TestSecondTunnelPort(t *testing.T) {
	f, err := flows.ParseFlow("in_port=10,tun_id=1 actions=set_field:192.0.2.2->tun_dst,output:11")
	if err != nil {
		t.Fatal(err)
	}
	o := Overlay{
		Networks: []Network{{"n", "gre", 1}},
		Hosts: []Host{
			{Name: "a", TEPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Tunnels: []Tunnel{{10, "gre1", "gre"}, {11, "gre2", "gre"}},
				State: flows.Flat(&flows.Part{Flows: []*flows.Flow{f}})},
			{Name: "b", TEPs: []netip.Addr{netip.MustParseAddr("192.0.2.2")}, State: flows.Flat(&flows.Part{})},
		},
	}
	if r := verified(t, o); summary(r) != "loop" {
		t.Errorf("got %s: %s", summary(r), show(r))
	}
}
