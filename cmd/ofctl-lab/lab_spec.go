package main

import (
	"fmt"
	"net/netip"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// labSpec is the lab that a topology file describes. Ports without a host are
// not attached anywhere: they wait for their iface-id to show up. So do guests
// without a host.
func labSpec(t *topology) (lab.Spec, error) {
	spec := lab.Spec{Name: t.Name, Underlay: lab.Underlay{Subnets: t.Underlay.Subnets, MTU: t.Underlay.MTU}}
	for _, h := range t.snapshot.Hosts() {
		spec.Hosts = append(spec.Hosts, lab.Host{Name: h.Name, TEP: h.TEP})
	}
	for _, p := range t.snapshot.Ports() {
		if p.Host == "" || p.Guest != "" {
			continue // a guest's network card comes with the guest
		}
		a, err := attachment(t.snapshot, p, t.Underlay.MTU)
		if err != nil {
			return lab.Spec{}, err
		}
		spec.Attachments = append(spec.Attachments, a)
	}
	for i, g := range t.Guests {
		if g.Host == "" {
			continue // somebody else starts it
		}
		spec.Machines = append(spec.Machines, lab.Machine{Machine: t.machines[i], Host: g.Host})
	}
	if err := spec.Check(); err != nil {
		return lab.Spec{}, err
	}
	return spec, nil
}

// attachment is how a lab attaches the guest of a port.
func attachment(s *topo.Snapshot, p *topo.Port, underlayMTU int) (lab.Attachment, error) {
	mtu, err := s.PortMTU(p.Name, underlayMTU)
	if err != nil {
		return lab.Attachment{}, err
	}
	a := lab.Attachment{Port: p.Name, Host: p.Host, Netns: p.Netns, Interface: p.Interface, MAC: p.MAC[:], MTU: mtu}
	if p.Trunk == nil {
		a.Addresses = prefixes(s, p.Network, p.Addresses)
		return a, nil
	}
	if n := p.Trunk.Native; n != nil {
		a.Addresses = prefixes(s, n.Network, n.Addresses)
	}
	for _, sub := range p.Trunk.VLANs {
		a.VLANs = append(a.VLANs, lab.VLAN{ID: sub.VLAN, Addresses: prefixes(s, sub.Network, sub.Addresses), MTU: mtu})
	}
	return a, nil
}

// prefixes are the addresses with the length of the network's subnet that holds each.
func prefixes(s *topo.Snapshot, network string, addrs []netip.Addr) []netip.Prefix {
	var subnets []netip.Prefix
	if n := s.Network(network); n != nil {
		subnets = n.Subnets
	}
	out := make([]netip.Prefix, 0, len(addrs))
	for _, a := range addrs {
		out = append(out, withLength(a, subnets))
	}
	return out
}

// withLength is the address with the length of the subnet that holds it, its
// full length if none does.
func withLength(a netip.Addr, subnets []netip.Prefix) netip.Prefix {
	for _, p := range subnets {
		if p.Contains(a) {
			return netip.PrefixFrom(a, p.Bits())
		}
	}
	return netip.PrefixFrom(a, a.BitLen())
}

// execTarget is where commands for a port's namespace run: HOST/NETNS.
func execTarget(a lab.Attachment) string {
	netns := a.Netns
	if netns == "" {
		netns = a.Port
	}
	return fmt.Sprintf("%s/%s", a.Host, netns)
}
