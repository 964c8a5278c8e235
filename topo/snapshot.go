package topo

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Snapshot is the overlay at one moment: what is desired and what is observed.
// It is immutable and safe for concurrent use. Successive Snapshots share
// whatever did not change, so pointer equality of a *Tenant, *Network, *Port,
// *Host, *Segment or *Member means that it is the same.
//
// The slices that its methods return are shared: callers do not write to them.
type Snapshot struct {
	revision uint64
	nextID   ID     // the next ID to give out
	nextSeq  uint64 // the next place in the order of claims

	tenants  []*Tenant
	networks []*Network
	ports    []*Port
	declared []*Host // the hosts as they were declared
	retired  []RetiredKey

	hosts        []*Host // declared and observed put together
	hostProblems []*Problem
	observations []*observation
	wires        []*wire
	yielded      []yielding

	byID     []*object
	byUUID   []*object
	byKey    []*Network // by encapsulation and key
	rosters  []*roster
	segments []*Segment
	present  []*presence
	learned  []*stations
}

// object is an entry of the indexes over all kinds.
type object struct {
	id         ID
	uuid       uuid.UUID
	kind, name string
}

// roster is the declared ports of a network, by name.
type roster struct {
	network string
	ports   []*Port
}

// presence is the networks with a member on a host, ascending.
type presence struct {
	host     string
	networks []ID
}

// Empty is a Snapshot with nothing in it, at revision 0.
func Empty() *Snapshot { return &Snapshot{nextID: 1} }

// Revision counts the commits that changed something. It goes on where it was
// when the Snapshot is restored from what Desired returned.
func (s *Snapshot) Revision() uint64 { return s.revision }

// Tenant is the tenant of that name, nil if there is none.
func (s *Snapshot) Tenant(name string) *Tenant { return lookup(s.tenants, name, byTenantName) }

// Tenants are all tenants by name.
func (s *Snapshot) Tenants() []*Tenant { return s.tenants }

// Network is the network of that full name ("tenant/network"), nil if there is none.
func (s *Snapshot) Network(fullName string) *Network {
	return lookup(s.networks, fullName, byFullName)
}

// Networks are all networks by full name.
func (s *Snapshot) Networks() []*Network { return s.networks }

// NetworkByKey is the network with that tunnel key in that encapsulation, nil if there is none.
func (s *Snapshot) NetworkByKey(e Encap, key uint32) *Network {
	return lookup(s.byKey, keyOf(e, key), byKey)
}

// Port is the port of that name, nil if there is none.
func (s *Snapshot) Port(name string) *Port { return lookup(s.ports, name, byPortName) }

// Ports are all ports by name.
func (s *Snapshot) Ports() []*Port { return s.ports }

// PortsIn are the declared ports of a network, trunks included, by name,
// whether bound or not.
func (s *Snapshot) PortsIn(network string) []*Port {
	if r := lookup(s.rosters, network, byRosterName); r != nil {
		return r.ports
	}
	return nil
}

// PortByIfaceID is the port that an iface-id means, which is the port's name or
// the text of its UUID; nil if nobody declared one.
func (s *Snapshot) PortByIfaceID(id string) *Port {
	if u, ok := parseUUID(id); ok {
		if o := s.objectByUUID(u); o != nil && o.kind == KindPort {
			return s.Port(o.name)
		}
		return nil
	}
	return s.Port(id)
}

// Host is the host of that name, declared or observed, nil if there is none.
func (s *Snapshot) Host(name string) *Host { return lookup(s.hosts, name, byHostName) }

// Hosts are all hosts, declared and observed, by name.
func (s *Snapshot) Hosts() []*Host { return s.hosts }

// HostProblems are the contradictions between what hosts report and what is
// declared of them or reported by others. They do not fail a commit, since
// an observation is a fact.
func (s *Snapshot) HostProblems() []*Problem { return s.hostProblems }

// ObjectByID is the kind and the name (the full name of a network) of the
// object with that ID.
func (s *Snapshot) ObjectByID(id ID) (kind, name string, ok bool) {
	if o := s.object(id); o != nil {
		return o.kind, o.name, true
	}
	return "", "", false
}

func (s *Snapshot) object(id ID) *object { return lookup(s.byID, id, byObjectID) }

func (s *Snapshot) objectByUUID(u uuid.UUID) *object {
	return lookup(s.byUUID, string(u[:]), byObjectUUID)
}

// Segment is who is on a network now, nil if there is no such network. Every
// declared network has a Segment, with no Members while no port of it is bound.
func (s *Snapshot) Segment(network ID) *Segment { return lookup(s.segments, network, bySegmentID) }

