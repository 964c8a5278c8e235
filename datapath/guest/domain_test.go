package guest_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/need"
)

// id is a UUID that says what it is of.
func id(n int) uuid.UUID { return uuid.MustParse(fmt.Sprintf("6f66ce1e-3d07-5c3a-9a5e-%012d", n)) }

func nics(names ...string) (out []guest.NIC) {
	for i, name := range names {
		out = append(out, guest.NIC{Name: name, Port: "g-" + name, PortUUID: id(100 + i), Tap: "t-g-" + name,
			MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}, MTU: 1450})
	}
	return out
}

// machines are one of each sort, by the name of the golden file.
func machines() map[string]guest.Machine {
	var many []string
	for i := range guest.MaxNICs {
		many = append(many, fmt.Sprint("eth", i))
	}
	vm := guest.Machine{Name: "vm1", UUID: id(1), Kind: "vm", Memory: 512, CPUs: 1, DiskBus: guest.BusVirtio, NICModel: guest.ModelVirtio}
	kernel := vm
	kernel.Kernel, kernel.Initrd, kernel.Cmdline = "/boot/vmlinuz", "/boot/initrd", `console=ttyS0 a="<b>" c='d&e'`
	kernel.NICs = nics("eth0")
	disks := vm
	disks.Disks = []guest.Disk{{Path: "/a.qcow2", Format: "qcow2"}, {Path: "/b.img", Format: "raw"}, {Path: "/c", Format: "raw"}}
	disks.CDROM, disks.Boot, disks.NICs = "/install.iso", []string{guest.BootDisk, guest.BootCDROM}, nics(many...)
	veos := guest.Machine{Name: "veos1", UUID: id(2), Kind: "veos", Memory: 2048, CPUs: 1, DiskBus: guest.BusIDE,
		Boot: []string{guest.BootCDROM, guest.BootDisk}, CDROM: "/images/Aboot.iso",
		Disks: []guest.Disk{{Path: "/images/vEOS.vmdk", Format: "vmdk"}}, NICModel: guest.ModelE1000,
		NICs: nics("ma1", "et1", "et2", "et3", "et4", "et5", "et6", "et7", "et8")}
	sata, scsi := veos, veos
	sata.Name, sata.Kind, sata.DiskBus = "sata", "own", guest.BusSATA
	scsi.Name, scsi.Kind, scsi.DiskBus = "scsi", "own", guest.BusSCSI
	return map[string]guest.Machine{"vm-kernel": kernel, "vm-disks": disks, "veos": veos, "own-sata": sata, "own-scsi": scsi}
}

// golden compares with a file, which UPDATE=1 writes.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got; UPDATE=1 writes it)\n%s", path, d)
	}
}

func TestDomainXML(t *testing.T) {
	for name, m := range machines() {
		accel := guest.AccelKVM
		if name == "own-scsi" {
			accel = guest.AccelTCG
		}
		text, err := guest.DomainXML(m, guest.Libvirt{Accel: accel, Network: "ofctl-lab"})
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".xml", text)
		if bytes.Contains(bytes.ToLower(text), []byte("vlan")) {
			t.Errorf("%s: there is a VLAN in\n%s", name, text)
		}
	}
	text, err := guest.NetworkXML(guest.Network{Name: "ofctl-lab", UUID: id(9), Bridge: "br-int"})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "network.xml", text)
}

