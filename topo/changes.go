package topo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Op says what became of an object.
type Op uint8

// What may become of an object.
const (
	Added Op = iota + 1
	Changed
	Removed
)

// String is "added", "changed" or "removed".
func (o Op) String() string {
	switch o {
	case Added:
		return "added"
	case Changed:
		return "changed"
	case Removed:
		return "removed"
	}
	return fmt.Sprintf("op(%d)", uint8(o))
}

// MarshalText is String.
func (o Op) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Change is one object that differs between two Snapshots.
type Change struct {
	Kind string `json:"kind"` // KindTenant, …
	Name string `json:"name"` // a network's full name
	ID   ID     `json:"id"`   // the new one, if the object was made anew
	Op   Op     `json:"op"`
}

// Changes are the differences between two Snapshots.
type Changes struct {
	// Objects are the tenants, networks, ports and hosts that differ, by kind in
	// the order host, tenant, network, port, and by name. A host differs also when
	// what is observed of it does, its bindings excepted.
	Objects []Change
	// Segments are the network IDs of the Segments that differ, ascending: those
	// added and removed included.
	Segments []ID
	// Bindings are the names of the ports, declared in either, whose effective
	// binding or rival claims differ, ascending.
	Bindings []string
	// Desired says that what Snapshot.Desired returns differs in more than the
	// Revision, so that it has to be stored again.
	Desired bool
}

// Compare is what differs between two Snapshots. It is cheap if one was made
// from the other, since what they share is not looked at.
func Compare(old, new *Snapshot) Changes {
	var c Changes
	desired := func() { c.Desired = true }
	diff(old.declared, new.declared, func(a, b *Host) int { return strings.Compare(a.Name, b.Name) },
		func(_, _ *Host) { desired() })
	diff(old.hosts, new.hosts, func(a, b *Host) int { return strings.Compare(a.Name, b.Name) },
		func(a, b *Host) {
			c.add(KindHost, a == nil, b == nil, cmp.Or(b, a).Name, cmp.Or(b, a).ID)
		})
	diff(old.tenants, new.tenants, func(a, b *Tenant) int { return strings.Compare(a.Name, b.Name) },
		func(a, b *Tenant) {
			desired()
			c.add(KindTenant, a == nil, b == nil, cmp.Or(b, a).Name, cmp.Or(b, a).ID)
		})
	diff(old.networks, new.networks, func(a, b *Network) int { return byFullName(a, b.FullName()) },
		func(a, b *Network) {
			desired()
			c.add(KindNetwork, a == nil, b == nil, cmp.Or(b, a).FullName(), cmp.Or(b, a).ID)
		})
	ports := map[string]bool{}
	diff(old.ports, new.ports, func(a, b *Port) int { return strings.Compare(a.Name, b.Name) },
		func(a, b *Port) {
			desired()
			ports[cmp.Or(b, a).Name] = true
			c.add(KindPort, a == nil, b == nil, cmp.Or(b, a).Name, cmp.Or(b, a).ID)
		})
	diff(old.segments, new.segments, func(a, b *Segment) int { return cmp.Compare(a.Network.ID, b.Network.ID) },
		func(a, b *Segment) { c.Segments = append(c.Segments, cmp.Or(b, a).Network.ID) })
	diff(old.wires, new.wires, func(a, b *wire) int { return strings.Compare(a.ifaceID, b.ifaceID) },
		func(a, b *wire) {
			for _, s := range []*Snapshot{old, new} {
				if p := s.PortByIfaceID(cmp.Or(b, a).ifaceID); p != nil {
					ports[p.Name] = true
				}
			}
		})
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		if !slices.Equal(old.Bindings(name), new.Bindings(name)) {
			c.Bindings = append(c.Bindings, name)
		}
	}
	if old.nextID != new.nextID || !slices.EqualFunc(old.retired, new.retired, RetiredKey.equal) {
		desired()
	}
	return c
}

// Empty reports whether nothing differs.
func (c *Changes) Empty() bool {
	return len(c.Objects)+len(c.Segments)+len(c.Bindings) == 0 && !c.Desired
}

func (c *Changes) add(kind string, isNew, isGone bool, name string, id ID) {
	op := Changed
	switch {
	case isNew:
		op = Added
	case isGone:
		op = Removed
	}
	c.Objects = append(c.Objects, Change{Kind: kind, Name: name, ID: id, Op: op})
}

// diff visits the rows that differ, in their order; the side that lacks one is nil.
func diff[V any](old, new []*V, compare func(a, b *V) int, visit func(old, new *V)) {
	if sameRows(old, new) {
		return
	}
	for len(old) > 0 && len(new) > 0 {
		if old[0] == new[0] {
			old, new = old[1:], new[1:]
			continue
		}
		switch c := compare(old[0], new[0]); {
		case c < 0:
			visit(old[0], nil)
			old = old[1:]
		case c > 0:
			visit(nil, new[0])
			new = new[1:]
		default:
			visit(old[0], new[0])
			old, new = old[1:], new[1:]
		}
	}
	for _, v := range old {
		visit(v, nil)
	}
	for _, v := range new {
		visit(nil, v)
	}
}
