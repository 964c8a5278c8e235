package flows

import (
	"errors"
	"fmt"
	"slices"
)

// Validate reports why a switch would refuse f, or take it for something else:
// a match that is not canonical or lacks a prerequisite, a mask on a field that
// has none, a goto that does not go forward, a reserved port where none may be,
// an action on a field that the flow does not match. The error names the flow.
// It does not know which groups and meters exist.
func (f *Flow) Validate() error {
	if err := f.validate(); err != nil {
		return fmt.Errorf("flow %q: %w", f, err)
	}
	return nil
}

func (f *Flow) validate() error {
	if f.Table > maxTable {
		return fmt.Errorf("table %d: the last table is %d", f.Table, maxTable)
	}
	if err := f.Match.Validate(); err != nil {
		return err
	}
	if f.Goto != 0 && (f.Goto <= f.Table || f.Goto > maxTable) {
		return fmt.Errorf("goto_table:%d from table %d: must go to a higher table, at most %d", f.Goto, f.Table, maxTable)
	}
	if f.Meter > maxMeter {
		return fmt.Errorf("meter:%d: the last meter is %d", f.Meter, maxMeter)
	}
	if f.Metadata&^f.MetadataMask != 0 {
		return fmt.Errorf("write_metadata:0x%x/0x%x: value has bits outside its mask", f.Metadata, f.MetadataMask)
	}
	for _, a := range f.Write {
		if !inActionSet(a) {
			return fmt.Errorf("%s: cannot be in write_actions", formatAction(a))
		}
	}
	// Open vSwitch checks what is written on the packet as the applied actions leave it.
	return validateActions(f.Match, slices.Concat(f.Apply, f.Write))
}

// inActionSet reports whether Open vSwitch takes a in write_actions. Sending to
// the controller without a meter is an output to a reserved port, which it takes.
func inActionSet(a Action) bool {
	switch a := a.(type) {
	case Resubmit, Move, OutputReg, OutputTrunc, CT, CTClear, Push, Pop, PopQueue, CheckLarger, Note, FinTimeout, Exit, Clone:
		return false
	case ToController:
		return a.Plain()
	}
	return true
}

const (
	// maxTable is the last table for flows: Open vSwitch has 254 for itself, and
	// 255 means "all tables".
	maxTable = 253
	// maxMeter is OFPM_MAX.
	maxMeter = 0xffff0000
	// maxSwitchPort is the last port of Open vSwitch, whose ports have 16 bits with
	// 256 reserved.
	maxSwitchPort = 0xfeff
	// minTrunc is ETH_HEADER_LEN of Open vSwitch.
	minTrunc = 14
	// maxTags is FLOW_MAX_VLAN_HEADERS of Open vSwitch.
	maxTags = 2
)

// Validate reports why m is not canonical, or which prerequisite it lacks.
func (m Match) Validate() error {
	last := Field(0)
	for _, e := range m {
		switch {
		case !e.Field.Valid():
			return fmt.Errorf("match: %s is not a field", e.Field)
		case e.Field == last:
			return fmt.Errorf("match: %s twice", e.Field)
		case e.Field < last:
			return fmt.Errorf("match: %s after %s; build matches by With", e.Field, last)
		case e.Mask.IsZero():
			return fmt.Errorf("match: %s with a zero mask; leave it out", e.Field)
		case !e.Mask.AndNot(e.Field.FullMask()).IsZero() || !e.Value.AndNot(e.Mask).IsZero():
			return fmt.Errorf("match: %s has bits outside its mask or its %d bits", e.Field, e.Field.Bits())
		case e.Mask != e.Field.FullMask() && !e.Field.Maskable():
			return fmt.Errorf("match: %s cannot be matched in part", e.Field)
		case !m.satisfies(e.Field):
			return fmt.Errorf("match: %s needs %s", e.Field, needs(e.Field))
		case m.withoutTransport(e.Field):
			return fmt.Errorf("match: a later fragment has no %s", e.Field)
		}
		if err := e.validateValue(); err != nil {
			return fmt.Errorf("match: %w", err)
		}
		last = e.Field
	}
	return nil
}

