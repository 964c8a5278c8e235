package netdev

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// LinkState is whether an interface is administratively up.
type LinkState uint8

// The link states. The zero value leaves it as it is.
const (
	AsIs LinkState = iota
	Up
	Down
)

// IPv6Mode says how much IPv6 there is on an interface.
type IPv6Mode uint8

// The IPv6 modes. The zero value leaves it as it is.
const (
	IPv6AsIs IPv6Mode = iota
	// IPv6Off disables IPv6: no link-local address, no neighbour discovery, no
	// router solicitations, no multicast listener reports.
	IPv6Off
	// IPv6Static enables IPv6 without duplicate address detection, router
	// solicitations and autoconfiguration: an address works at once.
	IPv6Static
)

// LinkConfig is what an interface shall be like. Zero values leave it as it is.
type LinkConfig struct {
	MAC    net.HardwareAddr
	MTU    int    // bytes of the network layer, 68 … 65535
	Master string // the bridge it belongs to, in the same namespace
	State  LinkState
	IPv6   IPv6Mode
	// ARP is whether the interface answers and asks ARP: Up or Down.
	ARP LinkState
	// Offloads is what the interface may leave to its device.
	Offloads OffloadMode
	// Addresses are all the addresses the interface shall have, link-local ones
	// aside. Empty but not nil means none.
	Addresses []netip.Prefix
}

// Link is an interface as it is.
type Link struct {
	Name      string
	Index     int
	Kind      string // veth, bridge, vlan, tuntap, device …
	MAC       net.HardwareAddr
	MTU       int
	Up        bool
	Carrier   bool
	Master    int // index, 0 if none
	Addresses []netip.Prefix
}

