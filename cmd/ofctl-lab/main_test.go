package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/need"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ofctl-lab": main})
}

// TestScripts are the commands without a switch: usage, errors, and a controller
// that no host has joined.
func TestScripts(t *testing.T) {
	testscript.Run(t, params(t, "testdata/script"))
}

// TestLab are the commands with a lab of real Open vSwitch.
func TestLab(t *testing.T) {
	need.Have(t, need.Root(), need.OpenVSwitch(), need.Tun(), need.IPv6())
	testscript.Run(t, params(t, "testdata/lab"))
}

// params run every script in a directory with a state root of its own, the
// repository's configs, and a copy of two-hosts.yaml whose lab has a name of its
// own ($LAB), since namespaces are the machine's.
func params(t *testing.T, dir string) testscript.Params {
	t.Helper()
	configs, err := filepath.Abs("../../configs")
	if err != nil {
		t.Fatal(err)
	}
	twoHosts, err := os.ReadFile(filepath.Join(configs, "topologies", "two-hosts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return testscript.Params{
		Dir:           dir,
		UpdateScripts: os.Getenv("UPDATE") != "",
		Setup: func(env *testscript.Env) error {
			script := strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")
			name := fmt.Sprintf("t%d-%s", os.Getpid(), script)
			env.Setenv("LAB", name)
			env.Setenv("OFCTL_LAB_STATE_ROOT", filepath.Join(env.WorkDir, "labs"))
			// Not one that the machine may have.
			env.Setenv("OFCTL_LAB_CONFIG", filepath.Join(env.WorkDir, "ofctl-lab.yaml"))
			if err := os.WriteFile(filepath.Join(env.WorkDir, "ofctl-lab.yaml"), []byte("settle: 0s\n"), 0o600); err != nil {
				return err
			}
			env.Defer(func() { takeDown(t, filepath.Join(env.WorkDir, "labs"), name) })
			text := bytes.Replace(twoHosts, []byte("name: two-hosts"), []byte("name: "+name), 1)
			if err := os.WriteFile(filepath.Join(env.WorkDir, "lab.yaml"), text, 0o600); err != nil {
				return err
			}
			return os.Symlink(configs, filepath.Join(env.WorkDir, "configs"))
		},
		Condition: func(cond string) (bool, error) {
			if cond == "kernel-datapath" { // labs use it where the kernel has one
				return kernelModule(), nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"answers": answers, "status": status, "namespaces": namespaces, "replace": replace, "await": await,
			"compiled": compiled, "until": until,
		},
	}
}

// takeDown removes the labs, and the namespaces whose names start with prefix,
// that a failed script has left.
func takeDown(t *testing.T, root, prefix string) {
	m := lab.New(root)
	labs, err := m.List()
	if err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, l := range labs {
		if b, err := os.ReadFile(controllerLog(m, l.Name)); err == nil {
			t.Logf("the controller of lab %s, which was left behind:\n%s", l.Name, b)
		}
		if _, err := m.Down(ctx, l.Name); err != nil {
			t.Error(err)
		}
	}
	namespaces, err := netdev.Namespaces()
	if err != nil {
		t.Error(err)
	}
	for _, n := range namespaces {
		if strings.HasPrefix(n, prefix+"-") {
			if err := netdev.DeleteNamespace(n); err != nil {
				t.Error(err)
			}
		}
	}
}

// answers waits until the controller at the given socket answers.
func answers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: answers SOCKET")
	}
	c, err := api.NewClient("unix:" + ts.MkAbs(args[0]))
	ts.Check(err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ts.Check(poll(ctx, func() (bool, string, error) {
		_, err := c.Version(ctx)
		if err != nil {
			return false, err.Error(), nil
		}
		return true, "", nil
	}))
}

// status runs a command and compares its exit status, which exec does not tell.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		code = ee.ExitCode()
	} else {
		ts.Check(err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit status %d, want %s", code, args[0])
	}
}

// namespaces checks that there are (with ! that there are none) network
// namespaces whose name starts with the given prefix.
func namespaces(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] namespaces PREFIX")
	}
	found, err := filepath.Glob("/run/netns/" + args[0] + "*")
	ts.Check(err)
	if neg && len(found) > 0 || !neg && len(found) == 0 {
		ts.Fatalf("namespaces %s*: %v", args[0], found)
	}
}

// await waits until there is a network namespace whose name matches a pattern.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await PATTERN")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ts.Check(poll(ctx, func() (bool, string, error) {
		found, err := filepath.Glob("/run/netns/" + args[0])
		return len(found) > 0, "no namespace " + args[0], err
	}))
}

// until runs a command again and again until it succeeds.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: until COMMAND…")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ts.Check(poll(ctx, func() (bool, string, error) {
		err := ts.Exec(args[0], args[1:]...)
		return err == nil, strings.Join(args, " ") + " fails", nil
	}))
}

// replace writes FILE again with NEW, in which \n is a new line, for every OLD.
func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	file := ts.MkAbs(args[0])
	b, err := os.ReadFile(file)
	ts.Check(err)
	if !bytes.Contains(b, []byte(args[1])) {
		ts.Fatalf("%s does not contain %q", args[0], args[1])
	}
	text := strings.ReplaceAll(args[2], `\n`, "\n")
	ts.Check(os.WriteFile(file, bytes.ReplaceAll(b, []byte(args[1]), []byte(text)), 0o600))
}
