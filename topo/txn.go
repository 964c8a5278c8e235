package topo

import (
	"errors"
	"net/netip"
	"slices"
)

// Topology is the whole intent, as a topology file or a caller states it. What
// is left zero is filled in by Commit: IDs always (what the caller has there is
// ignored), UUIDs, MACs, keys.
type Topology struct {
	Hosts    []Host
	Tenants  []Tenant
	Networks []Network
	Ports    []Port
}

// Txn is a set of changes to a Snapshot. It is for one goroutine; it is judged
// by its outcome, so the order of the changes does not matter except where
// they concern the same thing. Changes are copied: the caller keeps what it
// passes in. After Commit a Txn is done.
type Txn struct {
	base *Snapshot
	done bool

	// What is put, by name; nil is deleted.
	tenants  map[string]*Tenant
	networks map[string]*Network
	ports    map[string]*Port
	hosts    map[string]*Host
	problems problems // duplicates in a Replace

	releaseUpTo  uint64
	nextSeq      uint64
	observations map[string]*observation
	wires        map[string]*wire
	learnings    []learning
	yielded      []yielding

	restore *Desired // nil but in Restore
}

// Begin is a Txn on s. It is for the caller to commit the Txns of one history
// one after the other.
func (s *Snapshot) Begin() *Txn {
	return &Txn{
		base:         s,
		tenants:      map[string]*Tenant{},
		networks:     map[string]*Network{},
		ports:        map[string]*Port{},
		hosts:        map[string]*Host{},
		nextSeq:      s.nextSeq,
		yielded:      s.yielded,
		observations: map[string]*observation{},
		wires:        map[string]*wire{},
	}
}

// PutTenant adds or replaces the tenant of that name.
func (t *Txn) PutTenant(v Tenant) { t.tenants[v.Name] = &v }

// PutNetwork adds or replaces the network of that full name. A Key of 0, or any
// key together with KeyAllocated, asks for the one it has or for an allocated one.
func (t *Txn) PutNetwork(v Network) {
	v.Subnets = compact(v.Subnets)
	t.networks[v.FullName()] = &v
}

// PutPort adds or replaces the port of that name. A zero MAC asks for one
// that is derived from the name.
func (t *Txn) PutPort(v Port) {
	v.Addresses = addresses(v.Addresses)
	if v.Trunk != nil {
		trunk := Trunk{VLANs: compact(v.Trunk.VLANs)}
		if n := v.Trunk.Native; n != nil {
			trunk.Native = &SubPort{VLAN: n.VLAN, Network: n.Network, Addresses: addresses(n.Addresses)}
		}
		for i := range trunk.VLANs {
			trunk.VLANs[i].Addresses = addresses(trunk.VLANs[i].Addresses)
		}
		slices.SortStableFunc(trunk.VLANs, func(a, b SubPort) int { return int(a.VLAN) - int(b.VLAN) })
		v.Trunk = &trunk
	}
	t.ports[v.Name] = &v
}

// PutHost declares the host of that name, or replaces what was declared of it.
// Tunnels and Declared are ignored: the one is observed, the other implied.
func (t *Txn) PutHost(v Host) {
	v.TEP, v.Tunnels, v.Declared = v.TEP.Unmap(), [4]uint32{}, true
	t.hosts[v.Name] = &v
}

// compact is a copy without spare capacity, nil if there is nothing in it.
func compact[E any](s []E) []E {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}

func addresses(s []netip.Addr) []netip.Addr {
	s = compact(s)
	for i := range s {
		s[i] = s[i].Unmap()
	}
	return s
}

// DeleteTenant deletes a tenant. The error wraps ErrNotFound if there is none.
// What still refers to a deleted object is found by Commit.
func (t *Txn) DeleteTenant(name string) error {
	return drop(t.tenants, name, t.base.Tenant(name) != nil, KindTenant)
}

// DeleteNetwork deletes the network of that full name and retires its key.
func (t *Txn) DeleteNetwork(fullName string) error {
	return drop(t.networks, fullName, t.base.Network(fullName) != nil, KindNetwork)
}

