package netdev

import (
	"cmp"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Settings are the addresses of an interface and the routes through it: what a
// guest may have set itself, and loses with the interface.
type Settings struct {
	// Addresses are without link-local ones of IPv6, which the kernel makes.
	Addresses []netip.Prefix
	routes    []netlink.Route
}

// Settings reads the addresses of dev and the routes through it in the main table,
// without those that the kernel makes of the addresses, that come from router
// advertisements, or that go through several interfaces. The error is [ErrNoLink]
// if there is no dev. An interface that is down has no routes, and no addresses of IPv6.
func (ns *Namespace) Settings(dev string) (Settings, error) {
	link, err := ns.link(dev)
	if err != nil {
		return Settings{}, err
	}
	d, err := ns.describe(link)
	if err != nil {
		return Settings{}, err
	}
	s := Settings{Addresses: slices.DeleteFunc(d.Addresses, func(p netip.Prefix) bool {
		return p.Addr().Is6() && p.Addr().IsLinkLocalUnicast()
	})}
	routes, err := Retry(func() ([]netlink.Route, error) { return ns.nl.RouteList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return Settings{}, ns.wrap("list routes", dev, err)
	}
	s.routes = slices.DeleteFunc(routes, func(r netlink.Route) bool {
		return r.Protocol == unix.RTPROT_KERNEL || r.Protocol == unix.RTPROT_RA || len(r.MultiPath) > 0
	})
	// A gateway has to be reachable before the routes through it are accepted.
	slices.SortStableFunc(s.routes, func(a, b netlink.Route) int { return cmp.Compare(len(a.Gw), len(b.Gw)) })
	return s, nil
}

// SetRoutes puts the routes of s, read from this or another interface, on dev, which
// has to be up and to have the addresses already. Those that are there stay.
func (ns *Namespace) SetRoutes(dev string, s Settings) error {
	link, err := ns.link(dev)
	if err != nil {
		return err
	}
	for _, r := range s.routes {
		r.LinkIndex = link.Attrs().Index
		r.Flags &= int(netlink.FLAG_ONLINK) // the others say how the route was, not how it shall be
		if err := ns.nl.RouteReplace(&r); err != nil {
			return ns.wrap("add route "+destination(r.Dst), dev, err)
		}
	}
	return nil
}

func destination(n *net.IPNet) string {
	if n == nil {
		return "default"
	}
	return n.String()
}
