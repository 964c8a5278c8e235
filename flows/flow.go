package flows

// Flow is one OpenFlow 1.3 flow entry without its statistics (section 5.2).
// A Flow is immutable once it is part of a State.
type Flow struct {
	Table    uint8
	Priority uint16
	Match    Match
	Cookie   Cookie

	// IdleTimeout and HardTimeout are in seconds; 0 means never.
	IdleTimeout uint16
	HardTimeout uint16

	// Meter is the meter instruction's id; 0 means none (meter ids start at 1).
	Meter uint32
	// Apply are the actions of the apply-actions instruction.
	Apply []Action
	// ClearActions is the clear-actions instruction.
	ClearActions bool
	// Write are the actions of the write-actions instruction.
	Write []Action
	// Metadata and MetadataMask are the write-metadata instruction; a zero mask
	// means none.
	Metadata, MetadataMask uint64
	// Goto is the goto-table instruction; 0 means none, since a goto must go
	// to a higher table. A flow with no instruction at all drops.
	Goto uint8
}

// FlowStats is a flow as a switch reports it.
type FlowStats struct {
	Flow     *Flow
	Packets  uint64
	Bytes    uint64
	Duration uint32 // seconds
}

// Key identifies a flow within a switch: table, priority and canonical match
// (OpenFlow 1.3.5 section 6.4, "strict" identity). Two flows with equal Keys
// overwrite each other. It is comparable and opaque.
type Key string
