package ofp13

import (
	"encoding/binary"
	"fmt"

	"github.com/contiv/libOpenflow/openflow13"
)

// This file is where contiv/libOpenflow does the work: messages that are sent
// once per session or per bundle. Its decoders are used only behind the length
// checks of message, on types where that makes them safe.

// AppendFeaturesRequest appends an OFPT_FEATURES_REQUEST.
func AppendFeaturesRequest(dst []byte, xid uint32) ([]byte, error) {
	return appendLib(dst, xid, openflow13.NewFeaturesRequest())
}

// AppendGetConfigRequest appends an OFPT_GET_CONFIG_REQUEST.
func AppendGetConfigRequest(dst []byte, xid uint32) ([]byte, error) {
	return appendLib(dst, xid, openflow13.NewConfigRequest())
}

// Config is the switch configuration (OpenFlow 1.3.5 section 7.3.2).
type Config struct {
	// Flags say how IP fragments are handled; 0 (OFPC_FRAG_NORMAL) is no
	// special handling.
	Flags uint16
	// MissSendLen is how many bytes of a packet a table miss sends to the
	// controller; 0xffff is the whole packet.
	MissSendLen uint16
}

// AppendConfig appends an OFPT_SET_CONFIG or an OFPT_GET_CONFIG_REPLY, as t says.
func AppendConfig(dst []byte, t MsgType, xid uint32, c Config) ([]byte, error) {
	m := openflow13.NewSetConfig()
	m.Header.Type, m.Flags, m.MissSendLen = uint8(t), c.Flags, c.MissSendLen
	m.Header.Length = m.Len()
	return appendLib(dst, xid, m)
}

// DecodeConfig reads an OFPT_SET_CONFIG or an OFPT_GET_CONFIG_REPLY, as t says.
func DecodeConfig(b []byte, t MsgType) (Config, error) {
	if _, _, err := message(b, t, 12); err != nil {
		return Config{}, err
	}
	m := openflow13.NewSetConfig()
	if err := m.UnmarshalBinary(b); err != nil {
		return Config{}, fmt.Errorf("%v: %w", t, err)
	}
	return Config{m.Flags, m.MissSendLen}, nil
}

// Features is the body of an OFPT_FEATURES_REPLY (section 7.3.1).
type Features struct {
	DatapathID   uint64
	Buffers      uint32
	Tables       uint8
	Auxiliary    uint8 // 0 for a main connection
	Capabilities uint32
}

// AppendFeaturesReply appends an OFPT_FEATURES_REPLY.
func AppendFeaturesReply(dst []byte, xid uint32, f Features) ([]byte, error) {
	start := len(dst)
	dst = u32(u64(begin(dst, TypeFeaturesReply, xid), f.DatapathID), f.Buffers)
	dst = append(dst, f.Tables, f.Auxiliary, 0, 0)
	return end(u32(u32(dst, f.Capabilities), 0), start)
}

// DecodeFeatures reads an OFPT_FEATURES_REPLY.
func DecodeFeatures(b []byte) (Features, error) {
	if _, _, err := message(b, TypeFeaturesReply, 32); err != nil {
		return Features{}, err
	}
	m := openflow13.NewFeaturesReply()
	if err := m.UnmarshalBinary(b[:32]); err != nil {
		return Features{}, fmt.Errorf("%v: %w", TypeFeaturesReply, err)
	}
	return Features{binary.BigEndian.Uint64(m.DPID), m.Buffers, m.NumTables, m.AuxilaryId, m.Capabilities}, nil
}

// BundleCommand is what a bundle control message asks or answers.
type BundleCommand uint16

// The bundle commands; each request is answered by its number plus one.
const (
	BundleOpen         = BundleCommand(openflow13.OFPBCT_OPEN_REQUEST)
	BundleOpenReply    = BundleCommand(openflow13.OFPBCT_OPEN_REPLY)
	BundleClose        = BundleCommand(openflow13.OFPBCT_CLOSE_REQUEST)
	BundleCloseReply   = BundleCommand(openflow13.OFPBCT_CLOSE_REPLY)
	BundleCommit       = BundleCommand(openflow13.OFPBCT_COMMIT_REQUEST)
	BundleCommitReply  = BundleCommand(openflow13.OFPBCT_COMMIT_REPLY)
	BundleDiscard      = BundleCommand(openflow13.OFPBCT_DISCARD_REQUEST)
	BundleDiscardReply = BundleCommand(openflow13.OFPBCT_DISCARD_REPLY)
)

// String is the command in words.
func (c BundleCommand) String() string {
	names := [...]string{
		"open request", "open reply", "close request", "close reply",
		"commit request", "commit reply", "discard request", "discard reply",
	}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("bundle command %d", uint16(c))
}

// BundleControl is the ONF's OFPT_BUNDLE_CONTROL.
type BundleControl struct {
	BundleID uint32
	Command  BundleCommand
	Flags    uint16
}

// AppendBundleControl appends a bundle control message.
func AppendBundleControl(dst []byte, xid uint32, c BundleControl) ([]byte, error) {
	m := openflow13.NewBundleControl(&openflow13.BundleControl{
		BundleID: c.BundleID, Type: uint16(c.Command), Flags: c.Flags,
	})
	return appendLib(dst, xid, m)
}

// DecodeBundleControl reads a bundle control message.
func DecodeBundleControl(b []byte) (BundleControl, error) {
	e, err := DecodeExperimenter(b)
	if err != nil {
		return BundleControl{}, err
	}
	if !e.IsBundleControl() {
		return BundleControl{}, fmt.Errorf("experimenter message 0x%08x/%d is no bundle control", e.ID, e.Type)
	}
	var c openflow13.BundleControl
	if err := c.UnmarshalBinary(e.Body); err != nil {
		return BundleControl{}, fmt.Errorf("bundle control: %w", err)
	}
	return BundleControl{c.BundleID, BundleCommand(c.Type), c.Flags}, nil
}

// appendLib appends what libOpenflow marshals, under our xid.
func appendLib(dst []byte, xid uint32, m interface{ MarshalBinary() ([]byte, error) }) ([]byte, error) {
	b, err := m.MarshalBinary()
	if err != nil {
		return dst, err
	}
	if len(b) < HeaderLen {
		return dst, fmt.Errorf("libOpenflow: message of %d bytes", len(b))
	}
	binary.BigEndian.PutUint32(b[4:], xid)
	start := len(dst)
	return end(append(dst, b...), start)
}
