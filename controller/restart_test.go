package controller

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsdb"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// changeInterfaces changes interfaces in a host's database, by name; nil takes one away.
func (d *hostDatabase) changeInterfaces(changes map[string]func(*ovsdb.Interface), bridge func(*ovsdb.BridgeFacts)) {
	d.set(func(f *ovsdb.Facts) {
		bridge(&f.Bridge)
		f.Interfaces = maps.Clone(f.Interfaces)
		for id, i := range f.Interfaces {
			change, named := changes[i.Name]
			switch {
			case !named:
			case change == nil:
				delete(f.Interfaces, id)
			default:
				change(&i)
				f.Interfaces[id] = i
			}
		}
	})
}

func runs(b *ovsdb.BridgeFacts)     { b.DatapathID = 1 }
func restarts(b *ovsdb.BridgeFacts) { b.DatapathID = 0 }

func ofport(n uint32) func(*ovsdb.Interface) { return func(i *ovsdb.Interface) { i.OFPort = n } }

// TestUnreportedNumbers: until ovs-vswitchd has said that it runs the bridge, ports stay
// bound to the numbers that they had, whatever the database says, and tunnel ports too.
// A port whose row has gone is unbound at once.
func TestUnreportedNumbers(t *testing.T) {
	r, _, _ := twoHostRig(t, testConfig(t.TempDir()))
	d := r.databases["host1"]
	bound := func(port string) uint32 {
		if b := r.c.engine.load().Bindings(port); len(b) > 0 {
			return b[0].OFPort
		}
		return 0
	}
	tunnel := func() uint32 { return r.c.engine.load().Host("host1").Tunnel(topo.GRE) }
	other := func() uint32 { return r.c.engine.load().Host("host1").Tunnel(topo.VXLAN) }
	d.changeInterfaces(map[string]func(*ovsdb.Interface){"v-red-a": ofport(7), "ofctl-gre0": ofport(0), "ofctl-vxlan0": ofport(55), "v-blue-a": nil}, restarts)
	r.until(r.portIs("blue-a", api.StateDown))
	if bound("red-a") != 1 || tunnel() != 1001 || other() != 1002 {
		t.Errorf("before ovs-vswitchd has said anything red-a is bound to %d and the tunnel ports are %d and %d", bound("red-a"), tunnel(), other())
	}
	if st := r.c.view().portStatus(r.c.engine.load().Port("red-a")); st.State != api.StateUp {
		t.Errorf("red-a: %+v", st)
	}
	d.changeInterfaces(nil, runs)
	r.until(func() string {
		if n := bound("red-a"); n != 7 {
			return fmt.Sprintf("red-a is bound to %d", n)
		}
		return ""
	})
	r.until(r.portIs("red-a", api.StateUp))
	if n := other(); n != 55 {
		t.Errorf("a tunnel port that was given number 55 still is %d", n)
	}
	if tunnel() != 1001 {
		t.Errorf("a tunnel port whose number is not known yet went from 1001 to %d", tunnel())
	}
	d.changeInterfaces(map[string]func(*ovsdb.Interface){"ofctl-gre0": func(i *ovsdb.Interface) { i.Error = "File exists" }}, runs)
	r.until(func() string {
		if n := tunnel(); n != 0 {
			return fmt.Sprintf("a tunnel port that could not be opened still is %d", n)
		}
		return ""
	})
}

// TestUnreportedIsNoPicture: facts that do not say which numbers there are do not count as
// the picture of a host: its switch, which forwards already, stays as it is.
func TestUnreportedIsNoPicture(t *testing.T) {
	r := start(t, testConfig(t.TempDir()))
	r.apply(twoHosts)
	r.mute = true
	r.plugAll()
	h, err := r.c.hosts.get("host1")
	if err != nil {
		t.Fatal(err)
	}
	// The second change is committed when all that follows from the first is done. An
	// endpoint that is not the declared one is a problem of the host.
	for _, step := range []struct {
		tep      string
		problems int
	}{{"192.168.200.99", 1}, {"192.168.200.20", 0}} {
		r.databases["host1"].set(func(f *ovsdb.Facts) { f.TEP = netip.MustParseAddr(step.tep) })
		r.until(func() string {
			if n := len(r.c.engine.load().HostProblems()); n != step.problems {
				return fmt.Sprintf("the hosts have %d problems with tunnel endpoint %s", n, step.tep)
			}
			return ""
		})
	}
	if th := r.c.engine.load().Host("host1"); th.Tunnel(topo.GRE) != 0 {
		t.Errorf("host1 is %+v", th)
	}
	if isClosed(h.pictured) || len(r.c.engine.load().Bindings("red-a")) != 0 {
		t.Error("numbers of before the restart were taken for a picture")
	}
	r.databases["host1"].changeInterfaces(nil, runs)
	<-h.pictured
	r.until(func() string {
		if len(r.c.engine.load().Bindings("red-a")) == 0 {
			return "red-a is not bound"
		}
		return ""
	})
}

