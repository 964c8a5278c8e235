package verify

import (
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// node is a set of packets that arrive in a table.
type node struct {
	table uint8
	state state
	alts  []alt
	next  []int32 // the nodes that alts lead to, each once
	from  bitset  // the ingresses whose packets get here
}

// alt is what one flow does with the packets of a node that it takes; without a row,
// no flow takes them.
type alt struct {
	row    *row
	next   []int32 // nodes that copies of the packet go on to
	events []event
}

// event is a copy that leaves.
type event struct {
	port        uint32
	vid         tern // with its bit for "there is a tag"
	key         tern
	dst4, dst6  tern
	moved       bool // in_port is not where the packet came in
	answered    bool
	readdressed bool   // the tunnel's destination is not where the packet came to
	choice      uint32 // the group that selects one of its buckets, 0 if none does
	bucket      int32  // which
	flow        *flows.Flow
	throughPort bool // output to IN_PORT: the packet's own port, whichever it is
}

// ingress is where packets come into a switch.
type ingress struct {
	name    string // of the port, and which frames
	port    uint32
	vlan    int     // VLAN ID on the port, 0 without a tag; -1 any other
	key     *uint64 // of a tunnel
	tunnel  bool
	network int32 // which network they belong to, -1 none
	state   state
	node    int32
}

// explorer follows the packets of one switch. It may be used again for another one, when
// nothing of what it found is needed any more.
type explorer struct {
	p         *program
	h         *Host
	nodes     []*node
	index     interner
	ingresses []ingress
	classes   int
	doubts    map[string]bool
	order     []string // of doubts

	// What follows is for the node that is expanded.
	alts    []alt
	next    []int32
	met     []int32 // by node, the last one that leads to it
	done    []share // by effect
	cursors []cursor
	walker  walker
	spare   []*state // copies of packets on their way, by how deep they are in groups

	terns slab[tern]
	made  slab[node]
	kept  slab[alt]
	nexts slab[int32]
	sent  slab[event]
	words slab[uint64]
}

// share is where rows of one effect send the packets of a node.
type share struct {
	node int32 // plus 1
	next []int32
}

// begin makes x ready for a switch.
func (x *explorer) begin(h *Host, o *Overlay) {
	if x.p == nil {
		x.p = &program{}
	}
	x.p.load(h, o)
	x.h = h
	x.nodes, x.ingresses, x.classes, x.order = x.nodes[:0], x.ingresses[:0], 0, nil
	clear(x.doubts)
	clear(x.met)
	clear(x.done)
	x.done = grow(x.done, x.p.effects.size())
	x.index.clear()
	x.terns.clear()
	x.made.clear()
	x.kept.clear()
	x.nexts.clear()
	x.sent.clear()
	x.words.clear()
}

func (x *explorer) doubt(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	if !x.doubts[s] {
		if x.doubts == nil {
			x.doubts = map[string]bool{}
		}
		x.doubts[s] = true
		x.order = append(x.order, s)
	}
}

// run explores from all ingresses.
func (x *explorer) run() {
	for i := range x.ingresses {
		g := &x.ingresses[i]
		g.node = x.node(0, &g.state)
	}
	for i := 0; i < len(x.nodes); i++ {
		x.expand(int32(i))
	}
	x.spread()
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
		*nd = node{table: n, state: state{at: x.terns.room(len(st.at)), flags: st.flags, except: st.except}}
		clear(nd.state.at)
		for _, s := range keep {
			nd.state.at[s] = st.at[s]
		}
		x.nodes = append(x.nodes, nd)
	}
	return i
}

// expand finds what the rows of a node's table do with its packets.
func (x *explorer) expand(i int32) {
	n := x.nodes[i]
	x.alts, x.next = x.alts[:0], x.next[:0]
	covered := int32(-1) // the priority at which a row takes all that is left
	t := x.p.at(n.table)
	x.cursors = t.look(&n.state, x.cursors[:0])
	for k := step(x.cursors); k >= 0; k = step(x.cursors) {
		r := &t.rows[k]
		if int32(r.priority) < covered {
			break
		}
		some, all := n.state.meets(r)
		if !some {
			continue
		}
		x.classes++
		if r.flow == nil {
			x.doubt("table %d has a flow of priority %d that some packets meet and that nobody can judge: %s", n.table, r.priority, r.unread)
			continue
		}
		x.alternative(i, n, r)
		if all {
			covered = int32(r.priority)
		}
	}
	if covered < 0 {
		x.classes++
		x.alts = append(x.alts, alt{})
	}
	n.alts, n.next = x.kept.keep(x.alts), x.nexts.keep(x.next)
}

// alternative is what a row does with the packets of node i that it takes.
func (x *explorer) alternative(i int32, n *node, r *row) {
	done := &x.done[r.effect]
	if r.effect != 0 && done.node == i+1 {
		x.alts = append(x.alts, alt{row: r, next: done.next})
		return
	}
	st := x.copy(0, &n.state)
	for k := range r.wants {
		w := &r.wants[k]
		st.at[w.slot] = st.at[w.slot].and(w.tern)
	}
	w := &x.walker
	*w = walker{x: x, m: machine{p: x.p, s: st}, table: n.table, next: w.next[:0], events: w.events[:0]}
	w.flow(r.flow)
	a := alt{row: r, next: x.nexts.keep(w.next), events: x.sent.keep(w.events)}
	x.alts = append(x.alts, a)
	*done = share{i + 1, a.next}
	x.met = grow(x.met, len(x.nodes))
	for _, to := range a.next {
		if x.met[to] != i+1 {
			x.met[to] = i + 1
			x.next = append(x.next, to)
		}
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

// spread finds from which ingresses packets get to each node.
func (x *explorer) spread() {
	words := (len(x.ingresses) + 63) / 64
	for _, n := range x.nodes {
		n.from = x.words.room(words)
		clear(n.from)
	}
	for i := range x.ingresses {
		x.nodes[x.ingresses[i].node].from.set(i)
	}
	order := x.byTable()
	for again := true; again; {
		again = false
		for _, i := range order {
			n := x.nodes[i]
			for _, to := range n.next {
				// What goes back to a table was done before.
				if o := x.nodes[to]; o.from.or(n.from) && o.table <= n.table {
					again = true
				}
			}
		}
	}
}

// byTable is the nodes in the order of their tables.
func (x *explorer) byTable() []int32 {
	var ends [257]int
	for _, n := range x.nodes {
		ends[int(n.table)+1]++
	}
	for t := 1; t < len(ends); t++ {
		ends[t] += ends[t-1]
	}
	order := x.nexts.room(len(x.nodes))
	for i, n := range x.nodes {
		order[ends[n.table]] = int32(i)
		ends[n.table]++
	}
	return order
}
