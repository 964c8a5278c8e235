package cases

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
)

// sender is where a packet comes from.
type sender interface {
	sends(frame []byte) Packet
}

func (m *member) sends(frame []byte) Packet {
	return Packet{Host: m.host.name, InPort: m.number, Frame: frame}
}

// arrival is a packet's coming out of a tunnel.
type arrival struct {
	at  *host
	net *network
	key uint32
	src netip.Addr
}

// arrives is what a host sends to another in a network.
func arrives(at, from *host, n *network) arrival { return arrival{at, n, n.Key, from.tep} }

func (a arrival) under(key uint32) arrival {
	a.key = key
	return a
}

func (a arrival) from(tep netip.Addr) arrival {
	a.src = tep
	return a
}

func (a arrival) sends(frame []byte) Packet {
	return Packet{Host: a.at.name, InPort: a.at.tunnels[a.net.Encap], Frame: frame,
		Tunnel: &Tunnel{Key: uint64(a.key), Src: a.src, Dst: a.at.tep}}
}

// says is something that a declaration says of a packet.
type says func(b *builder, c *Case, from sender)

// packet declares a packet. Nobody gets it unless it says so.
func (b *builder) packet(what string, from sender, frame []byte, all ...says) {
	c := &Case{Name: fmt.Sprintf("%s: %s", b.name, what), Packet: from.sends(frame)}
	b.cases = append(b.cases, c)
	b.late = append(b.late, func() {
		for _, s := range all {
			s(b, c, from)
		}
	})
}

// by says which features take it on its way.
func by(features ...pipeline.Feature) says {
	return func(_ *builder, c *Case, _ sender) { c.By = append(c.By, features...) }
}

// notBy says which do not: a near miss.
func notBy(features ...pipeline.Feature) says {
	return func(_ *builder, c *Case, _ sender) { c.NotBy = append(c.NotBy, features...) }
}

// to says which members get it, in the form that their ports have, and otherwise
// unchanged.
func to(members ...*member) says {
	return func(_ *builder, c *Case, from sender) {
		for _, m := range members {
			c.Gets = append(c.Gets, m.gets(c.Frame, from))
		}
	}
}

// as says that a member gets another frame.
func as(m *member, frame []byte) says {
	return func(_ *builder, c *Case, from sender) { c.Gets = append(c.Gets, m.gets(frame, from)) }
}

// everyone says that all members of a network get it but the sender; what came by a
// tunnel, those of the host.
func everyone(n *network) says {
	return func(b *builder, c *Case, from sender) {
		refused := slices.ContainsFunc(b.hosts, func(h *host) bool { return h.refused && h.name == c.Host })
		for _, m := range n.members {
			remote := m.host.name != c.Host
			if !remote && m.number == c.InPort || remote && (c.Tunnel != nil || m.host.refused || refused) {
				continue
			}
			c.Gets = append(c.Gets, m.gets(c.Frame, from))
		}
	}
}

// told says that the controller of the host gets a copy.
func told(_ *builder, c *Case, _ sender) {
	c.Gets = append(c.Gets, Copy{Host: c.Host, Port: flows.PortController})
}

// gets is the copy that a member gets of a frame: on a wire what was sent, elsewhere
// with its own port's tag. The priority of the sender's tag stays where there can be
// one: between trunks.
func (m *member) gets(frame []byte, from sender) Copy {
	c := Copy{Host: m.host.name, Port: m.number, Frame: frame}
	if m.net.IsWire() {
		return c
	}
	pcp := priorityOf(frame)
	if s, local := from.(*member); local && !s.trunked {
		pcp = 0
	}
	c.Frame = untag(frame)
	if m.vlan != 0 || m.trunked && pcp != 0 {
		c.Frame = tag(m.vlan, pcp, c.Frame)
	}
	return c
}
