package main

import (
	"context"
	"strings"
	"syscall"
	"testing"
)

// A restore waits for an attach or detach to end, and these for it; they do not wait for
// each other.
func TestLocalSwitchLock(t *testing.T) {
	dir := t.TempDir()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		first, second int
		waits         bool
	}{
		{syscall.LOCK_SH, syscall.LOCK_SH, false},
		{syscall.LOCK_SH, syscall.LOCK_EX, true},
		{syscall.LOCK_EX, syscall.LOCK_SH, true},
		{syscall.LOCK_EX, syscall.LOCK_EX, true},
	} {
		unlock, err := newLocalSwitch(dir, "br-int").lock(t.Context(), c.first)
		if err != nil {
			t.Fatal(err)
		}
		again, err := newLocalSwitch(dir, "br-int").lock(ended, c.second)
		if (err != nil) != c.waits || err != nil && !strings.Contains(err.Error(), "is at work") {
			t.Errorf("%+v: %v", c, err)
		}
		if err == nil {
			again()
		}
		unlock()
		again, err = newLocalSwitch(dir, "br-int").lock(t.Context(), c.second)
		if err != nil {
			t.Fatal(err)
		}
		again()
	}
	if _, err := newLocalSwitch(dir+"/none", "br-int").lock(t.Context(), syscall.LOCK_SH); err == nil || !strings.Contains(err.Error(), "doctor") {
		t.Errorf("without a run directory: %v", err)
	}
}
