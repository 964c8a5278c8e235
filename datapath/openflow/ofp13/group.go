package ofp13

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// ModCommand is what a group-mod or meter-mod does (OpenFlow 1.3.5 sections
// 7.3.4.2 and 7.3.4.4; the numbers are the same for both).
type ModCommand uint16

// The group-mod and meter-mod commands.
const (
	ModAdd ModCommand = iota
	ModModify
	ModDelete
)

// String is the command's place in the names of the specification.
func (c ModCommand) String() string {
	switch c {
	case ModAdd:
		return "ADD"
	case ModModify:
		return "MODIFY"
	case ModDelete:
		return "DELETE"
	}
	return fmt.Sprintf("command %d", uint16(c))
}

// GroupMod is an OFPT_GROUP_MOD. Only the ID counts in a delete.
type GroupMod struct {
	Command ModCommand
	Group   *flows.Group
}

const groupModLen = 16 // header, command, type, padding, group ID

// AppendGroupMod appends the group-mod to dst. A group whose buckets do not fit
// one message is a *TooLongError that says how many would.
func AppendGroupMod(dst []byte, xid uint32, m GroupMod) ([]byte, error) {
	if m.Group == nil || m.Command > ModDelete {
		return dst, fmt.Errorf("group-mod %v: no group, or no such command", m.Command)
	}
	start := len(dst)
	dst = begin(dst, TypeGroupMod, xid)
	dst = u32(append(dst, byte(m.Command>>8), byte(m.Command), byte(m.Group.Type), 0), m.Group.ID)
	if m.Command != ModDelete {
		var err error
		if dst, err = appendBuckets(dst, m.Group, MaxMessage-groupModLen); err != nil {
			return dst[:start], err
		}
	}
	return end(dst, start)
}

// appendBuckets appends the buckets of g, which may take up to room bytes.
func appendBuckets(dst []byte, g *flows.Group, room int) ([]byte, error) {
	first, fit := len(dst), 0
	for i := range g.Buckets {
		start := len(dst)
		b := &g.Buckets[i]
		dst = u16(append(dst, 0, 0), b.Weight)
		dst = zeros(u32(u32(dst, b.WatchPort), b.WatchGroup), 4)
		var err error
		if dst, err = appendActions(dst, b.Actions); err != nil {
			return dst, fmt.Errorf("group %d, bucket %d: %w", g.ID, i, err)
		}
		n := len(dst) - start
		if n > MaxMessage {
			return dst, &TooLongError{What: fmt.Sprintf("bucket %d of group %d", i, g.ID), Bytes: n}
		}
		binary.BigEndian.PutUint16(dst[start:], uint16(n))
		if len(dst)-first <= room {
			fit = i + 1
		}
	}
	if n := len(dst) - first; n > room {
		return dst, &TooLongError{
			What:  fmt.Sprintf("group %d with %d buckets", g.ID, len(g.Buckets)),
			Bytes: n + MaxMessage - room,
			Hint:  fmt.Sprintf("%d of its buckets fit; divide it into a group of groups", fit),
		}
	}
	return dst, nil
}

func parseBuckets(b []byte) ([]flows.Bucket, error) {
	var bs []flows.Bucket
	for len(b) > 0 {
		if len(b) < 16 {
			return nil, fmt.Errorf("bucket %d: %d bytes left, want at least 16", len(bs), len(b))
		}
		n := int(binary.BigEndian.Uint16(b))
		if n < 16 || n > len(b) {
			return nil, fmt.Errorf("bucket %d: length %d, %d bytes left", len(bs), n, len(b))
		}
		as, err := parseActions(b[16:n])
		if err != nil {
			return nil, fmt.Errorf("bucket %d: %w", len(bs), err)
		}
		bs = append(bs, flows.Bucket{
			Weight:     binary.BigEndian.Uint16(b[2:]),
			WatchPort:  binary.BigEndian.Uint32(b[4:]),
			WatchGroup: binary.BigEndian.Uint32(b[8:]),
			Actions:    as,
		})
		b = b[n:]
	}
	return bs, nil
}

// DecodeGroupMod reads an OFPT_GROUP_MOD.
func DecodeGroupMod(b []byte) (GroupMod, error) {
	_, p, err := message(b, TypeGroupMod, groupModLen)
	if err != nil {
		return GroupMod{}, err
	}
	m := GroupMod{
		Command: ModCommand(binary.BigEndian.Uint16(p)),
		Group:   &flows.Group{ID: binary.BigEndian.Uint32(p[4:]), Type: flows.GroupType(p[2])},
	}
	if m.Command > ModDelete {
		return m, fmt.Errorf("group-mod: unknown command %d", uint16(m.Command))
	}
	if m.Group.Buckets, err = parseBuckets(p[8:]); err != nil {
		return m, fmt.Errorf("group-mod %v, group %d: %w", m.Command, m.Group.ID, err)
	}
	return m, nil
}

// MeterMod is an OFPT_METER_MOD. Only the ID counts in a delete.
type MeterMod struct {
	Command ModCommand
	Meter   *flows.Meter
}

