package ovsdb

import (
	"context"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

func spec(tunnels ...Tunnel) BridgeSpec {
	return BridgeSpec{DatapathID: 0x0fc70001, Controller: "tcp:192.0.2.250:6653", Tunnels: tunnels}
}

func allTunnels() []Tunnel {
	return []Tunnel{
		{Name: "ofctl-gre0", Type: TunnelGRE},
		{Name: "ofctl-vxlan0", Type: TunnelVXLAN},
		{Name: "ofctl-geneve0", Type: TunnelGeneve},
	}
}

func ensure(t *testing.T, s *Session, spec BridgeSpec) {
	t.Helper()
	if err := s.Ensure(context.Background(), spec); err != nil {
		t.Fatal(err)
	}
}

// nextCfg counts the transactions that asked the switch for something.
func nextCfg(s *Session) int { return s.picture.Load().root.NextCfg }

func TestSessionIdentity(t *testing.T) {
	h := newHost(t, "--disable-system")
	s := h.join()
	f := s.Facts()
	want := Identity{
		Host: "host1", TEP: mustAddr("192.0.2.1"), Controller: "tcp:192.0.2.250:6653",
		Version: f.Version, Peer: f.Peer, DatapathTypes: []string{"netdev"}, VLANLimit: 1,
	}
	if diff := cmp.Diff(want, f.Identity, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if f.Peer == "" {
		t.Error("no peer")
	}
	if f.Bridge.Present {
		t.Errorf("a bridge before it was made: %+v", f.Bridge)
	}
	h.vsctl("--no-wait", "set", "Open_vSwitch", ".", "ovs_version=3.1.0", "other_config:vlan-limit=2", `external_ids:ofctl-lab-tep="fd00::1"`)
	until(t, s, "the new address", func(f *Facts) bool { return f.TEP == mustAddr("fd00::1") && f.VLANLimit == 2 && f.Version == "3.1.0" })
	h.vsctl("--no-wait", "remove", "Open_vSwitch", ".", "external_ids", "ofctl-lab-host")
	until(t, s, "the missing name", func(f *Facts) bool { return f.Problem != "" })
}

func TestEnsure(t *testing.T) {
	h := newHost(t, "--disable-system")
	s := h.join()
	ensure(t, s, spec(allTunnels()...))
	f := s.Facts()
	b := f.Bridge
	if !b.Present || b.DatapathID != 0x0fc70001 || b.DatapathType != "netdev" || b.FailMode != "secure" ||
		!cmp.Equal(b.Protocols, []string{"OpenFlow13"}) || len(b.Controllers) != 1 || !b.Controllers[0].Ours {
		t.Errorf("bridge: %+v", b)
	}
	for _, tunnel := range allTunnels() {
		if i, ok := byName(f, tunnel.Name); !ok || i.OFPort == 0 || i.Error != "" || i.Type != string(tunnel.Type) {
			t.Errorf("tunnel port %s: %+v", tunnel.Name, i)
		}
	}

	before := nextCfg(s)
	ensure(t, s, spec(allTunnels()...))
	if n := nextCfg(s) - before; n != 0 {
		t.Errorf("%d transactions where all was right", n)
	}

	// A tunnel that is no longer wanted goes, another changes its UDP port, and
	// what somebody else plugged stays.
	h.vsctl("add-port", "br-int", "guest", "--", "set", "Interface", "guest", "type=internal")
	h.vsctl("add-br", "br-other", "--", "set", "Bridge", "br-other", "datapath_type=netdev")
	ensure(t, s, spec(Tunnel{Name: "ofctl-vxlan0", Type: TunnelVXLAN, DstPort: 8472}))
	f = s.Facts()
	if len(f.Interfaces) != 3 {
		t.Errorf("%d interfaces, want br-int, guest and ofctl-vxlan0: %+v", len(f.Interfaces), f.Interfaces)
	}
	if i, _ := byName(f, "ofctl-vxlan0"); i.Options["dst_port"] != "8472" {
		t.Errorf("options %v", i.Options)
	}
	if _, ok := byName(f, "guest"); !ok {
		t.Error("the guest's port is gone")
	}
	if got := h.vsctl("list-br"); got != "br-int\nbr-other" {
		t.Errorf("bridges %q", got)
	}
}

func TestInterfaceFollowed(t *testing.T) {
	h := newHost(t, "--disable-system")
	s := h.join()
	ensure(t, s, spec())
	plug := func(name, request string) Interface {
		t.Helper()
		h.vsctl("add-port", "br-int", name, "--", "set", "Interface", name, "type=internal",
			"external_ids:iface-id=red-a", `external_ids:attached-mac="02:00:00:00:00:01"`, "ofport_request="+request)
		var got Interface
		until(t, s, name, func(f *Facts) bool {
			var ok bool
			got, ok = byName(f, name)
			return ok && got.OFPort != 0
		})
		return got
	}
	a := plug("tap-a", "7")
	if a.OFPort != 7 || a.IfaceID != "red-a" || a.AttachedMAC != "02:00:00:00:00:01" {
		t.Errorf("plugged: %+v", a)
	}
	b := plug("tap-b", "8") // the same iface-id twice
	if b.IfaceID != "red-a" || len(s.Facts().Interfaces) != 3 {
		t.Errorf("plugged twice: %+v", s.Facts().Interfaces)
	}
	h.vsctl("--no-wait", "del-port", "tap-a")
	until(t, s, "the unplugging", func(f *Facts) bool { _, ok := byName(f, "tap-a"); return !ok })
	c := plug("tap-a", "9")
	if c.OFPort != 9 || c.UUID == a.UUID || c.UUID == uuid.Nil {
		t.Errorf("plugged again: %+v, before %+v", c, a)
	}
	h.vsctl("--no-wait", "set", "Interface", "tap-a", "external_ids:iface-id=blue-a")
	until(t, s, "the new iface-id", func(f *Facts) bool { i, _ := byName(f, "tap-a"); return i.IfaceID == "blue-a" })
	h.vsctl("--no-wait", "add-port", "br-int", "absent0")
	until(t, s, "the error", func(f *Facts) bool { i, _ := byName(f, "absent0"); return i.Error != "" && i.OFPort == 0 })
}