// SegmentsOn are the Segments with at least one Member on the host or on standby there, ascending by
// network ID. The slice is the caller's.
func (s *Snapshot) SegmentsOn(host string) []*Segment {
	p := lookup(s.present, host, byPresenceHost)
	if p == nil {
		return nil
	}
	out := make([]*Segment, 0, len(p.networks))
	rest := s.segments
	for _, id := range p.networks {
		// The next one is first in a dense overlay and far away in a sparse one.
		if rest[0].Network.ID != id {
			i, _ := slices.BinarySearchFunc(rest, id, bySegmentID)
			rest = rest[i:]
		}
		out = append(out, rest[0])
		rest = rest[1:]
	}
	return out
}

// HasMember reports whether the host has a Member of the network, or one on standby.
func (s *Snapshot) HasMember(host string, network ID) bool {
	p := lookup(s.present, host, byPresenceHost)
	if p == nil {
		return false
	}
	_, ok := slices.BinarySearch(p.networks, network)
	return ok
}

// Bindings are the places that claim the port, in the order in which they were
// first seen, those that a migration has taken out of effect behind the others.
// The first is in effect. The others are rival claims, except for the one that a
// migration keeps ready (see Migration). nil if the port is bound nowhere or not
// declared.
func (s *Snapshot) Bindings(port string) []Binding {
	p := s.Port(port)
	if p == nil {
		return nil
	}
	var out []Binding
	for _, c := range s.claims(p) {
		out = append(out, c.binding())
	}
	return out
}

// claims are the claims on p, the one in effect first. A port may be claimed by
// its name in one place and by its UUID in another.
func (s *Snapshot) claims(p *Port) []*plug {
	var out []*plug
	if w := lookup(s.wires, p.Name, byIfaceID); w != nil {
		out = w.plugs
	}
	if w := lookup(s.wires, p.UUID.String(), byIfaceID); w != nil {
		if out == nil {
			return inOrder(w.plugs)
		}
		out = slices.Concat(out, w.plugs)
		slices.SortFunc(out, func(a, b *plug) int { return cmp.Compare(a.seq, b.seq) })
	}
	return inOrder(out)
}

// effective is the claim on p that is in effect, nil if the port is bound nowhere.
func (s *Snapshot) effective(p *Port) *plug {
	if c := s.claims(p); len(c) > 0 {
		return c[0]
	}
	return nil
}

// Conflict is a port that is claimed in more places than it may be.
type Conflict struct {
	Port     string
	Bindings []Binding // as Snapshot.Bindings returns them; at least two
}

// Conflicts are the ports with rival claims, by name.
func (s *Snapshot) Conflicts() []Conflict {
	var out []Conflict
	for _, p := range s.ports {
		if b := s.Bindings(p.Name); len(b) > 1 && len(s.Rivals(p.Name)) > 0 {
			out = append(out, Conflict{Port: p.Name, Bindings: b})
		}
	}
	return out
}

// Claim is an interface that claims a port by its iface-id.
type Claim struct {
	IfaceID string
	Binding
}

// Unclaimed are the interfaces whose iface-id nobody declared, by iface-id and
// then in the order in which they were seen. They take effect when a port of
// that name or UUID is declared.
func (s *Snapshot) Unclaimed() []Claim {
	var out []Claim
	for _, w := range s.wires {
		if s.PortByIfaceID(w.ifaceID) != nil {
			continue
		}
		for _, c := range w.plugs {
			out = append(out, Claim{IfaceID: w.ifaceID, Binding: c.binding()})
		}
	}
	return out
}

// Encaps are the encapsulations that any network uses, ascending.
func (s *Snapshot) Encaps() []Encap {
	var out []Encap
	for e := GRE; e <= Geneve; e++ {
		// byKey is in order of encapsulation: the first row at or above e's range tells.
		i, _ := slices.BinarySearchFunc(s.byKey, keyOf(e, 0), byKey)
		if i < len(s.byKey) && s.byKey[i].Encap == e {
			out = append(out, e)
		}
	}
	return out
}

// RetiredKeys are the keys that were freed and that hosts, or frames, may still have,
// by encapsulation and key.
func (s *Snapshot) RetiredKeys() []RetiredKey { return s.retired }

// OverIPv6 reports whether any host's tunnel endpoint is an IPv6 address, which
// decides the MTU of guests.
func (s *Snapshot) OverIPv6() bool {
	return slices.ContainsFunc(s.hosts, func(h *Host) bool { return isIPv6(h.TEP) })
}

func isIPv6(a netip.Addr) bool { return a.IsValid() && !a.Unmap().Is4() }

// parseUUID accepts only the 36-byte form, in either case: an iface-id in one of
// the other forms that uuid.Parse knows is a name.
func parseUUID(s string) (uuid.UUID, bool) {
	if len(s) != 36 {
		return uuid.UUID{}, false
	}
	u, err := uuid.Parse(s)
	return u, err == nil
}

// canonicalIfaceID is an iface-id as wires are indexed by it.
func canonicalIfaceID(id string) string {
	if _, ok := parseUUID(id); ok {
		return strings.ToLower(id)
	}
	return id
}
