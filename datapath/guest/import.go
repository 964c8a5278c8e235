package guest

import (
	"cmp"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// Domain is what of a libvirt domain a topology file can hold.
type Domain struct {
	Name   string
	UUID   uuid.UUID // zero if there is none
	Memory int       // MiB, rounded up
	CPUs   int

	Kernel, Initrd, Cmdline string
	Boot                    []string // BootCDROM, BootDisk
	CDROM                   string
	Disks                   []Disk
	DiskBus                 string
	NICModel                string
	Interfaces              []Interface
	// Lost is what is not here, and what is here in another form.
	Lost []Lost
}

// Interface is a network card of a domain.
type Interface struct {
	File        string
	Line        int
	MAC         net.HardwareAddr // nil if there is none
	Network     string           // the libvirt network, or
	Bridge      string           // the bridge that it is on
	VirtualPort string           // what the interface says of the bridge; "" is Linux's own
	PortGroup   string
	InterfaceID uuid.UUID // the iface-id; zero if there is none
	VLAN        *VLAN     // nil if the interface says nothing of it
}

// VLAN is a <vlan> of libvirt's.
type VLAN struct {
	// Trunk says that frames are tagged; otherwise there is one tag, and the port is an
	// access port of it.
	Trunk bool
	Tags  []uint16 // 1 … 4094, ascending, with Native
	// Native is the VLAN of untagged frames of a trunk, 0 if there is none.
	Native uint16
}

// NetworkDef is what of a libvirt network matters to its interfaces.
type NetworkDef struct {
	File       string
	Name       string
	Bridge     string
	Forward    string // the forward mode; only "bridge" has a bridge of somebody else's
	PortGroups []PortGroup
	VLAN       *VLAN // of the interfaces in no port group
	Lost       []Lost
}

// PortGroup is a class of interfaces of a network.
type PortGroup struct {
	Name    string
	Default bool // of interfaces that name none
	VLAN    *VLAN
}

// ParseDomain reads a libvirt domain, as virsh dumpxml writes it; file is what errors
// call it. The input is untrusted. An error is "FILE:LINE: what".
func ParseDomain(file string, data []byte) (*Domain, error) {
	root, err := parseXML(file, data)
	if err != nil {
		return nil, err
	}
	if root.name != "domain" {
		return nil, root.wrong("<%.60s> is no domain; give the output of virsh dumpxml", root.name)
	}
	d := &Domain{Name: root.one("name").content()}
	if d.Name == "" {
		return nil, root.wrong("the domain has no name")
	}
	r := &reader{d: d}
	r.general(root)
	r.system(root.one("os"))
	devices := root.one("devices")
	for _, e := range devices.all("disk") {
		r.disk(e)
	}
	for _, e := range devices.all("interface") {
		r.nic(e)
	}
	r.others(devices)
	r.order()
	if r.err != nil {
		return nil, r.err
	}
	d.Lost = root.lost(d.Lost)
	slices.SortStableFunc(d.Lost, func(a, b Lost) int { return cmp.Compare(a.Line, b.Line) })
	return d, nil
}

// reader fills a Domain and keeps the first error.
type reader struct {
	d     *Domain
	err   error
	boots []bootEntry // devices with an order of their own
}

type bootEntry struct {
	order  int
	device string
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) note(e *element, format string, args ...any) {
	if len(r.d.Lost) <= maxLost {
		r.d.Lost = append(r.d.Lost, Lost{e.file, e.line, fmt.Sprintf(format, args...)})
	}
}

// maxMemory is the most memory of a guest in MiB.
const maxMemory = 1 << 20

// units are libvirt's units of memory, in KiB; bytes have none.
var units = map[string]int{"": 1, "KiB": 1, "k": 1, "MiB": 1 << 10, "M": 1 << 10, "GiB": 1 << 20, "G": 1 << 20}

func (r *reader) general(root *element) {
	root.attr("id") // of a domain that runs
	if t := root.attr("type"); t != "kvm" && t != "qemu" {
		r.fail(root.wrong("a domain of type %.60q is not run by qemu; only kvm and qemu can be imported", t))
	}
	if e := root.one("uuid"); e != nil {
		u, err := uuid.Parse(e.content())
		if err != nil {
			r.fail(e.wrong("%.60q is no UUID", e.content()))
		}
		r.d.UUID = u
	}
	r.d.CPUs = 1
	if e := root.one("vcpu"); e != nil {
		if e.attr("placement") != "static" {
			delete(e.seenAttrs, "placement")
		}
		if n, err := strconv.Atoi(e.content()); err != nil || n < 1 || n > 255 {
			r.fail(e.wrong("%.60q is no number of CPUs from 1 to 255", e.content()))
		} else {
			r.d.CPUs = n
		}
	}
	if e := root.one("memory"); e != nil {
		unit, known := units[e.attr("unit")]
		n, err := strconv.Atoi(e.content())
		if err != nil || !known || n < 1 || n > maxMemory*1024/unit {
			r.fail(e.wrong("%.60q %.20s is no amount of memory; write it in KiB, MiB or GiB", e.content(), e.attr("unit")))
		} else {
			r.d.Memory = (n*unit + 1023) / 1024
		}
		if c := root.one("currentMemory"); c != nil {
			c.attr("unit")
			if c.content() != e.content() {
				c.forget()
			}
		}
	}
	for name, same := range map[string]string{"on_poweroff": "destroy", "on_reboot": "restart", "on_crash": "destroy"} {
		if e := root.one(name); e != nil && e.content() != same {
			e.forget()
		}
	}
	if e := root.one("clock"); e != nil && e.attr("offset") != "utc" {
		e.forget()
	}
	if e := root.one("features"); e != nil {
		e.one("acpi").skip()
		e.one("apic").skip()
	}
	if e := root.one("cpu"); e != nil {
		if e.attr("mode") == "host-model" {
			e.skip()
		} else {
			e.forget()
		}
	}
}

func (r *reader) system(e *element) {
	if e == nil {
		return
	}
	if t := e.one("type"); t != nil {
		if arch := t.attr("arch"); arch != "" && arch != "x86_64" {
			r.fail(t.wrong("architecture %.60q; only x86_64 can be imported", arch))
		}
		if machine := t.attr("machine"); machine != "" && machine != "pc" && !strings.HasPrefix(machine, "pc-i440fx") {
			r.note(t, "machine %.60s becomes pc", machine)
		}
		if t.content() != "hvm" {
			r.fail(t.wrong("an operating system of type %.60q; only hvm can be imported", t.content()))
		}
	}
	r.d.Kernel, r.d.Initrd, r.d.Cmdline = e.one("kernel").content(), e.one("initrd").content(), e.one("cmdline").content()
	for _, b := range e.all("boot") {
		switch dev := b.attr("dev"); dev {
		case "hd":
			r.d.Boot = append(r.d.Boot, BootDisk)
		case "cdrom":
			r.d.Boot = append(r.d.Boot, BootCDROM)
		default:
			b.forget()
		}
	}
}

// disk takes a disk or CD drive. All disks of a guest are on one bus.
func (r *reader) disk(e *element) {
	device, source := cmp.Or(e.attr("device"), "disk"), e.one("source")
	path, driver, target := cmp.Or(source.attr("file"), source.attr("dev")), e.one("driver"), e.one("target")
	bus := target.attr("bus")
	target.attr("dev")
	kind := e.attr("type")
	driver.attr("name")
	format := cmp.Or(driver.attr("type"), "raw")
	switch {
	case device == "cdrom" && path == "":
		r.note(e, "an empty CD drive is not carried over")
		e.skip()
		return
	case device == "cdrom" && r.d.CDROM != "", device != "cdrom" && device != "disk", kind != "file" && kind != "block",
		path == "", device == "disk" && (len(r.d.Disks) == MaxDisks || !slices.Contains(buses, bus) || !slices.Contains(formats, format)):
		r.note(e, "%s %.200s on bus %.60s as %.60s cannot be carried over: a guest has up to %d disks on %s in a file of format %s, and one CD",
			device, cmp.Or(path, "without a file"), cmp.Or(bus, "of no name"), format, MaxDisks, strings.Join(buses, ", "), strings.Join(formats, ", "))
		e.skip()
		return
	case device == "cdrom":
		r.d.CDROM = path
		e.one("readonly").skip()
	default:
		r.d.Disks = append(r.d.Disks, Disk{Path: path, Format: format})
		if first := cmp.Or(r.d.DiskBus, bus); first != bus {
			r.note(e, "disk %.200s moves from bus %s to %s, on which the first one is", path, bus, first)
		}
		r.d.DiskBus = cmp.Or(r.d.DiskBus, bus)
	}
	e.one("address").skip() // chosen anew, by rule
	e.one("alias").skip()
	source.attr("index") // of a domain that runs
	e.one("backingStore").skip()
	r.bootOrder(e, map[string]string{"cdrom": BootCDROM, "disk": BootDisk}[device])
}

// bootOrder notes the <boot order> of a device.
func (r *reader) bootOrder(e *element, device string) {
	b := e.one("boot")
	if b == nil {
		return
	}
	n, err := strconv.Atoi(b.attr("order"))
	if err != nil || n < 1 {
		r.fail(b.wrong("%.60q is no place in the boot order", b.attr("order")))
	}
	r.boots = append(r.boots, bootEntry{n, device})
}

// order makes the boot order of the devices' own ones; libvirt lets a domain have
// either these or that of <os>.
func (r *reader) order() {
	slices.SortStableFunc(r.boots, func(a, b bootEntry) int { return cmp.Compare(a.order, b.order) })
	for _, b := range r.boots {
		r.d.Boot = append(r.d.Boot, b.device)
	}
	var once []string
	for _, device := range r.d.Boot {
		there := device == BootCDROM && r.d.CDROM != "" || device == BootDisk && len(r.d.Disks) > 0
		if there && !slices.Contains(once, device) {
			once = append(once, device)
		}
	}
	r.d.Boot = once
}

func (r *reader) nic(e *element) {
	n := Interface{File: e.file, Line: e.line}
	source := e.one("source")
	kind := e.attr("type")
	if kind != "network" && kind != "bridge" {
		r.note(e, "a network card of type %.60q is on no bridge; it is not carried over", kind)
		e.skip()
		return
	}
	n.Network, n.Bridge, n.PortGroup = source.attr("network"), source.attr("bridge"), source.attr("portgroup")
	source.attr("portid") // of a domain that runs
	if n.Network == "" && n.Bridge == "" {
		r.fail(e.wrong("the interface says neither its network nor its bridge"))
	}
	if m := e.one("mac"); m != nil {
		mac, err := net.ParseMAC(m.attr("address"))
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
			r.fail(m.wrong("%.60q is no Ethernet address of a card", m.attr("address")))
		}
		n.MAC = mac
	}
	if v := e.one("virtualport"); v != nil {
		n.VirtualPort = cmp.Or(v.attr("type"), openvswitch)
		if n.VirtualPort != openvswitch {
			r.note(v, "a virtual port of type %.60s becomes one of Open vSwitch", n.VirtualPort)
		}
		if p := v.one("parameters"); p.attr("interfaceid") != "" {
			id, err := uuid.Parse(p.attr("interfaceid"))
			if err != nil {
				r.fail(p.wrong("interfaceid %.60q is no UUID", p.attr("interfaceid")))
			}
			n.InterfaceID = id
		}
	}
	if v := e.one("vlan"); v != nil {
		n.VLAN = r.vlan(v)
	}
	r.nicModel(e)
	if dev := e.one("target").attr("dev"); !strings.HasPrefix(dev, "vnet") && dev != "" {
		r.note(e, "the tap %.60s gets a name that follows from its port", dev)
	}
	if size := e.one("mtu").attr("size"); size != "" {
		r.note(e, "MTU %.60s is not carried over: it follows from the underlay's", size)
	}
	e.one("address").skip()
	e.one("alias").skip()
	r.d.Interfaces = append(r.d.Interfaces, n)
}

