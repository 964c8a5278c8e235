package qemu

import (
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
)

var update = flag.Bool("update", false, "write the golden files")

// nics are n NICs whose names and MACs say their place.
func nics(n int) []guest.NIC {
	out := make([]guest.NIC, n)
	for i := range out {
		out[i] = guest.NIC{Name: fmt.Sprintf("eth%d", i), MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(i + 1)}, MTU: 1450}
	}
	return out
}

func fds(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = 3 + i
	}
	return out
}

// machines are one of each sort.
func machines() map[string]guest.Machine {
	id := uuid.MustParse("11111111-2222-3333-4444-555555555555")
	return map[string]guest.Machine{
		"vm": {
			Name: "vm1", UUID: id, Memory: 192, CPUs: 1, Kernel: "/images/vmlinuz", Initrd: "/images/initramfs.img",
			Cmdline: "console=ttyS0 hostname=vm1", NICModel: "e1000", NICs: nics(2),
		},
		"veos": {
			Name: "veos,1", UUID: id, Memory: 2048, CPUs: 1, Boot: []string{"cdrom", "disk"}, CDROM: "/images/Aboot, old.iso",
			Disks: []guest.Disk{{Path: `/images/v"EOS,1.vmdk`, Format: "vmdk"}}, DiskBus: "ide", NICModel: "e1000", NICs: nics(9),
		},
		"virtio": {
			Name: "csr", UUID: id, Memory: 4096, CPUs: 2, Boot: []string{"disk"}, DiskBus: "virtio",
			Disks:    []guest.Disk{{Path: "/images/a.qcow2", Format: "qcow2"}, {Path: "/images/b.raw", Format: "raw"}},
			NICModel: "virtio", NICs: nics(1),
		},
		"sata": {
			Name: "s", UUID: id, Memory: 64, CPUs: 1, Boot: []string{"cdrom", "disk"}, DiskBus: "sata", CDROM: "/images/cd.iso",
			Disks: []guest.Disk{{Path: "/images/a.raw", Format: "raw"}, {Path: "/images/b.raw", Format: "raw"}}, NICModel: "e1000",
		},
		"scsi": {
			Name: "s", UUID: id, Memory: 64, CPUs: 1, DiskBus: "scsi", NICModel: "e1000",
			Disks: []guest.Disk{{Path: "/images/a.raw", Format: "raw"}, {Path: "/images/b.raw", Format: "raw"}},
		},
	}
}

func TestCommandGolden(t *testing.T) {
	for name, m := range machines() {
		argv, err := Command(m, Options{Accel: TCG, TapFDs: fds(len(m.NICs)), Incoming: name == "vm"})
		if err != nil {
			t.Fatal(name, err)
		}
		got := strings.ReplaceAll(strings.Join(argv, "\n"), "\n-", "\x00-")
		got = strings.ReplaceAll(strings.ReplaceAll(got, "\n", " "), "\x00", "\n") + "\n"
		path := filepath.Join("testdata", name+".args")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (go test -update writes it):\n%s", name, diff)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(*guest.Machine)
	}{
		{"it has no name", func(m *guest.Machine) { m.Name = "" }},
		{"memory 8 MiB; use 16 to", func(m *guest.Machine) { m.Memory = 8 }},
		{"0 CPUs; use 1 to 255", func(m *guest.Machine) { m.CPUs = 0 }},
		{"nothing to boot from", func(m *guest.Machine) { m.Disks, m.CDROM = nil, "" }},
		{`disk bus "floppy"; use`, func(m *guest.Machine) { m.DiskBus = "floppy" }},
		{"4 disks; ide has room for 3", func(m *guest.Machine) { m.Disks = make([]guest.Disk, 4) }},
		{`boot device "network"; use`, func(m *guest.Machine) { m.Boot = []string{"network"} }},
		{`NIC model "ne2k"; use`, func(m *guest.Machine) { m.NICModel = "ne2k" }},
		{"25 NICs; it has room for 24", func(m *guest.Machine) { m.NICs = nics(25) }},
		{"NIC eth0: MAC", func(m *guest.Machine) { m.NICs[0].MAC = net.HardwareAddr{1, 2, 3, 4, 5, 6} }},
	} {
		m := machines()["veos"]
		if err := Check(m); err != nil {
			t.Fatal(err)
		}
		c.change(&m)
		if err := Check(m); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	m := machines()["vm"]
	if _, err := Command(m, Options{Accel: TCG}); err == nil {
		t.Error("accepted without taps")
	}
}

func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	empty, full := filepath.Join(dir, "empty"), filepath.Join(dir, "full")
	for path, text := range map[string]string{empty: "", full: "x"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := guest.Machine{Name: "vm1", Kernel: full, Initrd: full, CDROM: full, Disks: []guest.Disk{{Path: full}}}
	if err := CheckFiles(m); err != nil {
		t.Error(err)
	}
	m = guest.Machine{Name: "vm1", Kernel: filepath.Join(dir, "none"), Initrd: empty, CDROM: dir, Disks: []guest.Disk{{Path: filepath.Join(dir, "no")}}}
	err := CheckFiles(m)
	for _, want := range []string{"kernel: stat", "make guest-image", "initrd: " + empty + " is empty", "CD image: " + dir + " is a directory", "disk: stat", "put it there"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}
