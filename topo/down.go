package topo

// downEdits are changes to the Segment.Down of networks that answer for ports
// that are down: by network and port, nil is one that is down no more.
type downEdits map[ID]map[ID]*Member

// collectDown compares the parts of the ports that may differ.
func (c *commit) collectDown(dirty map[string]bool) downEdits {
	edits := downEdits{}
	put := func(network, port ID, m *Member) {
		if edits[network] == nil {
			edits[network] = map[ID]*Member{}
		}
		edits[network][port] = m
	}
	for name := range dirty {
		if p := c.old.Port(name); p != nil {
			for _, a := range p.attachments() {
				if n := c.old.Network(a.network); n != nil && c.old.downMember(n.ID, p.ID) != nil {
					put(n.ID, p.ID, nil)
				}
			}
		}
		p := c.new.Port(name)
		if p == nil || len(c.new.claims(p)) > 0 {
			continue
		}
		for _, a := range p.attachments() {
			if n := c.new.Network(a.network); n.Answer == AnswerDeclared {
				put(n.ID, p.ID, c.down(n, p, a))
			}
		}
	}
	return edits
}

// downIn is the Down of a network's next Segment.
func (c *commit) downIn(n *Network, edits downEdits) []*Member {
	var old []*Member
	if s := c.old.Segment(n.ID); s != nil {
		old = s.Down
	}
	if c.networks[n.FullName()] == nil {
		return merged(old, edits[n.ID], byMemberID)
	}
	// The network itself differs, and with it perhaps for whom it answers.
	if n.Answer != AnswerDeclared {
		return nil
	}
	all := map[ID]*Member{}
	for _, p := range c.new.PortsIn(n.FullName()) {
		if len(c.new.claims(p)) > 0 {
			continue
		}
		for _, a := range p.attachments() {
			if a.network == n.FullName() {
				all[p.ID] = c.down(n, p, a)
			}
		}
	}
	return merged(nil, all, byMemberID)
}

// down is the part of a port that is down, the one it was if nothing differs.
func (c *commit) down(n *Network, p *Port, a attachment) *Member {
	m := &Member{Port: p, Sub: a.sub}
	if was := c.old.downMember(n.ID, p.ID); was != nil && *was == *m {
		return was
	}
	return m
}

// downMember is the port's entry in the network's Segment.Down, nil if there is none.
func (s *Snapshot) downMember(network, port ID) *Member {
	if seg := s.Segment(network); seg != nil {
		return lookup(seg.Down, port, byMemberID)
	}
	return nil
}
