package proc

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell runs a script that ends when its standard input does, and returns it when it has printed a line.
func shell(t *testing.T, script string) int {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

const (
	// work takes some hundredths of a second in a shell.
	work = "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; "
	wait = "echo; read x || true"
)

func TestCPUTime(t *testing.T) {
	busy, idle := shell(t, work+wait), shell(t, wait)
	b, err := CPUTime(busy)
	if err != nil {
		t.Fatal(err)
	}
	i, err := CPUTime(idle)
	if err != nil {
		t.Fatal(err)
	}
	if i <= 0 || b <= i {
		t.Errorf("a shell that worked used %s, one that did not %s", b, i)
	}
	// The clock goes in nanoseconds, not in ticks.
	if i%time.Millisecond == 0 && b%time.Millisecond == 0 {
		t.Errorf("%s and %s are no exact times", b, i)
	}
	again, err := CPUTime(idle)
	if err != nil || again != i {
		t.Errorf("an idle process used %s, then %s; error %v", i, again, err)
	}
}

func TestTreeCountsChildren(t *testing.T) {
	for name, script := range map[string]string{
		"that ended": "(" + work + ":) ; " + wait,
		// The child prints, so that its work is done.
		"that run": "(" + work + wait + ") & wait",
	} {
		// A job in the background reads from nowhere unless it is told otherwise.
		script = strings.Replace(script, "read x", "read x <&3", 1)
		pid := shell(t, "exec 3<&0; "+script)
		own, err := CPUTime(pid)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := TreeCPUTime(pid)
		if err != nil {
			t.Fatal(err)
		}
		if tree < own+10*time.Millisecond {
			t.Errorf("children %s: process %s, with them %s", name, own, tree)
		}
	}
}

func TestPSS(t *testing.T) {
	pid := shell(t, "exec 3<&0; (echo; read x <&3 || true) & wait")
	own, err := PSS(pid)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := TreePSS(pid)
	if err != nil {
		t.Fatal(err)
	}
	if own < 4096 || own > 100<<20 || tree <= own {
		t.Errorf("a shell has %d bytes, with its child %d", own, tree)
	}
	self, err := PSS(os.Getpid())
	if err != nil || self <= own {
		t.Errorf("this test has %d bytes, less than a shell; error %v", self, err)
	}
}

func TestNoSuchProcess(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	for _, pid := range []int{pid, 0, -1} {
		if d, err := CPUTime(pid); err == nil {
			t.Errorf("CPU time of process %d: %s", pid, d)
		}
		if d, err := TreeCPUTime(pid); err == nil {
			t.Errorf("CPU time of tree %d: %s", pid, d)
		}
		if n, err := PSS(pid); err == nil {
			t.Errorf("memory of process %d: %d", pid, n)
		}
	}
}

func TestVersion(t *testing.T) {
	got, err := Version(t.Context(), "sh", "-c", "echo; echo ' one 1.2 '; echo two")
	if err != nil || got != "one 1.2" {
		t.Errorf("%q, error %v", got, err)
	}
	if got, err := Version(t.Context(), "go", "version"); err != nil || !strings.HasPrefix(got, "go version go1") {
		t.Errorf("%q, error %v", got, err)
	}
	for _, argv := range [][]string{{"no-such-program"}, {"false"}, {"true", "quietly"}} {
		if got, err := Version(t.Context(), argv[0], argv[1:]...); err == nil || !strings.Contains(err.Error(), argv[0]) {
			t.Errorf("%v: %q, error %v", argv, got, err)
		}
	}
}
