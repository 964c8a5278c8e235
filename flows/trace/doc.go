// Package trace is an interpreter of a flows.State: a packet in, every step, every
// copy that leaves, and a verdict out. It does what Open vSwitch 3.1 and 3.5 do with
// OpenFlow 1.3 and the Nicira extensions (and not what the specification leaves
// open or Open vSwitch does differently); a differential test holds it against
// ofproto/trace of the real thing.
//
// It is pure: no I/O, clocks or locks. A Switch and a Network are immutable and may
// be used from any goroutine; a Runner belongs to one.
//
// What of Open vSwitch it interprets, and what it refuses by name, is the table of
// docs/reference/interpreter.md.
//
// It never guesses. Where what happens depends on something it was not told (the
// state of a connection, the hash that selects a bucket, which of two flows of the
// same priority comes first) it follows every alternative, each a Branch with what
// it assumes. What it cannot interpret (NORMAL, a flow that could not be read) makes
// the verdict Unknown and is named. What nat chooses is marked (Output.Unsure), and what
// depends on it is Unknown as well.
package trace

//go:generate go test -run Reference -update .
