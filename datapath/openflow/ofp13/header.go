package ofp13

import (
	"encoding/binary"
	"fmt"
)

// Version is the wire version of OpenFlow 1.3.
const Version uint8 = 4

// HeaderLen is the length of the header that every message starts with, in bytes.
const HeaderLen = 8

// MaxMessage is the largest message the 16-bit length field can describe, in bytes.
const MaxMessage = 65535

// NoBuffer says that a packet is not buffered in the switch (OFP_NO_BUFFER).
const NoBuffer uint32 = 0xffffffff

// Experimenter IDs.
const (
	NiciraExperimenter uint32 = 0x00002320
	ONFExperimenter    uint32 = 0x4f4e4600
)

// MsgType is the type of a message (OpenFlow 1.3.5 section A.1).
type MsgType uint8

// The message types.
const (
	TypeHello MsgType = iota
	TypeError
	TypeEchoRequest
	TypeEchoReply
	TypeExperimenter
	TypeFeaturesRequest
	TypeFeaturesReply
	TypeGetConfigRequest
	TypeGetConfigReply
	TypeSetConfig
	TypePacketIn
	TypeFlowRemoved
	TypePortStatus
	TypePacketOut
	TypeFlowMod
	TypeGroupMod
	TypePortMod
	TypeTableMod
	TypeMultipartRequest
	TypeMultipartReply
	TypeBarrierRequest
	TypeBarrierReply
	TypeQueueGetConfigRequest
	TypeQueueGetConfigReply
	TypeRoleRequest
	TypeRoleReply
	TypeGetAsyncRequest
	TypeGetAsyncReply
	TypeSetAsync
	TypeMeterMod
)

// String is the name of the type in the specification.
func (t MsgType) String() string {
	names := [...]string{
		"OFPT_HELLO", "OFPT_ERROR", "OFPT_ECHO_REQUEST", "OFPT_ECHO_REPLY", "OFPT_EXPERIMENTER",
		"OFPT_FEATURES_REQUEST", "OFPT_FEATURES_REPLY", "OFPT_GET_CONFIG_REQUEST", "OFPT_GET_CONFIG_REPLY",
		"OFPT_SET_CONFIG", "OFPT_PACKET_IN", "OFPT_FLOW_REMOVED", "OFPT_PORT_STATUS", "OFPT_PACKET_OUT",
		"OFPT_FLOW_MOD", "OFPT_GROUP_MOD", "OFPT_PORT_MOD", "OFPT_TABLE_MOD", "OFPT_MULTIPART_REQUEST",
		"OFPT_MULTIPART_REPLY", "OFPT_BARRIER_REQUEST", "OFPT_BARRIER_REPLY", "OFPT_QUEUE_GET_CONFIG_REQUEST",
		"OFPT_QUEUE_GET_CONFIG_REPLY", "OFPT_ROLE_REQUEST", "OFPT_ROLE_REPLY", "OFPT_GET_ASYNC_REQUEST",
		"OFPT_GET_ASYNC_REPLY", "OFPT_SET_ASYNC", "OFPT_METER_MOD",
	}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("message type %d", uint8(t))
}

// Header is the header of a message (OpenFlow 1.3.5 section A.1).
type Header struct {
	Version uint8
	Type    MsgType
	Length  uint16 // of the whole message, in bytes, never below HeaderLen
	XID     uint32
}

// ParseHeader reads the header at the start of b. It does not look at the
// version, so that a peer of another version can still be answered.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, fmt.Errorf("openflow header: %d bytes, want %d", len(b), HeaderLen)
	}
	h := Header{b[0], MsgType(b[1]), binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[4:])}
	if h.Length < HeaderLen {
		return h, fmt.Errorf("openflow header: length %d, shorter than the header itself", h.Length)
	}
	return h, nil
}

// message checks that b is one whole message of type t and at least n bytes,
// and returns its header and what follows the header.
func message(b []byte, t MsgType, n int) (Header, []byte, error) {
	h, err := ParseHeader(b)
	switch {
	case err != nil:
		return h, nil, err
	case h.Version != Version:
		return h, nil, fmt.Errorf("%v: version 0x%02x, want 0x%02x", t, h.Version, Version)
	case h.Type != t:
		return h, nil, fmt.Errorf("%v: got %v", t, h.Type)
	case int(h.Length) != len(b):
		return h, nil, fmt.Errorf("%v: header says %d bytes, message has %d", t, h.Length, len(b))
	case len(b) < n:
		return h, nil, fmt.Errorf("%v: %d bytes, want at least %d", t, len(b), n)
	}
	return h, b[HeaderLen:], nil
}

// begin appends a header whose length end fills in.
func begin(dst []byte, t MsgType, xid uint32) []byte {
	return append(dst, Version, byte(t), 0, 0, byte(xid>>24), byte(xid>>16), byte(xid>>8), byte(xid))
}

// end writes the length of the message that starts at start, or takes the
// message back when the length does not fit.
func end(dst []byte, start int) ([]byte, error) {
	n := len(dst) - start
	if n > MaxMessage {
		t := MsgType(dst[start+1])
		return dst[:start], &TooLongError{What: t.String(), Bytes: n}
	}
	binary.BigEndian.PutUint16(dst[start+2:], uint16(n))
	return dst, nil
}

// TooLongError says that a message would not fit its own length field.
type TooLongError struct {
	What  string
	Bytes int    // what the message would need
	Hint  string // what to do, may be empty
}

func (e *TooLongError) Error() string {
	s := fmt.Sprintf("%s takes %d bytes; an OpenFlow message holds at most %d", e.What, e.Bytes, MaxMessage)
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

func u16(dst []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(dst, v) }
func u32(dst []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(dst, v) }
func u64(dst []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(dst, v) }

// zeros appends n ≤ 8 zero bytes.
func zeros(dst []byte, n int) []byte {
	var z [8]byte
	return append(dst, z[:n]...)
}

// pad8 appends zeros until the bytes from start on are a multiple of eight.
// Eight are appended and those too many taken back, which spares a copy of variable length.
func pad8(dst []byte, start int) []byte { return u64(dst, 0)[:start+roundUp8(len(dst)-start)] }

// roundUp8 is n rounded up to a multiple of eight.
func roundUp8(n int) int { return (n + 7) &^ 7 }
