package ofp13

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// AppendHello appends an OFPT_HELLO that offers OpenFlow 1.3 and nothing else, by
// a version bitmap (section 7.5.1).
func AppendHello(dst []byte, xid uint32) ([]byte, error) {
	start := len(dst)
	dst = begin(dst, TypeHello, xid)
	return end(u32(append(dst, 0, 1, 0, 8), 1<<Version), start)
}

// Hello is what a peer offers.
type Hello struct {
	Version  uint8 // of the header: the highest it speaks
	Bitmap   uint32
	BitmapOK bool // the peer sent a bitmap
}

// DecodeHello reads a hello of any version. Unknown elements are skipped, as the
// specification demands.
func DecodeHello(b []byte) (Hello, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return Hello{}, err
	}
	if h.Type != TypeHello || int(h.Length) != len(b) || h.Version == 0 {
		return Hello{}, fmt.Errorf("no hello: version 0x%02x, %v, %d bytes", h.Version, h.Type, h.Length)
	}
	o := Hello{Version: h.Version}
	for p := b[HeaderLen:]; len(p) >= 4; {
		t, n := binary.BigEndian.Uint16(p), int(binary.BigEndian.Uint16(p[2:]))
		if n < 4 || n > len(p) {
			return o, fmt.Errorf("hello: element %d of %d bytes, %d left", t, n, len(p))
		}
		if t == 1 && n >= 8 {
			o.Bitmap, o.BitmapOK = binary.BigEndian.Uint32(p[4:]), true
		}
		p = p[min(roundUp8(n), len(p)):]
	}
	return o, nil
}

// Accepts reports whether OpenFlow 1.3 comes out of the negotiation when we offer
// it alone: by the bitmap, or without one by the lower of the two versions.
func (h Hello) Accepts() bool {
	if h.BitmapOK {
		return h.Bitmap&(1<<Version) != 0
	}
	return h.Version >= Version
}

// String names the versions offered.
func (h Hello) String() string {
	if !h.BitmapOK {
		return "up to " + versionName(h.Version)
	}
	var vs []string
	for v := uint8(1); v < 32; v++ {
		if h.Bitmap&(1<<v) != 0 {
			vs = append(vs, versionName(v))
		}
	}
	if vs == nil {
		return "no version"
	}
	return strings.Join(vs, ", ")
}

func versionName(v uint8) string {
	if v >= 1 && v <= 6 {
		return fmt.Sprintf("OpenFlow 1.%d", v-1)
	}
	return fmt.Sprintf("version 0x%02x", v)
}

// AppendEchoRequest appends an OFPT_ECHO_REQUEST.
func AppendEchoRequest(dst []byte, xid uint32, payload []byte) ([]byte, error) {
	start := len(dst)
	return end(append(begin(dst, TypeEchoRequest, xid), payload...), start)
}

// AppendEchoReply appends the reply to the echo request in b: same xid, same payload.
func AppendEchoReply(dst, request []byte) ([]byte, error) {
	h, p, err := message(request, TypeEchoRequest, HeaderLen)
	if err != nil {
		return dst, err
	}
	start := len(dst)
	return end(append(begin(dst, TypeEchoReply, h.XID), p...), start)
}

// AppendBarrierRequest appends an OFPT_BARRIER_REQUEST.
func AppendBarrierRequest(dst []byte, xid uint32) ([]byte, error) {
	start := len(dst)
	return end(begin(dst, TypeBarrierRequest, xid), start)
}

// AppendBarrierReply appends an OFPT_BARRIER_REPLY.
func AppendBarrierReply(dst []byte, xid uint32) ([]byte, error) {
	start := len(dst)
	return end(begin(dst, TypeBarrierReply, xid), start)
}

// Role is a controller's role (section 6.3.6).
type Role uint32

// The roles; the names are those of the specification's 1.3.
const (
	RoleNoChange Role = iota
	RoleEqual
	RoleMaster
	RoleSlave
)

