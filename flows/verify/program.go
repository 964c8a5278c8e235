package verify

import (
	"cmp"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// slot numbers the fields that matter on a switch: those that a flow looks at, and
// those that an output does.
type slot = uint8

const noSlot = 0xff

// tern is a ternary value: bits of m are as in v, the others are not known.
type tern struct{ v, m flows.Value }

func (t tern) agrees(o tern) bool {
	both := t.m.And(o.m)
	return t.v.And(both) == o.v.And(both)
}

// within reports whether all that t allows o allows too.
func (t tern) within(o tern) bool { return o.m.AndNot(t.m).IsZero() && t.v.And(o.m) == o.v }

func (t tern) and(o tern) tern { return tern{t.v.Or(o.v), t.m.Or(o.m)} }

// want is one constraint of a row.
type want struct {
	slot slot
	tern
}

// row is a flow, or a flow that could not be read, of a table.
type row struct {
	priority uint16
	port     int16 // which of the wants is of in_port; negative: none
	asksPort bool  // what it does depends on in_port
	effect   effect
	wants    []want
	flow     *flows.Flow
	unread   string
	broken   string // how it breaks its declaration
}

// exactly is the value that a row wants of a slot, if it wants the whole of it.
func (r *row) exactly(s slot, f flows.Field) (uint64, bool) {
	for i := range r.wants {
		if w := &r.wants[i]; w.slot == s {
			return w.v.Lo, w.m == f.FullMask() && w.m.Hi == 0
		}
	}
	return 0, false
}

// table is a flow table. Rows are by descending priority.
type table struct {
	rows []row
	// live are the slots whose values matter in this table or behind it.
	live slotset
	// keep lists them, without in_port; the second time with it, since it is a value like
	// others once it is no longer the port that the packet came in by.
	keep  [2][]slot
	lanes []lane
	// next are the next rows of a row's lane, and of its bucket there.
	next struct{ lane, bucket chain }
}

// group is a group as the switch executes it.
type group struct {
	one     bool // of its buckets is executed
	rereads bool // it has the frame read anew, for its hash
	buckets [][]flows.Action
	broken  string // how it breaks its declaration
}

// program is the State of a switch, for following sets of packets.
type program struct {
	tables  [256]*table
	missing table // stands for those without a flow
	groups  map[uint32]*group
	fields  []flows.Field
	slots   [flows.NumFields]slot
	rows    []row // of all tables
	effects effects
	// groupsAsk says that what groups do may depend on in_port.
	groupsAsk bool
	// rereads says that some flow has packets read anew by the datapath.
	rereads bool

	parts   []namedPart
	entries []entry
	wants   []want
	links   slab[int32]
}

// always are the fields that an output looks at.
var always = [...]flows.Field{flows.InPort, flows.TunID, flows.TunIPv4Src, flows.TunIPv6Src, flows.TunIPv4Dst, flows.TunIPv6Dst,
	flows.EthDst, flows.EthSrc, flows.EthType, flows.VLANVID, flows.VLANPCP}

// load makes p the program of a switch, whatever it was before.
func (p *program) load(h *Host, o *Overlay) {
	p.tables, p.groups, p.fields, p.groupsAsk = [256]*table{}, map[uint32]*group{}, p.fields[:0], false
	p.links.clear()
	p.effects.clear()
	for i := range p.slots {
		p.slots[i] = noSlot
	}
	for _, f := range always {
		p.use(f)
	}
	p.sortParts(h.State)
	p.readGroups(o)
	p.readRows(h, o)
	p.rereads = p.rereadsAny()
	p.liveness()
	p.shareEffects()
	for _, t := range p.tables {
		if t != nil {
			t.index(p)
		}
	}
}

// sortParts lists the parts of a State in the same order each time.
func (p *program) sortParts(s *flows.State) {
	p.parts = p.parts[:0]
	for id, part := range s.Parts() {
		if part != nil {
			p.parts = append(p.parts, namedPart{id, part})
		}
	}
	slices.SortFunc(p.parts, func(a, b namedPart) int {
		return cmp.Or(cmp.Compare(a.id.Owner, b.id.Owner), cmp.Compare(a.id.Aspect, b.id.Aspect))
	})
}

func (p *program) readGroups(o *Overlay) {
	for _, part := range p.parts {
		for _, g := range part.Groups {
			c := &group{one: g.Type == flows.GroupSelect || g.Type == flows.GroupFastFailover, rereads: g.Type == flows.GroupSelect}
			buckets := g.Buckets
			if g.Type == flows.GroupIndirect {
				buckets = buckets[:min(1, len(buckets))]
			}
			for i := range buckets {
				c.buckets = append(c.buckets, trace.SetOrder(buckets[i].Actions))
			}
			for i := range g.Buckets {
				p.useActions(g.Buckets[i].Actions)
				p.groupsAsk = p.groupsAsk || asksPort(g.Buckets[i].Actions)
			}
			if o.CheckGroup != nil {
				if err := o.CheckGroup(g); err != nil {
					c.broken = err.Error()
				}
			}
			p.groups[g.ID] = c
		}
	}
}

type namedPart struct {
	id flows.PartID
	*flows.Part
}

// entry is a flow, or one that could not be read, where it has its place: by table
// and descending priority, otherwise in the order in which they came.
type entry struct {
	place  uint64
	match  flows.Match
	flow   *flows.Flow
	unread *trace.Unread
}

func position(table uint8, priority uint16, n int) uint64 {
	return uint64(table)<<48 | uint64(^priority)<<32 | uint64(n)
}

// readRows makes the tables.
func (p *program) readRows(h *Host, o *Overlay) {
	es, wants := p.entries[:0], 0
	for _, part := range p.parts {
		for _, f := range part.Flows {
			f = flows.Normalize(f)
			es = append(es, entry{place: position(f.Table, f.Priority, len(es)), match: f.Match, flow: f})
			wants += len(f.Match)
		}
	}
	for i := range h.Unread {
		u := &h.Unread[i]
		es = append(es, entry{place: position(u.Table, u.Priority, len(es)), match: u.Match, unread: u})
		wants += len(u.Match)
	}
	slices.SortFunc(es, func(a, b entry) int { return cmp.Compare(a.place, b.place) })
	p.entries, p.rows, p.wants = es, slices.Grow(p.rows[:0], len(es))[:len(es)], slices.Grow(p.wants[:0], wants)
	for i := range es {
		first := len(p.wants)
		for _, m := range es[i].match {
			p.wants = append(p.wants, want{p.use(m.Field), tern{m.Value.And(m.Mask), m.Mask}})
		}
		r := &p.rows[i]
		*r = row{wants: p.wants[first:len(p.wants):len(p.wants)]}
		r.port = int16(slices.IndexFunc(r.wants, func(w want) bool { return p.fields[w.slot] == flows.InPort }))
		n := p.read(r, &es[i], o)
		t := p.tables[n]
		if t == nil {
			t = &table{}
			p.tables[n] = t
		}
		t.rows = p.rows[i-len(t.rows) : i+1]
	}
}

// read makes a row, and returns its table.
func (p *program) read(r *row, e *entry, o *Overlay) uint8 {
	if u := e.unread; u != nil {
		r.priority, r.unread = u.Priority, u.Why
		if u.Why == "" {
			r.unread = "it could not be read"
		}
		return u.Table
	}
	r.priority, r.flow = e.flow.Priority, e.flow
	if o.Check != nil {
		if err := o.Check(e.flow); err != nil {
			r.broken = err.Error()
		}
	}
	r.asksPort = asksPort(e.flow.Apply)
	for _, a := range e.flow.Apply {
		to, ok := a.(flows.ToGroup)
		if !ok {
			continue
		}
		r.asksPort = r.asksPort || p.groupsAsk
		if g := p.groups[to.ID]; g != nil && r.broken == "" {
			r.broken = g.broken
		}
	}
	p.useActions(e.flow.Apply)
	return e.flow.Table
}

// use is the slot of a field, given to it when it has none.
func (p *program) use(f flows.Field) slot {
	if p.slots[f] == noSlot {
		p.slots[f] = slot(len(p.fields))
		p.fields = append(p.fields, f)
	}
	return p.slots[f]
}

// useActions gives slots to the fields that actions read.
func (p *program) useActions(as []flows.Action) {
	for _, a := range as {
		switch a := a.(type) {
		case flows.Move:
			for _, f := range [...]flows.Field{a.Src.Field, a.Dst.Field} {
				if f != flows.VLANTCI {
					p.use(f)
				}
			}
		case flows.OutputReg:
			p.use(a.Src.Field)
		}
	}
}

// asksPort reports whether what actions do depends on in_port. That it is written whole
// does not count, nor that a copy goes back there.
func asksPort(as []flows.Action) bool {
	for _, a := range as {
		switch a := a.(type) {
		case flows.Move:
			if a.Src.Field == flows.InPort || a.Dst.Field == flows.InPort {
				return true
			}
		case flows.SetField:
			if a.Field == flows.InPort && a.Mask != flows.InPort.FullMask() {
				return true
			}
		case flows.OutputReg:
			if a.Src.Field == flows.InPort {
				return true
			}
		}
	}
	return false
}

// at is a table, also one that has no flow.
func (p *program) at(n uint8) *table {
	if t := p.tables[n]; t != nil {
		return t
	}
	return &p.missing
}
