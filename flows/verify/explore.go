package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// explorer follows the packets of one switch. It may be used again for another one, when
// nothing of what it found is needed any more.
type explorer struct {
	p         *program
	h         *Host
	ingresses []ingress
	spans     map[uint32]span // by port
	nodes     []*node
	index     interner
	waiting   [256]queue // nodes to be expanded, by table
	lowest    int        // table that may have some
	classes   int
	doubts    map[string]bool
	order     []string // of doubts

	// What follows is for the node that is expanded.
	turn   int32 // how many were before it
	alts   []alt
	hops   []hop
	next   []int32
	met    []int32 // by node, the last turn that lead to it
	done   []share // by effect
	rows   []int32
	ports  []uint32
	takes  bitset
	covers bitset
	walker walker
	spare  []*state // copies of packets on their way, by how deep they are in groups

	terns slab[tern]
	made  slab[node]
	kept  slab[alt]
	went  slab[hop]
	nexts slab[int32]
	sent  slab[event]
	words slab[uint64]
}

// span is numbers of ingresses, from first on up to, not including, end. Those of a port
// are in its span.
type span struct{ first, end int }

// share is what rows of one effect made of packets from some ingresses.
type share struct {
	turn int32
	from bitset
	hops []hop
}

// begin makes x ready for a switch.
func (x *explorer) begin(h *Host, o *Overlay) {
	if x.p == nil {
		x.p, x.spans, x.doubts = &program{}, map[uint32]span{}, map[string]bool{}
	}
	x.p.load(h, o)
	x.h = h
	x.nodes, x.ingresses, x.classes, x.order = x.nodes[:0], x.ingresses[:0], 0, nil
	clear(x.spans)
	clear(x.doubts)
	x.done = grow(x.done, x.p.effects.size())
	for t := range x.waiting { // some may, if the switch before was given up
		x.waiting[t].clear()
	}
	x.index.clear()
	x.terns.clear()
	x.made.clear()
	x.kept.clear()
	x.went.clear()
	x.nexts.clear()
	x.sent.clear()
	x.words.clear()
}

// enter adds an ingress.
func (x *explorer) enter(g ingress) {
	n := len(x.ingresses)
	s, known := x.spans[g.port]
	if !known {
		s.first = n
	}
	s.end = n + 1
	x.spans[g.port] = s
	x.ingresses = append(x.ingresses, g)
}

// none is no ingress.
func (x *explorer) none() bitset {
	b := bitset(x.words.room((len(x.ingresses) + 63) / 64))
	clear(b)
	return b
}

func (x *explorer) doubt(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	if !x.doubts[s] {
		x.doubts[s] = true
		x.order = append(x.order, s)
	}
}

// Bounds of what is explored of a host: the sets of packets, which take about a kilobyte
// each, and how often they are expanded. Compiled flows make fewer sets than they are.
const (
	maxNodes = 1 << 18
	maxTurns = 4 * maxNodes
)

// run explores from all ingresses, until ctx ends. Tables are done in their order, so that all packets
// that get to a node are known before it is expanded; it is expanded again if a flow sent
// more of them back.
func (x *explorer) run(ctx context.Context) {
	x.takes, x.covers = x.none(), x.none()
	for i := range x.ingresses {
		g := &x.ingresses[i]
		g.node = x.node(0, &g.state)
		x.takes.set(i)
		x.arrive(g.node, x.takes)
		clear(x.takes)
	}
	first := x.turn
	for x.lowest = 0; x.lowest < len(x.waiting); {
		if len(x.nodes) > maxNodes || x.turn-first > maxTurns {
			x.doubt("its flows tell more than %d sets of packets apart: it was given up", maxNodes)
			break
		}
		if x.turn%1024 == 0 && ctx.Err() != nil {
			break
		}
		if i, any := x.waiting[x.lowest].get(); any {
			x.expand(x.nodes[i])
		} else {
			x.lowest++
		}
	}
	for _, n := range x.nodes {
		x.classes += n.classes
	}
}

// arrive notes that packets from some ingresses get to a node.
func (x *explorer) arrive(i int32, from bitset) {
	if n := x.nodes[i]; n.from.or(from) && !n.waits {
		n.waits = true
		x.waiting[n.table].put(i)
		x.lowest = min(x.lowest, int(n.table))
	}
}

// node is the node of a set of packets in a table, without what does not matter any
// more.
func (x *explorer) node(n uint8, st *state) int32 {
	keep := x.p.at(n).keep[st.flags&moved]
	h := hash(uint64(n)<<8|uint64(st.flags), flows.U(uint64(st.except.number())))
	for _, s := range keep {
		if t := &st.at[s]; !t.m.IsZero() {
			h = hash(hash(h+uint64(s), t.v), t.m)
		}
	}
	i, fresh := x.index.number(h, func(i int32) bool {
		o := x.nodes[i]
		return o.table == n && o.state.flags == st.flags && o.state.except.number() == st.except.number() && o.state.same(st, keep)
	})
	if fresh {
		nd := &x.made.room(1)[0]
		*nd = node{table: n, from: x.none(), state: state{at: x.terns.room(len(st.at)), flags: st.flags, except: st.except}}
		clear(nd.state.at)
		for _, s := range keep {
			nd.state.at[s] = st.at[s]
		}
		x.nodes = append(x.nodes, nd)
	}
	return i
}

