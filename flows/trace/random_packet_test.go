package trace

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// gen makes random packets, flows and groups. Values come from small pools, so that
// flows meet packets.
type gen struct {
	*rand.Rand
	// selects says that groups may be of type select, which ofproto/trace does not
	// follow beyond the hash.
	selects bool
}

func newGen(seed uint64) gen { return gen{Rand: rand.New(rand.NewPCG(seed, 0))} }

func (g gen) oneIn(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g gen, of ...T) T { return of[g.IntN(len(of))] }

func (g gen) mac() []byte {
	return pick(g, []byte{2, 0, 0, 0, 0, 1}, []byte{2, 0, 0, 0, 0, 2}, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		[]byte{1, 0, 0x5e, 0, 0, 5}, []byte{0x33, 0x33, 0, 0, 0, 1}, []byte{1, 0x80, 0xc2, 0, 0, 0x0e})
}

func (g gen) ip4() []byte {
	return pick(g, []byte{10, 1, 1, 1}, []byte{10, 1, 1, 2}, []byte{10, 1, 2, 1}, []byte{255, 255, 255, 255}, []byte{224, 0, 0, 5}, []byte{0, 0, 0, 0})
}

func (g gen) ip6() []byte {
	b := make([]byte, 16)
	b[0], b[1], b[15] = 0xfd, pick[byte](g, 0, 1), pick[byte](g, 1, 2, 3)
	if g.oneIn(4) {
		b[0], b[1] = pick[byte](g, 0xff, 0xfe), pick[byte](g, 2, 0x80)
	}
	return b
}

func (g gen) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

