package peers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
)

// The test binary stands in for a peer.
const modeEnv = "OFCTL_LAB_TEST_PEER"

func TestMain(m *testing.M) {
	switch os.Getenv(modeEnv) {
	case "":
		os.Exit(m.Run())
	case "listen", "listen, with a child":
		if os.Getenv(modeEnv) != "listen" {
			// A child that outlives its parent unless somebody ends the group.
			if err := exec.Command("sleep", "600").Start(); err != nil {
				panic(err)
			}
		}
		l, err := net.Listen("tcp", ":6653")
		if err != nil {
			panic(err)
		}
		for {
			nc, err := l.Accept()
			if err != nil {
				panic(err)
			}
			fmt.Fprintln(nc, "hello")
			nc.Close()
		}
	case "fail":
		fmt.Fprintln(os.Stderr, "no such luck")
		os.Exit(3)
	case "silent":
		fmt.Fprintln(os.Stderr, "thinking")
		told := make(chan os.Signal, 1)
		signal.Notify(told, syscall.SIGTERM)
		<-told
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	need.Have(t, need.Root())
}

func spec(mode string) Spec {
	return Spec{Name: "a peer", Program: os.Args[0], Env: []string{modeEnv + "=" + mode}, Port: 6653}
}

func TestStartAndClose(t *testing.T) {
	needRoot(t)
	var running []*Process
	for range 2 { // side by side, on the same port
		p, err := Start(t.Context(), spec("listen, with a child"))
		if err != nil {
			t.Fatal(err)
		}
		running = append(running, p)
		nc, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 5)
		if _, err := nc.Read(b); err != nil || string(b) != "hello" {
			t.Errorf("read %q: %v", b, err)
		}
		nc.Close()
		if cpu, err := p.CPU(); err != nil || cpu <= 0 {
			t.Errorf("CPU %v: %v", cpu, err)
		}
		if pss, err := p.PSS(); err != nil || pss < 100<<10 {
			t.Errorf("PSS %d: %v", pss, err)
		}
	}
	for _, p := range running {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
		if _, err := netlink.LinkByName(p.link.near); err == nil {
			t.Errorf("device %s is left", p.link.near)
		}
		if _, err := p.CPU(); err == nil {
			t.Error("a process that has ended has a CPU time")
		}
	}
}

func TestStartFails(t *testing.T) {
	needRoot(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for _, c := range []struct {
		ctx  context.Context
		mode string
		want []string
	}{
		{t.Context(), "fail", []string{"a peer", "no such luck"}},
		{ctx, "silent", []string{"a peer", "deadline"}},
	} {
		p, err := Start(c.ctx, spec(c.mode))
		if err == nil {
			p.Close()
			t.Errorf("%s: started", c.mode)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: no %q in: %v", c.mode, want, err)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	needRoot(t)
	p, err := Start(t.Context(), spec("listen"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Explain(nil); err != nil {
		t.Error(err)
	}
	if err := p.Explain(os.ErrClosed); !strings.Contains(err.Error(), "still runs") {
		t.Errorf("error: %v", err)
	}
	p.Close()
	if err := p.Explain(os.ErrClosed); !strings.Contains(err.Error(), "has ended: signal: terminated") {
		t.Errorf("error: %v", err)
	}
}

func TestMissing(t *testing.T) {
	s := Spec{Name: "x", Program: "no-such-program", Package: "nothing"}
	if got := s.Missing(); !strings.Contains(got, "Debian package nothing") {
		t.Errorf("missing: %q", got)
	}
	if _, err := Start(t.Context(), s); err == nil || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("error: %v", err)
	}
	if got := (Spec{Program: os.Args[0]}).Missing(); got != "" {
		t.Errorf("missing: %q", got)
	}
}

func TestAddressesAreInTheSubnet(t *testing.T) {
	for _, n := range []int{1, 2, 127, 128, 32767, 32768, 65535, 65536, 1 << 20} {
		here, there := addresses(n)
		if !subnet.Contains(here) || !subnet.Contains(there) || here.Next() != there || here.As4()[3]%2 != 0 {
			t.Errorf("device %d: %v and %v", n, here, there)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var s tail
	for range 3 {
		fmt.Fprint(&s, strings.Repeat("x", keepStderr-1))
	}
	fmt.Fprint(&s, "end\n")
	if got := s.String(); len(got) > keepStderr+20 || !strings.HasSuffix(got, "xend") {
		t.Errorf("%d bytes, ending in %q", len(got), got[len(got)-10:])
	}
}