// DeletePort deletes a port. Interfaces that claim it become unclaimed.
func (t *Txn) DeletePort(name string) error {
	return drop(t.ports, name, t.base.Port(name) != nil, KindPort)
}

// DeleteHost withdraws the declaration of a host. While it is still observed it
// remains as a host that is not declared.
func (t *Txn) DeleteHost(name string) error {
	return drop(t.hosts, name, lookup(t.base.declared, name, byHostName) != nil, KindHost)
}

// drop marks the name as deleted if it is there now; inBase says whether it was before.
func drop[V any](edits map[string]*V, name string, inBase bool, kind string) error {
	v, edited := edits[name]
	if edited && v == nil || !edited && !inBase {
		return notFound(kind, name, "see ofctl-lab get "+kind+"s for those there are")
	}
	edits[name] = nil
	return nil
}

// Replace makes topology the whole intent: everything that is not in it is
// deleted. Objects that stay, by name (by full name for a network), keep their
// ID, their UUID unless another is given, and their allocated key. What is
// observed is kept. A name that is in the topology twice is a Problem.
func (t *Txn) Replace(topology Topology) {
	for _, v := range t.base.tenants {
		t.tenants[v.Name] = nil
	}
	for _, v := range t.base.networks {
		t.networks[v.FullName()] = nil
	}
	for _, v := range t.base.ports {
		t.ports[v.Name] = nil
	}
	for _, v := range t.base.declared {
		t.hosts[v.Name] = nil
	}
	setNil(t.tenants)
	setNil(t.networks)
	setNil(t.ports)
	setNil(t.hosts)
	for _, v := range topology.Hosts {
		t.unique(KindHost, v.Name, t.hosts[v.Name] != nil)
		t.PutHost(v)
	}
	for _, v := range topology.Tenants {
		t.unique(KindTenant, v.Name, t.tenants[v.Name] != nil)
		t.PutTenant(v)
	}
	for _, v := range topology.Networks {
		t.unique(KindNetwork, v.FullName(), t.networks[v.FullName()] != nil)
		t.PutNetwork(v)
	}
	for _, v := range topology.Ports {
		t.unique(KindPort, v.Name, t.ports[v.Name] != nil)
		t.PutPort(v)
	}
}

func setNil[V any](m map[string]*V) {
	for k := range m {
		m[k] = nil
	}
}

func (t *Txn) unique(kind, name string, taken bool) {
	if taken {
		t.problems.add(&Problem{Object: kind + " " + name, Field: "name", Other: kind + " " + name,
			What: "there are two of this name", Hint: "rename one of them or remove it"})
	}
}

// ReleaseKeys lets go of the keys that were retired in a revision up to that
// one. The caller has seen every host hold the flows of that revision or a later one,
// and has waited for the frames that were on their way then.
func (t *Txn) ReleaseKeys(upTo uint64) { t.releaseUpTo = max(t.releaseUpTo, upTo) }

var errDone = errors.New("this transaction was committed before; begin a new one")

// Commit makes the next Snapshot. If anything is wrong it returns the Snapshot
// that the Txn was begun on and all Problems, joined; if nothing is different
// it returns that Snapshot and no Changes.
//
// Given a state and a Txn the outcome is always the same: IDs, keys and
// addresses are given out in the order of names.
func (t *Txn) Commit() (*Snapshot, Changes, error) {
	c, err := t.commit()
	if err != nil || !c.differs() {
		return t.base, Changes{}, err
	}
	return c.new, Compare(t.base, c.new), nil
}

func (t *Txn) commit() (*commit, error) {
	if t.done {
		return nil, errDone
	}
	t.done = true
	c := newCommit(t)
	c.applyDesired()
	c.applyObservations()
	c.resolveHosts()
	if err := c.problems.err(); err != nil {
		return nil, err
	}
	c.rebuildSegments(c.applyLearnings())
	return c, nil
}
