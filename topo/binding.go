package topo

import "github.com/google/uuid"

// Binding is the observed fact that a port is on a host: which OpenFlow port
// number, and which row of the host's Interface table (a number may be
// reused, a row is not).
type Binding struct {
	Host      string
	OFPort    uint32
	Interface uuid.UUID
}

// Segment is a network and who is on it now. It is immutable and shared between
// Snapshots in which nothing about it changed, so pointer equality means "same".
type Segment struct {
	Network *Network
	// Members are the bound ports, ascending by Port.ID.
	Members []*Member
	// Down are the declared ports that are bound nowhere, ascending by Port.ID, if
	// the network answers for them (AnswerDeclared); Host and OFPort are zero.
	Down []*Member
}

// Member is a port's part in one network. Immutable and shared between Snapshots.
type Member struct {
	Port *Port
	Sub  *SubPort // nil on an access port
	Host *Host
	// OFPort is the port's OpenFlow number on Host.
	OFPort uint32
	// Learned are the source MACs learned at the port in this network; nil at a
	// port that learns none, that is: whose profile is not switch,
	// and on a wire.
	Learned *Learned
	// Standby is where else the port is while it is being migrated.
	Standby Standby
}
