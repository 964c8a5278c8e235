//go:build !race

// bbolt follows the pointers of a damaged file to wherever they lead: the race
// detector ends the program at the first (checkptr), or takes what lies there for
// shared. So .ci/unit runs these tests without it.

package store

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// Whatever a disk made of the file, opening and reading it ends in a store or in
// an error that says what to do. Most of these files made bbolt panic or fault.
func TestDamagedFileIsRefusedWithoutPanic(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Save(State{Desired: overlay(t).Desired()}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	try := func(file []byte) {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), file, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir)
		if err == nil {
			var st State
			if st, err = s.Load(); err == nil {
				err = s.Save(st)
			}
			if cerr := s.Close(); cerr != nil {
				t.Error(cerr)
			}
		}
		if err != nil {
			refused++
		}
	}
	page := os.Getpagesize()
	for n := page; n < len(whole); n += page {
		try(whole[:n])
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		file := append([]byte(nil), whole...)
		for range 1 + r.IntN(120) {
			file[2*page+r.IntN(len(file)-2*page)] = byte(r.Uint32())
		}
		try(file)
	}
	if refused < 50 {
		t.Errorf("only %d damaged files were refused: the test damages nothing", refused)
	}
}

// A store that bbolt panicked in says so again, and does not wait for locks.
func TestBrokenStoreStaysBroken(t *testing.T) {
	s := open(t, t.TempDir())
	err := s.guard(func() error { panic("page 7: assertion failed") })
	var damaged *DamagedError
	if !errors.As(err, &damaged) || damaged.Path != s.path {
		t.Fatalf("error = %v", err)
	}
	if _, again := s.Load(); !errors.Is(again, err) {
		t.Errorf("Load: %v", again)
	}
	if again := s.Save(State{}); !errors.Is(again, err) {
		t.Errorf("Save: %v", again)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}
