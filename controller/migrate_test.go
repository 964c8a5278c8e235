package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/controller/config"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/datapath/sim"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
)

// migratable is twoHosts with red-a allowed to migrate to host2.
var migratable = strings.Replace(twoHosts, "host: host1, netns: red-a,", "host: host1, netns: red-a, migrate_to: host2,", 1)

// migratableWire is migratable with a wire between red-a and red-b.
var migratableWire = strings.NewReplacer("{name: web, encap: gre, key: 1000001, subnets: [10.1.1.0/24]}",
	"{name: web, type: wire, encap: gre, key: 1000001}",
	"migrate_to: host2,  addresses: [10.1.1.1]", "migrate_to: host2",
	"netns: red-b,  addresses: [10.1.1.2]", "netns: red-b").Replace(migratable)

// migrationRig is migratable with red-a up on host1, and on standby on host2 as port 9.
func migrationRig(t *testing.T, cfg *config.Config) (*rig, *sim.Switch, *sim.Switch) {
	t.Helper()
	return migrationRigOf(t, cfg, migratable)
}

// migrationRigOf is such a rig of another topology with these ports.
func migrationRigOf(t *testing.T, cfg *config.Config, topology string) (*rig, *sim.Switch, *sim.Switch) {
	t.Helper()
	r := start(t, cfg)
	r.apply(topology)
	s1, s2 := r.newSwitch("host1"), r.newSwitch("host2")
	r.plugAll()
	r.connect(s1)
	r.connect(s2)
	r.allUp()
	r.showDestination()
	r.until(r.standby("host1", "host2"))
	r.until(r.synced)
	return r, s1, s2
}

// showSource and showDestination are what the hosts show while both have red-a.
func (r *rig) showSource() {
	r.show("host1", "192.168.200.20", plugged{"red-a", 1, 0}, plugged{"blue-a", 2, 0})
}

func (r *rig) showDestination() {
	r.show("host2", "192.168.200.21", plugged{"red-b", 1, 0}, plugged{"blue-b", 2, 0}, plugged{"red-a", 9, 0})
}

// standby says what is missing for red-a to be up on one host and ready on the other.
func (r *rig) standby(active, other string) func() string {
	return func() string {
		st := r.c.view().portStatus(r.c.engine.load().Port("red-a"))
		if st.State == api.StateMigrating && st.Host == active && st.Standby != nil && st.Standby.Host == other && st.Standby.Ready {
			return ""
		}
		return fmt.Sprintf("red-a is not on %s with %s ready: %+v", active, other, st)
	}
}

// frame has a switch tell of a frame of red-a, if it holds the row that does so.
func (r *rig) frame(s *sim.Switch, inPort uint32) bool {
	r.Helper()
	for f := range s.State().Flows() {
		if f.Cookie.Feature() != uint8(pipeline.FeatArrival) {
			continue
		}
		if m, ok := f.Match.Get(flows.InPort); !ok || m.Value.Lo != uint64(inPort) {
			continue
		}
		err := s.SendPacketIn(ofp13.PacketIn{Reason: 1, Table: f.Table, Cookie: f.Cookie,
			Match: flows.Match{}.With(flows.InPort, flows.U(uint64(inPort))), Data: make([]byte, 60)})
		if err != nil {
			r.Fatal(err)
		}
		return true
	}
	return false
}

func TestPortIsCutOverByItsFirstFrame(t *testing.T) {
	r, s1, s2 := migrationRig(t, testConfig(t.TempDir()))
	if r.frame(s1, 1) {
		t.Error("the source is watched")
	}
	if !r.frame(s2, 9) {
		t.Fatal("the destination is not watched")
	}
	r.until(r.standby("host2", "host1"))
	r.until(r.synced)
	r.until(r.holds(s1, "host1"))
	r.until(r.holds(s2, "host2"))
	if r.frame(s2, 9) {
		t.Error("the destination is still watched")
	}
	// The source goes; the port is an ordinary one, elsewhere.
	r.show("host1", "192.168.200.20", plugged{"blue-a", 2, 0})
	r.until(r.portIs("red-a", api.StateUp))
	if b := r.c.engine.load().Bindings("red-a"); b[0].Host != "host2" {
		t.Errorf("red-a is bound %+v", b)
	}
}

