package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// Bounds of the search for a packet, per suspicion and ingress.
const (
	maxWays  = 2000   // through the tables
	maxSteps = 20_000 // to find a packet that no higher flow takes
)

// maxEffort bounds the search on one host: a way counts 1, a packet that is tried tried.
// It takes seconds.
const (
	maxEffort = 1 << 19
	tried     = 50
)

// confirmer looks for the packets behind suspicions.
type confirmer struct {
	v   *verifier
	net *trace.Network // made when it is first needed
	// effort is what is left of maxEffort for the host that is looked at.
	effort int
}

func (c *confirmer) confirm(ctx context.Context, rep *Report, f finding) error {
	if len(f.list) > 0 && c.net == nil {
		n, err := c.v.network()
		if err != nil {
			return err
		}
		c.net = n
	}
	c.effort = maxEffort
	blamed, doubted := map[blame]bool{}, map[blame]bool{}
	for i, s := range f.list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if c.effort < 0 {
			rep.Doubts = append(rep.Doubts, Doubt{f.site.h.Name,
				fmt.Sprintf("of %d suspicions the last %d were not looked into: the search took too long", len(f.list), len(f.list)-i)})
			break
		}
		// One packet for each fault of a flow is enough to see what is wrong with it.
		b := blame{s.kind, s.flow, s.port}
		if s.kind == Undeclared {
			b.port = 0
		}
		if blamed[b] {
			continue
		}
		h := &hunt{c: c, f: &f, s: s}
		switch h.run() {
		case found:
			blamed[b] = true
			same := func(o Violation) bool {
				return o.Kind == h.is.Kind && o.Host == h.is.Host && o.Flow == h.is.Flow && o.What == h.is.What
			}
			if !slices.ContainsFunc(rep.Violations, same) {
				rep.Violations = append(rep.Violations, h.is)
			}
		case nothing:
			rep.Refuted++
		default:
			if !doubted[b] {
				rep.Doubts = append(rep.Doubts, Doubt{f.site.h.Name, h.why()})
			}
			doubted[b] = true
		}
	}
	return nil
}

type blame struct {
	kind Kind
	flow *flows.Flow
	port uint32
}

// hunt is the search for a packet that does what is suspected.
type hunt struct {
	c      *confirmer
	f      *finding
	s      *suspicion
	g      *ingress
	from   int    // its number
	leads  []bool // nodes from which the suspicious one is reached
	steps  int
	ways   int
	misses int // packets that did no harm
	is     Violation
}

func (h *hunt) why() string {
	how := "the search for a packet was given up"
	if h.misses > 0 {
		how = "no packet that was tried does it"
	}
	g := &h.f.x.ingresses[h.s.from[0]]
	return fmt.Sprintf("%s: from %s there may be a way to port %d by flow %s; %s", h.s.kind, g.name, h.s.port, h.s.flow, how)
}

func (h *hunt) run() outcome {
	h.lead()
	result := nothing
	for _, i := range h.s.from {
		h.g, h.from = &h.f.x.ingresses[i], int(i)
		h.steps, h.ways = maxSteps, maxWays
		st := h.g.state.clone()
		switch h.walk(h.g.node, way{&st, newExact(h.f.x.p, &st)}, 0) {
		case found:
			return found
		case tooMuch:
			result = tooMuch
		}
	}
	if h.misses > 0 {
		return tooMuch
	}
	return result
}

// lead marks the nodes from which the suspicious one is reached.
func (h *hunt) lead() {
	nodes := h.f.x.nodes
	h.leads = make([]bool, len(nodes))
	h.leads[h.s.node] = true
	for changed := true; changed; {
		changed = false
		for i := len(nodes) - 1; i >= 0; i-- {
			if h.leads[i] {
				continue
			}
			for _, to := range nodes[i].next {
				if h.leads[to] {
					h.leads[i], changed = true, true
					break
				}
			}
		}
	}
}

// way is one way through the tables: what is known now, and what of the packet.
type way struct {
	st *state
	e  *exact
}

func (w way) clone() way {
	st := w.st.clone()
	return way{&st, w.e.clone()}
}

// walk follows all ways from a node to the suspicious one.
func (h *hunt) walk(i int32, w way, depth int) outcome {
	h.ways--
	h.c.effort--
	if h.ways < 0 || h.c.effort < 0 || depth > maxDepth {
		return tooMuch
	}
	n := h.f.x.nodes[i]
	result := nothing
	var above []*row
	for k := range n.alts {
		a := &n.alts[k]
		hop := a.hop(h.from)
		if hop == nil {
			continue
		}
		target := i == h.s.node && int32(k) == h.s.alt
		onward := slices.ContainsFunc(hop.next, func(to int32) bool { return h.leads[to] })
		if target || onward {
			took := w.clone()
			higher := above
			for len(higher) > 0 && higher[len(higher)-1].priority == a.row.priority {
				higher = higher[:len(higher)-1]
			}
			if took.e.take(a.row, higher) {
				got := h.takes(a.row, hop, took, target, depth)
				if got == found {
					return found
				}
				if got == tooMuch {
					result = tooMuch
				}
			}
		}
		above = append(above, a.row)
	}
	return result
}

