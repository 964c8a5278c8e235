package flows

// Delta is what must change for one State to become another. Entries in each
// list are in a deterministic order; no entry appears twice.
type Delta struct {
	AddFlows []*Flow
	ModFlows []FlowChange
	DelFlows []*Flow

	AddGroups []*Group
	ModGroups []*Group // the new contents; the ID exists already
	DelGroups []*Group

	AddMeters []*Meter
	ModMeters []*Meter
	DelMeters []*Meter

	// Conflicts are wanted flows whose Key a foreign flow holds. Nothing is sent
	// for them, since either would overwrite the other; they are not part of Len.
	Conflicts []FlowConflict
}

// FlowConflict is a wanted flow that would overwrite somebody else's.
type FlowConflict struct{ Foreign, Want *Flow }

// Len is the number of changes, conflicts not counted.
func (d *Delta) Len() int {
	return len(d.AddFlows) + len(d.ModFlows) + len(d.DelFlows) +
		len(d.AddGroups) + len(d.ModGroups) + len(d.DelGroups) +
		len(d.AddMeters) + len(d.ModMeters) + len(d.DelMeters)
}

// Empty reports whether there is nothing to change. There may be Conflicts.
func (d *Delta) Empty() bool { return d.Len() == 0 }

// FlowChange is a flow whose Key stays and whose contents change. Where cookie,
// timeouts and flags are equal only the instructions change, and the switch keeps the
// flow's counters (OFPFC_MODIFY_STRICT); otherwise it is replaced (OFPFC_ADD).
type FlowChange struct{ Old, New *Flow }

// OpKind says what an Op does.
type OpKind uint8

// The kinds of Op.
const (
	AddFlow    OpKind = iota + 1 // OFPFC_ADD
	ModifyFlow                   // OFPFC_MODIFY_STRICT: keeps counters
	DeleteFlow                   // OFPFC_DELETE_STRICT
	AddGroup
	ModifyGroup
	DeleteGroup
	AddMeter
	ModifyMeter
	DeleteMeter
)

// Op is one message to a switch; exactly one of Flow, Group and Meter is set.
type Op struct {
	Kind  OpKind
	Flow  *Flow
	Group *Group
	Meter *Meter
}

// Step is a run of Ops. An Atomic step is sent as one bundle: all or nothing,
// and no packet sees a part of it. Open vSwitch takes no meter-mod in a bundle, so
// meters are in steps of their own.
type Step struct {
	Atomic bool
	Ops    []Op
}