func TestMigrationThatFailedChangesNothing(t *testing.T) {
	r := start(t, testConfig(t.TempDir()))
	r.apply(migratable)
	s1, s2 := r.newSwitch("host1"), r.newSwitch("host2")
	r.plugAll()
	r.connect(s1)
	r.connect(s2)
	r.allUp()
	was1, was2, sent := s1.State(), s2.State(), s1.Counts()
	r.showDestination()
	r.until(r.standby("host1", "host2"))
	r.plugAll()
	r.until(r.portIs("red-a", api.StateUp))
	r.until(r.synced)
	if !s2.State().Equal(was2) {
		t.Error("host2 is not as it was before the migration")
	}
	if !s1.State().Equal(was1) || s1.Counts().FlowMods != sent.FlowMods {
		t.Errorf("the source was sent flows: %+v, before %+v", s1.Counts(), sent)
	}
}

// A frame of another port, by another number, or from a host that is not part of the
// migration, cuts nothing over.
func TestOnlyTheAwaitedFrameCutsOver(t *testing.T) {
	r, s1, s2 := migrationRig(t, testConfig(t.TempDir()))
	id := uint32(r.c.engine.load().Port("red-a").ID)
	other := uint32(r.c.engine.load().Port("blue-b").ID)
	tell := func(s *sim.Switch, owner, inPort uint32) {
		err := s.SendPacketIn(ofp13.PacketIn{Reason: 1, Cookie: flows.NewCookie(uint8(pipeline.FeatArrival), pipeline.Generation, owner),
			Match: flows.Match{}.With(flows.InPort, flows.U(uint64(inPort))), Data: make([]byte, 60)})
		if err != nil {
			t.Fatal(err)
		}
	}
	tell(s1, id, 9)    // host1 speaks for host2
	tell(s1, id, 1)    // the source
	tell(s2, id, 1)    // red-b's number
	tell(s2, other, 2) // another port
	tell(s2, 0xffffff, 9)
	// Packet-ins of a session are served in order: once this one is, the others are.
	handled := func() (n float64) {
		families, err := r.c.metrics.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "ofctl_lab_packet_ins_total" {
				for _, m := range f.GetMetric() {
					n += m.GetCounter().GetValue()
				}
			}
		}
		return n
	}
	for limit := time.Now().Add(deadline); handled() < 5; {
		if time.Now().After(limit) {
			t.Fatalf("%v packet-ins were handled, want 5", handled())
		}
	}
	if missing := r.standby("host1", "host2")(); missing != "" {
		t.Fatal(missing)
	}
	if !r.frame(s2, 9) {
		t.Fatal("the destination is not watched any more")
	}
	r.until(r.standby("host2", "host1"))
}

// Without a word of a migration a second claim is a conflict, and not watched.
func TestUndeclaredSecondClaimIsAConflict(t *testing.T) {
	r, _, s2 := twoHostRig(t, testConfig(t.TempDir()))
	r.showDestination()
	r.until(r.portIs("red-a", api.StateConflict))
	r.until(r.synced)
	if r.frame(s2, 9) {
		t.Error("a rival is watched")
	}
	// The word may come later, in either way.
	p, err := r.client.Port(r.ctx(), "red-a")
	if err != nil {
		t.Fatal(err)
	}
	p.MigrateTo = "host2"
	if _, err := r.client.PutPort(r.ctx(), p.PortSpec); err != nil {
		t.Fatal(err)
	}
	r.until(r.standby("host1", "host2"))
	if p, err = r.client.Port(r.ctx(), "red-a"); err != nil || p.MigrateTo != "host2" || p.Status.Standby == nil || p.Status.Standby.Host != "host2" {
		t.Errorf("the API shows %+v, %v", p, err)
	}
	r.apply(migratable)
	r.until(r.standby("host1", "host2"))
	// And be taken back.
	r.apply(twoHosts)
	r.until(r.portIs("red-a", api.StateConflict))
}

