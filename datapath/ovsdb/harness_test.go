package ovsdb

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline is how long anything in these tests may take before it counts as
// never happening.
const deadline = time.Minute

// ovsHost is an ovsdb-server and an ovs-vswitchd of their own, in a network
// namespace without a name, which ends with them.
type ovsHost struct {
	t        *testing.T
	dir      string
	listener net.Listener // in the host's namespace, where the manager target leads
	vswitchd *exec.Cmd
	ovsdb    *exec.Cmd
	ns       netns.NsHandle // the host's namespace, once it has one
	flags    []string       // of ovs-vswitchd
	marks    int            // counts the calls of seen
}

// needOpenVSwitch skips a test that needs root and Open vSwitch.
func needOpenVSwitch(t *testing.T) {
	t.Helper()
	need.Have(t, need.Root(), need.OpenVSwitch(), need.Tun())
}

// newHost starts a host whose switch runs with flags.
func newHost(t *testing.T, flags ...string) *ovsHost {
	t.Helper()
	needOpenVSwitch(t)
	h := &ovsHost{t: t, dir: t.TempDir(), flags: flags}
	h.run("ovsdb-tool", "create", h.path("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
	h.inNewNamespace(func() {
		var err error
		if h.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if h.ns, err = netns.Get(); err != nil {
			t.Fatal(err)
		}
		h.startDatabase()
		h.vsctl("--no-wait", "init")
		h.startSwitch()
	})
	t.Cleanup(func() { _, _ = h.listener.Close(), h.ns.Close() })
	h.vsctl("show") // waits until the switch is there
	return h
}

func (h *ovsHost) startDatabase() {
	h.ovsdb = h.start("ovsdb-server", h.path("conf.db"), "--remote=punix:"+h.path("db.sock"),
		"--remote=db:Open_vSwitch,Open_vSwitch,manager_options", "--unixctl="+h.path("ovsdb.ctl"))
}

// inside runs f on a thread in the host's namespace.
func (h *ovsHost) inside(f func()) {
	h.t.Helper()
	runtime.LockOSThread()
	before, err := netns.Get()
	if err == nil {
		err = netns.Set(h.ns)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(before); err == nil {
			runtime.UnlockOSThread()
		}
		_ = before.Close()
	}()
	f()
}

func (h *ovsHost) startSwitch() {
	h.vswitchd = h.start("ovs-vswitchd", append([]string{"unix:" + h.path("db.sock"), "--unixctl=" + h.path("vswitchd.ctl")}, h.flags...)...)
}

// inNewNamespace runs f on a thread in a fresh network namespace; what f
// starts and listens on stays there.
func (h *ovsHost) inNewNamespace(f func()) {
	h.t.Helper()
	runtime.LockOSThread()
	before, err := netns.Get()
	if err != nil {
		h.t.Fatal(err)
	}
	fresh, err := netns.New()
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() {
		// A thread that cannot go back stays locked, and ends with its goroutine.
		if err := netns.Set(before); err == nil {
			runtime.UnlockOSThread()
		}
		_ = fresh.Close()
		_ = before.Close()
	}()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		h.t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		h.t.Fatal(err)
	}
	f()
}

func (h *ovsHost) path(name string) string { return filepath.Join(h.dir, name) }

func (h *ovsHost) env() []string {
	return append(os.Environ(), "OVS_RUNDIR="+h.dir, "OVS_DBDIR="+h.dir, "OVS_LOGDIR="+h.dir)
}

// start runs a daemon in the foreground until the test ends.
func (h *ovsHost) start(program string, args ...string) *exec.Cmd {
	h.t.Helper()
	cmd := exec.Command(program, append(args, "-vconsole:off", "-vfile:off", "-vsyslog:off")...)
	cmd.Env = h.env()
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { stop(cmd) })
	return cmd
}

func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func (h *ovsHost) run(program string, args ...string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = h.env()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		h.t.Fatalf("%s %s: %v: %s", program, strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func (h *ovsHost) vsctl(args ...string) string {
	h.t.Helper()
	return h.run("ovs-vsctl", append([]string{"--db=unix:" + h.path("db.sock"), "--retry", "--timeout=60"}, args...)...)
}

// shell runs a script whose ovs-vsctl speaks to this host.
func (h *ovsHost) shell(script string) string {
	h.t.Helper()
	return h.run("sh", "-e", "-c", script)
}

// joinSpec is what lets the host join the test.
func (h *ovsHost) joinSpec() JoinSpec {
	port := uint16(h.listener.Addr().(*net.TCPAddr).Port)
	return JoinSpec{
		Host: "host1", TEP: mustAddr("192.0.2.1"),
		Manager:    Target{Proto: "tcp", Host: "127.0.0.1", Port: port},
		Controller: Target{Proto: "tcp", Host: "192.0.2.250", Port: 6653},
	}
}

// accept waits for the host to connect.
func (h *ovsHost) accept() net.Conn {
	h.t.Helper()
	if err := h.listener.(*net.TCPListener).SetDeadline(time.Now().Add(deadline)); err != nil {
		h.t.Fatal(err)
	}
	nc, err := h.listener.Accept()
	if err != nil {
		h.t.Fatal(err)
	}
	return nc
}

// join has the host connect, and begins a session with it.
func (h *ovsHost) join() *Session {
	h.t.Helper()
	command, err := JoinCommand(h.joinSpec())
	if err != nil {
		h.t.Fatal(err)
	}
	h.vsctl(command[1:]...)
	return h.session()
}

func (h *ovsHost) session() *Session {
	h.t.Helper()
	s, err := Accept(context.Background(), h.accept(), Options{ApplyTimeout: deadline})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(s.Close)
	return s
}

// until waits for a picture that satisfies ok.
func until(t *testing.T, s *Session, what string, ok func(*Facts) bool) *Facts {
	t.Helper()
	timeout := time.NewTimer(deadline)
	defer timeout.Stop()
	for {
		f := s.Facts()
		if ok(f) {
			return f
		}
		select {
		case <-s.Changed():
		case <-s.Done():
			t.Fatalf("waiting for %s: %v", what, s.Err())
		case <-timeout.C:
			t.Fatalf("waited in vain for %s; the facts: %+v", what, f)
		}
	}
}

// ended waits for the end of a session and says why it ended.
func ended(t *testing.T, s *Session) error {
	t.Helper()
	select {
	case <-s.Done():
		return s.Err()
	case <-time.After(deadline):
		t.Fatal("the session goes on")
		return nil
	}
}

// seen waits until the session has seen all that ovs-vsctl has done.
func (h *ovsHost) seen(s *Session) {
	h.t.Helper()
	h.marks++
	mark := strconv.Itoa(h.marks)
	h.vsctl("--no-wait", "set", "Open_vSwitch", ".", "external_ids:system-id="+mark)
	until(h.t, s, "mark "+mark, func(f *Facts) bool { return f.SystemID == mark })
}

// byName finds an interface of the bridge.
func byName(f *Facts, name string) (Interface, bool) {
	for _, i := range f.Interfaces {
		if i.Name == name {
			return i, true
		}
	}
	return Interface{}, false
}
