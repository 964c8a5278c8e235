package topo

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/google/uuid"
)

const (
	// maxOFPort is the highest number of a physical or logical port (OpenFlow
	// 1.3.5 section A.2.1); those above are reserved.
	maxOFPort uint32 = 0xffffff00
	// maxIfaceID bounds what is kept of what a host reports: longer ones cannot
	// be the name or the UUID of a port.
	maxIfaceID = 255
	// maxClaims is the most interfaces of one host that are kept: Open vSwitch
	// gives out fewer numbers than that.
	maxClaims = 1 << 16
)

// plug is an interface with an iface-id. Immutable.
type plug struct {
	host    string
	iface   uuid.UUID
	ofport  uint32
	ifaceID string
	seq     uint64 // order of first sight among all claims
	// yields: another claim was put in effect before this one, by a migration.
	// armed: it is watched all the same.
	yields, armed bool
}

func (p *plug) binding() Binding {
	return Binding{Host: p.host, OFPort: p.ofport, Interface: p.iface}
}

// wire is the plugs with one iface-id, in the order of their seq. Immutable.
type wire struct {
	ifaceID string
	plugs   []*plug
}

// observation is what was seen of a host. Immutable once it is in a Snapshot.
type observation struct {
	host    string
	tep     netip.Addr
	tunnels [4]uint32
	byIface []*plug // ascending by interface
	byPort  []*plug // the same ones, ascending by OpenFlow number
}

func (o *observation) clone() *observation {
	c := *o
	c.byIface, c.byPort = slices.Clone(o.byIface), slices.Clone(o.byPort)
	return &c
}

func (o *observation) findIface(u uuid.UUID) (int, bool) {
	return slices.BinarySearchFunc(o.byIface, u, func(p *plug, u uuid.UUID) int { return slices.Compare(p.iface[:], u[:]) })
}

func (o *observation) findPort(n uint32) (int, bool) {
	return slices.BinarySearchFunc(o.byPort, n, func(p *plug, n uint32) int { return cmp.Compare(p.ofport, n) })
}

func (o *observation) insert(p *plug) {
	i, _ := o.findIface(p.iface)
	o.byIface = slices.Insert(o.byIface, i, p)
	i, _ = o.findPort(p.ofport)
	o.byPort = slices.Insert(o.byPort, i, p)
}

func (o *observation) remove(p *plug) {
	if i, ok := o.findIface(p.iface); ok {
		o.byIface = slices.Delete(o.byIface, i, i+1)
	}
	if i, ok := o.findPort(p.ofport); ok {
		o.byPort = slices.Delete(o.byPort, i, i+1)
	}
}

// observed is the host's observation to read, nil if there is none.
func (t *Txn) observed(host string) *observation {
	if o, ok := t.observations[host]; ok {
		return o
	}
	return lookup(t.base.observations, host, byObservedHost)
}

// observing is the host's observation to write.
func (t *Txn) observing(host string) *observation {
	if o := t.observations[host]; o != nil {
		return o
	}
	o := t.observed(host)
	if o == nil {
		o = &observation{host: host}
	} else {
		o = o.clone()
	}
	t.observations[host] = o
	return o
}

// plugs are those with the iface-id, in the order of their seq.
func (t *Txn) plugs(ifaceID string) []*plug {
	w, ok := t.wires[ifaceID]
	if !ok {
		w = lookup(t.base.wires, ifaceID, byIfaceID)
	}
	if w == nil {
		return nil
	}
	return w.plugs
}

func (t *Txn) setPlugs(ifaceID string, plugs []*plug) {
	if len(plugs) == 0 {
		t.wires[ifaceID] = nil
		return
	}
	t.wires[ifaceID] = &wire{ifaceID: ifaceID, plugs: plugs}
}

func (t *Txn) plugIn(p *plug) {
	t.observing(p.host).insert(p)
	plugs := slices.Clone(t.plugs(p.ifaceID))
	i, _ := slices.BinarySearchFunc(plugs, p.seq, func(q *plug, seq uint64) int { return cmp.Compare(q.seq, seq) })
	t.setPlugs(p.ifaceID, slices.Insert(plugs, i, p))
}

func (t *Txn) unplug(p *plug) {
	t.observing(p.host).remove(p)
	t.setPlugs(p.ifaceID, slices.DeleteFunc(slices.Clone(t.plugs(p.ifaceID)), func(q *plug) bool { return q == p }))
}

