package need

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// outcome is a test that notes what became of it.
type outcome struct {
	testing.TB
	what, why string
}

func (o *outcome) Helper()                           {}
func (o *outcome) Skipf(format string, args ...any)  { o.end("skipped", format, args) }
func (o *outcome) Fatalf(format string, args ...any) { o.end("failed", format, args) }
func (o *outcome) end(what, format string, args []any) {
	o.what, o.why = what, fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// of is what becomes of a test with these lacks.
func of(lacks ...error) outcome {
	o, ended := outcome{what: "run"}, make(chan struct{})
	go func() {
		defer close(ended)
		Have(&o, lacks...)
	}()
	<-ended
	return o
}

func TestHave(t *testing.T) {
	program, kvm := errors.New("a program"), OfMachine(errors.New("KVM"))
	for _, c := range []struct {
		ci, want, says string
		lacks          []error
	}{
		{"", "run", "", nil},
		{"true", "run", "", []error{nil, OfMachine(nil)}},
		{"", "skipped", "a program", []error{nil, program}},
		{"true", "failed", "a program", []error{program}},
		{"true", "skipped", "KVM", []error{kvm}},
		{"true", "skipped", "KVM", []error{errors.Join(kvm), nil}},
		// Installing the program would change nothing.
		{"true", "skipped", "a program\nKVM", []error{program, kvm}},
	} {
		t.Setenv("CI", c.ci)
		got := of(c.lacks...)
		if got.what != c.want || !strings.HasSuffix(got.why, c.says) || (c.want != "run") != strings.Contains(got.why, "this machine lacks") {
			t.Errorf("CI=%q, %v: %s, %q", c.ci, c.lacks, got.what, got.why)
		}
	}
}

func TestLacks(t *testing.T) {
	none := t.TempDir()
	t.Setenv("PATH", none)
	for want, lack := range map[string]error{
		"ovs-vswitchd in $PATH (make deps":          OpenVSwitch(),
		"qemu-system-x86_64 in $PATH (make vm-deps": QEMU(),
		"a Go toolchain":                            Go(),
		"bin/guest/initramfs.img (make guest-image": GuestImage(none),
	} {
		if lack == nil || !strings.Contains(lack.Error(), want) || errors.As(lack, new(lackOfMachine)) {
			t.Errorf("%v; want %q", lack, want)
		}
	}
	if err := device(filepath.Join(none, "tun"), "tap devices"); err == nil || !errors.As(err, new(lackOfMachine)) {
		t.Errorf("no device: %v", err)
	}
	there := filepath.Join(none, "there")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := device(there, "tap devices"); err != nil {
		t.Errorf("a device: %v", err)
	}
}
