package verify

import (
	"fmt"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
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

type bitset []uint64

func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }

// or adds c, and reports whether that added anything.
func (b bitset) or(c bitset) (more bool) {
	for i := range c {
		if c[i]&^b[i] != 0 {
			b[i] |= c[i]
			more = true
		}
	}
	return more
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

// explorer follows the packets of one switch.
type explorer struct {
	p         *program
	h         *Host
	nodes     []*node
	index     map[string]int32
	ingresses []ingress
	classes   int
	doubts    map[string]bool
	order     []string // of doubts
	key       []byte
	scratch   state
	alts      []alt // of the node that is expanded
	onward    []int32
	leaving   []event
	nexts     slab[int32]
	events    slab[event]
}

func (x *explorer) doubt(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	if !x.doubts[s] {
		x.doubts[s] = true
		x.order = append(x.order, s)
	}
}

// node is the node of a set of packets in a table, without what does not matter any
// more. st belongs to the node afterwards; a clone is made where it is a new one.
func (x *explorer) node(n uint8, st *state) int32 {
	k := append(x.key[:0], n, st.flags)
	t := x.p.tables[n]
	in := x.p.slots[flows.InPort]
	if st.except != nil {
		k = append(k, byte(st.except.id), byte(st.except.id>>8))
	} else {
		k = append(k, 0, 0)
	}
	matters := func(i int) bool {
		return t != nil && t.live[i] || slot(i) == in && st.flags&moved != 0
	}
	for i := range st.at {
		v := &st.at[i]
		if v.m.IsZero() || !matters(i) {
			continue
		}
		k = append(k, byte(i))
		k = app(k, v.v)
		k = app(k, v.m)
	}
	x.key = k
	if i, ok := x.index[string(k)]; ok {
		return i
	}
	nd := &node{table: n, state: st.clone()}
	for i := range nd.state.at {
		if !matters(i) {
			nd.state.at[i] = tern{}
		}
	}
	i := int32(len(x.nodes))
	x.nodes = append(x.nodes, nd)
	x.index[string(k)] = i
	return i
}

// app appends the bytes of a value that are not zero, and how many they are.
func app(k []byte, v flows.Value) []byte {
	n := len(k)
	k = append(k, 0)
	for _, w := range [...]uint64{v.Lo, v.Hi} {
		for ; w != 0; w >>= 8 {
			k = append(k, byte(w))
		}
		k[n] = k[n]<<4 | byte(len(k)-n)&0xf
	}
	return k
}

// run explores from all ingresses.
func (x *explorer) run() {
	for i := range x.ingresses {
		g := &x.ingresses[i]
		g.node = x.node(0, &g.state)
	}
	for i := 0; i < len(x.nodes); i++ {
		x.expand(x.nodes[i])
	}
	x.spread()
}

// spread finds from which ingresses packets get to each node.
func (x *explorer) spread() {
	words := (len(x.ingresses) + 63) / 64
	all := make([]uint64, words*len(x.nodes))
	for i, n := range x.nodes {
		n.from = all[i*words : (i+1)*words]
	}
	var queue []int32
	for i := range x.ingresses {
		x.nodes[x.ingresses[i].node].from.set(i)
	}
	// Nodes were found behind those that lead to them, so that most are done once.
	for i := range x.nodes {
		queue = append(queue, int32(i))
	}
	for len(queue) > 0 {
		n := x.nodes[queue[0]]
		queue = queue[1:]
		for _, to := range n.next {
			if x.nodes[to].from.or(n.from) {
				queue = append(queue, to)
			}
		}
	}
}

// expand finds what the rows of a node's table do with its packets.
func (x *explorer) expand(n *node) {
	t := x.p.tables[n.table]
	x.alts = x.alts[:0]
	covered := int32(-1) // the priority at which a row takes all that is left
	if t != nil {
		each(t, &n.state, func(i int32) bool {
			r := &t.rows[i]
			if int32(r.priority) < covered {
				return false
			}
			some, all := n.state.meets(r)
			if !some {
				return true
			}
			x.classes++
			if r.flow == nil {
				x.doubt("table %d has a flow of priority %d that some packets meet and that nobody can judge: %s", n.table, r.priority, r.unread)
				return true
			}
			x.alternative(n, r)
			if all {
				covered = int32(r.priority)
			}
			return true
		})
	}
	if covered < 0 {
		x.classes++
		x.alts = append(x.alts, alt{})
	}
	n.alts = slices.Clone(x.alts)
}

// slab keeps many short slices together.
type slab[T any] []T

func (s *slab[T]) keep(v []T) []T {
	if len(v) == 0 {
		return nil
	}
	if len(*s)+len(v) > cap(*s) {
		*s = make([]T, 0, max(1024, len(v)))
	}
	n := len(*s)
	*s = append(*s, v...)
	return (*s)[n:len(*s):len(*s)]
}

// each calls do for the rows of a table that a state may meet, in order, until it
// returns false.
func each(t *table, s *state, do func(int32) bool) {
	if t.by == noSlot || s.at[t.by].m != t.full {
		for i := range t.rows {
			if !do(int32(i)) {
				return
			}
		}
		return
	}
	a, b := t.exact[s.at[t.by].v.Lo], t.wild
	for len(a) > 0 || len(b) > 0 {
		var i int32
		if len(b) == 0 || len(a) > 0 && a[0] < b[0] {
			i, a = a[0], a[1:]
		} else {
			i, b = b[0], b[1:]
		}
		if !do(i) {
			return
		}
	}
}

// alternative is what a row does with the packets of a node that it takes.
func (x *explorer) alternative(n *node, r *row) {
	st := &x.scratch
	*st = state{at: append(st.at[:0], n.state.at...), flags: n.state.flags, except: n.state.except}
	for _, w := range r.wants {
		st.at[w.slot] = st.at[w.slot].and(w.tern)
	}
	a := alt{row: r, next: x.onward[:0], events: x.leaving[:0]}
	w := walker{x: x, m: machine{p: x.p, s: st}, a: &a, table: n.table, groups: new(int)}
	w.flow(r.flow)
	x.onward, x.leaving = a.next, a.events
	a.next, a.events = x.nexts.keep(a.next), x.events.keep(a.events)
	for _, to := range a.next {
		if !has(n.next, to) {
			n.next = append(n.next, to)
		}
	}
	x.alts = append(x.alts, a)
}

func has(s []int32, v int32) bool {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == v {
			return true
		}
	}
	return false
}

