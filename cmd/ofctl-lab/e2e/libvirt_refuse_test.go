package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	t.Run("KVM", func(t *testing.T) { refusesKVM(t, l, h) })
	t.Run("libvirt gone", func(t *testing.T) {
		h.Kill(t)
		refused(t, "libvirt does not run here: nobody listens at "+h.Socket(), nil, "status")
	})
}

// refusesKVM: however a machine lacks KVM, a guest for it is refused, with the reason and the
// way out. h is a libvirt that has what this machine has.
func refusesKVM(t *testing.T, l *testLab, h *hypervisor) {
	without, err := filepath.Abs("../../../.ci/without")
	if err != nil {
		t.Fatal(err)
	}
	noKVM := []string{without, "kvm"}
	// run runs `ofctl-lab guest`, under a command if there is one.
	run := func(t *testing.T, h *hypervisor, under, env []string, args ...string) (string, error) {
		t.Helper()
		c := l.command(t.Context(), append(append([]string{"guest"}, args...), "--connect", h.URI())...)
		if len(under) > 0 {
			c.Path, c.Args = under[0], slices.Concat(under, []string{c.Path}, c.Args[1:])
		}
		c.Env = append(c.Env, env...)
		err := c.wait()
		return c.stderr.String(), err
	}
	refused := func(t *testing.T, h *hypervisor, says string, under, env []string, args ...string) {
		t.Helper()
		text, err := run(t, h, under, env, args...)
		for _, part := range []string{says, "--accel auto"} {
			if err == nil || !strings.Contains(text, part) {
				t.Errorf("guest %s: %v\n%s\nwant it to say %q", strings.Join(args, " "), err, text, part)
			}
		}
	}
	define := []string{"define", "vm1", "-f", l.file, "--accel"}
	t.Run("none", func(t *testing.T) {
		none := l.hypervisor(t, "host1", noKVM...)
		refused(t, none, "libvirt has no KVM on this machine", noKVM, nil, append(define, "kvm")...)
		if domains, err := none.Connect(t).Domains(t.Context()); err != nil || len(domains) != 0 {
			t.Errorf("left are %+v, %v", domains, err)
		}
		// The way out.
		if text, err := run(t, none, noKVM, nil, append(define, "auto")...); err != nil || !strings.Contains(text, "no working KVM: there is no /dev/kvm") {
			t.Errorf("%v\n%s", err, text)
		}
		none.guest(t, "undefine", "vm1")
	})

	// By libvirt's own words, so that a guest can be defined for KVM.
	able, err := exec.Command("virsh", "--connect", h.URI(), "capabilities").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, able)
	}
	if !bytes.Contains(able, []byte("<domain type='kvm'")) {
		t.Skip("SKIPPED, a guest that is defined for KVM cannot be tested: libvirt has no KVM on this machine, so it refuses the definition, which was tested")
	}
	h.guest(t, append(define, "kvm")...)
	off := func(t *testing.T) {
		t.Helper()
		if d, err := h.Connect(t).Domain(t.Context(), "vm1"); err != nil || d.State != libvirt.ShutOff {
			t.Errorf("%+v, %v", d, err)
		}
	}
	t.Run("hangs", func(t *testing.T) {
		// A qemu that opens KVM and is never heard of again.
		bin := t.TempDir()
		if err := os.WriteFile(filepath.Join(bin, "qemu-system-x86_64"), []byte("#!/bin/sh\nexec sleep 600\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		refused(t, h, "vm1 is defined for KVM: this machine has no working KVM: a tiny machine hung", nil,
			[]string{"PATH=" + bin + ":" + os.Getenv("PATH")}, "start", "vm1")
		off(t)
	})
	t.Run("gone since it was defined", func(t *testing.T) {
		h.Stop(t)
		h.RunUnder(noKVM...)
		h.Start(t)
		refused(t, h, "vm1 is defined for KVM: this machine has no working KVM: there is no /dev/kvm", noKVM, nil, "start", "vm1")
		// Without qemu in its PATH the command cannot try; libvirt's own refusal is explained.
		refused(t, h, "vm1 is defined for KVM: libvirt has no KVM on this machine", nil, []string{"PATH=" + t.TempDir()}, "start", "vm1")
		off(t)
	})
	h.guest(t, append(define, "tcg")...)
	h.guest(t, "undefine", "vm1")
}
