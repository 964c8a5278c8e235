package netdev

import (
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Path is how the kernel of a namespace would send to an address now.
type Path struct {
	Device  string
	NextHop netip.Addr // the address itself, or the gateway
	// Carrier says that Device is up and has a link.
	Carrier bool
	// Neighbour is what is known of NextHop on Device.
	Neighbour Neighbour
}

// Neighbour is what the kernel knows of the MAC of an address.
type Neighbour uint8

const (
	NeighbourUnknown  Neighbour = iota // nobody has asked, or the question is on its way
	NeighbourResolved                  // it has a MAC, if perhaps not a fresh one
	NeighbourFailed                    // nobody has answered
)

// Path looks up the route to an address, and the neighbour that it leads to. It sends nothing.
func (ns *Namespace) Path(to netip.Addr) (Path, error) {
	routes, err := ns.nl.RouteGet(to.AsSlice())
	if err != nil {
		return Path{}, ns.wrap("look up the route to "+to.String(), "", err)
	}
	if len(routes) == 0 {
		return Path{}, ns.wrap("look up the route to "+to.String(), "", ErrNoRoute)
	}
	p := Path{NextHop: to}
	if gw, ok := netip.AddrFromSlice(routes[0].Gw); ok {
		p.NextHop = gw.Unmap()
	}
	link, err := ns.nl.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return Path{}, ns.wrap("look up the device to "+to.String(), "", err)
	}
	d, err := ns.describe(link)
	if err != nil {
		return Path{}, err
	}
	p.Device, p.Carrier = d.Name, d.Up && d.Carrier
	neighbours, err := ns.nl.NeighList(d.Index, netlink.FAMILY_ALL)
	if err != nil {
		return Path{}, ns.wrap("list neighbours", d.Name, err)
	}
	for _, n := range neighbours {
		if a, ok := netip.AddrFromSlice(n.IP); !ok || a.Unmap() != p.NextHop {
			continue
		}
		switch {
		case n.State&netlink.NUD_FAILED != 0:
			p.Neighbour = NeighbourFailed
		case len(n.HardwareAddr) > 0:
			p.Neighbour = NeighbourResolved
		}
	}
	return p, nil
}
