package configs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/topo/file"
)

// Every topology is one that the controller takes, and is named after its file.
func TestTopologiesAreValid(t *testing.T) {
	paths, err := filepath.Glob("topologies/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no topologies: %v", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Parse(path, text); err != nil {
			t.Error(err)
		}
		want := "name: " + strings.TrimSuffix(filepath.Base(path), ".yaml") + "\n"
		if !strings.Contains(string(text), want) {
			t.Errorf("%s lacks the line %q", path, want)
		}
	}
}
