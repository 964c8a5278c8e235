package verify

import (
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// reread forgets what the datapath may find otherwise when it reads a packet anew, as it
// does behind the connection tracker and for the hash of a select group: the headers
// behind the Ethernet type, of which not everything that was written is on the wire, and
// where there was more than one tag the tag and what is behind it, since one is read.
func (m *machine) reread() {
	from := flows.IPDSCP
	if m.s.flags&(retagged|nested) != 0 {
		from = flows.EthType
	}
	for f := from; f.Valid(); f++ {
		m.forget(f)
	}
}

// retag notes that a tag is pushed. It matters to frames that are read anew.
func (m *machine) retag() {
	if m.p.rereads {
		m.s.flags |= retagged
	}
}

// entering makes a set of packets what the next table sees.
func (m *machine) entering() {
	if m.s.flags&stale != 0 {
		m.s.flags &^= stale
		m.reread()
	}
}

// selects notes that a select group has the frame read anew.
func (m *machine) selects(g *group) {
	if g != nil && g.rereads {
		m.s.flags |= stale
	}
}

// rereadsAny reports whether some flow has packets read anew by the datapath, by itself or
// by a group.
func (p *program) rereadsAny() bool {
	reread := func(as []flows.Action) bool {
		return slices.ContainsFunc(as, func(a flows.Action) bool {
			switch a := a.(type) {
			case flows.CT:
				return true
			case flows.ToGroup:
				g := p.groups[a.ID]
				return g != nil && g.rereads
			}
			return false
		})
	}
	for i := range p.rows {
		if f := p.rows[i].flow; f != nil && reread(f.Apply) {
			return true
		}
	}
	for _, g := range p.groups {
		if slices.ContainsFunc(g.buckets, reread) {
			return true
		}
	}
	return false
}

// translated forgets what nat may have changed on the wire. The flow's own list of actions
// goes on with what was there before, until the packet is read anew.
func (m *machine) translated(a flows.CT) {
	if a.NAT.Kind == flows.NATNone {
		return
	}
	for f := flows.IPDSCP; f.Valid(); f++ {
		m.forget(f)
	}
}
