package controller

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/controller/store"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/datapath/sim"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// holds says what is missing for a switch to hold exactly what the host should.
func (r *rig) holds(s *sim.Switch, host string) func() string {
	return func() string {
		want, err := pipeline.Compile(r.c.engine.load().Snapshot, host)
		if err != nil {
			r.Fatal(err)
		}
		if d := flows.Diff(s.State(), want); !d.Empty() {
			return host + " differs from what it should hold"
		}
		return ""
	}
}

func TestPortsComeUpAndSwitchesHoldExactlyWhatIsCompiled(t *testing.T) {
	r, s1, s2 := twoHostRig(t, testConfig(t.TempDir()))
	for _, m := range []func() string{r.holds(s1, "host1"), r.holds(s2, "host2")} {
		if missing := m(); missing != "" {
			t.Error(missing)
		}
	}
	st, err := r.client.Status(r.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if st.PortsUp != 4 || st.HostsReady != 2 || !st.Settled || st.SyncedRevision != st.Revision || len(st.Problems) != 0 {
		t.Errorf("status %+v", st)
	}
}

// A second synchronisation of a switch that is right sends nothing that changes anything.
func TestReconnectSendsNoModification(t *testing.T) {
	r, s1, _ := twoHostRig(t, testConfig(t.TempDir()))
	before := s1.Counts()
	since := r.c.hosts.find("host1").of.Load().since
	s1.Disconnect()
	r.until(func() string {
		of := r.c.hosts.find("host1").of.Load()
		sync := r.c.hosts.find("host1").sync.Load()
		if of.connected && of.since.After(since) && sync.connected && sync.at.After(of.since) {
			return ""
		}
		return "host1 did not synchronise again"
	})
	after := s1.Counts()
	if after.Messages == before.Messages {
		t.Fatal("the switch was not even asked")
	}
	if n := after.Mods() - before.Mods(); n != 0 {
		t.Errorf("%d modifying messages in a second synchronisation, want 0", n)
	}
}

func TestRestartOfTheSwitchIsRepaired(t *testing.T) {
	r, s1, _ := twoHostRig(t, testConfig(t.TempDir()))
	s1.Restart()
	r.until(r.holds(s1, "host1"))
	r.until(r.portIs("red-a", api.StateUp))
}

func TestNewConnectionHasConfirmedNothing(t *testing.T) {
	r, s1, _ := twoHostRig(t, testConfig(t.TempDir()))
	h := r.c.hosts.find("host1")
	for range 20 {
		before := h.of.Load().since
		s1.Restart()
		r.until(func() string {
			of, sync := h.of.Load(), h.sync.Load()
			switch {
			case !of.connected || of.since.Equal(before):
				return "host1 is not connected anew"
			case sync.at.Before(of.since) && sync.revision() != 0:
				t.Errorf("the switch is empty, and has confirmed revision %d", sync.revision())
			case sync.at.Before(of.since):
				return "the switch has not confirmed anything"
			}
			return ""
		})
		r.until(r.synced)
		r.until(r.holds(s1, "host1"))
	}
}

func TestRestartOfTheControllerKeepsIdentityAndTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig(dir)
	cfg.Settle = time.Hour // so that only the picture can end the wait
	first := start(t, cfg)
	first.apply(twoHosts)
	s1, s2 := first.newSwitch("host1"), first.newSwitch("host2")
	first.plugAll()
	first.connect(s1)
	first.connect(s2)
	first.allUp()
	networks, err := first.client.Networks(first.ctx())
	if err != nil {
		t.Fatal(err)
	}
	first.stop()
	mods1, mods2 := s1.Counts().Mods(), s2.Counts().Mods()

	r := start(t, cfg)
	again, err := r.client.Networks(r.ctx())
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range again {
		if n.ID != networks[i].ID || n.UUID != networks[i].UUID || n.Key != networks[i].Key {
			t.Errorf("network %s came back as %+v, was %+v", n.FullName(), n, networks[i])
		}
	}
	r.connect(s1)
	r.connect(s2)
	waiting := func(host string) func() string {
		return func() string {
			if h := r.c.hosts.find(host); h == nil || h.sync.Load().waiting == "" {
				return host + " does not wait for the picture"
			}
			return ""
		}
	}
	r.until(waiting("host1"))
	r.until(waiting("host2"))
	// One of two hosts has shown its ports: the other's flows must stay.
	r.show("host1", "192.168.200.20", plugged{"red-a", 1, 0}, plugged{"blue-a", 2, 0})
	r.until(func() string {
		select {
		case <-r.c.hosts.find("host1").pictured:
			return ""
		default:
			return "host1's picture is not committed"
		}
	})
	if w := r.c.hosts.find("host1").sync.Load().waiting; w == "" {
		t.Error("host1 was touched before host2 had shown its ports")
	}
	r.plugAll()
	r.allUp()
	if a, b := s1.Counts().Mods(), s2.Counts().Mods(); a != mods1 || b != mods2 {
		t.Errorf("a restart sent %d and %d modifying messages, want 0", a-mods1, b-mods2)
	}
}

