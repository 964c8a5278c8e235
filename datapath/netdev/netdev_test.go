package netdev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	"golang.org/x/sys/unix"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newNS(t *testing.T, suffix string) *Namespace {
	t.Helper()
	need.Have(t, need.Root())
	name := fmt.Sprintf("nd%d-%s", os.Getpid(), suffix)
	ns, err := CreateNamespace(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ns.Close()
		if err := DeleteNamespace(name); err != nil {
			t.Error(err)
		}
	})
	return ns
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func shortCtx(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestNames(t *testing.T) {
	for _, bad := range []string{"", "../x", "a/b", ".", "-x", "a b", "a\x00", "sixteen-bytes-xx", "é"} {
		if CheckInterfaceName(bad) == nil {
			t.Errorf("interface name %q accepted", bad)
		}
	}
	for _, bad := range []string{"", "../x", "a/b", "..", "-x", strings.Repeat("a", 256)} {
		if CheckNamespaceName(bad) == nil {
			t.Errorf("namespace name %q accepted", bad)
		}
	}
	if err := CheckInterfaceName("eth1.10"); err != nil {
		t.Error(err)
	}
}

func TestDeviceName(t *testing.T) {
	seen := map[string]string{}
	for _, key := range []string{
		"", "a", "red-a", "thirteen-long", "fourteen-chars", "fourteen-charx", "a/b", "a b",
		"..", "é", strings.Repeat("x", 1000), strings.Repeat("x", 1001), "_abc-xxxxxxxx",
	} {
		n := DeviceName('p', key)
		if err := CheckInterfaceName(n); err != nil {
			t.Errorf("DeviceName(%q) = %q: %v", key, n, err)
		}
		if n != DeviceName('p', key) {
			t.Errorf("DeviceName(%q) is not stable", key)
		}
		if other, dup := seen[n]; dup {
			t.Errorf("%q and %q are both %q", key, other, n)
		}
		seen[n] = key
	}
	if got := DeviceName('p', "red-a"); got != "p-red-a" {
		t.Errorf("a short name became unreadable: %s", got)
	}
}

func TestNamespaceLifeCycle(t *testing.T) {
	ns := newNS(t, "life")
	if _, err := CreateNamespace(ns.Name()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second creation: %v, want fs.ErrExist", err)
	}
	again, created, err := EnsureNamespace(ns.Name())
	if err != nil || created {
		t.Fatalf("ensure of an existing one: created %v, %v", created, err)
	}
	defer again.Close()
	if a, b := must[uint64](t)(ns.ID()), must[uint64](t)(again.ID()); a != b {
		t.Errorf("two handles, two namespaces: %d, %d", a, b)
	}
	if !must[Link](t)(ns.Link("lo")).Up {
		t.Error("lo is down")
	}
	if err := DeleteNamespace(ns.Name()); err != nil {
		t.Fatal(err)
	}
	if err := DeleteNamespace(ns.Name()); err != nil {
		t.Errorf("second deletion: %v", err)
	}
	if _, err := OpenNamespace(ns.Name()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open after deletion: %v", err)
	}
}

func TestEnsureNamespaceReplacesALeftover(t *testing.T) {
	need.Have(t, need.Root())
	name := fmt.Sprintf("nd%d-stale", os.Getpid())
	if err := os.MkdirAll(namespaceDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(namespaceDir, name), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	ns, created, err := EnsureNamespace(name)
	if err != nil || !created {
		t.Fatalf("created %v, %v", created, err)
	}
	ns.Close()
	if err := DeleteNamespace(name); err != nil {
		t.Fatal(err)
	}
}

// The calling goroutine's own thread, and the main thread by which others judge
// the process, never move.
func TestDoLeavesOtherThreadsAlone(t *testing.T) {
	ns := newNS(t, "do")
	home := readLink(t, "/proc/self/ns/net")
	var inside string
	if err := ns.Do(func() error {
		if unix.Gettid() == unix.Getpid() {
			t.Error("runs on the main thread")
		}
		inside = readLink(t, fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if id := must[uint64](t)(ns.ID()); inside != fmt.Sprintf("net:[%d]", id) {
		t.Errorf("ran in %s, want inode %d", inside, id)
	}
	tasks := must[[]os.DirEntry](t)(os.ReadDir("/proc/self/task"))
	for _, task := range tasks {
		got, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net")
		if err == nil && got != home {
			t.Errorf("thread %s stayed in %s", task.Name(), got)
		}
	}
}

func readLink(t *testing.T, path string) string {
	t.Helper()
	return must[string](t)(os.Readlink(path))
}

func TestStartRunsInTheNamespace(t *testing.T) {
	ns := newNS(t, "exec")
	var out strings.Builder
	cmd := exec.Command("readlink", "/proc/self/ns/net")
	cmd.Stdout = &out
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("net:[%d]\n", must[uint64](t)(ns.ID())); out.String() != want {
		t.Errorf("ran in %q, want %q", out.String(), want)
	}
}

func TestConfigureIsIdempotent(t *testing.T) {
	need.Have(t, need.IPv6())
	a, b := newNS(t, "ca"), newNS(t, "cb")
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	ends := func() (bool, error) {
		return EnsureVeth(VethEnd{Namespace: a, Name: "veth0", MTU: 1400}, VethEnd{Namespace: b, Name: "eth0", MTU: 1400})
	}
	if !must[bool](t)(ends()) {
		t.Fatal("not created")
	}
	if must[bool](t)(ends()) {
		t.Error("created twice")
	}
	if !must[bool](t)(a.EnsureBridge("br")) || must[bool](t)(a.EnsureBridge("br")) {
		t.Error("bridge: want created once")
	}
	if _, err := a.Configure("veth0", LinkConfig{Master: "br", ARP: Down, IPv6: IPv6Off, Offloads: OffloadsOff, State: Up}); err != nil {
		t.Fatal(err)
	}
	guest := GuestConfig(mac, 1300, []netip.Prefix{netip.MustParsePrefix("10.1.1.1/24"), netip.MustParsePrefix("fd00::1/64")}, OffloadsOff)
	changed, err := b.Configure("eth0", guest)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"mac 02:00:00:00:00:01", "mtu 1300", "offloads off", "eth0: up", "10.1.1.1/24", "fd00::1/64"} {
		if !strings.Contains(strings.Join(changed, "\n"), want) {
			t.Errorf("changes do not tell %q:\n%q", want, changed)
		}
	}
	changed, err = b.Configure("eth0", guest)
	if err != nil || len(changed) != 0 {
		t.Errorf("second time: %q, %v; want nothing", changed, err)
	}
	l := must[Link](t)(b.Link("eth0"))
	if l.MTU != 1300 || l.MAC.String() != mac.String() || !l.Up || !slices.Contains(l.Addresses, netip.MustParsePrefix("10.1.1.1/24")) {
		t.Errorf("not as configured: %+v", l)
	}
	guest.Addresses = []netip.Prefix{netip.MustParsePrefix("10.1.1.2/24")}
	if _, err := b.Configure("eth0", guest); err != nil {
		t.Fatal(err)
	}
	if l := must[Link](t)(b.Link("eth0")); slices.Contains(l.Addresses, netip.MustParsePrefix("10.1.1.1/24")) {
		t.Errorf("old address stayed: %v", l.Addresses)
	}
	if _, err := b.EnsureVLAN("eth0", "eth0.0", 4095); err == nil {
		t.Error("VLAN ID 4095 accepted")
	}
	if _, err := b.Configure("nothing", guest); !errors.Is(err, ErrNoLink) {
		t.Errorf("missing interface: %v", err)
	}
	if _, err := EnsureVeth(VethEnd{Namespace: a, Name: "br"}, VethEnd{Namespace: b, Name: "x"}); err == nil {
		t.Error("a bridge was taken for the end of a veth pair")
	}
}

func TestTapIsCreatedInItsNamespace(t *testing.T) {
	need.Have(t, need.Tun())
	ns := newNS(t, "tap")
	if !must[bool](t)(ns.EnsureTap("tap0")) || must[bool](t)(ns.EnsureTap("tap0")) {
		t.Error("want created once")
	}
	if l := must[Link](t)(ns.Link("tap0")); l.Kind != "tuntap" {
		t.Errorf("kind %s", l.Kind)
	}
	if _, err := net.InterfaceByName("tap0"); err == nil {
		t.Error("the tap is in the process's own namespace")
	}
}

func TestSysctlStaysInside(t *testing.T) {
	ns := newNS(t, "sysctl")
	before := must[[]byte](t)(os.ReadFile("/proc/sys/net/ipv4/conf/lo/arp_ignore"))
	if changed := must[bool](t)(ns.SetSysctl("ipv4/conf/lo/arp_ignore", "7")); !changed {
		t.Error("not changed")
	}
	if changed := must[bool](t)(ns.SetSysctl("ipv4/conf/lo/arp_ignore", "7")); changed {
		t.Error("changed twice")
	}
	after := must[[]byte](t)(os.ReadFile("/proc/sys/net/ipv4/conf/lo/arp_ignore"))
	if string(before) != string(after) {
		t.Errorf("changed outside: %q → %q", before, after)
	}
	if _, err := ns.SetSysctl("../kernel/hostname", "x"); err == nil {
		t.Error("left /proc/sys/net")
	}
}

func wire(t *testing.T) (a, b *PacketConn) {
	t.Helper()
	left, right := newNS(t, "left"), newNS(t, "right")
	if _, err := EnsureVeth(VethEnd{Namespace: left, Name: "l"}, VethEnd{Namespace: right, Name: "r"}); err != nil {
		t.Fatal(err)
	}
	for ns, dev := range map[*Namespace]string{left: "l", right: "r"} {
		if _, err := ns.Configure(dev, LinkConfig{IPv6: IPv6Off, ARP: Down, Offloads: OffloadsOff, State: Up}); err != nil {
			t.Fatal(err)
		}
	}
	a, b = must[*PacketConn](t)(left.OpenPacket("l")), must[*PacketConn](t)(right.OpenPacket("r"))
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestFramesKeepTheirTag(t *testing.T) {
	a, b := wire(t)
	ctx := shortCtx(t)
	// A socket is not given the frames it sent itself.
	beside := must[*PacketConn](t)(a.ns.OpenPacket(a.dev))
	defer beside.Close()
	for name, frame := range map[string][]byte{
		"untagged":   append([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}, make([]byte, 46)...),
		"tagged":     append([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0x00, 0xa0, 0x0a, 0x88, 0xb5}, make([]byte, 46)...),
		"double tag": append([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xa8, 0x00, 0x05, 0x81, 0x00, 0x00, 0x0a, 0x88, 0xb5}, make([]byte, 46)...),
	} {
		if err := a.Send(frame); err != nil {
			t.Fatal(err)
		}
		got := must[Frame](t)(b.Next(ctx))
		if d := cmp.Diff(frame, got.Data); d != "" || got.Direction != Received {
			t.Errorf("%s: direction %d, %s", name, got.Direction, d)
		}
		own := must[Frame](t)(beside.Next(ctx))
		if own.Direction != Sent || !cmp.Equal(own.Data, frame) {
			t.Errorf("%s: beside the sender was captured %+v", name, own)
		}
	}
	if st := must[PacketStats](t)(b.Stats()); st.Captured != 3 || st.Dropped != 0 {
		t.Errorf("statistics %+v, want 3 captured", st)
	}
	for _, n := range []int{0, 13, maxFrame + 1} {
		if err := a.Send(make([]byte, n)); err == nil {
			t.Errorf("a frame of %d bytes was sent", n)
		}
	}
}

func TestCaptureEndsWithItsContext(t *testing.T) {
	_, b := wire(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := b.Next(ctx)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	// The next read has its own context: the old one's deadline is gone.
	ctx2, cancel2 := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel2()
	if _, err := b.Next(ctx2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want context.DeadlineExceeded", err)
	}
	go func() {
		_, err := b.Next(context.Background())
		done <- err
	}()
	b.Close()
	if err := <-done; err == nil {
		t.Error("Close did not end the read with an error")
	}
}

func TestWritePcap(t *testing.T) {
	a, b := wire(t)
	frame := append([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}, make([]byte, 46)...)
	if err := a.Send(frame); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := writerFunc(func(p []byte) (int, error) {
		if cmp.Equal(p, frame) {
			cancel()
		}
		return len(p), nil
	})
	if err := b.WritePcap(ctx, w); err != nil {
		t.Fatal(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestVLANSubInterface(t *testing.T) {
	ns := newNS(t, "vlan")
	if !must[bool](t)(ns.EnsureBridge("eth0")) {
		t.Fatal("not created")
	}
	created, err := ns.EnsureVLAN("eth0", "eth0.10", 10)
	if errors.Is(err, ErrNoVLAN) { // datapath/lab has another way then, tested there
		need.Have(t, need.OfMachine(err))
	}
	if err != nil || !created {
		t.Fatalf("created %v, %v", created, err)
	}
	if must[bool](t)(ns.EnsureVLAN("eth0", "eth0.10", 10)) {
		t.Error("created twice")
	}
	if !must[bool](t)(ns.EnsureVLAN("eth0", "eth0.10", 11)) {
		t.Error("one with another VLAN ID was not replaced")
	}
}