// nicModel takes the model of a card; all cards of a guest have one.
func (r *reader) nicModel(e *element) {
	model := e.one("model").attr("type")
	if model == "" {
		return
	}
	if !slices.Contains(models, model) {
		r.note(e, "NIC model %.60s becomes %s", model, ModelE1000)
		model = ModelE1000
	}
	if first := cmp.Or(r.d.NICModel, model); first != model {
		r.note(e, "NIC model %s becomes %s, which the first card has", model, first)
	}
	r.d.NICModel = cmp.Or(r.d.NICModel, model)
}

// vlan takes <vlan trunk='yes'><tag id='10' nativeMode='untagged'/>…</vlan>.
func (r *reader) vlan(e *element) *VLAN {
	v, err := parseVLAN(e)
	if err != nil {
		r.fail(err)
	}
	return v
}

func parseVLAN(e *element) (*VLAN, error) {
	v := &VLAN{}
	tags := e.all("tag")
	v.Trunk = e.attr("trunk") == "yes" || len(tags) > 1
	seen := map[uint16]bool{}
	for _, t := range tags {
		id, err := strconv.ParseUint(t.attr("id"), 0, 16)
		if err == nil && id == 0 && v.Trunk {
			t.forget() // libvirt takes it; no network has that tag
			continue
		}
		if err != nil || id < 1 || id > 4094 {
			return nil, t.wrong("VLAN ID %.60q is outside 1 to 4094", t.attr("id"))
		}
		if seen[uint16(id)] {
			return nil, t.wrong("VLAN ID %d is there twice", id)
		}
		seen[uint16(id)] = true
		v.Tags = append(v.Tags, uint16(id))
		switch mode := t.attr("nativeMode"); {
		case mode == "":
		case mode != "untagged" && mode != "tagged":
			return nil, t.wrong("nativeMode %.60q is neither tagged nor untagged", mode)
		case v.Native != 0:
			return nil, t.wrong("VLAN %d and VLAN %d are both native", v.Native, id)
		case mode == "tagged":
			// Its own frames leave with a tag; a network is on a trunk in one form only.
			delete(t.seenAttrs, "nativeMode")
			v.Trunk = true
		default:
			v.Native, v.Trunk = uint16(id), true
		}
	}
	if len(v.Tags) == 0 {
		return nil, e.wrong("there is a vlan without a tag")
	}
	slices.Sort(v.Tags)
	return v, nil
}

