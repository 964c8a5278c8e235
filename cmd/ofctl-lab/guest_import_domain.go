package main

import (
	"cmp"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/file"
)

// domain adds a libvirt domain as a guest; from is what errors call the text.
func (im *importer) domain(from string, text []byte) error {
	d, err := guest.ParseDomain(from, text)
	if err != nil {
		return err
	}
	g := file.Guest{Name: safeName(d.Name), UUID: d.UUID, Kernel: d.Kernel, Initrd: d.Initrd, Cmdline: d.Cmdline, CDROM: d.CDROM}
	if g.Name != d.Name {
		im.note(from, 1, "domain %.60q is called %s", d.Name, g.Name)
	}
	if other, taken := im.guests[g.Name]; taken {
		return fmt.Errorf("%s:1: guest %s is in %s already; rename or leave out one of the domains", from, g.Name, other)
	}
	im.guests[g.Name] = from
	if g.Kernel == "" && g.CDROM == "" && len(d.Disks) == 0 {
		return fmt.Errorf("%s:1: domain %s has no kernel, CD or disk that a topology file can hold, and so nothing to boot from", from, g.Name)
	}
	if isAboot(d) {
		g.Kind = "veos"
	}
	if len(im.f.Topology.Hosts) > 0 {
		g.Host = im.f.Topology.Hosts[0].Name
	}
	k, _ := im.f.Kind(g.Kind)
	g.Memory, g.CPUs = unless(d.Memory, k.Memory), unless(d.CPUs, k.CPUs)
	g.DiskBus, g.NICModel = unless(d.DiskBus, k.DiskBus), unless(d.NICModel, k.NICModel)
	for _, disk := range d.Disks {
		g.Disks = append(g.Disks, file.Disk(disk))
	}
	switch {
	case d.Kernel != "" && d.CDROM != "":
		im.note(from, 1, "CD %.200s is not carried over: the guest is booted from a kernel", d.CDROM)
		g.CDROM = ""
	case d.Kernel == "" && !slices.Equal(d.Boot, im.f.Resolve(g).Boot):
		g.Boot = d.Boot
	}
	for _, i := range d.Interfaces {
		if len(g.NICs) == k.MaxNICs {
			im.note(i.File, i.Line, "the interface is one more than the %d that a guest can have; it is not carried over", k.MaxNICs)
			continue
		}
		if err := im.nic(&g, k, i); err != nil {
			return err
		}
	}
	if len(g.NICs) > 0 {
		im.note(from, 1, "guest %s finds its network cards in their order, but in other PCI slots: one that names them by slot gives them other names", g.Name)
	}
	im.f.Guests = append(im.f.Guests, g)
	im.lost = append(im.lost, d.Lost...)
	return nil
}

// isAboot reports whether the domain is a vEOS switch, by its boot loader's CD.
func isAboot(d *guest.Domain) bool {
	return strings.HasPrefix(strings.ToLower(filepath.Base(d.CDROM)), "aboot") && cmp.Or(d.DiskBus, guest.BusIDE) == guest.BusIDE
}

// unless is the value, and the zero value if it is what there would be without it.
func unless[T comparable](value, without T) (zero T) {
	if value == without {
		return zero
	}
	return value
}

// nic adds an interface as a network card and its port.
func (im *importer) nic(g *file.Guest, k file.Kind, i guest.Interface) error {
	bridge, vlan, ok, err := im.place(i)
	if err != nil || !ok {
		return err
	}
	name := k.NICName(len(g.NICs))
	p := topo.Port{Name: g.Name + "-" + name, UUID: i.InterfaceID, Guest: g.Name, Host: g.Host, Interface: name}
	if len(p.Name) > topo.MaxName {
		return fmt.Errorf("%s:%d: the name of guest %s leaves no room for that of a port; rename the domain", i.File, i.Line, g.Name)
	}
	copy(p.MAC[:], net.HardwareAddr(i.MAC))
	switch {
	case vlan == nil:
		p.Network = im.on(segment{bridge, 0})
		im.note(i.File, i.Line, "without a VLAN, Open vSwitch passes the frames of every VLAN through an interface; only untagged ones are carried over, as network %s", p.Network)
	case !vlan.Trunk:
		p.Network = im.on(segment{bridge, vlan.Tags[0]})
	default:
		p.Trunk, p.Profile = im.trunk(bridge, vlan), k.TrunkProfile
		if p.Profile == topo.ProfileHost {
			im.note(i.File, i.Line, "port %s may send from its own Ethernet address only; write profile: switch if the guest is a switch or router", p.Name)
		}
	}
	if i.InterfaceID == [16]byte{} {
		im.note(i.File, i.Line, "the interface has no interfaceid, by which its port would be found; define the domain again with guest xml")
	}
	g.NICs = append(g.NICs, file.NIC{Name: name, Port: p.Name})
	im.f.Topology.Ports = append(im.f.Topology.Ports, p)
	return nil
}

func (im *importer) trunk(bridge string, vlan *guest.VLAN) *topo.Trunk {
	t := &topo.Trunk{}
	for _, id := range vlan.Tags {
		s := topo.SubPort{Network: im.on(segment{bridge, id})}
		if id == vlan.Native {
			t.Native = &s
			continue
		}
		s.VLAN = id
		t.VLANs = append(t.VLANs, s)
	}
	return t
}

// place is the bridge that an interface is on, and its VLAN: its own, that of its
// port group, or that of its network, in this order, nil for none. ok is false
// for an interface on a network that has no bridge of Open vSwitch's.
func (im *importer) place(i guest.Interface) (bridge string, vlan *guest.VLAN, ok bool, err error) {
	if i.Network == "" && i.VirtualPort == "" {
		im.note(i.File, i.Line, "the interface is on %.60s, a bridge of Linux's own and not of Open vSwitch; it is not carried over", i.Bridge)
		return "", nil, false, nil
	}
	if i.Network == "" {
		return i.Bridge, i.VLAN, true, nil
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%s:%d: %s", i.File, i.Line, fmt.Sprintf(format, args...))
	}
	n := im.defs[i.Network]
	if n == nil {
		return "", nil, false, fail("the interface is on network %.60q, which is not among the files; give the output of virsh net-dumpxml %.60s with --network", i.Network, i.Network)
	}
	if n.Forward != "bridge" {
		im.note(i.File, i.Line, "the interface is on network %.60s, which libvirt runs itself (forward mode %s); it is not carried over", n.Name, cmp.Or(n.Forward, "none"))
		return "", nil, false, nil
	}
	im.use(n)
	names := []string{}
	vlan = n.VLAN
	found := i.PortGroup == ""
	for _, g := range n.PortGroups {
		names = append(names, g.Name)
		if g.Name == i.PortGroup || i.PortGroup == "" && g.Default {
			found = true
			if g.VLAN != nil {
				vlan = g.VLAN
			}
		}
	}
	if !found {
		return "", nil, false, fail("network %.60s has no port group %.60q; %s", n.Name, i.PortGroup, meant(i.PortGroup, names))
	}
	if i.VLAN != nil {
		vlan = i.VLAN
	}
	return bridgeOf(n), vlan, true, nil
}
