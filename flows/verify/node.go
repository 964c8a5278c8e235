package verify

import (
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// node is a set of packets that arrive in a table. Where in_port is still the port that
// they came in by, it is not in the state: packets that differ in it only are of one
// node, and from says which they are.
type node struct {
	table   uint8
	waits   bool // to be expanded, perhaps again
	state   state
	from    bitset // the ingresses whose packets get here
	alts    []alt
	next    []int32 // the nodes that alts lead to, each once
	classes int
}

// alt is what one flow does with the packets of a node that it takes, and from which
// ingresses they may be. Without a row, no flow takes them.
type alt struct {
	row  *row
	from bitset
	hops []hop // more than one, by port, if what is done depends on in_port
}

// hop is what becomes of packets from some ingresses.
type hop struct {
	from   bitset
	next   []int32 // nodes that copies of the packet go on to
	events []event
}

// hop is that of an ingress, nil if none of its packets is among those that are taken.
func (a *alt) hop(ingress int) *hop {
	if a.row == nil || !a.from.has(ingress) {
		return nil
	}
	for i := range a.hops {
		if a.hops[i].from.has(ingress) {
			return &a.hops[i]
		}
	}
	return nil
}

// event is a copy that leaves.
type event struct {
	port        uint32
	vid         tern // with its bit for "there is a tag"
	key         tern
	dst4, dst6  tern
	moved       bool // in_port is not where the packet came in
	answered    bool
	readdressed bool   // the tunnel's destination is not where the packet came to
	choice      uint32 // the group that selects one of its buckets, 0 if none does
	bucket      int32  // which
	flow        *flows.Flow
	throughPort bool // output to IN_PORT: the packet's own port, whichever it is
}

// ingress is where packets come into a switch.
type ingress struct {
	name    string // of the port, and which frames
	port    uint32
	vlan    int     // VLAN ID on the port, 0 without a tag; -1 any other
	key     *uint64 // of a tunnel
	tunnel  bool
	network int32 // which network they belong to, -1 none
	state   state
	node    int32
}
