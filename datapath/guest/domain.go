package guest

import (
	"encoding/xml"
	"fmt"
	"regexp"

	"github.com/google/uuid"
)

// Accel is what runs a guest's instructions.
type Accel string

// The accelerators.
const (
	AccelKVM Accel = "kvm" // the CPU itself
	AccelTCG Accel = "tcg" // qemu's translator, which works everywhere
)

// Libvirt is what a domain's XML needs to know beside the machine.
type Libvirt struct {
	Accel Accel
	// Network is the libvirt network that the NICs are on, as NetworkXML writes it.
	Network string
}

// AgentChannel is the name of the virtio-serial port of the QEMU guest agent.
const AgentChannel = "org.qemu.guest_agent.0"

// Network is a libvirt network that does nothing but name the integration bridge.
type Network struct {
	Name   string
	UUID   uuid.UUID
	Bridge string
}

// What libvirt's XML is made of: https://libvirt.org/formatdomain.html and
// formatnetwork.html. Only what this package writes is here.
type (
	domainXML struct {
		XMLName    xml.Name `xml:"domain"`
		Type       string   `xml:"type,attr"`
		Name       string   `xml:"name"`
		UUID       string   `xml:"uuid"`
		Memory     quantity `xml:"memory"`
		VCPU       int      `xml:"vcpu"`
		OS         osXML    `xml:"os"`
		Features   features `xml:"features"`
		CPU        *cpuXML  `xml:"cpu"`
		Clock      clock    `xml:"clock"`
		OnPoweroff string   `xml:"on_poweroff"`
		OnReboot   string   `xml:"on_reboot"`
		OnCrash    string   `xml:"on_crash"`
		Devices    devices  `xml:"devices"`
	}
	quantity struct {
		Unit  string `xml:"unit,attr"`
		Value int    `xml:",chardata"`
	}
	osXML struct {
		Type    osType   `xml:"type"`
		Kernel  string   `xml:"kernel,omitempty"`
		Initrd  string   `xml:"initrd,omitempty"`
		Cmdline string   `xml:"cmdline,omitempty"`
		Boot    []devRef `xml:"boot"`
	}
	osType struct {
		Arch    string `xml:"arch,attr"`
		Machine string `xml:"machine,attr"`
		Value   string `xml:",chardata"`
	}
	empty    struct{}
	features struct {
		ACPI empty `xml:"acpi"` // for an orderly shutdown
		APIC empty `xml:"apic"`
	}
	cpuXML struct {
		Mode string `xml:"mode,attr"`
	}
	clock struct {
		Offset string `xml:"offset,attr"`
	}
	devices struct {
		Disks       []diskXML       `xml:"disk"`
		Controllers []controllerXML `xml:"controller"`
		Interfaces  []interfaceXML  `xml:"interface"`
		Serial      charDevice      `xml:"serial"`
		Console     charDevice      `xml:"console"`
		Channel     charDevice      `xml:"channel"`
		Graphics    graphics        `xml:"graphics"`
		Video       video           `xml:"video"`
		Balloon     typed           `xml:"memballoon"`
	}
	devRef struct {
		Dev string `xml:"dev,attr"`
	}
	typed struct {
		Type  string `xml:"type,attr,omitempty"`
		Model string `xml:"model,attr,omitempty"`
	}
	diskXML struct {
		Type     string     `xml:"type,attr"`
		Device   string     `xml:"device,attr"`
		Driver   diskDriver `xml:"driver"`
		Source   fileSource `xml:"source"`
		Target   diskTarget `xml:"target"`
		ReadOnly *empty     `xml:"readonly"`
		Address  *address   `xml:"address"`
	}
	diskDriver struct {
		Name string `xml:"name,attr"`
		Type string `xml:"type,attr"`
	}
	fileSource struct {
		File string `xml:"file,attr"`
	}
	diskTarget struct {
		Dev string `xml:"dev,attr"`
		Bus string `xml:"bus,attr"`
	}
	address struct {
		Type     string `xml:"type,attr"`
		Domain   string `xml:"domain,attr"`
		Bus      string `xml:"bus,attr"`
		Slot     string `xml:"slot,attr"`
		Function string `xml:"function,attr"`
		Multi    string `xml:"multifunction,attr,omitempty"`
	}
	controllerXML struct {
		Type    string   `xml:"type,attr"`
		Index   int      `xml:"index,attr"`
		Model   string   `xml:"model,attr,omitempty"`
		Address *address `xml:"address"`
	}
	interfaceXML struct {
		Type        string      `xml:"type,attr"`
		MAC         macXML      `xml:"mac"`
		Source      netSource   `xml:"source"`
		VirtualPort virtualPort `xml:"virtualport"`
		Target      devRef      `xml:"target"`
		Model       typed       `xml:"model"`
		Driver      *nicDriver  `xml:"driver"`
		MTU         *mtuXML     `xml:"mtu"`
		Address     *address    `xml:"address"`
	}
	macXML struct {
		Address string `xml:"address,attr"`
	}
	netSource struct {
		Network string `xml:"network,attr"`
	}
	virtualPort struct {
		Type       string      `xml:"type,attr"`
		Parameters *parameters `xml:"parameters"`
	}
	parameters struct {
		InterfaceID string `xml:"interfaceid,attr"`
	}
	nicDriver struct {
		Host  offloads `xml:"host"`
		Guest offloads `xml:"guest"`
	}
	offloads struct {
		CSum string `xml:"csum,attr"`
		GSO  string `xml:"gso,attr,omitempty"`
		TSO4 string `xml:"tso4,attr"`
		TSO6 string `xml:"tso6,attr"`
		ECN  string `xml:"ecn,attr"`
		UFO  string `xml:"ufo,attr"`
	}
	mtuXML struct {
		Size int `xml:"size,attr"`
	}
	charDevice struct {
		Type   string     `xml:"type,attr"`
		Target charTarget `xml:"target"`
	}
	charTarget struct {
		Type string `xml:"type,attr,omitempty"`
		Port string `xml:"port,attr,omitempty"`
		Name string `xml:"name,attr,omitempty"`
	}
	graphics struct {
		Type     string `xml:"type,attr"`
		AutoPort string `xml:"autoport,attr"`
		Listen   string `xml:"listen,attr"`
	}
	video struct {
		Model   typed    `xml:"model"`
		Address *address `xml:"address"`
	}
	networkXML struct {
		XMLName     xml.Name    `xml:"network"`
		Name        string      `xml:"name"`
		UUID        string      `xml:"uuid"`
		Forward     forward     `xml:"forward"`
		Bridge      bridge      `xml:"bridge"`
		VirtualPort virtualPort `xml:"virtualport"`
	}
	forward struct {
		Mode string `xml:"mode,attr"`
	}
	bridge struct {
		Name string `xml:"name,attr"`
	}
)

