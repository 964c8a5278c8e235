package topo

import "fmt"

// Desired is the part of a Snapshot that is to be stored: the intent and what was
// given out for it. Nothing observed is in it. It goes through JSON unchanged.
type Desired struct {
	// Revision is that of the Snapshot. Revisions that only observed something
	// are not stored, so after a restart they may be used again.
	Revision uint64       `json:"revision"`
	NextID   ID           `json:"next_id"`
	Hosts    []Host       `json:"hosts,omitempty"`
	Tenants  []Tenant     `json:"tenants,omitempty"`
	Networks []Network    `json:"networks,omitempty"`
	Ports    []Port       `json:"ports,omitempty"`
	Retired  []RetiredKey `json:"retired,omitempty"`
}

// Desired is the part of s that is to be stored, everything in the order of
// names. Inner slices are shared with s: callers do not write to them.
func (s *Snapshot) Desired() Desired {
	return Desired{
		Revision: s.revision,
		NextID:   s.nextID,
		Hosts:    values(s.declared),
		Tenants:  values(s.tenants),
		Networks: values(s.networks),
		Ports:    values(s.ports),
		Retired:  s.retired,
	}
}

func values[V any](rows []*V) []V {
	if len(rows) == 0 {
		return nil
	}
	out := make([]V, len(rows))
	for i, r := range rows {
		out[i] = *r
	}
	return out
}

// Topology is the intent of d, as Txn.Replace takes it.
func (d Desired) Topology() Topology {
	return Topology{Hosts: d.Hosts, Tenants: d.Tenants, Networks: d.Networks, Ports: d.Ports}
}

// Restore is the Snapshot from which d was taken, without what was observed.
// What was stored is checked like everything else that comes from outside: the
// error joins all Problems.
func Restore(d Desired) (*Snapshot, error) {
	t := Empty().Begin()
	t.restore = &d
	t.checkStored()
	t.Replace(d.Topology())
	c, err := t.commit()
	if err != nil {
		return nil, fmt.Errorf("restore the stored topology: %w", err)
	}
	c.new.revision, c.new.nextID = d.Revision, d.NextID
	return c.new, nil
}

// checkStored finds what Commit never produces and a damaged store may hold.
func (t *Txn) checkStored() {
	const hint = "the stored state is damaged: restore it from a backup or from the topology file"
	d := t.restore
	bad := func(kind, name, field, format string, args ...any) {
		t.problems.add(&Problem{Object: kind + " " + name, Field: field, What: fmt.Sprintf(format, args...), Hint: hint})
	}
	if d.NextID == 0 || d.NextID > MaxID+1 {
		bad("store", "topology", "next_id", "the next number %d is outside 1 to %d", d.NextID, MaxID+1)
	}
	check := func(o object) {
		if o.id == 0 || o.id >= d.NextID {
			bad(o.kind, o.name, "id", "number %d was never given out: the next one is %d", o.id, d.NextID)
		}
		if o.uuid == [16]byte{} {
			bad(o.kind, o.name, "uuid", "there is no UUID")
		}
	}
	for _, v := range d.Hosts {
		check(object{v.ID, v.UUID, KindHost, v.Name})
	}
	for _, v := range d.Tenants {
		check(object{v.ID, v.UUID, KindTenant, v.Name})
	}
	for _, v := range d.Networks {
		check(object{v.ID, v.UUID, KindNetwork, v.FullName()})
	}
	for _, v := range d.Ports {
		check(object{v.ID, v.UUID, KindPort, v.Name})
		if v.MAC.IsZero() {
			bad(KindPort, v.Name, "mac", "there is no Ethernet address")
		}
	}
	for _, r := range d.Retired {
		if lowest, highest := r.Encap.KeyRange(); r.Key < lowest || r.Key > highest || !r.Encap.Valid() {
			bad(KindNetwork, r.Network, "retired", "%s key %d does not exist", r.Encap, r.Key)
		}
	}
}
