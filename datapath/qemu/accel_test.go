package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// qemus are programs in the place of qemu, by what they make of KVM.
var qemus = map[string]string{
	"works":   fmt.Sprintf("exit %d", probeExit),
	"hangs":   "exec sleep 600",
	"refuses": "echo 'qemu: failed to initialize kvm: Function not implemented' >&2; exit 1",
	"ends":    "exit 0",
	"partly":  fmt.Sprintf(`case " $* " in *" -cpu host "*) echo 'qemu: failed to set MSR 0x10a' >&2; exit 134 ;; esac; exit %d`, probeExit),
}

// on is the prober of a machine with that device and qemu.
func on(t *testing.T, device, kvm string) prober {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qemu")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+qemus[kvm]+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := prober{device: device, program: path, timeout: time.Minute}
	if kvm == "hangs" {
		p.timeout = 10 * time.Millisecond
	}
	return p
}

// Every way in which a machine may lack KVM gives the one error, with its own reason, and
// guests run under TCG.
func TestCheckKVM(t *testing.T) {
	device := filepath.Join(t.TempDir(), "kvm")
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, device, kvm, says string }{
		{"no device", device + "-none", "works", "there is no " + device + "-none"},
		{"device that cannot be opened", t.TempDir(), "works", "is a directory"},
		{"hangs", device, "hangs", "a tiny machine hung in it for 10ms"},
		{"refuses", device, "refuses", "Function not implemented"},
		{"cannot have the CPU of a guest", device, "partly", "failed to set MSR"},
		{"ends at once", device, "ends", "ended too early"},
		{"works", device, "works", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := on(t, c.device, c.kvm)
			err := p.checkKVM(t.Context())
			found, note, ferr := p.find(t.Context())
			if ferr != nil {
				t.Fatal(ferr)
			}
			if c.says == "" {
				if err != nil || found != KVM || note != "" {
					t.Errorf("check %v; found %s, %q", err, found, note)
				}
				return
			}
			if !errors.Is(err, ErrNoKVM) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("check: %v; want it to say %q", err, c.says)
			}
			if found != TCG || !strings.Contains(note, c.says) || !strings.Contains(note, "TCG") {
				t.Errorf("found %s, %q", found, note)
			}
		})
	}
}

// One user's lack is not the machine's: the error tells them apart.
func TestKVMOfOthers(t *testing.T) {
	device := filepath.Join(t.TempDir(), "kvm")
	if err := os.WriteFile(device, nil, 0); err != nil {
		t.Fatal(err)
	}
	p, result := on(t, device, "works"), make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if os.Geteuid() == 0 {
			// Root may open every file, so this thread opens files as nobody does.
			if err := unix.Setfsuid(65534); err != nil {
				result <- err
				return
			}
		}
		result <- p.checkKVM(t.Context())
	}()
	err := <-result
	if !errors.Is(err, ErrNoKVM) || !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "group kvm") {
		t.Error(err)
	}
}

// What is wrong with the probe is not said of KVM.
func TestKVMNotTried(t *testing.T) {
	device := filepath.Join(t.TempDir(), "kvm")
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := prober{device: device, program: filepath.Join(t.TempDir(), "none"), timeout: time.Minute}
	if _, _, err := p.find(t.Context()); err == nil || errors.Is(err, ErrNoKVM) || !strings.Contains(err.Error(), "apt-get install") {
		t.Errorf("without qemu: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := on(t, device, "works").checkKVM(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrNoKVM) {
		t.Errorf("given up: %v", err)
	}
}
