package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// binaryEnv tells the tests where ofctl-lab is. TestMain builds it there, unless the variable
// names a program already: a machine that only runs the tests needs no Go.
const binaryEnv = "OFCTL_LAB_E2E_BINARY"

// patience bounds every wait for something that must happen, and thrice that a command,
// also one that waits for a virtual machine to boot. Nothing is measured by it: it only
// ends a test that has failed already. On two cores that ten others work on, what takes a
// second alone was seen to take ten.
const patience = time.Minute

func TestMain(m *testing.M) {
	if missing() == nil {
		dir, err := prepareBinary()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
			os.RemoveAll(dir)
			os.Exit(code)
		}))
		return
	}
	os.Exit(m.Run())
}

// prepareBinary sees to it that binaryEnv names ofctl-lab, and returns the directory that it
// has built it in, empty if somebody else has.
func prepareBinary() (dir string, err error) {
	ready := os.Getenv(binaryEnv)
	if ready == "" {
		return buildBinary()
	}
	if _, err := exec.LookPath(ready); err != nil {
		return "", fmt.Errorf("%s names no program: %w; unset it, and the tests build ofctl-lab themselves", binaryEnv, err)
	}
	return "", nil
}

// buildBinary builds ofctl-lab as it is shipped and returns its directory.
func buildBinary() (string, error) {
	dir, err := os.MkdirTemp("", "e2e-bin")
	if err != nil {
		return "", err
	}
	exe := filepath.Join(dir, "ofctl-lab")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", exe, "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return "", fmt.Errorf("building ofctl-lab: %w\n%s", err, out)
	}
	return dir, os.Setenv(binaryEnv, exe)
}

// missing is what this machine lacks for the tests, nil if nothing.
func missing() error {
	err := lab.Prerequisites()
	for _, program := range []string{"ping", "ovs-ofctl"} {
		if _, perr := exec.LookPath(program); perr != nil {
			err = errors.Join(err, perr)
		}
	}
	return err
}

// testLab is a running lab.
type testLab struct {
	name  string
	file  string // its topology file
	root  string
	m     *lab.Manager
	api   *api.Client
	hosts []string
	env   []string // for ofctl-lab, beside this process's
}

// twoHosts and threeHosts are how the topologies of most tests begin.
const (
	twoHosts = `
underlay: {subnet: 192.168.200.0/24, mtu: 1500}
hosts:
  - {name: host1, tep: 192.168.200.20}
  - {name: host2, tep: 192.168.200.21}`
	threeHosts = twoHosts + `
  - {name: host3, tep: 192.168.200.22}`
)

// up brings up the lab of a topology, whose name it chooses, and takes it down at
// the end of the test: topology is the file's text from "underlay:" on. suffix
// tells the labs of one test process apart, env are settings of the lab's controller.
// Before anything is sent, what the switches hold is proved to keep the networks apart.
func up(t *testing.T, suffix, topology string, env ...string) *testLab {
	t.Helper()
	if err := missing(); err != nil {
		msg := fmt.Sprintf("PACKET-LEVEL TESTS DO NOT RUN: %v; run as root with the packages openvswitch-switch and iputils-ping (make deps)", err)
		if os.Getenv("CI") == "true" {
			t.Fatal(msg)
		}
		t.Skip(msg)
	}
	// Not t.TempDir: the sockets below it must keep to 108 bytes.
	root, err := os.MkdirTemp("", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	l := &testLab{name: fmt.Sprintf("e%d%s", os.Getpid(), suffix), root: root, m: lab.New(root), env: env}
	l.file = filepath.Join(root, l.name+".yaml")
	if err := os.WriteFile(l.file, []byte("name: "+l.name+"\n"+strings.TrimLeft(topology, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.down(t) })
	l.run(t, "lab", "up", "--keep-on-failure", l.file)
	spec, err := l.m.Spec(l.name)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range spec.Hosts {
		l.hosts = append(l.hosts, h.Name)
	}
	if l.api, err = api.NewClient("unix:" + l.socket()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.api.Close)
	t.Cleanup(func() { l.explain(t) })
	l.mustVerify(t)
	return l
}

// down removes the lab and fails the test if anything of it is left.
func (l *testLab) down(t *testing.T) {
	if t.Failed() {
		l.tail(t, filepath.Join(l.m.Dir(l.name), "controller", "controller.log"))
	}
	if err := l.command(cleanupContext(t), "lab", "down", l.name).wait(); err != nil {
		t.Error(err)
	}
	namespaces, err := netdev.Namespaces()
	if err != nil {
		t.Error(err)
	}
	for _, n := range namespaces {
		if strings.HasPrefix(n, l.name+".") {
			t.Errorf("namespace %s is left", n)
		}
	}
	if left := commandLines(l.root); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
	if _, err := os.Stat(l.m.Dir(l.name)); err == nil {
		t.Errorf("files are left in %s", l.m.Dir(l.name))
	}
	os.RemoveAll(l.root)
}

// commandLines are the processes that have a word in their command line.
func commandLines(word string) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		// A process that ends meanwhile is not left.
		b, _ := os.ReadFile(f)
		if line := strings.ReplaceAll(string(b), "\x00", " "); strings.Contains(line, word) {
			found = append(found, line)
		}
	}
	return found
}

