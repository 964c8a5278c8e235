package sim

import (
	"cmp"
	"maps"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// tables is how many flow tables there are; Open vSwitch keeps number 254 to
// itself and 255 stands for all.
const tables = 254

// store is what the switch holds. Entries are never changed in place, so that a
// shallow copy of the maps is a snapshot.
type store struct {
	flows  map[flows.Key]flows.FlowStats
	groups map[uint32]*flows.Group
	meters map[uint32]*flows.Meter
}

func newStore() *store {
	return &store{map[flows.Key]flows.FlowStats{}, map[uint32]*flows.Group{}, map[uint32]*flows.Meter{}}
}

func (st *store) clone() *store {
	return &store{maps.Clone(st.flows), maps.Clone(st.groups), maps.Clone(st.meters)}
}

func refuse(t, code uint16) *ofp13.Error { return &ofp13.Error{Type: t, Code: code} }

// flowMod does one flow-mod (OpenFlow 1.3.5 section 6.4) that checkFlowMod found
// nothing wrong with.
func (st *store) flowMod(m ofp13.FlowMod) *ofp13.Error {
	f := flows.Normalize(m.Flow)
	switch m.Command {
	case ofp13.FlowAdd:
		if err := st.checkUse(f); err != nil {
			return err
		}
		st.flows[f.Key()] = flows.FlowStats{Flow: f}
	case ofp13.FlowModify, ofp13.FlowModifyStrict:
		keys := st.selected(m, f)
		if len(keys) > 0 {
			if err := st.checkUse(f); err != nil {
				return err
			}
		}
		for k := range keys {
			// Only the instructions change; cookie, timeouts and counters stay.
			old := st.flows[k]
			g := *old.Flow
			g.Meter, g.Apply, g.ClearActions, g.Write = f.Meter, f.Apply, f.ClearActions, f.Write
			g.Metadata, g.MetadataMask, g.Goto = f.Metadata, f.MetadataMask, f.Goto
			old.Flow = &g
			st.flows[k] = old
		}
	case ofp13.FlowDelete, ofp13.FlowDeleteStrict:
		for k := range st.selected(m, f) {
			delete(st.flows, k)
		}
	}
	return nil
}

// selected are the keys of the flows that a modify or delete is about.
func (st *store) selected(m ofp13.FlowMod, f *flows.Flow) map[flows.Key]bool {
	keys := map[flows.Key]bool{}
	cookie := func(s flows.FlowStats) bool { return uint64(s.Flow.Cookie^f.Cookie)&m.CookieMask == 0 }
	strict := m.Command == ofp13.FlowModifyStrict || m.Command == ofp13.FlowDeleteStrict
	if strict && f.Table != ofp13.AllTables {
		if s, ok := st.flows[f.Key()]; ok && cookie(s) {
			keys[f.Key()] = true
		}
		return keys
	}
	for k, s := range st.flows {
		if !cookie(s) || f.Table != ofp13.AllTables && s.Flow.Table != f.Table {
			continue
		}
		if strict && (s.Flow.Priority != f.Priority || !covers(s.Flow.Match, f.Match)) || !covers(f.Match, s.Flow.Match) {
			continue
		}
		keys[k] = true
	}
	return keys
}

// covers reports whether every packet that m matches is matched by wide.
func covers(wide, m flows.Match) bool {
	for _, w := range wide {
		e, ok := m.Get(w.Field)
		if !ok || w.Mask.Hi&^e.Mask.Hi != 0 || w.Mask.Lo&^e.Mask.Lo != 0 ||
			e.Value.Hi&w.Mask.Hi != w.Value.Hi || e.Value.Lo&w.Mask.Lo != w.Value.Lo {
			return false
		}
	}
	return true
}

// checkFlowMod is what Open vSwitch finds wrong with a flow-mod by itself, when
// it comes or is put into a bundle.
func checkFlowMod(m ofp13.FlowMod) *ofp13.Error {
	f := m.Flow
	for _, e := range f.Match {
		if !met(f.Match, e.Field) {
			return refuse(ofp13.ErrBadMatch, 9) // BAD_PREREQ
		}
	}
	if f.Table == ofp13.AllTables && m.Command < ofp13.FlowDelete {
		return refuse(ofp13.ErrFlowModFailed, 2) // BAD_TABLE_ID
	}
	lists := [...][]flows.Action{f.Apply, f.Write}
	for _, check := range [...]func([]flows.Action) *ofp13.Error{checkPorts, checkWritable} {
		for _, list := range lists {
			if err := check(list); err != nil {
				return err
			}
		}
	}
	for _, list := range lists {
		if err := checkConsistent(f.Match, list, isEarly); err != nil {
			return err
		}
	}
	if f.Goto != 0 && f.Goto <= f.Table {
		return refuse(ofp13.ErrBadInstruction, 2) // BAD_TABLE_ID
	}
	for _, list := range lists {
		if err := checkConsistent(f.Match, list, isLate); err != nil {
			return err
		}
	}
	if f.Table == tables && m.Command < ofp13.FlowDelete {
		return refuse(ofp13.ErrBadRequest, 5) // EPERM
	}
	return nil
}

// checkUse checks what a flow refers to. Open vSwitch does so only for a flow
// that is about to be put into a table.
func (st *store) checkUse(f *flows.Flow) *ofp13.Error {
	if f.Meter != 0 && st.meters[f.Meter] == nil {
		return refuse(ofp13.ErrMeterModFailed, 2) // INVALID_METER
	}
	for _, id := range f.Groups() {
		if st.groups[id] == nil {
			return refuse(ofp13.ErrBadAction, 9) // BAD_OUT_GROUP
		}
	}
	return nil
}

// checkWritable refuses to write what only the connection tracker may.
func checkWritable(as []flows.Action) *ofp13.Error {
	for _, a := range as {
		if s, ok := a.(flows.SetField); ok && !s.Field.Writable() {
			return refuse(ofp13.ErrBadAction, 15) // BAD_SET_ARGUMENT
		}
	}
	return nil
}

// met reports whether m meets a prerequisite of f, if f has any.
func met(m flows.Match, f flows.Field) bool {
	alternatives := f.Prerequisites()
	return len(alternatives) == 0 || slices.ContainsFunc(alternatives, func(p flows.Match) bool { return covers(p, m) })
}

// packet is what Open vSwitch knows of the packets of a flow while it goes
// through the flow's actions.
type packet struct {
	match flows.Match
	tags  int // 802.1Q tags it knows of
}

// maxTags is how many tags Open vSwitch keeps track of.
const maxTags = 2

func packetOf(m flows.Match) packet {
	p := packet{match: m}
	if e, _ := m.Get(flows.VLANVID); e.Value.Lo&0x1000 != 0 {
		p.tags = 1
	}
	return p
}

// does reports whether an action can be done to the packet, and what the packet
// is afterwards.
func (p packet) does(a flows.Action) (packet, bool) {
	switch a := a.(type) {
	case flows.SetField:
		vlan := a.Field == flows.VLANVID || a.Field == flows.VLANPCP
		return p, met(p.match, a.Field) && (!vlan || p.tags > 0)
	case flows.PushVLAN:
		p.tags++
	case flows.PopVLAN:
		if p.tags == 0 {
			return p, false
		}
		p.tags--
	case flows.DecTTL:
		return p, met(p.match, flows.IPTTL)
	}
	return p, true
}

// checkConsistent refuses the actions that cannot be done. Open vSwitch finds
// set-fields and pushes, which are early, before a bad goto, and the rest after it.
func checkConsistent(m flows.Match, as []flows.Action, early func(flows.Action) bool) *ofp13.Error {
	p := packetOf(m)
	for _, a := range as {
		var ok bool
		if p, ok = p.does(a); !early(a) {
			continue
		}
		switch {
		case !ok:
			return refuse(ofp13.ErrBadAction, 10) // MATCH_INCONSISTENT
		case p.tags > maxTags:
			return refuse(ofp13.ErrBadAction, 12) // BAD_TAG
		}
	}
	return nil
}

func isEarly(a flows.Action) bool {
	switch a.(type) {
	case flows.SetField, flows.PushVLAN:
		return true
	}
	return false
}

func isLate(a flows.Action) bool { return !isEarly(a) }

// checkPorts refuses outputs to reserved ports that are no destination.
func checkPorts(as []flows.Action) *ofp13.Error {
	for _, a := range as {
		if o, ok := a.(flows.Output); ok && (o.Port >= flows.PortMax && o.Port < flows.PortInPort || o.Port == flows.PortAny) {
			return refuse(ofp13.ErrBadAction, 4) // BAD_OUT_PORT
		}
	}
	return nil
}

// checkGroupMod is what Open vSwitch finds wrong with a group-mod by itself.
func checkGroupMod(m ofp13.GroupMod) *ofp13.Error {
	g := m.Group
	if m.Command == ofp13.ModDelete {
		return nil
	}
	for _, b := range g.Buckets {
		if err := cmp.Or(checkPorts(b.Actions), checkWritable(b.Actions)); err != nil {
			return err
		}
	}
	switch {
	case g.ID > flows.GroupMaxID:
		return refuse(ofp13.ErrGroupModFailed, 1) // INVALID_GROUP
	case g.Type > flows.GroupFastFailover:
		return refuse(ofp13.ErrGroupModFailed, 10) // BAD_TYPE
	case g.Type == flows.GroupIndirect && len(g.Buckets) != 1:
		return refuse(ofp13.ErrGroupModFailed, 1)
	}
	for _, b := range g.Buckets {
		if g.Type == flows.GroupFastFailover && b.WatchPort == flows.PortAny && b.WatchGroup == flows.GroupAny {
			return refuse(ofp13.ErrGroupModFailed, 1)
		}
	}
	return nil
}

// groupMod does one group-mod (section 6.5) that checkGroupMod found nothing
// wrong with.
func (st *store) groupMod(m ofp13.GroupMod) *ofp13.Error {
	g := m.Group
	if m.Command == ofp13.ModDelete {
		for id := range st.groups {
			if id == g.ID || g.ID == flows.GroupAllID {
				delete(st.groups, id)
				st.dropFlows(func(a flows.Action) bool { return a == flows.Action(flows.ToGroup{ID: id}) }, 0)
			}
		}
		return nil
	}
	_, exists := st.groups[g.ID]
	switch {
	case m.Command == ofp13.ModAdd && exists:
		return refuse(ofp13.ErrGroupModFailed, 0) // GROUP_EXISTS
	case m.Command == ofp13.ModModify && !exists:
		return refuse(ofp13.ErrGroupModFailed, 8) // UNKNOWN_GROUP
	}
	n := *g
	n.Buckets = slices.Clone(g.Buckets)
	for i := range n.Buckets {
		n.Buckets[i].Actions = flows.Normalize(&flows.Flow{Apply: n.Buckets[i].Actions}).Apply
	}
	st.groups[g.ID] = &n
	return nil
}

// meterMod does one meter-mod (section 6.7).
func (st *store) meterMod(m ofp13.MeterMod) *ofp13.Error {
	id := m.Meter.ID
	_, exists := st.meters[id]
	failed := func(code uint16) *ofp13.Error { return refuse(ofp13.ErrMeterModFailed, code) }
	switch {
	case m.Command == ofp13.ModDelete:
		for have := range st.meters {
			if have == id || id == ofp13.AllMeters {
				delete(st.meters, have)
				st.dropFlows(func(flows.Action) bool { return false }, have)
			}
		}
	case id == 0 || id > maxMeter:
		return failed(2) // INVALID_METER
	case m.Command == ofp13.ModAdd && exists:
		return failed(1) // METER_EXISTS
	case m.Command == ofp13.ModModify && !exists:
		return failed(3) // UNKNOWN_METER
	default:
		st.meters[id] = m.Meter
	}
	return nil
}

// maxMeter is the highest meter of Open vSwitch's userspace datapath.
const maxMeter = 1 << 18

// dropFlows removes the flows that use an action or a meter that is gone.
func (st *store) dropFlows(uses func(flows.Action) bool, meter uint32) {
	for k, s := range st.flows {
		if slices.ContainsFunc(s.Flow.Apply, uses) || slices.ContainsFunc(s.Flow.Write, uses) || meter != 0 && s.Flow.Meter == meter {
			delete(st.flows, k)
		}
	}
}

// state is the store as a State.
func (st *store) state() *flows.State {
	p := &flows.Part{}
	for _, s := range st.flows {
		p.Flows = append(p.Flows, s.Flow)
	}
	for _, g := range st.groups {
		p.Groups = append(p.Groups, g)
	}
	for _, m := range st.meters {
		p.Meters = append(p.Meters, m)
	}
	return flows.Flat(p)
}
