package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("LAB_TEST_ROLE"); role != "" {
		os.Exit(play(role))
	}
	goleak.VerifyTestMain(m)
}

// needLab skips, loudly, where there can be no lab.
func needLab(t *testing.T) {
	t.Helper()
	err := Prerequisites()
	if _, perr := exec.LookPath("ping"); err == nil && perr != nil {
		err = fmt.Errorf("%w: install it with `apt-get install iputils-ping`", perr)
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("SKIPPED:", err)
	}
}

func testCtx(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// testLab is the name of a lab no other test process has.
func testLab(t *testing.T, suffix string) string {
	return fmt.Sprintf("t%d%s", os.Getpid(), suffix)
}

func twoHosts(name string) Spec {
	return Spec{
		Name:     name,
		Underlay: Underlay{Subnets: []netip.Prefix{netip.MustParsePrefix("192.168.200.0/24")}, MTU: 1500},
		Hosts: []Host{
			{Name: "host1", TEP: netip.MustParseAddr("192.168.200.20")},
			{Name: "host2", TEP: netip.MustParseAddr("192.168.200.21")},
		},
		Attachments: []Attachment{
			guest("red-a", "host1", "10.1.1.1/24"), guest("red-b", "host2", "10.1.1.2/24"),
			guest("blue-a", "host1", "10.1.1.1/24"), guest("blue-b", "host2", "10.1.1.2/24"),
		},
	}
}

func guest(port, host, addr string) Attachment {
	p := netip.MustParsePrefix(addr)
	last := p.Addr().AsSlice()
	return Attachment{
		Port: port, Host: host, MTU: 1458, Addresses: []netip.Prefix{p},
		MAC: MAC{2, 0, 0, 0, byte(port[0]), last[len(last)-1]},
	}
}

// up brings a lab up, and down again at the end of the test.
func up(t *testing.T, m *Manager, s Spec, o UpOptions) {
	t.Helper()
	t.Cleanup(func() { down(t, m, s.Name) })
	if err := m.Up(testCtx(t), s, o); err != nil {
		t.Fatal(err)
	}
}

func down(t *testing.T, m *Manager, name string) {
	t.Helper()
	if _, err := m.Down(context.Background(), name); err != nil {
		t.Fatal(err)
	}
	noTrace(t, m, name)
}

// noTrace fails if anything of the lab is left.
func noTrace(t *testing.T, m *Manager, name string) {
	t.Helper()
	names, err := netdev.Namespaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasPrefix(n, name+".") {
			t.Errorf("namespace %s is left", n)
		}
	}
	files, _ := filepath.Glob(filepath.Join(m.root, name+"*"))
	if len(files) > 0 {
		t.Errorf("files are left: %v", files)
	}
	if ps := commandLines(m.root); len(ps) > 0 {
		t.Errorf("processes are left: %q", ps)
	}
}

// commandLines are the processes that have a word in their command line.
func commandLines(word string) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		b, _ := os.ReadFile(f)
		line := strings.ReplaceAll(string(b), "\x00", " ")
		if strings.Contains(line, word) && filepath.Dir(f) != fmt.Sprintf("/proc/%d", os.Getpid()) {
			found = append(found, line)
		}
	}
	return found
}

// machine is all of the machine's own namespace that a lab must not change.
func machine(t *testing.T) string {
	t.Helper()
	ns, err := netdev.CurrentNamespace()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	links, err := ns.Links()
	if err != nil {
		t.Fatal(err)
	}
	routes, err := ns.Routes()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%+v\n%s", links, strings.Join(routes, "\n"))
}

