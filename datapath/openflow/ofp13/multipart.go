package ofp13

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// MultipartType is the type of a multipart message (OpenFlow 1.3.5 section 7.3.5).
type MultipartType uint16

// The multipart types used here.
const (
	MultipartDesc        MultipartType = 0
	MultipartFlow        MultipartType = 1
	MultipartAggregate   MultipartType = 2
	MultipartPortStats   MultipartType = 4
	MultipartGroupDesc   MultipartType = 7
	MultipartMeterConfig MultipartType = 10
	MultipartPortDesc    MultipartType = 13
)

const multipartLen = 16 // header, type, flags, padding

// Multipart is one message of a multipart request or reply.
type Multipart struct {
	Type MultipartType
	More bool   // further messages with the same xid follow
	Body []byte // a part of the decoded slice, not a copy
}

// DecodeMultipart reads the head of a multipart request or reply, as t says.
func DecodeMultipart(b []byte, t MsgType) (Multipart, error) {
	_, p, err := message(b, t, multipartLen)
	if err != nil {
		return Multipart{}, err
	}
	return Multipart{MultipartType(binary.BigEndian.Uint16(p)), p[3]&1 == 1, p[8:]}, nil
}

func beginMultipart(dst []byte, t MsgType, xid uint32, mp MultipartType) []byte {
	return zeros(u16(begin(dst, t, xid), uint16(mp)), 6)
}

// AppendMultipartRequest appends a request without a body: OFPMP_DESC,
// OFPMP_GROUP_DESC or OFPMP_PORT_DESC.
func AppendMultipartRequest(dst []byte, xid uint32, mp MultipartType) ([]byte, error) {
	start := len(dst)
	return end(beginMultipart(dst, TypeMultipartRequest, xid, mp), start)
}

// AppendMeterConfigRequest appends a request for the configuration of one meter
// or of AllMeters.
func AppendMeterConfigRequest(dst []byte, xid, meter uint32) ([]byte, error) {
	start := len(dst)
	return end(zeros(u32(beginMultipart(dst, TypeMultipartRequest, xid, MultipartMeterConfig), meter), 4), start)
}

// FlowFilter selects flows for a dump or a count.
type FlowFilter struct {
	Table              uint8 // or AllTables
	Cookie, CookieMask uint64
}

// AppendFlowStatsRequest appends a request for the flows (OFPMP_FLOW) or their
// sums (OFPMP_AGGREGATE) that the filter selects.
func AppendFlowStatsRequest(dst []byte, xid uint32, mp MultipartType, f FlowFilter) ([]byte, error) {
	start := len(dst)
	dst = beginMultipart(dst, TypeMultipartRequest, xid, mp)
	dst = append(dst, f.Table, 0, 0, 0)
	dst = zeros(u32(u32(dst, flows.PortAny), flows.GroupAny), 4)
	dst = u64(u64(dst, f.Cookie), f.CookieMask)
	return end(append(dst, 0, 1, 0, 4, 0, 0, 0, 0), start)
}

// DecodeFlowStatsRequest reads the body of such a request; its match is not
// looked at.
func DecodeFlowStatsRequest(body []byte) (FlowFilter, error) {
	if len(body) < 40 {
		return FlowFilter{}, fmt.Errorf("flow stats request: %d bytes, want at least 40", len(body))
	}
	return FlowFilter{body[0], binary.BigEndian.Uint64(body[16:]), binary.BigEndian.Uint64(body[24:])}, nil
}

// AppendMultipartReply appends the reply made of entries, in as many messages as
// it takes; all but the last carry the flag OFPMPF_REPLY_MORE. No entries make
// one message without a body.
func AppendMultipartReply(dst []byte, xid uint32, mp MultipartType, entries [][]byte) ([]byte, error) {
	start, first := len(dst), len(dst)
	dst = beginMultipart(dst, TypeMultipartReply, xid, mp)
	var err error
	for _, e := range entries {
		if len(dst)-start+len(e) > MaxMessage && len(dst)-start > multipartLen {
			dst[start+11] = 1
			if dst, err = end(dst, start); err != nil {
				return dst[:first], err
			}
			start = len(dst)
			dst = beginMultipart(dst, TypeMultipartReply, xid, mp)
		}
		dst = append(dst, e...)
	}
	if dst, err = end(dst, start); err != nil {
		return dst[:first], err
	}
	return dst, nil
}

