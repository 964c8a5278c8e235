package trace

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline/cases"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// lab is the hosts of an overlay.
type lab struct {
	*cases.Overlay
	switches []cases.Switch
	*Network
}

func labOf(t testing.TB, o *cases.Overlay) *lab {
	t.Helper()
	l := &lab{Overlay: o}
	var err error
	if l.switches, err = cases.Switches(o.Snapshot); err != nil {
		t.Fatal(err)
	}
	var hosts []Host
	for i := range l.switches {
		sw := &l.switches[i]
		c := Config{Name: sw.Name, State: sw.State}
		for _, p := range sw.Ports {
			c.Ports = append(c.Ports, Port{Number: p.Number, Name: p.Name})
		}
		for _, p := range sw.Tunnels {
			c.Ports = append(c.Ports, Port{Number: p.Number, Name: p.Encap, Tunnel: &Tunnel{Encap: p.Encap}})
		}
		s, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, Host{sw.Name, s, sw.TEPs})
	}
	if l.Network, err = NewNetwork(hosts...); err != nil {
		t.Fatal(err)
	}
	return l
}

// send traces a packet over all hosts.
func (l *lab) send(t testing.TB, in cases.Packet, o Options) *Hop {
	t.Helper()
	p, err := NewPacket(in.InPort, in.Frame)
	if err != nil {
		t.Fatal(err)
	}
	if in.Tunnel != nil {
		p.SetTunnel(in.Tunnel.Key, in.Tunnel.Src, in.Tunnel.Dst)
	}
	hop, err := l.Trace(in.Host, p, o)
	if err != nil {
		t.Fatal(err)
	}
	return hop
}

// fate is what became of a packet over all hosts.
type fate struct {
	copies []string
	hits   []*flows.Flow
	hops   []*Hop
	faults []string // what should not be in any overlay
}

func fateOf(h *Hop) *fate {
	f := &fate{}
	f.add(h)
	slices.Sort(f.copies)
	return f
}

func (f *fate) add(h *Hop) {
	f.hops = append(f.hops, h)
	if len(h.Result.Branches) != 1 || h.Result.Verdict == Unknown {
		f.faults = append(f.faults, fmt.Sprintf("host %s: %d branches, %s", h.Host, len(h.Result.Branches), h.Result.Verdict))
	}
	b := &h.Result.Branches[0]
	f.hits = append(f.hits, b.Hits...)
	for _, o := range b.Outputs {
		c := cases.Copy{Host: h.Host, Port: o.Port}
		switch {
		case o.Tunnel != nil:
			continue
		case o.Port != flows.PortController:
			c.Frame = o.Frame
		}
		f.copies = append(f.copies, c.String())
	}
	for _, next := range h.Next {
		if next.Lost != "" {
			f.faults = append(f.faults, "lost: "+next.Lost)
			continue
		}
		f.add(next.Hop)
	}
}

func (f *fate) hit(feature pipeline.Feature) bool {
	return slices.ContainsFunc(f.hits, func(r *flows.Flow) bool {
		return r.Cookie.Ours() && r.Cookie.Feature() == uint8(feature)
	})
}

// overlays are those in which the declared cases are held: each declaration alone, and
// mixtures.
func overlays(t *testing.T, each func(t *testing.T, o *cases.Overlay)) {
	for _, d := range cases.Declarations() {
		t.Run(d.Name, func(t *testing.T) {
			for seed := range uint64(8) {
				if d.Large && seed > 0 {
					break
				}
				each(t, cases.Alone(d, rand.New(rand.NewPCG(seed, 0))))
			}
		})
	}
	t.Run("mixed", func(t *testing.T) {
		for seed := range uint64(12) {
			each(t, cases.Random(rand.New(rand.NewPCG(seed, 1)), cases.Size{Hosts: cases.MinHosts + int(seed)%3, Features: 8 + 4*int(seed)}))
		}
	})
}

// TestDeclaredCases: what the interpreter makes of every declared packet, over all
// hosts, is what is declared, alone and among all other features.
func TestDeclaredCases(t *testing.T) {
	n := 0
	overlays(t, func(t *testing.T, o *cases.Overlay) {
		l := labOf(t, o)
		for _, c := range o.Cases {
			f := fateOf(l.send(t, c.Packet, Options{}))
			var want []string
			for _, g := range c.Gets {
				want = append(want, g.String())
			}
			slices.Sort(want)
			bad := f.faults
			if d := cmp.Diff(want, f.copies); d != "" {
				bad = append(bad, "copies: "+d)
			}
			for _, feature := range c.By {
				if !f.hit(feature) {
					bad = append(bad, fmt.Sprintf("no flow of %s takes it", feature))
				}
			}
			for _, feature := range c.NotBy {
				if f.hit(feature) {
					bad = append(bad, fmt.Sprintf("a flow of %s takes it", feature))
				}
			}
			if bad != nil {
				hop := l.send(t, c.Packet, Options{Steps: true})
				t.Errorf("%s: %s\n%s\n%s", c.Name, strings.Join(bad, "\n"), hop.Result.Packet, trees(hop))
			}
			n++
		}
	})
	t.Logf("%d packets", n)
}