// Configure makes the interface dev what c says and returns what it had to
// change, in words ("mtu 1458"); nothing if it was so already. It stops at the
// first error, which is [ErrNoLink] if there is no dev.
func (ns *Namespace) Configure(dev string, c LinkConfig) (changed []string, err error) {
	link, err := ns.link(dev)
	if err != nil {
		return nil, err
	}
	a := link.Attrs()
	did := func(format string, args ...any) { changed = append(changed, dev+": "+fmt.Sprintf(format, args...)) }

	if c.MAC != nil && !bytes.Equal(a.HardwareAddr, c.MAC) {
		if err := ns.nl.LinkSetHardwareAddr(link, c.MAC); err != nil {
			return changed, ns.wrap("set address "+c.MAC.String(), dev, err)
		}
		did("mac %s", c.MAC)
	}
	if c.MTU != 0 && a.MTU != c.MTU {
		if err := ns.nl.LinkSetMTU(link, c.MTU); err != nil {
			return changed, ns.wrap(fmt.Sprintf("set MTU %d", c.MTU), dev, err)
		}
		did("mtu %d", c.MTU)
	}
	if c.Master != "" {
		master, err := ns.link(c.Master)
		if err != nil {
			return changed, err
		}
		if a.MasterIndex != master.Attrs().Index {
			if err := ns.nl.LinkSetMaster(link, master); err != nil {
				return changed, ns.wrap("add to bridge "+c.Master, dev, err)
			}
			did("on bridge %s", c.Master)
		}
	}
	switch silent := a.RawFlags&unix.IFF_NOARP != 0; {
	case c.ARP == Down && !silent:
		if err := ns.nl.LinkSetARPOff(link); err != nil {
			return changed, ns.wrap("turn ARP off", dev, err)
		}
		did("arp off")
	case c.ARP == Up && silent:
		if err := ns.nl.LinkSetARPOn(link); err != nil {
			return changed, ns.wrap("turn ARP on", dev, err)
		}
		did("arp on")
	}
	if c.IPv6 != IPv6AsIs {
		set, err := ns.setIPv6(dev, c.IPv6)
		if err != nil {
			return changed, err
		}
		if set {
			did("%s", c.IPv6)
		}
	}
	if c.Offloads != OffloadsAsIs {
		set, err := ns.setOffloads(dev, c.Offloads)
		if err != nil {
			return changed, err
		}
		if set {
			did("%s", c.Offloads)
		}
	}
	switch up := a.RawFlags&unix.IFF_UP != 0; {
	case c.State == Up && !up:
		if err := ns.nl.LinkSetUp(link); err != nil {
			return changed, ns.wrap("set up", dev, err)
		}
		did("up")
	case c.State == Down && up:
		if err := ns.nl.LinkSetDown(link); err != nil {
			return changed, ns.wrap("set down", dev, err)
		}
		did("down")
	}
	if c.Addresses != nil {
		set, err := ns.setAddresses(link, c.Addresses)
		changed = append(changed, set...)
		if err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// setAddresses makes want the addresses of link, link-local ones aside.
func (ns *Namespace) setAddresses(link netlink.Link, want []netip.Prefix) (changed []string, err error) {
	dev := link.Attrs().Name
	have, err := Retry(func() ([]netlink.Addr, error) { return ns.nl.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, ns.wrap("list addresses", dev, err)
	}
	var kept []netip.Prefix
	for _, a := range have {
		p := prefix(a.IPNet)
		if slices.Contains(want, p) {
			kept = append(kept, p)
			continue
		}
		if p.Addr().IsLinkLocalUnicast() && p.Addr().Is6() {
			continue
		}
		if err := ns.nl.AddrDel(link, &a); err != nil {
			return changed, ns.wrap("remove address "+p.String(), dev, err)
		}
		changed = append(changed, fmt.Sprintf("%s: address %s removed", dev, p))
	}
	for _, p := range want {
		if slices.Contains(kept, p) {
			continue
		}
		if !p.IsValid() {
			return changed, ns.wrap("add address", dev, errors.New("the address is not valid"))
		}
		addr := &netlink.Addr{IPNet: &net.IPNet{
			IP:   p.Addr().AsSlice(),
			Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
		}}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := ns.nl.AddrAdd(link, addr); err != nil && !errors.Is(err, unix.EEXIST) {
			return changed, ns.wrap("add address "+p.String(), dev, err)
		}
		changed = append(changed, fmt.Sprintf("%s: address %s", dev, p))
	}
	return changed, nil
}

func prefix(n *net.IPNet) netip.Prefix {
	addr, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), bits)
}

// ErrNoLink says that there is no interface of that name.
var ErrNoLink = errors.New("no such interface")

// ErrNoRoute says that no route leads to an address.
var ErrNoRoute = errors.New("no route")

func (ns *Namespace) link(dev string) (netlink.Link, error) {
	if err := CheckInterfaceName(dev); err != nil {
		return nil, ns.wrap("look up", "", err)
	}
	// A kernel that cannot be asked for one name is asked for all interfaces.
	link, err := Retry(func() (netlink.Link, error) { return ns.nl.LinkByName(dev) })
	if err != nil {
		var notFound netlink.LinkNotFoundError
		if errors.As(err, &notFound) {
			err = ErrNoLink
		}
		return nil, ns.wrap("look up", dev, err)
	}
	return link, nil
}

// Link describes the interface dev; the error is [ErrNoLink] if there is none.
func (ns *Namespace) Link(dev string) (Link, error) {
	l, err := ns.link(dev)
	if err != nil {
		return Link{}, err
	}
	return ns.describe(l)
}

// Links describes all interfaces of the namespace, in order of their index.
func (ns *Namespace) Links() ([]Link, error) {
	all, err := Retry(ns.nl.LinkList)
	if err != nil {
		return nil, ns.wrap("list interfaces", "", err)
	}
	links := make([]Link, 0, len(all))
	for _, l := range all {
		d, err := ns.describe(l)
		if err != nil {
			return nil, err
		}
		links = append(links, d)
	}
	slices.SortFunc(links, func(a, b Link) int { return a.Index - b.Index })
	return links, nil
}

func (ns *Namespace) describe(l netlink.Link) (Link, error) {
	a := l.Attrs()
	d := Link{
		Name: a.Name, Index: a.Index, Kind: l.Type(), MAC: a.HardwareAddr, MTU: a.MTU, Master: a.MasterIndex,
		Up:      a.RawFlags&unix.IFF_UP != 0,
		Carrier: a.RawFlags&unix.IFF_RUNNING != 0,
	}
	addrs, err := Retry(func() ([]netlink.Addr, error) { return ns.nl.AddrList(l, netlink.FAMILY_ALL) })
	if err != nil {
		return Link{}, ns.wrap("list addresses", a.Name, err)
	}
	for _, addr := range addrs {
		d.Addresses = append(d.Addresses, prefix(addr.IPNet))
	}
	return d, nil
}

// DeleteLink deletes the interface dev, and with one end of a veth pair the
// other. deleted is false if there was none.
func (ns *Namespace) DeleteLink(dev string) (deleted bool, err error) {
	link, err := ns.link(dev)
	if errors.Is(err, ErrNoLink) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// ENODEV: its peer's namespace has just gone, and it with it.
	if err := ns.nl.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return false, ns.wrap("delete", dev, err)
	}
	return true, nil
}

