package openflow

import (
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// The parts of the protocol that users of a Conn meet.
type (
	PortDesc    = ofp13.PortDesc
	PortStatus  = ofp13.PortStatus
	PacketIn    = ofp13.PacketIn
	PacketOut   = ofp13.PacketOut
	FlowRemoved = ofp13.FlowRemoved
	RoleStatus  = ofp13.RoleStatus
	Role        = ofp13.Role
)

// Options tune a Conn. The zero Options are good for production; every zero
// field stands for the default its comment names.
//
// The callbacks are called by one goroutine of the Conn, one after the other,
// in the order of the switch's messages. They must not block for long and must
// not call Close.
type Options struct {
	// HandshakeTimeout bounds hello, features and configuration together; 5 s.
	HandshakeTimeout time.Duration
	// EchoInterval is how long the peer may be silent before it is probed; 5 s.
	EchoInterval time.Duration
	// EchoTimeout is how long it may go on being silent after the probe before
	// it is given up; 15 s, because a switch is silent while it commits a large
	// bundle.
	EchoTimeout time.Duration
	// MaxReplyBytes bounds one multipart reply; 256 MiB, about a million flows.
	MaxReplyBytes int
	// EventBuffer is how many events may wait for a callback; 1024. Beyond it
	// packet-ins and flow-removed messages are dropped and counted; a port
	// status is never dropped, the session ends with an error instead, so that
	// the resynchronisation of the next one brings the truth.
	EventBuffer int
	// OwnGroup and OwnMeter say which groups and meters are ours; the others
	// are counted as foreign and left alone. The defaults are
	// flows.OurGroup and flows.OurMeter.
	OwnGroup, OwnMeter func(id uint32) bool

	OnPortStatus func(PortStatus)
	// OnPacketIn may use what it gets until it returns; what it keeps it has to copy. There
	// may be a million packet-ins in a second.
	OnPacketIn    func(PacketIn)
	OnFlowRemoved func(FlowRemoved)
	// OnRoleStatus is called when the switch changed this controller's role.
	OnRoleStatus func(RoleStatus)
	// OnError is called with errors that belong to no waiting request, those
	// about a PacketOut for one.
	OnError func(*ofp13.Error)
}

func (o Options) withDefaults() Options {
	o.HandshakeTimeout = orDefault(o.HandshakeTimeout, 5*time.Second)
	o.EchoInterval = orDefault(o.EchoInterval, 5*time.Second)
	o.EchoTimeout = orDefault(o.EchoTimeout, 15*time.Second)
	o.MaxReplyBytes = orDefault(o.MaxReplyBytes, 256<<20)
	o.EventBuffer = orDefault(o.EventBuffer, 1024)
	if o.OwnGroup == nil {
		o.OwnGroup = flows.OurGroup
	}
	if o.OwnMeter == nil {
		o.OwnMeter = flows.OurMeter
	}
	return o
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
