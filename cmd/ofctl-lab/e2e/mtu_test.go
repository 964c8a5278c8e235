package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// The underlay's MTU in these tests, and what is left of it for a guest.
const underlayMTU = 1500

var guestMTU = map[string]int{"gre": 1458, "vxlan": 1450, "geneve": 1450}

// mtuTopology has a network per encapsulation, each with ports a and c on host1, b
// on host2, and a trunk guest on host1 with an address in all of them. Port
// addresses are 10.1.N.x and fd01:N::x.
func mtuTopology(overIPv6 bool) string {
	subnet, tep := "192.168.200.0/24", "192.168.200.%d"
	if overIPv6 {
		subnet, tep = `"fd00:200::/64"`, `"fd00:200::%d"`
	}
	var networks, ports, vlans strings.Builder
	for i, encap := range mtuEncaps {
		fmt.Fprintf(&networks, "      - {name: %s, encap: %s, key: %d, subnets: [10.1.%d.0/24, \"fd01:%d::/64\"]}\n", encap, encap, 100+i, i, i)
		for j, p := range []struct{ name, host string }{{"a", "host1"}, {"b", "host2"}, {"c", "host1"}} {
			fmt.Fprintf(&ports, "  - {name: %s-%s, network: red/%s, host: %s, addresses: [10.1.%d.%d, \"fd01:%d::%d\"]}\n",
				encap, p.name, encap, p.host, i, j+1, i, j+1)
		}
		fmt.Fprintf(&vlans, "%d: {network: red/%s, addresses: [10.1.%d.9]}, ", 10+i, encap, i)
	}
	return fmt.Sprintf("underlay: {subnet: %s, mtu: %d}\nhosts:\n  - {name: host1, tep: "+tep+"}\n  - {name: host2, tep: "+tep+"}\n",
		subnet, underlayMTU, 20, 21) +
		"tenants:\n  - name: red\n    networks:\n" + networks.String() +
		"ports:\n" + ports.String() +
		"  - {name: trunk, host: host1, interface: et1, trunk: {vlans: {" + strings.TrimSuffix(vlans.String(), ", ") + "}}}\n"
}

var mtuEncaps = []string{"gre", "vxlan", "geneve"}

// TestMTU: with the MTU that is derived from the underlay's, everything passes,
// and what is a byte too long is never a success.
func TestMTU(t *testing.T) {
	for _, u := range []struct {
		name     string
		overIPv6 bool
		less     int
	}{{"over IPv4", false, 0}, {"over IPv6", true, 20}} {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			l := up(t, fmt.Sprintf("m%d", u.less), mtuTopology(u.overIPv6))
			l.cutOnUplinks(t)
			for _, encap := range mtuEncaps {
				t.Run(encap, func(t *testing.T) { mtuOf(t, l, encap, guestMTU[encap]-u.less) })
			}
			t.Run("trunk", func(t *testing.T) { mtuOfTrunk(t, l, guestMTU["vxlan"]-u.less-4) })
		})
	}
}