// RenameLink gives the interface dev another name, and leaves it configured as c says.
// Kernels before 6.2 rename an interface only while it is down: there it goes down
// for a moment.
func (ns *Namespace) RenameLink(dev, name string, c LinkConfig) error {
	link, err := ns.link(dev)
	if err != nil {
		return err
	}
	err = ns.nl.LinkSetName(link, name)
	if errors.Is(err, unix.EBUSY) {
		if err := ns.nl.LinkSetDown(link); err != nil {
			return ns.wrap("set down", dev, err)
		}
		err = ns.nl.LinkSetName(link, name)
	}
	if err != nil {
		return ns.wrap("rename to "+name, dev, err)
	}
	_, err = ns.Configure(name, c)
	return err
}

// AddRoute makes dst reachable directly through dev. It does nothing if there
// is such a route.
func (ns *Namespace) AddRoute(dev string, dst netip.Prefix) error {
	link, err := ns.link(dev)
	if err != nil {
		return err
	}
	dst = dst.Masked()
	err = ns.nl.RouteReplace(&netlink.Route{
		LinkIndex: link.Attrs().Index,
		Scope:     netlink.SCOPE_LINK,
		Dst:       &net.IPNet{IP: dst.Addr().AsSlice(), Mask: net.CIDRMask(dst.Bits(), dst.Addr().BitLen())},
	})
	if err != nil {
		return ns.wrap("add route "+dst.String(), dev, err)
	}
	return nil
}

// Routes lists the destinations of the main routing table, as text.
func (ns *Namespace) Routes() ([]string, error) {
	routes, err := Retry(func() ([]netlink.Route, error) { return ns.nl.RouteList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, ns.wrap("list routes", "", err)
	}
	text := make([]string, len(routes))
	for i, r := range routes {
		text[i] = r.String()
	}
	return text, nil
}

// WarmNeighbour tells dev the MAC of ip, so that the first packet to it need
// not wait. The kernel verifies the entry as soon as it is used.
func (ns *Namespace) WarmNeighbour(dev string, ip netip.Addr, mac net.HardwareAddr) error {
	link, err := ns.link(dev)
	if err != nil {
		return err
	}
	err = ns.nl.NeighSet(&netlink.Neigh{
		LinkIndex:    link.Attrs().Index,
		State:        netlink.NUD_STALE,
		IP:           ip.AsSlice(),
		HardwareAddr: mac,
	})
	if err != nil {
		return ns.wrap("set neighbour "+ip.String(), dev, err)
	}
	return nil
}