func TestSettleTimeEndsTheWait(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig(dir)
	first, s1, _ := twoHostRig(t, cfg)
	first.stop()
	cfg.Settle = 50 * time.Millisecond
	r := start(t, cfg)
	r.connect(s1)
	r.show("host1", "192.168.200.20") // red-a and blue-a have gone, host2 never returns
	r.until(r.holds(s1, "host1"))
}

// However long a host's OVSDB takes to return, its switch keeps what it has: not
// seen yet is not unplugged.
func TestSwitchWaitsForItsOwnHost(t *testing.T) {
	cfg := testConfig(t.TempDir())
	first, s1, s2 := twoHostRig(t, cfg)
	first.stop()
	cfg.Settle = time.Millisecond
	r := start(t, cfg)
	mods := s1.Counts().Mods()
	r.connect(s1)
	r.until(func() string {
		if h := r.c.hosts.find("host1"); h == nil || h.sync.Load().waiting == "" || !r.c.settle.complete() {
			return "host1 does not wait"
		}
		return ""
	})
	// The other host comes, loses a port, and is served, long after the settle time.
	r.connect(s2)
	r.show("host2", "192.168.200.21", plugged{"red-b", 1, 0})
	r.until(r.holds(s2, "host2"))
	if now := s1.Counts().Mods(); now != mods {
		t.Errorf("%d messages changed the switch of a host that has not shown its ports", now-mods)
	}
	r.show("host1", "192.168.200.20", plugged{"red-a", 1, 0}, plugged{"blue-a", 2, 0})
	r.until(r.holds(s1, "host1"))
}

func TestUnpluggedAndPluggedElsewhere(t *testing.T) {
	r, s1, s2 := twoHostRig(t, testConfig(t.TempDir()))
	r.show("host1", "192.168.200.20", plugged{"blue-a", 2, 0})
	r.until(r.portIs("red-a", api.StateDown))
	r.show("host2", "192.168.200.21", plugged{"red-b", 1, 0}, plugged{"blue-b", 2, 0}, plugged{"red-a", 7, 1})
	r.until(r.portIs("red-a", api.StateUp))
	r.until(r.synced)
	r.until(r.holds(s1, "host1"))
	r.until(r.holds(s2, "host2"))
	p, err := r.client.Port(r.ctx(), "red-a")
	if err != nil {
		t.Fatal(err)
	}
	if p.Status.Host != "host2" || p.Status.OFPort != 7 {
		t.Errorf("red-a is at %s port %d, want host2 port 7", p.Status.Host, p.Status.OFPort)
	}
}