// NetworkXML is the network as libvirt defines it. There is no VLAN in it: which
// frames belong where is for the flows of the bridge.
func NetworkXML(n Network) ([]byte, error) {
	if n.Name == "" || !printable(n.Name+n.Bridge) || n.Bridge == "" || n.UUID == uuid.Nil {
		return nil, fmt.Errorf("libvirt network %q on bridge %q: give it a name, a UUID and the bridge", n.Name, n.Bridge)
	}
	return marshal(networkXML{
		Name: n.Name, UUID: n.UUID.String(), Forward: forward{"bridge"}, Bridge: bridge{n.Bridge},
		VirtualPort: virtualPort{Type: openvswitch},
	})
}

const openvswitch = "openvswitch"

// DomainXML is the machine as a libvirt domain. It is the same for the same
// machine, and every device whose order a guest can see has its address in it,
// so that defining a domain again moves nothing. The error is m.Check's, or says
// what is missing in l.
func DomainXML(m Machine, l Libvirt) ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	d := domainXML{
		Name: m.Name, UUID: m.UUID.String(),
		Memory: quantity{"MiB", m.Memory}, VCPU: m.CPUs,
		OS:         osXML{Type: osType{"x86_64", "pc", "hvm"}, Kernel: m.Kernel, Initrd: m.Initrd, Cmdline: m.Cmdline},
		Clock:      clock{"utc"},
		OnPoweroff: "destroy", OnReboot: "restart", OnCrash: "destroy",
	}
	switch {
	case l.Accel == AccelKVM:
		// As near to this machine's CPU as a live migration allows.
		d.Type, d.CPU = "kvm", &cpuXML{"host-model"}
	case l.Accel == AccelTCG:
		d.Type = "qemu"
	default:
		return nil, fmt.Errorf("guest %s: accelerator %q; use %s or %s", m.Name, l.Accel, AccelKVM, AccelTCG)
	}
	if len(m.NICs) > 0 && (l.Network == "" || !printable(l.Network)) {
		return nil, fmt.Errorf("guest %s: libvirt network %q; name the one that stands for the integration bridge", m.Name, l.Network)
	}
	for _, device := range m.Boot {
		if device == BootDisk {
			device = "hd" // libvirt's word
		}
		d.OS.Boot = append(d.OS.Boot, devRef{device})
	}
	d.Devices = m.devices(l.Network)
	return marshal(d)
}

