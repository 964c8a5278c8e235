package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

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

// inAllOrders has each event behind each other one, once.
const inAllOrders = "PRPLPVRLRVLVP"

// TestLibvirtPowerCycle: a guest under libvirt has its traffic back without a command
// after each of the events, in all orders; while it is off its flows are gone from
// every host.
func TestLibvirtPowerCycle(t *testing.T) {
	l := up(t, "v", fmt.Sprintf(libvirtTopology, guestImage(t)))
	h := l.hypervisor(t, "host1")
	h.guest(t, "define", "vm1", "-f", l.file, "--accel", "tcg")
	h.gone(t)
	h.on(t)
	done := "the start"
	for i := range len(inAllOrders) {
		e := events[inAllOrders[i]]
		before := done
		done = e.what + " after " + before
		e.do(t, h)
		l.answers(t, done)
		h.wired(t, done)
		done = e.what
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
	if h.l.ping(t, "red-b", "10.1.1.1") == nil {
		t.Error("vm1 is off and answers")
	}
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
	c.enter(t, "\nreboot\n")
	c.await(t, "guest: started")
}
