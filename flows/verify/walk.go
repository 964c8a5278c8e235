package verify

import (
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// walker does what a flow does.
type walker struct {
	x      *explorer
	m      machine
	table  uint8
	f      *flows.Flow
	next   []int32 // as in alt
	events []event
	groups int  // visited
	called bool // a resubmit may have changed anything

	// Where in groups it is.
	depth  int
	choice uint32
	bucket int32
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
		st = w.x.copy(w.depth+1, st)
		m := machine{p: w.x.p, s: st}
		m.entering()
	}
	w.next = append(w.next, w.x.node(n, st))
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
		st := w.x.copy(w.depth+1, w.m.s)
		m := machine{p: w.x.p, s: st}
		m.reread()
		for f := flows.CTState; f <= flows.CTLabel; f++ {
			m.forget(f)
		}
		w.next = append(w.next, w.x.node(a.Table, st))
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
	if w.depth == maxDepth || w.groups == maxGroups {
		w.groups = maxGroups // groups that are in each other would be followed for ever
		w.x.doubt("groups are nested too deep, which Open vSwitch gives up as well: %s", w.f)
		return
	}
	w.groups++
	w.m.selects(g)
	was, choice, bucket := w.m.s, w.choice, w.bucket
	w.depth++
	for i, actions := range g.buckets {
		w.m.s = w.x.copy(w.depth, was)
		if g.one {
			w.choice, w.bucket = id, int32(i)
		}
		w.actions(actions)
	}
	w.depth--
	w.m.s, w.choice, w.bucket = was, choice, bucket
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
	w.events = append(w.events, e)
}
