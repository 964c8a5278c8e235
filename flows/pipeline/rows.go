package pipeline

import (
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
