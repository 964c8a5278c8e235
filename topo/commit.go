package topo

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/google/uuid"
)

// commit is the work of one Txn.Commit. It builds new from old; what is in
// neither the Txn nor a consequence of it is shared.
type commit struct {
	txn      *Txn
	old, new *Snapshot
	problems problems
	// suggestions counts the searches for a name that was meant.
	suggestions int

	// What is really different, by name; nil is gone.
	tenants  map[string]*Tenant
	networks map[string]*Network
	ports    map[string]*Port
	declared map[string]*Host

	touched map[string]bool // full names of networks whose declared ports or attributes differ
	needMAC []*Port         // new ports without an address, by name

	dirtyWires  map[string]*wire
	dirtyHosts  map[string]*observation
	hostsDiffer bool             // some host may differ from what it was
	resolved    map[string]*Host // hosts that do; nil is gone
}

func newCommit(t *Txn) *commit {
	next := *t.base
	next.revision++
	return &commit{txn: t, old: t.base, new: &next, problems: t.problems, touched: map[string]bool{}}
}

// differs reports whether the new snapshot is another one than the old.
func (c *commit) differs() bool {
	return len(c.tenants)+len(c.networks)+len(c.ports)+len(c.declared) > 0 ||
		len(c.dirtyWires)+len(c.dirtyHosts)+len(c.resolved) > 0 ||
		!sameRows(c.old.learned, c.new.learned) ||
		!slices.Equal(c.old.yielded, c.new.yielded) ||
		!slices.EqualFunc(c.old.retired, c.new.retired, RetiredKey.equal)
}

func (c *commit) applyDesired() {
	c.collectTenants()
	c.collectHosts()
	c.collectNetworks()
	c.collectPorts()

	c.new.tenants = merged(c.old.tenants, c.tenants, byTenantName)
	c.new.declared = merged(c.old.declared, c.declared, byHostName)
	c.new.networks = merged(c.old.networks, c.networks, byFullName)
	c.new.ports = merged(c.old.ports, c.ports, byPortName)

	if len(c.networks) > 0 || c.txn.releaseUpTo > 0 || c.txn.restore != nil {
		c.assignKeys()
	}
	c.rebuildRosters()
	c.checkObjects()
	c.checkReferences()
	c.checkRosters()
	c.rebuildIndexes()
}

// giveID gives out an ID, 0 if there are none left.
func (c *commit) giveID(kind, name string) ID {
	id := c.new.nextID
	if id > MaxID {
		c.problems.add(&Problem{Object: kind + " " + name,
			What: fmt.Sprintf("all %d object numbers have been used", MaxID),
			Hint: "numbers are never used again: start from an empty store with apply"})
		return 0
	}
	c.new.nextID++
	return id
}

// identify settles the ID and the UUID of an object. old is its identity before,
// zero if it is new; given is the UUID that was asked for, zero if none was.
func (c *commit) identify(kind, name string, old object, given uuid.UUID) (ID, uuid.UUID) {
	if old.id == 0 {
		old.id = c.giveID(kind, name)
	}
	if given == uuid.Nil {
		given = old.uuid
	}
	if given == uuid.Nil {
		given = DeriveUUID(kind, name)
	}
	return old.id, given
}

func (c *commit) collectTenants() {
	c.tenants = map[string]*Tenant{}
	for _, name := range sortedKeys(c.txn.tenants) {
		v, old := c.txn.tenants[name], c.old.Tenant(name)
		if v != nil && c.txn.restore == nil {
			var was object
			if old != nil {
				was = object{id: old.ID, uuid: old.UUID}
			}
			v.ID, v.UUID = c.identify(KindTenant, name, was, v.UUID)
		}
		note(c.tenants, name, old, v)
	}
}

func (c *commit) collectHosts() {
	c.declared = map[string]*Host{}
	for _, name := range sortedKeys(c.txn.hosts) {
		v, old := c.txn.hosts[name], lookup(c.old.declared, name, byHostName)
		if v != nil && c.txn.restore == nil {
			var was object
			if h := c.old.Host(name); h != nil { // declared or observed
				was = object{id: h.ID, uuid: h.UUID}
			}
			v.ID, v.UUID = c.identify(KindHost, name, was, v.UUID)
		}
		note(c.declared, name, old, v)
	}
}

