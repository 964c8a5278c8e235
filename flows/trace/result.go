package trace

import (
	"net/netip"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// Verdict is what became of a packet.
type Verdict uint8

// The verdicts.
const (
	Dropped   Verdict = iota // no copy left the switch
	Forwarded                // at least one copy did
	Unknown                  // something on the way could not be decided
)

// String is the verdict as a word.
func (v Verdict) String() string {
	switch v {
	case Dropped:
		return "dropped"
	case Forwarded:
		return "forwarded"
	}
	return "unknown"
}

// Kind is the kind of a Step.
type Kind uint8

// The kinds of steps.
const (
	StepTable       Kind = iota // a lookup that found Flow, or nothing (Flow is nil)
	StepActionSet               // the action set is executed
	StepGroup                   // a group; Number is its ID
	StepBucket                  // a bucket of the group; Number counts from 0
	StepOutput                  // a copy leaves: Output says how
	StepNote                    // Note says what had no effect, and why
	StepRecirculate             // the packet goes on, read anew, after the connection tracker or without its labels
	StepClone                   // a clone does actions of its own
	StepUnknown                 // Note says what is not interpreted
)

// Change is a field that actions changed.
type Change struct {
	Field    flows.Field
	Was, Now flows.Value
}

// Step is one thing that happened to a packet, and what happened within it.
type Step struct {
	Kind    Kind
	Table   uint8  // StepTable, StepRecirculate
	Number  uint32 // StepGroup, StepBucket
	Flow    *flows.Flow
	Changes []Change // by the step's own actions, not those within it
	Output  *Output
	Note    string
	Nearest *Nearest // where a table dropped the packet
	Steps   []*Step
}

// Output is a copy that leaves the switch.
type Output struct {
	Port uint32 // PortController for a copy to the controller
	// Frame is what leaves, without a tunnel's own headers.
	Frame []byte
	// Tunnel is set when the port is the end of tunnels.
	Tunnel *Via
	// Table and Flow are where the output action stood.
	Table uint8
	Flow  *flows.Flow
	// For the controller: how much it is sent of the frame, why, and what it is told
	// beside it (in_port, tunnel, registers).
	MaxLen uint16
	Reason Reason
	Packet *Packet

	unsure fieldSet
}

// Unsure are the fields of Frame that are an assumption: nat chose them among several, or
// translated them as the connection is translated, which nobody said.
func (o *Output) Unsure() []flows.Field { return o.unsure.list() }

// Via is what a tunnel port puts on the wire.
type Via struct {
	Encap  string
	Remote netip.Addr
	// Key is what the packet's tun_id says. GRE carries 32 bits of it, VXLAN and
	// Geneve 24.
	Key uint64
}

// Reason is why a packet goes to the controller (OpenFlow 1.3.5 section 7.4.1, and 1.5).
type Reason uint8

// The reasons.
const (
	ReasonNoMatch Reason = iota
	ReasonAction
	ReasonInvalidTTL
	ReasonActionSet
	ReasonGroup
	ReasonPacketOut
)

// Nearest is the flow that would have taken a dropped packet and done something with
// it, had the fewest fields been others.
type Nearest struct {
	Flow *flows.Flow
	// Differs are the flow's constraints that the packet does not meet.
	Differs []flows.FieldMatch
}

// Choice is something that the interpreter was not told and had to assume.
type Choice struct {
	What string // "group 7: bucket", "connection state", "flow of equal priority"
	Took string
	n    int // of the alternatives
	of   int
}

// Branch is what happens under some assumptions.
type Branch struct {
	Assumes []Choice
	Verdict Verdict
	Steps   []*Step // empty when steps were not asked for
	Outputs []Output
	Hits    []*flows.Flow // the flows that took the packet, one after the other
	Unknown []string      // what could not be interpreted
	// Drop is why no copy left, "" if one did.
	Drop string
}

// Result is all that may happen to a packet on one switch.
type Result struct {
	Packet   *Packet // as it came
	Branches []Branch
	// Verdict is that of all branches, Unknown where they do not agree.
	Verdict Verdict
}
