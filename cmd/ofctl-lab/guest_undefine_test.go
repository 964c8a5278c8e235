package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt"
	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt/libvirttest"
	"github.com/ofctl-lab/ofctl-lab/topo/file"
)

// TestGuestUndefine: only a guest of ours is undefined, only by force with what it has saved,
// and only the last one on the network of guests takes that along.
func TestGuestUndefine(t *testing.T) {
	daemon := libvirttest.Start(t, libvirttest.Options{})
	c, ctx := daemon.Connect(t), t.Context()
	define := func(name string, id uuid.UUID, devices string) {
		t.Helper()
		text := fmt.Sprintf(`<domain type='qemu'><name>%s</name><uuid>%s</uuid><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>%s</devices></domain>`, name, id, devices)
		if _, err := c.Define(ctx, libvirt.Definition{Domain: text}); err != nil {
			t.Fatal(err)
		}
	}
	there := func(domains, networks int) {
		t.Helper()
		ds, err := c.Domains(ctx)
		ns, nerr := c.NetworkXMLs(ctx)
		if err := errors.Join(err, nerr); err != nil || len(ds) != domains || len(ns) != networks {
			t.Fatalf("%d domains and %d networks, %v; want %d and %d", len(ds), len(ns), err, domains, networks)
		}
	}
	network, err := guest.NetworkXML(libvirtNetwork("br-int"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.DefineNetwork(ctx, string(network)); err != nil {
		t.Fatal(err)
	}
	derived := func(name string) uuid.UUID { return (&file.File{}).Resolve(file.Guest{Name: name}).UUID }
	nic := "<interface type='network'><source network='" + guestNetwork + "'/></interface>"

	// Somebody else's, be it on a network of its own.
	define("webserver", uuid.New(), "<interface type='network'><source network='default'/></interface>")
	for _, what := range []libvirt.Forgetting{libvirt.DefinitionOnly, libvirt.WithState} {
		if _, err := undefineGuest(ctx, c, "webserver", what); err == nil || !strings.Contains(err.Error(), "virsh undefine webserver") {
			t.Errorf("somebody else's domain: %v", err)
		}
	}
	there(1, 1)

	// A guest without a NIC is known by its UUID; the network is no matter of its.
	define("lonely", derived("lonely"), "")
	if removed, err := undefineGuest(ctx, c, "lonely", libvirt.DefinitionOnly); err != nil || removed {
		t.Errorf("a guest on no network: removed %v, %v", removed, err)
	}
	there(1, 1)

	// What a guest has saved is not lost by the way.
	define("saved", derived("saved"), "")
	if err := c.Start(ctx, "saved"); err != nil {
		t.Fatal(err)
	}
	uri := "qemu+unix:///system?socket=" + daemon.Socket()
	if out, err := exec.CommandContext(ctx, "virsh", "-c", uri, "managedsave", "saved").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := undefineGuest(ctx, c, "saved", libvirt.DefinitionOnly); !errors.Is(err, libvirt.ErrHasState) || !strings.Contains(err.Error(), "managed save") {
		t.Errorf("a guest with saved memory: %v", err)
	}
	there(2, 1)
	if _, err := undefineGuest(ctx, c, "saved", libvirt.WithState); err != nil {
		t.Error(err)
	}
	there(1, 1)

	// One with a UUID of its file's is known by its network, which goes with the last.
	define("vm1", derived("vm1"), nic)
	define("vm2", uuid.New(), nic)
	if removed, err := undefineGuest(ctx, c, "vm1", libvirt.DefinitionOnly); err != nil || removed {
		t.Errorf("not the last one: removed %v, %v", removed, err)
	}
	there(2, 1)
	if removed, err := undefineGuest(ctx, c, "vm2", libvirt.DefinitionOnly); err != nil || !removed {
		t.Errorf("the last one: removed %v, %v", removed, err)
	}
	there(1, 0)
}
