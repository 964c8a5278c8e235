package lab

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// interrupted does what a command has done by the time at which it is killed: it has
// written down that vm1 migrates to host, and qemu waits there; then f.
func interrupted(t *testing.T, m *Manager, lab, host string, f func(ctx context.Context, from, to string)) {
	t.Helper()
	ctx := testCtx(t)
	l, err := m.open(ctx, lab)
	if err != nil {
		t.Fatal(err)
	}
	defer l.unlock()
	here, _ := l.st.Spec.machine("vm1")
	there := here
	there.Host = host
	if err := l.update(func(st *state) { st.HandingOver = map[string]string{"vm1": host} }); err != nil {
		t.Fatal(err)
	}
	s, err := readMachineState(m.machineDir(lab, here.Host, "vm1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.startMachine(ctx, machinePlan{Machine: there, Incoming: true, Before: s.boot()}); err != nil {
		t.Fatal(err)
	}
	f(ctx, m.machineDir(lab, here.Host, "vm1"), m.machineDir(lab, host, "vm1"))
}

// crawl begins a migration that will not end in the time of a test.
func crawl(t *testing.T) func(ctx context.Context, from, to string) {
	return func(ctx context.Context, from, to string) {
		t.Helper()
		q, err := qemu.DialQMP(ctx, from, qemu.MonitorSocket)
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		// As package qemu does, for a path that is longer than an address may be.
		dir, err := os.Open(to)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		conn, err := net.Dial("unix", filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), qemu.IncomingSocket))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		f, err := conn.(*net.UnixConn).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := q.PassFile(ctx, "crawl", f); err != nil {
			t.Fatal(err)
		}
		if err := q.Execute(ctx, "migrate-set-parameters", map[string]int64{"max-bandwidth": 1000}, nil); err != nil {
			t.Fatal(err)
		}
		if err := q.Execute(ctx, "migrate", map[string]string{"uri": "fd:crawl"}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// A command that is killed while it migrates a guest loses none: whatever comes next
// finds out where it is.
func TestMigrationInterrupted(t *testing.T) {
	needQEMU(t)
	m := New(t.TempDir())
	s := machineLab(t, "mi", bare(t, "vm1", "host1"))
	o := UpOptions{Supervisor: testSupervisor(t), Accel: qemu.TCG}
	up(t, m, s, o)
	ctx := testCtx(t)
	// only: the guest runs on this host in this qemu, and nothing of it is elsewhere.
	only := func(what, host string, pid int) {
		t.Helper()
		v, ports := machineStatus(t, m, s.Name, "vm1")
		if v.Host != host || v.PID != pid || !ports[0].Plugged || ports[0].Host != host {
			t.Errorf("%s: %+v %+v; want it on %s as %d", what, v, ports, host, pid)
		}
		if state := runState(t, m, s.Name, host, "vm1"); state != "running" {
			t.Errorf("%s: it is %s", what, state)
		}
		for _, h := range s.Hosts {
			if h.Name != host && (exists(m.machineDir(s.Name, h.Name, "vm1")) || strings.Contains(output(t, m, s.Name, h.Name, "ovs-vsctl", "show"), "vm1")) {
				t.Errorf("%s: something of it is left on %s", what, h.Name)
			}
		}
	}
	pid := func(host string) int {
		t.Helper()
		st, err := readMachineState(m.machineDir(s.Name, host, "vm1"))
		if err != nil {
			t.Fatal(err)
		}
		return st.QEMU.PID
	}
	nothing := func(context.Context, string, string) {}
	over := func(ctx context.Context, from, to string) {
		t.Helper()
		if _, err := qemu.Migrate(ctx, from, to); err != nil {
			t.Fatal(err)
		}
	}
	first := pid("host1")

	interrupted(t, m, s.Name, "host2", nothing)
	if err := m.Up(ctx, s, o); err != nil {
		t.Fatal(err)
	}
	only("killed before, and up", "host1", first)

	interrupted(t, m, s.Name, "host2", crawl(t))
	if err := m.StartMachine(ctx, s.Name, "vm1"); err != nil {
		t.Fatal(err)
	}
	only("killed while memory is copied, and start", "host1", first)

	interrupted(t, m, s.Name, "host2", over)
	second := pid("host2")
	eventually(t, "the source is known to be left", func() bool {
		st, err := readMachineState(m.machineDir(s.Name, "host1", "vm1"))
		return err == nil && st.Phase == MachineMoved
	})
	eventually(t, "the status shows it where it is", func() bool {
		v, ports := machineStatus(t, m, s.Name, "vm1")
		return v.Host == "host2" && v.PID == second && v.Phase == MachineBooting && ports[0].Host == "host2"
	})
	if err := m.Up(ctx, s, o); err != nil {
		t.Fatal(err)
	}
	only("killed after, and up with the file as before", "host2", second)
	if err := m.Up(ctx, s, o); err != nil {
		t.Fatal(err)
	}
	only("and once more", "host2", second)

	// Gone over and dead there: it goes on where it comes from.
	interrupted(t, m, s.Name, "host1", func(ctx context.Context, from, to string) {
		over(ctx, from, to)
		kill(t, pid("host1"))
	})
	if err := m.StartMachine(ctx, s.Name, "vm1"); err != nil {
		t.Fatal(err)
	}
	only("killed after, and dead on the other side", "host2", second)

	// Off is off, on whichever side.
	interrupted(t, m, s.Name, "host1", over)
	back := pid("host1")
	if _, err := m.StopMachine(ctx, s.Name, "vm1", AtOnce); err != nil {
		t.Fatal(err)
	}
	for _, p := range []int{second, back} {
		if _, err := identify(p); err == nil {
			t.Errorf("stopped, and qemu %d runs", p)
		}
	}
}

// A guest that has migrated stays where it is while the spec says what it said, and
// goes where another spec says.
func TestMigratedMachineStays(t *testing.T) {
	v := func(host string) Machine { return Machine{Machine: guest.Machine{Name: "vm1"}, Host: host} }
	spec := func(host string) Spec {
		return Spec{Hosts: []Host{{Name: "host1"}, {Name: "host2"}, {Name: "host3"}}, Machines: []Machine{v(host)}}
	}
	moved := state{Spec: spec("host2")}
	moved.noteMoved(v("host1"), v("host2"))
	twice := state{Spec: spec("host3"), Moved: map[string]string{"vm1": "host1"}}
	twice.noteMoved(v("host2"), v("host3"))
	back := state{Spec: spec("host1"), Moved: map[string]string{"vm1": "host1"}}
	back.noteMoved(v("host2"), v("host1"))
	without := spec("host1")
	without.Hosts = without.Hosts[:1]
	for _, c := range []struct {
		what  string
		st    state
		spec  Spec
		host  string
		moved int
	}{
		{"the same", moved, spec("host1"), "host2", 1},
		{"where it is", moved, spec("host2"), "host2", 0},
		{"a third", moved, spec("host3"), "host3", 0},
		{"its host is gone", moved, without, "host1", 0},
		{"moved twice", twice, spec("host1"), "host3", 1},
		{"moved back", back, spec("host1"), "host1", 0},
		{"a new lab", state{}, spec("host1"), "host1", 0},
	} {
		kept, n := c.st.keepMoved(c.spec)
		if kept.Machines[0].Host != c.host || len(n) != c.moved {
			t.Errorf("%s: on %s, %v moved", c.what, kept.Machines[0].Host, n)
		}
	}
}

// What qemu sends to announce a guest is no sign of it.
func TestAnnouncementIsNoSign(t *testing.T) {
	w := &tapWatch{m: guest.Machine{Ready: guest.ReadyFrame, NICs: []guest.NIC{{}}}}
	for etherType, want := range map[byte]bool{0x35: false, 0x06: true} {
		b := append(make([]byte, 12), 0x80, etherType)
		if _, ok := w.signOf(netdev.Frame{Direction: netdev.Received, Data: b}, w.m.NICs[0]); ok != want {
			t.Errorf("EtherType 80%02x: a sign is %v", etherType, ok)
		}
	}
}