// expand finds what the rows of a node's table do with its packets.
func (x *explorer) expand(n *node) {
	n.waits, n.classes = false, 0
	x.turn++
	x.alts, x.next = x.alts[:0], x.next[:0]
	t, hidden := x.p.at(n.table), x.hidden(n)
	// left are the ingresses some of whose packets no row of a higher priority takes,
	// covers those all of whose packets are taken at this one.
	left, covers, priority := n.from, false, uint16(0)
	for _, k := range x.candidates(t, n, hidden) {
		r := &t.rows[k]
		if covers && r.priority != priority {
			left, covers = x.less(left, x.covers), false
			if left.empty() {
				break
			}
		}
		some, all := n.state.meets(r, hidden)
		if !some {
			continue
		}
		from := left
		if r.port >= 0 && hidden != noSlot {
			from = x.takes
			if x.through(from, left, r.wants[r.port].tern); from.empty() {
				continue
			}
		}
		n.classes++
		if r.flow == nil {
			x.doubt("table %d has a flow of priority %d that some packets meet and that nobody can judge: %s", n.table, r.priority, r.unread)
			continue
		}
		x.alternative(n, r, from)
		if all {
			if !covers {
				clear(x.covers)
			}
			priority, covers = r.priority, true
			x.covers.or(from)
		}
	}
	if covers {
		left = x.less(left, x.covers)
	}
	if !left.empty() {
		n.classes++
		x.alts = append(x.alts, alt{from: left})
	}
	n.alts, n.next = x.kept.keep(x.alts), x.nexts.keep(x.next)
}

// hidden is in_port, as long as that is not in the state of a node.
func (x *explorer) hidden(n *node) slot {
	if n.state.flags&moved != 0 {
		return noSlot
	}
	return x.p.slots[flows.InPort]
}

// less is b without c, where that can stay.
func (x *explorer) less(b, c bitset) bitset {
	b = x.words.keep(b)
	b.without(c)
	return b
}

// through makes to those of some ingresses whose port is a given one.
func (x *explorer) through(to, of bitset, port tern) {
	clear(to)
	s := span{0, len(x.ingresses)}
	if port.m == flows.InPort.FullMask() {
		s = x.spans[uint32(port.v.Lo)]
	}
	for i := s.first; i < s.end; i++ {
		if of.has(i) && uint64(x.ingresses[i].port)&port.m.Lo == port.v.Lo {
			to.set(i)
		}
	}
}

// portsOf is the ports that some ingresses are of.
func (x *explorer) portsOf(b bitset) []uint32 {
	x.ports = x.ports[:0]
	for i := range b.each {
		if p, n := x.ingresses[i].port, len(x.ports); n == 0 || x.ports[n-1] != p {
			x.ports = append(x.ports, p)
		}
	}
	slices.Sort(x.ports)
	return slices.Compact(x.ports)
}

// candidates are the rows that packets of a node may meet, and others.
func (x *explorer) candidates(t *table, n *node, hidden slot) []int32 {
	x.rows = x.rows[:0]
	for i := range t.lanes {
		l := &t.lanes[i]
		switch {
		case !l.known(&n.state, hidden):
			x.rows = t.next.lane.follow(l.first, x.rows)
		case slices.Contains(l.by, hidden):
			for _, p := range x.portsOf(n.from) {
				x.rows = t.next.bucket.follow(l.bucket(&n.state, hidden, flows.U(uint64(p))), x.rows)
			}
		default:
			x.rows = t.next.bucket.follow(l.bucket(&n.state, hidden, flows.Value{}), x.rows)
		}
	}
	slices.Sort(x.rows)
	return slices.Compact(x.rows)
}

// alternative is what a row does with the packets of a node that it takes.
func (x *explorer) alternative(n *node, r *row, from bitset) {
	done := &x.done[r.effect]
	if r.effect != 0 && done.turn == x.turn && done.from.equal(from) {
		x.alts = append(x.alts, alt{r, done.from, done.hops})
		return
	}
	from = x.words.keep(from)
	x.hops = x.hops[:0]
	if !r.asksPort || x.hidden(n) == noSlot {
		x.hop(n, r, from)
	} else {
		for _, p := range x.portsOf(from) {
			one := x.none()
			port := tern{flows.U(uint64(p)), flows.InPort.FullMask()}
			x.through(one, from, port)
			x.hop(n, r, one, want{x.p.slots[flows.InPort], port})
		}
	}
	a := alt{r, from, x.went.keep(x.hops)}
	x.alts = append(x.alts, a)
	*done = share{x.turn, from, a.hops}
}

// hop is what a row does with packets that come from some ingresses, and of which is
// known, besides, some more.
func (x *explorer) hop(n *node, r *row, from bitset, more ...want) {
	st := x.copy(0, &n.state)
	for _, ws := range [...][]want{r.wants, more} {
		for k := range ws {
			st.at[ws[k].slot] = st.at[ws[k].slot].and(ws[k].tern)
		}
	}
	w := &x.walker
	*w = walker{x: x, m: machine{p: x.p, s: st}, table: n.table, next: w.next[:0], events: w.events[:0]}
	w.flow(r.flow)
	h := hop{from, x.nexts.keep(w.next), x.sent.keep(w.events)}
	x.hops = append(x.hops, h)
	x.met = grow(x.met, len(x.nodes))
	for _, to := range h.next {
		if x.met[to] != x.turn {
			x.met[to] = x.turn
			x.next = append(x.next, to)
		}
		x.arrive(to, from)
	}
}

// copy is a copy of a state, good until the next one at the same depth.
func (x *explorer) copy(depth int, s *state) *state {
	if depth == len(x.spare) {
		x.spare = append(x.spare, &state{})
	}
	c := x.spare[depth]
	*c = state{at: append(c.at[:0], s.at...), flags: s.flags, except: s.except}
	return c
}
