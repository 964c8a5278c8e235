package e2e

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

// diagnosis is a finding of doctor.
type diagnosis struct{ Check, Result, Finding, Fix string }

// doctor runs doctor on a host, and returns what it found at a check that is not ok, or
// else the last one that is.
func (l *testLab) doctor(t *testing.T, host, check string) diagnosis {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	c := l.command(ctx, "lab", "exec", host, "--", os.Getenv(binaryEnv), "doctor", "-o", "json")
	err := c.wait()
	var all []diagnosis
	if jerr := json.Unmarshal(c.stdout.Bytes(), &all); jerr != nil {
		t.Fatalf("%v; %v: %s", err, jerr, &c.stdout)
	}
	var found diagnosis
	failed := false
	for _, d := range all {
		failed = failed || d.Result == "fail"
		if d.Check == check && (found.Result == "" || found.Result == "ok") {
			found = d
		}
	}
	if failed != (err != nil) {
		t.Errorf("doctor on %s ends with %v; it finds %+v", host, err, all)
	}
	return found
}

// repair runs the commands of a fix on a host, as one script.
func (l *testLab) repair(t *testing.T, host, fix string) {
	t.Helper()
	var script []string
	for line := range strings.Lines(fix) {
		command, _, _ := strings.Cut(line, "   (")
		if strings.HasPrefix(command, "ip ") || strings.HasPrefix(command, "ovs-vsctl ") {
			script = append(script, command)
		}
	}
	l.exec(t, host, "sh", "-e", "-c", strings.Join(script, "\n"))
}

// TestDoctorUnderlay: the tunnel endpoint in a place that does not suit the datapath is
// found, and the commands that doctor shows put it right.
func TestDoctorUnderlay(t *testing.T) {
	t.Parallel()
	t.Run("userspace", func(t *testing.T) {
		t.Parallel()
		l := up(t, "dou", deadSwitch, "OFCTL_LAB_BRIDGE_DATAPATH_TYPE=netdev")
		if d := l.doctor(t, "host1", "underlay"); d.Result != "ok" {
			t.Errorf("as the lab has made it: %+v", d)
		}
		l.vsctl(t, "host1", "del-br", lab.UnderlayBridge)
		l.exec(t, "host1", "ip", "address", "add", "192.168.200.20/24", "dev", "uplink")
		l.exec(t, "host1", "ip", "link", "set", "uplink", "arp", "on")
		if l.ping(t, "red-a", "10.1.1.2") == nil {
			t.Error("the userspace datapath reaches the other host from a plain interface: doctor's reason is wrong")
		}
		d := l.doctor(t, "host1", "underlay")
		if d.Result != "fail" || !strings.Contains(d.Finding, "on uplink") {
			t.Fatalf("on a plain interface: %+v", d)
		}
		l.repair(t, "host1", d.Fix)
		if d := l.doctor(t, "host1", "underlay"); d.Result != "ok" {
			t.Errorf("repaired: %+v", d)
		}
		eventually(t, "red-a reaches red-b again", func() bool { return l.ping(t, "red-a", "10.1.1.2") == nil })
		// The address left on the uplink when that became a port.
		l.exec(t, "host1", "ip", "address", "del", "192.168.200.20/24", "dev", lab.UnderlayBridge)
		l.exec(t, "host1", "ip", "address", "add", "192.168.200.20/24", "dev", "uplink")
		d = l.doctor(t, "host1", "underlay")
		if d.Result != "fail" || !strings.Contains(d.Finding, "is a port of bridge "+lab.UnderlayBridge) {
			t.Fatalf("on a port of the bridge: %+v", d)
		}
		l.repair(t, "host1", d.Fix)
		eventually(t, "red-a reaches red-b once more", func() bool { return l.ping(t, "red-a", "10.1.1.2") == nil })
	})
	t.Run("kernel", func(t *testing.T) {
		t.Parallel()
		l := up(t, "dok", deadSwitch)
		if l.datapathType(t, "host1") != kernelDatapath {
			t.Skip("SKIPPED: this kernel has no datapath of Open vSwitch")
		}
		if d := l.doctor(t, "host1", "underlay"); d.Result != "ok" {
			t.Errorf("as the lab has made it: %+v", d)
		}
		l.exec(t, "host1", "ip", "address", "del", "192.168.200.20/24", "dev", "uplink")
		l.vsctl(t, "host1", "add-br", lab.UnderlayBridge, "--", "add-port", lab.UnderlayBridge, "uplink")
		l.exec(t, "host1", "ip", "address", "add", "192.168.200.20/24", "dev", lab.UnderlayBridge)
		l.exec(t, "host1", "ip", "link", "set", lab.UnderlayBridge, "up")
		d := l.doctor(t, "host1", "underlay")
		if d.Result != "warn" || !strings.Contains(d.Finding, "ovs-vswitchd is down") {
			t.Fatalf("on a bridge: %+v", d)
		}
		l.repair(t, "host1", d.Fix)
		if d := l.doctor(t, "host1", "underlay"); d.Result != "ok" {
			t.Errorf("repaired: %+v", d)
		}
		eventually(t, "red-a reaches red-b again", func() bool { return l.ping(t, "red-a", "10.1.1.2") == nil })
	})
}

// TestDoctorPorts: a program's socket on the UDP port of a tunnel is found, with the
// program; those of Open vSwitch's own tunnels are not taken for one.
func TestDoctorPorts(t *testing.T) {
	t.Parallel()
	l := up(t, "dop", deadSwitch)
	if d := l.doctor(t, "host1", "udp ports"); d.Result != "ok" {
		t.Errorf("with a VXLAN tunnel of Open vSwitch: %+v", d)
	}
	ns, err := l.m.Namespace(l.name, lab.Target{Host: "host1"})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	var conn net.PacketConn
	if err := ns.Do(func() (err error) {
		conn, err = net.ListenPacket("udp", ":6081")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	self, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	if d := l.doctor(t, "host1", "udp ports"); d.Result != "fail" || !strings.Contains(d.Finding, strings.TrimSpace(string(self))) || !strings.Contains(d.Finding, "6081") {
		t.Errorf("with a socket of this test: %+v", d)
	}
}
