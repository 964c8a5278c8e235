package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt"
)

// TestLibvirtRefuses: what cannot work is refused in words that help, and leaves
// nothing behind.
func TestLibvirtRefuses(t *testing.T) {
	image := guestImage(t)
	l := up(t, "w", fmt.Sprintf(libvirtTopology, image))
	h := l.hypervisor(t, "host1")
	refused := func(t *testing.T, says string, env []string, args ...string) {
		t.Helper()
		c := l.command(t.Context(), append(append([]string{"guest"}, args...), "--connect", h.URI())...)
		c.Env = append(c.Env, env...)
		if err := c.wait(); err == nil || !strings.Contains(c.stderr.String(), says) {
			t.Errorf("guest %s: %v\n%s\nwant it to say %q", strings.Join(args, " "), err, &c.stderr, says)
		}
	}
	nothing := func(t *testing.T) {
		t.Helper()
		c := h.Connect(t)
		domains, err := c.Domains(t.Context())
		networks, nerr := c.NetworkXMLs(t.Context())
		if err := errors.Join(err, nerr); err != nil || len(domains)+len(networks) != 0 {
			t.Errorf("left are %+v and %q, %v", domains, networks, err)
		}
	}
	file := func(t *testing.T, topology string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "t.yaml")
		if err := os.WriteFile(path, []byte("name: refuse\n"+strings.TrimLeft(topology, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Run("image missing", func(t *testing.T) {
		refused(t, "/nowhere/vmlinuz: no such file", nil, "define", "vm1", "-f", file(t, fmt.Sprintf(libvirtTopology, "/nowhere")), "--accel", "tcg")
		nothing(t)
	})
	t.Run("no such guest", func(t *testing.T) {
		refused(t, "did you mean vm1?", nil, "define", "vm2", "-f", l.file, "--accel", "tcg")
		refused(t, `has no guest "vm1"; there is none`, nil, "start", "vm1")
		nothing(t)
	})
	t.Run("no bridge", func(t *testing.T) {
		h.guest(t, "define", "vm1", "-f", l.file, "--accel", "tcg", "--bridge", "br-none")
		refused(t, "br-none", nil, "start", "vm1")
		refused(t, "network ofctl-lab is on bridge \"br-none\"", nil, "define", "vm1", "-f", l.file, "--accel", "tcg")
		h.guest(t, "undefine", "vm1")
		nothing(t)
	})
	t.Run("another of that name", func(t *testing.T) {
		other := file(t, strings.Replace(fmt.Sprintf(libvirtTopology, image), "name: vm1\n", "name: vm1\n    uuid: 0f0e0d0c-0b0a-4908-8706-050403020100\n", 1))
		h.guest(t, "define", "vm1", "-f", other, "--accel", "tcg")
		refused(t, "its UUID is 0f0e0d0c-0b0a-4908-8706-050403020100, not ", nil, "define", "vm1", "-f", l.file, "--accel", "tcg")
		h.guest(t, "undefine", "vm1")
		nothing(t)
	})
	t.Run("KVM hangs", func(t *testing.T) {
		// A qemu that opens KVM and is never heard of again.
		bin := t.TempDir()
		if err := os.WriteFile(filepath.Join(bin, "qemu-system-x86_64"), []byte("#!/bin/sh\nexec sleep 600\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		path := []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
		h.guest(t, "define", "vm1", "-f", l.file, "--accel", "kvm")
		refused(t, "vm1 is defined for KVM, which does not work here", path, "start", "vm1")
		if d, err := h.Connect(t).Domain(t.Context(), "vm1"); err != nil || d.State != libvirt.ShutOff {
			t.Errorf("%+v, %v", d, err)
		}
		h.guest(t, "define", "vm1", "-f", l.file, "--accel", "tcg")
		h.guest(t, "undefine", "vm1")
		nothing(t)
	})
	t.Run("libvirt gone", func(t *testing.T) {
		h.Kill(t)
		refused(t, "libvirt does not run here: nobody listens at "+h.Socket(), nil, "status")
	})
}