// others marks the devices that every guest gets in just that form.
func (r *reader) others(devices *element) {
	if e := devices.one("emulator"); e != nil && filepath.Base(e.content()) != "qemu-system-x86_64" {
		e.forget()
	}
	for _, e := range devices.all("controller") { // made as disks and cards need them
		if t := e.attr("type"); slices.Contains([]string{"pci", "usb", "ide", "sata", "scsi", "virtio-serial"}, t) {
			e.skip()
		} else {
			e.forget()
		}
	}
	for name, same := range map[string]func(*element) bool{
		"serial":     func(e *element) bool { return e.attr("type") == "pty" },
		"console":    func(e *element) bool { return e.attr("type") == "pty" },
		"channel":    func(e *element) bool { return e.one("target").attr("name") == AgentChannel },
		"input":      func(e *element) bool { return e.attr("bus") == "ps2" },
		"graphics":   func(e *element) bool { return e.attr("type") == "vnc" && localOnly(e) },
		"video":      func(e *element) bool { return e.one("model").attr("type") == "vga" },
		"memballoon": func(e *element) bool { return e.attr("model") == "none" },
		"audio":      func(e *element) bool { return e.attr("type") == "none" },
	} {
		if e := devices.one(name); e != nil {
			if same(e) {
				e.skip()
			} else {
				e.forget()
			}
		}
	}
}

