package pipeline

import (
	"iter"
	"net/netip"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// row is one line of a table, as the feature files write it.
type row struct {
	Table    Table
	Priority uint16
	Feature  Feature
	Match    flows.Match
	Do       []flows.Action
	Next     Table // 0: the row ends the pipeline
}

// rows collects the rows and groups compiled for one owner.
type rows struct {
	owner topo.ID
	part  flows.Part
}

func (r *rows) add(w row) {
	r.part.Flows = append(r.part.Flows, &flows.Flow{
		Table:    uint8(w.Table),
		Priority: w.Priority,
		Match:    w.Match,
		Cookie:   flows.NewCookie(uint8(w.Feature), Generation, uint32(r.owner)),
		Apply:    w.Do,
		Goto:     uint8(w.Next),
	})
}

// drop is a row without an instruction.
func (r *rows) drop(t Table, priority uint16, reason Feature, m flows.Match) {
	r.add(row{Table: t, Priority: priority, Feature: reason, Match: m})
}

func match() flows.Match { return nil }

func inNetwork(n *topo.Network) flows.Match { return match().With(regNetwork, flows.U(uint64(n.ID))) }

func isLocal(m *topo.Member, h *topo.Host) bool { return m.Host.Name == h.Name }

// isStandby reports whether the member is on standby on the host: being migrated
// to it, or away from it.
func isStandby(m *topo.Member, h *topo.Host) bool {
	return m.Standby.Host != nil && m.Standby.Host.Name == h.Name
}

// localTo is the member as it is on the host, be it there in effect or on standby;
// nil if it is not there.
func localTo(m *topo.Member, h *topo.Host) *topo.Member {
	switch {
	case isLocal(m, h):
		return m
	case isStandby(m, h):
		here := *m
		here.Host, here.OFPort = m.Standby.Host, m.Standby.OFPort
		return &here
	}
	return nil
}

// isAwaited reports whether a member, as localTo returns it, is on standby there and
// its guest's first frame is waited for.
func isAwaited(here *topo.Member) bool {
	return here.Standby.Watched && here.Standby.Host == here.Host
}

// tells reports whether frames of a member, as localTo returns it, may be told to the
// controller, for which it needs a meter.
func tells(here *topo.Member) bool { return here.Learned != nil || isAwaited(here) }

// peersOf are the other hosts from which frames of the member may come, those that
// can be reached: its own and, while it is being migrated, the one on standby.
func peersOf(m *topo.Member, h *topo.Host) iter.Seq[*topo.Host] {
	return func(yield func(*topo.Host) bool) {
		if isRemote(m, h) && !yield(m.Host) {
			return
		}
		if isStandbyElsewhere(m, h) {
			yield(m.Standby.Host)
		}
	}
}

// isStandbyElsewhere reports whether the member is on standby on another host than
// h, which can be reached.
func isStandbyElsewhere(m *topo.Member, h *topo.Host) bool {
	s := m.Standby.Host
	return s != nil && s.Name != h.Name && s.TEP.IsValid()
}

// isRemote reports whether the member is on another host that can be reached. A
// host whose endpoint is refused (it claims another's address) cannot.
func isRemote(m *topo.Member, h *topo.Host) bool { return !isLocal(m, h) && m.Host.TEP.IsValid() }

// memberAddresses are the addresses that the member declares in this network.
func memberAddresses(m *topo.Member) []netip.Addr {
	if m.Sub != nil {
		return m.Sub.Addresses
	}
	return m.Port.Addresses
}
