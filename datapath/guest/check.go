package guest

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// The PCI slots of the machine "pc" (i440FX), the same under libvirt and under qemu:
// guests number their network cards by slot, and one whose slot is left to
// chance is another one after the next change. 0 is the host bridge, 1 the PIIX
// with the IDE controllers.
const (
	SlotVideo      = 2 // the graphics card
	SlotChannel    = 3 // the controller of the guest agent's channel
	SlotController = 4 // of SATA or SCSI disks
	SlotDisk       = 5 // virtio disks, one function each
	SlotNIC        = 8 // the first network card; the others follow
)

const (
	// MaxNICs is the most network cards of a machine, by the slots of its PCI bus.
	MaxNICs = 24
	// MaxDisks is the most disks beside a CD drive, by the four drives of its IDE
	// controllers.
	MaxDisks = 3
)

// What a machine may be made of.
const (
	BusIDE    = "ide"
	BusSATA   = "sata"
	BusSCSI   = "scsi"
	BusVirtio = "virtio"

	ModelE1000  = "e1000"
	ModelVirtio = "virtio"

	BootCDROM = "cdrom"
	BootDisk  = "disk"
)

var (
	buses   = []string{BusIDE, BusSATA, BusSCSI, BusVirtio}
	models  = []string{ModelE1000, ModelVirtio}
	formats = []string{"raw", "qcow2", "vmdk"}
)

// Check reports all that is wrong with the machine, joined, nil if nothing is. It does not
// look whether images are there.
func (m Machine) Check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("guest %.64q: "+format, append([]any{m.Name}, args...)...))
	}
	if m.Name == "" || len(m.Name) > 63 || !printable(m.Name) || strings.Contains(m.Name, "/") {
		bad("the name has %d bytes or what no name may have; use 1 to 63 letters and digits", len(m.Name))
	}
	if m.UUID == uuid.Nil {
		bad("there is no UUID")
	}
	if m.Memory < 1 || m.CPUs < 1 {
		bad("%d MiB of memory and %d CPUs; use at least one of each", m.Memory, m.CPUs)
	}
	m.checkImages(bad)
	if m.NICModel != "" && !slices.Contains(models, m.NICModel) {
		bad("NIC model %q; use %s", m.NICModel, strings.Join(models, ", "))
	}
	if len(m.NICs) > MaxNICs {
		bad("%d NICs; there is room for %d", len(m.NICs), MaxNICs)
	}
	seen := map[string]bool{}
	for _, n := range m.NICs {
		if len(n.MAC) != 6 || n.MAC[0]&1 != 0 {
			bad("NIC %s: %s is no Ethernet address of a card", n.Name, n.MAC)
		}
		if n.PortUUID == uuid.Nil {
			bad("NIC %s: port %s has no UUID", n.Name, n.Port)
		}
		if err := netdev.CheckInterfaceName(n.Tap); err != nil {
			bad("NIC %s: tap: %w", n.Name, err)
		}
		for _, v := range []string{"tap " + n.Tap, "address " + n.MAC.String(), "port " + n.PortUUID.String()} {
			if seen[v] {
				bad("NIC %s: %s is another NIC's", n.Name, v)
			}
			seen[v] = true
		}
	}
	return errors.Join(errs...)
}

func (m Machine) checkImages(bad func(string, ...any)) {
	paths := []string{m.Kernel, m.Initrd, m.CDROM}
	for _, d := range m.Disks {
		if d.Path == "" || !slices.Contains(formats, d.Format) {
			bad("disk %q of format %q; give a path and one of %s", d.Path, d.Format, strings.Join(formats, ", "))
		}
		paths = append(paths, d.Path)
	}
	for _, p := range paths {
		if p != "" && !(filepath.IsAbs(p) && printable(p)) {
			bad("path %q; give an absolute one of printable characters", p)
		}
	}
	if len(m.Disks) > MaxDisks {
		bad("%d disks; there is room for %d", len(m.Disks), MaxDisks)
	}
	if (len(m.Disks) > 0 || m.CDROM != "") && !slices.Contains(buses, m.DiskBus) {
		bad("disk bus %q; use %s", m.DiskBus, strings.Join(buses, ", "))
	}
	for _, device := range m.Boot {
		if device != BootCDROM && device != BootDisk {
			bad("boot device %q; use %s or %s", device, BootCDROM, BootDisk)
		}
	}
	if !printable(m.Cmdline) {
		bad("kernel command line %q; use printable characters", m.Cmdline)
	}
	if m.Kernel == "" && (m.Initrd != "" || m.Cmdline != "") {
		bad("an initrd or a command line without a kernel")
	}
}

// printable keeps what XML and a command line cannot carry out of them.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
}
