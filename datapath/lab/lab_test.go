package lab

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

func TestUpDown(t *testing.T) {
	needLab(t)
	before := machine(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "a"))
	second := member("red-c", "host1", "10.1.2.1/24")
	second.Netns, second.Interface = "red-a", "eth1" // two ports, one namespace
	s.Attachments = append(s.Attachments, second)
	for range 2 {
		start := time.Now()
		if err := m.Up(testCtx(t), s, UpOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Logf("up: %v", time.Since(start))
		st, err := m.Status(testCtx(t), s.Name)
		if err != nil || !st.Ready() {
			t.Fatalf("not ready: %+v, %v", st, err)
		}
		for _, h := range st.Hosts {
			warm := []string{"ip", "neighbour", "show", "dev", uplinkDevice}
			if h.Datapath == datapathNetdev {
				warm = []string{"ovs-appctl", "tnl/neigh/show"}
			}
			if out := output(t, m, s.Name, h.Name, warm...); strings.Count(out, "192.168.200.2") != 1 {
				t.Errorf("%s: neighbours are not warm:\n%s", h.Name, out)
			}
			version := strings.Trim(strings.TrimSpace(output(t, m, s.Name, h.Name, "ovs-vsctl", "get", "Open_vSwitch", ".", "ovs_version")), `"`)
			if out := output(t, m, s.Name, h.Name, "ovs-vswitchd", "--version"); version == "" || !strings.Contains(out, " "+version+"\n") {
				t.Errorf("%s: version %q in OVSDB, of\n%s", h.Name, version, out)
			}
		}
		start = time.Now()
		if err := m.Up(testCtx(t), s, UpOptions{}); err != nil {
			t.Fatal("again:", err)
		}
		t.Logf("up again: %v", time.Since(start))
		again, err := m.Status(testCtx(t), s.Name)
		if d := cmp.Diff(st, again, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" || err != nil {
			t.Error("up again changed something:", d, err)
		}
		if mid := machine(t); mid != before {
			t.Errorf("the machine's namespace changed:\n%s", cmp.Diff(before, mid))
		}
		start = time.Now()
		down(t, m, s.Name)
		t.Logf("down: %v", time.Since(start))
	}
	if existed, err := m.Down(testCtx(t), s.Name); existed || err != nil {
		t.Errorf("down of no lab: %v, %v", existed, err)
	}
	noTrace(t, m, s.Name)
}

// An Up that is interrupted at any step leaves nothing.
func TestInterruptedUpLeavesNothing(t *testing.T) {
	needLab(t)
	before := machine(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "i"))
	for _, at := range []string{"namespaces", "host host2: links", "host host1: join", "underlay"} {
		ctx, cancel := context.WithCancel(testCtx(t))
		err := m.Up(ctx, s, UpOptions{Progress: func(step string) {
			if strings.HasPrefix(step, at) {
				cancel()
			}
		}})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at %q: %v", at, err)
		}
		noTrace(t, m, s.Name)
	}
	if after := machine(t); after != before {
		t.Errorf("the machine's namespace changed:\n%s", cmp.Diff(before, after))
	}
}

