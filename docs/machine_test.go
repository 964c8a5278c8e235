package docs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt/libvirttest"
	"github.com/ofctl-lab/ofctl-lab/datapath/need"
)

// machine is a machine on which a reader types the documents' examples as they
// stand: a checkout after make build, with network, processes, /run, /var/lib and
// /etc of its own, so that the examples may use the names and ports that they
// name, whatever else this machine runs. It ends with the test, and so does all
// that was started on it.
type machine struct {
	t   *testing.T
	dir string // the checkout
	pid string // of its first process
}

// setUp makes the machine's own what examples write to. /etc is a copy.
const setUp = `mount --make-rprivate /
cp -a /etc "$1"
mount --bind "$1" /etc
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mkdir /run/netns
ip link set lo up
echo ready
read -r _ || true` // until the test closes its standard input

// newMachine skips, loudly, where there can be none; on CI that is a failure.
func newMachine(t *testing.T) *machine {
	t.Helper()
	needsLab(t)
	m := &machine{t: t, dir: checkout(t)}
	cmd := exec.Command("bash", "-eu", "-c", setUp, "bash", filepath.Join(t.TempDir(), "etc"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("a machine for the examples: %v", err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // the first process ends, and with it all others
		if err := cmd.Wait(); err != nil {
			t.Errorf("the machine of the examples: %v\n%s", err, &stderr)
		}
	})
	if _, err := io.ReadFull(stdout, make([]byte, len("ready\n"))); err != nil {
		t.Fatalf("the machine of the examples is not ready: %v", err)
	}
	m.pid = strconv.Itoa(cmd.Process.Pid)
	return m
}

// stepLimit only ends a test that has failed already: a step may boot virtual machines
// where each instruction is emulated, on a machine that has more to do.
const stepLimit = 5 * time.Minute

// try types a script at the machine, in the checkout and with its bin in PATH.
func (m *machine) try(script string) (string, error) {
	ctx, cancel := context.WithTimeout(m.t.Context(), stepLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "--target", m.pid, "--mount", "--net", "--pid", "--",
		"bash", "-eu", "-o", "pipefail", "-c", `cd "$0" && eval "$1"`, m.dir, script)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(m.dir, "bin")+":"+os.Getenv("PATH"))
	// What a script leaves running, such as a lab, may keep the pipes open.
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// startLibvirt starts a libvirt daemon on a host of the lab, at its usual socket, and
// reports whether there is one: where there can be none, or no image for guests, the examples
// that need it are left out, loudly; on CI that is a failure.
func (m *machine) startLibvirt(host string) bool {
	m.t.Helper()
	err := libvirttest.Missing()
	if _, ierr := os.Stat("../bin/guest/vmlinuz"); ierr != nil {
		err = errors.Join(err, fmt.Errorf("%w (make guest-image makes it)", ierr))
	}
	if err != nil {
		report := m.t.Logf
		if os.Getenv("CI") == "true" {
			report = m.t.Fatalf
		}
		report("EXAMPLES THAT NEED LIBVIRT ARE LEFT OUT: %v", err)
		return false
	}
	dir, err := os.MkdirTemp("", "lv") // short, for the paths of sockets
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	rundir := strings.TrimSpace(m.run("ofctl-lab lab exec " + host + ` -- sh -c 'echo "$OVS_RUNDIR"'`))
	argv, err := libvirttest.Prepare(dir, rundir)
	if err != nil {
		m.t.Fatal(err)
	}
	for i, a := range argv {
		argv[i] = quoted(a)
	}
	m.run("ofctl-lab lab exec " + host + " -- " + strings.Join(argv, " ") + " >" + dir + "/log/output 2>&1 &")
	m.until("test -S " + dir + "/run/libvirt/libvirt-sock")
	m.run("ln -s " + dir + "/run/libvirt /run/libvirt")
	m.until("ofctl-lab guest status")
	return true
}

// quoted is a word that a shell takes as it stands.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// run is try for what has to succeed.
func (m *machine) run(script string) string {
	m.t.Helper()
	out, err := m.try(script)
	if err != nil {
		m.t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	return out
}

// until types a script again and again until it succeeds.
func (m *machine) until(script string) {
	m.t.Helper()
	m.run(`for n in {1..1000}; do (` + script + `) >/dev/null 2>&1 && exit; sleep 0.1; done; ` + script)
}

// install puts a program into the machine's PATH.
func (m *machine) install(name, script string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, "bin", name), []byte(script), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

// needsVMs skips, loudly, where no virtual machine can be run.
func needsVMs(t *testing.T) {
	t.Helper()
	need.Have(t, need.QEMU(), need.GuestImage(".."))
}

// checkout is a copy of what a reader has after make build.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "configs"), os.DirFS("../configs")); err != nil {
		t.Fatal(err)
	}
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	image, err := filepath.Abs("../bin/guest")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(bin, 0o755), os.Symlink(program, filepath.Join(bin, "ofctl-lab")),
		os.Symlink(image, filepath.Join(bin, "guest"))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// built is where build puts the program.
var built string

// build makes the program, once for all tests.
var build = sync.OnceValues(func() (string, error) {
	program := filepath.Join(built, "ofctl-lab")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./cmd/ofctl-lab")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return program, nil
})

func TestMain(m *testing.M) {
	var err error
	if built, err = os.MkdirTemp("", "ofctl-lab-docs"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(built); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func needsLab(t *testing.T) {
	t.Helper()
	need.Have(t, need.Root(), need.OpenVSwitch(), need.Tun(), need.IPv6(), need.Go())
}
