package netdev

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// TestPath: the way to an address has its device, whether that has a link, and what is
// known of the neighbour, and nothing is sent to find out.
func TestPath(t *testing.T) {
	a, b := newNS(t, "a"), newNS(t, "b")
	must[bool](t)(EnsureVeth(VethEnd{Namespace: a, Name: "u"}, VethEnd{Namespace: b, Name: "u"}))
	for _, c := range []struct {
		ns   *Namespace
		addr string
	}{{a, "192.0.2.1/24"}, {b, "192.0.2.2/24"}} {
		must[[]string](t)(c.ns.Configure("u", LinkConfig{State: Up, Addresses: []netip.Prefix{netip.MustParsePrefix(c.addr)}}))
	}
	peer, far := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("198.51.100.1")
	if _, err := a.Path(far); err == nil {
		t.Error("a way without a route")
	}
	want := Path{Device: "u", NextHop: peer, Carrier: true}
	if got := must[Path](t)(a.Path(peer)); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if err := a.WarmNeighbour("u", peer, net.HardwareAddr{2, 0, 0, 0, 0, 2}); err != nil {
		t.Fatal(err)
	}
	want.Neighbour = NeighbourResolved
	if got := must[Path](t)(a.Path(peer)); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	link := must[netlink.Link](t)(a.link("u"))
	if err := a.nl.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: peer.AsSlice(), Dst: &net.IPNet{IP: far.AsSlice(), Mask: net.CIDRMask(32, 32)}}); err != nil {
		t.Fatal(err)
	}
	if got := must[Path](t)(a.Path(far)); got != want {
		t.Errorf("through a gateway %+v, want %+v", got, want)
	}
	if err := a.nl.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_FAILED, IP: peer.AsSlice()}); err != nil {
		t.Fatal(err)
	}
	want.Neighbour = NeighbourFailed
	if got := must[Path](t)(a.Path(far)); got != want {
		t.Errorf("with a neighbour that does not answer %+v, want %+v", got, want)
	}
	must[[]string](t)(b.Configure("u", LinkConfig{State: Down}))
	// The kernel tells the other end within a second.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); must[Path](t)(a.Path(peer)).Carrier; {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("the other end of a link that is down has a carrier")
		}
	}
}
