package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// A lab that is to run under KVM, where there is none, is refused before anything is made
// of it, with the way out: whether this machine has no /dev/kvm or a qemu that refuses it.
func TestLabWithoutKVM(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, qemu.Program), []byte("#!/bin/sh\necho no KVM here >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	l := &instance{m: New(t.TempDir()), name: "kvm"}
	spec := Spec{Machines: []Machine{{Machine: guest.Machine{Name: "vm1", Memory: 16}, Host: "host1"}}}
	for accel, refused := range map[qemu.Accel]bool{qemu.KVM: true, qemu.TCG: false, "": false} {
		err := l.checkMachineHost(t.Context(), spec, UpOptions{Accel: accel, Supervisor: &Command{}})
		if !refused && err != nil {
			t.Errorf("%q: %v", accel, err)
		}
		if !refused {
			continue
		}
		for _, want := range []string{"this machine has no working KVM", "--accel auto"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v; want it to say %q", accel, err, want)
			}
		}
	}
}
