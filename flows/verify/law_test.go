package verify

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline/cases"
)

// The explorer is fast by what it does not do: it follows packets of many ports at once,
// looks only at rows that an index gives it, and executes one of several rows that do the
// same. The law here is that none of it is seen in what it finds.

// tangled is a host of random flows that use what compiled ones do not: they look at
// in_port and copy it in all tables, write it in part, and send packets back.
func tangled(r *rand.Rand) *Host {
	var part flows.Part
	fields := []flows.Field{flows.InPort, flows.Reg0, flows.Reg1, flows.TunID, flows.EthDst, flows.EthSrc, flows.VLANVID}
	value := func() flows.Value { return flows.U(uint64(1 + r.IntN(3))) }
	change := func() flows.Action {
		low := func(f flows.Field) flows.Subfield { return flows.Subfield{Field: f, Bits: 13} }
		any := func() flows.Field { return fields[r.IntN(len(fields)-1)] }
		switch r.IntN(6) {
		case 0, 1:
			return flows.Set(any(), value())
		case 2:
			return flows.SetBits(flows.InPort, 0, 2, uint64(r.IntN(4)))
		case 3:
			return flows.Move{Src: low(flows.InPort), Dst: low(flows.Reg1)}
		default:
			return flows.Move{Src: low(any()), Dst: low(any())}
		}
	}
	send := func() flows.Action {
		switch r.IntN(6) {
		case 0:
			return flows.OutputReg{Src: flows.Subfield{Field: []flows.Field{flows.InPort, flows.Reg1}[r.IntN(2)], Bits: 16}}
		case 1:
			return flows.ToGroup{ID: uint32(r.IntN(3))}
		case 2, 3:
			return flows.Resubmit{Port: flows.PortInPort, Table: uint8(1 + r.IntN(4))}
		default:
			return flows.Output{Port: []uint32{1, 2, 3, 4, 9, flows.PortInPort}[r.IntN(6)]}
		}
	}
	for range 10 + r.IntN(40) {
		f := &flows.Flow{Table: uint8(r.IntN(5)), Priority: uint16(r.IntN(6))}
		for _, x := range fields {
			switch {
			case r.IntN(6) > 0:
			case x.Maskable() && r.IntN(3) == 0:
				f.Match = f.Match.WithMask(x, value(), flows.U(uint64(1+r.IntN(3))))
			default:
				f.Match = f.Match.With(x, value())
			}
		}
		for range r.IntN(4) {
			f.Apply = append(f.Apply, change())
		}
		if f.Table < 4 && r.IntN(3) > 0 {
			f.Goto = f.Table + 1 + uint8(r.IntN(int(4-f.Table)))
		} else if r.IntN(4) > 0 {
			f.Apply = append(f.Apply, send())
		}
		part.Flows = append(part.Flows, f)
	}
	for id := range uint32(2) {
		g := &flows.Group{ID: id, Type: flows.GroupType(r.IntN(4))}
		for range 1 + r.IntN(3) {
			g.Buckets = append(g.Buckets, flows.Bucket{Actions: []flows.Action{change(), send()}})
		}
		part.Groups = append(part.Groups, g)
	}
	h := &Host{Name: "h", State: flows.Flat(&part), TEPs: []netip.Addr{tep(1)}, Tunnels: []Tunnel{{9, "gre", "gre"}}}
	for n := range uint32(4) {
		p := Port{Number: 1 + n, Name: fmt.Sprint("p", n), Members: []Member{{Network: fmt.Sprint("n", n%2)}}}
		if r.IntN(2) == 0 {
			p.Members = append(p.Members, Member{VLAN: uint16(1 + r.IntN(3)), Network: fmt.Sprint("n", (n+1)%2)})
		}
		h.Ports = append(h.Ports, p)
	}
	return h
}

// plainly takes from a program all that is only there to be fast: the index, effects,
// and that in_port is not known where it does not matter.
func plainly(p *program) {
	for _, t := range p.tables {
		if t == nil {
			continue
		}
		t.lanes = []lane{{}}
		t.next.lane = make(chain, len(t.rows))
		for i := range t.rows {
			// Rows ask for in_port, and so have packets of one port each.
			t.rows[i].effect, t.rows[i].asksPort = 0, true
			t.next.lane[i] = int32(i + 1)
		}
		t.next.lane[len(t.rows)-1] = -1
	}
}

// titles are the nodes in words.
func (x *explorer) titles() []string {
	var titles []string
	for _, n := range x.nodes {
		titles = append(titles, fmt.Sprint(n.table, n.state.at, n.state.flags, n.state.except.number()))
	}
	return titles
}