// A number that another port had is bound only when the switch has confirmed
// that the old port's flows are gone.
func TestReusedNumberIsQuarantined(t *testing.T) {
	r, s1, _ := twoHostRig(t, testConfig(t.TempDir()))
	stall := make(chan struct{})
	s1.Inject(sim.Faults{Stall: stall})
	// red-a's number 1 goes to blue-a's new interface in one and the same picture.
	r.show("host1", "192.168.200.20", plugged{"blue-a", 1, 1})
	r.until(func() string {
		if b := r.c.engine.load().Bindings("red-a"); len(b) != 0 {
			return "red-a is still bound"
		}
		return ""
	})
	if b := r.c.engine.load().Bindings("blue-a"); len(b) != 0 {
		t.Fatalf("blue-a was bound to a number whose old flows are still there: %+v", b)
	}
	close(stall)
	s1.Inject(sim.Faults{})
	r.until(r.portIs("blue-a", api.StateUp))
	r.until(r.holds(s1, "host1"))
}

func TestPortStatusUnbindsAtOnce(t *testing.T) {
	r, s1, _ := twoHostRig(t, testConfig(t.TempDir()))
	port := ofp13.PortDesc{Number: 1, Name: "v-red-a"}
	if err := s1.SetPort(port); err != nil {
		t.Fatal(err)
	}
	if err := s1.DeletePort(1); err != nil {
		t.Fatal(err)
	}
	r.until(r.portIs("red-a", api.StateDown))
	if err := s1.SetPort(port); err != nil {
		t.Fatal(err)
	}
	r.until(r.portIs("red-a", api.StateUp))
}

func TestPortClaimedByTwoHostsDoesNotFlap(t *testing.T) {
	r, _, _ := twoHostRig(t, testConfig(t.TempDir()))
	r.show("host2", "192.168.200.21", plugged{"red-b", 1, 0}, plugged{"blue-b", 2, 0}, plugged{"red-a", 9, 0})
	r.until(r.portIs("red-a", api.StateConflict))
	p, err := r.client.Port(r.ctx(), "red-a")
	if err != nil {
		t.Fatal(err)
	}
	if p.Status.Host != "host1" || len(p.Status.Rivals) != 1 || p.Status.Rivals[0].Host != "host2" {
		t.Errorf("status %+v, want the first claim on host1 in effect and host2 as rival", p.Status)
	}
	for _, host := range []string{"host1", "host2"} {
		if !strings.Contains(p.Status.Message, host) {
			t.Errorf("message %q does not name %s", p.Status.Message, host)
		}
	}
	revision := r.c.engine.load().Revision()
	r.plugAll() // and back: one commit, no flapping
	r.until(r.portIs("red-a", api.StateUp))
	if got := r.c.engine.load().Revision(); got != revision+1 {
		t.Errorf("%d commits for one change", got-revision)
	}
}

func TestAuditRepairsAndCounts(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.AuditInterval = time.Hour
	r, s1, _ := twoHostRig(t, cfg)
	want := s1.State()
	var victim *flows.Flow
	for f := range want.Flows() {
		victim = f
	}
	if err := s1.Do(flows.Op{Kind: flows.DeleteFlow, Flow: victim}); err != nil {
		t.Fatal(err)
	}
	h := r.c.hosts.find("host1")
	h.audit.ring()
	r.until(func() string {
		if h.sync.Load().drift != 1 {
			return "no drift counted"
		}
		return r.holds(s1, "host1")()
	})
}

func TestRefusedFlowIsReportedAndRetried(t *testing.T) {
	r, s1, _ := twoHostRig(t, testConfig(t.TempDir()))
	s1.Inject(sim.Faults{RejectFlowMod: 1})
	r.show("host1", "192.168.200.20", plugged{"blue-a", 2, 0})
	reported := false
	r.until(func() string {
		reported = reported || r.c.hosts.find("host1").sync.Load().err != ""
		if !reported {
			return "the refusal is not reported"
		}
		return ""
	})
	r.until(r.synced)
	r.until(r.holds(s1, "host1"))
	if err := r.c.hosts.find("host1").sync.Load().err; err != "" {
		t.Errorf("the error stays after a success: %s", err)
	}
}