// Entries ranges over the entries of a reply whose entries start with their
// length in 16 bits: flow stats, group descriptions, meter configurations. An
// entry has at least least bytes; one that has not, or that reaches beyond the
// body, ends the range with an error.
func Entries(body []byte, least int) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for len(body) > 0 {
			if len(body) < least {
				yield(body, fmt.Errorf("multipart entry: %d bytes left, want at least %d", len(body), least))
				return
			}
			n := int(binary.BigEndian.Uint16(body))
			if n < least || n > len(body) {
				yield(body, fmt.Errorf("multipart entry: length %d, %d bytes left, want at least %d", n, len(body), least))
				return
			}
			if !yield(body[:n], nil) {
				return
			}
			body = body[n:]
		}
	}
}

// The least lengths of entries, in bytes.
const (
	FlowStatsLen   = 56
	GroupDescLen   = 8
	MeterConfigLen = 8
	PortDescLen    = 64
)

// AppendFlowStats appends one entry of an OFPMP_FLOW reply.
func AppendFlowStats(dst []byte, s flows.FlowStats) ([]byte, error) {
	f, start := s.Flow, len(dst)
	dst = append(dst, 0, 0, f.Table, 0)
	dst = u32(u32(dst, s.Duration), 0)
	dst = u16(u16(u16(dst, f.Priority), f.IdleTimeout), f.HardTimeout)
	dst = zeros(dst, 6) // flags, padding
	dst = u64(u64(u64(dst, uint64(f.Cookie)), s.Packets), s.Bytes)
	dst, err := appendMatch(dst, f.Match)
	if err == nil {
		dst, err = appendInstructions(dst, f)
	}
	if err == nil && len(dst)-start > MaxMessage-multipartLen {
		err = &TooLongError{What: "flow stats", Bytes: len(dst) - start}
	}
	if err != nil {
		return dst[:start], err
	}
	binary.BigEndian.PutUint16(dst[start:], uint16(len(dst)-start))
	return dst, nil
}

// FlowHead is the fixed part of a flow's entry, which can be read even when the
// rest cannot.
type FlowHead struct {
	Table    uint8
	Priority uint16
	Cookie   flows.Cookie
}

// DecodeFlowStats reads one entry of an OFPMP_FLOW reply. The head is valid even
// when a match field, an instruction or an action is unknown and the error says
// so.
func DecodeFlowStats(e []byte) (FlowHead, flows.FlowStats, error) {
	if len(e) < FlowStatsLen {
		return FlowHead{}, flows.FlowStats{}, fmt.Errorf("flow stats: %d bytes, want at least %d", len(e), FlowStatsLen)
	}
	h := FlowHead{
		Table:    e[2],
		Priority: binary.BigEndian.Uint16(e[12:]),
		Cookie:   flows.Cookie(binary.BigEndian.Uint64(e[24:])),
	}
	f := &flows.Flow{
		Table:       h.Table,
		Priority:    h.Priority,
		Cookie:      h.Cookie,
		IdleTimeout: binary.BigEndian.Uint16(e[14:]),
		HardTimeout: binary.BigEndian.Uint16(e[16:]),
	}
	m, n, err := parseMatch(e[48:])
	if err != nil {
		return h, flows.FlowStats{}, err
	}
	f.Match = m
	if err := parseInstructions(f, e[48+n:]); err != nil {
		return h, flows.FlowStats{}, err
	}
	return h, flows.FlowStats{
		Flow:     f,
		Duration: binary.BigEndian.Uint32(e[4:]),
		Packets:  binary.BigEndian.Uint64(e[32:]),
		Bytes:    binary.BigEndian.Uint64(e[40:]),
	}, nil
}

// Aggregate is the body of an OFPMP_AGGREGATE reply.
type Aggregate struct {
	Packets, Bytes uint64
	Flows          uint32
}