// found is what happens to the packets of an ingress, table by table.
func (x *explorer) found(ingress int, titles []string) string {
	var lines []string
	for ni, n := range x.nodes {
		if !n.from.has(ingress) {
			continue
		}
		for i := range n.alts {
			a := &n.alts[i]
			if !a.from.has(ingress) {
				continue
			}
			line := titles[ni]
			if h := a.hop(ingress); h != nil {
				line += fmt.Sprint(": ", a.row.flow)
				for _, to := range h.next {
					line += "\n  to " + titles[to]
				}
				for _, e := range h.events {
					e.flow = nil
					line += fmt.Sprintf("\n  out %+v", e)
				}
			}
			lines = append(lines, line)
		}
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// TestIngressesApart: LAW: what is found of the packets of one ingress is the same
// whether they are followed alone and by every row, or not.
func TestIngressesApart(t *testing.T) {
	var o Overlay
	x, every := &explorer{}, &explorer{} // the same again and again, as a worker's
	for seed := range uint64(120) {
		r := rand.New(rand.NewPCG(seed, 5))
		switch seed % 8 {
		case 0:
			o = overlay(t, random(shape{1 + int(seed%3), 1 + int(seed%5), int(seed % 12)}, seed))
		case 1:
			o = overlay(t, cases.Random(r, cases.Size{Hosts: cases.MinHosts, Features: 6}).Snapshot)
			h := &o.Hosts[len(o.Hosts)-1]
			h.State = mutate(r, h)
		case 2:
			o = plant(t, planted{})
			o.Hosts[2].State = mutate(r, &o.Hosts[2])
		default:
			o = Overlay{Networks: []Network{{"n0", "gre", 1}, {"n1", "gre", 2}}, Hosts: []Host{*tangled(r)}}
		}
		v, err := newVerifier(&o, &Report{})
		if err != nil {
			t.Fatal(err)
		}
		h := &o.Hosts[len(o.Hosts)-1]
		all := v.host(t.Context(), every, h)
		titles := all.x.titles()
		for i := range all.x.ingresses {
			x.begin(h, &o)
			plainly(x.p)
			v.ingresses(x, v.sites[h])
			g := x.ingresses[i]
			x.ingresses = nil
			clear(x.spans)
			x.enter(g)
			x.run(t.Context())
			if got, want := all.x.found(i, titles), x.found(0, x.titles()); got != want {
				t.Fatalf("seed %d: from %s: with others\n%s\nalone\n%s", seed, g.name, got, want)
			}
			for _, d := range x.order {
				if !slices.Contains(all.doubts, d) {
					t.Fatalf("seed %d: from %s: no doubt of %s", seed, g.name, d)
				}
			}
		}
	}
}

// TestEffects: rows have one effect if and only if nothing that matters tells packets apart
// that the one and the other took. Here reg0, reg1, the metadata and in_port matter, since
// table 1 looks at them, and reg2 because of what is copied from there.
func TestEffects(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"reg3=1 actions=goto_table:1", "reg3=2 actions=goto_table:1", true},
		{"reg0=1 actions=goto_table:1", "reg0=2 actions=goto_table:1", false},
		{"reg0=1 actions=goto_table:1", "reg0=1/1 actions=goto_table:1", false},
		{"reg0=1 actions=goto_table:1", "reg0=1 actions=drop", false},
		{"reg0=1 actions=drop", "reg0=2 actions=drop", true},
		{"actions=set_field:1->reg3,goto_table:1", "actions=set_field:2->reg3,goto_table:1", true},
		{"actions=set_field:1->reg3,goto_table:1", "actions=set_field:1->reg4,goto_table:1", false},
		{"actions=set_field:1->reg0,goto_table:1", "actions=set_field:2->reg0,goto_table:1", false},
		{"actions=set_field:02:00:00:00:00:01->eth_src,goto_table:1", "actions=set_field:02:00:00:00:00:02->eth_src,goto_table:1", true},
		{"actions=set_field:02:00:00:00:00:01->eth_src,goto_table:1", "actions=goto_table:1", false},
		{"actions=set_field:1->vlan_vid,goto_table:1", "actions=set_field:2->vlan_vid,goto_table:1", false},
		{"actions=write_metadata:1,goto_table:1", "actions=write_metadata:2,goto_table:1", false},
		{"in_port=1 actions=goto_table:1", "in_port=2 actions=goto_table:1", false},
		{"reg2=1 actions=move:NXM_NX_REG2[]->NXM_NX_REG0[],goto_table:1", "reg2=2 actions=move:NXM_NX_REG2[]->NXM_NX_REG0[],goto_table:1", false},
		{"reg2=1 actions=move:NXM_NX_REG2[]->NXM_NX_REG5[],goto_table:1", "reg2=2 actions=move:NXM_NX_REG2[]->NXM_NX_REG5[],goto_table:1", true},
		{"actions=move:NXM_NX_REG2[]->NXM_NX_REG0[],goto_table:1", "actions=move:NXM_NX_REG2[]->NXM_NX_REG1[],goto_table:1", false},
		{"actions=move:NXM_NX_REG2[0..7]->NXM_NX_REG0[0..7],goto_table:1", "actions=move:NXM_NX_REG2[0..7]->NXM_NX_REG0[8..15],goto_table:1", false},
		{"actions=move:NXM_NX_REG2[0..7]->NXM_NX_REG0[0..7],goto_table:1", "actions=move:NXM_NX_REG2[8..15]->NXM_NX_REG0[0..7],goto_table:1", false},
		{"actions=move:NXM_NX_REG2[0..7]->NXM_NX_REG0[0..7],goto_table:1", "actions=move:NXM_NX_REG2[0..8]->NXM_NX_REG0[0..8],goto_table:1", false},
		// Only of IPv4 packets is known what they have as an address.
		{"ip,reg5=1 actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG0[],goto_table:1", "arp,reg5=1 actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG0[],goto_table:1", false},
		{"ip,reg5=1 actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG5[],goto_table:1", "ip,reg5=2 actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG5[],goto_table:1", true},
		// What leaves has its flow to blame, and groups and other tables may ask for more.
		{"reg3=1 actions=output:1", "reg3=2 actions=output:1", false},
		{"reg3=1 actions=group:1", "reg3=2 actions=group:1", false},
		{"reg3=1 actions=resubmit(,1)", "reg3=2 actions=resubmit(,1)", false},
		{"reg3=1 actions=write_actions(output:1)", "reg3=2 actions=write_actions(output:1)", false},
	} {
		var part flows.Part
		for _, text := range []string{"priority=2," + c.a, "priority=1," + c.b, "table=1,reg0=1,reg1=1,metadata=1,in_port=1 actions=drop"} {
			f, err := flows.ParseFlow(text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			part.Flows = append(part.Flows, f)
		}
		p := &program{}
		p.load(&Host{State: flows.Flat(&part)}, &Overlay{})
		a, b := p.tables[0].rows[0].effect, p.tables[0].rows[1].effect
		if same := a != 0 && a == b; same != c.same {
			t.Errorf("%s\n%s\nhave one effect: %v", c.a, c.b, same)
		}
	}
}

// TestNothingIsSuspected: what is compiled is followed so exactly that nothing in it has to
// be refuted, which costs more than all the rest.
func TestNothingIsSuspected(t *testing.T) {
	for seed := range uint64(30) {
		r := verified(t, overlay(t, random(shape{1 + int(seed%4), 1 + int(seed%6), int(seed % 23)}, seed+100)))
		if !r.Proved() || r.Refuted > 0 {
			t.Errorf("seed %d: %s", seed, show(r))
		}
	}
	o := plant(t, planted{text: "table=60,priority=500,reg0=RED actions=move:OXM_OF_IN_PORT[0..15]->NXM_NX_REG5[0..15],goto_table:61\n" +
		"table=61,priority=1,reg5=2 actions=output:2"})
	if r := verified(t, o); !r.Proved() || r.Refuted > 0 {
		t.Errorf("a copy of in_port, which is not that of the other network: %s", show(r))
	}
}

// TestReportsAreRepeated: LAW: the same overlay has the same report.
func TestReportsAreRepeated(t *testing.T) {
	base := overlay(t, random(shape{3, 3, 14}, 3))
	wrong := 0
	for seed := range uint64(15) {
		r := rand.New(rand.NewPCG(seed, 11))
		o := base
		o.Hosts = slices.Clone(base.Hosts)
		for i := range o.Hosts {
			o.Hosts[i].State = mutate(r, &o.Hosts[i])
		}
		first := verified(t, o)
		wrong += len(first.Violations)
		if again := verified(t, o); show(again) != show(first) {
			t.Fatalf("seed %d: %s\nand then %s", seed, show(first), show(again))
		}
	}
	if wrong == 0 {
		t.Error("nothing was wrong with any of the mutants: the test shows nothing")
	}
}

// TestClassesGrowWithFlows: where a network, or a host, has four times the ports, there
// are four times the flows on it, and not sixteen times the sets of packets.
func TestClassesGrowWithFlows(t *testing.T) {
	for _, s := range []shape{{1, 1, 60}, {10, 1, 60}, {1, 30, 60}} {
		perFlow := func(s shape) float64 {
			r := verified(t, overlay(t, random(s, 2)))
			return float64(r.Classes) / float64(r.Flows)
		}
		few, many := perFlow(s), perFlow(shape{s.hosts, s.networks, 4 * s.ports})
		t.Logf("%+v: %.2f classes for each flow, with four times the ports %.2f", s, few, many)
		if many > 1.5*few {
			t.Errorf("%+v: %.2f classes for each flow, with four times the ports %.2f", s, few, many)
		}
	}
}
