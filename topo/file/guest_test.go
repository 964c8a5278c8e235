package file_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/file"
)

const guests = `
name: guests
hosts: [{name: host1, tep: 192.0.2.1}]
tenants:
  - name: red
    networks:
      - {name: web, encap: gre, subnets: [10.1.1.0/24]}
      - {name: mgmt, encap: vxlan, subnets: [10.9.0.0/24]}
ports:
  - {name: red-a, network: red/web, host: host1}
kinds:
  - {name: csr, nic_model: e1000, disk_bus: sata, memory: 4096, cpus: 2, max_nics: 8, ready: frame, nics: [mgmt, gi1], trunk_profile: switch}
guests:
  - name: vm1
    host: host1
    kernel: ../vmlinuz
    initrd: /boot/initrd
    cmdline: quiet
    nics:
      - {network: red/web, addresses: [10.1.1.11]}
      - {network: red/mgmt}
  - name: veos1
    kind: veos
    cdrom: Aboot.iso
    disks: [vEOS.vmdk, {path: data, format: qcow2}]
    nics:
      - {network: red/mgmt, addresses: [10.9.0.21]}
      - {trunk: {native: red/mgmt, vlans: {10: red/web}}}
      - {port: uplink, profile: host, trunk: {vlans: {10: red/web}}}
  - name: csr1
    kind: csr
    memory: 8192
    disks: [csr.qcow2]
    boot: [disk]
    nics: [{network: red/mgmt}, {trunk: {native: red/web}}, {name: lan, mac: "02:00:00:00:00:07", network: red/web}, {network: red/web}]
`