// A lab half there, for whatever reason, becomes whole by Up, and goes by Down.
func TestUpResumes(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "r"))
	ctx, cancel := context.WithCancel(testCtx(t))
	defer cancel()
	t.Cleanup(func() { down(t, m, s.Name) })
	err := m.Up(ctx, s, UpOptions{OnFailure: Keep, Progress: func(step string) {
		if strings.HasPrefix(step, "host host1: join") {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	st, err := m.Status(testCtx(t), s.Name)
	if err != nil || st.Phase != PhaseStarting {
		t.Fatalf("kept: %+v, %v", st, err)
	}
	if err := m.Unplug(testCtx(t), s.Name, "red-a"); err == nil {
		t.Error("a lab that is not up was changed")
	}
	ready := func() {
		t.Helper()
		if err := m.Up(testCtx(t), s, UpOptions{}); err != nil {
			t.Fatal(err)
		}
		if st, err := m.Status(testCtx(t), s.Name); err != nil || !st.Ready() {
			t.Fatalf("not ready: %+v, %v", st, err)
		}
	}
	ready()

	// A daemon dies, a link and a namespace are deleted.
	l, err := m.load(s.Name)
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Processes["host1/ovs-vswitchd"]
	if err := stop(testCtx(t), func() ([]process, error) { return stillAlive(dead)() }); err != nil {
		t.Fatal(err)
	}
	ns, err := m.Namespace(s.Name, Target{Host: "net"})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if _, err := ns.DeleteLink(managementPeer("host2")); err != nil {
		t.Fatal(err)
	}
	if err := netdev.DeleteNamespace(s.Attachments[2].Namespace(s.Name)); err != nil {
		t.Fatal(err)
	}
	if st, err := m.Status(testCtx(t), s.Name); err != nil || st.Ready() {
		t.Fatalf("status does not show the damage: %+v, %v", st, err)
	}
	ready()

	// Another spec: a host and a port more, a port fewer, one moved.
	s.Hosts = append(s.Hosts, Host{Name: "host3", TEP: netip.MustParseAddr("192.168.200.22")})
	s.Attachments = append(s.Attachments[1:], member("green", "host3", "10.2.0.1/24"))
	s.Attachments[1].Host = "host2" // blue-a
	ready()
	if _, err := m.Namespace(s.Name, Target{"host1", "red-a"}); err == nil {
		t.Error("the port that was taken out is still there")
	}
	if out := output(t, m, s.Name, "host1", "ovs-vsctl", "list-ports", IntegrationBridge); strings.TrimSpace(out) != "" {
		t.Errorf("host1 still has ports: %s", out)
	}
	s.Hosts = s.Hosts[:2]
	s.Attachments = s.Attachments[:3]
	ready()
	if _, err := m.Namespace(s.Name, Target{Host: "host3"}); err == nil {
		t.Error("the host that was taken out is still there")
	}

	// Half gone before Down.
	if err := netdev.DeleteNamespace(hostNamespace(s.Name, "host1")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(m.hostDir(s.Name, "host2")); err != nil {
		t.Fatal(err)
	}
}

// What an Up that was killed had written is not there before ovs-vswitchd has
// done it: the next Up waits for the device instead of stumbling over its absence.
func TestUpWaitsForWhatIsWritten(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "w"))
	up(t, m, s, UpOptions{})
	s.Hosts[0].Datapath = datapathNetdev // the kernel's has no br-phy
	if err := m.Up(testCtx(t), s, UpOptions{}); err != nil {
		t.Fatal(err)
	}
	output(t, m, s.Name, "host1", "ovs-vsctl", "del-br", UnderlayBridge)
	l, err := m.load(s.Name)
	if err != nil {
		t.Fatal(err)
	}
	vswitchd := l.Processes["host1/ovs-vswitchd"].PID
	if err := syscall.Kill(vswitchd, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(vswitchd, syscall.SIGCONT) // or Down would wait for it
	for _, what := range []string{"writes", "finds all written"} {
		ctx, cancel := context.WithTimeout(testCtx(t), time.Second)
		err := m.Up(ctx, s, UpOptions{OnFailure: Keep})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an Up that %s did not wait: %v", what, err)
		}
	}
	if err := syscall.Kill(vswitchd, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := m.Up(testCtx(t), s, UpOptions{}); err != nil {
		t.Error(err)
	}
}

func TestTwoLabsSideBySide(t *testing.T) {
	needLab(t)
	root := t.TempDir()
	a, b := New(root), New(root)
	sa, sb := twoHosts(testLab(t, "x")), twoHosts(testLab(t, "y"))
	errs := make(chan error, 2)
	go func() { errs <- a.Up(testCtx(t), sa, UpOptions{}) }()
	go func() { errs <- b.Up(testCtx(t), sb, UpOptions{}) }()
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	labs, err := a.List()
	if err != nil || len(labs) != 2 || labs[0].Name != sa.Name || labs[1].Phase != PhaseUp {
		t.Errorf("list: %+v, %v", labs, err)
	}
	if _, err := a.Down(testCtx(t), sa.Name); err != nil {
		t.Error(err)
	}
	if st, err := b.Status(testCtx(t), sb.Name); err != nil || !st.Ready() {
		t.Errorf("the other lab suffered: %+v, %v", st, err)
	}
	if _, err := b.Down(testCtx(t), sb.Name); err != nil {
		t.Error(err)
	}
	noTrace(t, a, sa.Name)
	noTrace(t, b, sb.Name)
}

func TestExec(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "e"))
	s.Hosts, s.Attachments = s.Hosts[:1], s.Attachments[:1]
	up(t, m, s, UpOptions{})
	ctx := testCtx(t)
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -9 $$": 137} {
		code, err := m.Exec(ctx, s.Name, Target{"host1", "red-a"}, Cmd{Argv: []string{"sh", "-c", script}})
		if code != want || err != nil {
			t.Errorf("%s: code %d, %v; want %d", script, code, err, want)
		}
	}
	if _, err := m.Exec(ctx, s.Name, Target{Host: "host1"}, Cmd{Argv: []string{"no-such-program"}}); !errors.Is(err, ErrNotStarted) {
		t.Errorf("no such program: %v", err)
	}
	if _, err := m.Exec(ctx, s.Name, Target{Host: "host7"}, Cmd{Argv: []string{"true"}}); err == nil || !strings.Contains(err.Error(), "host1/red-a") {
		t.Errorf("no such host: %v; want the places there are", err)
	}
	want := "br-int\nbr-phy\n"
	if detectDatapath() == datapathSystem {
		want = "br-int\n"
	}
	if out := output(t, m, s.Name, "host1", "ovs-vsctl", "list-br"); out != want {
		t.Errorf("bridges %q; want %q", out, want)
	}
	if _, err := m.Output(ctx, s.Name, Target{Host: "net"}, "ovs-vsctl", "--timeout=1", "show"); err == nil {
		t.Error("the lab's own namespace reaches a switch")
	}
	// What a user leaves running does not keep the lab from going.
	output(t, m, s.Name, "host1/red-a", "sh", "-c", "trap '' TERM; sleep 600 </dev/null >/dev/null 2>&1 &")
}
