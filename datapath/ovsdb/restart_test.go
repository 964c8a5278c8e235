package ovsdb

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// After a restart of ovsdb-server, and until ovs-vswitchd has connected again, nothing is
// known of what is ephemeral: the bridge stays as it is, numbers stay, links are
// remembered, and Ensure waits for ovs-vswitchd.
func TestRestartOfDatabase(t *testing.T) {
	h := newHost(t, "--disable-system")
	s := h.join()
	ensure(t, s, spec(allTunnels()...))
	h.vsctl("add-port", "br-int", "tap-a", "--", "set", "Interface", "tap-a", "type=internal", "external_ids:iface-id=red-a")
	before := until(t, s, "a link state", func(f *Facts) bool { i, _ := byName(f, "tap-a"); return i.OFPort != 0 && i.LinkState != "" })

	h.signal(h.vswitchd.Process, syscall.SIGSTOP)
	stop(h.ovsdb)
	if err := ended(t, s); !strings.Contains(err.Error(), "closed the connection") {
		t.Error(err)
	}
	h.removeSocket()
	h.inside(h.startDatabase)
	s, err := Accept(context.Background(), h.accept(), Options{ApplyTimeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	f := s.Facts()
	if !f.Bridge.Present || f.Bridge.UUID != before.Bridge.UUID || f.Bridge.DatapathID != 0 || f.Bridge.DatapathType != typeNetdev || f.Bridge.Intended != typeNetdev {
		t.Errorf("the bridge without ovs-vswitchd: %+v", f.Bridge)
	}
	i, _ := byName(f, "tap-a")
	was, _ := byName(before, "tap-a")
	if i.UUID != was.UUID || i.OFPort != was.OFPort || i.LinkState != "" || i.MTU != 0 {
		t.Errorf("an interface without ovs-vswitchd: %+v, before %+v", i, was)
	}
	if with := f.WithLinksOf(before); !with.Interfaces[i.UUID].equal(was) || f.Interfaces[i.UUID].LinkState != "" {
		t.Errorf("with the links of before: %+v, before %+v; itself %+v", with.Interfaces[i.UUID], was, f.Interfaces[i.UUID])
	}
	if with := before.WithLinksOf(f); with != before {
		t.Error("facts that say all were replaced")
	}
	err = s.Ensure(context.Background(), spec(allTunnels()...))
	if err == nil || !strings.Contains(err.Error(), "ovs-vswitchd has not applied") {
		t.Errorf("without ovs-vswitchd: %v", err)
	}
	h.signal(h.vswitchd.Process, syscall.SIGCONT)
	until(t, s, "the bridge", func(f *Facts) bool { return f.Bridge.DatapathID == spec().DatapathID })
	ensure(t, s, spec(allTunnels()...))
	until(t, s, "the link", func(f *Facts) bool { return f.Interfaces[i.UUID].equal(was) })
}

// A bridge of type system that does not run is left as it is, unless this very session made
// it: here it was made by somebody else, so that it has no datapath id for as long as
// after a restart of ovsdb-server.
func TestEnsureKeepsDatapathType(t *testing.T) {
	h := newHost(t) // with the system datapath on offer
	h.vsctl("--no-wait", "add-br", "br-int")
	s := h.join()
	err := s.Ensure(context.Background(), spec(allTunnels()...))
	f := s.Facts()
	if f.Bridge.DatapathType != typeSystem || f.Bridge.Intended != typeSystem || f.Bridge.Fallback != "" {
		t.Errorf("the bridge was changed: %+v", f.Bridge)
	}
	if runs := f.Bridge.DatapathID != 0; runs {
		if err != nil { // the kernel of this machine has the system datapath
			t.Error(err)
		}
		return
	}
	for _, want := range []string{"br-int does not run", "modprobe openvswitch", "ovs-vsctl set bridge br-int datapath_type=netdev"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
	// What the error says helps, and stays.
	h.vsctl("set", "bridge", "br-int", "datapath_type=netdev")
	h.seen(s)
	ensure(t, s, spec(allTunnels()...))
	if f := s.Facts(); f.Bridge.DatapathType != typeNetdev || f.Bridge.Intended != typeSystem || f.Bridge.DatapathID == 0 {
		t.Errorf("the bridge as its owner made it: %+v", f.Bridge)
	}
	// Asked for, the type is changed also at a bridge that exists.
	asked := spec(allTunnels()...)
	asked.DatapathType = typeNetdev
	ensure(t, s, asked)
	if f := s.Facts(); f.Bridge.Intended != typeNetdev {
		t.Errorf("the bridge as asked: %+v", f.Bridge)
	}
}

// A bridge that the session makes falls back where there is no system datapath, and says so
// for as long as it is on the other one; also when ovs-vswitchd came late to it.
func TestEnsureFallsBack(t *testing.T) {
	h := newHost(t)
	command, err := JoinCommand(h.joinSpec())
	if err != nil {
		t.Fatal(err)
	}
	h.vsctl(command[1:]...)
	s, err := Accept(context.Background(), h.accept(), Options{ApplyTimeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	h.signal(h.vswitchd.Process, syscall.SIGSTOP)
	if err := s.Ensure(context.Background(), spec()); err == nil || !strings.Contains(err.Error(), "has not applied") {
		t.Errorf("while ovs-vswitchd is away: %v", err)
	}
	if f := s.Facts(); f.Bridge.DatapathType != typeSystem || f.Bridge.Fallback != "" {
		t.Errorf("while ovs-vswitchd is away: %+v", f.Bridge)
	}
	h.signal(h.vswitchd.Process, syscall.SIGCONT)
	limit, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	for err = s.Ensure(limit, spec()); err != nil; err = s.Ensure(limit, spec()) {
		if limit.Err() != nil {
			t.Fatal(err)
		}
	}
	f := s.Facts()
	if f.Bridge.DatapathType == typeSystem {
		if f.Bridge.Fallback != "" || f.Bridge.Intended != typeSystem {
			t.Errorf("%+v", f.Bridge)
		}
		t.Skip("the kernel of this machine has the system datapath: nothing falls back")
	}
	if f.Bridge.Intended != typeSystem || f.Bridge.Fallback != couldNotOpen {
		t.Errorf("after the fall-back: %+v", f.Bridge)
	}
	before := nextCfg(s)
	ensure(t, s, spec())
	if nextCfg(s) != before {
		t.Error("a transaction where all was right")
	}
	// Its owner gives it the type that was intended: the note goes.
	h.vsctl("--no-wait", "set", "bridge", "br-int", "datapath_type=system")
	h.seen(s)
	_ = s.Ensure(context.Background(), spec())
	if got := h.vsctl("--no-wait", "br-get-external-id", "br-int"); got != ExternalIDDatapath+"="+typeSystem {
		t.Errorf("external_ids %q", got)
	}
}

// A netdev bridge made before bridges said what was intended says nothing where system is
// on offer, and that another bridge runs on the system datapath is seen.
func TestUnmarkedBridge(t *testing.T) {
	h := newHost(t)
	h.vsctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
	h.vsctl("--no-wait", "add-br", "br-other")
	s := h.join()
	ensure(t, s, spec(allTunnels()...))
	f := s.Facts()
	if f.Bridge.DatapathType != typeNetdev || f.Bridge.Intended != "" || f.Bridge.Fallback != "" {
		t.Errorf("%+v", f.Bridge)
	}
	h.vsctl("--no-wait", "set", "bridge", "br-other", "datapath_id=0000000000000abc")
	until(t, s, "another bridge that runs on the system datapath", func(f *Facts) bool { return f.SystemRuns })
	h.vsctl("--no-wait", "set", "bridge", "br-other", "datapath_type=netdev")
	until(t, s, "no bridge on the system datapath", func(f *Facts) bool { return !f.SystemRuns })
}

// A tunnel endpoint of the other family changes the type of the GRE port that is there.
func TestEnsureGREOverIPv6(t *testing.T) {
	h := newHost(t, "--disable-system")
	s := h.join()
	for tep, want := range map[string]TunnelType{"192.0.2.1": TunnelGRE, "::ffff:192.0.2.1": TunnelGRE, "fd00::1": TunnelIP6GRE} {
		if got := GREOver(mustAddr(tep)); got != want {
			t.Errorf("%s: %s, want %s", tep, got, want)
		}
	}
	ensure(t, s, spec(allTunnels()...))
	for _, typ := range []TunnelType{TunnelIP6GRE, TunnelGRE} {
		tunnels := allTunnels()
		tunnels[0].Type = typ
		ensure(t, s, spec(tunnels...))
		if i, _ := byName(s.Facts(), tunnels[0].Name); i.Type != string(typ) || i.OFPort == 0 || i.Error != "" {
			t.Errorf("%s: %+v", typ, i)
		}
	}
	// To the userspace datapath the two are one.
	h.vsctl("add-port", "br-int", "gre9", "--", "set", "Interface", "gre9", "type=ip6gre", "options:remote_ip=flow", "options:key=flow")
	h.seen(s)
	if err := s.Ensure(context.Background(), spec(allTunnels()...)); err == nil || !strings.Contains(err.Error(), "GRE is in use by interface gre9 (ip6gre)") {
		t.Errorf("beside another GRE port: %v", err)
	}
	both := spec(Tunnel{Name: "a", Type: TunnelGRE}, Tunnel{Name: "b", Type: TunnelIP6GRE})
	if err := both.validate(); err == nil || !strings.Contains(err.Error(), "both want GRE") {
		t.Errorf("two GRE ports: %v", err)
	}
}

func (h *ovsHost) signal(p *os.Process, sig syscall.Signal) {
	h.t.Helper()
	if err := p.Signal(sig); err != nil {
		h.t.Fatal(err)
	}
}

// removeSocket takes away the socket that a killed ovsdb-server has left.
func (h *ovsHost) removeSocket() {
	for _, name := range []string{"db.sock", "ovsdb.ctl"} {
		_ = os.Remove(h.path(name))
	}
}
