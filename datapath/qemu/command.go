package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
)

// Program is the emulator.
const Program = "qemu-system-x86_64"

// The files of a machine in its directory.
const (
	MonitorSocket    = "qmp.sock"        // QMP, for commands
	SupervisorSocket = "supervisor.sock" // QMP, for the one who started it
	ConsoleSocket    = "console.sock"    // the serial console, one client at a time
	AgentSocket      = "agent.sock"      // the guest agent's channel
	ConsoleLog       = "console.log"     // what the serial console has said
	IncomingSocket   = "incoming.sock"   // a migration arrives here
)

// agentChannel is the name by which the guest agent finds its channel.
const agentChannel = "org.qemu.guest_agent.0"

// The PCI slots of bus 0. They are given explicitly: the guest numbers its NICs by
// slot, and qemu's own choice depends on what else there is. Slots 0 and 1 are
// the chipset's.
const (
	slotVGA    = 2
	slotSerial = 3
	slotBus    = 4 // SATA or SCSI controller
	slotDisks  = 5 // virtio disks, one function each
	slotNIC    = 8 // the first NIC
	slots      = 32
)

// MaxNICs is how many NICs a machine can have.
const MaxNICs = slots - slotNIC

// Accel is what executes the guest's instructions.
type Accel = guest.Accel

// The accelerators.
const (
	KVM = guest.AccelKVM
	TCG = guest.AccelTCG // qemu itself: much slower
)

// Options are what a command line depends on besides the machine.
type Options struct {
	Accel Accel
	// TapFDs are the numbers under which qemu inherits the open taps of the
	// machine's NICs, in their order.
	TapFDs []int
	// Incoming makes qemu wait for a migration on [IncomingSocket] instead of booting.
	Incoming bool
}

// cpuModel is the CPU that a machine has on an accelerator.
func cpuModel(a Accel) string {
	if a == KVM {
		return "host"
	}
	return "qemu64"
}

// Command is the command line that runs the machine, program first. It has to be
// started in the machine's directory. The error says what is wrong with the
// machine.
func Command(m guest.Machine, o Options) ([]string, error) {
	if err := Check(m); err != nil {
		return nil, err
	}
	if len(o.TapFDs) != len(m.NICs) {
		return nil, fmt.Errorf("guest %s: %d taps for %d NICs", m.Name, len(o.TapFDs), len(m.NICs))
	}
	argv := []string{
		Program,
		"-name", "guest=" + escape(m.Name),
		"-uuid", m.UUID.String(),
		"-nodefaults", "-no-user-config",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-machine", "pc", "-accel", string(o.Accel), "-cpu", cpuModel(o.Accel),
		"-m", strconv.Itoa(m.Memory) + "M", "-smp", strconv.Itoa(m.CPUs),
		"-rtc", "base=utc", "-boot", "strict=on",
		// In the host's namespace; qemu takes the first free display.
		"-display", "none", "-vnc", "127.0.0.1:0,to=199",
	}
	argv = append(argv, monitor("qmp", MonitorSocket)...)
	argv = append(argv, monitor("supervisor", SupervisorSocket)...)
	argv = append(argv,
		"-chardev", "socket,id=console,path="+ConsoleSocket+",server=on,wait=off,logfile="+ConsoleLog+",logappend=on",
		"-device", "isa-serial,chardev=console",
		"-device", fmt.Sprintf("virtio-serial-pci,id=serial,bus=pci.0,addr=%#x", slotSerial),
		"-chardev", "socket,id=agent,path="+AgentSocket+",server=on,wait=off",
		"-device", "virtserialport,bus=serial.0,chardev=agent,name="+agentChannel)
	if m.Kernel != "" {
		argv = append(argv, "-kernel", m.Kernel)
		if m.Initrd != "" {
			argv = append(argv, "-initrd", m.Initrd)
		}
		argv = append(argv, "-append", m.Cmdline)
	} else {
		// What boots by itself may want a screen.
		argv = append(argv, "-device", fmt.Sprintf("VGA,bus=pci.0,addr=%#x", slotVGA))
	}
	drives, err := driveArgs(m)
	if err != nil {
		return nil, err
	}
	argv = append(argv, drives...)
	for i, n := range m.NICs {
		argv = append(argv, nicArgs(m, i, n, o.TapFDs[i])...)
	}
	if o.Incoming {
		argv = append(argv, "-incoming", "unix:"+IncomingSocket)
	}
	return argv, nil
}

func monitor(id, socket string) []string {
	return []string{"-chardev", "socket,id=" + id + ",path=" + socket + ",server=on,wait=off", "-mon", "chardev=" + id + ",mode=control"}
}

// NICID is the name under which QMP knows the machine's i-th NIC.
func NICID(i int) string { return "nic" + strconv.Itoa(i) }

func nicArgs(m guest.Machine, i int, n guest.NIC, fd int) []string {
	model := nicModels[m.NICModel]
	// No boot ROM: nothing is booted from the network, and loading it takes the
	// firmware a second per NIC under TCG.
	dev := fmt.Sprintf("%s,netdev=net%d,id=%s,mac=%s,bus=pci.0,addr=%#x,romfile=", model, i, NICID(i), n.MAC, slotNIC+i)
	if m.NICModel == "virtio" && n.MTU > 0 {
		dev += ",host_mtu=" + strconv.Itoa(n.MTU)
	}
	return []string{"-netdev", fmt.Sprintf("tap,id=net%d,fd=%d", i, fd), "-device", dev}
}

var nicModels = map[string]string{"e1000": "e1000", "virtio": "virtio-net-pci"}

