// Package ofp13 is the wire codec of OpenFlow 1.3 (ONF TS-012, 1.3.5) with the
// Nicira (0x00002320) and ONF (0x4f4e4600) extensions that Open vSwitch speaks
// at that version.
//
// Encoders are append-style: they take a destination slice, append exactly one
// message and return the extended slice; on an error the destination comes back
// as it was. Every message is checked against the 65,535 bytes that the length
// field of the header can say. AppendFlowMod does not allocate when the
// destination has room.
//
// Decoders treat their input as hostile: lengths are strict, nothing panics,
// loops always advance, and what is kept is bounded by the size of the message.
// An action, instruction or match field that the flows package cannot express
// is an error that names it.
//
// The package has no state and does no I/O. It is the only importer of
// contiv/libOpenflow, which encodes and decodes a few rarely sent messages and
// serves the tests as a second opinion on the others.
package ofp13
