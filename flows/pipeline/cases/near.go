package cases

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// pools are what packets near the declared ones are changed with.
type pools struct {
	macs   []topo.MAC
	vlans  []uint16
	places []Packet // without frames
}

func (b *builder) pools() pools {
	p := pools{macs: append(b.macs, broadcast, multicast, zero, nobodys,
		topo.MAC{0x01, 0x80, 0xc2, 0, 0, 0x0e}, topo.MAC{0x01, 0x80, 0xc2, 0, 0, 0}, topo.MAC{0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcc})}
	p.vlans = []uint16{0, 1, 4095}
	for _, n := range b.nets {
		for _, m := range n.members {
			if m.vlan != 0 && !slices.Contains(p.vlans, m.vlan) {
				p.vlans = append(p.vlans, m.vlan)
			}
		}
	}
	for _, c := range b.cases {
		at := c.Packet
		at.Frame = nil
		p.places = append(p.places, at)
	}
	return p
}

// Near is a packet that differs in a few things from a declared one: where it comes
// from, its addresses, its tags, what it says, how long it is. Nobody has declared
// what becomes of it. The overlay has cases.
func (o *Overlay) Near(r *rand.Rand) Packet {
	p := o.Cases[r.IntN(len(o.Cases))].Packet
	p.Frame = slices.Clone(p.Frame)
	for range 1 + r.IntN(3) {
		o.change(r, &p)
	}
	return p
}

// change changes one thing. What a frame is too short for stays as it is.
func (o *Overlay) change(r *rand.Rand, p *Packet) {
	payload := 14
	if isTagged(p.Frame) {
		payload = 18
	}
	put := func(at int, b ...byte) {
		if at+len(b) <= len(p.Frame) {
			copy(p.Frame[at:], b)
		}
	}
	mac := pick(r, o.macs...)
	ip4 := []byte{10, 1, 1, byte(r.IntN(8))}
	switch r.IntN(14) {
	case 0:
		frame := p.Frame
		*p = pick(r, o.places...)
		p.Frame = frame
	case 1:
		put(0, mac[:]...)
	case 2:
		put(6, mac[:]...)
	case 3:
		p.Frame = push(pick[uint16](r, tagC, tagC, tagS), pick(r, o.vlans...), uint16(r.IntN(8)), p.Frame)
	case 4:
		p.Frame = untag(p.Frame)
	case 5:
		if isTagged(p.Frame) { // priority, DEI and VLAN ID
			put(tagAt+2, binary.BigEndian.AppendUint16(nil, uint16(r.Uint32())&0xf000|pick(r, o.vlans...))...)
		}
	case 6:
		put(payload-2, binary.BigEndian.AppendUint16(nil, pick[uint16](r, 0x0800, 0x0806, 0x8035, 0x86dd, 0x88cc, 0x8809, 0x8808, 0x888e, 46, experimental))...)
	case 7: // ARP: operation, sender, target
		put(payload+7, byte(r.IntN(4)))
		put(payload+8, mac[:]...)
	case 8:
		put(payload+pick(r, 14, 24), ip4...)
	case 9: // IPv4
		put(payload+pick(r, 12, 16), ip4...)
	case 10: // IPv6, and what ND says behind it
		put(payload+pick(r, 6, 20, 23, 40, 41, 60, 63), byte(r.IntN(256)))
	case 11:
		at := r.IntN(len(p.Frame))
		p.Frame[at] ^= 1 << r.IntN(8)
	case 12:
		p.Frame = p.Frame[:14+r.IntN(len(p.Frame)-13)]
	case 13:
		if p.Tunnel != nil {
			o.changeTunnel(r, p)
		}
	}
}

// changeTunnel makes it come under the key or from the endpoint of another packet.
func (o *Overlay) changeTunnel(r *rand.Rand, p *Packet) {
	t := *p.Tunnel
	p.Tunnel = &t
	if other := pick(r, o.places...).Tunnel; other != nil && r.IntN(2) == 0 {
		t.Key = other.Key
	} else if other != nil {
		t.Src = other.Src
	}
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }
