package trace

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// Host is a switch in a Network.
type Host struct {
	Name   string
	Switch *Switch
	// TEPs are the addresses at which tunnels to the host end.
	TEPs []netip.Addr
}

// Network is switches that reach each other by tunnels. It is immutable and safe for
// concurrent use.
type Network struct {
	hosts map[string]*Host
	teps  map[netip.Addr]*Host
}

// NewNetwork is a network of those hosts. A name or an address that two of them have
// is an error.
func NewNetwork(hosts ...Host) (*Network, error) {
	n := &Network{hosts: map[string]*Host{}, teps: map[netip.Addr]*Host{}}
	for i := range hosts {
		h := &hosts[i]
		if n.hosts[h.Name] != nil {
			return nil, fmt.Errorf("network: host %s twice", h.Name)
		}
		n.hosts[h.Name] = h
		for _, a := range h.TEPs {
			if other := n.teps[a.Unmap()]; other != nil {
				return nil, fmt.Errorf("network: hosts %s and %s both have tunnel endpoint %s", other.Name, h.Name, a)
			}
			n.teps[a.Unmap()] = h
		}
	}
	return n, nil
}

// Hop is what happens on one switch, and on those that its outputs lead to.
type Hop struct {
	Host   string
	Result Result
	// Next are the hops behind the tunnels of each branch, by branch and output.
	Next []NextHop
}

// NextHop is where an output through a tunnel leads.
type NextHop struct {
	Branch, Output int
	Hop            *Hop // nil when the packet arrives nowhere: Lost says why
	Lost           string
}

// maxHops bounds how many tunnels one after the other a packet is followed through.
// In an overlay without routers it goes through one.
const maxHops = 16

// maxVisits bounds the hops of one trace altogether.
const maxVisits = 4096

// Trace follows a packet that comes in by a port of a host, from host to host, to
// every port where a copy of it ends. An unknown host is an error.
func (n *Network) Trace(host string, p *Packet, o Options) (*Hop, error) {
	h := n.hosts[host]
	if h == nil {
		return nil, fmt.Errorf("network: no host %q", host)
	}
	t := &walk{n: n, o: o}
	return t.hop(h, p, maxHops), nil
}

type walk struct {
	n      *Network
	o      Options
	visits int
}

func (w *walk) hop(h *Host, p *Packet, left int) *Hop {
	w.visits++
	hop := &Hop{Host: h.Name, Result: h.Switch.Trace(p, w.o)}
	for b := range hop.Result.Branches {
		for i := range hop.Result.Branches[b].Outputs {
			if out := &hop.Result.Branches[b].Outputs[i]; out.Tunnel != nil {
				hop.Next = append(hop.Next, w.through(h, out, left))
				hop.Next[len(hop.Next)-1].Branch, hop.Next[len(hop.Next)-1].Output = b, i
			}
		}
	}
	return hop
}

// through follows a copy through a tunnel to the host where it ends.
func (w *walk) through(from *Host, out *Output, left int) NextHop {
	lost := func(format string, args ...any) NextHop { return NextHop{Lost: fmt.Sprintf(format, args...)} }
	via := out.Tunnel
	to := w.n.teps[via.Remote]
	if to == nil {
		return lost("no host has tunnel endpoint %s", via.Remote)
	}
	if left == 0 || w.visits >= maxVisits {
		return lost("a loop: the packet went through %d tunnels", maxHops)
	}
	src := from.source(via.Remote)
	in := to.tunnel(via.Encap, src)
	if in == nil {
		return lost("host %s has no %s port for packets from %s", to.Name, via.Encap, src)
	}
	key := via.Key & keyMask(via.Encap)
	if in.Tunnel.Key != nil && *in.Tunnel.Key != key {
		return lost("the %s port of host %s takes key %d, not %d", via.Encap, to.Name, *in.Tunnel.Key, key)
	}
	p, err := NewPacket(in.Number, out.Frame)
	if err != nil {
		return lost("%v", err)
	}
	p.u(flows.TunID, key)
	p.endpoints(src, via.Remote)
	for _, f := range out.Unsure() {
		p.unsure.add(f)
	}
	return NextHop{Hop: w.hop(to, p, left-1)}
}

// endpoints sets the addresses of the tunnel that the packet came by.
func (p *Packet) endpoints(src, dst netip.Addr) {
	if dst.Is4() {
		p.fields[flows.TunIPv4Dst] = flows.IP(dst)
		if src.IsValid() {
			p.fields[flows.TunIPv4Src] = flows.IP(src)
		}
		return
	}
	p.fields[flows.TunIPv6Dst] = flows.IP(dst)
	if src.IsValid() {
		p.fields[flows.TunIPv6Src] = flows.IP(src)
	}
}

// SetTunnel makes p a packet that came by a tunnel with that key, from src to dst.
func (p *Packet) SetTunnel(key uint64, src, dst netip.Addr) {
	p.u(flows.TunID, key)
	p.endpoints(src.Unmap(), dst.Unmap())
}

// source is the host's endpoint of the address family of a peer, none if it has none.
func (h *Host) source(peer netip.Addr) netip.Addr {
	i := slices.IndexFunc(h.TEPs, func(a netip.Addr) bool { return a.Unmap().Is4() == peer.Is4() })
	if i < 0 {
		return netip.Addr{}
	}
	return h.TEPs[i].Unmap()
}

// tunnel is the port at which tunnels of an encapsulation from a peer end: the one
// for that peer, or the one for all.
func (h *Host) tunnel(encap string, peer netip.Addr) *Port {
	var all *Port
	for _, p := range h.Switch.order {
		switch {
		case p.Tunnel == nil || p.Tunnel.Encap != encap:
		case !p.Tunnel.Remote.IsValid():
			all = p
		case p.Tunnel.Remote == peer:
			return p
		}
	}
	return all
}

// keyMask is the bits of a tunnel key that an encapsulation carries (RFC 2890, 7348
// and 8926).
func keyMask(encap string) uint64 {
	if encap == "gre" {
		return 1<<32 - 1
	}
	return 1<<24 - 1
}
