package guest_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
)

// found are the domain and the network of the environment that guests are
// imported from.
func found(tb testing.TB) (domain, network []byte) {
	tb.Helper()
	domain, err := os.ReadFile("../../configs/libvirt/veos1.xml")
	if err != nil {
		tb.Fatal(err)
	}
	if network, err = os.ReadFile("../../configs/libvirt/ovs-net.xml"); err != nil {
		tb.Fatal(err)
	}
	return domain, network
}

func TestImport(t *testing.T) {
	domain, network := found(t)
	d, err := guest.ParseDomain("d.xml", domain)
	if err != nil {
		t.Fatal(err)
	}
	d.Lost = nil // the commands' tests have these
	nic := func(line int, last byte) guest.Interface {
		return guest.Interface{File: "d.xml", Line: line, MAC: net.HardwareAddr{0x52, 0x54, 0, 0x11, 0, last},
			InterfaceID: uuid.MustParse(fmt.Sprintf("5c1f1c8e-3e0d-4f1b-8f0b-1f0a3f6c%04d", last))}
	}
	access, trunk, own := nic(40, 1), nic(49, 2), nic(58, 3)
	for _, i := range []*guest.Interface{&access, &trunk, &own} {
		i.VirtualPort = "openvswitch"
	}
	access.Network = "ovs-net"
	trunk.Network, trunk.PortGroup = "ovs-net", "vlan-all"
	own.Bridge, own.VLAN = "br-int", &guest.VLAN{Tags: []uint16{30}}
	want := &guest.Domain{Name: "veos1", UUID: uuid.MustParse("4dea22b3-1d52-d8f3-2516-782e98ab3fa0"), Memory: 4096, CPUs: 1,
		Boot: []string{guest.BootCDROM, guest.BootDisk}, CDROM: "/var/lib/libvirt/images/Aboot-veos.iso",
		Disks: []guest.Disk{{Path: "/var/lib/libvirt/images/vEOS.vmdk", Format: "vmdk"}}, DiskBus: guest.BusIDE,
		NICModel: guest.ModelE1000, Interfaces: []guest.Interface{access, trunk, own}}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("domain (-want +got):\n%s", diff)
	}
	n, err := guest.ParseNetwork("n.xml", network)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&guest.NetworkDef{File: "n.xml", Name: "ovs-net", Bridge: "br-int", Forward: "bridge", PortGroups: []guest.PortGroup{
		{Name: "mgmt", Default: true, VLAN: &guest.VLAN{Tags: []uint16{99}}},
		{Name: "vlan-10", VLAN: &guest.VLAN{Tags: []uint16{10}}},
		{Name: "vlan-all", VLAN: &guest.VLAN{Trunk: true, Tags: []uint16{10, 20, 99}, Native: 99}},
	}}, n); diff != "" {
		t.Errorf("network (-want +got):\n%s", diff)
	}
}

