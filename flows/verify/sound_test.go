package verify

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline/cases"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// mutate changes a few flows or groups of a host at random: another priority, a
// constraint less, another value in an action, a bucket more, a flow of another table's
// actions.
func mutate(r *rand.Rand, h *Host) *flows.State {
	fs, gs := slices.Collect(h.State.Flows()), slices.Collect(h.State.Groups())
	any := func() *flows.Flow { return fs[r.IntN(len(fs))] }
	ports := []uint32{flows.PortInPort}
	for _, p := range h.Ports {
		ports = append(ports, p.Number)
	}
	for _, p := range h.Tunnels {
		ports = append(ports, p.Number)
	}
	for range 1 + r.IntN(3) {
		i := r.IntN(len(fs))
		f := *fs[i]
		switch r.IntN(6) {
		case 0:
			f.Priority = uint16(r.IntN(400))
		case 1:
			if len(f.Match) > 0 {
				f.Match = slices.Delete(slices.Clone(f.Match), 0, 1)
			}
		case 2:
			if len(f.Apply) > 0 {
				f.Apply = slices.Clone(f.Apply)
				k := r.IntN(len(f.Apply))
				switch a := f.Apply[k].(type) {
				case flows.Output:
					f.Apply[k] = flows.Output{Port: ports[r.IntN(len(ports))]}
				case flows.SetField:
					a.Value = flows.U(uint64(r.IntN(12))).And(a.Mask)
					f.Apply[k] = a
				default:
					f.Apply = slices.Delete(f.Apply, k, k+1)
				}
			}
		case 3:
			o := any()
			f.Apply, f.Goto = o.Apply, o.Goto
			if f.Goto <= f.Table {
				f.Goto = 0
			}
		case 4:
			f.Match = any().Match
		case 5:
			if len(gs) == 0 {
				continue
			}
			g := *gs[r.IntN(len(gs))]
			o := gs[r.IntN(len(gs))]
			g.Buckets = append(slices.Clone(g.Buckets), o.Buckets[r.IntN(len(o.Buckets))])
			gs = append(slices.DeleteFunc(gs, func(x *flows.Group) bool { return x.ID == g.ID }), &g)
		}
		fs[i] = &f
	}
	keys := map[flows.Key]bool{}
	fs = slices.DeleteFunc(fs, func(f *flows.Flow) bool {
		again := keys[f.Key()]
		keys[f.Key()] = true
		return again
	})
	return flows.Flat(&flows.Part{Flows: fs, Groups: gs})
}

// packet is a random packet of an ingress, of addresses that the flows know.
func packet(r *rand.Rand, v *verifier, x *explorer, h *Host, g *ingress) *trace.Packet {
	cube := slices.Clone(g.state.at)
	one := func(vs ...uint64) flows.Value { return flows.U(vs[r.IntN(len(vs))]) }
	macs := []uint64{0x020000000001, 0x020000000002, 0x020000000003, 0x020000000101, 0x020000000102, 0x020000000201, 0x020000000202, 0xffffffffffff, 0x0180c2000000, 0x02dddddddddd}
	ips := []uint64{0x0a010101, 0x0a010102, 0, 0x0a010909}
	w := &values{p: x.p, cube: cube, free: map[flows.Field]flows.Value{
		flows.EthDst: one(macs...), flows.EthSrc: one(macs[:7]...), flows.EthType: one(0x800, 0x806, 0x88b5, 0x86dd, 0x8100),
		flows.VLANVID: one(tagPresent|10, tagPresent|20, tagPresent|5, tagPresent), flows.VLANPCP: one(0, 5),
		flows.IPv4Src: one(ips...), flows.IPv4Dst: one(ips...), flows.ARPSPA: one(ips...), flows.ARPTPA: one(ips...),
		flows.ARPSHA: one(macs...), flows.ARPOp: one(1, 2), flows.TunID: one(5, 100, 101),
	}}
	w.fromPeer(v, h)
	if r.IntN(2) == 0 { // mostly what a port may send
		for i := range h.Ports {
			if m := uint64(0x020000000000 + uint64(g.port)); h.Ports[i].Number == g.port {
				w.free[flows.EthSrc], w.free[flows.ARPSHA], w.free[flows.IPv4Src], w.free[flows.ARPSPA] = flows.U(m), flows.U(m), flows.U(ips[0]), flows.U(ips[0])
			}
		}
	}
	p, err := trace.NewPacket(g.port, w.frame())
	if err != nil {
		return nil
	}
	if g.tunnel {
		p.SetTunnel(w.lo(flows.TunID), ipv4(w.get(flows.TunIPv4Src)), ipv4(w.get(flows.TunIPv4Dst)))
	}
	return p
}

