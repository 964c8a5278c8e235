package guest_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt"
	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt/libvirttest"
)

// libvirt takes every sort of machine as it is: it leaves each device where it was
// put, also when the domain is defined again, and adds none that a guest would number.
func TestLibvirtKeepsPlaces(t *testing.T) {
	conn := libvirttest.Start(t, libvirttest.Options{}).Connect(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	network, err := guest.NetworkXML(guest.Network{Name: "ofctl-lab", UUID: id(9), Bridge: "br-int"})
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n := 20
	for name, m := range machines() {
		n++
		m.Name, m.UUID = name, id(n)
		for _, path := range []*string{&m.Kernel, &m.Initrd, &m.CDROM} {
			if *path != "" {
				*path = image
			}
		}
		for i := range m.Disks {
			m.Disks[i].Path = image
		}
		text, err := guest.DomainXML(m, guest.Libvirt{Accel: guest.AccelTCG, Network: "ofctl-lab"})
		if err != nil {
			t.Fatal(err)
		}
		var before string
		for range 2 {
			if _, err := conn.Define(ctx, libvirt.Definition{Domain: string(text), Networks: []string{string(network)}}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			after, err := conn.DomainXML(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(places(string(text)), places(after)); diff != "" {
				t.Errorf("%s: libvirt has moved devices (-given +libvirt's):\n%s", name, diff)
			}
			if before != "" && before != after {
				t.Errorf("%s: defined again, it differs:\n%s", name, cmp.Diff(before, after))
			}
			before = after
		}
	}
}

var (
	device  = regexp.MustCompile(`(?s)<(disk|controller|interface|video|sound|rng|memballoon)\b.*?</(?:disk|controller|interface|video|sound|rng|memballoon)>`)
	pciSlot = regexp.MustCompile(`<address type=['"]pci['"].* slot=['"](0x..)['"] function=['"](0x.)['"]`)
)

// places are the PCI addresses of a domain, each with the sort of device that is
// there. The chipset's own slot, 1, is left out.
func places(domain string) map[string]string {
	out := map[string]string{}
	for _, d := range device.FindAllStringSubmatch(domain, -1) {
		at := pciSlot.FindStringSubmatch(d[0])
		if at != nil && at[1] != "0x01" {
			out[strings.Join(at[1:], ".")] = d[1]
		}
	}
	return out
}