// What DomainXML writes comes back, and all that is said to be lost is what
// follows from the topology.
func TestImportOfOwn(t *testing.T) {
	for name, m := range machines() {
		text, err := guest.DomainXML(m, guest.Libvirt{Accel: guest.AccelKVM, Network: "n"})
		if err != nil {
			t.Fatal(err)
		}
		d, err := guest.ParseDomain(name, text)
		if err != nil {
			t.Fatal(err)
		}
		got := guest.Machine{Name: d.Name, UUID: d.UUID, Kind: m.Kind, Memory: d.Memory, CPUs: d.CPUs, Kernel: d.Kernel, Initrd: d.Initrd, Cmdline: d.Cmdline,
			Boot: d.Boot, CDROM: d.CDROM, Disks: d.Disks, DiskBus: d.DiskBus, NICModel: d.NICModel, NICs: m.NICs}
		want := m
		if len(m.Disks) == 0 {
			want.DiskBus = ""
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for i, n := range d.Interfaces {
			if n.MAC.String() != m.NICs[i].MAC.String() || n.InterfaceID != m.NICs[i].PortUUID || n.Network != "n" || n.VLAN != nil {
				t.Errorf("%s: NIC %d came back as %+v", name, i, n)
			}
		}
		for _, l := range d.Lost {
			if !strings.Contains(l.What, "the tap ") && !strings.Contains(l.What, "MTU ") && !strings.Contains(l.What, "<devices/interface/driver>") {
				t.Errorf("%s: lost: %s", name, l)
			}
		}
	}
}

func inDomain(devices string) string {
	return "<domain type='kvm'>\n<name>d</name>\n<devices>\n" + devices + "\n</devices></domain>"
}

func nicWith(inside string) string {
	return inDomain("<interface type='network'><source network='n'/>\n" + inside + "</interface>")
}

// Every mistake is at its line. The first ones are hostile.
func TestImportBad(t *testing.T) {
	laughs := "<!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol1 \"&lol;&lol;&lol;&lol;\">]><domain>&lol1;</domain>"
	for text, want := range map[string]string{
		laughs:                                           "d.xml:1: document types are not part of libvirt's XML; remove <!DOCTYPE lolz",
		"<domain>\n&lol;</domain>":                       "d.xml:2: the XML is malformed: invalid character entity &lol;",
		strings.Repeat("<a>", 100_000):                   "d.xml:1: elements are nested more than 32 deep",
		strings.Repeat(" ", guest.MaxXML+1):              "more than 1048576",
		"<domain>" + strings.Repeat("<a/>", 60_000):      "d.xml:1: there are more than 50000 elements",
		"<domain " + strings.Repeat("a='' ", 100) + "/>": "d.xml:1: <domain> has more than 64 attributes",
		"<domain type='kvm' type='qemu'/>":               "d.xml:1: <domain> has the attribute type twice",
		"":                                               "d.xml:1: there is no XML element; give the output of virsh dumpxml",
		"<?xml version='1.0' encoding='latin-1'?>\n<domain/>": "d.xml:1: the XML is malformed",
		"<domain>\n<name>x</domain>":                          "d.xml:2: the XML is malformed: element <name> closed by </domain>",
		"<domain/><domain/>":                                  "d.xml:1: there is a second element <domain>",
		"<network/>":                                          "d.xml:1: <network> is no domain",
		"<domain/>":                                           "d.xml:1: the domain has no name",
		"<domain type='xen'><name>d</name></domain>":          "d.xml:1: a domain of type \"xen\"",
		"<domain type='kvm'><name>d</name>\n<vcpu>x</vcpu></domain>":                           "d.xml:2: \"x\" is no number of CPUs",
		"<domain type='kvm'><name>d</name>\n<memory>1e9</memory></domain>":                     "d.xml:2: \"1e9\"  is no amount of memory",
		"<domain type='kvm'><name>d</name>\n<memory unit='GiB'>9999999</memory></domain>":      "d.xml:2: \"9999999\" GiB is no amount",
		"<domain type='kvm'><name>d</name>\n<uuid>1</uuid></domain>":                           "d.xml:2: \"1\" is no UUID",
		"<domain type='kvm'><name>d</name><os>\n<type arch='arm'>hvm</type></os></domain>":     "d.xml:2: architecture \"arm\"",
		inDomain("<interface type='network'/>"):                                                "d.xml:4: the interface says neither",
		nicWith("<mac address='01:00:00:00:00:01'/>"):                                          "d.xml:5: \"01:00:00:00:00:01\" is no Ethernet address",
		nicWith("<virtualport type='openvswitch'><parameters interfaceid='x'/></virtualport>"): "d.xml:5: interfaceid \"x\" is no UUID",
		nicWith("<vlan/>"):                                                                               "d.xml:5: there is a vlan without a tag",
		nicWith("<vlan>\n<tag id='4095'/></vlan>"):                                                       "d.xml:6: VLAN ID \"4095\" is outside 1 to 4094",
		nicWith("<vlan>\n<tag id='0'/></vlan>"):                                                          "d.xml:6: VLAN ID \"0\" is outside",
		nicWith("<vlan trunk='yes'>\n<tag id='0'/></vlan>"):                                              "d.xml:5: there is a vlan without a tag",
		"<?xml version='1.0' encoding='ISO-8859-1'?>\n<domain/>":                                         "\"ISO-8859-1\" is not UTF-8, which libvirt writes; convert the file",
		nicWith("<vlan><tag id='7'/>\n<tag id='7'/></vlan>"):                                             "d.xml:6: VLAN ID 7 is there twice",
		nicWith("<vlan><tag id='7' nativeMode='untagged'/>\n<tag id='8' nativeMode='untagged'/></vlan>"): "d.xml:6: VLAN 7 and VLAN 8 are both native",
		nicWith("<vlan><tag id='7' nativeMode='yes'/></vlan>"):                                           "nativeMode \"yes\"",
		inDomain("<disk type='file' device='disk'><source file='/a'/><target dev='vda' bus='virtio'/>\n<boot order='x'/></disk>"): "d.xml:5: \"x\" is no place in the boot order",
	} {
		if _, err := guest.ParseDomain("d.xml", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), "d.xml:") || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s\nwant %q\ngot  %v", text, want, err)
		}
	}
	for text, want := range map[string]string{
		"<domain/>":  "n.xml:1: <domain> is no network",
		"<network/>": "n.xml:1: the network has no name",
		"<network><name>n</name>\n<portgroup/></network>":                               "n.xml:2: the name of port group \"\"",
		"<network><name>n</name><portgroup name='a'/>\n<portgroup name='a'/></network>": "n.xml:2: the name of port group \"a\"",
		"<network><name>n</name><portgroup name='a'>\n<vlan/></portgroup></network>":    "n.xml:2: there is a vlan without a tag",
		"<network><name>n</name>\n<vlan><tag id='x'/></vlan></network>":                 "n.xml:2: VLAN ID \"x\"",
	} {
		if _, err := guest.ParseNetwork("n.xml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nwant %q\ngot  %v", text, want, err)
		}
	}
}

