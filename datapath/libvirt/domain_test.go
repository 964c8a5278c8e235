package libvirt_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt"
	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt/libvirttest"
)

// domain is a virtual machine without disks or network: its BIOS waits on the
// serial console for somebody who wants its menu. extra is put among the devices.
func domain(name string, id uuid.UUID, extra string) string {
	return fmt.Sprintf(`<domain type='qemu'>
  <name>%s</name><uuid>%s</uuid><memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type><bootmenu enable='yes' timeout='60000'/><bios useserial='yes' rebootTimeout='500'/></os>
  <devices><serial type='pty'/><console type='pty'/>%s</devices>
</domain>`, name, id, extra)
}

// network is one on a bridge of Open vSwitch, which need not be there.
func network(name, bridge string) string {
	return fmt.Sprintf(`<network><name>%s</name><forward mode='bridge'/><bridge name='%s'/><virtualport type='openvswitch'/></network>`, name, bridge)
}

func TestDomain(t *testing.T) {
	d := libvirttest.Start(t, libvirttest.Options{})
	t.Run("life", func(t *testing.T) { testLife(t, d.Connect(t)) })
	t.Run("define", func(t *testing.T) { testDefine(t, d.Connect(t)) })
	t.Run("half-way", func(t *testing.T) { testHalfWay(t, d.Connect(t)) })
	t.Run("console", func(t *testing.T) { testConsole(t, d) })
	t.Run("restart", func(t *testing.T) {
		c := d.Connect(t)
		d.Kill(t)
		if _, err := c.Domains(t.Context()); !errors.Is(err, libvirt.ErrClosed) {
			t.Errorf("the daemon has gone: %v", err)
		}
		d.Start(t)
		if _, err := d.Connect(t).Domains(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func testLife(t *testing.T, c *libvirt.Conn) {
	ctx, id := t.Context(), uuid.New()
	if _, err := c.Domain(ctx, "life"); !errors.Is(err, libvirt.ErrNoDomain) {
		t.Errorf("a domain that is not there: %v", err)
	}
	if out, err := c.Define(ctx, libvirt.Definition{Domain: domain("life", id, "")}); err != nil || out != libvirt.Defined {
		t.Fatalf("define: %q, %v", out, err)
	}
	is := func(want libvirt.State) {
		t.Helper()
		got, err := c.Domain(ctx, "life")
		if err != nil || got.State != want || got.UUID != id || got.Virt != "qemu" {
			t.Errorf("%+v, %v; want it %s", got, err, want)
		}
	}
	is(libvirt.ShutOff)
	for range 2 { // the second finds it running
		if err := c.Start(ctx, "life"); err != nil {
			t.Fatal(err)
		}
		is(libvirt.Running)
	}
	if err := c.Undefine(ctx, "life", libvirt.DefinitionOnly); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("undefine one that runs: %v", err)
	}
	// A BIOS without an operating system does not listen to the power button.
	if err := c.Stop(ctx, "life", time.Millisecond, libvirt.AskOnly); !errors.Is(err, libvirt.ErrStillRuns) {
		t.Errorf("stop: %v", err)
	}
	is(libvirt.Running)
	for range 2 {
		if err := c.Stop(ctx, "life", time.Millisecond, libvirt.AskThenDestroy); err != nil {
			t.Fatal(err)
		}
		is(libvirt.ShutOff)
	}
	if err := c.Undefine(ctx, "life", libvirt.DefinitionOnly); err != nil {
		t.Fatal(err)
	}
	if all, err := c.Domains(ctx); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

func testDefine(t *testing.T, c *libvirt.Conn) {
	ctx, id := t.Context(), uuid.New()
	nic := `<interface type='network'><source network='overlay'/><mac address='02:00:00:00:00:01'/><target dev='tap-x'/><model type='e1000'/>
<virtualport type='openvswitch'><parameters interfaceid='5f0b2c2e-29e4-4a7c-8a5b-000000000001'/></virtualport></interface>`
	def := libvirt.Definition{Domain: domain("def", id, nic), Networks: []string{network("overlay", "br-int")}}
	for _, want := range []libvirt.Outcome{libvirt.Defined, libvirt.Unchanged} {
		if out, err := c.Define(ctx, def); err != nil || out != want {
			t.Fatalf("define: %q, %v; want %q", out, err, want)
		}
	}
	got, err := c.Domain(ctx, "def")
	want := libvirt.Interface{MAC: "02:00:00:00:00:01", Model: "e1000", Source: "overlay", IfaceID: "5f0b2c2e-29e4-4a7c-8a5b-000000000001"}
	if err != nil || len(got.Interfaces) != 1 || got.Interfaces[0] != want {
		t.Errorf("%+v, %v", got, err)
	}
	changed := def
	changed.Domain = strings.Replace(def.Domain, ">32<", ">48<", 1)
	if out, err := c.Define(ctx, changed); err != nil || out != libvirt.Changed {
		t.Errorf("define with more memory: %q, %v", out, err)
	}
	for what, bad := range map[string]libvirt.Definition{
		"another UUID":          {Domain: domain("def", uuid.New(), "")},
		"another name":          {Domain: domain("renamed", id, "")},
		"another network there": {Domain: def.Domain, Networks: []string{network("overlay", "br-ex")}},
	} {
		_, err := c.Define(ctx, bad)
		if !errors.Is(err, libvirt.ErrExists) || !strings.Contains(err.Error(), "virsh") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if nets, err := c.NetworkXMLs(ctx); err != nil || len(nets) != 1 || !strings.Contains(nets[0], "br-int") {
		t.Errorf("%q, %v", nets, err)
	}
	if x, err := c.DomainXML(ctx, "def"); err != nil || !strings.Contains(x, "tap-x") {
		t.Errorf("%s, %v", x, err)
	}
	if err := c.Undefine(ctx, "def", libvirt.DefinitionOnly); err != nil {
		t.Error(err)
	}
}

// testHalfWay: whatever the step at which Define fails, nothing of it is left.
func testHalfWay(t *testing.T, c *libvirt.Conn) {
	ctx, id := t.Context(), uuid.New()
	absent := filepath.Join(t.TempDir(), "no.qcow2")
	disk := "<disk type='file'><source file='" + absent + "'/><target dev='hda' bus='ide'/></disk>"
	for _, bad := range []struct {
		what, says string
		d          libvirt.Definition
	}{
		{"image missing", absent, libvirt.Definition{Domain: domain("half", id, disk), Networks: []string{network("half", "b")}}},
		{"domain refused", "half", libvirt.Definition{Domain: domain("half", id, "<disk type='nonsense'/>"), Networks: []string{network("half", "b")}}},
		{"second network refused", "half", libvirt.Definition{Domain: domain("half", id, ""), Networks: []string{network("half", "b"), "<network><name>half2</name><forward mode='nonsense'/></network>"}}},
		{"network cannot start", "half", libvirt.Definition{Domain: domain("half", id, ""), Networks: []string{"<network><name>half</name><bridge name='lo'/><ip address='10.0.0.1' prefix='24'/></network>"}}},
		{"no XML", "cannot be read", libvirt.Definition{Domain: "<domain"}},
		{"no UUID", "UUID", libvirt.Definition{Domain: "<domain><name>half</name></domain>"}},
	} {
		_, err := c.Define(ctx, bad.d)
		if err == nil || !strings.Contains(err.Error(), bad.says) || strings.Contains(err.Error(), "taken back") {
			t.Errorf("%s: %v", bad.what, err)
		}
		t.Logf("%s: %v", bad.what, err)
		if _, err := c.Domain(ctx, "half"); !errors.Is(err, libvirt.ErrNoDomain) {
			t.Errorf("%s: domain half is left: %v", bad.what, err)
		}
		nets, err := c.NetworkXMLs(ctx)
		if err != nil || strings.Contains(strings.Join(nets, ""), "half") {
			t.Errorf("%s: a network is left: %q, %v", bad.what, nets, err)
		}
	}
	// One whose image goes away after it was defined.
	if err := os.WriteFile(absent, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Define(ctx, libvirt.Definition{Domain: domain("half", id, disk)}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(absent); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(ctx, "half"); err == nil || !strings.Contains(err.Error(), absent) {
		t.Errorf("start without its image: %v", err)
	}
	if err := c.Undefine(ctx, "half", libvirt.DefinitionOnly); err != nil {
		t.Error(err)
	}
}