// localOnly reports whether a display listens on the loopback interface only,
// which is what libvirt does unless it is told otherwise.
func localOnly(e *element) bool {
	at := cmp.Or(e.attr("listen"), e.one("listen").attr("address"))
	return at == "" || at == "127.0.0.1"
}

// ParseNetwork reads a libvirt network, as virsh net-dumpxml writes it; otherwise it is
// as ParseDomain.
func ParseNetwork(file string, data []byte) (*NetworkDef, error) {
	root, err := parseXML(file, data)
	if err != nil {
		return nil, err
	}
	if root.name != "network" {
		return nil, root.wrong("<%.60s> is no network; give the output of virsh net-dumpxml", root.name)
	}
	root.attr("connections") // of a network that is active
	n := &NetworkDef{File: file, Name: root.one("name").content(), Bridge: root.one("bridge").attr("name"), Forward: root.one("forward").attr("mode")}
	if n.Name == "" {
		return nil, root.wrong("the network has no name")
	}
	root.one("uuid").skip()
	root.one("virtualport").attr("type")
	if v := root.one("vlan"); v != nil {
		if n.VLAN, err = parseVLAN(v); err != nil {
			return nil, err
		}
	}
	for _, e := range root.all("portgroup") {
		g := PortGroup{Name: e.attr("name"), Default: e.attr("default") == "yes"}
		if g.Name == "" || slices.ContainsFunc(n.PortGroups, func(o PortGroup) bool { return o.Name == g.Name }) {
			return nil, e.wrong("the name of port group %.60q is missing or another's", g.Name)
		}
		if v := e.one("vlan"); v != nil {
			if g.VLAN, err = parseVLAN(v); err != nil {
				return nil, err
			}
		}
		e.one("virtualport").attr("type")
		n.PortGroups = append(n.PortGroups, g)
	}
	n.Lost = root.lost(nil)
	return n, nil
}
