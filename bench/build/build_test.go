package build

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Outside of the source tree there is none, be it in no module or in another one.
func TestTopIsThatOfThisModule(t *testing.T) {
	if top, err := Top(t.Context()); err != nil ||
		top != filepath.Join(mustGetwd(t), "..", "..") {
		t.Errorf("top %q, %v", top, err)
	}
	t.Chdir(t.TempDir())
	if top, err := Top(t.Context()); !errors.Is(err, ErrNoSource) {
		t.Errorf("in no module: top %q, %v", top, err)
	}
	if err := os.WriteFile("go.mod", []byte("module example.com/other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if top, err := Top(t.Context()); !errors.Is(err, ErrNoSource) {
		t.Errorf("in another module: top %q, %v", top, err)
	}
}

func mustGetwd(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
