package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// events are the ways in which a guest, libvirt or Open vSwitch goes and comes back.
var events = map[byte]struct {
	what string
	do   func(*testing.T, *hypervisor)
}{
	'P': {"destroy and start of the domain", func(t *testing.T, h *hypervisor) { h.off(t); h.on(t) }},
	'R': {"a reboot inside the guest", func(t *testing.T, h *hypervisor) { h.reboot(t) }},
	'L': {"a restart of libvirtd", func(t *testing.T, h *hypervisor) { h.Stop(t); h.Start(t) }},
	'V': {"a restart of ovs-vswitchd", func(t *testing.T, h *hypervisor) { h.l.restartVSwitchd(t, h.host) }},
}

// vm1 is its address.
var vm1 = netip.MustParseAddr("10.1.1.1")

// inAllOrders is the shortest sequence in which the four events come behind each other,
// without one between them, in each of their 24 orders. Those in which a guest boots, and
// that cost the most, are the rarer ones.
const inAllOrders = "LVPRLVPLRVPLVRPLVLPRVLPVRLPVLRPVL"

// TestInAllOrders: the sequence is what it says.
func TestInAllOrders(t *testing.T) {
	orders := map[string]bool{}
	for i := 0; i+len(events) <= len(inAllOrders); i++ {
		order := inAllOrders[i : i+len(events)]
		all := true
		for e := range events {
			all = all && strings.Count(order, string(e)) == 1
		}
		if all {
			orders[order] = true
		}
	}
	if len(orders) != 24 {
		t.Errorf("of 24 orders the sequence has %d: %v", len(orders), slices.Sorted(maps.Keys(orders)))
	}
}

// TestLibvirtPowerCycle: a guest under libvirt has its traffic back without a command
// after each of the events, in all orders; while it is off its flows are gone from
// every host, and nobody answers for it.
func TestLibvirtPowerCycle(t *testing.T) {
	l := up(t, "v", fmt.Sprintf(libvirtTopology, guestImage(t)))
	h := l.hypervisor(t, "host1")
	h.guest(t, "define", "vm1", "-f", l.file, "--accel", "tcg")
	h.gone(t)
	h.on(t)
	last := "the start"
	begun, took := time.Now(), map[byte]time.Duration{}
	for i := range len(inAllOrders) {
		e := events[inAllOrders[i]]
		done := fmt.Sprintf("%s after %s (step %d)", e.what, last, i+1)
		start := time.Now()
		e.do(t, h)
		l.answers(t, done)
		h.wired(t, done)
		if !l.resolves(t) {
			t.Errorf("after %s nobody answers an ARP request for vm1: what is seen while it is off proves nothing", done)
		}
		took[inAllOrders[i]] += time.Since(start)
		last = e.what
	}
	t.Logf("%d steps took %.0f s", len(inAllOrders), time.Since(begun).Seconds())
	for id, e := range events {
		n := strings.Count(inAllOrders, string(id))
		t.Logf("%s: %d times %.1f s", e.what, n, took[id].Seconds()/float64(n))
	}
	// All of them while it is off, libvirtd without a word.
	h.off(t)
	h.Kill(t)
	l.restartVSwitchd(t, h.host)
	h.Daemon.Start(t)
	h.gone(t)
	h.on(t)
	h.wired(t, "all at once")

	// As people do it.
	h.guest(t, "stop", "vm1")
	h.gone(t)
	h.guest(t, "undefine", "vm1")
	if out := h.guest(t, "status"); strings.Contains(out, "vm1") {
		t.Errorf("vm1 is undefined and among\n%s", out)
	}
}

// wired fails the test unless libvirt and the controller agree that vm1 runs and is
// wired.
func (h *hypervisor) wired(t *testing.T, after string) {
	t.Helper()
	d, err := h.Connect(t).Domain(t.Context(), "vm1")
	if err != nil || d.State != "running" || len(d.Interfaces) != 1 || d.Interfaces[0].Tap != "t-vm1-eth0" {
		t.Errorf("after %s libvirt has of vm1 %+v, %v", after, d, err)
	}
	if s := h.l.portStatus(t, "vm1-eth0"); s.State != api.StateUp || s.Host != h.host {
		t.Errorf("after %s vm1's port is %s on %q: %s", after, s.State, s.Host, s.Message)
	}
	// So that gone can find some.
	if len(h.l.flows(t, h.host, "--port", "vm1-eth0")) == 0 {
		t.Errorf("after %s %s has no flow for vm1's port", after, h.host)
	}
}

// gone waits until no host has a flow for vm1's port.
func (h *hypervisor) gone(t *testing.T) {
	t.Helper()
	eventually(t, "vm1's port is down", func() bool { return h.l.portStatus(t, "vm1-eth0").State == api.StateDown })
	h.l.settled(t)
	for _, host := range h.l.hosts {
		for _, f := range h.l.flows(t, host, "--port", "vm1-eth0") {
			t.Errorf("vm1 is off, and %s has of its port %s", host, f.Raw)
		}
	}
	if h.l.resolves(t) {
		t.Error("vm1 is off, and an ARP request for it is answered")
	}
}

// resolves reports whether an ARP request of red-b's for vm1 is answered.
func (l *testLab) resolves(t *testing.T) bool {
	t.Helper()
	asks, other := l.guest(t, "red-b"), l.guest(t, "red-c")
	defer asks.Close()
	defer other.Close()
	asks.send(t, arp(t, layers.ARPRequest, broadcast, asks.station(), station{addr: vm1}, ""))
	// To where vm1 is, and back.
	asks.flush(t, other)
	return slices.ContainsFunc(other.flush(t, asks), func(f netdev.Frame) bool {
		a := arpOf(f)
		return a != nil && a.Operation == layers.ARPReply && bytes.Equal(a.SourceProtAddress, vm1.AsSlice())
	})
}

func (h *hypervisor) off(t *testing.T) {
	t.Helper()
	h.guest(t, "stop", "vm1", "--wait", "0", "--force")
	h.gone(t)
}

// on starts vm1 and logs how long after its tap the port is up, and there is an answer.
func (h *hypervisor) on(t *testing.T) {
	t.Helper()
	ns, err := h.l.m.Namespace(h.l.name, lab.Target{Host: h.host})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if _, err := ns.Link("t-vm1-eth0"); !errors.Is(err, netdev.ErrNoLink) {
		t.Fatalf("vm1 is off, and of its tap there is: %v", err)
	}
	started := make(chan error, 1)
	go func() {
		started <- h.l.command(t.Context(), "guest", "start", "vm1", "--connect", h.URI()).wait()
	}()
	eventually(t, "vm1 has its tap", func() bool { _, err := ns.Link("t-vm1-eth0"); return err == nil })
	tap := time.Now()
	eventually(t, "vm1's port is up", func() bool { return h.l.portStatus(t, "vm1-eth0").State == api.StateUp })
	bound := time.Since(tap)
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	h.l.answers(t, "the start")
	t.Logf("the tap appeared; %d ms later the port was up, %.1f s later, the guest's boot included, there was an answer",
		bound.Milliseconds(), time.Since(tap).Seconds())
}

// reboot reboots vm1 from its shell, and returns when it has booted.
func (h *hypervisor) reboot(t *testing.T) {
	t.Helper()
	c := h.console(t)
	defer c.close(t)
	// It answers before it has started, and says so only then: the shell is there after that.
	c.enter(t, "\necho the she''ll\n")
	c.await(t, "the shell")
	c.enter(t, "reboot\n")
	c.await(t, "guest: started")
}