// blockdev is a block device, as in the QMP command blockdev-add. It goes to qemu
// as JSON, in which a path needs no escapes of qemu's.
type blockdev struct {
	NodeName string       `json:"node-name"`
	Driver   string       `json:"driver"`
	ReadOnly bool         `json:"read-only"`
	File     blockdevFile `json:"file"`
}

type blockdevFile struct {
	Driver   string `json:"driver"`
	Filename string `json:"filename"`
}

func (b blockdev) args() ([]string, error) {
	text, err := json.Marshal(b)
	return []string{"-blockdev", string(text)}, err
}

// driveArgs are the disks and the CD drive. The CD drive is where PCs have it,
// first on the second IDE channel, unless all else is on SATA.
func driveArgs(m guest.Machine) ([]string, error) {
	var argv []string
	switch {
	case m.DiskBus == busSATA && (len(m.Disks) > 0 || m.CDROM != ""):
		argv = append(argv, "-device", fmt.Sprintf("ich9-ahci,id=sata,bus=pci.0,addr=%#x", slotBus))
	case m.DiskBus == busSCSI && len(m.Disks) > 0:
		argv = append(argv, "-device", fmt.Sprintf("virtio-scsi-pci,id=scsi,bus=pci.0,addr=%#x", slotBus))
	}
	index := bootIndex(m)
	ide := []string{"bus=ide.0,unit=0", "bus=ide.0,unit=1", "bus=ide.1,unit=0", "bus=ide.1,unit=1"}
	if m.CDROM != "" {
		args, err := blockdev{NodeName: "cdrom", Driver: "raw", ReadOnly: true, File: blockdevFile{"file", m.CDROM}}.args()
		if err != nil {
			return nil, err
		}
		at := ide[2]
		if m.DiskBus == busSATA {
			at = "bus=sata." + strconv.Itoa(maxDisks[busSATA])
		}
		argv = append(append(argv, args...), "-device", "ide-cd,drive=cdrom,"+at+index("cdrom"))
		ide = slices.Delete(ide, 2, 3)
	}
	for i, d := range m.Disks {
		node := "disk" + strconv.Itoa(i)
		args, err := blockdev{NodeName: node, Driver: d.Format, File: blockdevFile{"file", d.Path}}.args()
		if err != nil {
			return nil, err
		}
		var dev string
		switch m.DiskBus {
		case busIDE:
			dev = "ide-hd,drive=" + node + "," + ide[i]
		case busSATA:
			dev = fmt.Sprintf("ide-hd,drive=%s,bus=sata.%d", node, i)
		case busSCSI:
			dev = fmt.Sprintf("scsi-hd,drive=%s,bus=scsi.0,scsi-id=%d", node, i)
		case busVirtio:
			dev = fmt.Sprintf("virtio-blk-pci,drive=%s,bus=pci.0,addr=%#x.%d", node, slotDisks, i)
			if i == 0 {
				dev += ",multifunction=on"
			}
		}
		argv = append(append(argv, args...), "-device", dev+index("disk"))
	}
	return argv, nil
}

// bootIndex gives devices their place in the boot order, those of one sort in
// the order in which they are asked for.
func bootIndex(m guest.Machine) func(sort string) string {
	given := map[string]int{}
	return func(sort string) string {
		place := slices.Index(m.Boot, sort)
		if m.Kernel != "" || place < 0 {
			return ""
		}
		given[sort]++
		return ",bootindex=" + strconv.Itoa(100*place+given[sort])
	}
}

// The disk buses.
const (
	busIDE    = "ide"
	busSATA   = "sata"
	busSCSI   = "scsi"
	busVirtio = "virtio"
)

// maxDisks is how many disks a bus has room for, the CD drive's place aside.
var maxDisks = map[string]int{busIDE: 3, busSATA: 5, busSCSI: 8, busVirtio: 8}

// Check reports all that is wrong with the machine before anything is done, nil
// if nothing is. It looks at no file; see [CheckFiles].
func Check(m guest.Machine) error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("guest %s: "+format, append([]any{m.Name}, args...)...))
	}
	if m.Name == "" {
		bad("it has no name")
	}
	if m.Memory < 16 || m.Memory > 1<<20 {
		bad("memory %d MiB; use 16 to 1048576", m.Memory)
	}
	if m.CPUs < 1 || m.CPUs > 255 {
		bad("%d CPUs; use 1 to 255", m.CPUs)
	}
	if m.Kernel == "" && m.CDROM == "" && len(m.Disks) == 0 {
		bad("it has nothing to boot from; give it a kernel, a disk or a CD image")
	}
	if len(m.Disks) > 0 {
		if room, known := maxDisks[m.DiskBus]; !known {
			bad("disk bus %q; use ide, sata, scsi or virtio", m.DiskBus)
		} else if len(m.Disks) > room {
			bad("%d disks; %s has room for %d", len(m.Disks), m.DiskBus, room)
		}
	}
	for _, b := range m.Boot {
		if b != "cdrom" && b != "disk" {
			bad("boot device %q; use cdrom or disk", b)
		}
	}
	if _, known := nicModels[m.NICModel]; !known && len(m.NICs) > 0 {
		bad("NIC model %q; use e1000 or virtio", m.NICModel)
	}
	if len(m.NICs) > MaxNICs {
		bad("%d NICs; it has room for %d", len(m.NICs), MaxNICs)
	}
	for _, n := range m.NICs {
		if len(n.MAC) != 6 || n.MAC[0]&1 != 0 {
			bad("NIC %s: MAC %q is not a 48-bit unicast address", n.Name, n.MAC)
		}
	}
	return errors.Join(errs...)
}

// escape writes a value so that qemu's option parser takes it as it is.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }
