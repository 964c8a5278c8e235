package main

import (
	"cmp"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
	"github.com/ofctl-lab/ofctl-lab/topo/file"
)

// The topology file and the machine are rooms that do not know each other.
func TestGuestLimitsAgree(t *testing.T) {
	if file.MaxNICs != guest.MaxNICs || file.MaxDisks != guest.MaxDisks {
		t.Errorf("a file may have %d NICs and %d disks, a machine %d and %d", file.MaxNICs, file.MaxDisks, guest.MaxNICs, guest.MaxDisks)
	}
}

// A guest finds its cards and disks in the same places under libvirt and in a
// lab, where qemu is started without it.
func TestSlotsAgree(t *testing.T) {
	m := guest.Machine{Name: "m", UUID: uuid.New(), Memory: 64, CPUs: 1, NICModel: guest.ModelE1000, DiskBus: guest.BusVirtio,
		Disks: []guest.Disk{{Path: "/a", Format: "raw"}, {Path: "/b", Format: "raw"}}}
	for i := range guest.MaxNICs {
		name := fmt.Sprint("eth", i)
		m.NICs = append(m.NICs, guest.NIC{Name: name, Port: name, PortUUID: uuid.New(), Tap: name, MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}})
	}
	text, err := guest.DomainXML(m, guest.Libvirt{Accel: guest.AccelTCG, Network: "n"})
	if err != nil {
		t.Fatal(err)
	}
	argv, err := qemu.Command(m, qemu.Options{Accel: qemu.TCG, TapFDs: make([]int, len(m.NICs))})
	if err != nil {
		t.Fatal(err)
	}
	var libvirt, direct []string
	for _, found := range regexp.MustCompile(`slot="0x(..)" function="0x(.)"`).FindAllStringSubmatch(string(text), -1) {
		libvirt = append(libvirt, found[1]+"."+found[2])
	}
	for _, found := range regexp.MustCompile(`addr=0x([0-9a-f]+)(?:\.([0-9]))?`).FindAllStringSubmatch(strings.Join(argv, " "), -1) {
		direct = append(direct, fmt.Sprintf("%02s.%s", found[1], cmp.Or(found[2], "0")))
	}
	slices.Sort(libvirt)
	slices.Sort(direct)
	if d := gocmp.Diff(direct, libvirt); d != "" {
		t.Errorf("PCI addresses (-qemu +libvirt):\n%s", d)
	}
}
