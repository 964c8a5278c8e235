package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

// deadSwitch is a topology with a guest on the other host and one on the same.
const deadSwitch = twoHosts + `
tenants:
  - name: red
    networks:
      - {name: web, encap: vxlan, key: 1000001, subnets: [10.1.1.0/24]}
ports:
  - {name: red-a, network: red/web, host: host1, netns: red-a, addresses: [10.1.1.1]}
  - {name: red-b, network: red/web, host: host2, netns: red-b, addresses: [10.1.1.2]}
  - {name: red-c, network: red/web, host: host1, netns: red-c, addresses: [10.1.1.3]}
`

// TestDeadSwitch: with the kernel's datapath, established traffic goes on while the
// host's ovs-vswitchd is dead, on the host and through tunnels. What is new waits: there
// is nobody to ask.
func TestDeadSwitch(t *testing.T) {
	t.Parallel()
	l := up(t, "ds", deadSwitch)
	if l.datapathType(t, "host1") != kernelDatapath {
		t.Skip("SKIPPED: the datapath is the userspace one, which dies with ovs-vswitchd: TestDeadSwitchInUserspace")
	}
	far, near := l.established(t, "red-a", "red-b"), l.established(t, "red-a", "red-c")
	command := l.killDaemon(t, "host1", "ovs-vswitchd")
	for range 200 {
		far.mustEcho(t)
		near.mustEcho(t)
	}
	// Nothing in the cache matches an EtherType that has not been seen yet: the frame is
	// for ovs-vswitchd, and lost.
	a, b := l.guest(t, "red-a"), l.guest(t, "red-b")
	a.send(t, experiment(a.mac, b.mac, 0, []byte("new while dead;")))
	far.mustEcho(t)
	l.exec(t, "host1", command...)
	eventually(t, "host1 is up to date with its new switch", func() bool { return upToDate(l.hostState(t, "host1")) })
	eventually(t, "new traffic passes again", func() bool {
		return l.ping(t, "red-b", "10.1.1.1") == nil && l.ping(t, "red-c", "10.1.1.1") == nil
	})
	far.mustEcho(t)
	near.mustEcho(t)
	if got := marked(a.flush(t, b), "new while dead;"); len(got) > 0 {
		t.Error("a frame for which the datapath had no flow arrived while ovs-vswitchd was dead: the test says nothing of dead switches")
	}
}

// TestDeadSwitchInUserspace: the userspace datapath is a part of ovs-vswitchd. With it
// all traffic of the host ends at once, on the host too, until it is started again.
func TestDeadSwitchInUserspace(t *testing.T) {
	t.Parallel()
	l := up(t, "du", deadSwitch, "OFCTL_LAB_BRIDGE_DATAPATH_TYPE=netdev")
	far, near := l.established(t, "red-a", "red-b"), l.established(t, "red-a", "red-c")
	command := l.killDaemon(t, "host1", "ovs-vswitchd")
	for _, c := range []*conversation{far, near} {
		if c.echo(t, 200*time.Millisecond) {
			t.Errorf("%s still answers", c.to)
		}
	}
	l.exec(t, "host1", command...)
	far.mustEcho(t)
	near.mustEcho(t)
}

// conversation is a UDP exchange between two guests that know each other's MAC for good.
type conversation struct {
	to   string // the other one's port
	conn net.Conn
	sent int
}

// established lets one port's guest talk with another's, both ways, until the datapath
// has the flows.
func (l *testLab) established(t *testing.T, from, to string) *conversation {
	t.Helper()
	a, b := l.attachment(t, from), l.attachment(t, to)
	for _, pair := range [][2]lab.Attachment{{a, b}, {b, a}} {
		l.exec(t, pair[0].Host+"/"+netns(pair[0]), "ip", "neighbour", "replace", pair[1].Addresses[0].Addr().String(),
			"lladdr", pair[1].MAC.String(), "nud", "permanent", "dev", device(pair[0]))
	}
	var server net.PacketConn
	l.inGuest(t, b, func() (err error) {
		server, err = net.ListenPacket("udp", net.JoinHostPort(b.Addresses[0].Addr().String(), "0"))
		return err
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 1500)
		for {
			n, peer, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(buf[:n], peer) // one that is lost is missed by the other end
		}
	}()
	t.Cleanup(func() { server.Close(); <-ended })
	c := &conversation{to: to}
	l.inGuest(t, a, func() (err error) {
		c.conn, err = net.Dial("udp", server.LocalAddr().String())
		return err
	})
	t.Cleanup(func() { c.conn.Close() })
	for range 10 {
		c.mustEcho(t)
	}
	return c
}

// inGuest runs f in the namespace of a port's guest.
func (l *testLab) inGuest(t *testing.T, a lab.Attachment, f func() error) {
	t.Helper()
	ns, err := l.m.Namespace(l.name, lab.Target{Host: a.Host, Netns: netns(a)})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := ns.Do(f); err != nil {
		t.Fatal(err)
	}
}

// echo sends a datagram, and says whether it comes back within that time.
func (c *conversation) echo(t *testing.T, within time.Duration) bool {
	t.Helper()
	c.sent++
	want := fmt.Appendf(nil, "datagram %d", c.sent)
	if _, err := c.conn.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1500)
	for {
		n, err := c.conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(buf[:n], want) { // others are late
			return true
		}
	}
}

// mustEcho waits until a datagram comes back. One that is lost is sent again, since a
// busy machine loses some; traffic that has stopped brings none back ever.
func (c *conversation) mustEcho(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !c.echo(t, resendAfter) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer any more, after %d datagrams", c.to, c.sent)
		}
	}
}
