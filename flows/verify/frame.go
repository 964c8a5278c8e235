package verify

import (
	"encoding/binary"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// defaults are what fields are where nothing asks for something else: a frame of an
// experimental Ethernet type (IEEE 802 section 9.2.4).
var defaults = map[flows.Field]uint64{
	flows.EthSrc: 0x02aaaaaaaaaa, flows.EthDst: 0x02bbbbbbbbbb, flows.EthType: 0x88b5,
	flows.IPTTL: 64, flows.IPProto: 253, flows.ARPOp: 1, flows.MPLSTTL: 64, flows.MPLSBOS: 1,
}

// values are the fields of a packet of a set.
type values struct {
	p    *program
	cube []tern
	free map[flows.Field]flows.Value
}

func (v *values) get(f flows.Field) flows.Value {
	d, ok := v.free[f]
	if !ok {
		d = flows.U(defaults[f])
	}
	s := v.p.slots[f]
	if s == noSlot {
		return d
	}
	t := v.cube[s]
	return t.v.Or(d.AndNot(t.m))
}

func (v *values) lo(f flows.Field) uint64 { return v.get(f).Lo }

// minimum is the length of an Ethernet frame without its checksum.
const minimum = 60

// frame is a frame with those fields.
func (v *values) frame() []byte {
	b := mac(mac(nil, v.lo(flows.EthDst)), v.lo(flows.EthSrc))
	if vid := v.lo(flows.VLANVID); vid&tagPresent != 0 {
		b = binary.BigEndian.AppendUint16(b, 0x8100)
		b = binary.BigEndian.AppendUint16(b, uint16(vid&vidBits|v.lo(flows.VLANPCP)<<13))
	}
	t := uint16(v.lo(flows.EthType))
	if t < 0x600 {
		b = append(b, 0, 46) // the length of what follows (IEEE 802.3)
	} else {
		b = binary.BigEndian.AppendUint16(b, t)
	}
	switch t {
	case 0x0806, 0x8035:
		b = v.arp(b)
	case 0x0800:
		b = v.ipv4(b)
	case 0x86dd:
		b = v.ipv6(b)
	case 0x8100, 0x88a8:
		// With a VLAN ID that nobody may carry (IEEE 802.1Q table 9-2).
		b = append(b, 0x0f, 0xff, 0x88, 0xb5)
	case 0x8847, 0x8848:
		b = binary.BigEndian.AppendUint32(b, uint32(v.lo(flows.MPLSLabel)<<12|v.lo(flows.MPLSTC)<<9|v.lo(flows.MPLSBOS)<<8|v.lo(flows.MPLSTTL)))
	}
	for len(b) < minimum {
		b = append(b, 0)
	}
	return b
}

func mac(b []byte, v uint64) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(v>>32))
	return binary.BigEndian.AppendUint32(b, uint32(v))
}

func (v *values) arp(b []byte) []byte {
	b = append(b, 0, 1, 8, 0, 6, 4)
	b = binary.BigEndian.AppendUint16(b, uint16(v.lo(flows.ARPOp)))
	b = binary.BigEndian.AppendUint32(mac(b, v.lo(flows.ARPSHA)), uint32(v.lo(flows.ARPSPA)))
	return binary.BigEndian.AppendUint32(mac(b, v.lo(flows.ARPTHA)), uint32(v.lo(flows.ARPTPA)))
}

func (v *values) ipv4(b []byte) []byte {
	payload := v.transport(uint8(v.lo(flows.IPProto)))
	h := make([]byte, 20)
	h[0] = 0x45
	h[1] = byte(v.lo(flows.IPDSCP)<<2 | v.lo(flows.IPECN))
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	switch v.lo(flows.IPFrag) & 3 {
	case 1:
		h[6] = 0x20 // more fragments
	case 2, 3:
		h[7] = 64
	}
	h[8], h[9] = byte(v.lo(flows.IPTTL)), byte(v.lo(flows.IPProto))
	binary.BigEndian.PutUint32(h[12:], uint32(v.lo(flows.IPv4Src)))
	binary.BigEndian.PutUint32(h[16:], uint32(v.lo(flows.IPv4Dst)))
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(h[10:], ^uint16(sum&0xffff+sum>>16))
	return append(append(b, h...), payload...)
}

func (v *values) ipv6(b []byte) []byte {
	payload := v.transport(uint8(v.lo(flows.IPProto)))
	b = binary.BigEndian.AppendUint32(b, uint32(6<<28|v.lo(flows.IPDSCP)<<22|v.lo(flows.IPECN)<<20|v.lo(flows.IPv6Label)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	b = append(b, byte(v.lo(flows.IPProto)), byte(v.lo(flows.IPTTL)))
	for _, f := range [...]flows.Field{flows.IPv6Src, flows.IPv6Dst} {
		b = binary.BigEndian.AppendUint64(b, v.get(f).Hi)
		b = binary.BigEndian.AppendUint64(b, v.get(f).Lo)
	}
	return append(b, payload...)
}

// transport is a header of a transport protocol, with a checksum of 0, which no
// switch looks at.
func (v *values) transport(proto uint8) []byte {
	ports := func(src, dst flows.Field, n int) []byte {
		b := make([]byte, n)
		binary.BigEndian.PutUint16(b, uint16(v.lo(src)))
		binary.BigEndian.PutUint16(b[2:], uint16(v.lo(dst)))
		return b
	}
	switch proto {
	case 6:
		b := ports(flows.TCPSrc, flows.TCPDst, 20)
		binary.BigEndian.PutUint16(b[12:], uint16(5<<12|v.lo(flows.TCPFlags)))
		return b
	case 17:
		b := ports(flows.UDPSrc, flows.UDPDst, 8)
		b[5] = 8
		return b
	case 132:
		return ports(flows.SCTPSrc, flows.SCTPDst, 12)
	case 1:
		return []byte{byte(v.lo(flows.ICMPType)), byte(v.lo(flows.ICMPCode)), 0, 0, 0, 0, 0, 0}
	case 58:
		return v.icmpv6()
	}
	return nil
}

func (v *values) icmpv6() []byte {
	b := []byte{byte(v.lo(flows.ICMPv6Type)), byte(v.lo(flows.ICMPv6Code)), 0, 0}
	b = binary.BigEndian.AppendUint32(b, uint32(v.lo(flows.NDReserved)))
	if b[0] != 135 && b[0] != 136 {
		return b
	}
	b = binary.BigEndian.AppendUint64(b, v.get(flows.NDTarget).Hi)
	b = binary.BigEndian.AppendUint64(b, v.get(flows.NDTarget).Lo)
	// The option of a solicitation is the source's address, that of an advertisement
	// the target's (RFC 4861 section 4.6.1).
	f, kind := flows.NDSLL, byte(1)
	if b[0] == 136 {
		f, kind = flows.NDTLL, 2
	}
	if a := v.lo(f); a != 0 {
		b = mac(append(b, kind, 1), a)
	}
	return b
}
