package ofp13

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// packetIn is an OFPT_PACKET_IN with these match fields, as they are.
func packetIn(fields, frame []byte) []byte {
	b := begin(nil, TypePacketIn, 1)
	b = u64(append(u16(u32(b, NoBuffer), uint16(len(frame))), 0, 0), 0)
	start := len(b)
	b = append(u16(u16(b, 1), uint16(4+len(fields))), fields...)
	b = append(zeros(pad8(b, start), 2), frame...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

// Metadata comes in any order, with fields that nobody here knows.
func TestPacketInMetadata(t *testing.T) {
	inPort := []byte{0x80, 0, 0, 4, 0, 0, 0, 7}
	again := []byte{0x80, 0, 0, 4, 0, 0, 0, 8}
	metadata := []byte{0x80, 0, 2 << 1, 8, 0, 0, 0, 0, 0, 0, 0, 9}
	unknown := []byte{0xff, 0xfe, 0x42, 2, 1, 1}
	number := func(n uint64) flows.Value { return flows.Value{Lo: n} }
	port, both := flows.Match{}.With(flows.InPort, number(7)), flows.Match{}.With(flows.InPort, number(7)).With(flows.Metadata, number(9))
	for name, c := range map[string]struct {
		fields [][]byte
		want   flows.Match
	}{
		"none":          {nil, nil},
		"one":           {[][]byte{inPort}, port},
		"in order":      {[][]byte{inPort, metadata}, both},
		"out of order":  {[][]byte{metadata, inPort}, both},
		"the last wins": {[][]byte{again, inPort}, port},
		"unknown":       {[][]byte{unknown, inPort, unknown}, port},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := DecodePacketIn(packetIn(bytes.Join(c.fields, nil), []byte("frame")))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]flows.FieldMatch(c.want), []flows.FieldMatch(in.Match)); diff != "" && len(c.want)+len(in.Match) > 0 {
				t.Error(diff)
			}
			if string(in.Data) != "frame" {
				t.Errorf("data %q", in.Data)
			}
		})
	}
}

// What a decoder has returned stays as it is until Reset, whatever comes after and whatever is
// done with it.
func TestPacketInDecoderSharesNothing(t *testing.T) {
	var d PacketInDecoder
	var ins []PacketIn
	var want [][]byte
	for n := range 300 {
		frame := bytes.Repeat([]byte{byte(n)}, 14+n*11)
		b := packetIn([]byte{0x80, 0, 0, 4, 0, 0, 1, byte(n)}, frame)
		in, err := d.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		clear(b)
		ins, want = append(ins, in), append(want, frame)
	}
	for _, in := range ins {
		_ = append(in.Data, "more"...)
		_ = append(in.Match, flows.FieldMatch{})
	}
	for n, in := range ins {
		if !bytes.Equal(in.Data, want[n]) || in.InPort() != uint32(256+n%256) {
			t.Fatalf("packet-in %d has changed: port %d, % x", n, in.InPort(), in.Data[:14])
		}
	}
	if d.Reset(); cap(d.data) > maxKept {
		t.Errorf("%d bytes are kept for later", cap(d.data))
	}
	b := packetIn([]byte{0x80, 0, 0, 4, 0, 0, 0, 1}, make([]byte, 60))
	if n := testing.AllocsPerRun(1000, func() { d.Reset(); d.Decode(b) }); n > 0 {
		t.Errorf("%v allocations for each packet-in", n)
	}
}
