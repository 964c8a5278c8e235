package traffic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"go.uber.org/goleak"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	near = Station{net.HardwareAddr{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("10.0.0.1")}
	far  = Station{net.HardwareAddr{2, 0, 0, 0, 0, 2}, netip.MustParseAddr("10.0.0.2")}
)

// pair is two namespaces with a wire between them.
func pair(t *testing.T) (a, b *netdev.Namespace) {
	t.Helper()
	need.Have(t, need.Root())
	open := func(name string) *netdev.Namespace {
		name = fmt.Sprintf("traffic%d-%s", os.Getpid(), name)
		ns, err := netdev.CreateNamespace(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(ns.Close(), netdev.DeleteNamespace(name)); err != nil {
				t.Error(err)
			}
		})
		return ns
	}
	a, b = open("a"), open("b")
	if _, err := netdev.EnsureVeth(netdev.VethEnd{Namespace: a, Name: "eth0"}, netdev.VethEnd{Namespace: b, Name: "eth0"}); err != nil {
		t.Fatal(err)
	}
	for ns, s := range map[*netdev.Namespace]Station{a: near, b: far} {
		if _, err := ns.Configure("eth0", netdev.GuestConfig(s.MAC, 1500, []netip.Prefix{netip.PrefixFrom(s.Addr, 24)}, netdev.OffloadsOff)); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

// wire opens the interface of a namespace.
func wire(t *testing.T, ns *netdev.Namespace) *netdev.PacketConn {
	t.Helper()
	w, err := ns.OpenPacket("eth0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// The request is what an independent decoder takes for one, checksums included.
func TestRequestIsAnEcho(t *testing.T) {
	e := NewEcho(nil, near, far)
	p := gopacket.NewPacket(e.frame, layers.LayerTypeEthernet, gopacket.Default)
	icmp, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if p.ErrorLayer() != nil || !ok || icmp.TypeCode.Type() != layers.ICMPv4TypeEchoRequest || icmp.Id != echoID || len(icmp.Payload) != payloadLen {
		t.Fatalf("not an echo request: %v", p)
	}
	ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	if !ip.SrcIP.Equal(near.Addr.AsSlice()) || !ip.DstIP.Equal(far.Addr.AsSlice()) {
		t.Errorf("from %s to %s", ip.SrcIP, ip.DstIP)
	}
	if got := checksum(e.frame[etherLen : etherLen+ipv4Len]); got != 0 {
		t.Errorf("the sum over the IPv4 header is %#x", got)
	}
}

func TestEchoesAreAnswered(t *testing.T) {
	a, _ := pair(t)
	e := NewEcho(wire(t, a), near, far)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	before := time.Now()
	first, err := e.FirstReply(ctx, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if first.Before(before.Round(0)) || first.After(time.Now()) {
		t.Errorf("the first reply is dated %s", first)
	}
	trips, err := e.RoundTrips(ctx, 3, time.Millisecond)
	if err != nil || len(trips) != 3 {
		t.Fatalf("round trips %v: %v", trips, err)
	}
	for _, d := range trips {
		if d <= 0 {
			t.Errorf("a round trip took %s", d)
		}
	}
}

// Replies to earlier requests that are still in the wire's buffer are not the first.
func TestFirstReplyIsToARequestOfItsOwn(t *testing.T) {
	a, b := pair(t)
	w := wire(t, a)
	e := NewEcho(w, near, far)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	reader := wire(t, a)
	other := NewEcho(reader, near, far)
	if _, err := e.send(); err != nil {
		t.Fatal(err)
	}
	// The other wire sees the reply, so by now it is in this one's buffer too.
	for f, err := range reader.Frames(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := other.reply(f); ok {
			break
		}
	}
	if _, err := b.Configure("eth0", netdev.LinkConfig{Addresses: []netip.Prefix{}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if at, err := e.FirstReply(ctx, time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an earlier reply, of %s, is taken for the first: %v", at, err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	a, b := pair(t)
	if _, err := b.Configure("eth0", netdev.LinkConfig{Addresses: []netip.Prefix{}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := NewEcho(wire(t, a), near, far).FirstReply(ctx, time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error: %v", err)
	}
}

func TestStreamArrives(t *testing.T) {
	a, b := pair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := OpenStream(ctx, a, b, far.Addr)
	if err != nil {
		t.Fatal(err)
	}
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for s.Received() < 1<<20 {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("%d bytes have arrived", s.Received())
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestStreamToNobody(t *testing.T) {
	a, b := pair(t)
	if _, err := OpenStream(t.Context(), a, b, near.Addr); err == nil {
		t.Error("a stream to an address that is not there was opened")
	}
}
