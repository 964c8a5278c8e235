package flows

import "slices"

// GroupType is the type of a group (OpenFlow 1.3.5 section 5.6.1).
type GroupType uint8

// The group types; the numbers are those of the wire.
const (
	GroupAll GroupType = iota
	GroupSelect
	GroupIndirect
	GroupFastFailover
)

// Group is one group entry. It is immutable once it is part of a State.
type Group struct {
	ID      uint32
	Type    GroupType
	Buckets []Bucket
}

// Bucket is one action bucket of a group.
type Bucket struct {
	Weight     uint16
	WatchPort  uint32 // PortAny when unused
	WatchGroup uint32 // GroupAny when unused
	Actions    []Action
}

// Meter is one meter with drop bands (OpenFlow 1.3.5 section 5.7).
type Meter struct {
	ID    uint32
	Pktps bool // bands count packets per second rather than kilobit per second
	Bands []MeterBand
}

// MeterBand is a drop band: above Rate (burst Burst) packets are dropped.
type MeterBand struct{ Rate, Burst uint32 }

// Reserved port and group numbers (OpenFlow 1.3.5 section A.2.1, A.3.4.2).
const (
	PortMax        uint32 = 0xffffff00
	PortInPort     uint32 = 0xfffffff8
	PortTable      uint32 = 0xfffffff9
	PortNormal     uint32 = 0xfffffffa
	PortFlood      uint32 = 0xfffffffb
	PortAll        uint32 = 0xfffffffc
	PortController uint32 = 0xfffffffd
	PortLocal      uint32 = 0xfffffffe
	PortAny        uint32 = 0xffffffff
	GroupMaxID     uint32 = 0xffffff00
	GroupAllID     uint32 = 0xfffffffc
	GroupAny       uint32 = 0xffffffff
)

// Groups and meters have no cookie, so ours are those numbered from GroupMin and
// MeterMin up to, not including, GroupEnd and MeterEnd. A pipeline allocates there;
// what a switch holds elsewhere belongs to somebody else. (The userspace datapath of
// Open vSwitch has meters up to 65,535.)
const (
	GroupMin uint32 = 0x40000000
	GroupEnd uint32 = 0x80000000
	MeterMin uint32 = 0x4000
	MeterEnd uint32 = 0x10000
)

// OurGroup reports whether a group of that number is ours.
func OurGroup(id uint32) bool { return GroupMin <= id && id < GroupEnd }

// OurMeter reports whether a meter of that number is ours.
func OurMeter(id uint32) bool { return MeterMin <= id && id < MeterEnd }

// Equal reports whether the groups are the same, bucket by bucket in order.
func (g *Group) Equal(h *Group) bool {
	if g == h {
		return true
	}
	if g == nil || h == nil || g.ID != h.ID || g.Type != h.Type {
		return false
	}
	return slices.EqualFunc(g.Buckets, h.Buckets, func(a, b Bucket) bool {
		return a.Weight == b.Weight && a.WatchPort == b.WatchPort && a.WatchGroup == b.WatchGroup &&
			slices.Equal(normalizeActions(a.Actions), normalizeActions(b.Actions))
	})
}

// Groups are the groups that the buckets of g refer to.
func (g *Group) Groups() []uint32 {
	var ids []uint32
	for _, b := range g.Buckets {
		ids = appendGroups(ids, b.Actions)
	}
	return ids
}

// appendGroups appends the groups that actions refer to.
func appendGroups(ids []uint32, as []Action) []uint32 {
	for _, a := range as {
		switch a := a.(type) {
		case ToGroup:
			ids = append(ids, a.ID)
		case Clone:
			ids = appendGroups(ids, a.Actions())
		}
	}
	return ids
}

// Groups are the groups that f hands packets to.
func (f *Flow) Groups() []uint32 { return appendGroups(appendGroups(nil, f.Apply), f.Write) }

// Equal reports whether the meters are the same, band by band in order.
func (m *Meter) Equal(n *Meter) bool {
	if m == n {
		return true
	}
	return m != nil && n != nil && m.ID == n.ID && m.Pktps == n.Pktps && slices.Equal(m.Bands, n.Bands)
}
