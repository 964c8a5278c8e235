package netdev

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// VethEnd is one end of a veth pair.
type VethEnd struct {
	Namespace *Namespace
	Name      string
	MAC       net.HardwareAddr // nil lets the kernel choose
	MTU       int              // bytes, 0 for the kernel's 1500
}

// EnsureVeth makes sure that a and b are the two ends of one veth pair; created
// says whether it had to create it. Both ends are created in their namespaces
// directly, so neither name is ever visible elsewhere. Ends of other pairs under
// these names are deleted first; an interface of another kind is an error. The
// MTU and MAC of an existing pair are left to [Namespace.Configure].
func EnsureVeth(a, b VethEnd) (created bool, err error) {
	var have [2]netlink.Link
	for i, e := range []VethEnd{a, b} {
		l, err := e.Namespace.link(e.Name)
		if err != nil && !errors.Is(err, ErrNoLink) {
			return false, err
		}
		if l != nil && l.Type() != "veth" {
			return false, e.Namespace.wrap("create veth", e.Name,
				fmt.Errorf("an interface of kind %s has this name; rename or delete it", l.Type()))
		}
		have[i] = l
	}
	if have[0] != nil && have[1] != nil && paired(have[0], have[1]) {
		return false, nil
	}
	for i, e := range []VethEnd{a, b} {
		if have[i] == nil {
			continue
		}
		if _, err := e.Namespace.DeleteLink(e.Name); err != nil {
			return false, err
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = a.Name, a.MTU, a.MAC
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerMTU, veth.PeerHardwareAddr = b.Name, uint32(b.MTU), b.MAC
	veth.PeerNamespace = netlink.NsFd(b.Namespace.fd)
	if err := a.Namespace.nl.LinkAdd(veth); err != nil {
		return false, a.Namespace.wrap(fmt.Sprintf("create veth with peer %s in namespace %s", b.Name, b.Namespace.name), a.Name, err)
	}
	return true, nil
}

// paired reports whether two links are the ends of one veth pair.
func paired(a, b netlink.Link) bool {
	return a.Attrs().ParentIndex == b.Attrs().Index && b.Attrs().ParentIndex == a.Attrs().Index
}

// EnsureBridge makes sure that there is a Linux bridge dev, without multicast
// snooping, which would hold back what a plain wire carries.
func (ns *Namespace) EnsureBridge(dev string) (created bool, err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = dev
	snooping := false
	return ns.ensure(dev, "bridge", func() error {
		return ns.nl.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping})
	})
}

// ErrNoVLAN says that the kernel has no 802.1Q sub-interfaces.
var ErrNoVLAN = errors.New("this kernel has no 802.1Q sub-interfaces (CONFIG_VLAN_8021Q); load the module 8021q")

// EnsureVLAN makes sure that there is an 802.1Q sub-interface dev of parent for
// the VLAN ID vid (1 … 4094). One with another parent or VLAN ID is replaced.
// The error is [ErrNoVLAN] where the kernel cannot.
func (ns *Namespace) EnsureVLAN(parent, dev string, vid uint16) (created bool, err error) {
	if vid < 1 || vid > 4094 {
		return false, ns.wrap("create sub-interface", dev, fmt.Errorf("VLAN ID %d; use 1 to 4094", vid))
	}
	p, err := ns.link(parent)
	if err != nil {
		return false, err
	}
	if l, err := ns.link(dev); err == nil {
		v, ok := l.(*netlink.Vlan)
		if ok && (v.VlanId != int(vid) || v.ParentIndex != p.Attrs().Index) {
			if _, err := ns.DeleteLink(dev); err != nil {
				return false, err
			}
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = dev, p.Attrs().Index
	return ns.ensure(dev, "vlan", func() error {
		err := ns.nl.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: int(vid), VlanProtocol: netlink.VLAN_PROTOCOL_8021Q})
		if errors.Is(err, unix.EOPNOTSUPP) {
			return ErrNoVLAN
		}
		return err
	})
}

// EnsureTap makes sure that there is a persistent tap device dev, which a
// virtual machine can open.
func (ns *Namespace) EnsureTap(dev string) (created bool, err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = dev
	return ns.ensure(dev, "tuntap", func() error {
		tap := &netlink.Tuntap{
			LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP,
			Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR, Queues: 1,
		}
		// The ioctl creates it in the calling thread's namespace, whatever the handle.
		err := ns.Do(func() error { return ns.nl.LinkAdd(tap) })
		for _, f := range tap.Fds {
			f.Close()
		}
		return noTun(err)
	})
}

func (ns *Namespace) ensure(dev, kind string, add func() error) (created bool, err error) {
	l, err := ns.link(dev)
	if err == nil {
		if l.Type() != kind {
			return false, ns.wrap("create "+kind, dev,
				fmt.Errorf("an interface of kind %s has this name; rename or delete it", l.Type()))
		}
		return false, nil
	}
	if !errors.Is(err, ErrNoLink) {
		return false, err
	}
	if err := add(); err != nil {
		return false, ns.wrap("create "+kind, dev, err)
	}
	return true, nil
}
