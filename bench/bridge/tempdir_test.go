package bridge

import (
	"os"
	"path/filepath"
	"testing"
)

// What the processes that are gone have left goes: also where another process has the number now.
// What is of a process that runs, or of nobody, stays.
func TestSweep(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	mine, err := TempDir()
	if err != nil {
		t.Fatal(err)
	}
	me, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	before := Owner{PID: me.PID, Start: me.Start - 1}
	gone := Owner{PID: 1 << 30, Start: me.Start} // more than Linux gives
	others := filepath.Join(os.TempDir(), "ofctl-lab-bench-4711")
	left := map[string]bool{mine: true, others: true}
	for _, o := range []Owner{before, gone} {
		left[filepath.Join(os.TempDir(), tempPrefix+o.String()+"-1")] = false
	}
	for dir := range left {
		if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	for dir, want := range left {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s is there: %t, want %t", filepath.Base(dir), err == nil, want)
		}
	}
}