// TestProvedIsSound: LAW: in an overlay that is proved no packet does harm. Mutants of
// what was compiled are proved or not; through those that are, random packets are sent
// by the interpreter.
func TestProvedIsSound(t *testing.T) {
	base := plant(t, planted{})
	proved, harmful, doubtful, sent := 0, 0, 0, 0
	const mutants = 300
	for seed := range uint64(mutants) {
		r := rand.New(rand.NewPCG(seed, 7))
		o := base
		o.Hosts = slices.Clone(base.Hosts)
		o.Hosts[0].State = mutate(r, &base.Hosts[0])
		rep := verified(t, o)
		switch summary(rep) {
		case "doubt":
			doubtful++
			continue
		case "proved":
			proved++
		default:
			harmful++
			continue
		}
		n := sendMany(t, r, &o, seed)
		sent += n
	}
	t.Logf("%d mutants: %d proved, %d with violations, %d in doubt; %d packets sent", mutants, proved, harmful, doubtful, sent)
	if proved == 0 || harmful == 0 || sent == 0 {
		t.Error("the mutants are of one kind: the test shows nothing")
	}
}

// sendMany sends packets through a proved overlay.
func sendMany(t *testing.T, r *rand.Rand, o *Overlay, seed uint64) (sent int) {
	v, err := newVerifier(o, &Report{})
	if err != nil {
		t.Fatal(err)
	}
	net, err := v.network()
	if err != nil {
		t.Fatal(err)
	}
	f := v.host(t.Context(), &explorer{}, &o.Hosts[0])
	for i := range f.x.ingresses {
		g := &f.x.ingresses[i]
		if g.vlan < 0 || g.tunnel && g.key == nil {
			continue // may be of a network by what is picked
		}
		h := &hunt{c: &confirmer{v: v, net: net}, f: &f, g: g, s: &suspicion{}}
		for range 60 {
			p := packet(r, v, f.x, f.site.h, g)
			if p == nil {
				continue
			}
			hop, err := net.Trace("host0", p, trace.Options{})
			if err != nil {
				t.Fatal(err)
			}
			sent++
			if kind, what, bad := h.harm(hop, p); bad {
				t.Fatalf("seed %d: proved, but from %s %s: %s: %s", seed, g.name, p, kind, what)
			}
		}
	}
	return sent
}

// TestProvedIsSoundWithAllFeatures: the same LAW in random overlays, for packets near
// those that are declared of their features.
func TestProvedIsSoundWithAllFeatures(t *testing.T) {
	found := map[string]int{}
	sent := 0
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 10))
		drawn := cases.Random(r, cases.Size{Hosts: cases.MinHosts, Features: 3})
		o := overlay(t, drawn.Snapshot)
		h := &o.Hosts[r.IntN(cases.MinHosts)]
		h.State = mutate(r, h)
		verdict := summary(verified(t, o))
		found[verdict]++
		if verdict != "proved" {
			continue
		}
		v, err := newVerifier(&o, &Report{})
		if err != nil {
			t.Fatal(err)
		}
		net, err := v.network()
		if err != nil {
			t.Fatal(err)
		}
		findings := map[string]*finding{}
		for i := range o.Hosts {
			f := v.host(t.Context(), &explorer{}, &o.Hosts[i])
			findings[o.Hosts[i].Name] = &f
		}
		for range 400 {
			in := drawn.Near(r)
			p, err := trace.NewPacket(in.InPort, in.Frame)
			if err != nil {
				t.Fatal(err)
			}
			if in.Tunnel != nil {
				p.SetTunnel(in.Tunnel.Key, in.Tunnel.Src, in.Tunnel.Dst)
			}
			f := findings[in.Host]
			g := f.ingressOf(p)
			if g == nil {
				continue // under a key that no flow knows
			}
			hop, err := net.Trace(in.Host, p, trace.Options{})
			if err != nil {
				t.Fatal(err)
			}
			sent++
			hunt := &hunt{c: &confirmer{v: v, net: net}, f: f, g: g, s: &suspicion{}}
			if kind, what, bad := hunt.harm(hop, p); bad {
				t.Fatalf("seed %d: proved, but from %s %s: %s: %s", seed, g.name, p, kind, what)
			}
		}
	}
	t.Logf("%v; %d packets sent", found, sent)
	if found["proved"] == 0 || len(found) < 2 || sent == 0 {
		t.Error("the mutants are of one kind: the test shows nothing")
	}
}

// ingressOf is the set of packets that p is of.
func (f *finding) ingressOf(p *trace.Packet) *ingress {
	vlan := int(p.Get(flows.VLANVID).Lo & vidBits)
	var rest *ingress
	for i := range f.x.ingresses {
		switch g := &f.x.ingresses[i]; {
		case g.port != p.InPort():
		case g.tunnel && g.key != nil && *g.key == p.Get(flows.TunID).Lo, !g.tunnel && g.vlan == vlan:
			return g
		case !g.tunnel && g.vlan < 0:
			rest = g
		}
	}
	return rest
}