// AllMeters as a meter ID stands for every meter in deletes and dumps.
const AllMeters uint32 = 0xffffffff

// Meter flags and band types (section 7.3.4.4).
const (
	meterKbps  uint16 = 1
	meterPktps uint16 = 2
	meterBurst uint16 = 4
	meterStats uint16 = 8
	bandDrop   uint16 = 1
	bandLen           = 16
)

// AppendMeterMod appends the meter-mod to dst. The burst flag is set when a band
// has a burst size.
func AppendMeterMod(dst []byte, xid uint32, m MeterMod) ([]byte, error) {
	if m.Meter == nil || m.Command > ModDelete {
		return dst, fmt.Errorf("meter-mod %v: no meter, or no such command", m.Command)
	}
	start := len(dst)
	dst = begin(dst, TypeMeterMod, xid)
	dst = u16(dst, uint16(m.Command))
	if m.Command == ModDelete {
		return end(u32(u16(dst, 0), m.Meter.ID), start)
	}
	return end(appendMeter(dst, m.Meter), start)
}

// appendMeter appends flags, ID and bands.
func appendMeter(dst []byte, m *flows.Meter) []byte {
	flags := meterKbps
	if m.Pktps {
		flags = meterPktps
	}
	for _, b := range m.Bands {
		if b.Burst != 0 {
			flags |= meterBurst
		}
	}
	dst = u32(u16(dst, flags), m.ID)
	for _, b := range m.Bands {
		dst = u16(u16(dst, bandDrop), bandLen)
		dst = zeros(u32(u32(dst, b.Rate), b.Burst), 4)
	}
	return dst
}

// parseMeter reads flags, ID and bands; b has at least eight bytes.
func parseMeter(b []byte) (*flows.Meter, error) {
	flags := binary.BigEndian.Uint16(b)
	m := &flows.Meter{ID: binary.BigEndian.Uint32(b[2:]), Pktps: flags&meterPktps != 0}
	if flags&meterKbps != 0 && m.Pktps {
		return m, fmt.Errorf("meter %d: both kbps and pktps", m.ID)
	}
	for b = b[6:]; len(b) > 0; b = b[bandLen:] {
		if len(b) < bandLen {
			return m, fmt.Errorf("meter %d: %d bytes left, a band has %d", m.ID, len(b), bandLen)
		}
		t, n := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		if t != bandDrop {
			return m, fmt.Errorf("meter %d: unknown band type %d", m.ID, t)
		}
		if n != bandLen {
			return m, fmt.Errorf("meter %d: a drop band of %d bytes, want %d", m.ID, n, bandLen)
		}
		band := flows.MeterBand{Rate: binary.BigEndian.Uint32(b[4:])}
		if flags&meterBurst != 0 {
			band.Burst = binary.BigEndian.Uint32(b[8:])
		}
		m.Bands = append(m.Bands, band)
	}
	return m, nil
}

// DecodeMeterMod reads an OFPT_METER_MOD.
func DecodeMeterMod(b []byte) (MeterMod, error) {
	_, p, err := message(b, TypeMeterMod, 16)
	if err != nil {
		return MeterMod{}, err
	}
	m := MeterMod{Command: ModCommand(binary.BigEndian.Uint16(p))}
	if m.Command > ModDelete {
		return m, fmt.Errorf("meter-mod: unknown command %d", uint16(m.Command))
	}
	m.Meter, err = parseMeter(p[2:])
	return m, err
}

// AppendOp appends the message for one Op of a plan.
func AppendOp(dst []byte, xid uint32, op flows.Op) ([]byte, error) {
	switch op.Kind {
	case flows.AddFlow:
		return AppendFlowMod(dst, xid, FlowMod{Command: FlowAdd, Flow: op.Flow})
	case flows.ModifyFlow:
		return AppendFlowMod(dst, xid, FlowMod{Command: FlowModifyStrict, Flow: op.Flow})
	case flows.DeleteFlow:
		return AppendFlowMod(dst, xid, FlowMod{Command: FlowDeleteStrict, Flow: op.Flow})
	case flows.AddGroup:
		return AppendGroupMod(dst, xid, GroupMod{ModAdd, op.Group})
	case flows.ModifyGroup:
		return AppendGroupMod(dst, xid, GroupMod{ModModify, op.Group})
	case flows.DeleteGroup:
		return AppendGroupMod(dst, xid, GroupMod{ModDelete, op.Group})
	case flows.AddMeter:
		return AppendMeterMod(dst, xid, MeterMod{ModAdd, op.Meter})
	case flows.ModifyMeter:
		return AppendMeterMod(dst, xid, MeterMod{ModModify, op.Meter})
	case flows.DeleteMeter:
		return AppendMeterMod(dst, xid, MeterMod{ModDelete, op.Meter})
	}
	return dst, fmt.Errorf("op kind %d: no such kind", op.Kind)
}

// errMeterInBundle spares a round trip: Open vSwitch answers OFPBFC_MSG_UNSUP.
var errMeterInBundle = errors.New("a meter-mod cannot be part of a bundle; plan meters in a step of their own")
