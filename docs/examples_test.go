package docs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// example is a fenced block of shell commands in a document.
type example struct {
	where string
	text  string
}

// examples are the ```sh blocks of a document in order.
func examples(t *testing.T, path string) []example {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []example
	var block []string
	start := 0
	for i, line := range strings.Split(string(data), "\n") {
		switch {
		case start == 0 && line == "```sh":
			start, block = i+1, nil
		case start != 0 && line == "```":
			out = append(out, example{fmt.Sprintf("%s:%d", path, start), strings.Join(block, "\n")})
			start = 0
		case start != 0:
			block = append(block, line)
		}
	}
	return out
}

var makeLine = regexp.MustCompile(`(?m)^make(?: ([a-z-]+))?$`)

// The README's examples run as they stand, in order, in a checkout with the lab
// up. What `make lab` does apart from installing is done first; that the named
// targets exist is checked by hand, since a test cannot run make test.
func TestReadme(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var run []example
	for _, e := range examples(t, "../README.md") {
		if makeLine.MatchString(e.text) {
			for _, m := range makeLine.FindAllStringSubmatch(e.text, -1) {
				if !strings.Contains(string(makefile), "\n"+m[1]+":") {
					t.Errorf("%s: there is no target %q", e.where, m[1])
				}
			}
			continue
		}
		run = append(run, e)
	}
	if len(run) < 6 {
		t.Fatalf("only %d blocks to run", len(run))
	}
	needsLab(t)
	dir := checkout(t)
	// A lab of its own name, so that it does not meet another one.
	name := fmt.Sprintf("readme%d", os.Getpid())
	topology := filepath.Join(dir, "configs/topologies/two-hosts.yaml")
	text, err := os.ReadFile(topology)
	if err != nil {
		t.Fatal(err)
	}
	renamed := strings.Replace(string(text), "name: two-hosts\n", "name: "+name+"\n", 1)
	if renamed == string(text) {
		t.Fatal("the topology has another name")
	}
	if err := os.WriteFile(topology, []byte(renamed), 0o644); err != nil {
		t.Fatal(err)
	}
	shell := func(script string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "bash", "-eu", "-o", "pipefail", "-c", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "OFCTL_LAB_STATE_ROOT="+filepath.Join(dir, "labs"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	t.Cleanup(func() {
		cmd := exec.Command(filepath.Join(dir, "bin/ofctl-lab"), "lab", "down", name)
		cmd.Env = append(os.Environ(), "OFCTL_LAB_STATE_ROOT="+filepath.Join(dir, "labs"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("lab down: %v\n%s", err, out)
		}
	})
	for _, script := range []string{
		"bin/ofctl-lab lab up configs/topologies/two-hosts.yaml",
		"bin/ofctl-lab lab demo",
	} {
		if out, err := shell(script); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}
	for _, e := range run {
		out, err := shell(e.text)
		if err != nil {
			t.Errorf("%s: %v\n%s\n%s", e.where, err, e.text, out)
		}
		t.Logf("%s\n%s", e.where, out)
	}
}

// checkout is a copy of what the README's reader has after make build.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "configs"), os.DirFS("../configs")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, "bin/ofctl-lab"), "./cmd/ofctl-lab")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

// needsLab skips, loudly, where no lab can run; on CI that is a failure.
func needsLab(t *testing.T) {
	t.Helper()
	missing := ""
	if os.Getuid() != 0 {
		missing = "root"
	} else if _, err := exec.LookPath("ovs-vswitchd"); err != nil {
		missing = "Open vSwitch (make deps installs it)"
	}
	if missing == "" {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("needs %s, and this is CI", missing)
	}
	t.Skipf("SKIPPED: the documents' examples need %s", missing)
}
