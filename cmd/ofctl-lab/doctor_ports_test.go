package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// inNamespace runs f on a thread in a network namespace without anything.
func inNamespace(t *testing.T, f func(*netdev.Namespace) error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: network namespaces need root")
	}
	ns, err := netdev.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := ns.Do(func() error { return f(ns) }); err != nil {
		t.Fatal(err)
	}
}

// A program's socket is found with its program, whether it is IPv4's or IPv6's, and only
// on its port.
func TestSocketOwners(t *testing.T) {
	inNamespace(t, func(*netdev.Namespace) error {
		for _, at := range []string{"127.0.0.1:4789", "[::1]:4789"} {
			conn, err := net.ListenPacket("udp", at)
			if err != nil && strings.HasPrefix(at, "[") {
				t.Logf("SKIPPED: no IPv6 here: %v", err)
				continue
			} else if err != nil {
				return err
			}
			inodes, err := udpSockets(4789)
			if err != nil {
				return err
			}
			owners, err := socketOwners(inodes)
			if err != nil {
				return err
			}
			if want := fmt.Sprintf("(process %d)", os.Getpid()); len(owners) != 1 || !strings.Contains(owners[0], want) {
				t.Errorf("%s: the owners are %q; want %s", at, owners, want)
			}
			if other, err := udpSockets(6081); len(other) > 0 || err != nil {
				t.Errorf("%s: port 6081 has %v, %v", at, other, err)
			}
			if err := conn.Close(); err != nil {
				return err
			}
			if after, err := udpSockets(4789); len(after) > 0 || err != nil {
				t.Errorf("%s: closed, and there are %v, %v", at, after, err)
			}
		}
		return nil
	})
}

// The kernel's own socket, of a tunnel device, is nobody's, though it has an inode; the
// device is found by its own means.
func TestSocketOfTheKernel(t *testing.T) {
	inNamespace(t, func(ns *netdev.Namespace) error {
		if out, err := exec.Command("ip", "link", "add", "vx", "up", "type", "vxlan", "id", "7", "dstport", "4789").CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: this kernel has no VXLAN devices: %s", out)
		}
		inodes, err := udpSockets(4789)
		if err != nil {
			return err
		}
		if len(inodes) == 0 {
			t.Error("the kernel's socket is not listed: the test proves nothing")
		}
		t.Logf("inodes %v", inodes)
		if owners, err := socketOwners(inodes); len(owners) > 0 || err != nil {
			t.Errorf("the kernel's socket is said to be of %q, %v", owners, err)
		}
		c := checkup{vxlan: 4789, geneve: 6081}
		c.checkUDPPortsOf(ns)
		if len(c.findings) != 1 || c.findings[0].Result != resultFail || !strings.Contains(c.findings[0].Finding, "the interface vx") {
			t.Errorf("doctor says %+v", c.findings)
		}
		// Open vSwitch's own device has this name.
		for _, args := range [][]string{{"down"}, {"name", "vxlan_sys_4789"}, {"up"}} {
			dev := "vx"
			if args[0] == "up" {
				dev = "vxlan_sys_4789"
			}
			if out, err := exec.Command("ip", append([]string{"link", "set", dev}, args...)...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip link set %s %v: %w: %s", dev, args, err, out)
			}
		}
		c = checkup{vxlan: 4789, geneve: 6081}
		c.checkUDPPortsOf(ns)
		if len(c.findings) != 1 || c.findings[0].Result != resultOK {
			t.Errorf("doctor says %+v", c.findings)
		}
		return nil
	})
}