// Bind records that an interface of a host carries an iface-id, which is a
// port's name or UUID, declared or not. The same interface may be bound again
// with another OpenFlow number, keeping its place among the claims on the port,
// or with another iface-id, which ends what it claimed before. An OpenFlow
// number belongs to the interface that was bound with it last.
//
// The first of several claims on a port is in effect until it is unbound, or until
// Activate puts the one in effect to which the port is being migrated. A Binding
// that cannot be (a number that is 0 or reserved, an iface-id that is empty or
// over 255 bytes, more than 65,536 of them on the host) is no claim: the
// interface is unbound.
func (t *Txn) Bind(port string, b Binding) {
	id := canonicalIfaceID(port)
	if b.OFPort == 0 || b.OFPort > maxOFPort || id == "" || len(id) > maxIfaceID {
		t.Unbind(b.Host, b.Interface)
		return
	}
	next := &plug{host: b.Host, iface: b.Interface, ofport: b.OFPort, ifaceID: id, seq: t.nextSeq}
	if o := t.observed(b.Host); o != nil {
		if i, ok := o.findPort(b.OFPort); ok && o.byPort[i].iface != b.Interface {
			t.unplug(o.byPort[i])
		}
	}
	if old := t.plugOf(b.Host, b.Interface); old != nil {
		if old.ifaceID == id && old.ofport == b.OFPort {
			return
		}
		if old.ifaceID == id {
			next.seq, next.yields, next.armed = old.seq, old.yields, old.armed
		}
		t.unplug(old)
	}
	if o := t.observed(b.Host); o != nil && len(o.byIface) >= maxClaims {
		return
	}
	if next.seq == t.nextSeq {
		t.nextSeq++
	}
	t.plugIn(next)
	t.takeYielded(next)
}

func (t *Txn) plugOf(host string, iface uuid.UUID) *plug {
	o := t.observed(host)
	if o == nil {
		return nil
	}
	i, ok := o.findIface(iface)
	if !ok {
		return nil
	}
	return o.byIface[i]
}

// Unbind records that an interface is gone or carries no iface-id. It does
// nothing for an interface that is not known.
func (t *Txn) Unbind(host string, iface uuid.UUID) {
	if p := t.plugOf(host, iface); p != nil {
		t.unplug(p)
	}
}

// ObserveHost records what a host reports of itself: its tunnel endpoint (the
// zero Addr if it reports none) and the OpenFlow numbers of its tunnel ports,
// indexed by Encap, 0 where there is none. A host that is not declared comes
// into being by this, or by a Bind that names it.
func (t *Txn) ObserveHost(name string, tep netip.Addr, tunnels [4]uint32) {
	tep = tep.Unmap()
	tunnels[0] = 0
	if o := t.observed(name); o != nil && o.tep == tep && o.tunnels == tunnels {
		return
	}
	o := t.observing(name)
	o.tep, o.tunnels = tep, tunnels
}

// ForgetHost drops all that was observed of a host, its bindings included. A
// declared host remains, as declared.
func (t *Txn) ForgetHost(name string) {
	o := t.observed(name)
	if o == nil {
		return
	}
	for _, p := range slices.Clone(o.byIface) {
		t.unplug(p)
	}
	t.observations[name] = nil
}

// applyObservations puts the observations into the new snapshot.
func (c *commit) applyObservations() {
	c.txn.succeed()
	for _, name := range sortedKeys(c.txn.observations) {
		if err := CheckName(name); err != nil && c.txn.observations[name] != nil {
			c.problems.add(&Problem{Object: KindHost + " " + name, Field: "name", What: err.Error()})
		}
	}
	edits := maps.Clone(c.txn.wires)
	for id, w := range edits {
		old := lookup(c.old.wires, id, byIfaceID)
		if w == nil && old == nil || w != nil && old != nil && slices.Equal(w.plugs, old.plugs) {
			delete(edits, id)
		}
	}
	c.dirtyWires = edits
	c.new.wires = merged(c.old.wires, edits, byIfaceID)
	c.new.nextSeq, c.new.yielded = c.txn.nextSeq, c.txn.yielded

	seen := maps.Clone(c.txn.observations)
	for name, o := range seen {
		old := lookup(c.old.observations, name, byObservedHost)
		if o == nil && old == nil || o != nil && old != nil && o.equal(old) {
			delete(seen, name)
			continue
		}
		if o == nil || old == nil || o.tep != old.tep || o.tunnels != old.tunnels {
			c.hostsDiffer = true // and not only what is bound on them
		}
	}
	c.dirtyHosts = seen
	c.new.observations = merged(c.old.observations, seen, byObservedHost)
}

func (o *observation) equal(p *observation) bool {
	return o.tep == p.tep && o.tunnels == p.tunnels && slices.Equal(o.byIface, p.byIface)
}
