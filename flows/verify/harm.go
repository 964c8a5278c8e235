package verify

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// spot is where a copy of a packet ends.
type spot struct {
	host string
	port uint32
	vlan int
}

func (s spot) compare(o spot) int {
	return cmp.Or(cmp.Compare(s.host, o.host), cmp.Compare(s.port, o.port), cmp.Compare(s.vlan, o.vlan))
}

// assay is what a trace shows of one packet.
type assay struct {
	h    *hunt
	sent *trace.Packet
	kind Kind
	what string
	bad  bool
}

// harm reports what a packet does that it should not, if anything. What is suspected
// goes first.
func (h *hunt) harm(hop *trace.Hop, p *trace.Packet) (Kind, string, bool) {
	if h.s.kind == Undeclared {
		r := h.f.x.nodes[h.s.node].alts[h.s.alt].row
		for _, b := range hop.Result.Branches {
			if uses(b.Steps, r.flow) {
				return Undeclared, r.broken, true
			}
		}
		return 0, "", false
	}
	a := &assay{h: h, sent: p}
	ends := a.hop(hop, h.g.tunnel)
	for _, at := range slices.SortedFunc(maps.Keys(ends), spot.compare) {
		if n := ends[at]; n > 1 {
			a.note(Duplicate, "port %s on host %s gets %d copies", a.portName(at.host, at.port), at.host, n)
		}
	}
	return a.kind, a.what, a.bad
}

func uses(steps []*trace.Step, f *flows.Flow) bool {
	for _, s := range steps {
		if s.Flow != nil && s.Flow.Equal(f) || uses(s.Steps, f) {
			return true
		}
	}
	return false
}

func (a *assay) note(k Kind, format string, args ...any) {
	if !a.bad || a.kind != a.h.s.kind && k == a.h.s.kind {
		a.kind, a.what, a.bad = k, fmt.Sprintf(format, args...), true
	}
}

// hop judges what leaves a switch, and returns how many copies end where.
func (a *assay) hop(hop *trace.Hop, tunnelled bool) map[spot]int {
	most := map[spot]int{}
	for bi := range hop.Result.Branches {
		b := &hop.Result.Branches[bi]
		ends := map[spot]int{}
		for oi := range b.Outputs {
			o := &b.Outputs[oi]
			switch {
			case o.Port == flows.PortController:
			case o.Tunnel != nil:
				if tunnelled {
					a.note(Loop, "it came by a tunnel and leaves host %s by one to %s", hop.Host, o.Tunnel.Remote)
				}
				a.tunnel(hop.Host, o.Tunnel)
				for _, next := range hop.Next {
					if next.Branch == bi && next.Output == oi && next.Hop != nil {
						for at, n := range a.hop(next.Hop, true) {
							ends[at] += n
						}
					}
				}
			default:
				at, answer := a.delivered(hop.Host, o)
				if !answer {
					ends[at]++
				}
			}
		}
		for at, n := range ends {
			most[at] = max(most[at], n)
		}
	}
	return most
}

// tunnel judges what leaves by a tunnel.
func (a *assay) tunnel(host string, t *trace.Via) {
	v, g := a.h.c.v, a.h.g
	n, ok := v.byKey[tunnelKey{t.Encap, t.Key}]
	peer := v.teps[t.Remote.Unmap()]
	switch {
	case g.network == nobody:
		a.note(Isolation, "it is of no network, and leaves host %s by a %s tunnel with key %d", host, t.Encap, t.Key)
	case !ok || n != g.network && !v.allowed(g.network, n):
		a.note(Key, "it is of network %s and leaves host %s by a %s tunnel with key %d, which is %s", v.title(g.network), host, t.Encap, t.Key, v.keyTitle(n, ok))
	case peer == nil || peer.Name == host:
		a.note(Key, "it leaves host %s by a tunnel to %s, where no other host is", host, t.Remote)
	}
}

func (v *verifier) title(n int32) string {
	if n == nobody {
		return "none"
	}
	return v.o.Networks[n].Name
}

func (v *verifier) keyTitle(n int32, ok bool) string {
	if !ok {
		return "that of no network"
	}
	return "that of " + v.title(n)
}

func (a *assay) portName(host string, port uint32) string {
	for _, s := range a.h.c.v.sites {
		if s.h.Name == host && s.places[port] != nil {
			return s.places[port].port.Name
		}
	}
	return fmt.Sprint(port)
}

// delivered judges what leaves by a port. An answer goes back to the sender under
// its own address.
func (a *assay) delivered(host string, o *trace.Output) (at spot, answer bool) {
	v, g := a.h.c.v, a.h.g
	at = spot{host, o.Port, frameVLAN(o.Frame)}
	var p *place
	for _, s := range v.sites {
		if s.h.Name == host {
			p = s.places[o.Port]
		}
	}
	if p == nil {
		return at, false
	}
	to := p.network(uint16(at.vlan))
	where := fmt.Sprintf("port %s, VLAN %d, on host %s", p.port.Name, at.vlan, host)
	switch {
	case g.network == nobody:
		a.note(Isolation, "it is of no network and reaches %s", where)
	case to == nobody:
		a.note(Membership, "it is of network %s and reaches %s, which is in none", v.title(g.network), where)
	case to != g.network && !v.allowed(g.network, to):
		a.note(Isolation, "it is of network %s and reaches %s, which is of %s", v.title(g.network), where, v.title(to))
	}
	if host == a.h.f.site.h.Name && o.Port == g.port && !g.tunnel {
		sender := a.sent.Frame()[6:12]
		answer = bytes.Equal(o.Frame[:6], sender)
		if !answer && (at.vlan == g.vlan || g.vlan < 0) {
			a.note(Duplicate, "its sender gets a copy")
		}
	}
	return at, answer
}

// frameVLAN is the VLAN ID of a frame, 0 when it has no tag.
func frameVLAN(b []byte) int {
	if t := binary.BigEndian.Uint16(b[12:]); (t == 0x8100 || t == 0x88a8) && len(b) >= 16 {
		return int(binary.BigEndian.Uint16(b[14:]) & vidBits)
	}
	return 0
}
