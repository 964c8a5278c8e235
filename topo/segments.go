package topo

import "slices"

// rebuildSegments keeps the segments: only those with a changed network or a
// dirty port are made anew.
func (c *commit) rebuildSegments(learned *learner) {
	edits := map[ID]map[ID]*Member{} // network, port: nil is gone
	edit := func(network, port ID, m *Member) {
		if edits[network] == nil {
			edits[network] = map[ID]*Member{}
		}
		edits[network][port] = m
	}
	dirty := c.dirtyPorts()
	for _, name := range learned.ports() {
		dirty[name] = true
	}
	for name := range dirty {
		if p := c.old.Port(name); p != nil && c.old.effective(p) != nil {
			for _, a := range p.attachments() {
				if n := c.old.Network(a.network); n != nil {
					edit(n.ID, p.ID, nil)
				}
			}
		}
		p := c.new.Port(name)
		if p == nil {
			continue
		}
		claims := c.new.claims(p)
		if len(claims) == 0 {
			continue
		}
		plug := claims[0]
		var other Standby
		if q := standby(p, claims); q != nil {
			other = Standby{Host: c.new.Host(q.host), OFPort: q.ofport, Watched: q.watched()}
		}
		for _, a := range p.attachments() {
			n := c.new.Network(a.network)
			m := &Member{Port: p, Sub: a.sub, Host: c.new.Host(plug.host), OFPort: plug.ofport, Standby: other}
			was := c.old.memberOf(p, n.ID)
			if was != nil {
				m.Learned = was.Learned
			}
			m.Learned = learned.of(p, n, m.Learned)
			if was != nil && *was == *m {
				m = was
			}
			edit(n.ID, p.ID, m)
		}
	}

	segments := map[ID]*Segment{}
	for name, n := range c.networks {
		if n != nil {
			segments[n.ID] = &Segment{Network: n}
		} else {
			segments[c.old.Network(name).ID] = nil
		}
	}
	down := c.collectDown(dirty)
	for _, ids := range []map[ID]map[ID]*Member{edits, down} {
		for id := range ids {
			if _, ok := segments[id]; !ok {
				segments[id] = &Segment{Network: c.old.Segment(id).Network}
			}
		}
	}
	for id, s := range segments {
		old := c.old.Segment(id)
		if s == nil {
			continue
		}
		if old == nil {
			old = &Segment{}
		}
		s.Members = merged(old.Members, edits[id], byMemberID)
		s.Down = c.downIn(s.Network, down)
		if old.Network == s.Network && slices.Equal(old.Members, s.Members) && slices.Equal(old.Down, s.Down) {
			delete(segments, id)
		}
	}
	c.new.segments = merged(c.old.segments, segments, bySegmentID)
	c.rebuildPresence(segments)
}

// rebuildPresence keeps the index of the segments of each host.
func (c *commit) rebuildPresence(segments map[ID]*Segment) {
	edits := map[string]map[ID]bool{} // host, network: whether it is there now
	for id, s := range segments {
		var before, after []*Member
		if old := c.old.Segment(id); old != nil {
			before = old.Members
		}
		if s != nil {
			after = s.Members
		}
		for host, now := range moved(before, after) {
			if edits[host] == nil {
				edits[host] = map[ID]bool{}
			}
			edits[host][id] = now
		}
	}
	present := map[string]*presence{}
	for host, networks := range edits {
		var ids []ID
		if p := lookup(c.old.present, host, byPresenceHost); p != nil {
			ids = p.networks
		}
		ids = withEdits(ids, networks)
		present[host] = nil
		if len(ids) > 0 {
			present[host] = &presence{host: host, networks: ids}
		}
	}
	c.new.present = merged(c.old.present, present, byPresenceHost)
}

// moved are the hosts that have a member on one side only: true those in after.
func moved(before, after []*Member) map[string]bool {
	// Mostly one member differs; what is the same at both ends need not be looked at.
	b, a := before, after
	for len(b) > 0 && len(a) > 0 && b[0] == a[0] {
		b, a = b[1:], a[1:]
	}
	for len(b) > 0 && len(a) > 0 && b[len(b)-1] == a[len(a)-1] {
		b, a = b[:len(b)-1], a[:len(a)-1]
	}
	out := map[string]bool{}
	gone, come := hostNames(b), hostNames(a)
	for host := range gone {
		if !come[host] && !has(after, host) {
			out[host] = false
		}
	}
	for host := range come {
		if !gone[host] && !has(before, host) {
			out[host] = true
		}
	}
	return out
}

func hostNames(members []*Member) map[string]bool {
	out := map[string]bool{}
	for _, m := range members {
		out[m.Host.Name] = true
		if m.Standby.Host != nil {
			out[m.Standby.Host.Name] = true
		}
	}
	return out
}

func has(members []*Member, host string) bool {
	return slices.ContainsFunc(members, func(m *Member) bool {
		return m.Host.Name == host || m.Standby.Host != nil && m.Standby.Host.Name == host
	})
}

// withEdits is the ascending ids with some put in (true) and some taken out.
func withEdits(ids []ID, edits map[ID]bool) []ID {
	out := make([]ID, 0, len(ids)+len(edits))
	for _, id := range sortedKeys(edits) {
		i, ok := slices.BinarySearch(ids, id)
		out = append(out, ids[:i]...)
		if edits[id] {
			out = append(out, id)
		}
		if ok {
			i++
		}
		ids = ids[i:]
	}
	return append(out, ids...)
}
