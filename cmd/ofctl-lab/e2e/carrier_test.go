package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/controller/store"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

// carrierLab is the lab of wire.yaml; on cable1 and patch carrier is propagated.
type carrierLab struct{ *testLab }

// TestCarrier: on a wire that propagates its carrier, an end whose other one has no
// link shows its guest none, and nothing else does.
func TestCarrier(t *testing.T) {
	t.Parallel()
	l := carrierLab{up(t, "wc", topologyFile(t, "wire"))}
	for _, port := range []string{"leaf1-et1", "leaf2-et1", "leaf1-et2", "leaf2-et2", "leaf1-et4", "leaf3-et4"} {
		l.awaitCarrier(t, port, true)
	}
	t.Run("a guest's interface", func(t *testing.T) { shutInterface(t, l) })
	t.Run("both ends", func(t *testing.T) { bothEndsShut(t, l) })
	t.Run("unplugged", func(t *testing.T) { unpluggedEnd(t, l) })
	t.Run("the host's end", func(t *testing.T) { hostEndDown(t, l) })
	t.Run("the switch is restarted", func(t *testing.T) { switchRestarted(t, l) })
	t.Run("the controller is restarted", func(t *testing.T) { controllerRestarted(t, l) })
	t.Run("the store is lost", func(t *testing.T) { storeLost(t, l) })
	t.Run("not asked for", func(t *testing.T) { carrierIgnored(t, l) })
	t.Run("no longer asked for", func(t *testing.T) { carrierWithdrawn(t, l) })
	t.Run("the host leaves", func(t *testing.T) { hostLeaves(t, l) })
}

// hasCarrier reports whether a port's guest sees a link on its interface.
func (l carrierLab) hasCarrier(t *testing.T, port string) bool {
	t.Helper()
	a := l.attachment(t, port)
	ns, err := l.m.Namespace(l.name, lab.Target{Host: a.Host, Netns: netns(a)})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	link, err := ns.Link(device(a))
	if err != nil {
		t.Fatal(err)
	}
	return link.Carrier
}

func (l carrierLab) awaitCarrier(t *testing.T, port string, want bool) {
	t.Helper()
	what := port + " has no carrier"
	if want {
		what = port + " has carrier"
	}
	eventually(t, what, func() bool { return l.hasCarrier(t, port) == want })
}

// set brings a port's interface up or takes it down, as its guest does.
func (l carrierLab) set(t *testing.T, port, state string) {
	t.Helper()
	a := l.attachment(t, port)
	l.exec(t, a.Host+"/"+netns(a), "ip", "link", "set", device(a), state)
}

// joined waits until both ends have carrier and are up, and sends a frame each way.
func (l carrierLab) joined(t *testing.T, one, other string) {
	t.Helper()
	for _, port := range []string{one, other} {
		l.awaitCarrier(t, port, true)
		eventually(t, port+" is up", func() bool {
			st := l.portStatus(t, port)
			return st.State == "up" && st.HeldDown == ""
		})
	}
	a, b := l.guest(t, one), l.guest(t, other)
	for _, w := range []way{{a, b}, {b, a}} {
		if _, err := w.carry(t, controlProtocols()[3].frame(w.from.mac, t.Name())); err != nil {
			t.Errorf("from %s to %s: %v", w.from.port, w.to.port, err)
		}
	}
}

// shutInterface: a guest shuts its end, and brings it up again.
func shutInterface(t *testing.T, l carrierLab) {
	for _, ends := range [][2]string{{"leaf1-et1", "leaf2-et1"}, {"leaf2-et1", "leaf1-et1"}, {"leaf1-et4", "leaf3-et4"}, {"leaf3-et4", "leaf1-et4"}} {
		l.set(t, ends[0], "down")
		l.awaitCarrier(t, ends[1], false)
		eventually(t, "describe says so", func() bool {
			return strings.Contains(l.run(t, "describe", "port", ends[1]), "port "+ends[0]+", the other end of wire")
		})
		l.set(t, ends[0], "up")
		l.joined(t, ends[0], ends[1])
	}
}

// bothEndsShut: with both shut, the one that is brought up first sees no link, and both
// do when both are up.
func bothEndsShut(t *testing.T, l carrierLab) {
	for _, ends := range [][2]string{{"leaf1-et1", "leaf2-et1"}, {"leaf2-et1", "leaf1-et1"}} {
		l.set(t, "leaf1-et1", "down")
		l.awaitCarrier(t, "leaf2-et1", false)
		l.set(t, "leaf2-et1", "down")
		l.set(t, ends[0], "up")
		l.awaitCarrier(t, ends[0], false)
		eventually(t, ends[0]+" is held down", func() bool { return l.portStatus(t, ends[0]).HeldDown != "" })
		l.set(t, ends[1], "up")
		l.joined(t, ends[0], ends[1])
	}
}

// unpluggedEnd: an end that is plugged in nowhere has no link.
func unpluggedEnd(t *testing.T, l carrierLab) {
	l.run(t, "lab", "unplug", "leaf2-et1")
	l.awaitCarrier(t, "leaf1-et1", false)
	l.run(t, "lab", "plug", "leaf2-et1")
	l.joined(t, "leaf1-et1", "leaf2-et1")
}

