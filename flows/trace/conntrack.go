package trace

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// Bits of ct_state (ovs-fields(7)).
const (
	ConnNew            uint32 = 1 << iota // the first packet of a connection
	ConnEstablished                       // of a connection that was committed
	ConnRelated                           // an ICMP error about one, say
	ConnReply                             // in the direction of the replies
	ConnInvalid                           // of no connection: malformed, or out of order
	ConnTracked                           // went through the connection tracker
	ConnSourceNAT                         // its source was translated
	ConnDestinationNAT                    // its destination was
)

// Conn is what the connection tracker says of a packet.
type Conn struct {
	State uint32 // ConnTracked is added
	Mark  uint32
	Label flows.Value
	// NAT says what nat makes of a packet of a connection that is established. Without it
	// nobody knows, and the addresses and ports are unsure.
	NAT *Translation
}

// Translation is what a packet's addresses and ports become; what is zero stays.
type Translation struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
}

func (c Conn) String() string {
	s := flows.Match{{Field: flows.CTState, Value: flows.U(uint64(c.State | ConnTracked)), Mask: flows.CTState.FullMask()}}.String()
	if c.Mark != 0 {
		s += "," + flows.Match{}.With(flows.CTMark, flows.U(uint64(c.Mark))).String()
	}
	if !c.Label.IsZero() {
		s += "," + flows.Match{}.With(flows.CTLabel, c.Label).String()
	}
	return s
}

// conns are the connections that a packet may be of when nobody says which it is.
var conns = [...]Conn{
	{State: ConnNew}, {State: ConnEstablished}, {State: ConnEstablished | ConnReply},
	{State: ConnNew | ConnRelated}, {State: ConnInvalid},
}

// untrack makes the packet one that was not through the connection tracker.
func (r *run) untrack() {
	for f := flows.CTState; f <= flows.CTLabel; f++ {
		r.write(f, flows.Value{}, f.FullMask())
	}
}

// conntrack sends a copy of the packet through the connection tracker, to go on when
// the packet itself is done.
func (r *run) conntrack(a flows.CT) {
	r.emit()
	w := waiting{p: r.p, set: slices.Clone(r.set), stack: slices.Clone(r.stack), table: a.Table}
	if a.Table == flows.CTNoTable && a.NAT.Kind == flows.NATNone {
		r.untrack()
		return
	}
	c := r.conn(&w.p)
	if a.Commit {
		c.Mark = c.Mark&^a.MarkMask | a.Mark
		c.Label = c.Label.AndNot(a.LabelMask).Or(a.Label)
		if a.MarkMask == ^uint32(0) {
			w.p.unsure.remove(flows.CTMark)
		}
		if a.LabelMask == flows.CTLabel.FullMask() {
			w.p.unsure.remove(flows.CTLabel)
		}
	}
	r.nat(a, &c, &w.p)
	if a.Table != flows.CTNoTable {
		zone := uint64(a.Zone)
		w.p.unsure.remove(flows.CTZone)
		if a.ZoneSrc != (flows.Subfield{}) {
			zone = subfield(&r.p, a.ZoneSrc).Lo
			if r.p.unsure.has(a.ZoneSrc.Field) {
				w.p.unsure.add(flows.CTZone)
			}
		}
		w.p.u(flows.CTState, uint64(c.State|ConnTracked))
		w.p.u(flows.CTZone, zone)
		w.p.u(flows.CTMark, uint64(c.Mark))
		w.p.fields[flows.CTLabel] = c.Label
		w.p.unsure = w.p.unsure.or(r.base.unsure)
		w.step = r.step(Step{Kind: StepRecirculate, Table: a.Table, Note: c.String()})
		r.recirculate(w)
	}
	r.untrack()
}

// conn is the connection that the packet is of, as given or assumed. What p does not say
// of it is unsure.
func (r *run) conn(p *Packet) Conn {
	p.unsure.remove(flows.CTState)
	p.unsure.remove(flows.CTMark)
	p.unsure.remove(flows.CTLabel)
	if n := len(r.o.Conns); n > 0 {
		r.tracked++
		return r.o.Conns[min(r.tracked, n)-1]
	}
	i := r.choose("state of the connection", len(conns), func(i int) string { return conns[i].String() })
	// A new connection has neither mark nor label; what others have nobody said.
	if conns[i].State&ConnNew == 0 {
		p.unsure.add(flows.CTMark)
		p.unsure.add(flows.CTLabel)
	}
	return conns[i]
}