// String is the role's name.
func (r Role) String() string {
	names := [...]string{"nochange", "equal", "master", "slave"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("role %d", uint32(r))
}

// RoleMessage is an OFPT_ROLE_REQUEST or OFPT_ROLE_REPLY.
type RoleMessage struct {
	Role       Role
	Generation uint64
}

// AppendRole appends a role request or a role reply, as t says.
func AppendRole(dst []byte, t MsgType, xid uint32, r RoleMessage) ([]byte, error) {
	start := len(dst)
	dst = zeros(u32(begin(dst, t, xid), uint32(r.Role)), 4)
	return end(u64(dst, r.Generation), start)
}

// DecodeRole reads a role request or a role reply, as t says.
func DecodeRole(b []byte, t MsgType) (RoleMessage, error) {
	_, p, err := message(b, t, 24)
	if err != nil {
		return RoleMessage{}, err
	}
	return RoleMessage{Role(binary.BigEndian.Uint32(p)), binary.BigEndian.Uint64(p[8:])}, nil
}

// AsyncConfig says which asynchronous messages a controller gets, one bit per
// reason (section 7.3.10). Index 0 is for master and equal, 1 for slave.
type AsyncConfig struct {
	PacketIn, PortStatus, FlowRemoved [2]uint32
}

// AppendSetAsync appends an OFPT_SET_ASYNC.
func AppendSetAsync(dst []byte, xid uint32, a AsyncConfig) ([]byte, error) {
	start := len(dst)
	dst = begin(dst, TypeSetAsync, xid)
	for _, m := range [...][2]uint32{a.PacketIn, a.PortStatus, a.FlowRemoved} {
		dst = u32(u32(dst, m[0]), m[1])
	}
	return end(dst, start)
}

// DecodeSetAsync reads an OFPT_SET_ASYNC.
func DecodeSetAsync(b []byte) (AsyncConfig, error) {
	_, p, err := message(b, TypeSetAsync, 32)
	if err != nil {
		return AsyncConfig{}, err
	}
	pair := func(at int) [2]uint32 {
		return [2]uint32{binary.BigEndian.Uint32(p[at:]), binary.BigEndian.Uint32(p[at+4:])}
	}
	return AsyncConfig{pair(0), pair(8), pair(16)}, nil
}

// PacketOut is an OFPT_PACKET_OUT with the packet in the message.
type PacketOut struct {
	InPort  uint32 // what the actions see as ingress port; flows.PortController for none
	Actions []flows.Action
	Data    []byte // the whole Ethernet frame
}

// AppendPacketOut appends an OFPT_PACKET_OUT.
func AppendPacketOut(dst []byte, xid uint32, m PacketOut) ([]byte, error) {
	start := len(dst)
	dst = u32(u32(begin(dst, TypePacketOut, xid), NoBuffer), m.InPort)
	dst = zeros(dst, 8) // length of the actions, padding
	at := len(dst)
	dst, err := appendActions(dst, m.Actions)
	if err != nil {
		return dst[:start], fmt.Errorf("packet-out: %w", err)
	}
	if n := len(dst) - at; n > MaxMessage {
		return dst[:start], &TooLongError{What: "packet-out's actions", Bytes: n}
	}
	binary.BigEndian.PutUint16(dst[at-8:], uint16(len(dst)-at))
	return end(append(dst, m.Data...), start)
}

// DecodePacketOut reads an OFPT_PACKET_OUT; a buffered packet is an error.
func DecodePacketOut(b []byte) (PacketOut, error) {
	_, p, err := message(b, TypePacketOut, 24)
	if err != nil {
		return PacketOut{}, err
	}
	if id := binary.BigEndian.Uint32(p); id != NoBuffer {
		return PacketOut{}, fmt.Errorf("packet-out: buffer 0x%x; packets are not buffered here", id)
	}
	n := int(binary.BigEndian.Uint16(p[8:]))
	if n > len(p)-16 {
		return PacketOut{}, fmt.Errorf("packet-out: %d bytes of actions, %d left", n, len(p)-16)
	}
	m := PacketOut{InPort: binary.BigEndian.Uint32(p[4:]), Data: slices.Clone(p[16+n:])}
	m.Actions, err = parseActions(p[16 : 16+n])
	return m, err
}
