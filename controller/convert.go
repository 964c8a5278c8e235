package controller

import (
	"strings"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

func (v *view) apiHost(h *topo.Host) api.Host {
	return api.Host{
		HostSpec: api.HostSpec{Name: h.Name, TEP: h.TEP},
		ID:       uint32(h.ID), UUID: h.UUID, Declared: h.Declared, Status: v.hostStatus(h),
	}
}

func (v *view) apiTenant(t *topo.Tenant) api.Tenant {
	out := api.Tenant{Name: t.Name, ID: uint32(t.ID), UUID: t.UUID, Networks: []string{}}
	counted := map[*topo.Port]bool{}
	for _, n := range v.model.Networks() {
		if n.Tenant != t.Name {
			continue
		}
		out.Networks = append(out.Networks, n.FullName())
		for _, p := range v.model.PortsIn(n.FullName()) {
			if counted[p] {
				continue
			}
			counted[p] = true
			out.Ports++
			if v.portStatus(p).State.Carries() {
				out.PortsUp++
			}
		}
	}
	return out
}

func (v *view) apiNetwork(n *topo.Network) api.Network {
	out := api.Network{NetworkSpec: networkSpec(n), ID: uint32(n.ID), UUID: n.UUID, KeyAllocated: n.KeyAllocated}
	out.Status.Hosts = []string{}
	seen := map[string]bool{}
	if s := v.model.Segment(n.ID); s != nil {
		for _, m := range s.Members {
			seen[m.Host.Name] = true
		}
	}
	for _, h := range v.model.Hosts() {
		if seen[h.Name] {
			out.Status.Hosts = append(out.Status.Hosts, h.Name)
		}
	}
	for _, p := range v.model.PortsIn(n.FullName()) {
		out.Status.Ports++
		if v.portStatus(p).State.Carries() {
			out.Status.PortsUp++
		}
	}
	if mtu, err := topo.MTU(v.model.meta.Underlay.MTU, n.Encap, v.model.OverIPv6()); err == nil {
		if n.IsWire() {
			mtu -= topo.WireOverhead
		}
		out.Status.MTU = mtu
	}
	return out
}

func (v *view) apiPort(p *topo.Port) api.Port {
	out := api.Port{PortSpec: portSpec(p), ID: uint32(p.ID), UUID: p.UUID, Status: v.portStatus(p)}
	if len(v.model.Bindings(p.Name)) > 0 {
		// It counts in all of a trunk's networks, each of which asks for the rest of the status.
		out.Status.Learning = v.learning(p)
	}
	return out
}

func networkSpec(n *topo.Network) api.NetworkSpec {
	out := api.NetworkSpec{Tenant: n.Tenant, Name: n.Name, Type: n.Type.String(), Encap: n.Encap.String(), Key: n.Key, Subnets: n.Subnets, Answer: n.Answer.String()}
	if n.IsWire() {
		out.Carrier = n.Carrier.String()
	}
	return out
}

func portSpec(p *topo.Port) api.PortSpec {
	return api.PortSpec{
		Name: p.Name, MAC: p.MAC.String(), Profile: p.Profile.String(), MACs: p.MACs, Network: p.Network, Addresses: p.Addresses,
		Trunk: apiTrunk(p.Trunk), Host: p.Host, Netns: p.Netns, Interface: p.Interface, Guest: p.Guest,
		MigrateTo: p.MigrateTo,
	}
}

func apiTrunk(t *topo.Trunk) *api.Trunk {
	if t == nil {
		return nil
	}
	out := &api.Trunk{}
	if n := t.Native; n != nil {
		out.Native = &api.SubPort{Network: n.Network, Addresses: n.Addresses}
	}
	for _, s := range t.VLANs {
		out.VLANs = append(out.VLANs, api.SubPort{VLAN: s.VLAN, Network: s.Network, Addresses: s.Addresses})
	}
	return out
}

// topoNetwork is what a request asks for. The name is the path's.
func topoNetwork(s api.NetworkSpec) (topo.Network, error) {
	n := topo.Network{Tenant: s.Tenant, Name: s.Name, Key: s.Key, Subnets: s.Subnets}
	if err := n.Encap.UnmarshalText([]byte(s.Encap)); err != nil {
		return n, &topo.Problem{Object: "network " + s.FullName(), Field: "encap", What: err.Error(), Hint: "use gre, vxlan or geneve"}
	}
	wrong := func(field string, err error) error {
		what, hint, _ := strings.Cut(err.Error(), "; ")
		return &topo.Problem{Object: "network " + s.FullName(), Field: field, What: what, Hint: hint}
	}
	if s.Answer != "" {
		if err := n.Answer.UnmarshalText([]byte(s.Answer)); err != nil {
			return n, wrong("answer", err)
		}
	}
	if s.Type != "" {
		if err := n.Type.UnmarshalText([]byte(s.Type)); err != nil {
			return n, wrong("type", err)
		}
	}
	if s.Carrier != "" {
		if err := n.Carrier.UnmarshalText([]byte(s.Carrier)); err != nil {
			return n, wrong("carrier", err)
		}
	}
	return n, nil
}

func topoPort(s api.PortSpec) (topo.Port, error) {
	p := topo.Port{
		Name: s.Name, MACs: s.MACs, Network: s.Network, Addresses: s.Addresses,
		Host: s.Host, Netns: s.Netns, Interface: s.Interface, Guest: s.Guest,
		MigrateTo: s.MigrateTo,
	}
	wrong := func(field string, err error) error {
		return &topo.Problem{Object: "port " + s.Name, Field: field, What: err.Error()}
	}
	if s.MAC != "" {
		mac, err := topo.ParseMAC(s.MAC)
		if err != nil {
			return p, wrong("mac", err)
		}
		p.MAC = mac
	}
	if s.Profile != "" {
		profile, err := topo.ParseProfile(s.Profile)
		if err != nil {
			return p, wrong("profile", err)
		}
		p.Profile = profile
	}
	if s.Trunk != nil {
		p.Trunk = &topo.Trunk{}
		if n := s.Trunk.Native; n != nil {
			p.Trunk.Native = &topo.SubPort{Network: n.Network, Addresses: n.Addresses}
		}
		for _, v := range s.Trunk.VLANs {
			p.Trunk.VLANs = append(p.Trunk.VLANs, topo.SubPort{VLAN: v.VLAN, Network: v.Network, Addresses: v.Addresses})
		}
	}
	return p, nil
}
