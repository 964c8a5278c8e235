package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// stages are the stages of a migration of red-a, of host1, to host3, which has no
// port of red/mgmt; the last one is that it failed.
func stages(t testing.TB) map[string]*topo.Snapshot {
	t.Helper()
	declared := change(t, world(t), func(tx *topo.Txn, s *topo.Snapshot) {
		p := *s.Port("red-a")
		p.MigrateTo = "host3"
		tx.PutPort(p)
	})
	prepared := change(t, declared, func(tx *topo.Txn, _ *topo.Snapshot) { bind(tx, "red-a", 3, 7) })
	over := change(t, prepared, func(tx *topo.Txn, s *topo.Snapshot) { cutOver(t, tx, s, "red-a") })
	return map[string]*topo.Snapshot{
		"declared": declared, "prepared": prepared, "over": over,
		"watched": change(t, over, func(tx *topo.Txn, s *topo.Snapshot) {
			m, _ := s.Migration("red-a")
			tx.Watch("red-a", m.Standby)
		}),
		"done":   change(t, over, func(tx *topo.Txn, _ *topo.Snapshot) { tx.Unbind("host1", ifaceID(1, 1)) }),
		"failed": change(t, prepared, func(tx *topo.Txn, _ *topo.Snapshot) { tx.Unbind("host3", ifaceID(3, 7)) }),
	}
}

func change(t testing.TB, s *topo.Snapshot, f func(*topo.Txn, *topo.Snapshot)) *topo.Snapshot {
	t.Helper()
	tx := s.Begin()
	f(tx, s)
	next := commit(t, tx)
	if next == s {
		t.Fatal("a change changed nothing")
	}
	return next
}

func cutOver(t testing.TB, tx *topo.Txn, s *topo.Snapshot, port string) {
	t.Helper()
	m, ok := s.Migration(port)
	if !ok {
		t.Fatalf("%s is not being migrated", port)
	}
	tx.Activate(port, m.Standby)
}

// What each host's switch holds otherwise at each stage of a migration than before it.
func TestMigrationGolden(t *testing.T) {
	before := world(t)
	for _, stage := range []string{"prepared", "over", "watched"} {
		var b strings.Builder
		for _, host := range []string{"host1", "host2", "host3"} {
			fmt.Fprintf(&b, "%s\n", host)
			state := compiled(t, stages(t)[stage], host)
			d := flows.Diff(compiled(t, before, host), state)
			for _, l := range [][]*flows.Flow{d.DelFlows, d.AddFlows} {
				for _, f := range l {
					fmt.Fprintf(&b, "  %s %s\n", FeatureName(f.Cookie.Feature()), f.Format(flows.FormatOptions{TableName: TableName}))
				}
			}
			for _, c := range d.ModFlows {
				fmt.Fprintf(&b, "  %s %s\n   → %s\n", FeatureName(c.New.Cookie.Feature()), c.Old.Format(flows.FormatOptions{TableName: TableName}),
					c.New.Format(flows.FormatOptions{TableName: TableName}))
			}
			for _, m := range d.AddMeters {
				fmt.Fprintf(&b, "  %s\n", m)
			}
			for _, g := range append(d.AddGroups, d.ModGroups...) {
				fmt.Fprintf(&b, "  %s\n", g)
			}
			if len(d.DelFlows)+len(d.DelGroups) > 0 {
				fmt.Fprintf(&b, "  deleted: %d flows, %d groups\n", len(d.DelFlows), len(d.DelGroups))
			}
		}
		golden(t, "testdata/migration-"+stage+".txt", b.String())
	}
}

// A declaration alone and a migration that failed leave every switch as it was, and
// the preparation takes or changes nothing that the source and its peers use.
func TestFailedMigrationChangesNothing(t *testing.T) {
	before, at := world(t), stages(t)
	for _, host := range []string{"host1", "host2", "host3"} {
		was := compiled(t, before, host)
		for _, stage := range []string{"declared", "failed"} {
			if !was.Equal(compiled(t, at[stage], host)) {
				t.Errorf("%s: %s changed the flows of %s", stage, stage, host)
			}
		}
		d := flows.Diff(was, compiled(t, at["prepared"], host))
		if n := len(d.DelFlows) + len(d.ModFlows) + len(d.DelGroups); n > 0 {
			t.Errorf("%s: the preparation takes away or changes %d flows and groups: %+v", host, n, d)
		}
		if host == "host2" && !d.Empty() {
			t.Errorf("host2, which knows both hosts, is changed by the preparation: %+v", d)
		}
	}
}

// The controller is told of frames only while the migration waits for one, by the
// host that waits, and by the rows of the port that is awaited.
func TestArrivalsAreToldOnlyWhileAwaited(t *testing.T) {
	at := stages(t)
	for stage, want := range map[string]string{"declared": "", "prepared": "host3", "over": "", "watched": "host1", "done": "", "failed": ""} {
		s := at[stage]
		for _, host := range []string{"host1", "host2", "host3"} {
			told := 0
			for f := range compiled(t, s, host).Flows() {
				for _, a := range f.Apply {
					if _, ok := a.(flows.ToController); !ok || f.Cookie.Feature() == uint8(FeatLearn) || f.Cookie.Feature() == uint8(FeatReachability) {
						continue
					}
					told++
					if f.Cookie.Owner() != uint32(s.Port("red-a").ID) || f.Cookie.Feature() != uint8(FeatArrival) {
						t.Errorf("%s, %s: the controller is told by %s", stage, host, f)
					}
				}
			}
			if (told > 0) != (host == want) {
				t.Errorf("%s: %d rows of %s tell the controller", stage, told, host)
			}
		}
	}
}

// A host that had no port of the network gets all of the network's rows before the
// guest arrives, and its peers let its tunnel endpoint in, but send it nothing yet.
func TestPreparationOfANewHost(t *testing.T) {
	s := change(t, world(t), func(tx *topo.Txn, s *topo.Snapshot) {
		observe(tx, 4)
		p := *s.Port("red-a")
		p.MigrateTo = topo.AnyHost
		tx.PutPort(p)
	})
	prepared := change(t, s, func(tx *topo.Txn, _ *topo.Snapshot) { bind(tx, "red-a", 4, 5) })
	for _, host := range []string{"host1", "host2", "host3"} {
		d := flows.Diff(compiled(t, s, host), compiled(t, prepared, host))
		if d.Len() != 1 || len(d.AddFlows) != 1 || d.AddFlows[0].Table != uint8(SpoofGuard) || !strings.Contains(d.AddFlows[0].String(), "tun_src=192.168.200.23") {
			t.Errorf("%s: want one more row, for the new peer, got %+v", host, d)
		}
	}
	over := change(t, prepared, func(tx *topo.Txn, s *topo.Snapshot) { cutOver(t, tx, s, "red-a") })
	d := flows.Diff(compiled(t, prepared, "host4"), compiled(t, over, "host4"))
	for _, f := range append(d.AddFlows, d.DelFlows...) {
		if f.Cookie.Feature() != uint8(FeatStandby) && f.Cookie.Feature() != uint8(FeatL2) {
			t.Errorf("host4 was not ready: the cut-over adds or takes away %s", f)
		}
	}
}