func (m Machine) devices(network string) devices {
	d := devices{
		Disks: m.disks(),
		Controllers: []controllerXML{
			{Type: "pci", Model: "pci-root"}, {Type: "usb", Model: "none"},
			{Type: "virtio-serial", Address: slot(SlotChannel)},
		},
		Serial:   charDevice{"pty", charTarget{Type: "isa-serial", Port: "0"}},
		Console:  charDevice{"pty", charTarget{Type: "serial", Port: "0"}},
		Channel:  charDevice{"unix", charTarget{Type: "virtio", Name: AgentChannel}},
		Graphics: graphics{Type: "vnc", AutoPort: "yes", Listen: "127.0.0.1"},
		Video:    video{Model: typed{Type: "vga"}, Address: slot(SlotVideo)},
		Balloon:  typed{Model: "none"},
	}
	if len(d.Disks) > 0 {
		switch m.DiskBus {
		case BusSATA:
			d.Controllers = append(d.Controllers, controllerXML{Type: "sata", Address: slot(SlotController)})
		case BusSCSI:
			d.Controllers = append(d.Controllers, controllerXML{Type: "scsi", Model: "virtio-scsi", Address: slot(SlotController)})
		}
	}
	for i, n := range m.NICs {
		d.Interfaces = append(d.Interfaces, m.nic(i, n, network))
	}
	return d
}

// disks are the disks and then the CD drive. The drive is the first of the second
// IDE controller, where PCs have it and boot loaders look for it, unless all is on
// SATA: then it is behind the disks.
func (m Machine) disks() (out []diskXML) {
	names := map[string][]string{
		BusIDE: {"hda", "hdb", "hdd"}, BusVirtio: {"vda", "vdb", "vdc"},
		BusSATA: {"sda", "sdb", "sdc"}, BusSCSI: {"sda", "sdb", "sdc"},
	}[m.DiskBus]
	for i, d := range m.Disks {
		x := diskXML{Type: "file", Device: "disk", Driver: diskDriver{"qemu", d.Format}, Source: fileSource{d.Path}, Target: diskTarget{names[i], m.DiskBus}}
		if m.DiskBus == BusVirtio {
			x.Address = slot(SlotDisk)
			x.Address.Function = fmt.Sprintf("0x%x", i)
			if i == 0 {
				x.Address.Multi = "on"
			}
		}
		out = append(out, x)
	}
	if m.CDROM != "" {
		target := diskTarget{"hdc", BusIDE}
		if m.DiskBus == BusSATA {
			target = diskTarget{"sdf", BusSATA}
		}
		out = append(out, diskXML{Type: "file", Device: "cdrom", Driver: diskDriver{"qemu", "raw"}, Source: fileSource{m.CDROM}, Target: target, ReadOnly: &empty{}})
	}
	return out
}

func (m Machine) nic(i int, n NIC, network string) interfaceXML {
	x := interfaceXML{
		Type: "network", MAC: macXML{n.MAC.String()}, Source: netSource{network},
		VirtualPort: virtualPort{openvswitch, &parameters{n.PortUUID.String()}},
		Target:      devRef{n.Tap}, Model: typed{Type: m.NICModel}, Address: slot(SlotNIC + i),
	}
	if n.MTU > 0 {
		x.MTU = &mtuXML{n.MTU}
	}
	if m.NICModel == ModelVirtio {
		off := offloads{CSum: "off", TSO4: "off", TSO6: "off", ECN: "off", UFO: "off"}
		x.Driver = &nicDriver{Host: off, Guest: off}
		x.Driver.Host.GSO = "off"
	}
	return x
}

// slot is an address on the machine's one PCI bus.
func slot(n int) *address {
	return &address{Type: "pci", Domain: "0x0000", Bus: "0x00", Slot: fmt.Sprintf("0x%02x", n), Function: "0x0"}
}

// childless is an element without content, which is easier to read closed at
// once. Content has no angle brackets: they are escaped.
var childless = regexp.MustCompile(`<([a-z_]+)([^<>]*)></[a-z_]+>`)

func marshal(v any) ([]byte, error) {
	b, err := xml.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing libvirt's XML: %w", err)
	}
	return append(childless.ReplaceAll(b, []byte("<$1$2/>")), '\n'), nil
}
