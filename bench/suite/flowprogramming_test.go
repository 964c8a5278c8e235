package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ofctl-lab/ofctl-lab/bench/bridge"
	"github.com/ofctl-lab/ofctl-lab/bench/build"
	"github.com/ofctl-lab/ofctl-lab/bench/peers"
	"github.com/ofctl-lab/ofctl-lab/bench/workload"
	"github.com/ofctl-lab/ofctl-lab/datapath/need"
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
	need.Have(t, need.Root(), need.OpenVSwitch(), need.Tun())
}

var varying = regexp.MustCompile(`cookie=0x[0-9a-f]+, |n_packets=\d+, |n_bytes=\d+, |duration=[0-9.]+s, `)

// Every peer leaves the same flows in the bridge, or the same tenth, and those that are compared
// leave the same number; otherwise their times could not be compared.
func TestPeersProgramTheSameFlows(t *testing.T) {
	needSwitch(t)
	ctx := t.Context()
	p := &programming{flows: 5000, fewer: 500}
	if err := p.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	defer p.close()

	want, sizes := map[int][]string{}, map[string]int{}
	for _, peer := range p.programmers(ctx) {
		t.Run(peer.Name, func(t *testing.T) {
			if peer.do == nil {
				need.Have(t, errors.New(peer.Missing))
			}
			n, got := program(ctx, t, peer.do)
			if len(got) != n {
				t.Fatalf("%d flows in the bridge, want %d", len(got), n)
			}
			sizes[peer.Name] = n
			if want[n] == nil {
				want[n] = got
			}
			if diff := cmp.Diff(want[n], got); diff != "" {
				t.Errorf("not the flows of the first peer (-first +this):\n%.2000s", diff)
			}
		})
	}
	if len(want) != 2 || len(want[int(p.flows)]) == 0 || len(want[int(p.fewer)]) == 0 {
		t.Errorf("numbers of flows %v, want %d and %d", sizes, p.flows, p.fewer)
	}
	for _, c := range FlowProgramming().Comparisons {
		of, against := sizes[c.Peer], sizes[c.Against]
		if of != against && of > 0 && against > 0 {
			t.Errorf("%s with %d flows is compared with %s with %d", c.Peer, of, c.Against, against)
		}
	}
}

// program runs one programmer on a fresh bridge and returns how many flows it says it has put
// there, and those that are, sorted, without what may differ.
func program(ctx context.Context, t *testing.T, do programmer) (int, []string) {
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
	e, err := do(ctx, b)
	if err != nil || e.elapsed <= 0 || e.cpu <= 0 {
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
	return int(e.flows), lines
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
	needSwitch(t)
	_, err := runPeer(t.Context(), &bridge.Bridge{}, peers.Spec{
		Name: "a shell", Program: "sh", Args: []string{"-c", "echo out of order >&2; exit 3"}, Port: 6653,
	})
	if err == nil || !strings.Contains(err.Error(), "out of order") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error: %v", err)
	}
}

// ovs-ofctl has connecting and the handshake on its clock, so the others have too.
func TestClockRunsFromDialling(t *testing.T) {
	needSwitch(t)
	l, err := net.Listen("tcp", bridge.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const slowly = 50 * time.Millisecond
	switchEnds := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			switchEnds <- err
			return
		}
		defer conn.Close()
		<-time.After(slowly) // what is measured, and a lower bound only
		_, err1 := conn.Write(appendHeader(nil, ofpHello, 8, 0))
		_, err2 := io.CopyN(io.Discard, conn, 16) // hello and the barrier
		_, err3 := conn.Write(appendHeader(nil, ofpBarrierReply, 8, lastXID))
		switchEnds <- errors.Join(err1, err2, err3)
	}()
	e, err := (&programming{}).sendRaw(rawFlows(0))(t.Context(), nil)
	if err := errors.Join(err, <-switchEnds); err != nil {
		t.Fatal(err)
	}
	if e.elapsed < slowly {
		t.Errorf("%v, though the switch took %v to say hello", e.elapsed, slowly)
	}
}

// Without ovs-ofctl its peers are missing, and the others are measured and counted all the same.
func TestWithoutOfctl(t *testing.T) {
	needSwitch(t)
	bin := t.TempDir()
	for _, name := range []string{"ovsdb-tool", "ovsdb-server", "ovs-vsctl", "ovs-vswitchd"} {
		file, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(file, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	p := &programming{flows: 3}
	for _, peer := range p.ofctls(t.Context()) {
		if peer.do != nil || !strings.Contains(peer.Missing, "apt-get install") {
			t.Errorf("%s is missing: %q", peer.Name, peer.Missing)
		}
	}
	if _, err := sample(p.sendRaw(rawFlows(3)))(t.Context()); err != nil {
		t.Error(err)
	}
}

// In another source tree the peers that are in this one are missing.
func TestOutsideTheSourceTree(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.org/other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	p := &programming{dir: dir}
	for _, peer := range []programmingPeer{p.ofnet(t.Context()), p.osken(t.Context())} {
		if peer.do != nil || peer.Missing == "" {
			t.Errorf("%s is missing: %q", peer.Name, peer.Missing)
		}
	}
}
