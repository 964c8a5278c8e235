package topo_test

import (
	"testing"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// migrating is red-a on h1, allowed to migrate to the host, and shown by h2 too.
func migrating(t *testing.T, to string) *topo.Snapshot {
	t.Helper()
	tp := twoTenants()
	tp.Hosts = append(tp.Hosts, topo.Host{Name: "h3", TEP: addr("192.0.2.3")})
	tp.Ports[0].MigrateTo = to
	s := replace(t, topo.Empty(), tp)
	s = commit(t, s, func(x *topo.Txn) { x.Bind("red-a", bound("h1", 1, 1)) })
	return commit(t, s, func(x *topo.Txn) { x.Bind("red-a", bound("h2", 2, 2)) })
}

var (
	onH1 = bound("h1", 1, 1)
	onH2 = bound("h2", 2, 2)
	onH3 = bound("h3", 3, 3)
)

func wantMigration(t *testing.T, s *topo.Snapshot, active, standby topo.Binding, watched bool) {
	t.Helper()
	m, ok := s.Migration("red-a")
	if !ok || m.Active != active || m.Standby != standby || m.Watched != watched {
		t.Fatalf("migration %+v (%v), want %v, and %v on standby, watched %v", m, ok, active, standby, watched)
	}
	want(t, s.Bindings("red-a")[0], active)
	member := s.Segment(s.Network("red/web").ID).Members[0]
	want(t, *member, topo.Member{Port: s.Port("red-a"), Host: s.Host(active.Host), OFPort: active.OFPort,
		Standby: topo.Standby{Host: s.Host(standby.Host), OFPort: standby.OFPort, Watched: watched}})
}

func wantNoMigration(t *testing.T, s *topo.Snapshot, active topo.Binding, rivals ...topo.Binding) {
	t.Helper()
	if m, ok := s.Migration("red-a"); ok {
		t.Fatalf("unexpected migration %+v", m)
	}
	want(t, s.Bindings("red-a")[0], active)
	want(t, s.Rivals("red-a"), rivals)
	want(t, len(s.Conflicts()) > 0, len(rivals) > 0)
}

func activate(t *testing.T, s *topo.Snapshot, b topo.Binding) *topo.Snapshot {
	t.Helper()
	return commit(t, s, func(x *topo.Txn) { x.Activate("red-a", b) })
}

func TestMigrationAndBack(t *testing.T) {
	for _, to := range []string{"h2", topo.AnyHost} {
		s := migrating(t, to)
		wantMigration(t, s, onH1, onH2, true)
		if len(s.Conflicts()) != 0 {
			t.Error("a migration is a conflict")
		}
		s = activate(t, s, onH2)
		wantMigration(t, s, onH2, onH1, false)
		if same := activate(t, s, onH1); same != s {
			t.Error("a claim that yielded took over although it was not watched")
		}
		s = commit(t, s, func(x *topo.Txn) { x.Watch("red-a", onH1) })
		wantMigration(t, s, onH2, onH1, true)
		wantMigration(t, activate(t, s, onH1), onH1, onH2, false)
		// The end: the source goes.
		s = commit(t, s, func(x *topo.Txn) { x.Unbind("h1", onH1.Interface) })
		wantNoMigration(t, s, onH2)
	}
}

func TestFailedMigrationLeavesTheSource(t *testing.T) {
	s := migrating(t, "h2")
	s = commit(t, s, func(x *topo.Txn) { x.Unbind("h2", onH2.Interface) })
	wantNoMigration(t, s, onH1)
}

func TestDestinationTakesOverWhenTheSourceGoes(t *testing.T) {
	s := migrating(t, "h2")
	s = commit(t, s, func(x *topo.Txn) { x.Unbind("h1", onH1.Interface) })
	wantNoMigration(t, s, onH2)
}

// A host to which the port may not migrate has no part in it, whatever happens.
func TestOnlyTheNamedHostMigrates(t *testing.T) {
	s := migrating(t, "")
	wantNoMigration(t, s, onH1, onH2)
	if activate(t, s, onH2) != s {
		t.Error("a rival was put in effect")
	}

	s = migrating(t, "h3")
	wantNoMigration(t, s, onH1, onH2)
	if activate(t, s, onH2) != s {
		t.Error("a rival was put in effect")
	}

	s = migrating(t, "h2")
	s = commit(t, s, func(x *topo.Txn) { x.Bind("red-a", onH3) })
	wantMigration(t, s, onH1, onH2, true)
	want(t, s.Rivals("red-a"), []topo.Binding{onH3})
	want(t, len(s.Conflicts()), 1)
	if activate(t, s, onH3) != s {
		t.Error("a rival was put in effect")
	}
	// Nor when it has become the older of the claims that are left ...
	moved := activate(t, s, onH2)
	wantMigration(t, moved, onH2, onH1, false)
	wantNoMigration(t, commit(t, moved, func(x *topo.Txn) { x.Unbind("h1", onH1.Interface) }), onH2, onH3)
	// ... nor by claiming a port that has come back to where it was.
	back := migrating(t, "h2")
	back = activate(t, back, onH2)
	back = commit(t, back, func(x *topo.Txn) { x.Unbind("h2", onH2.Interface) })
	wantNoMigration(t, commit(t, back, func(x *topo.Txn) { x.Bind("red-a", onH3) }), onH1, onH3)
}

// The end of the permission is not the end of what has been reached.
func TestMigrationEndsWhereItIs(t *testing.T) {
	s := activate(t, migrating(t, "h2"), onH2)
	s = commit(t, s, func(x *topo.Txn) {
		p := *s.Port("red-a")
		p.MigrateTo = ""
		x.PutPort(p)
	})
	wantNoMigration(t, s, onH2, onH1)
}

// The interface that shows a port may get another number in the middle of it.
func TestMigrationKeepsItsPlaceUnderAnotherNumber(t *testing.T) {
	s := activate(t, migrating(t, "h2"), onH2)
	renumbered := bound("h1", 9, 1)
	s = commit(t, s, func(x *topo.Txn) { x.Bind("red-a", renumbered) })
	wantMigration(t, s, onH2, renumbered, false)
}

// After a restart of the controller the claims come in any order, and what the
// switches hold says which of them was in effect.
func TestRestartInTheMiddleOfAMigration(t *testing.T) {
	type event func(x *topo.Txn)
	h1 := func(x *topo.Txn) { x.Bind("red-a", onH1) }
	h2 := func(x *topo.Txn) { x.Bind("red-a", onH2) }
	for name, tc := range map[string]struct {
		standby string
		want    topo.Binding
		other   topo.Binding
		events  []event
	}{
		"cut over already": {"h1", onH2, onH1, []event{h1, h2}},
		"not yet":          {"h2", onH1, onH2, []event{h2, h1}},
	} {
		yielded := func(x *topo.Txn) {
			x.ObserveHost("h1", addr("192.0.2.1"), [4]uint32{})
			x.ObserveHost("h2", addr("192.0.2.2"), [4]uint32{})
		}
		for at := 0; at <= len(tc.events); at++ {
			tp := twoTenants()
			tp.Ports[0].MigrateTo = "h2"
			s := replace(t, topo.Empty(), tp)
			s = commit(t, s, yielded)
			id := s.Port("red-a").ID
			for i := 0; i <= len(tc.events); i++ {
				if i == at {
					s = commit(t, s, func(x *topo.Txn) { x.Yielded(tc.standby, []topo.ID{id}) })
				}
				if i < len(tc.events) {
					s = commit(t, s, tc.events[i])
				}
			}
			t.Log(name, at)
			wantMigration(t, s, tc.want, tc.other, true)
		}
	}
}

func TestMigrateToIsChecked(t *testing.T) {
	tp := twoTenants()
	tp.Ports[0].MigrateTo = "h22"
	text := refused(t, topo.Empty(), func(x *topo.Txn) { x.Replace(tp) })
	wantIn(t, text, "port red-a: migrate_to", `no host "h22"`)
	s := migrating(t, "h3")
	text = refused(t, s, func(x *topo.Txn) { _ = x.DeleteHost("h3") })
	wantIn(t, text, "host h3", "port red-a is still being migrated")
}
