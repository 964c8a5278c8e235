package file

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// kindGuest and kindKind are what guests and their kinds are called in messages,
// as topo's kinds of object are. The overlay itself knows neither.
const (
	kindGuest = "guest"
	kindKind  = "kind"
)

const (
	// MaxNICs is the most network cards of one guest: so many PCI slots of a PC
	// are left beside its disks and its graphics card.
	MaxNICs = 24
	// MaxKinds is the most kinds of a file's own.
	MaxKinds = 64
	// MaxDisks is the most disks of one guest. Four drives are on the IDE
	// controllers of a PC, and one of them is the CD drive.
	MaxDisks = 3
)

// Guest is a virtual machine as the file defines it. What is left out is zero;
// File.Resolve fills it in.
type Guest struct {
	Name string
	UUID uuid.UUID // derived from the name if zero
	// Host says where a lab starts it; empty if somebody else does.
	Host string
	Kind string // of the file's own or a built-in one; DefaultKind if empty

	Memory int // MiB
	CPUs   int

	// Paths are as they are written; see File.Path.
	Kernel, Initrd string
	Cmdline        string // behind what is generated for the kernel
	CDROM          string
	Disks          []Disk
	DiskBus        string
	Boot           []string

	NICModel string
	Ready    string
	NICs     []NIC // in the order in which the guest sees them
}

// Disk is a disk image of a guest.
type Disk struct {
	Path   string
	Format string // raw, qcow2 or vmdk
}

// NIC is a network card of a guest. All else about it is in the port of that name
// in File.Topology.
type NIC struct {
	Name string // the guest's own name of it: eth0, ma1
	Port string
}

// Kind is what holds for a sort of guest where a guest does not say otherwise.
type Kind struct {
	Name     string
	NICModel string   // e1000 or virtio
	DiskBus  string   // ide, sata, scsi or virtio
	Boot     []string // cdrom and disk, in the order in which they are tried
	Memory   int      // MiB
	CPUs     int
	MaxNICs  int // 1 … MaxNICs
	// Ready is the sign that a guest is up: it answers at an "address" of its own,
	// has sent any "frame", or an "lldp" frame.
	Ready string
	// NICs are the names of the network cards; the last one is counted on.
	NICs []string
	// TrunkProfile is the profile of the ports that are trunks.
	TrunkProfile topo.Profile
}

// DefaultKind is the kind of a guest that does not say.
const DefaultKind = "vm"

// BuiltinKinds are the kinds that every file has: vm, a machine with virtio, and
// veos, an Arista vEOS switch.
func BuiltinKinds() []Kind {
	return []Kind{
		{Name: DefaultKind, NICModel: "virtio", DiskBus: "virtio", Boot: []string{"disk", "cdrom"},
			Memory: 512, CPUs: 1, MaxNICs: MaxNICs, Ready: "address", NICs: []string{"eth0"}},
		// The CD is Aboot, the boot loader, which starts what is on the disk.
		{Name: "veos", NICModel: "e1000", DiskBus: "ide", Boot: []string{"cdrom", "disk"},
			Memory: 2048, CPUs: 1, MaxNICs: MaxNICs, Ready: "lldp", NICs: []string{"ma1", "et1"}, TrunkProfile: topo.ProfileSwitch},
	}
}

// bootsFrom is the only disk bus that guests of the kind boot from, and why;
// empty if any does.
func bootsFrom(kind string) (bus, why string) {
	if kind == "veos" {
		return "ide", "Aboot boots from IDE only"
	}
	return "", ""
}

// NICName is the guest's name of its network card i, counted from 0; "" if the last name
// cannot be counted on.
func (k Kind) NICName(i int) string {
	if i < len(k.NICs) {
		return k.NICs[i]
	}
	if len(k.NICs) == 0 {
		return ""
	}
	last := k.NICs[len(k.NICs)-1]
	stem := strings.TrimRight(last, "0123456789")
	n, err := strconv.Atoi(last[len(stem):])
	if err != nil {
		return ""
	}
	return stem + strconv.Itoa(n+i-len(k.NICs)+1)
}

// Kind is the kind of that name: one of the file's own, or a built-in one. The
// empty name is DefaultKind.
func (f *File) Kind(name string) (Kind, bool) {
	if name == "" {
		name = DefaultKind
	}
	for _, kinds := range [][]Kind{f.Kinds, BuiltinKinds()} {
		if i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == name }); i >= 0 {
			return kinds[i], true
		}
	}
	return Kind{}, false
}

// Guest is the guest of that name, as the file defines it.
func (f *File) Guest(name string) (Guest, bool) {
	i := slices.IndexFunc(f.Guests, func(g Guest) bool { return g.Name == name })
	if i < 0 {
		return Guest{}, false
	}
	return f.Guests[i], true
}

// Resolve is g, a guest of f, with all that it leaves to its kind filled in. Its
// boot order names only what it has, and it is empty with a kernel. A guest
// that was to be ready by address and has none is ready by its first frame.
func (f *File) Resolve(g Guest) Guest {
	k, _ := f.Kind(g.Kind)
	g.Kind = k.Name
	if g.UUID == uuid.Nil {
		g.UUID = topo.DeriveUUID(kindGuest, g.Name)
	}
	if g.Memory == 0 {
		g.Memory = k.Memory
	}
	if g.CPUs == 0 {
		g.CPUs = k.CPUs
	}
	if g.DiskBus == "" {
		g.DiskBus = k.DiskBus
	}
	if g.NICModel == "" {
		g.NICModel = k.NICModel
	}
	if len(g.Boot) == 0 && g.Kernel == "" {
		for _, device := range k.Boot {
			if device == "cdrom" && g.CDROM != "" || device == "disk" && len(g.Disks) > 0 {
				g.Boot = append(g.Boot, device)
			}
		}
	}
	if g.Ready == "" {
		if g.Ready = k.Ready; g.Ready == "address" && !f.hasAddress(g) {
			g.Ready = "frame"
		}
	}
	return g
}

// hasAddress reports whether the guest answers at an address on untagged frames.
func (f *File) hasAddress(g Guest) bool {
	for _, nic := range g.NICs {
		p, ok := f.port(nic.Port)
		if ok && (len(p.Addresses) > 0 || p.Trunk != nil && p.Trunk.Native != nil && len(p.Trunk.Native.Addresses) > 0) {
			return true
		}
	}
	return false
}

// port is the port of that name. A file that was parsed knows where its NICs are.
func (f *File) port(name string) (topo.Port, bool) {
	ports := f.Topology.Ports
	i, known := f.nicAt[name]
	if !known || i >= len(ports) || ports[i].Name != name {
		i = slices.IndexFunc(ports, func(p topo.Port) bool { return p.Name == name })
	}
	if i < 0 {
		return topo.Port{}, false
	}
	return ports[i], true
}

// Path is a path that is written in the file: a relative one starts at the
// file's directory. Empty stays empty.
func (f *File) Path(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(f.source), path)
}
