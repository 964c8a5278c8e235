package guest

import (
	"net"
	"net/netip"

	"github.com/google/uuid"
)

// Machine is one virtual machine, all of it decided: nothing is left to the
// defaults of who runs it.
type Machine struct {
	Name string    `json:"name"`
	UUID uuid.UUID `json:"uuid"`
	// Kind is the name of what sort of machine it is, for people.
	Kind string `json:"kind"`

	Memory int `json:"memory"` // MiB
	CPUs   int `json:"cpus"`

	// Kernel boots the machine directly, with Initrd and Cmdline; empty boots from
	// Boot.
	Kernel  string `json:"kernel,omitempty"`
	Initrd  string `json:"initrd,omitempty"`
	Cmdline string `json:"cmdline,omitempty"`
	// Boot is the order of devices to boot from: "cdrom", "disk".
	Boot []string `json:"boot,omitempty"`
	// CDROM is the image in the machine's one CD drive, empty for none.
	CDROM string `json:"cdrom,omitempty"`
	Disks []Disk `json:"disks,omitempty"`
	// DiskBus is what disks are connected to: ide, sata, virtio, scsi. The CD drive
	// is on IDE, unless the disks are on SATA.
	DiskBus string `json:"disk_bus,omitempty"`

	// NICModel is e1000 or virtio. Checksum and segmentation offloads of virtio are
	// off: Open vSwitch's userspace datapath passes a packet on as it is, and a checksum
	// that was left to somebody else would never be computed.
	NICModel string `json:"nic_model"`
	NICs     []NIC  `json:"nics,omitempty"` // in the order the guest sees them

	Ready Ready `json:"ready"`
}

// Disk is a disk image. Format is qemu's name of it: raw, qcow2, vmdk.
type Disk struct {
	Path   string `json:"path"`
	Format string `json:"format"`
}

// NIC is a network card of a machine, and the port that it is.
type NIC struct {
	// Name is the guest's own name of it, as eth0, ma1, et3.
	Name string `json:"name"`
	// Port and PortUUID are the logical port's; the UUID goes into
	// external_ids:iface-id (libvirt's interfaceid).
	Port     string    `json:"port"`
	PortUUID uuid.UUID `json:"port_uuid"`
	// Tap is the name of the tap device on the host.
	Tap string           `json:"tap"`
	MAC net.HardwareAddr `json:"mac"`
	MTU int              `json:"mtu,omitempty"` // bytes; what the overlay has room for
	// Addresses are what the guest is known to answer at on untagged frames.
	Addresses []netip.Addr `json:"addresses,omitempty"`
}

// Ready is the sign by which a machine is known to be up.
type Ready string

// The signs.
const (
	// ReadyAddress: it answers an ARP request for an address of one of its NICs.
	ReadyAddress Ready = "address"
	// ReadyFrame: it has sent a frame.
	ReadyFrame Ready = "frame"
	// ReadyLLDP: it has sent an LLDP frame.
	ReadyLLDP Ready = "lldp"
)
