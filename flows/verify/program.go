package verify

import (
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
	wants    []want
	flow     *flows.Flow
	unread   string
	broken   string // how it breaks its declaration
}

// table is a flow table. Rows are by descending priority.
type table struct {
	rows []row
	// live are the slots whose values matter in this table or behind it.
	live []bool
	// by is the slot that most rows give a value, exact the rows for each of its
	// values and wild those without: numbers of rows, ascending.
	by    slot
	full  flows.Value // all bits of it
	exact map[uint64][]int32
	wild  []int32
}

// program is the State of a switch, for following sets of packets.
type program struct {
	tables [256]*table
	groups map[uint32]*flows.Group
	fields []flows.Field
	slots  [flows.NumFields]slot
	// rereads says that some flow has packets read anew by the datapath.
	rereads bool
}

// always are the fields that an output looks at.
var always = [...]flows.Field{flows.InPort, flows.TunID, flows.TunIPv4Src, flows.TunIPv6Src, flows.TunIPv4Dst, flows.TunIPv6Dst,
	flows.EthDst, flows.EthSrc, flows.EthType, flows.VLANVID, flows.VLANPCP}

func newProgram(h *Host, o *Overlay) *program {
	p := &program{groups: map[uint32]*flows.Group{}}
	for i := range p.slots {
		p.slots[i] = noSlot
	}
	for _, f := range always {
		p.use(f)
	}
	broken := map[uint32]string{}
	var fs []*flows.Flow
	for _, part := range h.State.Parts() {
		if part == nil {
			continue
		}
		for _, f := range part.Flows {
			fs = append(fs, flows.Normalize(f))
		}
		for _, g := range part.Groups {
			p.groups[g.ID] = g
			if o.CheckGroup == nil {
				continue
			}
			if err := o.CheckGroup(g); err != nil {
				broken[g.ID] = err.Error()
			}
		}
	}
	for _, f := range fs {
		r := row{priority: f.Priority, wants: p.wants(f.Match), flow: f}
		if o.Check != nil {
			if err := o.Check(f); err != nil {
				r.broken = err.Error()
			}
		}
		for _, a := range f.Apply {
			if g, ok := a.(flows.ToGroup); ok && r.broken == "" {
				r.broken = broken[g.ID]
			}
			p.useActions(a)
		}
		p.rereads = p.rereads || p.rereadBy(f.Apply)
		t := p.table(f.Table)
		t.rows = append(t.rows, r)
	}
	for _, g := range p.groups {
		for _, b := range g.Buckets {
			p.rereads = p.rereads || p.rereadBy(b.Actions)
			p.useActions(b.Actions...)
		}
	}
	for _, u := range h.Unread {
		t := p.table(u.Table)
		t.rows = append(t.rows, row{priority: u.Priority, wants: p.wants(u.Match), unread: unreadText(u)})
	}
	for _, t := range p.tables {
		if t != nil {
			t.index(p)
		}
	}
	p.liveness()
	return p
}

func unreadText(u trace.Unread) string {
	if u.Why == "" {
		return "it could not be read"
	}
	return u.Why
}

func (p *program) table(n uint8) *table {
	if p.tables[n] == nil {
		p.tables[n] = &table{}
	}
	return p.tables[n]
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
func (p *program) useActions(as ...flows.Action) {
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

func (p *program) wants(m flows.Match) []want {
	ws := make([]want, len(m))
	for i, e := range m {
		ws[i] = want{p.use(e.Field), tern{e.Value, e.Mask}}
	}
	return ws
}

// index sorts the rows and indexes them by the field that tells most of them apart.
func (t *table) index(p *program) {
	slices.SortStableFunc(t.rows, func(a, b row) int { return int(b.priority) - int(a.priority) })
	t.by = noSlot
	best, distinct := 0, 0
	for f := flows.InPort; f <= flows.PktMark; f++ {
		s := p.slots[f]
		if s == noSlot {
			continue
		}
		n, values := 0, map[uint64]bool{}
		for i := range t.rows {
			if v, ok := t.rows[i].exactly(s, f); ok {
				n++
				values[v] = true
			}
		}
		if n > best || n == best && len(values) > distinct {
			t.by, best, distinct = s, n, len(values)
		}
	}
	if t.by != noSlot {
		t.full = p.fields[t.by].FullMask()
	}
	t.exact = map[uint64][]int32{}
	for i := range t.rows {
		if t.by != noSlot {
			if v, ok := t.rows[i].exactly(t.by, p.fields[t.by]); ok {
				t.exact[v] = append(t.exact[v], int32(i))
				continue
			}
		}
		t.wild = append(t.wild, int32(i))
	}
}

// exactly is the value that a row wants of a slot, if it wants the whole of it.
func (r *row) exactly(s slot, f flows.Field) (uint64, bool) {
	for _, w := range r.wants {
		if w.slot == s {
			return w.v.Lo, w.m == f.FullMask() && w.m.Hi == 0
		}
	}
	return 0, false
}

// liveness finds what matters where, backwards from the last table.
func (p *program) liveness() {
	for _, t := range p.tables {
		if t != nil {
			t.live = make([]bool, len(p.fields))
		}
	}
	for changed := true; changed; {
		changed = false
		for n := len(p.tables) - 1; n >= 0; n-- {
			if t := p.tables[n]; t != nil && p.liveIn(t) {
				changed = true
			}
		}
	}
}

func (p *program) liveIn(t *table) (changed bool) {
	mark := func(s slot) {
		if s != noSlot && !t.live[s] {
			t.live[s], changed = true, true
		}
	}
	after := make([]bool, len(p.fields))
	for i := range t.rows {
		r := &t.rows[i]
		for _, w := range r.wants {
			mark(w.slot)
		}
		if r.flow == nil {
			continue
		}
		clear(after)
		p.successors(r.flow, func(n uint8) {
			if next := p.tables[n]; next != nil {
				for s, l := range next.live {
					after[s] = after[s] || l
				}
			}
		})
		for i := len(r.flow.Apply) - 1; i >= 0; i-- {
			switch a := r.flow.Apply[i].(type) {
			case flows.Move:
				if s := p.slots[a.Dst.Field]; s != noSlot && after[s] || a.Dst.Field == flows.TunID || a.Dst.Field == flows.VLANTCI {
					if src := p.slots[a.Src.Field]; src != noSlot {
						after[src] = true
					}
				}
			case flows.OutputReg:
				after[p.slots[a.Src.Field]] = true
			}
		}
		for s, l := range after {
			if l {
				mark(slot(s))
			}
		}
	}
	for _, f := range [...]flows.Field{flows.TunID, flows.TunIPv4Dst, flows.TunIPv6Dst, flows.VLANVID} {
		mark(p.slots[f])
	}
	return changed
}

// successors are the tables that a flow sends packets to.
func (p *program) successors(f *flows.Flow, do func(uint8)) {
	if f.Goto != 0 {
		do(f.Goto)
	}
	for _, a := range f.Apply {
		switch a := a.(type) {
		case flows.Resubmit:
			do(resubmitTable(f.Table, a))
		case flows.CT:
			if a.Table != flows.CTNoTable {
				do(a.Table)
			}
		case flows.Output:
			if a.Port == flows.PortTable {
				do(0)
			}
		}
	}
}

// resubmitTable is where a resubmit in table n goes.
func resubmitTable(n uint8, a flows.Resubmit) uint8 {
	const same = 255
	if a.Table == same {
		return n
	}
	return a.Table
}
