package ovsdb

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestEnsureRepairs(t *testing.T) {
	h := newHost(t, "--disable-system")
	s := h.join()
	ensure(t, s, spec(allTunnels()...))
	for _, damage := range [][]string{
		{"set", "Bridge", "br-int", "fail_mode=standalone"},
		{"set", "Bridge", "br-int", "protocols=OpenFlow10,OpenFlow13"},
		{"remove", "Bridge", "br-int", "other_config", "disable-in-band"},
		{"set", "Bridge", "br-int", "other_config:datapath-id=00000000000000aa"},
		{"set", "Controller", "br-int", "max_backoff=8000", "connection_mode=in-band"},
		{"del-controller", "br-int"},
		{"del-port", "ofctl-vxlan0"},
		{"set", "Interface", "ofctl-gre0", "options:key=5"},
		{"set", "Interface", "ofctl-geneve0", "type=gre"},
		{"del-br", "br-int"},
	} {
		h.vsctl(damage...)
		h.seen(s)
		before := nextCfg(s)
		ensure(t, s, spec(allTunnels()...))
		if n := nextCfg(s) - before; n != 1 {
			t.Errorf("after %v: %d transactions, want 1", damage, n)
		}
		before = nextCfg(s)
		ensure(t, s, spec(allTunnels()...))
		if n := nextCfg(s) - before; n != 0 {
			t.Errorf("after %v, the second time: %d transactions, want 0", damage, n)
		}
	}
	// A controller that has moved is the same row with another target.
	moved := spec(allTunnels()...)
	moved.Controller = "tcp:[2001:db8::1]:6653"
	moved.InactivityProbe = 2 * time.Second
	ensure(t, s, moved)
	if got := h.vsctl("get-controller", "br-int"); got != moved.Controller {
		t.Errorf("controller %q", got)
	}
	if got := h.vsctl("get", "Controller", "br-int", "inactivity_probe", "max_backoff", "connection_mode"); got != "2000\n1000\nout-of-band" {
		t.Errorf("controller columns %q", got)
	}
	moved.Controller = ""
	ensure(t, s, moved)
	if got := h.vsctl("get-controller", "br-int"); got != "" {
		t.Errorf("controller %q", got)
	}
}

func TestEnsureNamesWhatIsInTheWay(t *testing.T) {
	h := newHost(t, "--disable-system")
	h.vsctl("add-br", "br-other", "--", "set", "Bridge", "br-other", "datapath_type=netdev",
		"--", "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev",
		"--", "add-port", "br-other", "gre7", "--", "set", "Interface", "gre7", "type=gre", "options:remote_ip=192.0.2.7")
	s := h.join()
	for _, c := range []struct {
		name  string
		setup []string
		spec  BridgeSpec
		want  []string
	}{
		{
			"foreign controller",
			[]string{"set-controller", "br-int", "tcp:192.0.2.99:6653"},
			spec(),
			[]string{"tcp:192.0.2.99:6653", "del-controller"},
		},
		{
			"VXLAN port of another bridge",
			[]string{
				"add-port", "br-other", "vx9", "--", "set", "Interface", "vx9", "type=vxlan",
				"options:remote_ip=flow", "options:key=flow",
			},
			spec(Tunnel{Name: "ofctl-vxlan0", Type: TunnelVXLAN}),
			[]string{"ofctl-vxlan0", "UDP port 4789", "vx9", "br-other"},
		},
		{
			"Geneve on the VXLAN port",
			[]string{
				"add-port", "br-other", "gnv9", "--", "set", "Interface", "gnv9", "type=geneve",
				"options:remote_ip=192.0.2.7", "options:dst_port=4789",
			},
			spec(Tunnel{Name: "ofctl-vxlan0", Type: TunnelVXLAN}),
			[]string{"UDP port 4789", "gnv9"},
		},
		{
			"GRE that takes everything",
			[]string{
				"add-port", "br-int", "gre9", "--", "set", "Interface", "gre9", "type=gre",
				"options:remote_ip=flow", "options:key=flow",
			},
			spec(Tunnel{Name: "ofctl-gre0", Type: TunnelGRE}),
			[]string{"GRE is in use", "gre9"},
		},
		{
			"tunnel port's name on another bridge",
			[]string{"add-port", "br-other", "ofctl-gre0", "--", "set", "Interface", "ofctl-gre0", "type=internal"},
			spec(Tunnel{Name: "ofctl-gre0", Type: TunnelGRE}),
			[]string{"ofctl-gre0", "br-other has a port of that name"},
		},
		{
			"tunnel port's name in use on the bridge",
			[]string{"add-port", "br-int", "ofctl-gre0", "--", "set", "Interface", "ofctl-gre0", "type=internal"},
			spec(Tunnel{Name: "ofctl-gre0", Type: TunnelGRE}),
			[]string{"ofctl-gre0", "not ours"},
		},
		{
			"explicit system datapath without it",
			[]string{"del-br", "br-int"},
			BridgeSpec{DatapathType: "system", DatapathID: 1},
			[]string{"br-int does not run", "openvswitch"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.vsctl(c.setup...)
			h.seen(s)
			err := s.Ensure(context.Background(), c.spec)
			if err == nil {
				t.Fatal("nothing was in the way")
			}
			for _, want := range append(c.want, s.Facts().Peer) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not name %s", err, want)
				}
			}
			// The session goes on: a tunnel to one peer beside ours is no clash.
			h.vsctl("del-controller", "br-int", "--", "--if-exists", "del-port", "vx9", "--", "--if-exists", "del-port", "gnv9",
				"--", "--if-exists", "del-port", "gre9", "--", "--if-exists", "del-port", "ofctl-gre0")
			h.seen(s)
			c.spec.DatapathType = ""
			ensure(t, s, c.spec)
			c.spec.Tunnels = nil
			ensure(t, s, c.spec)
		})
	}
}