// walker does what a flow does.
type walker struct {
	x      *explorer
	m      machine
	a      *alt
	table  uint8
	f      *flows.Flow
	depth  int
	choice uint32
	bucket int32
	groups *int // visited
	called bool // a resubmit may have changed anything
}

func (w *walker) flow(f *flows.Flow) {
	w.f = f
	w.actions(f.Apply)
	if len(f.Write) > 0 || f.ClearActions {
		w.x.doubt("a flow writes an action set, which is not reasoned about: %s", f)
	}
	if f.MetadataMask != 0 {
		w.m.write(flows.Metadata, flows.U(f.Metadata), flows.U(f.MetadataMask))
	}
	if f.Goto != 0 {
		w.enter(f.Goto)
	}
}

// enter sends a copy of the packet to a table.
func (w *walker) enter(n uint8) {
	w.unchanged()
	st := w.m.s
	if st.flags&stale != 0 {
		c := st.clone()
		st = &c
		m := machine{p: w.x.p, s: st}
		m.entering()
	}
	w.a.next = append(w.a.next, w.x.node(n, st))
}

// unchanged doubts what a flow does after a resubmit, which may have changed anything.
func (w *walker) unchanged() {
	if w.called {
		w.x.doubt("a flow does more after a resubmit, which is not reasoned about: %s", w.f)
	}
}

func (w *walker) actions(as []flows.Action) {
	for _, a := range as {
		w.unchanged()
		if w.m.simple(a) {
			continue
		}
		switch a := a.(type) {
		case flows.Output:
			w.output(a.Port)
		case flows.ToController:
			if a.Pause {
				w.x.doubt("what the controller lets become of a packet is not reasoned about: %s", w.f)
			}
		case flows.OutputTrunc:
			w.output(a.Port)
		case flows.OutputReg:
			w.outputReg(a)
		case flows.ToGroup:
			w.group(a.ID)
		case flows.Resubmit:
			if a.Port != flows.PortInPort {
				w.x.doubt("a resubmit as from another port is not reasoned about: %s", w.f)
			}
			w.enter(resubmitTable(w.table, a))
			w.called = true
		case flows.CT:
			w.conntrack(a)
		default:
			w.x.doubt("%s is not reasoned about: %s", flows.FormatActions([]flows.Action{a}, flows.FormatOptions{}), w.f)
		}
	}
}

