package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUsageShares(t *testing.T) {
	before := usage{total: 1000, steal: 10, iowait: 20}
	for _, c := range []struct {
		after         usage
		steal, iowait float64
	}{
		{usage{total: 1200, steal: 20, iowait: 60}, 0.05, 0.2},
		{usage{total: 1200, steal: 10, iowait: 10}, 0, 0}, // iowait fell
		{before, 0, 0},
	} {
		if steal, iowait := c.after.shares(before); steal != c.steal || iowait != c.iowait {
			t.Errorf("%+v: %v, %v", c.after, steal, iowait)
		}
	}
	now, err := readUsage()
	if err != nil || now.total == 0 || now.load < 0 {
		t.Errorf("%+v, error %v", now, err)
	}
}

// Results are published: nothing of the environment may tell whose machine it was.
func TestEnvironmentNamesNobody(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	e := readEnvironment(t.Context(), "")
	text := strings.Join(e.lines(), "\n")
	// A short name, such as vm, may be part of any word.
	for _, private := range []string{dir, os.Getenv("HOME"), host} {
		if len(private) > 4 && strings.Contains(text, private) {
			t.Errorf("%q is in:\n%s", private, text)
		}
	}
	if e.Cores < 1 || e.Kernel == "" || e.Distribution == "" || e.CPU == "" {
		t.Errorf("%+v", e)
	}
	if text := strings.Join(Environment{}.lines(), "\n"); strings.Count(text, "unknown") != 8 {
		t.Errorf("an environment that nobody knows:\n%s", text)
	}
}

func TestFileField(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("other\t: 1\nmodel name\t: A CPU: 3\nmodel name\t: B\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := fileField(path, "model name"); got != "A CPU: 3" {
		t.Errorf("%q", got)
	}
	if got := fileField(path, "model") + fileField(path+"x", "model name"); got != "" {
		t.Errorf("%q", got)
	}
}