func (c *commit) collectNetworks() {
	c.networks = map[string]*Network{}
	for _, name := range sortedKeys(c.txn.networks) {
		v, old := c.txn.networks[name], c.old.Network(name)
		if v != nil && c.txn.restore == nil {
			var was object
			if old != nil {
				was = object{id: old.ID, uuid: old.UUID}
			}
			v.ID, v.UUID = c.identify(KindNetwork, name, was, v.UUID)
			if v.KeyAllocated {
				v.Key = 0
			}
			if v.Key == 0 {
				v.KeyAllocated = true
				if old != nil && old.Encap == v.Encap {
					v.Key = old.Key
				}
			}
		}
		note(c.networks, name, old, v)
	}
	for name := range c.networks {
		c.touched[name] = true
	}
}

func (c *commit) collectPorts() {
	c.ports = map[string]*Port{}
	for _, name := range sortedKeys(c.txn.ports) {
		v, old := c.txn.ports[name], c.old.Port(name)
		if v != nil && c.txn.restore == nil {
			var was object
			if old != nil {
				was = object{id: old.ID, uuid: old.UUID}
			}
			v.ID, v.UUID = c.identify(KindPort, name, was, v.UUID)
			if v.MAC.IsZero() && old != nil && isDerivedMAC(name, old.MAC) {
				v.MAC = old.MAC
			}
			if v.MAC.IsZero() {
				c.needMAC = append(c.needMAC, v)
			}
		}
		note(c.ports, name, old, v)
	}
	for name, v := range c.ports {
		for _, p := range []*Port{c.old.Port(name), v} {
			if p == nil {
				continue
			}
			for _, a := range p.attachments() {
				c.touched[a.network] = true
			}
		}
	}
}

// note adds the object to what is different, if it is.
func note[V any](changed map[string]*V, name string, old, v *V) {
	if old == nil && v == nil || old != nil && v != nil && reflect.DeepEqual(old, v) {
		return
	}
	changed[name] = v
}

// assignKeys frees, checks and allocates tunnel keys, in this order, so that
// an allocation never takes what is asked for in the same Txn.
func (c *commit) assignKeys() {
	retired := c.old.retired
	if c.txn.restore != nil {
		retired = c.txn.restore.Retired
	}
	retired = slices.Clone(retired)
	retired = slices.DeleteFunc(retired, func(r RetiredKey) bool { return r.Revision <= c.txn.releaseUpTo })
	ring := newKeyring(c.old.byKey, retired)
	names := sortedKeys(c.networks)
	for _, name := range names {
		old, v := c.old.Network(name), c.networks[name]
		if old != nil && (v == nil || v.Encap != old.Encap || v.Key != old.Key) {
			ring.retire(old, c.new.revision, c.hostsOf(old))
		}
	}
	var wanting []*Network
	for _, name := range names {
		switch v := c.networks[name]; {
		case v == nil:
		case !v.Encap.Valid():
			c.problems.add(&Problem{Object: KindNetwork + " " + name, Field: "encap",
				What: "no encapsulation is given", Hint: "use gre, vxlan or geneve"})
		case v.Key == 0 && c.txn.restore == nil:
			wanting = append(wanting, v)
		default:
			if p := ring.claim(v); p != nil {
				c.problems.add(p)
			}
		}
	}
	for _, v := range wanting {
		if p := ring.allocate(v); p != nil {
			c.problems.add(p)
		}
	}
	c.new.byKey = merged(c.old.byKey, ring.edits, byKey)
	c.new.retired = ring.rest()
}

// hostsOf are the names of the hosts with a member of the network, sorted.
func (c *commit) hostsOf(n *Network) []string {
	s := c.old.Segment(n.ID)
	if s == nil {
		return nil
	}
	if len(s.Members) == 0 {
		return nil
	}
	return sortedKeys(hostNames(s.Members))
}

// rebuildRosters keeps the list of declared ports of every touched network.
func (c *commit) rebuildRosters() {
	edits := map[string]map[string]*Port{}
	edit := func(network, name string, p *Port) {
		if edits[network] == nil {
			edits[network] = map[string]*Port{}
		}
		edits[network][name] = p
	}
	for name, v := range c.ports {
		if old := c.old.Port(name); old != nil {
			for _, a := range old.attachments() {
				edit(a.network, name, nil)
			}
		}
		if v != nil {
			for _, a := range v.attachments() {
				edit(a.network, name, v)
			}
		}
	}
	rosters := map[string]*roster{}
	for network, ports := range edits {
		was := lookup(c.old.rosters, network, byRosterName)
		if was == nil {
			was = &roster{}
		}
		now := &roster{network: network, ports: merged(was.ports, ports, byPortName)}
		if len(now.ports) == 0 {
			now = nil
		}
		rosters[network] = now
	}
	c.new.rosters = merged(c.old.rosters, rosters, byRosterName)
}