// What is not carried over is named, and what is written the same anyway is not.
func TestImportLoses(t *testing.T) {
	disk := func(n int) string {
		return fmt.Sprintf("<disk type='file' device='disk'><driver type='raw'/><source file='/%d'/><target dev='vd' bus='virtio'/></disk>\n", n)
	}
	for devices, want := range map[string]string{
		"<memballoon model='none'/><input type='mouse' bus='ps2'/><graphics type='vnc'/><emulator>/usr/bin/qemu-system-x86_64</emulator>": "",
		"<graphics type='vnc' listen='0.0.0.0'/>":                                            "d:4: <devices/graphics> (type vnc) is not carried over",
		"<hostdev mode='subsystem' type='pci'/>":                                             "d:4: <devices/hostdev> (type pci) is not carried over",
		"<channel type='spicevmc'><target name='spice'/></channel>":                          "d:4: <devices/channel> (type spicevmc) is not carried over",
		"<interface type='user'><mac address='52:54:00:00:00:01'/></interface>":              "d:4: a network card of type \"user\" is on no bridge; it is not carried over",
		"<disk type='network' device='disk'><source protocol='rbd'/></disk>":                 "d:4: disk without a file on bus of no name as raw cannot be carried over: a guest has up to 3 disks on ide, sata, scsi, virtio in a file of format raw, qcow2, vmdk, and one CD",
		"<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/></disk>":              "d:4: an empty CD drive is not carried over",
		disk(1) + disk(2) + disk(3) + disk(4):                                                "d:7: disk /4 on bus virtio as raw cannot be carried over: a guest has up to 3 disks on ide, sata, scsi, virtio in a file of format raw, qcow2, vmdk, and one CD",
		disk(1) + strings.Replace(disk(2), "virtio", "ide", 1):                               "d:5: disk /2 moves from bus ide to virtio, on which the first one is",
		strings.Replace(disk(1), "<target", "<encryption format='luks'/><target", 1):         "d:4: <devices/disk/encryption> is not carried over",
		"<interface type='network'><source network='n'/><model type='rtl8139'/></interface>": "d:4: NIC model rtl8139 becomes e1000",
		"<interface type='network'><source network='n'/><model type='e1000'/></interface><interface type='network'><source network='n'/><model type='virtio'/></interface>": "d:4: NIC model virtio becomes e1000, which the first card has",
		"<interface type='network'><source network='n'/><filterref filter='clean-traffic'/><link state='down'/><boot order='1'/></interface>":                               "d:4: <devices/interface/filterref> is not carried over\nd:4: <devices/interface/link> is not carried over\nd:4: <devices/interface/boot> is not carried over",
		"<interface type='network'><source network='n'/><vlan trunk='yes'><tag id='0'/><tag id='7'/></vlan></interface>":                                                    "d:4: <devices/interface/vlan/tag> is not carried over",
		"<interface type='network'><source network='n'/><vlan trunk='yes'><tag id='7' nativeMode='tagged'/></vlan></interface>":                                             "d:4: attribute nativeMode=\"tagged\" of <devices/interface/vlan/tag> is not carried over",
		"<interface type='bridge'><source bridge='b'/><virtualport type='802.1Qbh'><parameters profileid='x'/></virtualport></interface>":                                   "d:4: a virtual port of type 802.1Qbh becomes one of Open vSwitch\nd:4: attribute profileid=\"x\" of <devices/interface/virtualport/parameters> is not carried over",
	} {
		d, err := guest.ParseDomain("d", []byte(inDomain(devices)))
		if err != nil {
			t.Errorf("%s: %v", devices, err)
			continue
		}
		var got []string
		for _, l := range d.Lost {
			got = append(got, l.String())
		}
		if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", devices, diff)
		}
	}
	text := strings.Replace(inDomain(""), "<devices>", "<on_crash>restart</on_crash><cpu mode='host-passthrough'/><clock offset='localtime'/><os><type machine='pc-q35-7.2'>hvm</type><loader>x</loader><boot dev='network'/></os><currentMemory>1</currentMemory><memory>2</memory><devices>", 1)
	d, err := guest.ParseDomain("d", []byte(text))
	if err != nil || len(d.Lost) != 7 {
		t.Errorf("%v, %v", d, err)
	}
	many, err := guest.ParseDomain("d", []byte(inDomain(strings.Repeat("<x/>", 10_000))))
	if err != nil || len(many.Lost) != 201 {
		t.Errorf("%d lines of what is lost, %v", len(many.Lost), err)
	}
}

func FuzzImport(f *testing.F) {
	domain, network := found(f)
	f.Add(domain)
	f.Add(network)
	for name, m := range machines() {
		text, err := guest.DomainXML(m, guest.Libvirt{Accel: guest.AccelTCG, Network: name})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := 1 + strings.Count(string(data), "\n")
		check := func(lost []guest.Lost) {
			for _, l := range lost {
				if l.Line < 1 || l.Line > lines {
					t.Fatalf("%s, of %d lines", l, lines)
				}
			}
		}
		if d, err := guest.ParseDomain("x", data); err == nil {
			check(d.Lost)
			if d.Name == "" || len(d.Disks) > guest.MaxDisks {
				t.Fatalf("%+v", d)
			}
		} else if !strings.HasPrefix(err.Error(), "x:") {
			t.Fatal(err)
		}
		if n, err := guest.ParseNetwork("x", data); err == nil {
			check(n.Lost)
		} else if !strings.HasPrefix(err.Error(), "x:") {
			t.Fatal(err)
		}
	})
}