// explain logs what is needed to understand a failure.
func (l *testLab) explain(t *testing.T) {
	if !t.Failed() {
		return
	}
	ctx := cleanupContext(t)
	for _, args := range [][]string{{"lab", "status"}, {"get", "ports", "-o", "wide"}, {"get", "hosts", "-o", "wide"}} {
		c := l.command(ctx, args...)
		err := c.wait()
		t.Logf("ofctl-lab %s: %v\n%s", strings.Join(args, " "), err, &c.stdout)
	}
	for _, h := range l.hosts {
		out, err := l.m.Output(ctx, l.name, lab.Target{Host: h}, "ovs-ofctl", "-O", "OpenFlow13", "dump-flows", lab.IntegrationBridge)
		var used []string
		for line := range strings.Lines(out) {
			if !strings.Contains(line, "n_packets=0,") {
				used = append(used, line)
			}
		}
		t.Logf("flows of %s that packets have matched (%v):\n%s", h, err, strings.Join(used[:min(len(used), 200)], ""))
		l.tail(t, filepath.Join(l.m.Dir(l.name), "hosts", h, "ovs-vswitchd.log"))
	}
}

// tail logs the end of a file.
func (l *testLab) tail(t *testing.T, path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Log(err)
		return
	}
	lines := bytes.Split(b, []byte("\n"))
	t.Logf("%s ends with:\n%s", filepath.Base(path), bytes.Join(lines[max(0, len(lines)-30):], []byte("\n")))
}

// command is one run of ofctl-lab.
type command struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer
}

// command is ofctl-lab on this lab.
func (l *testLab) command(ctx context.Context, args ...string) *command {
	c := &command{Cmd: exec.CommandContext(ctx, os.Getenv(binaryEnv), args...)}
	c.Cmd.Stdout, c.Cmd.Stderr = &c.stdout, &c.stderr
	c.Env = slices.Concat(os.Environ(), l.env, []string{"OFCTL_LAB_STATE_ROOT=" + l.root, "OFCTL_LAB_LAB=" + l.name})
	// The controller that lab up starts stays, and must not keep Wait.
	c.WaitDelay = time.Second
	return c
}

// wait runs the command to its end; the error has what it complained.
func (c *command) wait() error {
	err := c.Run()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, &c.stderr)
	}
	return nil
}

// cleanupContext is for what is done in a test's cleanup, where its own context
// has ended.
func cleanupContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	return ctx
}

// run runs ofctl-lab on this lab and returns its output; it must succeed.
func (l *testLab) run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	c := l.command(ctx, args...)
	if err := c.wait(); err != nil {
		t.Fatal(err)
	}
	return c.stdout.String()
}

