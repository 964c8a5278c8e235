package lab

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/need"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// needQEMU skips, loudly, where no virtual machine can be run.
func needQEMU(t *testing.T) {
	t.Helper()
	needLab(t)
	need.Have(t, need.QEMU())
}

// testSupervisor is this program as the supervisor of machines.
func testSupervisor(t *testing.T) *Command {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &Command{Argv: []string{self}, Env: []string{"LAB_TEST_ROLE=supervisor"}}
}

// bare is a machine whose disk is empty: its firmware finds nothing to boot.
func bare(t *testing.T, name, host string) Machine {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return Machine{Host: host, Machine: guest.Machine{
		Name: name, UUID: uuid.New(), Kind: "vm", Memory: 32, CPUs: 1, Boot: []string{"disk"},
		Disks: []guest.Disk{{Path: disk, Format: "raw"}}, DiskBus: "ide", NICModel: "e1000", Ready: guest.ReadyFrame,
		NICs: []guest.NIC{
			{Name: "eth0", Port: name + "-eth0", Tap: "t-" + name + "-0", MAC: net.HardwareAddr{2, 0, 0, 1, 0, 1}, MTU: 1450},
			{Name: "eth1", Port: name + "-eth1", Tap: "t-" + name + "-1", MAC: net.HardwareAddr{2, 0, 0, 1, 0, 2}, MTU: 1450},
		},
	}}
}

func machineLab(t *testing.T, suffix string, machines ...Machine) Spec {
	s := twoHosts(testLab(t, suffix))
	s.Attachments, s.Machines = nil, machines
	return s
}

func machineStatus(t *testing.T, m *Manager, lab, name string) (MachineStatus, []AttachmentStatus) {
	t.Helper()
	st, err := m.Status(testCtx(t), lab)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(st.Machines, func(v MachineStatus) bool { return v.Name == name })
	return st.Machines[i], slices.DeleteFunc(st.Attachments, func(a AttachmentStatus) bool { return a.Machine != name })
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx := testCtx(t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatal("never came: ", what)
		case <-tick.C:
		}
	}
}

