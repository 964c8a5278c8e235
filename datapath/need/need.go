// Package need says what a test needs of the machine that it runs on, and skips the test where
// that is missing. It is for tests only.
//
// What can be installed (root counts as such) is missing by mistake on CI, where such a test
// fails. What a machine may be without for good (KVM, instructions, devices, IPv6) is no
// mistake: the test is skipped on CI too. go test shows neither without -v, so .ci/lacks says
// it before a suite runs.
package need

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// lackOfMachine is a lack that nothing installed makes up for.
type lackOfMachine struct{ error }

func (l lackOfMachine) Unwrap() error { return l.error }

// OfMachine is a lack that nothing installed makes up for, such as that of KVM; nil is none.
func OfMachine(lack error) error {
	if lack == nil {
		return nil
	}
	return lackOfMachine{lack}
}

// Have skips the test if there is any lack, and fails it with CI=true; what is of the machine
// skips it there too.
func Have(t testing.TB, lacks ...error) {
	t.Helper()
	lack := errors.Join(lacks...)
	if lack == nil {
		return
	}
	machine := false
	for _, l := range lacks {
		machine = machine || errors.As(l, new(lackOfMachine))
	}
	if os.Getenv("CI") == "true" && !machine {
		t.Fatalf("NOT TESTED, and CI=true makes that a failure; this machine lacks:\n%v", lack)
	}
	t.Skipf("SKIPPED, and nothing is proven; this machine lacks:\n%v", lack)
}

// Root is the lack of root, for namespaces and devices.
func Root() error {
	if os.Geteuid() == 0 {
		return nil
	}
	return errors.New("root, for network namespaces and devices (run the tests with sudo)")
}

// Programs is the lack of programs, which a target of make installs.
func Programs(target string, names ...string) error {
	var lacks []error
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			lacks = append(lacks, fmt.Errorf("%s in $PATH (make %s installs it)", name, target))
		}
	}
	return errors.Join(lacks...)
}

// OpenVSwitch is the lack of Open vSwitch's programs.
func OpenVSwitch() error {
	return Programs("deps", "ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "ovs-appctl")
}

// QEMU is the lack of what runs virtual machines.
func QEMU() error { return Programs("vm-deps", "qemu-system-x86_64") }

// GuestImage is the lack of the guests' kernel and initramfs in the checkout at root.
func GuestImage(root string) error {
	var lacks []error
	for _, name := range []string{"vmlinuz", "initramfs.img"} {
		if _, err := os.Stat(filepath.Join(root, "bin/guest", name)); err != nil {
			lacks = append(lacks, fmt.Errorf("bin/guest/%s (make guest-image builds it)", name))
		}
	}
	return errors.Join(lacks...)
}

// Go is the lack of a Go toolchain, with which some tests build programs.
func Go() error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("a Go toolchain, with which the test builds a program (https://go.dev/doc/install)")
	}
	return nil
}

// tunDevice makes tap devices.
const tunDevice = "/dev/net/tun"

// Tun is the lack of tap devices: of virtual machines, and of every bridge of the userspace
// datapath.
func Tun() error { return device(tunDevice, "tap devices") }

func device(path, of string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		err = f.Close()
	}
	if err == nil || errors.Is(err, fs.ErrPermission) { // who may not open it lacks root
		return nil
	}
	return OfMachine(fmt.Errorf("%s: %w", of, err))
}

// IPv6 is the lack of IPv6 in the kernel. Where it is only switched off, each new network
// namespace has it all the same.
func IPv6() error {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		return OfMachine(errors.New("IPv6 in its kernel (is ipv6.disable=1 on its command line?)"))
	}
	return nil
}
