package e2e

import (
	"syscall"
	"testing"
)

// overtakenTopology is a network with a guest on each of two hosts.
const overtakenTopology = twoHosts + `
tenants:
  - name: red
    networks:
      - {name: web, encap: gre, key: 1000001, subnets: [10.1.1.0/24]}
ports:
  - {name: red-a, network: red/web, host: host1, addresses: [10.1.1.1]}
  - {name: red-b, network: red/web, host: host2, addresses: [10.1.1.2]}
`

// TestOvertaken: a frame that waits for ovs-vswitchd is overtaken by those whose flow the
// kernel's datapath has cached, and is waited for all the same. That is what every other
// test relies on that says that a frame has not arrived.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	l := up(t, "o", overtakenTopology)
	a, b := l.guest(t, "red-a"), l.guest(t, "red-b")
	pid, err := l.daemonPID("host1", "ovs-vswitchd")
	if err != nil {
		t.Fatal(err)
	}
	signal := func(s syscall.Signal) {
		if err := syscall.Kill(pid, s); err != nil {
			t.Errorf("signal %v to ovs-vswitchd of host1: %v", s, err)
		}
	}
	l.refreshCounters(t, "host1")
	a.flush(t, b) // the sentinel's flow is cached from now on

	signal(syscall.SIGSTOP)
	stopped := true
	defer func() {
		if stopped {
			signal(syscall.SIGCONT)
		}
	}()
	marker := t.Name() + ";"
	a.send(t, udp(t, a.station(), b.station(), marker))
	if l.datapathType(t, "host1") == kernelDatapath {
		a.token = []byte("e2e sentinel overtakes;")
		a.send(t, experiment(a.mac, b.mac, 0, a.token))
		before, err := b.until(t, a.token)
		if err != nil {
			t.Fatalf("the sentinel, whose flow is cached, has not arrived: %v", err)
		}
		if got := marked(before, marker); len(got) != 0 {
			t.Fatal("the frame that needs ovs-vswitchd has arrived while that is stopped: this test proves nothing")
		}
	}
	// The frame cannot be on its way before ovs-vswitchd goes on, and settle must not say so.
	looks := 0
	settle(t, l.hosts, func(host string) (upcalls, error) {
		u, err := l.upcalls(host)
		if looks++; stopped && host == "host1" && looks > 20 {
			signal(syscall.SIGCONT)
			stopped = false
		}
		return u, err
	})
	if stopped {
		t.Fatalf("settle has returned after %d looks, while ovs-vswitchd of host1 is stopped", looks)
	}
	if got := marked(a.flush(t, b), marker); len(got) != 1 {
		t.Errorf("%d copies of the frame have arrived, want 1", len(got))
	}
}
