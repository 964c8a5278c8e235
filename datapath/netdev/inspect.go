package netdev

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Offloads are the offloads of dev that are on, of those that
// [OffloadsOff] turns off, by name.
func (ns *Namespace) Offloads(dev string) ([]string, error) {
	if err := CheckInterfaceName(dev); err != nil {
		return nil, err
	}
	var fd int
	err := ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, ns.wrap("read offloads", dev, err)
	}
	defer unix.Close(fd)
	var on []string
	for _, o := range offloads {
		v := ethtoolValue{cmd: o.get}
		if err := ethtool(fd, dev, &v); errors.Is(err, unix.EOPNOTSUPP) {
			continue
		} else if err != nil {
			return nil, ns.wrap("read "+o.name+" offload", dev, err)
		}
		if v.data != 0 {
			on = append(on, o.name)
		}
	}
	return on, nil
}

// Tunnel is a device of the kernel that receives on a UDP port.
type Tunnel struct {
	Name, Kind string // Kind is vxlan or geneve
	Port       uint16
}

// Tunnels are the VXLAN and Geneve devices of the namespace.
func (ns *Namespace) Tunnels() ([]Tunnel, error) {
	all, err := Retry(ns.nl.LinkList)
	if err != nil {
		return nil, ns.wrap("list interfaces", "", err)
	}
	var found []Tunnel
	for _, l := range all {
		switch l := l.(type) {
		case *netlink.Vxlan:
			found = append(found, Tunnel{l.Name, l.Type(), uint16(l.Port)})
		case *netlink.Geneve:
			found = append(found, Tunnel{l.Name, l.Type(), l.Dport})
		}
	}
	return found, nil
}

// VethPeer finds the other end of the veth dev if it is in a named namespace:
// the namespace's name and the device's. Both are empty if dev is no veth, or
// its peer is elsewhere.
func (ns *Namespace) VethPeer(dev string) (namespace, peer string, err error) {
	link, err := ns.link(dev)
	if err != nil {
		return "", "", err
	}
	at := link.Attrs()
	if link.Type() != "veth" || at.NetNsID < 0 {
		return "", "", nil
	}
	names, err := Namespaces()
	if err != nil {
		return "", "", err
	}
	for _, name := range names {
		other, err := OpenNamespace(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return "", "", err
		}
		id, err := ns.nl.GetNetNsIdByFd(int(other.fd))
		if err != nil || id != at.NetNsID {
			other.Close()
			continue
		}
		links, err := other.Links()
		other.Close()
		if err != nil {
			return "", "", fmt.Errorf("peer of %s: %w", dev, err)
		}
		for _, l := range links {
			if l.Index == at.ParentIndex {
				return name, l.Name, nil
			}
		}
	}
	return "", "", nil
}