func cat(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func u16b(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }

// frame is an Ethernet frame, mostly a sound one.
func (g gen) frame() []byte {
	b := cat(g.mac(), g.mac())
	for range pick(g, 0, 0, 0, 1, 1, 2, 3) {
		b = cat(b, u16b(pick(g, 0x8100, 0x8100, 0x88a8)), u16b(pick(g, 10, 20, 0, 4095)|pick(g, 0, 0, 3<<13)|pick(g, 0, 0, 0, 1<<12)))
	}
	etherType, payload := g.l3()
	switch g.IntN(16) {
	case 0:
		b = cat(b, u16b(8+len(payload)), []byte{0xaa, 0xaa, 3, 0, 0, 0}, u16b(etherType), payload)
	case 1:
		b = cat(b, u16b(len(payload)), []byte{0x42, 0x42, 3}, payload) // spanning tree's LLC
	case 2: // SNAP of somebody else's, and with a type that is a length
		b = cat(b, u16b(8+len(payload)), []byte{0xaa, 0xaa, 3, 0, 0, pick[byte](g, 0, 0x0c)}, u16b(pick(g, etherType, 5)), payload)
	default:
		b = cat(b, u16b(etherType), payload)
	}
	if g.oneIn(6) { // link-layer padding
		b = cat(b, g.bytes(g.IntN(30)))
	}
	if g.oneIn(8) && len(b) > 14 {
		b = b[:14+g.IntN(len(b)-14)]
	}
	if g.oneIn(10) {
		b[12+g.IntN(len(b)-12)] ^= byte(1 << g.IntN(8))
	}
	return b
}

func (g gen) l3() (etherType int, payload []byte) {
	switch g.IntN(16) {
	case 0, 1:
		op := pick(g, 1, 2, 3, 0, 256, 300)
		return pick(g, 0x0806, 0x0806, 0x8035), cat([]byte{0, 1, 8, 0, 6, 4}, u16b(op), g.mac(), g.ip4(), g.mac(), g.ip4())
	case 2: // LLDP, LACP, EAPOL, PPPoE, NSH, Fibre Channel, a tag, what is no type, any
		return pick(g, 0x88cc, 0x8809, 0x888e, 0x8863, 0x8864, 0x894f, 0x8906, 0x8100, 0x88a8, 0x05ff, 0x0600, 0x0000, g.IntN(1<<16)), g.bytes(g.IntN(60))
	case 3:
		return g.mpls()
	case 4: // nothing behind the type
		return pick(g, 0x0800, 0x86dd, 0x0806, 0x8847, 0x88cc), nil
	case 5, 6, 7, 8, 9:
		return 0x86dd, g.ipv6()
	case 10:
		if g.oneIn(4) { // a jumbo frame
			return 0x0800, g.ipv4of(17, cat(g.port(), g.port(), u16b(8+8000), []byte{0, 0}, g.bytes(pick(g, 1500, 8000))))
		}
	}
	return 0x0800, g.ipv4(g.IntN(5))
}

// mpls is a label stack of one to five entries, most of them with a bottom, over something.
func (g gen) mpls() (etherType int, payload []byte) {
	n := 1 + g.IntN(pick(g, 2, 3, 5))
	for i := range n {
		lse := uint32(pick(g, 0, 2, 16, 1000, 0xfffff))<<12 | uint32(g.IntN(8))<<9 | pick[uint32](g, 64, 2, 1, 0, 255)
		if i == n-1 && !g.oneIn(6) || g.oneIn(20) {
			lse |= lseBottom
		}
		payload = binary.BigEndian.AppendUint32(payload, lse)
	}
	switch g.IntN(3) {
	case 0:
		payload = cat(payload, g.ipv4(g.IntN(5)))
	case 1:
		payload = cat(payload, g.ipv6())
	default:
		payload = cat(payload, g.bytes(g.IntN(30)))
	}
	return pick(g, 0x8847, 0x8847, 0x8848), payload
}

func (g gen) ipv4(transport int) []byte {
	proto, l4 := g.transport(transport)
	return g.ipv4of(proto, l4)
}

func (g gen) ipv4of(proto byte, l4 []byte) []byte {
	options := g.bytes(4 * pick(g, 0, 0, 0, 0, 1, 3))
	frag := 0
	if g.oneIn(4) {
		frag = pick(g, 0x2000, 0x4000, 0x2005, 0x0005, 0x8000, 0x1fff)
	}
	b := cat([]byte{byte(0x45 + len(options)/4), byte(pick(g, 0, 0x28, 3, 0xff))}, u16b(20+len(options)+len(l4)), []byte{0, 7},
		u16b(frag), []byte{byte(pick(g, 64, 64, 2, 1, 0, 255)), proto, 0, 0}, g.ip4(), g.ip4(), options)
	binary.BigEndian.PutUint16(b[10:], ^fold(sum16(0, b)))
	if g.oneIn(15) {
		binary.BigEndian.PutUint16(b[2:], uint16(g.IntN(2*(len(b)+len(l4)))))
	}
	if g.oneIn(20) {
		b[0] = byte(g.IntN(256))
	}
	return cat(b, l4)
}

func (g gen) ipv6() []byte {
	proto, l4 := g.transport(4 + g.IntN(6))
	for range pick(g, 0, 0, 0, 1, 2) {
		kind := pick[byte](g, 0, 43, 44, 51, 60)
		var h []byte
		switch kind {
		case 44:
			h = cat([]byte{proto, 0}, u16b(pick(g, 0, 0, 1, 8, 9, 0xfff8, 2)), []byte{0, 0, 0, 7})
		case 51:
			h = cat([]byte{proto, 2}, g.bytes(14))
		case 43:
			h = cat([]byte{proto, 2, pick[byte](g, 0, 0, 2, 4), pick[byte](g, 0, 1)}, make([]byte, 4), g.ip6())
		default:
			h = cat([]byte{proto, pick[byte](g, 0, 0, 1)}, g.bytes(6))
			h = cat(h, make([]byte, 8*int(h[1])))
		}
		proto, l4 = kind, cat(h, l4)
	}
	n := len(l4)
	if g.oneIn(15) {
		n = g.IntN(2*n + 1)
	}
	word := binary.BigEndian.AppendUint32(nil, 6<<28|uint32(pick(g, 0, 0xb8, 3))<<20|pick[uint32](g, 0, 5, 0xfffff))
	return cat(word, u16b(n), []byte{proto, byte(pick(g, 64, 255, 1, 0))}, g.ip6(), g.ip6(), l4)
}

func (g gen) port() []byte { return u16b(pick(g, 53, 67, 80, 0, 65535)) }

func (g gen) transport(kind int) (proto byte, l4 []byte) {
	data := g.bytes(g.IntN(24))
	switch kind {
	case 0, 5:
		options := g.bytes(4 * pick(g, 0, 0, 0, 2))
		offset := byte(0x50 + 0x10*len(options)/4)
		if g.oneIn(10) {
			offset = byte(g.IntN(256))
		}
		return 6, cat(g.port(), g.port(), g.bytes(8), []byte{offset | pick[byte](g, 0, 1), pick[byte](g, 2, 0x12, 0x10, 0xff)}, g.bytes(6), options, data)
	case 1, 6:
		sum := g.bytes(2)
		if g.oneIn(3) {
			sum = []byte{0, 0}
		}
		n := 8 + len(data)
		if g.oneIn(8) { // that is not the length
			n = g.IntN(60)
		}
		return 17, cat(g.port(), g.port(), u16b(n), sum, data)
	case 2:
		return 132, cat(g.port(), g.port(), g.bytes(8), data)
	case 3:
		kind := pick[byte](g, 8, 0, 3, 5, 11, 13)
		if kind == 3 || kind == 11 { // an error quotes a packet, or its beginning
			data = g.ipv4(g.IntN(3))
			data = data[:min(len(data), pick(g, 28, 20, 8, 100))]
		}
		return 1, cat([]byte{kind, pick[byte](g, 0, 1, 4)}, g.bytes(6), data)
	case 4:
		if g.oneIn(3) { // IGMP, versions 2 and 3
			return 2, cat([]byte{pick[byte](g, 0x11, 0x16, 0x22), 0}, g.bytes(2), g.ip4(), data)
		}
		return pick[byte](g, 2, 47, 89, 4, 41, 59, 132), data
	}
	kind6 := pick[byte](g, 135, 136, 135, 136, 128, 1, 2, 143)
	if (kind6 == 1 || kind6 == 2) && g.oneIn(2) { // an error quotes a packet
		data = cat(make([]byte, 4), binary.BigEndian.AppendUint32(nil, 6<<28), u16b(8), []byte{17, 64}, g.ip6(), g.ip6(), g.port(), g.port(), u16b(8), g.bytes(2))
	}
	b := cat([]byte{kind6, pick[byte](g, 0, 0, 0, 0, 1)}, g.bytes(2), pick(g, []byte{0, 0, 0, 0}, []byte{0xe0, 0, 0, 0}, []byte{0x40, 0, 0, 1}))
	if kind6 == 135 || kind6 == 136 {
		b = cat(b, g.ip6())
		for range pick(g, 0, 1, 1, 1, 2) {
			b = cat(b, []byte{pick[byte](g, 1, 2, 14, 3, 5, 25), pick[byte](g, 1, 1, 1, 1, 2, 0)}, g.mac())
			if b[len(b)-7] == 2 {
				b = cat(b, make([]byte, 8))
			}
		}
		if g.oneIn(8) {
			b = cat(b, g.bytes(3))
		}
		return 58, b
	}
	return 58, cat(b, data)
}

// packet is a frame with where it comes from.
func (g gen) packet() *Packet {
	in := pick[uint32](g, 1, 2, 3, 4, 101, 102, 103, 0xfffffffe)
	p, err := NewPacket(in, g.frame())
	if err != nil {
		panic(err)
	}
	if 101 <= in && in <= 103 {
		p.u(flows.TunID, pick[uint64](g, 1000001, 7, 0))
		if g.oneIn(5) {
			p.fields[flows.TunIPv6Src] = be128(g.tep6())
			p.fields[flows.TunIPv6Dst] = be128(g.tep6())
		} else {
			p.u(flows.TunIPv4Src, be32(g.tep4()))
			p.u(flows.TunIPv4Dst, be32(g.tep4()))
		}
	}
	return p
}

func (g gen) tep4() []byte { return []byte{192, 168, 200, pick[byte](g, 20, 21, 22)} }

func (g gen) tep6() []byte {
	return cat([]byte{0xfd, 9}, make([]byte, 13), []byte{pick[byte](g, 20, 21)})
}

// asInput is the packet as the two arguments of ofproto/trace.
func (p *Packet) asInput() (flow, frame string) {
	var b strings.Builder
	fmt.Fprintf(&b, "in_port=%d", uint16(p.InPort()))
	for f := flows.PktMark; f <= flows.TunIPv6Dst; f++ {
		if v := p.fields[f]; !v.IsZero() {
			b.WriteString("," + flows.Match{{Field: f, Value: v, Mask: f.FullMask()}}.String())
		}
	}
	return b.String(), fmt.Sprintf("%x", p.frame)
}