// conntrack sends a copy on, of which only is known what is outside the packet's
// network header.
func (w *walker) conntrack(a flows.CT) {
	if a.Table != flows.CTNoTable {
		st := w.m.s.clone()
		m := machine{p: w.x.p, s: &st}
		m.reread()
		for f := flows.CTState; f <= flows.CTLabel; f++ {
			m.forget(f)
		}
		w.a.next = append(w.a.next, w.x.node(a.Table, &st))
	}
	w.m.simple(flows.CTClear{})
	w.m.translated(a)
}

// Limits of Open vSwitch: how deep groups may be nested, and how many groups and tables
// one packet may visit.
const (
	maxDepth  = 64
	maxGroups = maxDepth * maxDepth
)

func (w *walker) group(id uint32) {
	g := w.x.p.groups[id]
	if g == nil {
		return // Open vSwitch does nothing further
	}
	if w.depth == maxDepth || *w.groups == maxGroups {
		*w.groups = maxGroups // groups that are in each other would be followed for ever
		w.x.doubt("groups are nested too deep, which Open vSwitch gives up as well: %s", w.f)
		return
	}
	*w.groups++
	buckets := g.Buckets
	if g.Type == flows.GroupIndirect {
		buckets = buckets[:min(1, len(buckets))]
	}
	w.m.selects(g)
	outer := *w
	was := w.m.s
	w.depth++
	for i := range buckets {
		st := was.clone()
		w.m.s = &st
		if g.Type == flows.GroupSelect || g.Type == flows.GroupFastFailover {
			w.choice, w.bucket = id, int32(i)
		}
		w.actions(trace.SetOrder(buckets[i].Actions))
	}
	called := w.called
	*w = outer
	w.called = called
	w.m.s = was
}

func (w *walker) outputReg(a flows.OutputReg) {
	s := w.x.p.slots[a.Src.Field]
	mask := ones(a.Src.Bits)
	v, m := w.m.s.at[s].v.Shr(uint(a.Src.Offset)).And(mask), w.m.s.at[s].m.Shr(uint(a.Src.Offset)).And(mask)
	if m != mask || transport(a.Src.Field) {
		w.x.doubt("a flow sends to a port by a field that is not known: %s", w.f)
		return
	}
	port := uint32(v.Lo)
	if port >= 0xff00 && port <= 0xffff {
		port |= 0xffff0000
	}
	w.output(port)
}

func (w *walker) output(port uint32) {
	switch port {
	case flows.PortController, flows.PortAny:
	case flows.PortTable:
		w.enter(0)
		w.called = true
	case flows.PortNormal:
		w.x.doubt("a flow does NORMAL, which is not reasoned about: %s", w.f)
	case flows.PortFlood, flows.PortAll:
		for i := range w.x.h.Ports {
			w.send(w.x.h.Ports[i].Number)
		}
		for i := range w.x.h.Tunnels {
			w.send(w.x.h.Tunnels[i].Number)
		}
	default:
		w.send(port)
	}
}

func (w *walker) send(port uint32) {
	s, p := w.m.s, w.x.p
	at := func(f flows.Field) tern { return s.at[p.slots[f]] }
	e := event{port: port, vid: at(flows.VLANVID), key: at(flows.TunID), dst4: at(flows.TunIPv4Dst), dst6: at(flows.TunIPv6Dst),
		moved: s.flags&moved != 0, answered: s.flags&answered != 0,
		readdressed: s.flags&readdressed != 0, choice: w.choice, bucket: w.bucket, flow: w.f}
	if s.flags&nested != 0 && !e.vid.agrees(hasTag) {
		e.vid = tern{}
	}
	if port == flows.PortInPort {
		e.throughPort = true
		if e.moved {
			v := at(flows.InPort)
			if v.m != flows.InPort.FullMask() {
				w.x.doubt("a flow sends to a port that is not known: %s", w.f)
				return
			}
			e.port, e.throughPort = uint32(v.v.Lo), false
		}
	}
	w.a.events = append(w.a.events, e)
}