// exec runs a program on a host ("host1") or in a guest ("host1/red-a") and
// returns its output; it must succeed.
func (l *testLab) exec(t *testing.T, where string, argv ...string) string {
	t.Helper()
	out, err := l.try(t, where, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// try is exec for a program that may fail.
func (l *testLab) try(t *testing.T, where string, argv ...string) (string, error) {
	t.Helper()
	target, err := lab.ParseTarget(where)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	return l.m.Output(ctx, l.name, target, argv...)
}

// ping sends one echo request from a port's guest and returns why there was no
// answer within two seconds.
func (l *testLab) ping(t *testing.T, port, addr string) error {
	t.Helper()
	return l.pingFor(t, port, addr, "2")
}

// pingFor is ping with another time to wait, in seconds.
func (l *testLab) pingFor(t *testing.T, port, addr, wait string) error {
	t.Helper()
	a := l.attachment(t, port)
	_, err := l.try(t, a.Host+"/"+netns(a), "ping", "-n", "-c", "1", "-W", wait, "-I", device(a), addr)
	return err
}

// mustPing fails the test unless there is an answer to the first request, whenever it comes.
func (l *testLab) mustPing(t *testing.T, port, addr string) {
	t.Helper()
	if err := l.pingFor(t, port, addr, "30"); err != nil {
		t.Errorf("%s does not reach %s: %v", port, addr, err)
	}
}

// attachment is how a port is attached at present.
func (l *testLab) attachment(t *testing.T, port string) lab.Attachment {
	t.Helper()
	spec, err := l.m.Spec(l.name)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range spec.Attachments {
		if a.Port == port {
			return a
		}
	}
	t.Fatalf("the lab attaches no port %s", port)
	return lab.Attachment{}
}

func netns(a lab.Attachment) string {
	if a.Netns == "" {
		return a.Port
	}
	return a.Netns
}

func device(a lab.Attachment) string {
	if a.Interface == "" {
		return "eth0"
	}
	return a.Interface
}

// portStatus is what the controller says of a port.
func (l *testLab) portStatus(t *testing.T, port string) api.PortStatus {
	t.Helper()
	p, err := l.api.Port(t.Context(), port)
	if err != nil {
		t.Fatal(err)
	}
	return p.Status
}

// eventually waits until ok is true, which what describes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within(t, waiting{limit: patience, look: 5 * time.Millisecond}, what, ok)
}

// waiting is for how long, and how often is looked.
type waiting struct{ limit, look time.Duration }

func within(t *testing.T, w waiting, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(w.limit)
	defer deadline.Stop()
	tick := time.NewTicker(w.look)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("it has not come about that %s", what)
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, t.Context().Err())
		case <-tick.C:
		}
	}
}

// settled waits until every switch has confirmed the newest revision.
func (l *testLab) settled(t *testing.T) {
	t.Helper()
	w, err := l.api.Wait(t.Context(), 0, patience)
	if err != nil {
		t.Fatal(err)
	}
	if !w.Done {
		t.Fatalf("switches do not get up to date: %+v", w.Pending)
	}
}

// flows are the flows of a host as `ofctl-lab dump-flows` shows them; filter are
// its flags, as "--drops".
func (l *testLab) flows(t *testing.T, host string, filter ...string) []api.Flow {
	t.Helper()
	out := l.run(t, append([]string{"dump-flows", host, "-o", "json"}, filter...)...)
	var dumps []api.FlowDump
	if err := json.Unmarshal([]byte(out), &dumps); err != nil || len(dumps) != 1 {
		t.Fatalf("dump-flows %s: %d dumps, %v", host, len(dumps), err)
	}
	return dumps[0].Flows
}

// dropped is how many packets a host has dropped for a reason ("spoofed-mac")
// under an owner's name ("port red-a", "host host1", "network red/web").
func (l *testLab) dropped(t *testing.T, host, reason, owner string) uint64 {
	t.Helper()
	l.refreshCounters(t, host)
	var n uint64
	found := false
	for _, f := range l.flows(t, host, "--drops") {
		if f.Feature == reason && f.OwnerKind+" "+f.Owner == owner {
			found = true
			n += f.Packets
		}
	}
	if !found {
		t.Fatalf("%s has no drop %s of %s", host, reason, owner)
	}
	return n
}

// socket is where the lab's controller serves its interface.
func (l *testLab) socket() string {
	return filepath.Join(l.m.Dir(l.name), "controller", "api.sock")
}

// metric is the sum of the controller's series of a metric that have all the
// labels, each written as host="host1".
func (l *testLab) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", l.socket())
	}}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, Timeout: patience}).Get("http://ofctl-lab/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET /metrics: %s, %v", resp.Status, err)
	}
	return sumMetric(t, string(b), name, labels)
}
