package ovn

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/bench/bridge"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/bench/traffic"
	"github.com/ofctl-lab/ofctl-lab/datapath/need"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
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
	os.Exit(m.Run())
}

// needOVN skips a test where OVN cannot be run, and fails it in CI.
func needOVN(t *testing.T) {
	t.Helper()
	var lacks error
	if text := Missing(); text != "" {
		lacks = errors.New(text)
	}
	need.Have(t, need.Root(), need.Tun(), need.IPv6(), lacks)
}

var (
	near    = overlay.Port{ID: 1, Network: "red-net", Host: overlay.Host1}
	far     = overlay.Port{ID: 2, Network: "red-net", Host: overlay.Host2}
	foreign = overlay.Port{ID: 3, Network: "blue-net", Host: overlay.Host2}
	both    = overlay.Topology{
		Networks: []overlay.Network{{Name: "red-net"}, {Name: "blue-net"}},
		Ports:    []overlay.Port{near, far, foreign},
	}
)

// wireOf is the wire of a guest, until the test ends.
func wireOf(t *testing.T, o *Overlay, p overlay.Port) *netdev.PacketConn {
	t.Helper()
	guest, err := o.Guest(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { guest.Close() })
	wire, err := overlay.Wire(guest)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { wire.Close() })
	return wire
}

// know tells a guest for good where a station is.
func know(t *testing.T, o *Overlay, guest overlay.Port, s traffic.Station) {
	t.Helper()
	ns, err := o.Guest(guest)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := run(t.Context(), place{ns: ns}, "ip", "neighbour", "replace", s.Addr.String(), "lladdr", s.MAC.String(), "dev", "eth0", "nud", "permanent"); err != nil {
		t.Fatal(err)
	}
}

func station(p overlay.Port) traffic.Station { return traffic.Station{MAC: p.MAC(), Addr: p.Addr()} }

// OVN forwards between the hosts, answers ARP, keeps networks apart and lets nobody send from
// another's address, as this project does: what benchmarks compare is the same work. It
// follows changes of the topology, and Close leaves nothing (.ci/isolated looks).
func TestOverlay(t *testing.T) {
	needOVN(t)
	ctx := t.Context()
	o, err := Start(ctx, near.Guest(GuestMTU), far.Guest(GuestMTU), foreign.Guest(GuestMTU))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		assertNothingLeft(t, o)
	}()
	empty := flowCounts(ctx, t, o)
	if err := o.Apply(ctx, both); err != nil {
		t.Fatal(err)
	}
	if err := o.Up(ctx, both); err != nil {
		t.Fatal(err)
	}

	wire := wireOf(t, o, near)
	t.Run("forwards", func(t *testing.T) {
		got, err := traffic.NewEcho(wire, station(near), station(far)).RoundTrips(ctx, 3, 1)
		if err != nil || len(got) != 3 {
			t.Errorf("%d of 3 echo requests were answered: %v", len(got), err)
		}
	})
	spoofed := station(near)
	spoofed.Addr = netip.MustParseAddr("10.0.9.9")
	know(t, o, far, spoofed) // or it would not answer in any case
	for name, c := range map[string]struct{ from, to traffic.Station }{
		"isolates":    {station(near), station(foreign)},
		"spoof guard": {spoofed, station(far)},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := traffic.NewEcho(wire, c.from, c.to).RoundTrips(ctx, 1, 1); err == nil {
				t.Errorf("%d echo requests were answered", len(got))
			}
		})
	}
	t.Run("control plane", func(t *testing.T) {
		processes, err := o.ControlPlane()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range processes {
			program := p.Name[strings.LastIndexByte(p.Name, '/')+1:]
			exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.PID))
			if ran := map[string]string{"nb": "ovsdb-server", "sb": "ovsdb-server", "northd": "ovn-northd"}[program]; ran != "" {
				program = ran
			}
			if err != nil || !strings.HasSuffix(exe, "/"+program) {
				t.Errorf("%s is process %d, which runs %s: %v", p.Name, p.PID, exe, err)
			}
		}
		if len(processes) != 7 {
			t.Errorf("processes: %+v", processes)
		}
	})
	t.Run("unplugged", func(t *testing.T) {
		if _, err := o.Run(ctx, near.Host, "ovs-vsctl", "--timeout=10", "del-port", near.Guest(0).Device()); err != nil {
			t.Fatal(err)
		}
		if err := o.Down(ctx, near); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("emptied", func(t *testing.T) {
		if err := o.Apply(ctx, overlay.Topology{}); err != nil {
			t.Fatal(err)
		}
		if err := o.Up(ctx, overlay.Topology{}); err != nil {
			t.Fatal(err)
		}
		if got := flowCounts(ctx, t, o); got != empty {
			t.Errorf("the hosts hold %v flows, and held %v before the topology", got, empty)
		}
	})
}

func flowCounts(ctx context.Context, t *testing.T, o *Overlay) (n [2]int) {
	t.Helper()
	for i, host := range o.Hosts() {
		var err error
		if n[i], err = o.FlowCount(ctx, host); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func assertNothingLeft(t *testing.T, o *Overlay) {
	t.Helper()
	names, err := netdev.Namespaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasPrefix(n, fmt.Sprintf("bench%d-", os.Getpid())) {
			t.Errorf("namespace %s is left", n)
		}
	}
	for _, d := range o.daemons {
		select {
		case <-d.ended:
		default:
			t.Errorf("%s still runs", d.name)
		}
	}
}