// AppendAggregate appends the body of an OFPMP_AGGREGATE reply.
func AppendAggregate(dst []byte, a Aggregate) []byte {
	return zeros(u32(u64(u64(dst, a.Packets), a.Bytes), a.Flows), 4)
}

// DecodeAggregate reads the body of an OFPMP_AGGREGATE reply.
func DecodeAggregate(body []byte) (Aggregate, error) {
	if len(body) != 24 {
		return Aggregate{}, fmt.Errorf("aggregate stats: %d bytes, want 24", len(body))
	}
	return Aggregate{
		binary.BigEndian.Uint64(body), binary.BigEndian.Uint64(body[8:]), binary.BigEndian.Uint32(body[16:]),
	}, nil
}

// AppendGroupDesc appends one entry of an OFPMP_GROUP_DESC reply.
func AppendGroupDesc(dst []byte, g *flows.Group) ([]byte, error) {
	start := len(dst)
	dst = u32(append(dst, 0, 0, byte(g.Type), 0), g.ID)
	dst, err := appendBuckets(dst, g, MaxMessage-multipartLen-GroupDescLen)
	if err != nil {
		return dst[:start], err
	}
	binary.BigEndian.PutUint16(dst[start:], uint16(len(dst)-start))
	return dst, nil
}

// DecodeGroupDesc reads one entry of an OFPMP_GROUP_DESC reply. The group's ID is
// valid even when a bucket is not and the error says so.
func DecodeGroupDesc(e []byte) (*flows.Group, error) {
	if len(e) < GroupDescLen {
		return &flows.Group{}, fmt.Errorf("group desc: %d bytes, want at least %d", len(e), GroupDescLen)
	}
	g := &flows.Group{ID: binary.BigEndian.Uint32(e[4:]), Type: flows.GroupType(e[2])}
	bs, err := parseBuckets(e[8:])
	if err != nil {
		return g, fmt.Errorf("group %d: %w", g.ID, err)
	}
	g.Buckets = bs
	return g, nil
}

// AppendMeterConfig appends one entry of an OFPMP_METER_CONFIG reply.
func AppendMeterConfig(dst []byte, m *flows.Meter) ([]byte, error) {
	start := len(dst)
	dst = appendMeter(append(dst, 0, 0), m)
	if n := len(dst) - start; n > MaxMessage-multipartLen {
		return dst[:start], &TooLongError{What: fmt.Sprintf("meter %d", m.ID), Bytes: n}
	}
	binary.BigEndian.PutUint16(dst[start:], uint16(len(dst)-start))
	return dst, nil
}

// DecodeMeterConfig reads one entry of an OFPMP_METER_CONFIG reply. The meter's
// ID is valid even when a band is not and the error says so.
func DecodeMeterConfig(e []byte) (*flows.Meter, error) {
	if len(e) < MeterConfigLen {
		return &flows.Meter{}, fmt.Errorf("meter config: %d bytes, want at least %d", len(e), MeterConfigLen)
	}
	return parseMeter(e[2:])
}

// SwitchDesc is the body of an OFPMP_DESC reply.
type SwitchDesc struct {
	Manufacturer, Hardware, Software, Serial, Datapath string
}

// AppendSwitchDesc appends the body of an OFPMP_DESC reply; strings are cut to
// what their fields hold.
func AppendSwitchDesc(dst []byte, d SwitchDesc) []byte {
	for _, s := range [...]struct {
		v string
		n int
	}{{d.Manufacturer, 256}, {d.Hardware, 256}, {d.Software, 256}, {d.Serial, 32}, {d.Datapath, 256}} {
		start := len(dst)
		dst = append(dst, s.v[:min(len(s.v), s.n-1)]...)
		dst = append(dst, make([]byte, start+s.n-len(dst))...)
	}
	return dst
}

// DecodeSwitchDesc reads the body of an OFPMP_DESC reply.
func DecodeSwitchDesc(body []byte) (SwitchDesc, error) {
	if len(body) != 4*256+32 {
		return SwitchDesc{}, fmt.Errorf("switch description: %d bytes, want %d", len(body), 4*256+32)
	}
	return SwitchDesc{
		cString(body[:256]), cString(body[256:512]), cString(body[512:768]), cString(body[768:800]), cString(body[800:]),
	}, nil
}