func TestGuests(t *testing.T) {
	f, err := file.Parse("dir/guests.yaml", []byte(guests))
	if err != nil {
		t.Fatal(err)
	}
	var ports []string
	for _, p := range f.Topology.Ports {
		ports = append(ports, fmt.Sprint(p.Name, " ", p.Guest, " ", p.Host, " ", p.Interface, " ", p.Profile))
	}
	if d := cmp.Diff([]string{
		"red-a  host1  host",
		"vm1-eth0 vm1 host1 eth0 host", "vm1-eth1 vm1 host1 eth1 host",
		"veos1-ma1 veos1  ma1 host", "veos1-et1 veos1  et1 switch", "uplink veos1  et2 host",
		"csr1-mgmt csr1  mgmt host", "csr1-gi1 csr1  gi1 switch", "csr1-lan csr1  lan host", "csr1-gi3 csr1  gi3 host",
	}, ports); d != "" {
		t.Errorf("ports (-want +got):\n%s", d)
	}
	want := []file.Guest{
		{Name: "vm1", UUID: topo.DeriveUUID("guest", "vm1"), Host: "host1", Kind: "vm", Memory: 512, CPUs: 1,
			Kernel: "../vmlinuz", Initrd: "/boot/initrd", Cmdline: "quiet", DiskBus: "virtio", NICModel: "virtio", Ready: "address"},
		{Name: "veos1", UUID: topo.DeriveUUID("guest", "veos1"), Kind: "veos", Memory: 2048, CPUs: 1, CDROM: "Aboot.iso",
			Disks: []file.Disk{{Path: "vEOS.vmdk", Format: "vmdk"}, {Path: "data", Format: "qcow2"}}, DiskBus: "ide",
			Boot: []string{"cdrom", "disk"}, NICModel: "e1000", Ready: "lldp"},
		{Name: "csr1", UUID: topo.DeriveUUID("guest", "csr1"), Kind: "csr", Memory: 8192, CPUs: 2,
			Disks: []file.Disk{{Path: "csr.qcow2", Format: "qcow2"}}, DiskBus: "sata", Boot: []string{"disk"}, NICModel: "e1000", Ready: "frame"},
	}
	for i := range want {
		got := f.Resolve(f.Guests[i])
		want[i].NICs = got.NICs
		if d := cmp.Diff(want[i], got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	if p := f.Path("../vmlinuz"); p != "vmlinuz" || f.Path("/boot/x") != "/boot/x" || f.Path("") != "" {
		t.Error("a path relative to the file is", p)
	}
	// What is written is what was read, with no NIC among the ports.
	text := string(file.Format(*f))
	if _, rest, _ := strings.Cut(guests, "kinds:"); !strings.Contains(strings.ReplaceAll(text, `"`, ""), strings.ReplaceAll(rest[:strings.Index(rest, "    initrd")], `"`, "")) {
		t.Errorf("written as\n%s", text)
	}
	if n := strings.Count(text, "vm1-eth0"); n != 0 {
		t.Errorf("a NIC is among the ports:\n%s", text)
	}
}

// A guest that is to be ready by an address and has none, except on a VLAN that
// nobody can ask on, is ready by a frame.
func TestReadyWithoutAddress(t *testing.T) {
	for nics, want := range map[string]string{
		"[{network: red/web}]": "frame",
		"[{trunk: {vlans: {10: {network: red/web, addresses: [10.1.1.1]}}}}]":                    "frame",
		"[{trunk: {native: {network: red/web, addresses: [10.1.1.1]}}}]":                         "address",
		"[{network: red/mgmt}, {network: red/web, addresses: [10.1.1.1]}]":                       "address",
		"[{trunk: {native: red/mgmt, vlans: {10: red/web}}}, {network: red/web}]":                "frame",
		"[{network: red/web, addresses: [10.1.1.1]}, {network: red/web, addresses: [10.1.1.2]}]": "address",
	} {
		f, err := file.Parse("x", []byte(guests[:strings.Index(guests, "guests:\n")]+"guests: [{name: g, kernel: k, nics: "+nics+"}]\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Resolve(f.Guests[0]).Ready; got != want {
			t.Errorf("%s: ready by %s, want %s", nics, got, want)
		}
	}
}

// The reference has every key of each section and no other, and the example there is valid.
func TestGuestReference(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/guests.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, wrong := range map[string]string{
		"## A guest": "guests: [{name: g, kernel: k, unknown-key: 1}]",
		"## A NIC":   "guests: [{name: g, kernel: k, nics: [{network: red/web, unknown-key: 1}]}]",
		"## A kind":  "kinds: [{name: k, unknown-key: 1}]",
	} {
		_, err := file.Parse("x", []byte(guests[:strings.Index(guests, "kinds:")]+wrong))
		if err == nil {
			t.Fatalf("%s was accepted", wrong)
		}
		_, list, _ := strings.Cut(err.Error(), "; use ")
		_, section, found := strings.Cut(string(text), heading+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		var documented []string
		for _, key := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(section, -1) {
			documented = append(documented, key[1])
		}
		if d := cmp.Diff(strings.Split(list, ", "), documented, cmpopts.SortSlices(strings.Compare)); d != "" || !found {
			t.Errorf("%s (-format +reference):\n%s", heading, d)
		}
	}
	_, example, _ := strings.Cut(string(text), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	f, err := file.Parse("x", []byte(guests[:strings.Index(guests, "kinds:")]+example))
	if err != nil || f.Guests[0].NICs[1].Name != "gi2" {
		t.Errorf("the example: %v", err)
	}
}

// randomGuests adds kinds and guests to a random file.
func randomGuests(t *rapid.T, f *file.File, networks []string) {
	if rapid.Bool().Draw(t, "kind") {
		f.Kinds = []file.Kind{{Name: "own", NICModel: rapid.SampledFrom([]string{"e1000", "virtio"}).Draw(t, "model"), DiskBus: "scsi",
			Boot: []string{"disk", "cdrom"}, Memory: rapid.IntRange(512, 600).Draw(t, "memory"), CPUs: 2, MaxNICs: 4, Ready: "frame",
			NICs: []string{"a", "b9"}, TrunkProfile: topo.Profile(rapid.IntRange(0, 1).Draw(t, "trunk profile"))}}
	}
	kinds := []string{"", "vm", "veos"}
	if len(f.Kinds) > 0 {
		kinds = append(kinds, "own")
	}
	words := []string{"k", "../x y", "no", "a: b", `"q" \ #`, "é.img", "{x}", "/1.qcow2"}
	word := rapid.SampledFrom(words)
	images := rapid.Permutation(words).Draw(t, "images") // no two drives have the same
	for i := range rapid.IntRange(0, 3).Draw(t, "guests") {
		g := file.Guest{Name: fmt.Sprintf("Guest%d", i), Kind: rapid.SampledFrom(kinds).Draw(t, "kind of guest"),
			Memory: rapid.SampledFrom([]int{0, 512, 2048}).Draw(t, "guest's memory"), Ready: rapid.SampledFrom([]string{"", "lldp"}).Draw(t, "ready")}
		if rapid.Bool().Draw(t, "uuid of guest") {
			g.UUID = uuid.NewSHA1(uuid.NameSpaceURL, []byte(g.Name))
		}
		if len(f.Topology.Hosts) > 0 && rapid.Bool().Draw(t, "host of guest") {
			g.Host = f.Topology.Hosts[0].Name
		}
		switch {
		case g.Kind != "veos" && rapid.Bool().Draw(t, "kernel"):
			g.Kernel, g.Cmdline = word.Draw(t, "path"), rapid.StringMatching(`[ -~]{0,12}`).Draw(t, "cmdline")
		default:
			g.CDROM, g.Disks = images[2*i], []file.Disk{{Path: images[2*i+1], Format: "qcow2"}}
			g.Boot = rapid.SampledFrom([][]string{nil, {"cdrom"}, {"disk", "cdrom"}}).Draw(t, "boot")
		}
		k, _ := f.Kind(g.Kind)
		for j := range rapid.IntRange(0, 4).Draw(t, "nics") {
			n := file.NIC{Name: fmt.Sprintf("nic%d", j)}
			n.Port = rapid.SampledFrom([]string{g.Name + "-" + n.Name, fmt.Sprintf("p%d.%d", i, j)}).Draw(t, "port of NIC")
			p := topo.Port{Name: n.Port, Guest: g.Name, Host: g.Host, Interface: n.Name, Network: networks[0],
				MigrateTo: rapid.SampledFrom([]string{"", topo.AnyHost}).Draw(t, "migrate_to")}
			if rapid.Bool().Draw(t, "NIC is a trunk") {
				p.Network, p.Trunk, p.Profile = "", &topo.Trunk{Native: &topo.SubPort{Network: networks[0]}}, k.TrunkProfile
			}
			if rapid.Bool().Draw(t, "profile of NIC") {
				p.Profile, p.MACs = topo.ProfileSwitch, rapid.IntRange(0, topo.MaxMACs).Draw(t, "macs")
			}
			if rapid.Bool().Draw(t, "identity of NIC") {
				p.MAC, p.UUID = topo.MAC{2, 0, 0, 1, byte(i), byte(j)}, uuid.NewSHA1(uuid.NameSpaceURL, []byte(p.Name))
			}
			g.NICs, f.Topology.Ports = append(g.NICs, n), append(f.Topology.Ports, p)
		}
		f.Guests = append(f.Guests, g)
	}
}
