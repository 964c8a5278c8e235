package traffic

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/vishvananda/netlink"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// An exchange is as many conversations, each from a port of its own, as it was asked for.
func TestExchange(t *testing.T) {
	a, b := pair(t)
	w := wire(t, b)
	const ports = 3
	if err := Exchange(t.Context(), a, b, far.Addr, ports); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	udp, tcp := map[layers.UDPPort]bool{}, map[layers.TCPPort]bool{}
	// The last connection's first packet is in the buffer, since the exchange is over.
	for len(udp) < ports || len(tcp) < ports {
		f, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("%d ports of UDP and %d of TCP: %v", len(udp), len(tcp), err)
		}
		p := f.Packet()
		if l, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP); ok && f.Direction == netdev.Received {
			udp[l.SrcPort] = true
		}
		if l, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP); ok && f.Direction == netdev.Received {
			tcp[l.SrcPort] = true
		}
	}
}

func TestExchangeWithNobody(t *testing.T) {
	a, b := pair(t)
	if err := Exchange(t.Context(), a, b, netip.MustParseAddr("10.0.0.9"), 1); err == nil {
		t.Error("nobody is at that address")
	}
	// The server is at the near end, which the far one cannot reach without an address.
	if _, err := b.Configure("eth0", netdev.LinkConfig{Addresses: []netip.Prefix{}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := Exchange(ctx, b, a, near.Addr, 1); err == nil {
		t.Error("a namespace without an address has talked with another")
	}
}

// After they are forgotten, the next packet asks by ARP again; one that was set for good stays.
func TestNeighboursAreForgotten(t *testing.T) {
	a, b := pair(t)
	w := wire(t, b)
	asked := func() int {
		t.Helper()
		if err := Exchange(t.Context(), a, b, far.Addr, 1); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		n := 0
		for {
			f, err := w.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			p := f.Packet()
			if l, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok && l.Operation == layers.ARPRequest && f.Direction == netdev.Received {
				n++
			}
			// The end of the server's side of the only connection.
			if l, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP); ok && l.FIN && f.Direction == netdev.Sent {
				return n
			}
		}
	}
	if n := asked(); n == 0 {
		t.Error("the first packet did not ask")
	}
	if n := asked(); n != 0 {
		t.Errorf("a neighbour that is known was asked for %d times", n)
	}
	if err := ForgetNeighbours(a); err != nil {
		t.Fatal(err)
	}
	if n := asked(); n == 0 {
		t.Error("nobody asked after the neighbours were forgotten")
	}
	err := a.Do(func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.NeighSet(&netlink.Neigh{
			LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: far.Addr.AsSlice(), HardwareAddr: far.MAC,
		})
	})
	if err := errors.Join(err, ForgetNeighbours(a)); err != nil {
		t.Fatal(err)
	}
	if n := asked(); n != 0 {
		t.Errorf("a neighbour that was set for good was asked for %d times", n)
	}
}
