package qemu

import (
	"errors"
	"net"
	"path/filepath"
	"testing"
)

// The second client of a console is told so, and gets it when the first has left.
func TestConsoleHasOneClient(t *testing.T) {
	dir := t.TempDir()
	if _, err := DialConsole(t.Context(), dir); err == nil {
		t.Fatal("there is no machine")
	}
	ln, err := net.Listen("unix", filepath.Join(dir, ConsoleSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	// What failed above has left it free.
	first, err := DialConsole(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := DialConsole(t.Context(), dir); !errors.Is(err, ErrConsoleBusy) {
		t.Errorf("a second client: %v, %v", conn, err)
	}
	for _, want := range []error{nil, net.ErrClosed} {
		if err := first.Close(); !errors.Is(err, want) {
			t.Errorf("close: %v", err)
		}
	}
	next, err := DialConsole(t.Context(), dir)
	if err != nil {
		t.Fatalf("the first one has left: %v", err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}
