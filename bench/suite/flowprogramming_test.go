package suite

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ofctl-lab/ofctl-lab/bench/bridge"
	"github.com/ofctl-lab/ofctl-lab/bench/build"
	"github.com/ofctl-lab/ofctl-lab/bench/workload"
)

// TestMain runs the tests in a network namespace of their own where it can.
func TestMain(m *testing.M) {
	if os.Geteuid() == 0 {
		inside, code, err := bridge.Isolate()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if !inside {
			os.Exit(code)
		}
	}
	os.Exit(run(m))
}

// run builds the controller once for all tests, and runs them.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ofctl-lab-suite-")
	if err == nil {
		defer os.RemoveAll(dir)
		var program string
		if program, err = build.Controller(context.Background(), dir); err == nil {
			err = os.Setenv(build.ControllerEnv, program)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// needSwitch skips a test where no Open vSwitch can be run, and fails it in CI.
func needSwitch(t *testing.T) {
	t.Helper()
	lacks := ""
	if os.Geteuid() != 0 {
		lacks = "root (run the tests with sudo)"
	} else if _, err := exec.LookPath("ovs-vswitchd"); err != nil {
		lacks = "Open vSwitch (make deps installs it)"
	}
	switch {
	case lacks == "":
	case os.Getenv("CI") == "true":
		t.Fatalf("NOT TESTED on a real switch, for want of %s; CI=true makes that a failure", lacks)
	default:
		t.Skipf("NOT TESTED on a real switch, for want of %s", lacks)
	}
}

var varying = regexp.MustCompile(`cookie=0x[0-9a-f]+, |n_packets=\d+, |n_bytes=\d+, |duration=[0-9.]+s, `)

// Every peer leaves the same flows in the bridge; otherwise their times could
// not be compared.
func TestPeersProgramTheSameFlows(t *testing.T) {
	needSwitch(t)
	ctx := t.Context()
	p := &programming{flows: 5000, fewer: 5000}
	if err := p.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	defer p.close()

	var want []string
	for _, peer := range p.programmers(ctx) {
		t.Run(peer.Name, func(t *testing.T) {
			if peer.do == nil {
				if os.Getenv("CI") == "true" {
					t.Fatalf("missing: %s", peer.Missing)
				}
				t.Skipf("NOT TESTED, missing: %s", peer.Missing)
			}
			got := program(ctx, t, peer.do)
			if len(got) != int(p.flows) {
				t.Fatalf("%d flows in the bridge, want %d", len(got), p.flows)
			}
			if want == nil {
				want = got
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("not the flows of the first peer (-first +this):\n%.2000s", diff)
			}
		})
	}
}

// program runs one programmer on a fresh bridge and returns its flows, sorted, without what
// may differ.
func program(ctx context.Context, t *testing.T, do programmer) []string {
	t.Helper()
	b, err := bridge.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	if e, err := do(ctx, b); err != nil || e.elapsed <= 0 || e.cpu <= 0 {
		t.Fatalf("took %+v: %v", e, err)
	}
	out, err := b.Ofctl(ctx, "dump-flows", bridge.Name, fmt.Sprintf("table=%d", workload.FlowTable))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for l := range strings.Lines(string(out)) {
		if strings.Contains(l, "actions=") {
			lines = append(lines, varying.ReplaceAllString(strings.TrimSpace(l), ""))
		}
	}
	slices.Sort(lines)
	return lines
}

// A switch that refuses a flow must not look fast.
func TestRawBytesReportAnError(t *testing.T) {
	needSwitch(t)
	broken := rawFlows(3)
	broken[2*workload.FlowModLen+24] = 0xff // table 255 in the third
	b, err := bridge.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	_, err = (&programming{}).sendRaw(broken)(t.Context(), b)
	if err == nil || !strings.Contains(err.Error(), "message 3 with error") {
		t.Errorf("error: %v", err)
	}
}

// A programmer that loses flows fails its sample.
func TestSampleCountsTheFlows(t *testing.T) {
	needSwitch(t)
	p := &programming{flows: 4}
	_, err := sample(p.sendRaw(rawFlows(3)))(t.Context())
	if err == nil || !strings.Contains(err.Error(), "3 flows instead of 4") {
		t.Errorf("error: %v", err)
	}
}

// A peer that ends before the bridge could connect is an error with its own words,
// at once.
func TestPeerThatEndsIsNotWaitedFor(t *testing.T) {
	_, err := runPeer(t.Context(), &bridge.Bridge{}, func(netip.AddrPort) *exec.Cmd {
		return exec.Command("sh", "-c", "echo out of order >&2; exit 3")
	})
	if err == nil || !strings.Contains(err.Error(), "out of order") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error: %v", err)
	}
}

func TestWaitListeningDoesNotConnect(t *testing.T) {
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := waitListening(gone, addr); err == nil {
		t.Error("nobody listens, and it was not noticed")
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := waitListening(t.Context(), addr); err != nil {
		t.Error(err)
	}
	// The first connection to be accepted is this one.
	ours, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if first.RemoteAddr().String() != ours.LocalAddr().String() {
		t.Errorf("%s connected before %s", first.RemoteAddr(), ours.LocalAddr())
	}
}
