package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt/libvirttest"
)

// TestImportReadsItsNetworksOnly: a libvirt network that no topology can have stops the
// import of guests that are on it, which names it, and of no others.
func TestImportReadsItsNetworksOnly(t *testing.T) {
	daemon := libvirttest.Start(t, libvirttest.Options{})
	c := daemon.Connect(t)
	for name, vlan := range map[string]string{"odd": "4095", "good": "7"} {
		path := filepath.Join(t.TempDir(), name+".xml")
		text := "<network><name>" + name + "</name><forward mode='bridge'/><bridge name='b'/><virtualport type='openvswitch'/><vlan><tag id='" + vlan + "'/></vlan></network>"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "virsh", "-c", "qemu+unix:///system?socket="+daemon.Socket(), "net-define", path).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	im, err := newImporter(importOptions{name: "n", tenant: "t", encap: "gre"})
	if err != nil {
		t.Fatal(err)
	}
	on := func(network string) error {
		return im.networksOf(t.Context(), c, &guest.Domain{Interfaces: []guest.Interface{{Network: network}}})
	}
	if err := on("good"); err != nil || len(im.defs) != 1 || im.defs["good"] == nil {
		t.Errorf("%v, %v", im.defs, err)
	}
	if err := on("odd"); err == nil || !strings.HasPrefix(err.Error(), "network odd:") {
		t.Errorf("a network with VLAN 4095: %v", err)
	}
}
