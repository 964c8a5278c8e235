package topo_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// wireTopology is a wire between two hosts, with carrier.
func wireTopology() topo.Topology {
	return topo.Topology{
		Hosts:   []topo.Host{{Name: "h1", TEP: addr("192.0.2.1")}, {Name: "h2", TEP: addr("192.0.2.2")}},
		Tenants: []topo.Tenant{{Name: "red"}},
		Networks: []topo.Network{
			{Tenant: "red", Name: "w", Type: topo.TypeWire, Carrier: topo.CarrierPropagate, Encap: topo.GRE},
			{Tenant: "red", Name: "web", Encap: topo.GRE, Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.1.0/24")}},
		},
		Ports: []topo.Port{{Name: "a", Network: "red/w"}, {Name: "b", Network: "red/w", Profile: topo.ProfileSwitch}},
	}
}

func TestWireValidation(t *testing.T) {
	for name, c := range map[string]struct {
		wrong func(*topo.Topology)
		want  []string // object|field|other
	}{
		"nothing":  {func(*topo.Topology) {}, nil},
		"one end":  {func(d *topo.Topology) { d.Ports = d.Ports[:1] }, nil},
		"no end":   {func(d *topo.Topology) { d.Ports = nil }, nil},
		"subnets":  {func(d *topo.Topology) { d.Networks[0].Subnets = d.Networks[1].Subnets }, []string{"network red/w|subnets|"}},
		"answers":  {func(d *topo.Topology) { d.Networks[0].Answer = topo.AnswerDeclared }, []string{"network red/w|answer|"}},
		"no type":  {func(d *topo.Topology) { d.Networks[0].Type = 2 }, []string{"network red/w|type|"}},
		"no way":   {func(d *topo.Topology) { d.Networks[0].Carrier = 2 }, []string{"network red/w|carrier|"}},
		"on trunk": {func(d *topo.Topology) { d.Ports[1].Network, d.Ports[1].Trunk = "", wireTrunk() }, []string{"port b|trunk.vlans.5.network|network red/w"}},
		"carrier of an overlay": {func(d *topo.Topology) { d.Networks[1].Carrier = topo.CarrierPropagate },
			[]string{"network red/web|carrier|"}},
		"addresses": {func(d *topo.Topology) { d.Ports[0].Addresses = []netip.Addr{addr("10.1.1.1")} },
			[]string{"port a|addresses|network red/w"}},
		"a third": {func(d *topo.Topology) { d.Ports = append(d.Ports, topo.Port{Name: "c", Network: "red/w"}) },
			[]string{"port c|network|network red/w"}},
		"a fourth": {func(d *topo.Topology) {
			d.Ports = append(d.Ports, topo.Port{Name: "c", Network: "red/w"}, topo.Port{Name: "A", Network: "red/w"})
		}, []string{"port b|network|network red/w", "port c|network|network red/w"}},
	} {
		t.Run(name, func(t *testing.T) {
			tp := wireTopology()
			c.wrong(&tp)
			x := topo.Empty().Begin()
			x.Replace(tp)
			_, _, err := x.Commit()
			var got []string
			for _, p := range topo.Problems(err) {
				got = append(got, p.Object+"|"+p.Field+"|"+p.Other)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q\n%v", got, c.want, err)
			}
		})
	}
}

func wireTrunk() *topo.Trunk {
	return &topo.Trunk{VLANs: []topo.SubPort{{VLAN: 5, Network: "red/w"}}}
}

// The port that comes last is the one refused, whatever its name, and the error
// names the two that are there.
func TestWireRefusesTheThirdPort(t *testing.T) {
	s := replace(t, topo.Empty(), wireTopology())
	x := s.Begin()
	x.PutPort(topo.Port{Name: "0-first-by-name", Network: "red/w"})
	_, _, err := x.Commit()
	ps := topo.Problems(err)
	if len(ps) != 1 || ps[0].Object != "port 0-first-by-name" || !strings.Contains(ps[0].What, "port a and port b") {
		t.Fatal(err)
	}
}

// A network that becomes a wire is held to a wire's rules, though its ports are as they were.
func TestOverlayBecomesWire(t *testing.T) {
	tp := wireTopology()
	tp.Networks[0].Type, tp.Networks[0].Carrier = topo.TypeOverlay, topo.CarrierIgnore
	tp.Ports = append(tp.Ports, topo.Port{Name: "c", Network: "red/w"}, topo.Port{Name: "d", Trunk: wireTrunk()})
	s := replace(t, topo.Empty(), tp)
	x := s.Begin()
	x.PutNetwork(topo.Network{Tenant: "red", Name: "w", Type: topo.TypeWire, Encap: topo.GRE})
	_, _, err := x.Commit()
	var got []string
	for _, p := range topo.Problems(err) {
		got = append(got, p.Object+"|"+p.Field)
	}
	if want := []string{"port c|network", "port d|trunk.vlans.5.network", "port d|trunk.vlans.5.network"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A type and a way of carrier are names in JSON, and absent where nothing is declared.
func TestNetworkTypeInJSON(t *testing.T) {
	for _, c := range []struct {
		n    topo.Network
		want string
	}{
		{topo.Network{Encap: topo.GRE}, ""},
		{topo.Network{Encap: topo.GRE, Type: topo.TypeWire, Carrier: topo.CarrierPropagate}, `"type":"wire","carrier":"propagate"`},
	} {
		b, err := json.Marshal(c.n)
		if err != nil || !strings.Contains(string(b), c.want) || c.want == "" && strings.Contains(string(b), `"type"`) {
			t.Errorf("%s, %v", b, err)
		}
		var back topo.Network
		if err := json.Unmarshal(b, &back); err != nil || back.Type != c.n.Type || back.Carrier != c.n.Carrier {
			t.Errorf("%+v, %v", back, err)
		}
	}
	if _, err := json.Marshal(topo.Network{Encap: topo.GRE, Type: 9}); err == nil {
		t.Error("a type that is none was written")
	}
	if err := new(topo.NetworkType).UnmarshalText([]byte("bus")); err == nil {
		t.Error("a type that is none was read")
	}
	if err := new(topo.Carrier).UnmarshalText([]byte("loud")); err == nil {
		t.Error("a carrier that is none was read")
	}
}

// A wire leaves room for two tags of the guests' own, and the restored overlay
// is the one that was stored.
func TestWireMTUAndRestore(t *testing.T) {
	s := replace(t, topo.Empty(), wireTopology())
	if got, err := s.PortMTU("a", 1500); got != 1450 || err != nil {
		t.Error(got, err)
	}
	if err := s.CheckMTU(42 + 576 + topo.WireOverhead); err != nil {
		t.Error(err)
	}
	if err := s.CheckMTU(42 + 576 + topo.WireOverhead - 1); len(topo.Problems(err)) != 1 {
		t.Error(err)
	}
	back, err := topo.Restore(s.Desired())
	if err != nil || !back.Network("red/w").PropagatesCarrier() {
		t.Error(err)
	}
}