// trees are the steps on all hosts.
func trees(h *Hop) string {
	out := h.Host + "\n" + tree(h.Result.Branches[0].Steps)
	for _, next := range h.Next {
		if next.Hop != nil {
			out += trees(next.Hop)
		}
	}
	return out
}

// unreachable are rows that are there to say so if a packet came to them after all.
var unreachable = map[string]string{
	"spoof_guard 0 no-row": "whatever is classified has a row of its port or of its tunnel",
	"l2_dst 0 no-row":      "every network has a row for what it does not know",
	"flood 0 no-row":       "every network that floods has a group",
}

// kind is what rows have in common that only differ in whom they are for: a row of
// another kind is another line of the pipeline's.
func kind(f *flows.Flow) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d %s", pipeline.Table(f.Table), f.Priority, pipeline.Feature(f.Cookie.Feature()))
	for _, m := range f.Match {
		fmt.Fprintf(&b, " %s", m.Field)
		if m.Mask != m.Field.FullMask() {
			fmt.Fprintf(&b, "/%x", m.Mask.Lo)
		}
	}
	return b.String()
}

// TestEveryFeatureIsDeclared: every feature of the pipeline has a declared packet that
// it takes, and one that it nearly does; and of every kind of row there is one that
// takes a declared packet.
func TestEveryFeatureIsDeclared(t *testing.T) {
	taken, near := map[pipeline.Feature]bool{}, map[pipeline.Feature]bool{}
	hit, rows := map[string]bool{}, map[string]string{}
	overlays(t, func(t *testing.T, o *cases.Overlay) {
		l := labOf(t, o)
		for _, sw := range l.switches {
			for f := range sw.State.Flows() {
				rows[kind(f)] = f.String()
			}
		}
		for _, c := range o.Cases {
			f := fateOf(l.send(t, c.Packet, Options{}))
			for _, r := range f.hits {
				hit[kind(r)] = true
				taken[pipeline.Feature(r.Cookie.Feature())] = taken[pipeline.Feature(r.Cookie.Feature())] || slices.Contains(c.By, pipeline.Feature(r.Cookie.Feature()))
			}
			for _, feature := range c.NotBy {
				near[feature] = true
			}
		}
	})
	for _, f := range pipeline.Features() {
		if !taken[f] {
			t.Errorf("no declared packet is taken by feature %s: see package cases", f)
		}
		if !near[f] {
			t.Errorf("no declared packet is nearly taken by feature %s: see package cases", f)
		}
	}
	for k, example := range rows {
		if why := unreachable[k]; hit[k] == (why != "") {
			t.Errorf("rows of the kind %s: a declared packet is taken by one: %v, want %v (%s), e.g. %s", k, hit[k], why == "", why, example)
		}
	}
	t.Logf("%d features, %d kinds of rows", len(taken), len(hit))
}

// arrivals are the packets that come into each host's switch when some are sent.
func (l *lab) arrivals(t testing.TB, sent []cases.Packet) map[string][]*Packet {
	t.Helper()
	out := map[string][]*Packet{}
	for _, p := range sent {
		for _, hop := range fateOf(l.send(t, p, Options{})).hops {
			out[hop.Host] = append(out[hop.Host], hop.Result.Packet)
		}
	}
	return out
}

// testCase is a host's state, and packets for it.
func (l *lab) testCase(sw *cases.Switch, packets []*Packet) *testCase {
	c := &testCase{flows: slices.Collect(sw.State.Flows()), groups: slices.Collect(sw.State.Groups()), packets: packets}
	for _, p := range sw.Ports {
		if !slices.ContainsFunc(testPorts, func(o Port) bool { return o.Number == p.Number }) {
			c.also = append(c.also, guestPort(p.Number))
		}
	}
	return c
}

// against compares what we and Open vSwitch make of packets that are sent, on every host
// that they come to. It returns how many were forwarded.
func (l *lab) against(v *vswitch, seed uint64, sent []cases.Packet) (forwarded int) {
	v.t.Helper()
	arrivals := l.arrivals(v.t, sent)
	for i := range l.switches {
		if sw := &l.switches[i]; len(arrivals[sw.Name]) > 0 {
			forwarded += v.compare(l.testCase(sw, arrivals[sw.Name]), seed)
		}
	}
	return forwarded
}

func packetsOf(o *cases.Overlay) (out []cases.Packet) {
	for _, c := range o.Cases {
		out = append(out, c.Packet)
	}
	return out
}

// TestDeclaredCasesAgainstOpenVSwitch: a real Open vSwitch agrees on every declared
// packet.
func TestDeclaredCasesAgainstOpenVSwitch(t *testing.T) {
	v := startVswitch(t)
	forwarded := 0
	for i, d := range cases.Declarations() {
		if d.Large && *traces < 100000 {
			continue // the switch takes a quarter of a minute to add the ports
		}
		o := cases.Alone(d, rand.New(rand.NewPCG(uint64(i), 2)))
		forwarded += labOf(t, o).against(v, uint64(i), packetsOf(o))
	}
	for seed := range uint64(3) {
		o := cases.Random(rand.New(rand.NewPCG(seed, 3)), cases.Size{Hosts: 5, Features: 24})
		forwarded += labOf(t, o).against(v, seed, packetsOf(o))
	}
	t.Logf("%d packets were forwarded", forwarded)
	if forwarded == 0 {
		t.Error("the comparison is of nothing")
	}
}