// TestReadyMeansThatPacketsPass: a host is ready only with its bridge on the datapath that
// was intended and a tunnel port for each encapsulation, and says what is missing.
func TestReadyMeansThatPacketsPass(t *testing.T) {
	r, _, _ := twoHostRig(t, testConfig(t.TempDir()))
	d := r.databases["host1"]
	good := *d.Facts()
	status := func() api.HostStatus {
		v := r.c.view()
		return v.hostStatus(v.model.Host("host1"))
	}
	fallback := func() string {
		families, err := r.c.metrics.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "ofctl_lab_host_datapath_fallback" {
				return fmt.Sprint(f.GetMetric()[0].GetGauge().GetValue())
			}
		}
		return "none"
	}
	r.until(func() string {
		if s := status(); !s.Ready {
			return fmt.Sprintf("host1 is not ready: %+v", s)
		}
		return ""
	})
	for name, c := range map[string]struct {
		spoil    func(*ovsdb.Facts)
		problem  string // "" for none
		fallback string
	}{
		"no bridge":        {func(f *ovsdb.Facts) { f.Bridge = ovsdb.BridgeFacts{Name: "br-int"} }, "there is no bridge br-int", "0"},
		"not reported":     {func(f *ovsdb.Facts) { f.Bridge.DatapathID = 0 }, "ovs-vswitchd has not said", "0"},
		"turned to netdev": {func(f *ovsdb.Facts) { f.Bridge.Intended = "system" }, "ovs-vsctl set bridge br-int datapath_type=system", "1"},
		"fell back":        {func(f *ovsdb.Facts) { f.Bridge.Intended, f.Bridge.Fallback = "system", "no module" }, "", "1"},
		"unmarked":         {func(f *ovsdb.Facts) { f.Bridge.Intended = "" }, "", "0"},
		"unmarked where the kernel can": {func(f *ovsdb.Facts) { f.Bridge.Intended, f.SystemRuns = "", true },
			"ovs-vsctl br-set-external-id br-int ofctl-lab-datapath netdev", "0"},
		"system":           {func(f *ovsdb.Facts) { f.Bridge.DatapathType, f.Bridge.Intended = "system", "system" }, "", "0"},
		"no tunnel port":   {func(f *ovsdb.Facts) { delete(f.Interfaces, ifaceUUID("host1", "vxlan", 0)) }, "there is no tunnel port ofctl-vxlan0", "0"},
		"no number":        {func(f *ovsdb.Facts) { changeTunnel(f, "geneve", ofport(0)) }, "tunnel port ofctl-geneve0 has no OpenFlow number", "0"},
		"ip6gre over IPv4": {func(f *ovsdb.Facts) { changeTunnel(f, "gre", func(i *ovsdb.Interface) { i.Type = "ip6gre" }) }, "it has to be gre", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			d.set(func(f *ovsdb.Facts) {
				*f = good
				f.Interfaces = maps.Clone(good.Interfaces)
				c.spoil(f)
			})
			r.until(r.synced)
			s := status()
			text := strings.Join(s.Problems, "\n")
			if (c.problem == "") != (text == "") || !strings.Contains(text, c.problem) {
				t.Errorf("problems %q, want %q", text, c.problem)
			}
			if s.Ready && c.problem != "" {
				t.Error("it is ready")
			}
			if got := fallback(); got != c.fallback {
				t.Errorf("the metric of a fall-back is %s, want %s", got, c.fallback)
			}
		})
	}
}

func changeTunnel(f *ovsdb.Facts, encap string, with func(*ovsdb.Interface)) {
	id := ifaceUUID("host1", encap, 0)
	i := f.Interfaces[id]
	with(&i)
	f.Interfaces[id] = i
}

// TestTunnelPortOfEitherGRE: both types of GRE are the port of that encapsulation.
func TestTunnelPortOfEitherGRE(t *testing.T) {
	for typ, want := range map[string]topo.Encap{"gre": topo.GRE, "ip6gre": topo.GRE, "vxlan": 0, "": 0} {
		i := ovsdb.Interface{UUID: uuid.New(), Name: "ofctl-gre0", Type: typ, OFPort: 3, Options: map[string]string{"key": "flow"}}
		if e, _ := tunnelEncap(i); e != want {
			t.Errorf("type %q is %v, want %v", typ, e, want)
		}
	}
	c := &Controller{}
	for tep, want := range map[string]ovsdb.TunnelType{"192.0.2.1": ovsdb.TunnelGRE, "fd00::1": ovsdb.TunnelIP6GRE} {
		if got := c.tunnel(topo.GRE, netip.MustParseAddr(tep)); got.Type != want || got.Name != "ofctl-gre0" {
			t.Errorf("for tunnel endpoint %s: %+v", tep, got)
		}
	}
}
