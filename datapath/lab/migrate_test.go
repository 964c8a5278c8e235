package lab

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

func runState(t *testing.T, m *Manager, lab, host, name string) string {
	t.Helper()
	ctx := testCtx(t)
	q, err := qemu.DialQMP(ctx, m.machineDir(lab, host, name), qemu.MonitorSocket)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	var status struct{ Status string }
	if err := q.Execute(ctx, "query-status", nil, &status); err != nil {
		t.Fatal(err)
	}
	return status.Status
}

func arrived(f func(context.Context) error) MachineMigration { return MachineMigration{Arrived: f} }

func TestMigrateMachine(t *testing.T) {
	needQEMU(t)
	m := New(t.TempDir())
	s := machineLab(t, "mg", bare(t, "vm1", "host1"))
	up(t, m, s, UpOptions{Supervisor: testSupervisor(t), Accel: qemu.TCG})
	ctx := testCtx(t)
	first, _ := machineStatus(t, m, s.Name, "vm1")

	// unharmed: it runs on host1 as it did, and nothing of it is on host2.
	unharmed := func(what string) {
		t.Helper()
		v, ports := machineStatus(t, m, s.Name, "vm1")
		if v.Host != "host1" || v.PID != first.PID || !ports[0].Plugged || !ports[1].Plugged {
			t.Errorf("%s: %+v %+v", what, v, ports)
		}
		if state := runState(t, m, s.Name, "host1", "vm1"); state != "running" {
			t.Errorf("%s: it is %s", what, state)
		}
		if exists(m.machineDir(s.Name, "host2", "vm1")) || strings.Contains(output(t, m, s.Name, "host2", "ovs-vsctl", "show"), "vm1") {
			t.Errorf("%s: something of it is left on host2", what)
		}
	}
	for _, host := range []string{"host1", "host9"} {
		if _, err := m.MigrateMachine(ctx, s.Name, "vm1", host, MachineMigration{}); err == nil {
			t.Errorf("to %s: accepted", host)
		}
	}
	unharmed("refused")

	no := errors.New("the controller says no")
	if _, err := m.MigrateMachine(ctx, s.Name, "vm1", "host2", arrived(func(context.Context) error { return no })); !errors.Is(err, no) {
		t.Error(err)
	}
	unharmed("not prepared")

	if _, err := m.MigrateMachine(ctx, s.Name, "vm1", "host2", arrived(func(context.Context) error {
		st, err := readMachineState(m.machineDir(s.Name, "host2", "vm1"))
		if err != nil || st.Phase != MachineIncoming {
			t.Errorf("%+v, %v", st, err)
		}
		kill(t, st.QEMU.PID)
		return nil
	})); err == nil {
		t.Error("migrated to a qemu that was killed")
	}
	unharmed("the other side was killed")

	cctx, cancel := context.WithCancel(ctx)
	if _, err := m.MigrateMachine(cctx, s.Name, "vm1", "host2", arrived(func(context.Context) error { cancel(); return nil })); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	unharmed("interrupted")

	both := false
	done, err := m.MigrateMachine(ctx, s.Name, "vm1", "host2", arrived(func(context.Context) error {
		both = strings.Contains(output(t, m, s.Name, "host2", "ovs-vsctl", "show"), "t-vm1-1") &&
			strings.Contains(output(t, m, s.Name, "host1", "ovs-vsctl", "show"), "t-vm1-1")
		return nil
	}))
	if err != nil || done.Total <= 0 || done.Downtime > done.Total || done.Transferred <= 0 || !both {
		t.Fatalf("%+v, on both hosts before: %v, %v", done, both, err)
	}
	v, ports := machineStatus(t, m, s.Name, "vm1")
	// Its firmware finds nothing to boot: it is as far as it was.
	if v.Host != "host2" || v.Phase != MachineBooting || !ports[0].Plugged || ports[0].Host != "host2" {
		t.Errorf("%+v %+v", v, ports)
	}
	if state := runState(t, m, s.Name, "host2", "vm1"); state != "running" {
		t.Errorf("it is %s", state)
	}
	if exists(m.machineDir(s.Name, "host1", "vm1")) || strings.Contains(output(t, m, s.Name, "host1", "ovs-vsctl", "show"), "vm1") {
		t.Error("something of it is left on host1")
	}

	// A supervisor too many, of which the lab knows no migration: Up leaves the declared one.
	l, err := m.open(ctx, s.Name)
	if err != nil {
		t.Fatal(err)
	}
	there := s.Machines[0]
	err = l.startMachine(ctx, machinePlan{Machine: there, Incoming: true})
	l.unlock()
	if err != nil {
		t.Fatal(err)
	}
	spec, err := m.Spec(s.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Up(ctx, spec, UpOptions{Supervisor: testSupervisor(t), Accel: qemu.TCG}); err != nil {
		t.Fatal(err)
	}
	if again, _ := machineStatus(t, m, s.Name, "vm1"); again.PID != v.PID {
		t.Errorf("%+v", again)
	}
	if left, _ := filepath.Glob(m.machineDir(s.Name, "host1", "*")); len(left) > 0 {
		t.Errorf("left on host1: %v", left)
	}
}
