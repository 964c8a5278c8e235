package fleet

import (
	"bytes"
	"encoding/binary"
)

// The parts of OpenFlow 1.3 that the load consists of (sections A.1, A.3.7 and A.4.1), written
// down by hand and on purpose not the project's codec: the load must not depend on what is
// measured with it.
const (
	version  = 4
	noBuffer = 0xffffffff

	typePacketIn  = 10
	typePacketOut = 13

	portTable  = 0xfffffff9
	portNormal = 0xfffffffa
	portFlood  = 0xfffffffb
	portAll    = 0xfffffffc

	headerLen    = 8
	packetInLen  = headerLen + 16 + 16 + 2 // without the frame: fixed part, match of in_port, padding
	packetOutLen = headerLen + 16          // without actions and frame
)

// A frame is 60 bytes, the shortest there is: Ethernet, IPv4, UDP without a checksum, so that
// the numbers in its payload change nothing else.
const (
	frameLen  = 60
	tagAt     = 42 // four letters
	slotAt    = 46 // 32 bit
	seqAt     = 50 // 64 bit
	seqEnd    = 58
	frameTag  = "oflb"
	etherIPv4 = 0x0800
)

// packet is one of the frames that a switch sends over and over, as a packet-in in which only
// slot and seq are missing.
type packet struct {
	in   [packetInLen + frameLen]byte
	port uint32 // where the frame comes in
	dst  uint32 // the port of its destination
}

func (p *packet) frame() []byte { return p.in[packetInLen:] }

// packets are those of switch number sw: each of the hosts sends to the one half round the circle
// and one further, which is always on another port.
func packets(sw, hosts, ports int) []packet {
	ps := make([]packet, hosts)
	for src := range ps {
		dst := (src + hosts/2 + 1) % hosts
		p := &ps[src]
		p.port, p.dst = uint32(src%ports+1), uint32(dst%ports+1)
		be := binary.BigEndian
		b := p.in[:0]
		b = append(b, version, typePacketIn)
		b = be.AppendUint16(b, uint16(len(p.in)))
		b = be.AppendUint32(b, 0) // xid
		b = be.AppendUint32(b, noBuffer)
		b = be.AppendUint16(b, frameLen)
		b = append(b, 0, 0)          // OFPR_NO_MATCH, table 0
		b = be.AppendUint64(b, 0)    // cookie of the table-miss flow
		b = be.AppendUint16(b, 1)    // OFPMT_OXM
		b = be.AppendUint16(b, 12)   // without padding
		b = append(b, 0x80, 0, 0, 4) // in_port
		b = be.AppendUint32(b, p.port)
		b = append(b, 0, 0, 0, 0, 0, 0)

		b = append(b, mac(sw, dst)...)
		b = append(b, mac(sw, src)...)
		b = be.AppendUint16(b, etherIPv4)
		ip := len(b)
		b = append(b, 0x45, 0)
		b = be.AppendUint16(b, frameLen-14)
		b = append(b, 0, 0, 0, 0, 64, 17, 0, 0)
		b = append(b, 10, byte(sw), byte(src>>8), byte(src))
		b = append(b, 10, byte(sw), byte(dst>>8), byte(dst))
		be.PutUint16(b[ip+10:], checksum(b[ip:]))
		b = be.AppendUint16(b, uint16(1024+src))
		b = be.AppendUint16(b, 9) // discard
		b = be.AppendUint16(b, frameLen-34)
		b = be.AppendUint16(b, 0)
		copy(b[len(b):cap(b)], frameTag)
	}
	return ps
}

// mac is the locally administered address of a host of a switch.
func mac(sw, host int) []byte {
	return []byte{0x02, 0, byte(sw >> 8), byte(sw), byte(host >> 8), byte(host)}
}

// checksum is that of an IPv4 header (RFC 791) whose own field is zero.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// appendPacketIn appends p with its numbers.
func appendPacketIn(b []byte, p *packet, slot uint32, seq uint64) []byte {
	at := len(b) + packetInLen
	b = append(b, p.in[:]...)
	binary.BigEndian.PutUint32(b[at+slotAt:], slot)
	binary.BigEndian.PutUint64(b[at+seqAt:], seq)
	return b
}

// packetOut is what matters of an OFPT_PACKET_OUT.
type packetOut struct {
	inPort  uint32
	actions []byte
	frame   []byte
}

// parsePacketOut takes a whole message apart; false if it contradicts itself or names a
// buffer, of which there are none.
func parsePacketOut(b []byte) (packetOut, bool) {
	if len(b) < packetOutLen || binary.BigEndian.Uint32(b[8:]) != noBuffer {
		return packetOut{}, false
	}
	end := packetOutLen + int(binary.BigEndian.Uint16(b[16:]))
	if end > len(b) {
		return packetOut{}, false
	}
	return packetOut{binary.BigEndian.Uint32(b[12:]), b[packetOutLen:end], b[end:]}, true
}

// numbers reads slot and seq of a frame that may be one of ours.
func numbers(frame []byte) (slot uint32, seq uint64, ok bool) {
	if len(frame) != frameLen || string(frame[tagAt:slotAt]) != frameTag {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(frame[slotAt:]), binary.BigEndian.Uint64(frame[seqAt:]), true
}

// verdict is what an answer does with its frame.
type verdict int

const (
	wrong    verdict = iota
	directed         // to the destination's port and no other
	spread           // to several, or wherever the switch thinks
)

// judge says whether o is a right answer to p, whose numbers it carries.
func judge(o packetOut, p *packet) verdict {
	sent := p.frame()
	if o.inPort != p.port || !bytes.Equal(o.frame[:slotAt], sent[:slotAt]) || !bytes.Equal(o.frame[seqEnd:], sent[seqEnd:]) {
		return wrong
	}
	outputs, arrives, several := 0, false, false
	for a := o.actions; len(a) > 0; {
		if len(a) < 8 {
			return wrong
		}
		n := int(binary.BigEndian.Uint16(a[2:]))
		if n < 8 || n > len(a) {
			return wrong
		}
		if binary.BigEndian.Uint16(a) == 0 { // OFPAT_OUTPUT
			if n < 16 {
				return wrong
			}
			outputs++
			switch port := binary.BigEndian.Uint32(a[4:]); port {
			case portTable, portNormal, portFlood, portAll:
				arrives, several = true, true
			case p.dst:
				arrives = true
			}
		}
		a = a[n:]
	}
	switch {
	case !arrives:
		return wrong
	case several || outputs > 1:
		return spread
	}
	return directed
}
