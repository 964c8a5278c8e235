package lab

import (
	"context"
	"errors"
	"maps"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
)

// permitted is a lab, with nothing that runs, whose commands were killed: with leave
// given for vm1's port, and for red-a, which is in the middle of its migration.
func permitted(t *testing.T) (*Manager, string) {
	t.Helper()
	m := New(t.TempDir())
	ctx := testCtx(t)
	l, err := m.lock(ctx, "p")
	if err != nil {
		t.Fatal(err)
	}
	defer l.unlock()
	v := Machine{Machine: guest.Machine{Name: "vm1", NICs: []guest.NIC{{Port: "vm1-eth0"}}}, Host: "host1"}
	l.st = state{
		Version: stateVersion, Phase: PhaseUp,
		Spec:      Spec{Name: "p", Hosts: []Host{{Name: "host1"}, {Name: "host2"}}, Machines: []Machine{v}},
		Migrating: map[string]string{"red-a": "host2"},
		Permitted: map[string]Leave{"vm1-eth0": {To: "host2"}, "red-a": {To: "host2", Was: "host3"}},
	}
	if err := l.update(func(*state) {}); err != nil {
		t.Fatal(err)
	}
	return m, l.name
}

// Leave that a command has given which was killed is taken back by the next one, once
// its port is not migrated any more.
func TestLeaveIsTakenBack(t *testing.T) {
	m, name := permitted(t)
	failure := errors.New("nobody answers")
	var taken []map[string]Leave
	m.TakeBack = func(_ context.Context, lab string, leave map[string]Leave) error {
		if lab != name {
			t.Errorf("of lab %s", lab)
		}
		taken = append(taken, leave)
		return failure
	}
	// A command about something else, which fails for its own reasons.
	next := func() {
		t.Helper()
		if err := m.Unplug(t.Context(), name, "no such port"); err == nil || errors.Is(err, failure) {
			t.Fatal(err)
		}
	}
	left := func() map[string]Leave {
		t.Helper()
		st, err := m.load(name)
		if err != nil {
			t.Fatal(err)
		}
		return st.Permitted
	}
	over := map[string]Leave{"vm1-eth0": {To: "host2"}}
	next()
	if len(taken) != 1 || !maps.Equal(taken[0], over) || len(left()) != 2 {
		t.Errorf("%v are taken back in vain, and %v are left", taken, left())
	}
	failure = nil
	next()
	if len(taken) != 2 || !maps.Equal(taken[1], over) || !maps.Equal(left(), map[string]Leave{"red-a": {To: "host2", Was: "host3"}}) {
		t.Errorf("%v are taken back, and %v are left", taken, left())
	}
	next()
	if len(taken) != 2 {
		t.Errorf("what is migrated still, or was taken back, is taken back: %v", taken)
	}
}

// While a machine is handed over its ports keep their leave, and not longer.
func TestLeaveOfAMachine(t *testing.T) {
	m, name := permitted(t)
	l, err := m.open(testCtx(t), name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.unlock()
	var taken map[string]Leave
	m.TakeBack = func(_ context.Context, _ string, leave map[string]Leave) error { taken = leave; return nil }
	if err := l.update(func(st *state) {
		st.HandingOver, st.Permitted, st.Migrating = map[string]string{"vm1": "host2"}, nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := l.note(map[string]Leave{"vm1-eth0": {To: "host2"}}); err != nil {
		t.Fatal(err)
	}
	if err := l.takeBack(t.Context()); err != nil || taken != nil {
		t.Errorf("%v is taken back while vm1 migrates: %v", taken, err)
	}
	if err := l.update(func(st *state) { delete(st.HandingOver, "vm1") }); err != nil {
		t.Fatal(err)
	}
	if err := l.takeBack(t.Context()); err != nil || len(taken) != 1 || len(l.st.Permitted) != 0 {
		t.Errorf("%v is taken back, and %v is left: %v", taken, l.st.Permitted, err)
	}
}