// What libvirt's own schema says of the XML. That it can say no is seen on a
// domain with a word that it does not have.
func TestSchema(t *testing.T) {
	need.Have(t, need.Programs("libvirt-deps", "virt-xml-validate", "xmllint"))
	validate := func(path, schema string) error {
		out, err := exec.Command("virt-xml-validate", path, schema).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	}
	paths, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(paths) != len(machines())+1 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for _, path := range paths {
		schema := "domain"
		if path == filepath.Join("testdata", "network.xml") {
			schema = "network"
		}
		if err := validate(path, schema); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	text, err := os.ReadFile(filepath.Join("testdata", "veos.xml"))
	if err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(t.TempDir(), "wrong.xml")
	if err := os.WriteFile(wrong, bytes.Replace(text, []byte("interfaceid"), []byte("iface-id"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if validate(wrong, "domain") == nil {
		t.Error("the schema has taken an attribute that it does not have")
	}
}

// The order of the cards is that of their slots, and nothing has the slot of another.
func TestSlots(t *testing.T) {
	for name, m := range machines() {
		text, err := guest.DomainXML(m, guest.Libvirt{Accel: guest.AccelTCG, Network: "n"})
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			NICs []struct {
				MAC struct {
					Address string `xml:"address,attr"`
				} `xml:"mac"`
				Address struct {
					Slot string `xml:"slot,attr"`
				} `xml:"address"`
			} `xml:"devices>interface"`
		}
		if err := xml.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		last := ""
		for i, n := range d.NICs {
			if n.MAC.Address != m.NICs[i].MAC.String() || n.Address.Slot <= last {
				t.Errorf("%s: NIC %d is %s in slot %s", name, i, n.MAC.Address, n.Address.Slot)
			}
			last = n.Address.Slot
		}
		for _, part := range strings.Split(string(text), `slot="`)[1:] {
			at, _, _ := strings.Cut(part, "/>")
			if strings.Count(string(text), `slot="`+at) != 1 {
				t.Errorf("%s: %s is taken twice", name, at)
			}
			if at[:4] > "0x1f" {
				t.Errorf("%s: %s does not exist", name, at)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	for want, wrong := range map[string]func(*guest.Machine){
		"the name has 0 bytes":       func(m *guest.Machine) { m.Name = "" },
		"what no name may have":      func(m *guest.Machine) { m.Name = "a\x00b" },
		"there is no UUID":           func(m *guest.Machine) { m.UUID = uuid.Nil },
		"0 MiB of memory":            func(m *guest.Machine) { m.Memory = 0 },
		"disk bus \"floppy\"":        func(m *guest.Machine) { m.DiskBus = "floppy" },
		"4 disks":                    func(m *guest.Machine) { m.Disks = append(m.Disks, m.Disks[0], m.Disks[0], m.Disks[0]) },
		"of format \"vdi\"":          func(m *guest.Machine) { m.Disks = []guest.Disk{{Path: "/a", Format: "vdi"}} },
		"give an absolute one":       func(m *guest.Machine) { m.CDROM = "a.iso" },
		"kernel command line":        func(m *guest.Machine) { m.Kernel, m.Cmdline = "/k", "a\x01" },
		"without a kernel":           func(m *guest.Machine) { m.Initrd = "/i" },
		"boot device \"net\"":        func(m *guest.Machine) { m.Boot = []string{"net"} },
		"NIC model \"rtl8139\"":      func(m *guest.Machine) { m.NICModel = "rtl8139" },
		"25 NICs":                    func(m *guest.Machine) { m.NICs = nics(strings.Fields(strings.Repeat("x ", 25))...) },
		"no Ethernet address":        func(m *guest.Machine) { m.NICs[0].MAC = net.HardwareAddr{1, 0, 0, 0, 0, 0} },
		"has no UUID":                func(m *guest.Machine) { m.NICs[0].PortUUID = uuid.Nil },
		"tap: interface name":        func(m *guest.Machine) { m.NICs[0].Tap = "a/b" },
		"tap t-g-ma1 is another NIC": func(m *guest.Machine) { m.NICs[1].Tap = m.NICs[0].Tap },
		"address 02:00:00:00:00:00":  func(m *guest.Machine) { m.NICs[1].MAC = m.NICs[0].MAC },
	} {
		m := machines()["veos"]
		m.NICs = nics("ma1", "et1")
		wrong(&m)
		if _, err := guest.DomainXML(m, guest.Libvirt{Accel: guest.AccelKVM, Network: "n"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	m := machines()["veos"]
	for want, l := range map[string]guest.Libvirt{"accelerator \"\"": {Network: "n"}, "libvirt network \"\"": {Accel: guest.AccelKVM}} {
		if _, err := guest.DomainXML(m, l); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if _, err := guest.NetworkXML(guest.Network{Name: "n", UUID: id(1)}); err == nil {
		t.Error("a network without a bridge was written")
	}
}
