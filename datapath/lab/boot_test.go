package lab

import (
	"context"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/need"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// guestBoot bounds all boots of a test: minutes where the machine is busy.
const guestBoot = 3 * time.Minute

// booted is a machine with the guests' image, at 10.1.1.11 and fd00::11. It is
// ready when it answers for the latter; the examples in docs wait for IPv4.
func booted(t *testing.T, name, host string) Machine {
	t.Helper()
	need.Have(t, need.GuestImage("../.."), need.IPv6())
	v := bare(t, name, host)
	v.Disks, v.Boot, v.Memory, v.Ready, v.NICModel = nil, nil, 192, guest.ReadyAddress, "virtio"
	v.NICs[0].Addresses = []netip.Addr{netip.MustParseAddr("fd00::11")}
	v.Cmdline = "console=ttyS0 quiet hostname=" + name + " net.eth0=10.1.1.11/24,fd00::11/64"
	for file, at := range map[string]*string{"vmlinuz": &v.Kernel, "initramfs.img": &v.Initrd} {
		path, err := filepath.Abs(filepath.Join("../../bin/guest", file))
		if err != nil {
			t.Fatal(err)
		}
		*at = path
	}
	return v
}

// A guest boots, is known to be ready by its answer, runs programs, sees its
// carrier go with its port, boots anew when asked to, and switches itself off.
func TestMachineBoots(t *testing.T) {
	needQEMU(t)
	m := New(t.TempDir())
	s := machineLab(t, "b", booted(t, "vm1", "host1"))
	s.Attachments = []Attachment{member("ns", "host2", "10.1.1.2/24")}
	up(t, m, s, UpOptions{Supervisor: testSupervisor(t), Accel: qemu.TCG})
	tunnels(t, m, s, 7)
	ctx, cancel := context.WithTimeout(context.Background(), guestBoot)
	defer cancel()
	var steps []string
	if err := m.AwaitMachines(ctx, s.Name, nil, func(p MachineProgress) {
		if len(steps) == 0 || steps[len(steps)-1] != p.Step {
			steps = append(steps, p.Step)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if last := steps[len(steps)-1]; last != "answers for fd00::11" {
		t.Errorf("steps %q", steps)
	}
	output(t, m, s.Name, "host2/ns", "ping", "-c1", "-w5", "10.1.1.11")
	at := Target{"host1", "vm1"}
	var out, errOut strings.Builder
	code, err := m.Exec(ctx, s.Name, at, Cmd{
		Argv: []string{"sh", "-c", "cat; echo $WORD; echo no >&2; exit 3"}, Env: []string{"WORD=here", "PATH=/bin"},
		Stdin: strings.NewReader("in\n"), Stdout: &out, Stderr: &errOut})
	if err != nil || code != 3 || out.String() != "in\nhere\n" || errOut.String() != "no\n" {
		t.Errorf("exec: %d %q %q %v", code, out.String(), errOut.String(), err)
	}

	carrier := func(nic string) string {
		return strings.TrimSpace(output(t, m, s.Name, "host1/vm1", "cat", "/sys/class/net/"+nic+"/carrier"))
	}
	output(t, m, s.Name, "host1/vm1", "ip", "link", "set", "eth1", "up")
	for _, c := range []struct{ port, want string }{{"down", "0"}, {"up", "1"}} {
		output(t, m, s.Name, "host1", "ovs-ofctl", "mod-port", IntegrationBridge, "t-vm1-1", c.port)
		eventually(t, "eth1's carrier "+c.want, func() bool { return carrier("eth1") == c.want })
		if got := carrier("eth0"); got != "1" {
			t.Errorf("eth0's carrier is %s with the other port %s", got, c.port)
		}
	}

	before, _ := machineStatus(t, m, s.Name, "vm1")
	if err := m.RebootMachine(ctx, s.Name, "vm1", Gracefully); err != nil {
		t.Fatal(err)
	}
	if err := m.AwaitMachines(ctx, s.Name, []string{"vm1"}, nil); err != nil {
		t.Fatal(err)
	}
	if again, _ := machineStatus(t, m, s.Name, "vm1"); again.PID != before.PID || !again.Ready.After(before.Ready) {
		t.Errorf("before %+v, after %+v", before, again)
	}
	if gracefully, err := m.StopMachine(ctx, s.Name, "vm1", Gracefully); err != nil || !gracefully {
		t.Errorf("stop: by itself %v, %v", gracefully, err)
	}
	if _, err := m.Exec(ctx, s.Name, at, Cmd{Argv: []string{"true"}}); err == nil {
		t.Error("a guest that is off runs programs")
	}
}
