package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestLockWaitsForTheOtherCommand(t *testing.T) {
	m := New(t.TempDir())
	l, err := m.lock(context.Background(), "busy")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = m.lock(ctx, "busy")
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("%v; want it to name this process", err)
	}
	// Whoever waits for long is told what for, and goes on when that has ended.
	me := fmt.Sprintf("process %d %s", os.Getpid(), os.Args[0])
	waits := New(m.root)
	waits.Waits = func(lab, holder string) {
		if lab != "busy" || !strings.HasPrefix(holder, me) {
			t.Errorf("lab %s is worked on by %q; want it to name %q", lab, holder, me)
		}
		l.unlock()
	}
	next, err := waits.lock(t.Context(), "busy")
	if err != nil {
		t.Fatal(err)
	}
	next.unlock()
	if files, _ := os.ReadDir(m.root); len(files) != 0 {
		t.Errorf("left: %v", files)
	}
}

func TestProcessIsNotMistaken(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	p, err := identify(cmd.Process.Pid)
	if err != nil || !p.alive() {
		t.Fatalf("%+v, %v", p, err)
	}
	for name, other := range map[string]process{
		"another start": {p.PID, p.Start + 1, p.Boot},
		"another boot":  {p.PID, p.Start, "x"},
		"no process":    {},
	} {
		if other.alive() {
			t.Errorf("%s: taken for alive", name)
		}
		if err := other.signal(9); err != nil {
			t.Error(err)
		}
	}
	if !p.alive() {
		t.Error("another process was killed")
	}
	if err := stop(testCtx(t), stillAlive(p)); err != nil || p.alive() {
		t.Errorf("not stopped: %v", err)
	}
}

func TestSpecCheck(t *testing.T) {
	if err := twoHosts("ok").Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Spec){
		"lab name":           func(s *Spec) { s.Name = "a.b" },
		"empty lab name":     func(s *Spec) { s.Name = "" },
		"path as lab name":   func(s *Spec) { s.Name = "../x" },
		"no subnet":          func(s *Spec) { s.Underlay.Subnets = nil },
		"small MTU":          func(s *Spec) { s.Underlay.MTU = 100 },
		"no host":            func(s *Spec) { s.Hosts, s.Attachments = nil, nil },
		"reserved host":      func(s *Spec) { s.Hosts[0].Name = "net" },
		"host twice":         func(s *Spec) { s.Hosts[1].Name = "host1" },
		"TEP twice":          func(s *Spec) { s.Hosts[1].TEP = s.Hosts[0].TEP },
		"TEP outside":        func(s *Spec) { s.Hosts[1].TEP = netip.MustParseAddr("10.0.0.1") },
		"datapath":           func(s *Spec) { s.Hosts[1].Datapath = "dpdk" },
		"port twice":         func(s *Spec) { s.Attachments[1].Port = "red-a" },
		"unknown host":       func(s *Spec) { s.Attachments[1].Host = "host9" },
		"interface twice":    func(s *Spec) { s.Attachments[2].Netns = "red-a" },
		"netns name":         func(s *Spec) { s.Attachments[2].Netns = "../../etc" },
		"interface name":     func(s *Spec) { s.Attachments[2].Interface = "a/b" },
		"VLAN ID":            func(s *Spec) { s.Attachments[2].VLANs = []VLAN{{ID: 4095}} },
		"VLAN twice":         func(s *Spec) { s.Attachments[2].VLANs = []VLAN{{ID: 1}, {ID: 1}} },
		"VLAN MTU":           func(s *Spec) { s.Attachments[2].VLANs = []VLAN{{ID: 1, MTU: 9000}} },
		"sub-interface name": func(s *Spec) { s.Attachments[2].Interface = "twelve-bytes"; s.Attachments[2].VLANs = []VLAN{{ID: 100}} },
		"multicast MAC":      func(s *Spec) { s.Attachments[2].MAC = MAC{1, 0, 0, 0, 0, 0} },
		"control characters": func(s *Spec) { s.Attachments[2].Port = "a\nb" },
	} {
		s := twoHosts("ok")
		change(&s)
		if s.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestManagementSubnetAvoidsAll(t *testing.T) {
	s := twoHosts("m")
	got, err := s.managementSubnet()
	if err != nil || got != managementSubnets[0] {
		t.Errorf("%v, %v", got, err)
	}
	s.Underlay.Subnets = []netip.Prefix{netip.MustParsePrefix("100.64.9.0/24")}
	s.Attachments[0].VLANs = []VLAN{{ID: 1, Addresses: []netip.Prefix{netip.MustParsePrefix("100.100.1.1/24")}}}
	got, err = s.managementSubnet()
	if err != nil || got != managementSubnets[2] {
		t.Errorf("%v, %v", got, err)
	}
	hosts := []Host{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	have := map[string]netip.Addr{"b": netip.MustParseAddr("100.64.0.2"), "gone": netip.MustParseAddr("100.64.0.3")}
	addrs, err := managementAddresses(managementSubnets[0], hosts, have)
	if err != nil || addrs["b"] != have["b"] || addrs["a"] != netip.MustParseAddr("100.64.0.3") || addrs["c"] != netip.MustParseAddr("100.64.0.4") {
		t.Errorf("%v, %v", addrs, err)
	}
	if _, err := managementAddresses(netip.MustParsePrefix("100.64.0.0/30"), hosts, nil); err == nil {
		t.Error("three hosts and a controller fit into a /30")
	}
}

func TestDamagedStateIsRefused(t *testing.T) {
	m := New(t.TempDir())
	for name, content := range map[string]string{
		"garbage": "{", "version": `{"version":99,"spec":{"name":"l"}}`, "lab": `{"version":1,"spec":{"name":"other"}}`,
		"foreign namespace": `{"version":1,"spec":{"name":"l"},"namespaces":["other.host1"]}`,
	} {
		if err := os.MkdirAll(m.Dir("l"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(m.statePath("l"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Down(context.Background(), "l"); err == nil || !strings.Contains(err.Error(), m.statePath("l")) {
			t.Errorf("%s: %v; want an error that names the file", name, err)
		}
	}
}