func TestEnsureRefusesSpec(t *testing.T) {
	gre := Tunnel{Name: "ofctl-gre0", Type: TunnelGRE}
	for want, s := range map[string]BridgeSpec{
		"datapath type":   {DatapathType: "dpdk", DatapathID: 1},
		"datapath id 0":   {},
		"tcp:ADDRESS":     {DatapathID: 1, Controller: "192.0.2.1"},
		"there twice":     {DatapathID: 1, Tunnels: []Tunnel{gre, {Name: "ofctl-gre0", Type: TunnelVXLAN}}},
		"no UDP port":     {DatapathID: 1, Tunnels: []Tunnel{{Name: "g", Type: TunnelGRE, DstPort: 1}}},
		"none of gre":     {DatapathID: 1, Tunnels: []Tunnel{{Name: "g", Type: "stt"}}},
		"1 to 15 bytes":   {DatapathID: 1, Tunnels: []Tunnel{{Name: "ofctl-geneve-000", Type: TunnelGRE}}},
		"both want UDP":   {DatapathID: 1, Tunnels: []Tunnel{{Name: "a", Type: TunnelVXLAN}, {Name: "b", Type: TunnelGeneve, DstPort: 4789}}},
		"slash nor space": {DatapathID: 1, Tunnels: []Tunnel{{Name: "a/b", Type: TunnelGRE}}},
	} {
		if err := s.validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v does not say %q", s, err, want)
		}
	}
}

// A switch that was built for the system datapath offers it whether the kernel
// has the module or not.
func TestEnsureFindsDatapath(t *testing.T) {
	h := newHost(t) // with the system datapath on offer
	s := h.join()
	ensure(t, s, spec(allTunnels()...))
	f := s.Facts()
	t.Logf("datapath types %v, chosen %q", f.DatapathTypes, f.Bridge.DatapathType)
	if f.Bridge.DatapathID == 0 {
		t.Error("the bridge does not run")
	}
	before := nextCfg(s)
	ensure(t, s, spec(allTunnels()...))
	if nextCfg(s) != before {
		t.Error("a transaction where all was right")
	}
}

func TestEnsureWithoutSwitch(t *testing.T) {
	h := newHost(t, "--disable-system")
	command, err := JoinCommand(h.joinSpec())
	if err != nil {
		t.Fatal(err)
	}
	h.vsctl(command[1:]...)
	s, err := Accept(context.Background(), h.accept(), Options{ApplyTimeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stop(h.vswitchd)
	err = s.Ensure(context.Background(), spec())
	if err == nil || !strings.Contains(err.Error(), "ovs-vswitchd") {
		t.Errorf("%v does not say that the switch does not run", err)
	}
	h.inNewNamespace(h.startSwitch)
	// Whatever was written while it was away is applied now.
	until(t, s, "the bridge", func(f *Facts) bool { return f.Bridge.DatapathID == spec().DatapathID })
	deadlineCtx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	for err = s.Ensure(deadlineCtx, spec()); err != nil; err = s.Ensure(deadlineCtx, spec()) {
		if deadlineCtx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestSessionResumed(t *testing.T) {
	h := newHost(t, "--disable-system")
	s := h.join()
	ensure(t, s, spec(allTunnels()...))
	s.Close()
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), s.Facts().Peer) {
		t.Errorf("the end of a closed session: %v", err)
	}
	if err := s.Ensure(context.Background(), spec()); err == nil {
		t.Error("Ensure on a closed session")
	}
	h.vsctl("add-port", "br-int", "tap-a", "--", "set", "Interface", "tap-a", "type=internal", "external_ids:iface-id=red-a")
	again := h.session() // the host connects again by itself
	if i, ok := byName(again.Facts(), "tap-a"); !ok || i.OFPort == 0 {
		t.Errorf("what was plugged in between: %+v", i)
	}
	before := nextCfg(again)
	ensure(t, again, spec(allTunnels()...))
	if nextCfg(again) != before {
		t.Error("a transaction where all was right")
	}
}

func TestSessionEndsWithContextAndPeer(t *testing.T) {
	h := newHost(t, "--disable-system")
	command, err := JoinCommand(h.joinSpec())
	if err != nil {
		t.Fatal(err)
	}
	h.vsctl(command[1:]...)
	ctx, cancel := context.WithCancel(context.Background())
	s, err := Accept(ctx, h.accept(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := ended(t, s); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s = h.session()
	h.vsctl("--no-wait", "del-manager")
	if err := ended(t, s); !strings.Contains(err.Error(), "closed the connection") {
		t.Errorf("the host left: %v", err)
	}
}