// withoutTransport reports whether f is a field of the transport header and m takes
// only fragments that have none.
func (m Match) withoutTransport(f Field) bool {
	frag, _ := m.Get(IPFrag)
	return f >= TCPSrc && frag.Value.Lo&fragLater != 0
}

// fragLater is the bit of nw_frag of a fragment other than the first.
const fragLater = 2

// validateValue is about fields of which not every value can be matched.
func (e FieldMatch) validateValue() error {
	switch e.Field {
	case InPort:
		if n := uint32(e.Value.Lo); !physical(n) && n != PortLocal && n != PortController {
			return fmt.Errorf("in_port=%d: not a port a packet comes from", n)
		}
	case VLANTCI:
		return errors.New("vlan_tci: OpenFlow 1.3 matches vlan_vid and vlan_pcp instead (see Normalize)")
	case VLANVID:
		if e.Mask == VLANVID.FullMask() && e.Value.Lo != 0 && e.Value.Lo&vlanPresent == 0 {
			return fmt.Errorf("vlan_vid=%d: a VLAN ID without the present bit 0x1000 matches nothing", e.Value.Lo)
		}
	case ARPOp:
		return validARPOp(e.Value)
	case IPFrag:
		for _, f := range frags {
			if f.value == e.Value.Lo && f.mask == e.Mask.Lo {
				return nil
			}
		}
		return fmt.Errorf("nw_frag=%d/%d: must be one of yes, no, first, later, not_later", e.Value.Lo, e.Mask.Lo)
	case CTState:
		if e.Mask.Lo>>len(ctStateNames) != 0 {
			return fmt.Errorf("ct_state: mask 0x%x has bits beyond the %d that Open vSwitch knows", e.Mask.Lo, len(ctStateNames))
		}
	}
	return nil
}

// validARPOp refuses operations that Open vSwitch has no bits for.
func validARPOp(v Value) error {
	if v.Lo > 0xff {
		return fmt.Errorf("arp_op=%d: Open vSwitch has operations up to 255", v.Lo)
	}
	return nil
}

// needs names the prerequisites of a field.
func needs(f Field) string {
	s := ""
	for i, m := range f.Prerequisites() {
		if i > 0 {
			s += " or "
		}
		s += m.String()
	}
	return s
}

// physical reports whether n may be the number of a port of the switch.
func physical(n uint32) bool { return 1 <= n && n <= maxSwitchPort }

func formatAction(a Action) string { return FormatActions([]Action{a}, FormatOptions{}) }

// tagsSeen are the tags that Open vSwitch believes a packet to have while it checks the
// actions on it. A write of vlan_tci, even of some bits of it, makes it believe that
// there is a tag if and only if it writes the present bit.
type tagsSeen [maxTags]bool

func (t *tagsSeen) push() bool {
	if t[maxTags-1] {
		return false
	}
	copy(t[1:], t[:])
	t[0] = true
	return true
}

func (t *tagsSeen) pop() bool {
	if !t[0] {
		return false
	}
	copy(t[:], t[1:])
	t[maxTags-1] = false
	return true
}

// onto is m as a match of packets with these tags.
func (t tagsSeen) onto(m Match) Match {
	if t[0] {
		return m.WithMask(VLANVID, U(vlanPresent), U(vlanPresent))
	}
	return m.WithMask(VLANVID, Value{}, Value{})
}

// check is what Open vSwitch believes of a packet while it checks the actions on it.
type check struct {
	m    Match
	tags tagsSeen
}

// validateActions checks a list of actions on packets that m matches.
func validateActions(m Match, as []Action) error {
	c := check{m: m}
	c.tags[0] = m.satisfies(VLANPCP)
	return c.actions(as)
}

func (c *check) actions(as []Action) error {
	for _, a := range as {
		if err := c.action(a); err != nil {
			return fmt.Errorf("%s: %w", formatAction(a), err)
		}
	}
	return nil
}

