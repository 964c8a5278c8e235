package ofp13

import (
	"encoding/binary"
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// DecodePacketIn reads an OFPT_PACKET_IN; the data is copied. A metadata field
// that is unknown is skipped, since the switch adds what it sees fit.
func DecodePacketIn(b []byte) (PacketIn, error) {
	var d PacketInDecoder
	return d.decode(b, 0, 0)
}

// PacketInDecoder is DecodePacketIn for a session, where packet-ins may be many: it allocates
// for dozens of them at once. What it returns is nobody else's and may be kept, but keeps
// up to packetInBlock bytes from being freed. The zero value is ready to use, by one goroutine.
type PacketInDecoder struct {
	data   []byte             // what is left of a block
	fields []flows.FieldMatch // likewise
}

// packetInBlock is how many bytes of frames are allocated at once, and fieldBlock how many match
// fields: about as many as there are frames of 60 bytes.
const (
	packetInBlock = 4096
	fieldBlock    = 64
)

// Decode reads an OFPT_PACKET_IN.
func (d *PacketInDecoder) Decode(b []byte) (PacketIn, error) {
	return d.decode(b, packetInBlock, fieldBlock)
}

// decode allocates blocks of so many bytes and match fields.
func (d *PacketInDecoder) decode(b []byte, bytes, fields int) (PacketIn, error) {
	_, p, err := message(b, TypePacketIn, 34)
	if err != nil {
		return PacketIn{}, err
	}
	in := PacketIn{
		TotalLen: binary.BigEndian.Uint16(p[4:]),
		Reason:   p[6],
		Table:    p[7],
		Cookie:   flows.Cookie(binary.BigEndian.Uint64(p[8:])),
	}
	padded, oxmEnd, err := matchLen(p[16:])
	if err != nil {
		return in, fmt.Errorf("packet-in: %w", err)
	}
	if in.Match, err = d.metadata(p[20:16+oxmEnd], fields); err != nil {
		return in, err
	}
	data := p[16+padded:]
	if len(data) < 2 {
		return in, fmt.Errorf("packet-in: %d bytes after the match, want at least 2", len(data))
	}
	in.Data = carve(&d.data, len(data)-2, bytes)
	copy(in.Data, data[2:])
	return in, nil
}

// metadata reads the match fields of a packet-in.
func (d *PacketInDecoder) metadata(b []byte, block int) (flows.Match, error) {
	n := 0
	for o := b; len(o) > 0; n++ {
		if len(o) < 4 || len(o) < 4+int(o[3]) {
			return nil, fmt.Errorf("packet-in: %d bytes of a match field left", len(o))
		}
		o = o[4+int(o[3]):]
	}
	if n == 0 {
		return nil, nil
	}
	m := flows.Match(carve(&d.fields, n, block))[:0]
	for o := b; len(o) > 0; o = o[4+int(o[3]):] {
		switch e, _, err := parseOXM(o); {
		case err != nil:
		case e.Mask.IsZero() || len(m) > 0 && e.Field <= m[len(m)-1].Field:
			m = m.WithMask(e.Field, e.Value, e.Mask)
		default: // in order, as from Open vSwitch
			m = append(m, e)
		}
	}
	return m, nil
}

// carve is a slice of n that is left of a block, or of a new block of that size where
// it is not large enough; what would take much of a block gets memory of its own.
func carve[T any](left *[]T, n, block int) []T {
	if n > block/4 {
		return make([]T, n)
	}
	if n > len(*left) {
		*left = make([]T, block)
	}
	s := (*left)[:n:n]
	*left = (*left)[n:]
	return s
}
