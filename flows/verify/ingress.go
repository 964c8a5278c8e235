package verify

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// nobody is the network of what is in none.
const nobody int32 = -1

// tagTypes are the Ethernet types of tags (IEEE 802.1Q table 9-1).
var tagTypes = [...]uint64{0x8100, 0x88a8}

// hasTag is a VLANVID of packets with a tag.
var hasTag = tern{flows.U(tagPresent), flows.U(tagPresent)}

// place is what a port carries.
type place struct {
	port  *Port
	vlans map[uint16]int32 // VLAN ID → network
	wire  bool
	whole int32 // the network of a wire
}

// network is the network of frames with a VLAN ID (0: without) on the port.
func (p *place) network(vlan uint16) int32 {
	if p.wire {
		return p.whole
	}
	if n, ok := p.vlans[vlan]; ok {
		return n
	}
	return nobody
}

// site is a host as it was declared.
type site struct {
	h       *Host
	places  map[uint32]*place
	tunnels map[uint32]*Tunnel
}

// newSite also reports where the declaration contradicts itself.
func (v *verifier) newSite(h *Host) (*site, []Violation) {
	s := &site{h: h, places: map[uint32]*place{}, tunnels: map[uint32]*Tunnel{}}
	var bad []Violation
	for i := range h.Tunnels {
		s.tunnels[h.Tunnels[i].Number] = &h.Tunnels[i]
	}
	for i := range h.Ports {
		p := &h.Ports[i]
		at := &place{port: p, vlans: map[uint16]int32{}, whole: nobody}
		if s.places[p.Number] != nil || s.tunnels[p.Number] != nil {
			bad = append(bad, Violation{Kind: Membership, Host: h.Name, From: p.Name, What: fmt.Sprintf("port %d is declared twice", p.Number)})
		}
		s.places[p.Number] = at
		for _, m := range p.Members {
			n := v.byName(m.Network)
			was, twice := at.vlans[m.VLAN]
			if (twice && was != n) || at.wire {
				bad = append(bad, Violation{Kind: Membership, Host: h.Name, From: p.Name,
					What: fmt.Sprintf("VLAN %d of port %s is declared to be in two networks", m.VLAN, p.Name)})
			}
			at.vlans[m.VLAN] = n
			if m.Wire {
				at.wire, at.whole = true, n
			}
		}
	}
	if s.places[flows.PortLocal] == nil {
		s.places[flows.PortLocal] = &place{port: &Port{Number: flows.PortLocal, Name: "LOCAL"}, whole: nobody}
	}
	return s, bad
}

// ingresses are all sets of packets that may come into a switch, apart by what they
// belong to.
func (v *verifier) ingresses(x *explorer, s *site) {
	zero := state{at: make([]tern, len(x.p.fields))}
	for i, f := range x.p.fields {
		// The mark of a packet comes along from another bridge, by a patch port.
		if f < flows.EthDst && f != flows.PktMark {
			zero.at[i] = tern{m: f.FullMask()}
		}
	}
	in := builder{x: x, zero: zero}
	for i := range s.h.Ports {
		in.port(s.places[s.h.Ports[i].Number])
	}
	if local := s.places[flows.PortLocal]; local.port.Name == "LOCAL" && len(local.vlans) == 0 {
		in.port(local)
	}
	keys := x.p.keys()
	for i := range s.h.Tunnels {
		t := &s.h.Tunnels[i]
		var known []uint64
		for _, k := range keys {
			if n, ok := v.byKey[tunnelKey{t.Encap, k}]; ok {
				known = append(known, k)
				in.tunnel(t, k, n)
			}
		}
		in.otherKeys(t, known)
	}
}

