package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// hostileTopology has a network on host1 and host3, whose traffic must not notice
// what happens to host2 and to the controller.
const hostileTopology = threeHosts + `
tenants:
  - name: red
    networks:
      - {name: web, encap: gre, subnets: [10.1.1.0/24]}
      - {name: gnv, encap: geneve, subnets: [10.3.1.0/24]}
ports:
  - {name: a, network: red/web, host: host1, addresses: [10.1.1.1]}
  - {name: b, network: red/web, host: host3, addresses: [10.1.1.2]}
  - {name: x, network: red/web, host: host2, addresses: [10.1.1.3]}
  - {name: y, network: red/gnv, host: host2, addresses: [10.3.1.3]}
`

// TestHostile: what peers send, and how they die, harms neither the controller
// nor other hosts, and its log says who it was.
func TestHostile(t *testing.T) {
	t.Parallel()
	l := up(t, "h", hostileTopology)
	t.Run("OpenFlow peers", func(t *testing.T) { hostilePeers(t, l, "openflow", lab.OpenFlowPort, openFlowAttacks()) })
	t.Run("OVSDB peers", func(t *testing.T) { hostilePeers(t, l, "ovsdb", lab.OVSDBPort, ovsdbAttacks()) })
	t.Run("datapath id twice", func(t *testing.T) { datapathIDTwice(t, l) })
	t.Run("OVSDB closes", func(t *testing.T) { ovsdbCloses(t, l) })
	t.Run("vswitchd killed", func(t *testing.T) { vswitchdKilled(t, l) })
}

// unharmed runs f while frames go from host1 to host3. None may be lost, the
// hosts' sessions must be the same afterwards, and so must be what is stored,
// also for a controller that is killed and started again.
func unharmed(t *testing.T, l *testLab, hosts []string, f func()) {
	t.Helper()
	sessions := func() string {
		var out []string
		for _, name := range hosts {
			h, err := l.api.Host(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprintf("%s: OpenFlow %v %s, OVSDB %v %s", name,
				h.Status.OpenFlow.Connected, h.Status.OpenFlow.Peer, h.Status.OVSDB.Connected, h.Status.OVSDB.Peer))
		}
		return strings.Join(out, "\n")
	}
	stored := l.stored(t)
	before := sessions()
	a, b := l.guest(t, "a"), l.guest(t, "b")
	traffic := a.stream(t, b.mac, t.Name())
	traffic.more(t, 50)
	f()
	traffic.more(t, 50)
	traffic.arrivedOnce(t, b)
	if after := sessions(); after != before {
		t.Errorf("the sessions were\n%s\nand are\n%s", before, after)
	}
	if after := l.stored(t); after != stored {
		t.Errorf("stored was\n%s\nand is\n%s", stored, after)
	}
	if err := l.m.RestartController(t.Context(), l.name, lab.AtOnce); err != nil {
		t.Fatal(err)
	}
	// Its API listens a moment after the ports that hosts connect to.
	eventually(t, "the controller answers", func() bool { _, err := l.api.Status(t.Context()); return err == nil })
	l.settled(t)
	if after := l.stored(t); after != stored {
		t.Errorf("after a restart of the controller, stored is\n%s\nand was\n%s", after, stored)
	}
	l.allUp(t)
	l.mustPing(t, "a", "10.1.1.2")
}