func TestMachineRunsAndGoes(t *testing.T) {
	needQEMU(t)
	m := New(t.TempDir())
	s := machineLab(t, "vm", bare(t, "vm1", "host1"))
	o := UpOptions{Supervisor: testSupervisor(t), Accel: qemu.TCG}
	up(t, m, s, o)
	ctx := testCtx(t)
	plugged := func() bool {
		_, ports := machineStatus(t, m, s.Name, "vm1")
		return !slices.ContainsFunc(ports, func(a AttachmentStatus) bool { return !a.Plugged || a.OFPort <= 0 })
	}
	first, ports := machineStatus(t, m, s.Name, "vm1")
	if first.Phase != MachineBooting || first.PID == 0 || !strings.HasPrefix(first.VNC, "127.0.0.1:") || len(ports) != 2 || !plugged() {
		t.Fatalf("%+v %+v", first, ports)
	}
	// Up again leaves it alone.
	if err := m.Up(ctx, s, o); err != nil {
		t.Fatal(err)
	}
	if again, _ := machineStatus(t, m, s.Name, "vm1"); again.PID != first.PID {
		t.Errorf("Up has restarted it: %+v", again)
	}

	if err := m.Unplug(ctx, s.Name, "vm1-eth0"); err == nil || !strings.Contains(err.Error(), "a NIC of guest vm1") {
		t.Errorf("unplug a NIC: %v", err)
	}

	if _, err := m.Namespace(s.Name, Target{"host1", "vm1"}); err == nil || !strings.Contains(err.Error(), "is a virtual machine") {
		t.Errorf("its namespace: %v", err)
	}
	if tap, err := m.CaptureGuest(s.Name, "vm1-eth1", 0); err != nil {
		t.Error(err)
	} else {
		tap.Close()
	}
	if _, err := m.CaptureGuest(s.Name, "vm1-eth1", 10); err == nil {
		t.Error("a sub-interface of a machine is captured")
	}

	// Its NICs' links follow the switch's ports.
	linkUp := func(tap string) bool {
		return strings.Contains(output(t, m, s.Name, "host1", "ip", "-o", "link", "show", tap), ",UP")
	}
	output(t, m, s.Name, "host1", "ovs-ofctl", "mod-port", IntegrationBridge, "t-vm1-1", "down")
	eventually(t, "the tap down", func() bool { return !linkUp("t-vm1-1") })
	if !linkUp("t-vm1-0") {
		t.Error("the other tap is down as well")
	}
	output(t, m, s.Name, "host1", "ovs-ofctl", "mod-port", IntegrationBridge, "t-vm1-1", "up")

	// A reset begins anew, in place.
	if err := m.RebootMachine(ctx, s.Name, "vm1", AtOnce); err != nil {
		t.Fatal(err)
	}
	if again, _ := machineStatus(t, m, s.Name, "vm1"); again.PID != first.PID {
		t.Errorf("a reset has started another qemu: %+v", again)
	}

	// It is never ready: the error says how far it came.
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	err := m.AwaitMachines(short, s.Name, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "guest vm1 on host1 is not ready: switched on, and not yet: sends frames") ||
		!strings.Contains(err.Error(), "its console has said nothing") {
		t.Error(err)
	}

	// qemu is killed: noticed, recorded, and its ports are gone.
	kill(t, first.PID)
	eventually(t, "the end of qemu noticed", func() bool {
		v, ports := machineStatus(t, m, s.Name, "vm1")
		if v.Phase == MachineFailed && !strings.Contains(v.Why, "killed") {
			t.Fatalf("%+v", v)
		}
		return v.Phase == MachineFailed && strings.Contains(v.Why, "killed") && !ports[0].Plugged && !ports[1].Plugged
	})
	if err := m.StartMachine(ctx, s.Name, "vm1"); err != nil || !plugged() {
		t.Fatalf("start: %v", err)
	}

	// Killed and started in one go, before its supervisor has noticed.
	running, _ := machineStatus(t, m, s.Name, "vm1")
	state, err := readMachineState(m.machineDir(s.Name, "host1", "vm1"))
	if err != nil {
		t.Fatal(err)
	}
	kill(t, running.PID)
	eventually(t, "the signal arrived", func() bool { return !state.QEMU.alive() })
	if err := m.StartMachine(ctx, s.Name, "vm1"); err != nil || !plugged() {
		t.Fatalf("start: %v", err)
	}
	if again, _ := machineStatus(t, m, s.Name, "vm1"); again.Phase != MachineBooting || again.PID == running.PID {
		t.Errorf("killed as %d, and started: %+v", running.PID, again)
	}

	// The supervisor is killed: qemu goes with it, and its taps. Up restarts it.
	second, _ := machineStatus(t, m, s.Name, "vm1")
	st, err := readMachineState(m.machineDir(s.Name, "host1", "vm1"))
	if err != nil {
		t.Fatal(err)
	}
	kill(t, st.Supervisor.PID)
	eventually(t, "qemu gone with its supervisor", func() bool { return !st.QEMU.alive() })
	eventually(t, "the end of the supervisor shown", func() bool {
		v, _ := machineStatus(t, m, s.Name, "vm1")
		return v.Phase == MachineFailed && strings.Contains(v.Why, "supervisor was killed")
	})
	if err := m.Up(ctx, s, o); err != nil {
		t.Fatal(err)
	}
	third, _ := machineStatus(t, m, s.Name, "vm1")
	if third.Phase != MachineBooting || third.PID == second.PID || !plugged() {
		t.Errorf("%+v", third)
	}

	// Stopped, it stays declared; its guest hears no power button, so it is cut.
	if _, err := m.StopMachine(ctx, s.Name, "vm1", AtOnce); err != nil {
		t.Fatal(err)
	}
	if v, ports := machineStatus(t, m, s.Name, "vm1"); v.Phase != MachineStopped || ports[0].Plugged {
		t.Errorf("%+v %+v", v, ports)
	}
	if err := m.AwaitMachines(ctx, s.Name, nil, nil); err != nil {
		t.Error("one that was stopped is waited for:", err)
	}

	// Another spec: other memory restarts it, and without it it is gone.
	s.Machines[0].Memory = 48
	if err := m.Up(ctx, s, o); err != nil {
		t.Fatal(err)
	}
	s.Machines = []Machine{bare(t, "vm2", "host2")}
	if err := m.Up(ctx, s, o); err != nil {
		t.Fatal(err)
	}
	if exists(m.machineDir(s.Name, "host1", "vm1")) || strings.Contains(output(t, m, s.Name, "host1", "ovs-vsctl", "show"), "vm1") {
		t.Error("vm1 is left")
	}
	if _, err := m.StopMachine(ctx, s.Name, "vm1", AtOnce); err == nil || !strings.Contains(err.Error(), `no guest "vm1"; it has vm2`) {
		t.Error(err)
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// What is wrong with a machine is said before anything is made.
func TestMachineErrorsLeaveNothing(t *testing.T) {
	needQEMU(t)
	good := func() Machine { return bare(t, "vm1", "host1") }
	o := UpOptions{Supervisor: testSupervisor(t), Accel: qemu.TCG}
	for _, c := range []struct {
		want   string
		change func(*Spec)
	}{
		{"kernel: stat /nowhere/vmlinuz: no such file", func(s *Spec) { s.Machines[0].Kernel = "/nowhere/vmlinuz" }},
		{"MiB are available; give them less", func(s *Spec) { s.Machines[0].Memory = 1 << 20 }},
		{`there is no host "host9"`, func(s *Spec) { s.Machines[0].Host = "host9" }},
		{"guest vm1 is there twice", func(s *Spec) { s.Machines = append(s.Machines, good()) }},
		{"port vm1-eth0 is also that of vm1", func(s *Spec) { s.Machines[0].NICs[1].Port = "vm1-eth0" }},
		{"tap t-vm1-0 is also that of port vm1-eth0", func(s *Spec) { s.Machines[0].NICs[1].Tap = "t-vm1-0" }},
		{"a namespace has the same name", func(s *Spec) { s.Attachments = []Attachment{member("vm1", "host1", "10.0.0.1/24")} }},
		{`sign of readiness "tea"`, func(s *Spec) { s.Machines[0].Ready = "tea" }},
		{`disk bus "floppy"`, func(s *Spec) { s.Machines[0].DiskBus = "floppy" }},
		// qemu itself says no, and what there is by then goes again.
		{"guest vm1: qemu ended at once", func(s *Spec) {
			s.Machines[0].Disks[0].Format = "qcow2"
		}},
	} {
		m := New(t.TempDir())
		s := machineLab(t, "e", good())
		c.change(&s)
		err := m.Up(testCtx(t), s, o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
		noTrace(t, m, s.Name)
	}
}

func TestPrintableLines(t *testing.T) {
	got := printableLines([]byte("first\r\n\x1b[0;1;31mred\x1b[0m \x00\x07end\xff\r\n\r\n\x1b]0;title\u009b"), 2)
	if want := []string{"red end?", "0;title"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A guest that writes without end fills no file system.
func TestConsoleLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, qemu.ConsoleLog)
	s := &supervisor{dir: dir, state: machineState{Phase: MachineBooting, Started: time.Unix(0, 0)}}
	if s.console() {
		t.Error("a console that does not exist speaks")
	}
	for range 3 {
		if err := os.WriteFile(log, make([]byte, maxConsole+1), 0o600); err != nil {
			t.Fatal(err)
		}
		s.console()
		now, err := os.Stat(log)
		if err != nil || now.Size() != 0 {
			t.Fatalf("%v, %v", now, err)
		}
	}
	old, err := os.Stat(log + ".old")
	if err != nil || old.Size() != maxConsole+1 || s.state.Console.IsZero() {
		t.Errorf("%v, %v, %+v", old, err, s.state)
	}
}

func FuzzSignOf(f *testing.F) {
	f.Add(addressProbe(netip.MustParseAddr("10.1.1.11")))
	f.Add(addressProbe(netip.MustParseAddr("fd00::11")))
	f.Add(append(make([]byte, 12), 8, 6))
	f.Add(append(make([]byte, 12), 0x86, 0xdd, 0x60))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, ready := range []guest.Ready{guest.ReadyAddress, guest.ReadyFrame, guest.ReadyLLDP} {
			w := &tapWatch{m: guest.Machine{Ready: ready, NICs: []guest.NIC{{Addresses: []netip.Addr{netip.MustParseAddr("10.1.1.11")}}}}}
			if _, ok := w.signOf(netdev.Frame{Direction: netdev.Sent, Data: b}, w.m.NICs[0]); ok {
				t.Error("a frame to the guest is a sign of it")
			}
			_, _ = w.signOf(netdev.Frame{Data: b}, w.m.NICs[0])
		}
		for _, line := range printableLines(b, 3) {
			if strings.ContainsFunc(line, unicode.IsControl) {
				t.Errorf("%q has control characters", line)
			}
		}
	})
}

func TestAddressProbe(t *testing.T) {
	for _, a := range []string{"10.1.1.11", "fd00::11"} {
		addr := netip.MustParseAddr(a)
		f := addressProbe(addr)
		if len(f) < 60 {
			t.Errorf("%s: %d bytes", a, len(f))
		}
		if _, ok := answeredAddress(f); ok {
			t.Errorf("%s: the question passes for an answer", a)
		}
	}
	for _, b := range [][]byte{make([]byte, 14), append(make([]byte, 12), 8, 6, 1), append(make([]byte, 12), 0x86, 0xdd, 1)} {
		if _, ok := answeredAddress(b); ok {
			t.Errorf("% x passes for an answer", b)
		}
	}
}
