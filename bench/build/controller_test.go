package build

import (
	"os"
	"path/filepath"
	"testing"
)

// A test is not ofctl-lab, so the controller is compiled; what runs under the name of ofctl-lab is
// taken as it is.
func TestControllerIsTheRunningProgramOnlyIfItIsOne(t *testing.T) {
	dir := t.TempDir()
	program, err := Controller(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "ofctl-lab"); program != want {
		t.Errorf("program %s, want %s", program, want)
	}
	if _, err := os.Stat(program); err != nil {
		t.Error(err)
	}
	if !isController("/usr/bin/ofctl-lab") || isController("/usr/bin/ofctl-lab.test") {
		t.Error("ofctl-lab is not told from other programs by its name")
	}
}