// Two guests that both send do not take the port from each other at every frame.
func TestMigrationDoesNotFlap(t *testing.T) {
	r, s1, s2 := migrationRig(t, testConfig(t.TempDir()))
	r.frame(s2, 9)
	r.until(r.standby("host2", "host1"))
	r.until(r.synced)
	now := time.Now()
	if r.frame(s1, 1) {
		t.Error("the source is watched at once")
	}
	if next := r.c.holdMigrations(t.Context(), now); next.Sub(now) > firstHold || next.IsZero() {
		t.Errorf("the source is watched in %s", next.Sub(now))
	}
	// The time is over: the source is watched, and takes the port back.
	turn := func(s *sim.Switch, inPort uint32, active, other string, hold time.Duration) {
		t.Helper()
		r.c.holdMigrations(t.Context(), now.Add(2*maxHold))
		r.until(r.synced)
		if !r.frame(s, inPort) {
			t.Fatal("not watched when the time is over")
		}
		r.until(func() string {
			b := r.c.engine.load().Bindings("red-a")
			if b[0].Host == active && b[1].Host == other {
				return ""
			}
			return fmt.Sprint(b)
		})
		r.until(r.synced)
		if next := r.c.holdMigrations(t.Context(), now); next.Before(now.Add(hold)) {
			t.Errorf("the next turn is possible in %s, want at least %s", next.Sub(now), hold)
		}
	}
	turn(s1, 1, "host1", "host2", 2*firstHold)
	turn(s2, 9, "host2", "host1", 4*firstHold)
	st := r.c.view().portStatus(r.c.engine.load().Port("red-a"))
	if st.State != api.StateConflict || !strings.Contains(st.Message, "host1") || !strings.Contains(st.Message, "host2") {
		t.Errorf("both send, and the port is %+v", st)
	}
	// One of them stops, and all is well again.
	r.show("host1", "192.168.200.20", plugged{"blue-a", 2, 0})
	r.until(r.portIs("red-a", api.StateUp))
}

// A controller that is started again in the middle of a migration goes on with the
// claim that was in effect, whichever host it hears of first, and watches the other.
func TestRestartDuringAMigration(t *testing.T) {
	for network, topology := range map[string]string{"overlay": migratable, "wire": migratableWire} {
		for _, over := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/over=%v", network, over), func(t *testing.T) { restartDuringAMigration(t, topology, over) })
		}
	}
}

func restartDuringAMigration(t *testing.T, topology string, over bool) {
	cfg := testConfig(t.TempDir())
	cfg.Settle = deadline
	r, s1, s2 := migrationRigOf(t, cfg, topology)
	active, other, awaited, port := "host1", "host2", s2, uint32(9)
	if over {
		r.frame(s2, 9)
		active, other, awaited, port = "host2", "host1", s1, 1
		r.until(r.standby(active, other))
	}
	r.until(r.synced)
	was1, was2 := s1.State(), s2.State()
	r.stop()
	r = start(t, cfg)
	r.connect(s1)
	r.connect(s2)
	if over {
		r.showSource()
		r.until(r.portIs("red-a", api.StateBinding))
		r.showDestination()
	} else {
		r.showDestination()
		r.until(r.portIs("red-a", api.StateBinding))
		r.showSource()
	}
	r.until(r.standby(active, other))
	r.until(r.synced)
	if !over && (!s1.State().Equal(was1) || !s2.State().Equal(was2)) {
		t.Error("the restart changed the flows")
	}
	if !r.frame(awaited, port) {
		t.Fatal("the other claim is not watched after the restart")
	}
	r.until(r.standby(other, active))
}
