package explain

import (
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// FromSnapshot is what a snapshot says of the overlay, its numbers included.
func FromSnapshot(s *topo.Snapshot) *Overlay {
	o := &Overlay{}
	for _, h := range s.Hosts() {
		tunnels := map[string]uint32{}
		for e := topo.GRE; e <= topo.Geneve; e++ {
			if n := h.Tunnel(e); n != 0 {
				tunnels[e.String()] = n
			}
		}
		o.Hosts = append(o.Hosts, Host{Name: h.Name, ID: h.ID, TEP: h.TEP, Tunnels: tunnels})
	}
	for _, n := range s.Networks() {
		o.Networks = append(o.Networks, Network{Name: n.FullName(), ID: n.ID, Encap: n.Encap.String(), Key: n.Key, Subnets: n.Subnets,
			Allocated: n.KeyAllocated, Wire: n.Type == topo.TypeWire})
	}
	for _, p := range s.Ports() {
		e := Port{Name: p.Name, ID: p.ID, MAC: p.MAC, Networks: memberships(p)}
		if b := s.Bindings(p.Name); len(b) > 0 {
			e.Host, e.OFPort = b[0].Host, b[0].OFPort
		}
		if m, ok := s.Migration(p.Name); ok {
			e.Standby = Place{m.Standby.Host, m.Standby.OFPort}
		}
		o.Ports = append(o.Ports, e)
	}
	return o
}

func memberships(p *topo.Port) []Membership {
	if p.Trunk == nil {
		return []Membership{{Network: p.Network, Addresses: p.Addresses}}
	}
	var out []Membership
	if n := p.Trunk.Native; n != nil {
		out = append(out, Membership{Network: n.Network, Addresses: n.Addresses})
	}
	for _, v := range p.Trunk.VLANs {
		out = append(out, Membership{Network: v.Network, Tagged: true, VLAN: v.VLAN, Addresses: v.Addresses})
	}
	return out
}

// Recognise finds the numbers of an overlay that is known by names only, from what the
// switches hold: tunnel ports and networks by their keys, ports by their MACs. What
// the flows do not say, or say of more than one object, stays unknown.
func (o *Overlay) Recognise(tables map[string]*Tables) {
	r := &recogniser{o: o, clues: map[string][]pipeline.Clue{}}
	for _, h := range o.Hosts {
		if t := tables[h.Name]; t != nil {
			for _, f := range t.Flows {
				if c, ok := pipeline.ClueOf(f); ok {
					r.clues[h.Name] = append(r.clues[h.Name], c)
				}
			}
		}
	}
	r.clear()
	// Each pass knows more than the one before: the network of a key that two
	// encapsulations have shows the tunnel port, and the tunnel port the network.
	for r.pass() {
	}
	for i := range o.Hosts {
		r.otherTunnels(&o.Hosts[i])
	}
}

// otherTunnels finds the tunnel ports that no network's key has shown. One that is left
// of as many as there are encapsulations is that of the encapsulation that is left.
func (r *recogniser) otherTunnels(h *Host) {
	all := 0
	for _, c := range r.clues[h.Name] {
		if c.Kind == pipeline.ClueTunnel {
			if all++; h.encap(c.OFPort) == "" {
				h.OtherTunnels = append(h.OtherTunnels, c.OFPort)
			}
		}
	}
	encaps := []string{topo.GRE.String(), topo.VXLAN.String(), topo.Geneve.String()}
	if all != len(encaps) || len(h.OtherTunnels) != 1 {
		return
	}
	for _, e := range encaps {
		if _, known := h.Tunnels[e]; !known {
			h.Tunnels[e], h.OtherTunnels = h.OtherTunnels[0], nil
			return
		}
	}
}

type recogniser struct {
	o     *Overlay
	clues map[string][]pipeline.Clue
}

// clear forgets numbers that a file cannot know.
func (r *recogniser) clear() {
	for i := range r.o.Hosts {
		r.o.Hosts[i].ID, r.o.Hosts[i].Tunnels = 0, map[string]uint32{}
	}
	for i := range r.o.Networks {
		r.o.Networks[i].ID = 0
		if r.o.Networks[i].Allocated {
			r.o.Networks[i].Key = 0
		}
	}
	for i := range r.o.Ports {
		p := &r.o.Ports[i]
		p.ID, p.Host, p.OFPort, p.Standby, p.Why = 0, "", 0, Place{}, "no dump has a flow that sends to its MAC "+p.MAC.String()
	}
}

// pass takes every clue once, and reports whether it learned anything.
func (r *recogniser) pass() bool {
	learned := false
	for i := range r.o.Hosts {
		h := &r.o.Hosts[i]
		for _, c := range r.clues[h.Name] {
			switch c.Kind {
			case pipeline.ClueKey:
				learned = r.key(h, c) || learned
			case pipeline.ClueMember:
				learned = r.member(h, c) || learned
			case pipeline.ClueHost:
				if h.ID == 0 {
					h.ID, learned = c.Owner, true
				}
			}
		}
	}
	return learned
}

// key takes the clue that a network has a key behind a tunnel port.
func (r *recogniser) key(h *Host, c pipeline.Clue) bool {
	var fits []*Network
	for i := range r.o.Networks {
		n := &r.o.Networks[i]
		switch {
		case n.ID != 0 && n.ID != c.Network:
			continue
		case n.Key == c.Key, n.Key == 0 && n.ID != 0:
			// A key that the controller chose is not in the file: only its ID shows the network.
		default:
			continue
		}
		if t, known := h.Tunnels[n.Encap]; known && t != c.OFPort {
			continue
		}
		if other := h.encap(c.OFPort); other != "" && other != n.Encap {
			continue
		}
		fits = append(fits, n)
	}
	if len(fits) != 1 || fits[0].ID != 0 && fits[0].Key != 0 && h.Tunnels[fits[0].Encap] != 0 {
		return false
	}
	fits[0].ID, fits[0].Key, h.Tunnels[fits[0].Encap] = c.Network, c.Key, c.OFPort
	return true
}

func (h *Host) encap(ofport uint32) string {
	for e, n := range h.Tunnels {
		if n == ofport {
			return e
		}
	}
	return ""
}

// member takes the clue that a MAC in a network is behind a port.
func (r *recogniser) member(h *Host, c pipeline.Clue) bool {
	var fits []*Port
	for i := range r.o.Ports {
		p := &r.o.Ports[i]
		if p.MAC != c.MAC || p.ID != 0 && p.ID != c.Owner || !slices.ContainsFunc(p.Networks, func(m Membership) bool {
			n := r.o.network(m.Network)
			return n != nil && (n.ID == c.Network || n.ID == 0)
		}) {
			continue
		}
		fits = append(fits, p)
	}
	if len(fits) != 1 {
		return false
	}
	p, learned := fits[0], false
	if p.ID == 0 {
		p.ID, learned = c.Owner, true
	}
	if c.OFPort != 0 && p.Host == "" {
		p.Host, p.OFPort, p.Why, learned = h.Name, c.OFPort, "", true
	}
	if len(p.Networks) == 1 {
		if n := r.o.network(p.Networks[0].Network); n.ID == 0 {
			n.ID, learned = c.Network, true
		}
	}
	return learned
}
