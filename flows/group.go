package flows

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
