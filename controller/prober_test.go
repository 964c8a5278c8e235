package controller

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/sim"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// hostStatus is what is shown of a host.
func (r *rig) hostStatus(host string) api.HostStatus {
	r.Helper()
	v := r.c.view()
	return v.hostStatus(v.model.Host(host))
}

// reaches says what is missing for a host to reach so many of its peers, and so many not.
func (r *rig) reaches(host string, reached, lost int) func() string {
	return func() string {
		if s := r.hostStatus(host); s.Reachability.Reached != reached || s.Reachability.Unreachable != lost || s.Ready != (lost == 0) {
			return fmt.Sprintf("%s: %+v, ready %v, problems %q; want %d reached and %d lost", host, s.Reachability, s.Ready, s.Problems, reached, lost)
		}
		return ""
	}
}

// cut loses what a switch sends by a tunnel port.
func cut(s *sim.Switch, e topo.Encap) { s.Attach(tunnelPort(e), nil) }

// mend ends that.
func (r *rig) mend(host string, s *sim.Switch, e topo.Encap) {
	r.Helper()
	if err := r.underlay.Join(r.c.engine.load().Host(host).TEP, s, map[string]uint32{
		topo.GRE.String(): tunnelPort(topo.GRE), topo.VXLAN.String(): tunnelPort(topo.VXLAN), topo.Geneve.String(): tunnelPort(topo.Geneve)}); err != nil {
		r.Fatal(err)
	}
}

// newReachability is twoHosts, with nothing that host1 sends over GRE arriving.
func newReachability(t *testing.T) (r *rig, s1, s2 *sim.Switch, leave2 func()) {
	t.Helper()
	r = start(t, testConfig(t.TempDir()))
	r.apply(twoHosts)
	s1, s2 = r.newSwitch("host1"), r.newSwitch("host2")
	cut(s1, topo.GRE)
	r.plugAll()
	r.connect(s1)
	leave2 = r.connect(s2)
	r.allUp()
	r.until(r.reaches("host2", 2, 0))
	r.until(r.reaches("host1", 1, 1))
	return r, s1, s2, leave2
}

// A host is not ready while its packets do not reach a peer, and is again when they do. Its
// peer, whose packets do reach it, is.
func TestUnreachablePeer(t *testing.T) {
	t.Parallel()
	r, s1, _, _ := newReachability(t)
	const want = "no packet from host1 reaches host2 (192.168.200.21) over gre: 3 probes in a row were lost; on host1 run ofctl-lab doctor"
	if got := r.hostStatus("host1").Problems; len(got) != 1 || got[0] != want {
		t.Errorf("problems %q, want %q", got, want)
	}
	gauge := func(host string) float64 {
		return metricOf(t, r, "ofctl_lab_host_unreachable_peers", host)
	}
	if gauge("host1") != 1 || gauge("host2") != 0 {
		t.Errorf("the metric says %v and %v unreachable peers", gauge("host1"), gauge("host2"))
	}
	r.mend("host1", s1, topo.GRE)
	r.until(r.reaches("host1", 2, 0))
	if gauge("host1") != 0 {
		t.Error("the metric goes on saying that a peer is unreachable")
	}
}

// Nothing is said of a peer that is away, or of a host whose own session has ended.
func TestNoVerdictWithoutSessions(t *testing.T) {
	t.Parallel()
	r, _, s2, leave := newReachability(t)
	leave()
	r.until(func() string {
		if s := r.hostStatus("host1"); s.Reachability.Unreachable != 0 || len(s.Problems) != 0 {
			return fmt.Sprintf("%+v %q", s.Reachability, s.Problems)
		}
		return ""
	})
	r.connect(s2)
	r.until(r.reaches("host1", 1, 1))
	h := r.c.hosts.find("host1")
	up := *h.db.Load()
	h.db.Store(&sessionState{})
	if s := r.hostStatus("host1"); s.Reachability.Unreachable != 0 {
		t.Errorf("without a session with the database: %+v", s.Reachability)
	}
	h.db.Store(&up)
	r.until(r.reaches("host1", 1, 1))
}

// A peer whose switch is too busy to answer an echo may be too busy for probes: it is not
// called unreachable.
func TestNoVerdictOverABusySwitch(t *testing.T) {
	t.Parallel()
	r := start(t, testConfig(t.TempDir()))
	r.apply(twoHosts)
	s1, s2 := r.newSwitch("host1"), r.newSwitch("host2")
	r.plugAll()
	r.connect(s1)
	r.connect(s2)
	r.allUp()
	r.until(r.reaches("host1", 2, 0))
	stall := make(chan struct{})
	defer close(stall)
	s2.Inject(sim.Faults{Stall: stall})
	// It reads one more message, for which it waits already.
	if err := r.c.hosts.find("host2").conn.Load().Echo(r.ctx()); err != nil {
		t.Fatal(err)
	}
	cut(s1, topo.GRE)
	h := r.c.hosts.find("host1")
	sent := func() float64 { return testutil.ToFloat64(r.c.metrics.probes.WithLabelValues("host1", "sent")) }
	before := sent()
	r.mustBecome(func() string {
		// Both pairs, and two probes more over GRE than make a peer unreachable.
		if n := sent() - before; n < 2+probeTries+1 {
			return fmt.Sprintf("%v probes more", n)
		}
		return ""
	})
	if n := len(h.reach.known(reachLost)); n != 0 {
		t.Errorf("%d peers are called unreachable", n)
	}
}

// A probe that the controller did not send proves nothing, is counted, and is told of by the
// row of probes only.
func TestForgedProbes(t *testing.T) {
	t.Parallel()
	r, _, s2, _ := newReachability(t)
	m := r.c.engine.load()
	ignored := r.c.metrics.probes.WithLabelValues("host2", "ignored")
	before := testutil.ToFloat64(ignored)
	forged := pipeline.Probe{Nonce: pipeline.Nonce{1}, From: m.Host("host1").ID, To: m.Host("host2").ID}
	nobody := forged
	nobody.From = topo.MaxID
	port := forged
	port.From = m.Port("red-a").ID
	frames := [][]byte{forged.Frame(), nobody.Frame(), port.Frame(), append(forged.Frame()[:14], 1)}
	tep1, tep2 := netip.MustParseAddr("192.168.200.20"), netip.MustParseAddr("192.168.200.21")
	for _, f := range frames {
		if err := s2.SendTunnelled(tunnelPort(topo.GRE), f, pipeline.ProbeKey, tep1, tep2); err != nil {
			t.Fatal(err)
		}
	}
	r.mustBecome(func() string {
		if n := testutil.ToFloat64(ignored) - before; n != float64(len(frames)) {
			return fmt.Sprintf("%v of %d forged probes are counted", n, len(frames))
		}
		return ""
	})
	if missing := r.reaches("host1", 1, 1)(); missing != "" {
		t.Error(missing)
	}
}

// mustBecome is until for what nobody is told of.
func (r *rig) mustBecome(ok func() string) {
	r.Helper()
	r.until(func() string {
		missing := ok()
		if missing != "" {
			r.c.changed.notify()
		}
		return missing
	})
}

// metricOf is the value of a metric that a host has.
func metricOf(t *testing.T, r *rig, name, host string) float64 {
	t.Helper()
	families, err := r.c.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == host {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s of %s", name, host)
	return 0
}