// nat translates the packet on the wire, as the datapath does: what follows in the list of
// actions goes on with the fields as they were. p is the copy that comes back.
func (r *run) nat(a flows.CT, c *Conn, p *Packet) {
	n := a.NAT
	if n.Kind == flows.NATNone || c.State&ConnInvalid != 0 {
		return
	}
	var wire Packet
	wire.reload(r.base.frame)
	var t Translation
	if c.State&ConnNew != 0 {
		// Only what is committed is translated, and the first of several is assumed.
		if !a.Commit || n.Kind == flows.NATExisting {
			return
		}
		fixedAddress, fixedPort := n.Fixed()
		if n.Kind == flows.NATSource {
			t.Src, t.SrcPort = n.Min, n.PortMin
			c.State |= ConnSourceNAT
		} else {
			t.Dst, t.DstPort = n.Min, n.PortMin
			c.State |= ConnDestinationNAT
		}
		src, dst := wire.endpointFields()
		if n.Kind == flows.NATDestination {
			src = dst
		}
		if !fixedAddress {
			r.unsureOnWire(src.address)
		}
		if !fixedPort {
			r.unsureOnWire(src.port)
		}
		r.translated(wire, t, fixedAddress && fixedPort)
		return
	}
	if c.NAT != nil {
		r.translated(wire, *c.NAT, true)
		return
	}
	src, dst := wire.endpointFields()
	for _, f := range [...]flows.Field{src.address, src.port, dst.address, dst.port} {
		r.unsureOnWire(f)
	}
	p.unsure.add(flows.CTState)
	if r.at != nil {
		r.step(Step{Kind: StepNote, Note: "nat: addresses and ports are those of the connection, which nobody said"})
	}
}

// endpoint is the fields that hold an address and a port, 0 for what the packet has not.
type endpoint struct{ address, port flows.Field }

func (p *Packet) endpointFields() (src, dst endpoint) {
	switch {
	case p.at.ipv4 != 0:
		src.address, dst.address = flows.IPv4Src, flows.IPv4Dst
	case p.at.ipv6 != 0:
		src.address, dst.address = flows.IPv6Src, flows.IPv6Dst
	}
	switch p.at.proto {
	case protoTCP:
		src.port, dst.port = flows.TCPSrc, flows.TCPDst
	case protoUDP:
		src.port, dst.port = flows.UDPSrc, flows.UDPDst
	case protoSCTP:
		src.port, dst.port = flows.SCTPSrc, flows.SCTPDst
	}
	return src, dst
}

func (r *run) unsureOnWire(f flows.Field) {
	if f != 0 {
		r.base.unsure.add(f)
	}
}

// translated writes a translation into the packet on the wire.
func (r *run) translated(wire Packet, t Translation, sure bool) {
	is := wire
	src, dst := wire.endpointFields()
	for _, e := range [...]struct {
		endpoint
		addr netip.Addr
		n    uint16
	}{{src, t.Src, t.SrcPort}, {dst, t.Dst, t.DstPort}} {
		if e.address != 0 && e.addr.IsValid() && e.addr.Is4() == (e.address < flows.IPv6Src) {
			is.put(e.address, flows.IP(e.addr))
		}
		if e.port != 0 && e.n != 0 {
			is.u(e.port, uint64(e.n))
		}
	}
	wire.at.routed = false // the tracker knows what is behind a routing header
	emit(&wire, &is)
	r.base.frame = wire.frame
	if r.at != nil {
		how := "; a source port that another connection has is changed as well"
		if !sure {
			how = ", the first of several: which it is the switch chooses"
		}
		r.step(Step{Kind: StepNote, Note: fmt.Sprintf("nat: the packet becomes one from %s to %s%s",
			is.endpointText(src), is.endpointText(dst), how)})
	}
}

func (p *Packet) endpointText(e endpoint) string {
	s := "?"
	switch {
	case e.address == 0:
	case e.address < flows.IPv6Src:
		s = ipv4(p.fields[e.address]).String()
	default:
		s = ipv6(p.fields[e.address]).String()
	}
	if e.port != 0 {
		s += fmt.Sprintf(" port %d", p.fields[e.port].Lo)
	}
	return s
}
