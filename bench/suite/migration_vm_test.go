package suite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/traffic"
)

// What a virtual machine lacks is named, with what provides it, and is no error.
func TestVirtualMachineIsMissedByName(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	t.Chdir(t.TempDir()) // outside the source tree
	if _, err := migrationMachine(t.Context()); err == nil || !strings.Contains(err.Error(), "make vm-deps") {
		t.Errorf("without qemu: %v", err)
	}
	if err := os.WriteFile(filepath.Join(bin, "qemu-system-x86_64"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := migrationMachine(t.Context()); err == nil || !strings.Contains(err.Error(), "make guest-image") {
		t.Errorf("without an image: %v", err)
	}
}

// The gap is the most that were lost in a row, with the interval in which nothing can be
// seen, and qemu's downtime is taken off it; what else was lost is not in it.
func TestVMGap(t *testing.T) {
	at := time.Now()
	ms := func(n int) time.Time { return at.Add(time.Duration(n) * time.Millisecond) }
	source, destination := &tapTimes{first: at, last: ms(10)}, &tapTimes{first: ms(50), last: ms(90), followed: ms(53)}
	s, err := vmGap(traffic.PacedCounts{Sent: 100, Lost: 60, InARow: 44}, 35*time.Millisecond, source, destination)
	if err != nil {
		t.Fatal(err)
	}
	if s.Value != 45 || s.Detail["over_downtime_ms"] != 10 || s.Detail["downtime_ms"] != 35 || s.Detail["silent_ms"] != 40 || s.Detail["follow_ms"] != 3 {
		t.Errorf("%+v", s)
	}
	destination.followed = time.Time{}
	if _, err := vmGap(traffic.PacedCounts{}, 0, source, destination); err == nil {
		t.Error("no frame for the guest was seen on its new tap, and that is a gap")
	}
}