// takes goes on with the packets that an alternative takes.
func (h *hunt) takes(r *row, hop *hop, w way, target bool, depth int) outcome {
	result := nothing
	if target {
		if result = h.pick(w.e); result == found {
			return found
		}
	}
	for _, x := range r.wants {
		w.st.at[x.slot] = w.st.at[x.slot].and(x.tern)
	}
	on := follow(h.f.x.p, r.flow, w)
	if len(on) != len(hop.next) {
		return tooMuch // a bucket sends copies on
	}
	for i, to := range hop.next {
		if !h.leads[to] {
			continue
		}
		switch h.walk(to, on[i], depth+1) {
		case found:
			return found
		case tooMuch:
			result = tooMuch
		}
	}
	return result
}

// follow is what a flow makes of packets that it sends on, in the order of walker.
func follow(p *program, f *flows.Flow, w way) (on []way) {
	m := machine{p: p, s: w.st, e: w.e}
	for _, a := range f.Apply {
		if m.simple(a) {
			continue
		}
		switch a := a.(type) {
		case flows.Resubmit:
			on = append(on, entered(p, w.clone()))
		case flows.Output:
			if a.Port == flows.PortTable {
				on = append(on, entered(p, w.clone()))
			}
		case flows.CT:
			if a.Table != flows.CTNoTable {
				c := w.clone()
				behind := machine{p: p, s: c.st, e: c.e}
				behind.reread()
				for f := flows.CTState; f <= flows.CTLabel; f++ {
					behind.forget(f)
				}
				on = append(on, c)
			}
			m.simple(flows.CTClear{})
			m.translated(a)
		case flows.ToGroup:
			m.selects(p.groups[a.ID])
		}
	}
	if f.MetadataMask != 0 {
		m.write(flows.Metadata, flows.U(f.Metadata), flows.U(f.MetadataMask))
	}
	if f.Goto != 0 {
		on = append(on, entered(p, w))
	}
	return on
}

// entered is a way on into a table.
func entered(p *program, w way) way {
	m := machine{p: p, s: w.st, e: w.e}
	m.entering()
	return w
}

// pick tries a packet of a set.
func (h *hunt) pick(e *exact) outcome {
	h.c.effort -= tried
	cube := slices.Clone(e.cube)
	not := make([][]want, 0, len(e.not))
	for _, n := range e.not {
		if intersects(cube, n) {
			not = append(not, n)
		}
	}
	switch solve(cube, not, &h.steps) {
	case nothing:
		return nothing
	case tooMuch:
		return tooMuch
	}
	v := &values{p: h.f.x.p, cube: cube, free: map[flows.Field]flows.Value{}}
	host := h.f.site.h
	if h.g.tunnel {
		v.fromPeer(h.c.v, host)
	}
	p, err := trace.NewPacket(h.g.port, v.frame())
	if err != nil {
		return tooMuch
	}
	if h.g.tunnel {
		from, to := ipv4(v.get(flows.TunIPv4Src)), ipv4(v.get(flows.TunIPv4Dst))
		if v.get(flows.TunIPv4Src).IsZero() {
			from, to = ipv6(v.get(flows.TunIPv6Src)), ipv6(v.get(flows.TunIPv6Dst))
		}
		p.SetTunnel(v.lo(flows.TunID), from, to)
	}
	hop, err := h.c.net.Trace(host.Name, p, trace.Options{Steps: true})
	if err != nil {
		return tooMuch
	}
	if h.g.tunnel && h.g.key == nil {
		// The key that was picked may be one of a network after all.
		g := *h.g
		if n, ok := h.c.v.byKey[tunnelKey{h.f.site.tunnels[g.port].Encap, v.lo(flows.TunID)}]; ok {
			g.network = n
		}
		defer func(g *ingress) { h.g = g }(h.g)
		h.g = &g
	}
	kind, what, ok := h.harm(hop, p)
	if !ok {
		h.misses++
		return nothing
	}
	h.is = Violation{Kind: kind, Host: host.Name, From: h.g.name, What: what, Flow: h.s.flow,
		Frame: p.Frame(), Packet: p.String(), Trace: hop}
	return found
}

// fromPeer makes the packet, as far as it is free, one that another host sent to h.
func (w *values) fromPeer(v *verifier, h *Host) {
	for i := range v.o.Hosts {
		peer := &v.o.Hosts[i]
		if peer == h {
			continue
		}
		for _, src := range peer.TEPs {
			for _, dst := range h.TEPs {
				if src, dst = src.Unmap(), dst.Unmap(); src.Is4() != dst.Is4() {
					continue
				}
				from, to := flows.TunIPv4Src, flows.TunIPv4Dst
				if src.Is6() {
					from, to = flows.TunIPv6Src, flows.TunIPv6Dst
				}
				w.free[from], w.free[to] = flows.IP(src), flows.IP(dst)
				return
			}
		}
	}
}