// keys are the tunnel keys that flows match, ascending.
func (p *program) keys() []uint64 {
	s := p.slots[flows.TunID]
	var keys []uint64
	for _, t := range p.tables {
		if t == nil {
			continue
		}
		for i := range t.rows {
			if k, ok := t.rows[i].exactly(s, flows.TunID); ok {
				keys = append(keys, k)
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// builder makes the ingresses of a switch.
type builder struct {
	x       *explorer
	zero    state
	excepts []*except // each with other values
	index   interner
}

// add adds packets, and those among them that have a second tag by themselves: when the
// first one is taken off, they leave with a VLAN ID that no lookup has seen.
func (b *builder) add(g ingress) {
	b.x.enter(g)
	vid, kind := b.x.p.slots[flows.VLANVID], b.x.p.slots[flows.EthType]
	if !g.state.at[vid].agrees(hasTag) {
		return
	}
	for _, t := range tagTypes {
		two := g
		two.name += ", above another tag"
		two.state.at = b.x.terns.keep(g.state.at)
		two.state.at[vid] = g.state.at[vid].and(hasTag)
		two.state.at[kind] = tern{flows.U(t), flows.EthType.FullMask()}
		two.state.flags |= nested
		b.x.enter(two)
	}
}

// known is the state of packets that come in by a port.
func (b *builder) known(port uint32) state {
	st := b.zero
	st.at = b.x.terns.keep(b.zero.at)
	st.at[b.x.p.slots[flows.InPort]] = tern{flows.U(uint64(port)), flows.InPort.FullMask()}
	return st
}

// but is st without values of a slot, which are ascending.
func (b *builder) but(st state, s slot, values []uint64) state {
	h := uint64(s)
	for _, v := range values {
		h = hash(h, flows.U(v))
	}
	n, fresh := b.index.number(h, func(n int32) bool {
		return b.excepts[n].slot == s && slices.Equal(b.excepts[n].values, values)
	})
	if fresh {
		b.excepts = append(b.excepts, &except{slot: s, bits: b.x.p.fields[s].Bits(), values: values, id: uint32(n + 1)})
	}
	st.except = b.excepts[n]
	return st
}

func (b *builder) port(p *place) {
	n := p.port.Number
	vid, pcp := b.x.p.slots[flows.VLANVID], b.x.p.slots[flows.VLANPCP]
	st := b.known(n)
	st.at[vid], st.at[pcp] = tern{m: flows.VLANVID.FullMask()}, tern{m: flows.VLANPCP.FullMask()}
	b.add(ingress{name: p.port.Name + ", untagged", port: n, network: p.network(0), state: st})
	vlans := append(make([]uint16, 0, 1+len(p.vlans)), 0)
	for v := range p.vlans {
		if v != 0 {
			vlans = append(vlans, v)
		}
	}
	slices.Sort(vlans)
	tags := make([]uint64, len(vlans))
	for i, v := range vlans {
		tags[i] = tagPresent | uint64(v)
		st := b.known(n)
		st.at[vid] = tern{flows.U(tags[i]), flows.VLANVID.FullMask()}
		b.add(ingress{name: p.port.Name + ", VLAN " + strconv.Itoa(int(v)), port: n, vlan: int(v), network: p.network(v), state: st})
	}
	st = b.known(n)
	st.at[vid] = tern{flows.U(tagPresent), flows.U(tagPresent)}
	other := nobody
	if p.wire {
		other = p.whole
	}
	b.add(ingress{name: p.port.Name + ", any other VLAN", port: n, vlan: -1, network: other, state: b.but(st, vid, tags)})
}

func (b *builder) arrives(t *Tunnel) state {
	st := b.known(t.Number)
	for _, f := range [...]flows.Field{flows.TunIPv4Src, flows.TunIPv6Src, flows.TunIPv4Dst, flows.TunIPv6Dst} {
		st.at[b.x.p.slots[f]] = tern{}
	}
	return st
}

func (b *builder) tunnel(t *Tunnel, key uint64, network int32) {
	st := b.arrives(t)
	st.at[b.x.p.slots[flows.TunID]] = tern{flows.U(key), flows.TunID.FullMask()}
	b.add(ingress{name: fmt.Sprintf("%s, key %d", t.Name, key), port: t.Number, key: &key, tunnel: true, network: network, state: st})
}

func (b *builder) otherKeys(t *Tunnel, known []uint64) {
	st, id := b.arrives(t), b.x.p.slots[flows.TunID]
	st.at[id] = tern{}
	b.add(ingress{name: t.Name + ", a key of no network here", port: t.Number, tunnel: true, network: nobody, state: b.but(st, id, known)})
}