// stored is what the controller must not forget: the topology, and the keys and
// identities it has given.
func (l *testLab) stored(t *testing.T) string {
	t.Helper()
	top, err := l.api.Topology(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	networks, err := l.api.Networks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ports, err := l.api.Ports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := top.Text
	for _, n := range networks {
		out += fmt.Sprintf("%s: key %d, id %d, %s\n", n.FullName(), n.Key, n.ID, n.UUID)
	}
	for _, p := range ports {
		out += fmt.Sprintf("%s: id %d, %s\n", p.Name, p.ID, p.UUID)
	}
	return out
}

// allUp waits until every port is up.
func (l *testLab) allUp(t *testing.T) {
	t.Helper()
	eventually(t, "all ports are up", func() bool {
		ports, err := l.api.Ports(t.Context())
		return err == nil && !slices.ContainsFunc(ports, func(p api.Port) bool { return p.Status.State != api.StateUp })
	})
}

// controllerLog is what the controller has logged.
func (l *testLab) controllerLog(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(l.m.Dir(l.name), "controller", "controller.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// attack is what a peer does with its connection. It ends when the controller
// closes it, or when the attack is over.
type attack struct {
	name string
	do   func(c net.Conn) error
}

// says sends bytes and then waits for the controller to close.
func says(name string, b []byte) attack {
	return attack{name, func(c net.Conn) error {
		if _, err := c.Write(b); err != nil {
			return nil // closed before it was all sent
		}
		_, err := io.Copy(io.Discard, c)
		return err
	}}
}

// garbage is random bytes, the same in each run.
func garbage(n int) []byte {
	r, b := rand.New(rand.NewPCG(1, 2)), make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// openFlow is an OpenFlow message (1.3.5 section A.1) whose header says a length.
func openFlow(version, typ uint8, length uint16, body ...byte) []byte {
	b := []byte{version, typ, 0, 0, 0, 0, 0, 7}
	binary.BigEndian.PutUint16(b[2:], length)
	return append(b, body...)
}

func openFlowAttacks() []attack {
	hello := openFlow(4, 0, 8)
	after := func(b []byte) []byte { return slices.Concat(hello, b) }
	return []attack{
		says("nothing", nil),
		says("text", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")),
		says("garbage", garbage(1<<16)),
		says("half a header", []byte{4, 0, 0}),
		says("half a message", openFlow(4, 0, 16)),
		says("length 0", openFlow(4, 0, 0)),
		says("length 7", openFlow(4, 0, 7)),
		says("length 65,535 and silence", openFlow(4, 0, 65535)),
		says("length 65,535", openFlow(4, 0, 65535, garbage(65527)...)),
		says("OpenFlow 1.0", openFlow(1, 0, 8)),
		says("OpenFlow 1.5 only", openFlow(6, 0, 16, 0, 1, 0, 8, 0, 0, 0, 0x40)),
		says("OpenFlow 255", openFlow(255, 0, 8)),
		says("a hello with garbage in it", openFlow(4, 0, 24, garbage(16)...)),
		says("a hello, and silence", hello),
		says("a hello, and garbage", after(garbage(1<<16))),
		says("a hello, and length 0", after(openFlow(4, 6, 0))),
		says("a hello, and another version", after(openFlow(1, 6, 32, make([]byte, 24)...))),
		says("a hello, and half features", after(openFlow(4, 6, 32, make([]byte, 10)...))),
		says("a hello, and short features", after(openFlow(4, 6, 12, make([]byte, 4)...))),
		says("a hello, and an error", after(openFlow(4, 1, 12, 0, 1, 0, 1))),
		{"a million echo requests", func(c net.Conn) error {
			echo := slices.Repeat(openFlow(4, 2, 8), 1000)
			if _, err := c.Write(hello); err != nil {
				return nil
			}
			for range 1000 {
				// Nobody reads the replies.
				if _, err := c.Write(echo); err != nil {
					return nil
				}
			}
			_, err := io.Copy(io.Discard, c)
			return err
		}},
	}
}

func ovsdbAttacks() []attack {
	return []attack{
		says("nothing", nil),
		says("text", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")),
		says("garbage", garbage(1<<16)),
		says("half a reply", []byte(`{"id":0,"error":null,"result":["Open_v`)),
		says("no object", []byte(`7 "x" null [] true`)),
		says("deep", []byte(strings.Repeat("[", 1<<20))),
		says("an object of objects", []byte(strings.Repeat(`{"id":`, 1<<18))),
		says("a reply nobody waits for", []byte(`{"id":4711,"error":null,"result":{}}`)),
		says("the wrong types", []byte(`{"id":[],"method":{},"params":3,"error":false,"result":-1e999}`)),
		says("an update of nothing", []byte(`{"id":null,"method":"update","params":[]}`)),
		{"a string without an end", func(c net.Conn) error {
			if _, err := c.Write([]byte(`{"id":"`)); err != nil {
				return nil
			}
			for chunk := []byte(strings.Repeat("x", 1<<20)); ; {
				if _, err := c.Write(chunk); err != nil {
					if errors.Is(err, os.ErrDeadlineExceeded) {
						return err
					}
					return nil
				}
			}
		}},
		{"a close in the middle of a reply", func(c net.Conn) error {
			if _, err := c.Read(make([]byte, 4096)); err != nil {
				return err
			}
			_, err := c.Write([]byte(`{"id":0,"error":null,"result":{"Open_vSwitch":{`))
			return err
		}},
	}
}

// hostilePeers lets each attack come from an address of its own, all at once. The
// controller must get rid of each, name it, and keep nothing of it.
func hostilePeers(t *testing.T, l *testLab, protocol string, port uint16, attacks []attack) {
	net4 := l.namespace(t, "net")
	defer net4.Close()
	unharmed(t, l, l.hosts, func() {
		refused := l.metric(t, "ofctl_lab_connections_refused_total", `protocol="`+protocol+`"`)
		goroutines := l.metric(t, "go_goroutines")
		log := l.controllerLog(t)
		results := make(chan error, len(attacks))
		for i, a := range attacks {
			from := netip.AddrFrom4([4]byte{127, 1, byte(port % 251), byte(i + 1)})
			go func() { results <- a.run(net4, from, l.controllerAddr(t, port)) }()
		}
		for range attacks {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		eventually(t, "all hostile peers are counted", func() bool {
			return l.metric(t, "ofctl_lab_connections_refused_total", `protocol="`+protocol+`"`) >= refused+float64(len(attacks))
		})
		news := strings.TrimPrefix(l.controllerLog(t), log)
		for i, a := range attacks {
			from := netip.AddrFrom4([4]byte{127, 1, byte(port % 251), byte(i + 1)})
			line := ""
			for s := range strings.Lines(news) {
				if strings.Contains(s, "peer="+from.String()+":") {
					line += s
				}
			}
			if strings.Count(line, "\n") != 1 || !strings.Contains(line, "refused") {
				t.Errorf("%s: the log has\n%s\nwant one line that says that it is refused, and why", a.name, line)
			}
		}
		// The controller's other connections come and go meanwhile, by a few.
		eventually(t, "their goroutines have ended", func() bool {
			return l.metric(t, "go_goroutines") < goroutines+float64(len(attacks))/2
		})
	})
}

// controllerAddr is where the lab's controller listens.
func (l *testLab) controllerAddr(t *testing.T, port uint16) netip.AddrPort {
	t.Helper()
	s, err := l.m.Status(t.Context(), l.name)
	if err != nil {
		t.Error(err)
	}
	return netip.AddrPortFrom(s.Controller.Addr, port)
}

// attackLimit is by when the controller has to have closed: twice the time that it
// gives a handshake.
const attackLimit = 20 * time.Second

// run connects and does its worst; it is an error if the controller has not
// closed within attackLimit.
func (a attack) run(ns *netdev.Namespace, from netip.Addr, to netip.AddrPort) error {
	var c net.Conn
	err := ns.Do(func() (err error) {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: patience}
		c, err = d.Dial("tcp", to.String())
		return err
	})
	if err == nil {
		defer c.Close()
		if err = c.SetDeadline(time.Now().Add(attackLimit)); err == nil {
			err = a.do(c)
		}
	}
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("%s: %w", a.name, err)
	}
	return nil
}

// datapathIDTwice: another bridge claims the datapath id of host1's. It is listed,
// with the reason, and gets nothing.
func datapathIDTwice(t *testing.T, l *testLab) {
	h, err := l.api.Host(t.Context(), "host1")
	if err != nil {
		t.Fatal(err)
	}
	id := h.Status.Bridge.DatapathID
	to := l.controllerAddr(t, lab.OpenFlowPort)
	unharmed(t, l, []string{"host1", "host3"}, func() {
		log := l.controllerLog(t)
		l.vsctl(t, "host2", "--", "add-br", "br-twin",
			"--", "set", "bridge", "br-twin", "datapath_type=netdev", "fail_mode=secure", "protocols=OpenFlow13", "other_config:datapath-id="+id,
			"--", "set-controller", "br-twin", "tcp:"+to.String())
		defer l.vsctl(t, "host2", "del-br", "br-twin")
		var twin api.UnclaimedBridge
		eventually(t, "the second bridge is listed", func() bool {
			u, err := l.api.Unclaimed(t.Context())
			if err != nil {
				return false
			}
			for _, b := range u.Bridges {
				if b.DatapathID == id {
					twin = b
				}
			}
			return twin.Attempts >= 2 // it tries again, and is refused again
		})
		if !strings.Contains(twin.Reason, id) || !strings.Contains(twin.Reason, "host1") || !strings.Contains(twin.Reason, twin.Peer) {
			t.Errorf("the reason is %q; want the datapath id, the host and both peers", twin.Reason)
		}
		host, _, _ := net.SplitHostPort(twin.Peer)
		l.awaitLog(t, log, "switch refused", "peer="+host+":", "datapath="+id, "host1")
		if got := l.ofctl(t, "host2", "dump-flows", "br-twin"); strings.Contains(got, "cookie=0xfc7") {
			t.Errorf("the second bridge got flows:\n%s", got)
		}
		h, err := l.api.Host(t.Context(), "host1")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(h.Status.Problems, "\n"), id) {
			t.Errorf("the problems of host1 are %q; want the second bridge among them", h.Status.Problems)
		}
	})
}

// kill ends a daemon of a host as a crash does.
func (l *testLab) kill(t *testing.T, host, program string) {
	t.Helper()
	pid, err := l.daemonPID(host, program)
	if err != nil {
		t.Fatal(err)
	}
	if cmd, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err != nil || !strings.Contains(string(cmd), l.root) {
		t.Fatalf("process %d is not the lab's %s: %q, %v", pid, program, cmd, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// awaitLog waits for a line of the controller's log, written since the log was
// before, that has all the words.
func (l *testLab) awaitLog(t *testing.T, before string, words ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the log has a line with %q", words), func() bool {
		for line := range strings.Lines(strings.TrimPrefix(l.controllerLog(t), before)) {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return true
			}
		}
		return false
	})
}

// ovsdbCloses: a host's database goes away. Its switch stands still without it
// where the datapath is the userspace one (Open vSwitch does nothing before it has
// the lock in its database again); all others go on.
func ovsdbCloses(t *testing.T, l *testLab) {
	unharmed(t, l, []string{"host1", "host3"}, func() {
		h, err := l.api.Host(t.Context(), "host2")
		if err != nil {
			t.Fatal(err)
		}
		peer := h.Status.OVSDB.Peer
		log := l.controllerLog(t)
		l.kill(t, "host2", "ovsdb-server")
		l.awaitLog(t, log, "host=host2", "peer="+peer, "disconnected")
		eventually(t, "the status of host2 says why its database is away", func() bool {
			h, err := l.api.Host(t.Context(), "host2")
			return err == nil && !h.Status.OVSDB.Connected && h.Status.OVSDB.Error != "" && !h.Status.Ready
		})
		l.run(t, "lab", "up", l.file)
		eventually(t, "host2 is back", func() bool {
			h, err := l.api.Host(t.Context(), "host2")
			return err == nil && h.Status.Ready
		})
		l.mustPing(t, "a", "10.1.1.3")
	})
}

// vswitchdKilled: the other hosts' traffic goes on, the host is named, and it has
// its flows again as soon as its switch is there again.
func vswitchdKilled(t *testing.T, l *testLab) {
	unharmed(t, l, []string{"host1", "host3"}, func() {
		h, err := l.api.Host(t.Context(), "host2")
		if err != nil {
			t.Fatal(err)
		}
		peer := h.Status.OpenFlow.Peer
		log := l.controllerLog(t)
		l.kill(t, "host2", "ovs-vswitchd")
		l.awaitLog(t, log, "host=host2", "peer="+peer, "disconnected")
		eventually(t, "the status of host2 says why its switch is away", func() bool {
			h, err := l.api.Host(t.Context(), "host2")
			return err == nil && !h.Status.OpenFlow.Connected && h.Status.OpenFlow.Error != "" && !h.Status.Ready
		})
		if p := l.portStatus(t, "x"); p.State == api.StateUp {
			t.Errorf("the switch of port x is dead, and its status is %+v", p)
		}
		l.run(t, "lab", "up", l.file)
		l.allUp(t)
		l.mustPing(t, "a", "10.1.1.3")
		l.mustPing(t, "x", "10.1.1.2")
	})
}
