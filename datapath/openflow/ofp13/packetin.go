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
	return d.Decode(b)
}

// PacketInDecoder is DecodePacketIn for a session, where packet-ins may be a million in a
// second: it keeps what it decodes in memory that is used again after Reset. The zero
// value is ready to use, by one goroutine.
type PacketInDecoder struct {
	data   []byte
	fields []flows.FieldMatch
}

// maxKept bounds the memory that a decoder keeps for later, in bytes of frames. The fields of
// as many packet-ins take about as much.
const maxKept = 64 << 10

// Reset makes the memory of all that has been decoded be used again.
func (d *PacketInDecoder) Reset() {
	if cap(d.data) > maxKept || cap(d.fields) > maxKept/64 {
		*d = PacketInDecoder{}
	}
	d.data, d.fields = d.data[:0], d.fields[:0]
}

// Decode reads an OFPT_PACKET_IN. What it returns is valid until Reset.
func (d *PacketInDecoder) Decode(b []byte) (PacketIn, error) {
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
	if in.Match, err = d.metadata(p[20 : 16+oxmEnd]); err != nil {
		return in, err
	}
	data := p[16+padded:]
	if len(data) < 2 {
		return in, fmt.Errorf("packet-in: %d bytes after the match, want at least 2", len(data))
	}
	at := len(d.data)
	d.data = append(d.data, data[2:]...)
	in.Data = d.data[at:len(d.data):len(d.data)]
	return in, nil
}

// metadata reads the match fields of a packet-in.
func (d *PacketInDecoder) metadata(b []byte) (flows.Match, error) {
	at := len(d.fields)
	for ; len(b) > 0; b = b[4+int(b[3]):] {
		if len(b) < 4 || len(b) < 4+int(b[3]) {
			return nil, fmt.Errorf("packet-in: %d bytes of a match field left", len(b))
		}
		switch e, _, err := parseOXM(b); {
		case err != nil:
		case e.Mask.IsZero() || len(d.fields) > at && e.Field <= d.fields[len(d.fields)-1].Field:
			d.fields = append(d.fields[:at], flows.Match(d.fields[at:]).WithMask(e.Field, e.Value, e.Mask)...)
		default: // in order, as from Open vSwitch
			d.fields = append(d.fields, e)
		}
	}
	return flows.Match(d.fields[at:len(d.fields):len(d.fields)]), nil
}