func TestBrokenStoreFailsChangesAndKeepsTheNetwork(t *testing.T) {
	r, s1, _ := twoHostRig(t, testConfig(t.TempDir()))
	if err := r.c.store.Close(); err != nil { // every write fails from here on
		t.Fatal(err)
	}
	_, err := r.client.PutTenant(r.ctx(), "green")
	if err == nil || !strings.Contains(err.Error(), "store") {
		t.Errorf("error = %v, want one that blames the store", err)
	}
	if r.c.engine.load().Tenant("green") != nil {
		t.Error("a change that was not stored was published")
	}
	r.show("host1", "192.168.200.20", plugged{"blue-a", 2, 0})
	r.until(r.portIs("red-a", api.StateDown))
	r.until(r.synced)
	r.until(r.holds(s1, "host1"))
}

func TestRetiredKeyIsReleasedWhenAllHostsFollowed(t *testing.T) {
	r, s1, _ := twoHostRig(t, testConfig(t.TempDir()))
	stall := make(chan struct{})
	s1.Inject(sim.Faults{Stall: stall})
	r.apply(strings.Replace(twoHosts, "key: 1000001", "key: 1000009", 1))
	_, err := r.client.PutNetwork(r.ctx(), api.NetworkSpec{Tenant: "blue", Name: "thief", Encap: "gre", Key: 1000001})
	if err == nil {
		t.Fatal("a key was given out again while a host may still forward it")
	}
	close(stall)
	s1.Inject(sim.Faults{})
	r.until(func() string {
		if n := len(r.c.engine.load().RetiredKeys()); n > 0 {
			return "the key is still retired"
		}
		return ""
	})
	if _, err := r.client.PutNetwork(r.ctx(), api.NetworkSpec{Tenant: "blue", Name: "thief", Encap: "gre", Key: 1000001}); err != nil {
		t.Error(err)
	}
}

func TestAwayHostBlocksReleaseUntilForgotten(t *testing.T) {
	r := start(t, testConfig(t.TempDir()))
	r.apply(twoHosts)
	r.plugAll()
	r.connect(r.newSwitch("host1"))
	leave := r.connect(r.newSwitch("host2"))
	r.allUp()
	leave()
	h2 := r.c.hosts.find("host2")
	r.until(func() string {
		if h2.of.Load().connected {
			return "host2 is connected"
		}
		return ""
	})
	r.apply(strings.Replace(twoHosts, "key: 1000001", "key: 1000009", 1))
	r.until(r.portIs("red-a", api.StateUp))
	if n := len(r.c.engine.load().RetiredKeys()); n != 1 {
		t.Fatalf("%d retired keys, want 1: host2 may still forward the old one", n)
	}
	h2.db.Store(&sessionState{}) // its database is away too
	if _, err := r.client.DeleteHost(r.ctx(), "host2"); err == nil {
		t.Error("a host to which ports of the topology are assigned was deleted")
	}
	r.apply(withoutHost2)
	if _, err := r.client.DeleteHost(r.ctx(), "host2"); err != nil {
		t.Fatal(err)
	}
	r.until(func() string {
		if len(r.c.engine.load().RetiredKeys()) > 0 {
			return "the key is still retired"
		}
		return ""
	})
	if r.c.engine.load().Host("host2") != nil {
		t.Error("host2 is not forgotten")
	}
}

func TestUnknownSwitchIsListed(t *testing.T) {
	r := start(t, testConfig(t.TempDir()))
	r.connect(sim.New(0xabcdef))
	r.until(func() string {
		if len(r.c.unclaimed.all()) == 0 {
			return "nothing unclaimed"
		}
		return ""
	})
	u, err := r.client.Unclaimed(r.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Bridges) != 1 || u.Bridges[0].DatapathID != "0000000000abcdef" || u.Bridges[0].Reason == "" {
		t.Errorf("unclaimed bridges %+v", u.Bridges)
	}
}