func output(t *testing.T, m *Manager, lab, target string, argv ...string) string {
	t.Helper()
	to, err := ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.Output(testCtx(t), lab, to, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// tunnels connects the hosts of a lab without a controller: NORMAL switching
// and one GRE tunnel with a key.
func tunnels(t *testing.T, m *Manager, s Spec, key int) {
	t.Helper()
	for i, h := range s.Hosts {
		peer := s.Hosts[1-i]
		output(t, m, s.Name, h.Name, "ovs-vsctl", "add-port", IntegrationBridge, "gre0", "--", "set", "interface", "gre0",
			"type=gre", "options:remote_ip="+peer.TEP.String(), fmt.Sprintf("options:key=%d", key))
		output(t, m, s.Name, h.Name, "ovs-ofctl", "add-flow", IntegrationBridge, "actions=NORMAL")
	}
}

func TestUpDown(t *testing.T) {
	needLab(t)
	before := machine(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "a"))
	second := guest("red-c", "host1", "10.1.2.1/24")
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
			if out := output(t, m, s.Name, h.Name, "ovs-appctl", "tnl/neigh/show"); strings.Count(out, UnderlayBridge) != 1 {
				t.Errorf("%s: neighbours are not warm:\n%s", h.Name, out)
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

func TestGuestsReachEachOther(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "g"))
	s.Attachments = s.Attachments[:2]
	up(t, m, s, UpOptions{})
	const key = 1000001
	tunnels(t, m, s, key)

	wire, err := m.CaptureUnderlay(s.Name, "host1")
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	output(t, m, s.Name, "host1/red-a", "ping", "-c2", "-i0.2", "-W2", "10.1.1.2")
	ctx := testCtx(t)
	directions := map[netdev.Direction]bool{}
	for f, err := range wire.Frames(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		ip := f.Data[14:]
		if f.Data[12] != 8 || f.Data[13] != 0 || ip[9] != 47 {
			continue
		}
		// GRE with key (RFC 2890): flags 0x2000, protocol, key.
		if got := int(ip[24])<<24 | int(ip[25])<<16 | int(ip[26])<<8 | int(ip[27]); got != key {
			t.Errorf("key %d on the wire, want %d", got, key)
		}
		directions[f.Direction] = true
		if len(directions) == 2 {
			break
		}
	}
	if len(directions) != 2 {
		t.Errorf("captured directions %v, want both", directions)
	}

	// TCP shows what ping hides: wrong checksums, and too large an MTU.
	transfer(t, m, s.Name, Target{"host1", "red-a"}, Target{"host2", "red-b"}, "10.1.1.2:7")

	if err := m.SetLink(ctx, s.Name, "host2", netdev.Down); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Output(ctx, s.Name, Target{"host1", "red-a"}, "ping", "-c1", "-W1", "10.1.1.2"); err == nil {
		t.Error("a host that is cut off answers")
	}
	if st, err := m.Status(ctx, s.Name); err != nil || st.Ready() {
		t.Errorf("status does not show the cut: %+v, %v", st, err)
	}
	if err := m.SetLink(ctx, s.Name, "host2", netdev.Up); err != nil {
		t.Fatal(err)
	}
	output(t, m, s.Name, "host1/red-a", "ping", "-c1", "-w5", "10.1.1.2")
}

// The uplink's own ARP would answer for the TEP as well, with another MAC, and
// faster than br-phy.
func TestTEPHasOneMAC(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "m"))
	s.Attachments = nil
	up(t, m, s, UpOptions{})
	ns, err := m.Namespace(s.Name, Target{Host: infrastructure})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	conn, err := ns.OpenPacket(underlayDevice)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tep := s.Hosts[0].TEP.As4()
	me := []byte{2, 0, 0, 0, 0, 0x99}
	request := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, me...)
	request = append(request, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
	request = append(append(request, me...), 192, 168, 200, 99)
	request = append(append(request, 0, 0, 0, 0, 0, 0), tep[:]...)
	if err := conn.Send(request); err != nil {
		t.Fatal(err)
	}
	want := underlayMAC(s.Name, "host1")
	for f, err := range conn.Frames(testCtx(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(f.Data, me) || f.Data[12] != 8 || f.Data[13] != 6 {
			continue
		}
		if got := net.HardwareAddr(f.Data[22:28]); got.String() != want.String() {
			t.Errorf("%s answers for %s; want only %s", got, s.Hosts[0].TEP, want)
			continue
		}
		return
	}
	t.Error("nobody answers for the TEP")
}

// transfer sends a megabyte by TCP from one guest to another.
func transfer(t *testing.T, m *Manager, lab string, from, to Target, addr string) {
	t.Helper()
	const size = 1 << 20
	var (
		listener net.Listener
		client   net.Conn
	)
	in(t, m, lab, to, func() (err error) {
		listener, err = net.Listen("tcp", addr)
		return err
	})
	defer listener.Close()
	received := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			received <- err
			return
		}
		defer conn.Close()
		err = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if n, cerr := io.Copy(io.Discard, conn); n != size {
			err = fmt.Errorf("%d bytes arrived, want %d: %w", n, size, errors.Join(err, cerr))
		}
		received <- err
	}()
	in(t, m, lab, from, func() (err error) {
		client, err = net.DialTimeout("tcp", addr, 5*time.Second)
		return err
	})
	defer client.Close()
	if err := client.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if err := <-received; err != nil {
		t.Error(err)
	}
}

func in(t *testing.T, m *Manager, lab string, at Target, f func() error) {
	t.Helper()
	ns, err := m.Namespace(lab, at)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := ns.Do(f); err != nil {
		t.Fatal(err)
	}
}

