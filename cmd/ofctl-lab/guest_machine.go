package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/file"
)

// maxCmdline is the longest command line that an x86 Linux reads, in bytes
// (COMMAND_LINE_SIZE less the final zero). It drops the rest without a word.
const maxCmdline = 2047

// guestNetwork is the name of the libvirt network that guests are on. It names
// the integration bridge and nothing else.
const guestNetwork = "ofctl-lab"

// libvirtNetwork is that network for a bridge. Its UUID is derived, so that defining
// it again is no other one.
func libvirtNetwork(bridge string) guest.Network {
	return guest.Network{Name: guestNetwork, UUID: libvirtUUID(guestNetwork), Bridge: bridge}
}

func libvirtUUID(network string) uuid.UUID { return topo.DeriveUUID("libvirt-network", network) }

// machine is the guest of that name.
func (t *topology) machine(name string) (guest.Machine, error) {
	var names []string
	for _, m := range t.machines {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return guest.Machine{}, fmt.Errorf("%s has no guest %q; %s", t.body.Name, name, meant(name, names))
}

// resolveMachines decides all about the guests of the file. Each error is at
// its guest's line and column.
func (t *topology) resolveMachines() error {
	var errs []error
	for _, g := range t.Guests {
		m, err := t.resolve(g)
		if err != nil {
			what, hint, _ := strings.Cut(err.Error(), "; ")
			errs = append(errs, &topo.Problem{Object: "guest " + g.Name, What: what, Hint: hint})
		}
		t.machines = append(t.machines, m)
	}
	return t.Locate(errors.Join(errs...))
}

// resolve is the guest as a machine.
func (t *topology) resolve(g file.Guest) (guest.Machine, error) {
	g = t.Resolve(g)
	m := guest.Machine{
		Name: g.Name, UUID: g.UUID, Kind: g.Kind, Memory: g.Memory, CPUs: g.CPUs,
		Boot: g.Boot, DiskBus: g.DiskBus, NICModel: g.NICModel, Ready: guest.Ready(g.Ready),
	}
	var err error
	path := func(p string) string {
		if p = t.Path(p); p == "" {
			return ""
		}
		abs, e := filepath.Abs(p)
		err = errors.Join(err, e)
		return abs
	}
	m.Kernel, m.Initrd, m.CDROM = path(g.Kernel), path(g.Initrd), path(g.CDROM)
	for _, d := range g.Disks {
		m.Disks = append(m.Disks, guest.Disk{Path: path(d.Path), Format: d.Format})
	}
	if err != nil {
		return guest.Machine{}, fmt.Errorf("%w; write the paths of its images from / on", err)
	}
	for _, n := range g.NICs {
		nic, err := t.nic(n)
		if err != nil {
			return guest.Machine{}, err
		}
		m.NICs = append(m.NICs, nic)
	}
	if m.Kernel != "" {
		m.Cmdline = t.cmdline(g, m)
		if len(m.Cmdline) > maxCmdline {
			return guest.Machine{}, fmt.Errorf("the kernel command line, with what the NICs need, has %d bytes, and the kernel reads %d; shorten cmdline, or give the NICs fewer VLANs and addresses",
				len(m.Cmdline), maxCmdline)
		}
	}
	return m, m.Check()
}

func (t *topology) nic(n file.NIC) (guest.NIC, error) {
	p := t.snapshot.Port(n.Port)
	mtu, err := t.snapshot.PortMTU(n.Port, t.Underlay.MTU)
	if err != nil {
		return guest.NIC{}, err
	}
	return guest.NIC{
		Name: n.Name, Port: n.Port, PortUUID: p.UUID, Tap: netdev.DeviceName('t', n.Port),
		MAC: net.HardwareAddr(p.MAC[:]), MTU: mtu, Addresses: untagged(p),
	}, nil
}

// untagged are the addresses at which the port's guest answers on untagged frames.
func untagged(p *topo.Port) []netip.Addr {
	if p.Trunk == nil {
		return p.Addresses
	}
	if p.Trunk.Native == nil {
		return nil
	}
	return p.Trunk.Native.Addresses
}

// cmdline is the kernel command line: the serial console, the host name, what
// each interface is to have, and what the file says. An image that does not
// know the words hostname= and net.NAME= leaves them to be.
func (t *topology) cmdline(g file.Guest, m guest.Machine) string {
	words := []string{"console=ttyS0", "hostname=" + g.Name}
	for _, n := range m.NICs {
		p := t.snapshot.Port(n.Port)
		if p.Trunk == nil {
			words = append(words, netWord(n.Name, prefixes(t.snapshot, p.Network, p.Addresses), n.MTU))
			continue
		}
		var native []netip.Prefix
		if s := p.Trunk.Native; s != nil {
			native = prefixes(t.snapshot, s.Network, s.Addresses)
		}
		words = append(words, netWord(n.Name, native, n.MTU))
		for _, s := range p.Trunk.VLANs {
			words = append(words, netWord(fmt.Sprintf("%s.%d", n.Name, s.VLAN), prefixes(t.snapshot, s.Network, s.Addresses), n.MTU))
		}
	}
	if g.Cmdline != "" {
		words = append(words, g.Cmdline)
	}
	return strings.Join(words, " ")
}

// netWord says what an interface is to have: net.NAME=ADDRESS/LENGTH,…,mtu=N.
func netWord(name string, addresses []netip.Prefix, mtu int) string {
	var values []string
	for _, a := range addresses {
		values = append(values, a.String())
	}
	return "net." + name + "=" + strings.Join(slices.Concat(values, []string{fmt.Sprintf("mtu=%d", mtu)}), ",")
}
