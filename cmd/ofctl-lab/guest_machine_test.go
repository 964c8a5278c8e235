package main

import (
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/topo/file"
)

// The topology file and the machine are rooms that do not know each other.
func TestGuestLimitsAgree(t *testing.T) {
	if file.MaxNICs != guest.MaxNICs || file.MaxDisks != guest.MaxDisks {
		t.Errorf("a file may have %d NICs and %d disks, a machine %d and %d", file.MaxNICs, file.MaxDisks, guest.MaxNICs, guest.MaxDisks)
	}
	if guest.SlotChannel > 0x1f {
		t.Errorf("slot %#x does not exist", guest.SlotChannel)
	}
}