func TestPlugUnplugMove(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "p"))
	s.Attachments = s.Attachments[:2]
	up(t, m, s, UpOptions{})
	tunnels(t, m, s, 7)
	ctx := testCtx(t)
	status := func(port string) AttachmentStatus {
		t.Helper()
		st, err := m.Status(ctx, s.Name)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(st.Attachments, func(a AttachmentStatus) bool { return a.Port == port })
		return st.Attachments[i]
	}
	a := s.Attachments[0]
	if err := m.Unplug(ctx, s.Name, "red-a"); err != nil {
		t.Fatal(err)
	}
	if got := status("red-a"); got.Plugged {
		t.Errorf("unplugged, but %+v", got)
	}
	if err := m.Plug(ctx, s.Name, a, PlugOptions{OFPort: 42}); err != nil {
		t.Fatal(err)
	}
	if got := status("red-a"); !got.Plugged || got.OFPort != 42 {
		t.Errorf("plugged as 42, but %+v", got)
	}
	output(t, m, s.Name, "host1/red-a", "ping", "-c1", "-w5", "10.1.1.2")
	if err := m.Move(ctx, s.Name, "red-a", "host2", PlugOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := status("red-a"); !got.Plugged || got.Host != "host2" {
		t.Errorf("moved, but %+v", got)
	}
	output(t, m, s.Name, "host2/red-a", "ping", "-c1", "-w5", "10.1.1.2")
	if _, err := netdev.OpenNamespace(a.Namespace(s.Name)); err == nil {
		t.Error("the namespace on the old host is left")
	}
	for _, err := range []error{
		m.Unplug(ctx, s.Name, "nothing"),
		m.Move(ctx, s.Name, "nothing", "host1", PlugOptions{}),
		m.Move(ctx, s.Name, "red-a", "host9", PlugOptions{}),
		m.Plug(ctx, s.Name, a, PlugOptions{OFPort: 70000}),
		m.Unplug(ctx, testLab(t, "other"), "red-a"),
	} {
		if err == nil {
			t.Error("accepted")
		}
	}
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
	s.Attachments = append(s.Attachments[1:], guest("green", "host3", "10.2.0.1/24"))
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

func TestTrunkGuestAndIPv6Underlay(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	s := Spec{
		Name:     testLab(t, "v"),
		Underlay: Underlay{Subnets: []netip.Prefix{netip.MustParsePrefix("fd00:200::/64")}, MTU: 1600},
		Hosts: []Host{
			{Name: "host1", TEP: netip.MustParseAddr("fd00:200::20")},
			{Name: "host2", TEP: netip.MustParseAddr("fd00:200::21")},
		},
	}
	for i, host := range []string{"host1", "host2"} {
		addr := func(format string) []netip.Prefix {
			return []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf(format, i+1))}
		}
		s.Attachments = append(s.Attachments, Attachment{
			Port: "sw" + host, Host: host, Netns: "sw", Interface: "et1", MTU: 1450, MAC: MAC{2, 0, 0, 0, 9, byte(i)},
			Addresses: addr("10.9.0.%d/24"),
			VLANs:     []VLAN{{ID: 10, Addresses: addr("10.10.0.%d/24")}, {ID: 20, MTU: 1400, Addresses: addr("fd00:20::%d/64")}},
		})
	}
	up(t, m, s, UpOptions{})
	tunnels(t, m, s, 5)
	for _, to := range []string{"10.9.0.2", "10.10.0.2", "fd00:20::2"} {
		output(t, m, s.Name, "host1/sw", "ping", "-c1", "-w5", to)
	}
	wire, err := m.CaptureGuest(s.Name, "swhost2", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	output(t, m, s.Name, "host1/sw", "ping", "-c1", "-w5", "10.10.0.2")
	for f, err := range wire.Frames(testCtx(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if f.Data[12] == 0x81 && f.Data[13] == 0 && f.Data[14]&0xf == 0 && f.Data[15] == 10 {
			break // VLAN 10 on the wire
		}
	}
	if err := m.Up(testCtx(t), s, UpOptions{}); err != nil {
		t.Error("again:", err)
	}
	// A power-cycle, and a trunk with one VLAN less.
	if err := m.Unplug(testCtx(t), s.Name, "swhost1"); err != nil {
		t.Fatal(err)
	}
	if err := m.Plug(testCtx(t), s.Name, s.Attachments[0], PlugOptions{}); err != nil {
		t.Fatal(err)
	}
	output(t, m, s.Name, "host1/sw", "ping", "-c1", "-w5", "fd00:20::2")
	s.Attachments[0].VLANs = s.Attachments[0].VLANs[:1]
	if err := m.Up(testCtx(t), s, UpOptions{}); err != nil {
		t.Fatal(err)
	}
	output(t, m, s.Name, "host1/sw", "ping", "-c1", "-w5", "10.10.0.2")
	if _, err := m.Output(testCtx(t), s.Name, Target{"host1", "sw"}, "ip", "link", "show", "et1.20"); err == nil {
		t.Error("the sub-interface that was taken out is still there")
	}
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
	if out := output(t, m, s.Name, "host1", "ovs-vsctl", "list-br"); out != "br-int\nbr-phy\n" {
		t.Errorf("bridges %q", out)
	}
	if _, err := m.Output(ctx, s.Name, Target{Host: "net"}, "ovs-vsctl", "--timeout=1", "show"); err == nil {
		t.Error("the lab's own namespace reaches a switch")
	}
	// What a user leaves running does not keep the lab from going.
	output(t, m, s.Name, "host1/red-a", "sh", "-c", "trap '' TERM; sleep 600 </dev/null >/dev/null 2>&1 &")
}