// hostEndDown: what somebody takes down on a host is an end without link, and stays
// down; the controller takes only back what it has done.
func hostEndDown(t *testing.T, l carrierLab) {
	dev := l.attachment(t, "leaf1-et1").Device()
	l.exec(t, "host1", "ip", "link", "set", dev, "down")
	l.awaitCarrier(t, "leaf2-et1", false)
	l.awaitCarrier(t, "leaf1-et1", false)
	if st := l.portStatus(t, "leaf1-et1"); st.HeldDown != "" {
		t.Errorf("leaf1-et1 is said to be held down: %+v", st)
	}
	l.exec(t, "host1", "ip", "link", "set", dev, "up")
	l.joined(t, "leaf1-et1", "leaf2-et1")
}

// switchRestarted: a device that is held down stays so when ovs-vswitchd is started
// anew, and is let go afterwards.
func switchRestarted(t *testing.T, l carrierLab) {
	l.set(t, "leaf1-et1", "down")
	l.awaitCarrier(t, "leaf2-et1", false)
	l.restartVSwitchd(t, "host2")
	eventually(t, "host2 is up to date with its new switch", func() bool { return upToDate(l.hostState(t, "host2")) })
	l.readdress(t, "host2", "192.168.200.21/24")
	l.awaitCarrier(t, "leaf2-et1", false)
	l.set(t, "leaf1-et1", "up")
	l.joined(t, "leaf1-et1", "leaf2-et1")
}

// controllerRestarted: a controller that is started anew lets go what the one before
// held, though the end came back while there was none.
func controllerRestarted(t *testing.T, l carrierLab) {
	l.set(t, "leaf1-et1", "down")
	l.awaitCarrier(t, "leaf2-et1", false)
	if err := l.m.StopController(t.Context(), l.name, lab.AtOnce); err != nil {
		t.Fatal(err)
	}
	l.set(t, "leaf1-et1", "up")
	l.restartController(t, lab.AtOnce)
	l.joined(t, "leaf1-et1", "leaf2-et1")
}

// storeLost: a controller that has lost its store while an end was held finds out that it
// is held, and why, and lets it go when the other end has its link.
func storeLost(t *testing.T, l carrierLab) {
	for _, meanwhile := range []bool{false, true} {
		l.set(t, "leaf1-et1", "down")
		l.awaitCarrier(t, "leaf2-et1", false)
		if err := l.m.StopController(t.Context(), l.name, lab.AtOnce); err != nil {
			t.Fatal(err)
		}
		stored := filepath.Join(l.m.Dir(l.name), "controller", "store", store.FileName)
		if err := os.Remove(stored); err != nil {
			t.Fatal(err)
		}
		if meanwhile {
			l.set(t, "leaf1-et1", "up")
		}
		if err := l.m.RestartController(t.Context(), l.name, lab.AtOnce); err != nil {
			t.Fatal(err)
		}
		l.run(t, "apply", l.file)
		if !meanwhile {
			eventually(t, "leaf2-et1 is said to be held", func() bool {
				return strings.Contains(l.portStatus(t, "leaf2-et1").HeldDown, "port leaf1-et1, the other end of wire")
			})
			l.set(t, "leaf1-et1", "up")
		}
		l.joined(t, "leaf1-et1", "leaf2-et1")
	}
}

// carrierIgnored: without carrier: propagate, an end does not see what the other does.
// What is asserted last is known from the wire beside it, on the same hosts.
func carrierIgnored(t *testing.T, l carrierLab) {
	l.set(t, "leaf1-et2", "down")
	l.set(t, "leaf1-et1", "down")
	l.awaitCarrier(t, "leaf2-et1", false)
	if !l.hasCarrier(t, "leaf2-et2") {
		t.Error("leaf2-et2 has lost its carrier")
	}
	l.set(t, "leaf1-et1", "up")
	l.set(t, "leaf1-et2", "up")
	l.joined(t, "leaf1-et1", "leaf2-et1")
}

// hostLeaves: a host that leaves has nothing held down any more.
func hostLeaves(t *testing.T, l carrierLab) {
	l.set(t, "leaf1-et1", "down")
	l.awaitCarrier(t, "leaf2-et1", false)
	l.exec(t, "host2", "sh", "-e", "-c", l.run(t, "host", "leave-command"))
	l.awaitCarrier(t, "leaf2-et1", true)
	if ids := l.vsctl(t, "host2", "get", "Open_vSwitch", ".", "external_ids"); strings.Contains(ids, "ofctl-lab") {
		t.Errorf("host2 has left, and has the external_ids %s", ids)
	}
}

// carrierWithdrawn: what is held is let go when the topology does not ask for it any more.
func carrierWithdrawn(t *testing.T, l carrierLab) {
	l.set(t, "leaf1-et1", "down")
	l.awaitCarrier(t, "leaf2-et1", false)
	text, err := os.ReadFile(l.file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.WriteFile(l.file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		l.set(t, "leaf1-et1", "up")
		l.run(t, "apply", l.file)
		l.joined(t, "leaf1-et1", "leaf2-et1")
	}()
	if err := os.WriteFile(l.file, bytes.ReplaceAll(text, []byte(", carrier: propagate"), nil), 0o600); err != nil {
		t.Fatal(err)
	}
	l.run(t, "apply", l.file)
	l.awaitCarrier(t, "leaf2-et1", true)
}