// rebuildIndexes keeps the indexes over the objects of all kinds. Observed
// hosts are not in c.declared: resolveHosts indexes hosts.
func (c *commit) rebuildIndexes() {
	ids := &indexEdits{c: c, ids: map[ID]*object{}, uuids: map[string]*object{}}
	each(c.old.Tenant, c.tenants, ids.add, func(v *Tenant, name string) *object {
		return &object{v.ID, v.UUID, KindTenant, name}
	})
	each(c.old.Network, c.networks, ids.add, func(v *Network, name string) *object {
		return &object{v.ID, v.UUID, KindNetwork, name}
	})
	each(c.old.Port, c.ports, ids.add, func(v *Port, name string) *object {
		return &object{v.ID, v.UUID, KindPort, name}
	})
	ids.apply()
}

// each hands every difference to add, as the object before and after.
func each[V any](before func(string) *V, changed map[string]*V, add func(old, now *object), identity func(*V, string) *object) {
	for _, name := range sortedKeys(changed) {
		var old, now *object
		if v := before(name); v != nil {
			old = identity(v, name)
		}
		if v := changed[name]; v != nil {
			now = identity(v, name)
		}
		add(old, now)
	}
}

// indexEdits are changes to byID and byUUID, which hold every object once.
type indexEdits struct {
	c       *commit
	ids     map[ID]*object
	uuids   map[string]*object
	pending []*object
}

func (e *indexEdits) add(old, now *object) {
	if old != nil {
		e.ids[old.id] = nil
		e.uuids[string(old.uuid[:])] = nil
	}
	if now != nil && now.id != 0 { // the lack of a number is a Problem of its own
		e.pending = append(e.pending, now)
	}
}

// apply adds what is pending, after everything that went has gone.
func (e *indexEdits) apply() {
	n := e.c.new
	for _, o := range e.pending {
		u := string(o.uuid[:])
		other, edited := e.uuids[u]
		if !edited {
			other = lookup(n.byUUID, u, byObjectUUID)
		}
		if other != nil {
			e.c.problems.add(&Problem{Object: o.kind + " " + o.name, Field: "uuid", Other: other.kind + " " + other.name,
				What: fmt.Sprintf("UUID %s is already that of %s %s", o.uuid, other.kind, other.name),
				Hint: "leave it out to have one derived from the name"})
			continue
		}
		if other, edited = e.ids[o.id]; !edited {
			other = lookup(n.byID, o.id, byObjectID)
		}
		if other != nil {
			e.c.problems.add(&Problem{Object: o.kind + " " + o.name, Field: "id", Other: other.kind + " " + other.name,
				What: fmt.Sprintf("number %d is already that of %s %s", o.id, other.kind, other.name),
				Hint: "the stored state is damaged: restore it from a backup or from the topology file"})
			continue
		}
		e.uuids[u], e.ids[o.id] = o, o
	}
	n.byID = merged(n.byID, e.ids, byObjectID)
	n.byUUID = merged(n.byUUID, e.uuids, byObjectUUID)
}

func (r RetiredKey) equal(o RetiredKey) bool {
	return r.Encap == o.Encap && r.Key == o.Key && r.Network == o.Network && r.Revision == o.Revision && slices.Equal(r.Hosts, o.Hosts)
}

// dirtyPorts are the names of the ports whose part in any segment may differ.
func (c *commit) dirtyPorts() map[string]bool {
	dirty := map[string]bool{}
	for name := range c.ports {
		dirty[name] = true
	}
	for id := range c.dirtyWires {
		for _, s := range []*Snapshot{c.old, c.new} {
			if p := s.PortByIfaceID(id); p != nil {
				dirty[p.Name] = true
			}
		}
	}
	for name, n := range c.networks {
		if old := c.old.Network(name); n != nil && old != nil && n.Type != old.Type {
			for _, p := range c.new.PortsIn(name) { // what is learned differs
				dirty[p.Name] = true
			}
		}
	}
	for name := range c.resolved {
		if o := lookup(c.new.observations, name, byObservedHost); o != nil {
			for _, plug := range o.byIface {
				if p := c.new.PortByIfaceID(plug.ifaceID); p != nil {
					dirty[p.Name] = true
				}
			}
		}
	}
	return dirty
}
