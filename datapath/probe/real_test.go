package probe

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

var update = flag.Bool("update", false, "write the reports of this machine")

// reports is where the committed ones are.
const reports = "../../docs/reference/datapaths"

// need skips a test where it cannot run; CI=true makes that a failure.
func need(t *testing.T) {
	t.Helper()
	missing := ""
	if os.Geteuid() != 0 {
		missing = "root"
	}
	for _, program := range []string{"ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "ovs-appctl"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = "Open vSwitch (apt-get install openvswitch-switch)"
		}
	}
	if missing == "" {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("this test needs %s", missing)
	}
	t.Skipf("SKIPPED, and nothing is proven: this test needs %s", missing)
}

// What the committed reports say is what happens on this machine.
func TestReportsHold(t *testing.T) {
	need(t)
	ownTemp(t)
	for _, dp := range []Datapath{Userspace, Kernel} {
		t.Run(string(dp), func(t *testing.T) {
			if _, err := netlink.GenlFamilyGet("ovs_datapath"); dp == Kernel && err != nil {
				t.Skip("this kernel has no module openvswitch")
			}
			now, err := Try(t.Context(), dp, nil)
			if err != nil {
				t.Fatal(err)
			}
			nothingLeft(t)
			var text strings.Builder
			if err := now.WriteJSON(&text); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(reports, now.Environment.Series()+".json")
			if *update {
				if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			f, err := os.Open(file)
			if errors.Is(err, fs.ErrNotExist) && os.Getenv("CI") != "true" {
				t.Skipf("SKIPPED: there is no report of %s to hold against; make datapaths writes it:\n%s", now.Environment, &text)
			}
			if err != nil {
				t.Fatalf("%v; the report would be:\n%s", err, &text)
			}
			defer f.Close()
			was, err := ReadReport(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range was.Differences(now) {
				t.Errorf("%s: %s; if that is right, make datapaths writes it down", file, d)
			}
			if t.Failed() {
				t.Logf("the whole report now:\n%s", &text)
			}
		})
	}
}

// ownTemp gives the test's probes a directory for temporary files of their own: other tests'
// probes may run at the same time. Its path is short, as those of sockets have to be.
func ownTemp(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir)
}

// nothingLeft fails if a probe of the test has left a directory or a process.
func nothingLeft(t *testing.T) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(os.TempDir(), dirPattern+"*"))
	if err != nil || len(left) != 0 {
		t.Errorf("directories %v, %v", left, err)
	}
	if p := processes(t); len(p) != 0 {
		t.Errorf("processes %q", p)
	}
}

// processes are the command lines of the daemons of the test's probes.
func processes(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Error(err)
	}
	var found []string
	for _, file := range files {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), filepath.Join(os.TempDir(), dirPattern)) {
			found = append(found, string(line))
		}
	}
	return found
}

// A probe that is interrupted leaves nothing behind, whenever that is.
func TestInterruptedProbeLeavesNothing(t *testing.T) {
	need(t)
	ownTemp(t)
	for _, at := range []string{"", "a copy that is changed, the original not", "port type vxlan over IPv4"} {
		ctx, cancel := context.WithCancel(t.Context())
		if at == "" {
			cancel()
		}
		_, err := Try(ctx, Userspace, func(title string) {
			if title == at {
				cancel()
			}
		})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted at %q: %v", at, err)
		}
		nothingLeft(t)
	}
}

// Of a probe that is killed only a directory is left, and the next one removes it.
func TestKilledProbe(t *testing.T) {
	need(t)
	ownTemp(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), probeOnly+"=1")
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	lines.Scan() // it has begun to try: the daemons run
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("it was not killed, but ended: %q, %v", lines.Text(), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), stopWithin)
	defer cancel()
	if err := until(ctx, func() (bool, error) { return len(processes(t)) == 0, nil }); err != nil {
		t.Errorf("processes %q, %v", processes(t), err)
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), dirPattern+"*"))
	if err != nil || len(left) != 1 {
		t.Errorf("left %v, %v", left, err)
	}
	if err := sweep(); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t)
}

// A daemon that ends is not taken for a datapath that cannot.
func TestDeadSwitchIsNoAnswer(t *testing.T) {
	need(t)
	ownTemp(t)
	s, err := startScratch(t.Context(), Userspace)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		nothingLeft(t)
	}()
	f := Feature{Name: "dead", trial: trial{func(context.Context, *scratch) (string, error) {
		err := stop(s.daemons[1])
		return "", errors.Join(err, &unlike{"nothing arrived"})
	}}}
	found := Finding{}
	if err := s.try(t.Context(), f, &found); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("%v, found %+v", err, found)
	}
}

// What an earlier probe left, that was killed, goes; what one that runs has, stays.
func TestSweep(t *testing.T) {
	need(t)
	ownTemp(t)
	running, lock, err := ownDirectory()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	killed, gone, err := ownDirectory()
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	dirs := []string{killed, running}
	if err := sweep(); err != nil {
		t.Fatal(err)
	}
	for i, stays := range []bool{false, true} {
		if _, err := os.Stat(dirs[i]); (err == nil) != stays {
			t.Errorf("%s: there = %v, want %v", dirs[i], err == nil, stays)
		}
	}
}
