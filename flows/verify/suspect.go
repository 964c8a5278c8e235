package verify

import (
	"net/netip"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// suspicion is something that goes wrong if there is a packet that goes this way. Its
// node and alt say how it must end.
type suspicion struct {
	kind Kind
	node int32
	alt  int32
	flow *flows.Flow
	port uint32
	from []int32 // ingresses
}

// suspectKey keeps one suspicion for what is the same fault.
type suspectKey struct {
	kind Kind
	node int32
	alt  int32
	port uint32
}

// suspects collects the suspicions of a switch.
type suspects struct {
	v     *verifier
	s     *site
	x     *explorer
	list  []*suspicion
	index map[suspectKey]*suspicion

	members map[int32]bitset // the ingresses of each network
	guests  bitset           // the ingresses that are no tunnel's
	orderly map[exit]bitset  // see fine
	odd     bitset
	copied  copied
}

// exit is what counts of a route that has no fault.
type exit struct {
	network int32
	tunnel  bool
}

func newSuspects(v *verifier, s *site, x *explorer) *suspects {
	u := &suspects{v: v, s: s, x: x, index: map[suspectKey]*suspicion{}, members: map[int32]bitset{},
		orderly: map[exit]bitset{}, copied: copied{last: map[where]int32{}}}
	u.guests, u.odd = x.none(), x.none()
	for i := range x.ingresses {
		g := &x.ingresses[i]
		if u.members[g.network] == nil {
			u.members[g.network] = x.none()
		}
		u.members[g.network].set(i)
		if !g.tunnel {
			u.guests.set(i)
		}
	}
	return u
}

func (u *suspects) add(k Kind, at suspectKey, from int, f *flows.Flow) {
	at.kind = k
	s := u.index[at]
	if s == nil {
		s = &suspicion{kind: k, node: at.node, alt: at.alt, flow: f, port: at.port}
		u.index[at] = s
		u.list = append(u.list, s)
	}
	if n := len(s.from); n == 0 || s.from[n-1] != int32(from) {
		s.from = append(s.from, int32(from))
	}
}

// look goes over everything that leaves.
func (u *suspects) look() {
	for ni, n := range u.x.nodes {
		for ai := range n.alts {
			a := &n.alts[ai]
			at := suspectKey{node: int32(ni), alt: int32(ai)}
			if a.row != nil && a.row.broken != "" {
				for g := range a.from.each {
					u.add(Undeclared, at, g, a.row.flow)
				}
			}
			for i := range a.hops {
				u.hop(at, &a.hops[i])
			}
		}
	}
}

func (u *suspects) hop(at suspectKey, h *hop) {
	for i := range h.events {
		u.event(at, &h.events[i], h.from)
	}
	if len(h.events) > 1 || len(h.events) > 0 && len(h.next) > 0 {
		u.copies(at, h)
	}
}

func (u *suspects) event(at suspectKey, e *event, from bitset) {
	at.port = e.port
	r := u.v.route(u.s, e)
	copy(u.odd, from)
	if !e.throughPort {
		u.odd.without(u.fine(r))
		for own, g := u.x.spans[e.port], u.x.spans[e.port].first; g < own.end; g++ {
			if from.has(g) {
				u.odd.set(g)
			}
		}
	}
	for g := range u.odd.each {
		if k, bad := u.judge(&u.x.ingresses[g], e, r); bad {
			u.add(k, at, g, e.flow)
		}
	}
}

// fine is ingresses for which judge finds nothing, as long as their packets do not
// leave by the port that they came in by.
func (u *suspects) fine(r route) bitset {
	if r.fault || r.network == nobody {
		return nil
	}
	k := exit{r.network, r.tunnel != nil}
	b := u.orderly[k]
	if b != nil {
		return b
	}
	b = u.x.none()
	for n, m := range u.members {
		if n == r.network || u.v.allowed(n, r.network) {
			b.or(m)
		}
	}
	if r.tunnel != nil {
		b.and(u.guests)
	}
	u.orderly[k] = b
	return b
}

// route is where an event leads, as far as that does not depend on where the packet
// came from.
type route struct {
	tunnel  *Tunnel
	place   *place // of a port that is no tunnel's
	network int32  // of the (port, VLAN) or of the (encapsulation, key)
	vlan    int    // -1 when it is not known
	fault   bool   // no key, or no peer
	void    bool   // there is no such port, or no destination: nothing leaves
}

// route finds where an event leads.
func (v *verifier) route(s *site, e *event) route {
	r := route{network: nobody, vlan: -1}
	if r.tunnel = s.tunnels[e.port]; r.tunnel != nil {
		full := flows.TunID.FullMask()
		n, ok := v.byKey[tunnelKey{r.tunnel.Encap, e.key.v.Lo}]
		if e.key.m == full && ok {
			r.network = n
		}
		none := e.dst4 == tern{m: flows.TunIPv4Dst.FullMask()} && e.dst6 == tern{m: flows.TunIPv6Dst.FullMask()}
		r.void, r.fault = none, e.key.m != full || !v.peer(e, s)
		return r
	}
	if r.place = s.places[e.port]; r.place == nil {
		r.void = true
		return r
	}
	r.vlan = e.vlan()
	switch {
	case r.place.wire:
		r.network = r.place.whole
	case r.vlan >= 0:
		r.network = r.place.network(uint16(r.vlan))
	}
	return r
}

// vlan is the VLAN ID with which a copy leaves, 0 without one, -1 if it is not known. An
// ID without the bit that says there is a tag is none.
func (e *event) vlan() int {
	has, id := e.vid.m.Lo, int(e.vid.v.Lo&vidBits)
	switch {
	case has&tagPresent != 0 && e.vid.v.Lo&tagPresent == 0:
		return 0
	case has&vidBits == vidBits && (id == 0 || has&tagPresent != 0):
		return id
	}
	return -1
}

// peer reports whether the event goes to the tunnel endpoint of another host.
func (v *verifier) peer(e *event, s *site) bool {
	if e.dst4.m == flows.TunIPv4Dst.FullMask() && !e.dst4.v.IsZero() {
		h := v.teps[ipv4(e.dst4.v)]
		return h != nil && h != s.h
	}
	if e.dst4.m == flows.TunIPv4Dst.FullMask() && e.dst6.m == flows.TunIPv6Dst.FullMask() {
		h := v.teps[ipv6(e.dst6.v)]
		return h != nil && h != s.h
	}
	return false
}

// judge says what is wrong with a copy of a packet from g that leaves, if anything is.
func (u *suspects) judge(g *ingress, e *event, r route) (Kind, bool) {
	if r.void && !e.throughPort || !e.moved && !e.throughPort && e.port == g.port {
		return 0, false
	}
	if e.throughPort {
		back := *e
		back.port, back.throughPort = g.port, false
		back.moved = true
		return u.judge(g, &back, u.v.route(u.s, &back))
	}
	switch {
	case r.tunnel != nil && toItself(g, e):
		return 0, false
	case r.tunnel != nil && g.tunnel:
		return Loop, true
	case g.network == nobody:
		return Isolation, true
	case r.tunnel != nil:
		return Key, r.fault || r.network != g.network && !u.v.allowed(g.network, r.network)
	case r.network == nobody:
		// A VLAN that is not known may be any.
		return Membership, true
	case r.network != g.network && !u.v.allowed(g.network, r.network):
		return Isolation, true
	}
	return Duplicate, e.port == g.port && !e.answered && (r.vlan == g.vlan || g.vlan < 0)
}

// toItself reports whether a tunnel would end where the packet came out of one: Open vSwitch
// sends nothing then.
func toItself(g *ingress, e *event) bool { return g.tunnel && !e.readdressed }

// where copies of one packet are in the same place.
type where struct {
	port uint32
	peer *Host // behind a tunnel
}

// copied is the copies of one packet, each with the one before it in the same place.
type copied struct {
	last map[where]int32
	list []struct {
		e      *event
		before int32
	}
}

func (u *suspects) where(e *event) where {
	if u.s.tunnels[e.port] == nil {
		return where{port: e.port}
	}
	if e.dst4.v.IsZero() {
		return where{peer: u.v.teps[ipv6(e.dst6.v)]}
	}
	return where{peer: u.v.teps[ipv4(e.dst4.v)]}
}

// meets reports whether a copy may be where another one is already.
func (c *copied) meets(e *event, w where) bool {
	same := func(a, b int) bool { return a == b || a < 0 || b < 0 }
	for i := c.last[w]; i > 0; i = c.list[i-1].before {
		was := c.list[i-1].e
		apart := was.choice != 0 && was.choice == e.choice && was.bucket != e.bucket
		if !apart && (w.peer != nil || same(was.vlan(), e.vlan())) {
			return true
		}
	}
	return false
}

func (c *copied) add(e *event, w where) {
	c.list = append(c.list, struct {
		e      *event
		before int32
	}{e, c.last[w]})
	c.last[w] = int32(len(c.list))
}

// copies looks for two copies of one packet in the same place.
func (u *suspects) copies(at suspectKey, h *hop) {
	c := &u.copied
	clear(c.last)
	c.list = c.list[:0]
	for i := range h.events {
		e := &h.events[i]
		w := u.where(e)
		if c.meets(e, w) {
			u.twice(at, e, h.from)
		}
		c.add(e, w)
	}
	// Copies that go on may end where those ended that left before.
	for _, next := range h.next {
		behind := u.behind(next, h.from)
		for _, e := range behind {
			if c.meets(e, u.where(e)) {
				u.twice(at, e, h.from)
			}
		}
		for _, e := range behind {
			c.add(e, u.where(e))
		}
	}
}

// twice suspects that a port gets a second copy by e.
func (u *suspects) twice(at suspectKey, e *event, from bitset) {
	at.port = e.port
	for g := range from.each {
		in := &u.x.ingresses[g]
		if (e.moved || e.port != in.port) && !(u.s.tunnels[e.port] != nil && toItself(in, e)) {
			u.add(Duplicate, at, g, e.flow)
		}
	}
}

// behind is everything that may leave of packets from some ingresses, from a node on.
func (u *suspects) behind(start int32, from bitset) (events []*event) {
	done := map[int32]bool{start: true}
	for queue := []int32{start}; len(queue) > 0; queue = queue[1:] {
		n := u.x.nodes[queue[0]]
		for k := range n.alts {
			for i := range n.alts[k].hops {
				h := &n.alts[k].hops[i]
				if !h.from.meets(from) {
					continue
				}
				for j := range h.events {
					events = append(events, &h.events[j])
				}
				for _, next := range h.next {
					if !done[next] {
						done[next] = true
						queue = append(queue, next)
					}
				}
			}
		}
	}
	return events
}

func (v *verifier) allowed(from, to int32) bool {
	return from >= 0 && to >= 0 && v.o.Allowed != nil && v.o.Allowed(v.o.Networks[from].Name, v.o.Networks[to].Name)
}

func ipv4(v flows.Value) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(v.Lo >> 24), byte(v.Lo >> 16), byte(v.Lo >> 8), byte(v.Lo)})
}

func ipv6(v flows.Value) netip.Addr {
	var b [16]byte
	for i := range 8 {
		b[i], b[8+i] = byte(v.Hi>>(56-8*i)), byte(v.Lo>>(56-8*i))
	}
	return netip.AddrFrom16(b).Unmap()
}