// cutOnUplinks has each host cut its packets before they leave. With offloads an uplink leaves
// that to the next device, as to a network card, and captures see packets of up to 64 KB.
func (l *testLab) cutOnUplinks(t *testing.T) {
	t.Helper()
	for _, host := range l.hosts {
		ns, err := l.m.Namespace(l.name, lab.Target{Host: host})
		if err != nil {
			t.Fatal(err)
		}
		err = ns.SetOffloads("uplink", false)
		ns.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func mtuOf(t *testing.T, l *testLab, encap string, mtu int) {
	a, b := encap+"-a", encap+"-b"
	from, to := l.attachment(t, a), l.attachment(t, b)
	for _, at := range []lab.Attachment{from, to} {
		if got := l.link(t, at.Host+"/"+netns(at), device(at)).MTU; got != mtu {
			t.Errorf("the MTU of %s is %d, want %d", at.Port, got, mtu)
		}
	}
	for _, to := range to.Addresses {
		header := 20 + 8
		if to.Addr().Is6() {
			header = 40 + 8
		}
		size := mtu - header
		if out, err := l.pingSize(t, a, to.Addr(), size); err != nil {
			t.Errorf("an echo request of %d bytes to %v does not pass: %v\n%s", mtu, to.Addr(), err, out)
		}
		if out, err := l.pingSize(t, a, to.Addr(), size+1); err == nil || !strings.Contains(strings.ToLower(err.Error()), "message too long") {
			t.Errorf("of an echo request of %d bytes to %v the guest's own stack should say \"message too long\", but: %v\n%s", mtu+1, to.Addr(), err, out)
		}
	}
	for _, way := range [][2]lab.Attachment{{from, to}, {to, from}} {
		for _, addr := range way[1].Addresses {
			wire := l.underlay(t, "host1")
			l.transfer(t, way[0].Host+"/"+netns(way[0]), way[1].Host+"/"+netns(way[1]), addr.Addr())
			// Full packets, and whole ones.
			if longest := longestPacket(t, l, wire, encap); longest != underlayMTU {
				t.Errorf("the longest packet of TCP to %v on the underlay was %d bytes, want %d", addr, longest, underlayMTU)
			}
		}
	}
	t.Run("guests with a larger MTU", func(t *testing.T) { tooLargeMTU(t, l, encap, mtu) })
}

// tooLargeMTU: if guests believe in a larger MTU, what is too long for the
// underlay does not arrive at all.
func tooLargeMTU(t *testing.T, l *testLab, encap string, mtu int) {
	for _, which := range []string{"a", "b", "c"} {
		at := l.attachment(t, encap+"-"+which)
		l.setMTU(t, at.Host, at.Device(), 1600)
		l.setMTU(t, at.Host+"/"+netns(at), device(at), 1600)
		// Open vSwitch opens the device anew, and loses what is queued on it.
		eventually(t, "the switch has taken notice of the MTU", func() bool {
			return l.vsctl(t, at.Host, "get", "interface", at.Device(), "mtu") == "1600"
		})
	}
	eventually(t, "all reach each other again", func() bool {
		to := l.attachment(t, encap+"-b").Addresses[0].Addr().String()
		return l.ping(t, encap+"-a", to) == nil && l.ping(t, encap+"-c", to) == nil
	})
	a, b, c := l.guest(t, encap+"-a"), l.guest(t, encap+"-b"), l.guest(t, encap+"-c")
	marker := t.Name() + ";"
	frame := func(to *guest, size int) []byte {
		return udp(t, a.station(), to.station(), marker+strings.Repeat("x", size-28-len(marker)))
	}
	wire := l.underlay(t, "host1")
	fits, exceeds, local := frame(b, mtu), frame(b, mtu+1), frame(c, mtu+1)
	a.send(t, fits)
	if got := marked(a.flush(t, b), marker); len(got) != 1 || !bytes.Equal(got[0].Data, fits) {
		t.Errorf("of a packet of %d bytes %d arrived, want it whole", mtu, len(got))
	}
	// Open vSwitch hands the kernel frames in batches, and the kernel takes none of
	// a batch from the first that is too long on. So the sentinels wait until this
	// one's batch is done, as the control's arrival on the same host shows.
	a.send(t, exceeds, local)
	if got := c.await(t, marker); !bytes.Equal(got.Data, local) {
		t.Errorf("a packet of %d bytes did not arrive on the same host as it was sent, but with %d", mtu+1, len(got.Data)-14)
	}
	if got := marked(a.flush(t, b), marker); len(got) != 0 {
		t.Errorf("a packet of %d bytes arrived with %d", mtu+1, len(got[0].Data)-14)
	}
	for _, d := range carried(t, wire, a) {
		// The other direction is what b's kernel says to it.
		if d.dir == netdev.Received && !bytes.Equal(d.inner, fits) {
			t.Errorf("the underlay carried %v, of %d bytes", d, len(d.inner))
		}
	}
}

// mtuOfTrunk: a trunk guest has room for a tag within its tunnels.
func mtuOfTrunk(t *testing.T, l *testLab, mtu int) {
	trunk := l.guest(t, "trunk")
	for i, encap := range mtuEncaps {
		dev := fmt.Sprintf("et1.%d", 10+i)
		if got := l.link(t, "host1/trunk", dev).MTU; got != mtu {
			t.Errorf("the MTU of %s is %d, want %d", dev, got, mtu)
		}
		peer := l.attachment(t, encap+"-b")
		l.transfer(t, "host1/trunk", "host2/"+netns(peer), peer.Addresses[0].Addr())
		// A full packet with priority bits, which travel in a tag.
		b := l.guest(t, encap+"-b")
		marker := t.Name() + encap + ";"
		src := station{trunk.mac, netip.AddrFrom4([4]byte{10, 1, byte(i), 9})}
		f := udp(t, src, b.station(), marker+strings.Repeat("x", mtu-28-len(marker)))
		vid := uint16(10 + i)
		trunk.send(t, append(append(bytes.Clone(f[:12]), 0x81, 0x00, 0xe0|byte(vid>>8), byte(vid)), f[12:]...))
		if got := b.await(t, marker); !bytes.Equal(got.Data, f) {
			t.Errorf("a full packet with priority bits through %s did not arrive as it was sent, but with %d bytes", encap, len(got.Data))
		}
	}
}

// link is a device in a host ("host1") or a guest ("host1/red-a").
func (l *testLab) link(t *testing.T, where, dev string) netdev.Link {
	t.Helper()
	ns := l.namespace(t, where)
	defer ns.Close()
	link, err := ns.Link(dev)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func (l *testLab) setMTU(t *testing.T, where, dev string, mtu int) {
	t.Helper()
	ns := l.namespace(t, where)
	defer ns.Close()
	if _, err := ns.Configure(dev, netdev.LinkConfig{MTU: mtu}); err != nil {
		t.Fatal(err)
	}
}

// namespace is that of a host ("host1") or a guest ("host1/red-a").
func (l *testLab) namespace(t *testing.T, where string) *netdev.Namespace {
	t.Helper()
	target, err := lab.ParseTarget(where)
	if err != nil {
		t.Fatal(err)
	}
	ns, err := l.m.Namespace(l.name, target)
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// pingSize sends one echo request with that much payload, not to be fragmented.
func (l *testLab) pingSize(t *testing.T, port string, to netip.Addr, size int) (string, error) {
	t.Helper()
	a := l.attachment(t, port)
	return l.try(t, a.Host+"/"+netns(a), "ping", "-n", "-c", "1", "-W", "5", "-M", "do", "-s", strconv.Itoa(size), to.String())
}

// transferSize is what a TCP transfer carries, in bytes.
const transferSize = 1 << 20

// transfer sends random bytes over TCP between two namespaces; they must all
// arrive.
func (l *testLab) transfer(t *testing.T, from, to string, addr netip.Addr) {
	t.Helper()
	fromNS, toNS := l.namespace(t, from), l.namespace(t, to)
	defer fromNS.Close()
	defer toNS.Close()
	var listener net.Listener
	if err := toNS.Do(func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	deadline := time.Now().Add(patience)
	listener.(*net.TCPListener).SetDeadline(deadline)
	type result struct {
		sum [sha256.Size]byte
		n   int
		err error
	}
	received := make(chan result, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			received <- result{err: err}
			return
		}
		defer c.Close()
		c.SetDeadline(deadline)
		b, err := io.ReadAll(io.LimitReader(c, 2*transferSize))
		received <- result{sha256.Sum256(b), len(b), err}
	}()

	data := make([]byte, transferSize)
	for i, r := 0, rand.NewChaCha8([32]byte{}); i < len(data); i += 8 {
		v := r.Uint64()
		for j := range 8 {
			data[i+j] = byte(v >> (8 * j))
		}
	}
	err := fromNS.Do(func() error {
		c, err := net.DialTimeout("tcp", listener.Addr().String(), patience)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(deadline)
		_, err = c.Write(data)
		return err
	})
	if err != nil {
		t.Errorf("TCP from %s to %s: %v", from, addr, err)
		listener.Close()
	}
	if got := <-received; got.err != nil || got.sum != sha256.Sum256(data) {
		t.Errorf("TCP from %s to %s: %d of %d bytes arrived, error %v", from, addr, got.n, len(data), got.err)
	}
}

// longestPacket is the size of the longest IP packet that a capture of the
// underlay has seen up to now. Fragments fail the test.
func longestPacket(t *testing.T, l *testLab, wire *netdev.PacketConn, encap string) int {
	t.Helper()
	a, b := l.guest(t, encap+"-a"), l.guest(t, encap+"-b")
	a.flush(t, b)
	longest := 0
	_, err := collect(t, wire, func(f netdev.Frame) bool { return bytes.Contains(f.Data, a.token) }, func(f netdev.Frame) bool {
		switch ip := f.Packet().NetworkLayer().(type) {
		case *layers.IPv4:
			if ip.FragOffset != 0 || ip.Flags&layers.IPv4MoreFragments != 0 {
				t.Errorf("a fragment on the underlay: %v", f.Packet())
			}
		case *layers.IPv6:
			if ip.NextHeader == layers.IPProtocolIPv6Fragment {
				t.Errorf("a fragment on the underlay: %v", f.Packet())
			}
		}
		longest = max(longest, len(f.Data)-14)
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	return longest
}
