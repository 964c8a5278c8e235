package verify

import (
	"net/netip"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// Overlay is what is to be proved of: the switches as they are, and what was declared.
type Overlay struct {
	Networks []Network
	Hosts    []Host
	// Allowed reports whether packets may go from one network to another, by a declared
	// router, policy or gateway. nil allows nothing.
	Allowed func(from, to string) bool
	// Check and CheckGroup hold a flow and a group against the declarations of their
	// tables (pipeline.Check). nil accepts everything.
	Check      func(*flows.Flow) error
	CheckGroup func(*flows.Group) error
	// Workers is how many hosts are done at a time; 1 when 0.
	Workers int
}

// Network is a declared network. Names are unique.
type Network struct {
	Name  string
	Encap string // "gre", "vxlan" or "geneve"
	Key   uint64
}

// Host is a switch and what is connected to it.
type Host struct {
	Name string
	// TEPs are the addresses at which tunnels to the host end.
	TEPs    []netip.Addr
	Tunnels []Tunnel
	// Ports are all other ports of the bridge. Those of nobody have no Members. The
	// bridge's local port need not be given.
	Ports []Port
	// State is what the switch holds. Of a host without one nothing is proved, and only
	// its endpoints count.
	State  *flows.State
	Unread []trace.Unread
	// OpenVSwitch is the version that the host runs.
	OpenVSwitch trace.Version
}

// Tunnel is a port at which tunnels from all peers end.
type Tunnel struct {
	Number uint32
	Name   string
	Encap  string
}

// Port is a port that guests, or nobody, are behind.
type Port struct {
	Number  uint32
	Name    string
	Members []Member
}

// Member is the part of a port that is in a network.
type Member struct {
	// VLAN is the VLAN ID on the port, 0 for frames without one.
	VLAN uint16
	// Wire takes all frames of the port, whatever their tags.
	Wire    bool
	Network string
}

// Kind is what a Violation breaks.
type Kind uint8

// The kinds.
const (
	// Isolation: a packet reaches a port of another network, or comes from a port or
	// with a key of no network and reaches one at all.
	Isolation Kind = iota
	// Membership: a (port, VLAN) or a key belongs to two networks, or a port is sent a
	// VLAN that it does not carry.
	Membership
	// Key: a packet leaves by a tunnel without its network's key, in another
	// encapsulation, or to an address that is no host's.
	Key
	// Loop: a packet that came by a tunnel leaves by one.
	Loop
	// Duplicate: a port gets two copies of a packet, or its sender gets one.
	Duplicate
	// Undeclared: a packet is taken by a flow that breaks the declarations of the tables.
	Undeclared
	numKinds
)

// Property is what holds where nothing is of the kind.
func (k Kind) Property() string {
	return [...]string{
		"no packet reaches a port of another network, and none of no network reaches any",
		"each (port, VLAN) and each (encapsulation, key) is of one network at most, and no port is sent a VLAN that it does not carry",
		"nothing leaves by a tunnel but under its network's key, and to another host",
		"nothing that came by a tunnel leaves by one",
		"no port gets a packet twice, and no sender its own",
		"no packet is taken by a flow that breaks the declarations of the tables",
		"",
	}[min(k, numKinds)]
}

// Kinds are all kinds.
func Kinds() []Kind {
	out := make([]Kind, numKinds)
	for i := range out {
		out[i] = Kind(i)
	}
	return out
}

// String is the kind as a word.
func (k Kind) String() string {
	return [...]string{"isolation", "membership", "key", "loop", "duplicate", "undeclared", "kind?"}[min(k, numKinds)]
}

// Violation is something wrong, shown by a packet.
type Violation struct {
	Kind Kind
	Host string
	// From is the port that the packet comes in by, and as which VLAN or key.
	From string
	// What is what happens to it.
	What string
	// Flow is the flow to blame: the one that sends the packet out, or that breaks
	// its declaration. It may be nil.
	Flow *flows.Flow
	// Frame is the packet and Packet how the switch sees it. They and the Trace are
	// missing only where the declaration contradicts itself.
	Frame  []byte
	Packet string
	Trace  *trace.Hop
}

// Doubt is something that could not be decided.
type Doubt struct {
	Host string
	Why  string
}

// Report is the result.
type Report struct {
	// Hosts are those that have a State.
	Hosts int
	Flows int
	// Ingresses are the (port, VLAN) and (tunnel, key) that packets were followed from.
	Ingresses int
	// Classes are the sets of packets, each of which one flow of one table takes.
	Classes int
	// Refuted are the suspicions that turned out to be of packets that cannot be.
	Refuted    int
	Violations []Violation
	Doubts     []Doubt
}

// Proved reports whether all properties hold for all packets.
func (r *Report) Proved() bool { return len(r.Violations) == 0 && len(r.Doubts) == 0 }