// TestThePipelineAgainstOpenVSwitch compares what the flows of random overlays make of
// packets near the declared ones.
func TestThePipelineAgainstOpenVSwitch(t *testing.T) {
	v := startVswitch(t)
	first := firstSeed()
	const perOverlay = 500
	forwarded := 0
	for n := uint64(0); n*perOverlay < uint64(*traces)/4; n++ {
		r := rand.New(rand.NewPCG(first+n, 4))
		o := cases.Random(r, cases.Size{Hosts: cases.MinHosts, Features: 16})
		var sent []cases.Packet
		for range perOverlay {
			sent = append(sent, o.Near(r))
		}
		forwarded += labOf(t, o).against(v, first+n, sent)
	}
	if forwarded == 0 {
		t.Error("no packet was forwarded: the comparison is of nothing")
	}
	t.Logf("from seed %d on: %d packets were forwarded", first, forwarded)
}

// TestFramesOfTheCasesAreThoseOfOpenVSwitch sends frames of declared packets, and of some
// near them, through the userspace datapath.
func TestFramesOfTheCasesAreThoseOfOpenVSwitch(t *testing.T) {
	v := startVswitch(t)
	c := v.capture()
	first := firstSeed()
	left, sent := 0, 0
	for n := uint64(0); sent < *framesSent/4; n++ {
		r := rand.New(rand.NewPCG(first+n, 5))
		o := cases.Random(r, cases.Size{Hosts: cases.MinHosts, Features: len(cases.Declarations())})
		l := labOf(t, o)
		packets := packetsOf(o)
		for range len(packets) / 4 {
			packets = append(packets, o.Near(r))
		}
		arrivals := l.arrivals(t, packets)
		for i := range l.switches {
			sw := &l.switches[i]
			tc := l.testCase(sw, arrivals[sw.Name])
			if err := v.load(tc); err != nil {
				t.Fatal(err)
			}
			v.call("revalidator/purge")
			s, err := tc.newSwitch(v.version)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range tc.packets {
				if isTunnelPort(p.InPort()) {
					continue
				}
				n, d := c.frame(s, p)
				if left += n; d != "" {
					t.Fatalf("seed %d, %s: %s", first, sw.Name, d)
				}
				sent++
			}
		}
	}
	t.Logf("from seed %d on: of %d frames %d copies left", first, sent, left)
	if left == 0 {
		t.Error("nothing left: the comparison is of nothing")
	}
}

// TestNetworksAreApart: what a port of one network sends no port of another gets, and
// nothing goes from a tunnel into one, in random overlays, over all hosts.
func TestNetworksAreApart(t *testing.T) {
	delivered := 0
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 6))
		o := cases.Random(r, cases.Size{Hosts: cases.MinHosts, Features: 12})
		l := labOf(t, o)
		parts := map[string]map[uint32][]cases.Member{}
		for _, sw := range l.switches {
			parts[sw.Name] = map[uint32][]cases.Member{}
			for _, p := range sw.Ports {
				parts[sw.Name][p.Number] = p.Members
			}
		}
		// network is that of a frame at a port, "" if it is in none.
		network := func(host string, port uint32, frame []byte) string {
			vlan := uint16(0)
			if p, err := NewPacket(port, frame); err == nil {
				vlan = uint16(p.Get(flows.VLANVID).Lo & 0xfff)
			}
			for _, m := range parts[host][port] {
				if m.Wire || m.VLAN == vlan {
					return m.Network
				}
			}
			return ""
		}
		for range 200 {
			in := o.Near(r)
			from := ""
			if in.Tunnel == nil {
				from = network(in.Host, in.InPort, in.Frame)
			} else if e, err := topo.ParseEncap(l.hosts[in.Host].Switch.ports[in.InPort].Tunnel.Encap); err != nil {
				t.Fatal(err)
			} else if n := o.Snapshot.NetworkByKey(e, uint32(in.Tunnel.Key)); n != nil {
				from = n.FullName()
			}
			for i, hop := range fateOf(l.send(t, in, Options{})).hops {
				for _, out := range hop.Result.Branches[0].Outputs {
					switch {
					case out.Port == flows.PortController:
					case out.Tunnel != nil && (i > 0 || in.Tunnel != nil):
						t.Fatalf("seed %d: from a tunnel into a tunnel: %s", seed, hop.Result.Packet)
					case out.Tunnel == nil:
						delivered++
						if to := network(hop.Host, out.Port, out.Frame); to != from || from == "" {
							t.Fatalf("seed %d: from network %q to %q: %s", seed, from, to, hop.Result.Packet)
						}
					}
				}
			}
		}
	}
	t.Logf("%d copies were delivered", delivered)
	if delivered == 0 {
		t.Error("nothing was delivered")
	}
}