func (c *check) action(a Action) (err error) {
	switch a := a.(type) {
	case Output:
		if !physical(a.Port) && (a.Port < PortInPort || a.Port == PortTable || a.Port == PortAny) {
			return fmt.Errorf("not a port to output to; Open vSwitch has ports 1 to %d", maxSwitchPort)
		}
		if a.Port == PortController {
			return errors.New("use ToController, which says how much of the packet to send")
		}
	case ToController:
		return a.validate()
	case OutputReg:
		return a.Src.validate(c.m)
	case ToGroup:
		if a.ID > GroupMaxID {
			return fmt.Errorf("the last group is %d", GroupMaxID)
		}
	case SetField:
		if err := a.validate(c.m); err != nil {
			return err
		}
		if a.Field == VLANTCI {
			c.tags[0] = a.Value.Lo&vlanPresent != 0
			c.m = c.tags.onto(c.m)
		}
	case Move:
		return a.validate(c.m)
	case PushVLAN:
		if a.EtherType != 0x8100 && a.EtherType != 0x88a8 {
			return errors.New("a VLAN tag has EtherType 0x8100 or 0x88a8")
		}
		if !c.tags.push() {
			return fmt.Errorf("more than the %d tags Open vSwitch handles", maxTags)
		}
		c.m = c.tags.onto(c.m)
	case PopVLAN:
		if !c.tags.pop() {
			return fmt.Errorf("the flow must match %s", needs(VLANPCP))
		}
		c.m = c.tags.onto(c.m)
	case DecTTL:
		if len(a.IDs)%2 != 0 {
			return errors.New("the ID of a controller has two bytes")
		}
		return c.has(IPTTL)
	case Resubmit:
		if a.Port == PortInPort && a.Table == currentTable {
			return errors.New("name a port or a table: ovs-ofctl does not take this")
		}
		if !physical(a.Port) && a.Port != PortInPort && a.Port != PortLocal {
			return fmt.Errorf("%d is not a port a packet comes from", a.Port)
		}
	case CT:
		return a.validate(c.m)
	case CTClear:
	default:
		return c.extension(a)
	}
	return nil
}

func (c *check) has(f Field) error {
	if !c.m.satisfies(f) {
		return fmt.Errorf("the flow must match %s", needs(f))
	}
	return nil
}

func (a ToController) validate() error {
	if a.Meter > maxMeter {
		return fmt.Errorf("the last meter is %d", maxMeter)
	}
	if int(a.Reason) >= len(reasonNames) {
		return fmt.Errorf("%d is not a reason", a.Reason)
	}
	return nil
}

// becomes is what is known of the packet when its Ethernet type changes: its payload is
// another.
func (c *check) becomes(etherType uint16) {
	var m Match
	for _, e := range c.m {
		if e.Field < MPLSLabel {
			m = append(m, e)
		}
	}
	c.m = m.With(EthType, U(uint64(etherType)))
}

// extension checks the actions that the pipeline does not use.
func (c *check) extension(a Action) error {
	switch a := a.(type) {
	case OutputTrunc:
		if !physical(a.Port) && a.Port != PortLocal && a.Port != PortInPort {
			return errors.New("not a port that takes a part of a packet")
		}
		if a.MaxLen < minTrunc {
			return fmt.Errorf("an Ethernet header has %d bytes", minTrunc)
		}
	case PushMPLS:
		if a.EtherType != ethMPLS && a.EtherType != ethMPLSM {
			return errors.New("a label stack has EtherType 0x8847 or 0x8848")
		}
		c.becomes(a.EtherType)
	case PopMPLS:
		if err := c.has(MPLSLabel); err != nil {
			return err
		}
		c.becomes(a.EtherType)
	case DecMPLSTTL:
		return c.has(MPLSLabel)
	case Push:
		return a.Src.validate(c.m)
	case Pop:
		if !a.Dst.Field.Writable() {
			return fmt.Errorf("%s cannot be written", a.Dst.Field)
		}
		return a.Dst.validate(c.m)
	case CheckLarger:
		if a.Dst.Bits != 1 || !a.Dst.Field.Writable() {
			return errors.New("want one bit of a field that can be written")
		}
		return a.Dst.validate(c.m)
	case Note:
		if len(a.Data)%8 != 6 {
			return errors.New("a note has 6 bytes more than a multiple of 8")
		}
	case FinTimeout:
		return c.has(TCPFlags)
	case Clone:
		if a.list == nil {
			return errors.New("without an action")
		}
		inner := *c
		return inner.actions(a.Actions())
	case SetQueue, PopQueue, Exit:
	default:
		return fmt.Errorf("%T is not an action of this package", a)
	}
	return nil
}