func TestTwoSwitchesWithOneDatapathID(t *testing.T) {
	r, _, _ := twoHostRig(t, testConfig(t.TempDir()))
	first := r.c.hosts.find("host1").of.Load().peer
	r.connect(sim.New(datapathID(r.c.engine.load().Host("host1").UUID)))
	r.until(func() string {
		if len(r.c.unclaimed.all()) == 0 {
			return "the second is not refused"
		}
		return ""
	})
	b := r.c.unclaimed.all()[0]
	if !strings.Contains(b.Reason, first) || !strings.Contains(b.Reason, "127.0.0.1") {
		t.Errorf("reason %q does not name both peers (first %s)", b.Reason, first)
	}
	if got := r.c.hosts.find("host1").of.Load(); !got.connected || got.peer != first {
		t.Errorf("the first session was disturbed: %+v", got)
	}
	h, err := r.client.Host(r.ctx(), "host1")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(h.Status.Problems, "\n"), first) {
		t.Errorf("host1 reports no problem: %v", h.Status.Problems)
	}
	if !h.Status.Ready {
		t.Errorf("a bridge that was refused makes host1 not ready: %+v", h.Status)
	}
}

func TestEmptyStoreDoesNotWipeSwitches(t *testing.T) {
	first, s1, _ := twoHostRig(t, testConfig(t.TempDir()))
	first.stop()
	mods := s1.Counts().Mods()
	r := start(t, testConfig(t.TempDir())) // the store is lost
	r.show("host1", "192.168.200.20", plugged{"red-a", 1, 0}, plugged{"blue-a", 2, 0})
	r.until(func() string {
		if r.c.engine.load().Host("host1") == nil {
			return "host1 is not known"
		}
		return ""
	})
	r.connect(s1)
	r.until(func() string {
		if r.c.hosts.find("host1").sync.Load().waiting == "" {
			return "host1 does not wait"
		}
		return ""
	})
	if n := s1.Counts().Mods() - mods; n != 0 {
		t.Errorf("%d modifying messages from a controller that knows no topology", n)
	}
	r.apply(twoHosts)
	r.show("host2", "192.168.200.21")
	r.until(r.holds(s1, "host1"))
}

func TestSecondControllerIsRefused(t *testing.T) {
	dir := t.TempDir()
	start(t, testConfig(dir))
	cfg := testConfig(dir)
	if c, err := New(cfg, Deps{}); err == nil {
		_ = c.Close()
		t.Fatal("two controllers on one store")
	} else if !strings.Contains(err.Error(), "another controller") {
		t.Errorf("error = %v", err)
	}
}

func TestSocketOfADeadControllerIsReplaced(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig(dir)
	l, err := listenUnix(cfg.APISocket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(cfg.APISocket); err == nil || !strings.Contains(err.Error(), "somebody serves") {
		t.Errorf("error = %v", err)
	}
	st, err := os.Stat(cfg.APISocket)
	if err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as when a controller is killed
	_ = l.Close()
	again, err := listenUnix(cfg.APISocket)
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
	other := filepath.Join(dir, "file")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(other); err == nil {
		t.Error("a file that is no socket was replaced")
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	dir := t.TempDir()
	st, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	bad := topo.Empty().Desired()
	bad.Hosts = []topo.Host{{Name: "h", TEP: netip.MustParseAddr("192.0.2.1")}}
	if err := st.Save(store.State{Desired: bad}); err != nil {
		t.Fatal(err)
	}
	_ = st.Close()
	if c, err := New(testConfig(dir), Deps{}); err == nil {
		_ = c.Close()
		t.Error("a damaged store was accepted")
	}
}
