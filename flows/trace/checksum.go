package trace

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// castagnoli is the polynomial of SCTP's checksum (RFC 4960 appendix B).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fold is the one's complement sum in 16 bits.
func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// amend16 corrects the Internet checksum at b[at:] for a word that changes from
// was to is (RFC 1624 equation 3).
func amend16(b []byte, at int, was, is uint16) {
	sum := uint32(^binary.BigEndian.Uint16(b[at:])) + uint32(^was) + uint32(is)
	binary.BigEndian.PutUint16(b[at:], ^fold(sum))
}

// amend is amend16 for a value of several words, most significant first.
func amend(b []byte, at int, was, is flows.Value) {
	for shift := uint(0); shift < 64; shift += 16 {
		amend16(b, at, uint16(was.Lo>>shift), uint16(is.Lo>>shift))
		amend16(b, at, uint16(was.Hi>>shift), uint16(is.Hi>>shift))
	}
}

// sum16 is the sum of b as 16-bit words, b zero-padded.
func sum16(sum uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

// transportChecksum is where the checksum of the whole transport header stands that
// covers the IP addresses (RFC 9293, 768 and 4443), -1 if it has none. ICMP and SCTP
// do not cover the addresses; a UDP checksum of 0 says that there is none.
func transportChecksum(b []byte, at layout) int {
	switch at.proto {
	case protoTCP:
		return at.l4 + 16
	case protoUDP:
		if be16(b[at.l4+6:]) != 0 {
			return at.l4 + 6
		}
	case protoICMPv6:
		return at.l4 + 2
	}
	return -1
}

// amendTransport corrects the transport checksum for a value that it covers.
func amendTransport(b []byte, at layout, was, is flows.Value) {
	c := transportChecksum(b, at)
	if c < 0 {
		return
	}
	amend(b, c, was, is)
	if at.proto == protoUDP && be16(b[c:]) == 0 {
		binary.BigEndian.PutUint16(b[c:], 0xffff)
	}
}

// amendSCTP sets the ports of an SCTP header, and its checksum to what differs from
// the right one by as much as before: an error of the sender stays one.
func amendSCTP(b []byte, src, dst uint16) {
	was := binary.LittleEndian.Uint32(b[8:])
	right := sctpChecksum(b)
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	binary.LittleEndian.PutUint32(b[8:], was^right^sctpChecksum(b))
}

// sctpChecksum is over the packet with a checksum of zero, as which it is left.
func sctpChecksum(b []byte) uint32 {
	clear(b[8:12])
	return crc32.Checksum(b, castagnoli)
}

// icmpv6Checksum computes the checksum of an ICMPv6 message anew (RFC 4443 section
// 2.3), as Open vSwitch does: behind extension headers it is wrong, since the length and the
// next header of the IPv6 header itself go into it.
func icmpv6Checksum(b []byte, at layout) {
	message := b[at.l4:at.end]
	clear(message[2:4])
	sum := sum16(0, b[at.ipv6+8:at.ipv6+40])
	sum += uint32(be16(b[at.ipv6+4:])) + uint32(b[at.ipv6+6])
	binary.BigEndian.PutUint16(message[2:], ^fold(sum16(sum, message)))
}