func (s SetField) validate(m Match) error {
	switch {
	case !s.Field.Writable():
		return fmt.Errorf("%s cannot be written", s.Field)
	case s.Mask.IsZero():
		return errors.New("no bit is written; leave it out")
	case !s.normal():
		return errors.New("the mask must be one run of bits, with no value bits outside (see Normalize)")
	case s.Field == ARPOp && validARPOp(s.Value) != nil:
		return validARPOp(s.Value)
	case s.Field == VLANVID && s.Mask == VLANVID.FullMask() && s.Value.Lo&vlanPresent == 0:
		return errors.New("a VLAN ID is written with the present bit 0x1000; use PopVLAN to remove a tag")
	case s.Field == VLANVID && s.Mask != VLANVID.FullMask() && s.Mask.Lo&vlanPresent != 0:
		return errors.New("the present bit is written with the whole vlan_vid only")
	}
	return present(m, s.Field)
}

func (a Move) validate(m Match) error {
	if a.Src.Bits != a.Dst.Bits {
		return fmt.Errorf("%d bits to %d bits", a.Src.Bits, a.Dst.Bits)
	}
	if !a.Dst.Field.Writable() {
		return fmt.Errorf("%s cannot be written", a.Dst.Field)
	}
	if err := a.Src.validate(m); err != nil {
		return err
	}
	return a.Dst.validate(m)
}

func (s Subfield) validate(m Match) error {
	switch {
	case !s.Field.Valid():
		return fmt.Errorf("%s is not a field", s.Field)
	case s.Bits == 0 || int(s.Offset)+int(s.Bits) > int(s.Field.loadBits()):
		return fmt.Errorf("bits %d to %d of %s, which has %d", s.Offset, int(s.Offset)+int(s.Bits)-1, s.Field, s.Field.loadBits())
	}
	return present(m, s.Field)
}

// present checks that packets which m matches have the field. The present bit of
// a VLAN tag is a condition for writing the VID, though not for matching it.
func present(m Match, f Field) error {
	if f == VLANVID {
		if !m.satisfies(VLANPCP) {
			return fmt.Errorf("%s: the flow must match %s or push a tag", f, needs(VLANPCP))
		}
		return nil
	}
	if !m.satisfies(f) {
		return fmt.Errorf("%s: the flow must match %s", f, needs(f))
	}
	if m.withoutTransport(f) {
		return fmt.Errorf("%s: the flow matches later fragments, which have none", f)
	}
	return nil
}

// Validate reports why a switch would refuse g.
func (g *Group) Validate() error {
	if g.ID > GroupMaxID {
		return fmt.Errorf("group %d: the last group is %d", g.ID, GroupMaxID)
	}
	if int(g.Type) >= len(groupTypes) {
		return fmt.Errorf("group %d: %d is not a type of group", g.ID, g.Type)
	}
	if g.Type == GroupIndirect && len(g.Buckets) != 1 {
		return fmt.Errorf("group %d: an indirect group has one bucket, not %d", g.ID, len(g.Buckets))
	}
	for i, b := range g.Buckets {
		if b.Weight != 0 && g.Type != GroupSelect {
			return fmt.Errorf("group %d, bucket %d: a weight is for select groups only", g.ID, i)
		}
		if g.Type == GroupFastFailover && b.WatchPort == PortAny && b.WatchGroup == GroupAny {
			return fmt.Errorf("group %d, bucket %d: fast failover needs a watch_port or watch_group", g.ID, i)
		}
		if slices.Contains(appendGroups(nil, b.Actions), g.ID) {
			return fmt.Errorf("group %d, bucket %d: refers to itself", g.ID, i)
		}
	}
	return nil
}

// Validate reports why a switch would refuse m.
func (m *Meter) Validate() error {
	if m.ID == 0 || m.ID > maxMeter {
		return fmt.Errorf("meter %d: meters are 1 to %d", m.ID, maxMeter)
	}
	if len(m.Bands) == 0 {
		return fmt.Errorf("meter %d: has no band", m.ID)
	}
	return nil
}
