package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/google/uuid"

	machine "github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/need"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// needVMs skips the test where no virtual machine can be run; on CI it fails.
func needVMs(t *testing.T) {
	t.Helper()
	need.Have(t, missing(), need.QEMU(), need.Tun(), need.IPv6())
}

// imageWords is what the guest is told, and wrongWords what it must complain of and
// survive.
var (
	imageWords = []string{
		"hostname=image1", "lldp",
		"net.eth0=10.1.1.2/24,fd00::2/64,mtu=1450", "net.eth1=mtu=1400", "net.eth1.10=10.2.1.2/24",
		"bond.bond0=eth2,eth3,lacp", "net.bond0=10.4.1.2/24",
		"bridge.br0=eth4,eth5,stp", "net.br0=10.5.1.2/24",
	}
	wrongWords = []string{
		"net.eth99=10.6.1.2/24", "net.eth6=10.6.1", "net.eth6=10.6.1.2000/24", "net.eth6=fd00::x/64", "net.eth6=mtu=big",
		"net.eth6=mtu=40", "net.eth6=*", "net.eth6.4095=10.6.1.2/24", "net.eth99.7=10.6.1.2/24", "net.$(reboot)=10.6.1.2/24",
		"net.../../x=10.6.1.2/24", "net.eth6", "bond.bond1=eth99", "bridge.a-name-far-too-long=eth6", "bridge.br1=eth6,lacp",
	}
)

// TestGuestImage: a guest is what its kernel command line says, says what it cannot
// do, runs commands, and goes down cleanly.
func TestGuestImage(t *testing.T) {
	t.Parallel()
	m := machine.Machine{Name: "image", UUID: uuid.New(), Kind: "image", Memory: 192, CPUs: 1, NICModel: "e1000"}
	needVMs(t)
	image := guestImage(t)
	m.Kernel, m.Initrd = filepath.Join(image, "vmlinuz"), filepath.Join(image, "initramfs.img")
	m.Cmdline = strings.Join(slices.Concat([]string{"console=ttyS0 quiet panic=-1"}, imageWords, wrongWords), " ")
	for i := range 9 {
		m.NICs = append(m.NICs, machine.NIC{Name: fmt.Sprintf("eth%d", i), MAC: net.HardwareAddr{2, 0, 0, 0, 9, byte(8 - i)}})
	}
	ctx, cancel := context.WithTimeout(t.Context(), bootPatience)
	defer cancel()
	v := startImage(t, m)

	v.answers(ctx, t, 0, 0, netip.MustParseAddr("10.1.1.2"))
	v.answers(ctx, t, 1, 10, netip.MustParseAddr("10.2.1.2"))
	v.answers(ctx, t, 4, 0, netip.MustParseAddr("10.5.1.2"))
	v.sends(ctx, t, 0, "LLDP", net.HardwareAddr{0x01, 0x80, 0xc2, 0, 0, 0x0e})
	v.sends(ctx, t, 2, "LACP", net.HardwareAddr{0x01, 0x80, 0xc2, 0, 0, 0x02})
	v.sends(ctx, t, 5, "STP", net.HardwareAddr{0x01, 0x80, 0xc2, 0, 0, 0})

	agent, err := qemu.DialAgent(ctx, v.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	want := map[string]string{
		"hostname": "image1",
		"cat /sys/class/net/eth0/mtu /sys/class/net/eth1/mtu":                          "1450\n1400",
		"cat /sys/class/net/bond0/bonding/mode /sys/class/net/bond0/bonding/lacp_rate": "802.3ad 4\nfast 1",
		"cat /sys/class/net/bond0/bonding/slaves":                                      "eth2 eth3",
		"cat /sys/class/net/br0/bridge/stp_state; ls /sys/class/net/br0/brif":          "1\neth4\neth5",
		"/usr/bin/ip -br -6 addr show dev eth0 scope global | awk '{print $3}'":        "fd00::2/64",
		"/usr/bin/ip -br -4 addr show dev bond0 | awk '{print $3}'":                    "10.4.1.2/24",
		"/usr/bin/ip -br -4 addr show dev eth6 | awk '{print $3}'; ls /tmp":            "",
		"/usr/bin/lldpcli -v | grep -c '^[0-9]'":                                       "1",
		"/usr/bin/tcpdump --version 2>&1 | awk 'NR==1 {print $1}'":                     "tcpdump",
	}
	for command, wanted := range want {
		if got := inGuest(ctx, t, agent, command); got != wanted {
			t.Errorf("%s: %q, want %q", command, got, wanted)
		}
	}
	// The order of NICs is that of the machine's slots, whatever their addresses.
	for i, n := range m.NICs {
		path := fmt.Sprintf("/sys/class/net/eth%d/address", i)
		if i == 2 || i == 3 { // a bond gives its ports its own address
			path = fmt.Sprintf("/sys/class/net/eth%d/bonding_slave/perm_hwaddr", i)
		}
		if got := inGuest(ctx, t, agent, "cat "+path); got != n.MAC.String() {
			t.Errorf("eth%d has %s, want %s", i, got, n.MAC)
		}
	}
	v.complaints(t)

	t.Run("reboot", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), bootPatience)
		defer cancel()
		if err := agent.Shutdown(ctx, qemu.Reboot); err != nil {
			t.Fatal(err)
		}
		agent.Close() // the channel serves one at a time
		v.event(ctx, t, "RESET")
		v.answers(ctx, t, 0, 0, netip.MustParseAddr("10.1.1.2"))
	})
	t.Run("power button", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), bootPatience)
		defer cancel()
		// The button is heard once the guest has come that far.
		again, err := qemu.DialAgent(ctx, v.dir)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if err := v.qmp.Execute(ctx, "system_powerdown", nil, nil); err != nil {
			t.Fatal(err)
		}
		v.event(ctx, t, "SHUTDOWN")
		select {
		case <-v.ended:
		case <-ctx.Done():
			t.Error("qemu has not ended")
		}
	})
}

// imageVM is a running machine, and the host's ends of its NICs.
type imageVM struct {
	dir   string
	qmp   *qemu.QMP
	nics  []machine.NIC
	taps  []*netdev.PacketConn
	ended chan struct{}
}

// startImage runs the machine in a namespace of its own, without a switch.
func startImage(t *testing.T, m machine.Machine) *imageVM {
	t.Helper()
	ns, err := netdev.CreateNamespace(fmt.Sprintf("i%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ns.Close()
		if err := netdev.DeleteNamespace(ns.Name()); err != nil {
			t.Error(err)
		}
	})
	v := &imageVM{dir: t.TempDir(), nics: m.NICs, ended: make(chan struct{})}
	cmd := exec.Command("")
	options := qemu.Options{Accel: qemu.TCG}
	for i := range m.NICs {
		dev := fmt.Sprintf("tap%d", i)
		tap, err := ns.OpenTap(dev)
		if err != nil {
			t.Fatal(err)
		}
		defer tap.Close()
		if _, err := ns.Configure(dev, netdev.LinkConfig{State: netdev.Up, IPv6: netdev.IPv6Off}); err != nil {
			t.Fatal(err)
		}
		c, err := ns.OpenPacket(dev)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		v.taps = append(v.taps, c)
		options.TapFDs = append(options.TapFDs, 3+len(cmd.ExtraFiles)) // after stdin, stdout and stderr
		cmd.ExtraFiles = append(cmd.ExtraFiles, tap)
	}
	argv, err := qemu.Command(m, options)
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	path, err := exec.LookPath(argv[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Args, cmd.Dir, cmd.Stderr = path, argv, v.dir, &said
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(v.ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-v.ended
		if t.Failed() {
			t.Logf("qemu: %s\nconsole:\n%s", said.String(), v.console(t))
		}
	})
	eventually(t, "qemu listens", func() bool {
		v.qmp, err = qemu.DialQMP(t.Context(), v.dir, qemu.MonitorSocket)
		return err == nil
	})
	t.Cleanup(func() { v.qmp.Close() })
	return v
}

// answers waits until the guest answers for the address on its i-th NIC, in a VLAN or,
// with 0, without a tag, as the NIC's MAC.
func (v *imageVM) answers(ctx context.Context, t *testing.T, i int, vlan uint16, addr netip.Addr) {
	t.Helper()
	me := station{net.HardwareAddr{2, 0, 0, 0, 8, 1}, addr.Prev()}
	question := arp(t, layers.ARPRequest, broadcast, me, station{addr: addr}, "")
	if vlan != 0 {
		question = slices.Concat(question[:12], []byte{0x81, 0, byte(vlan >> 8), byte(vlan)}, question[12:])
	}
	tick := time.NewTicker(200 * time.Millisecond) // how often is asked; a guest that boots hears nothing
	defer tick.Stop()
	asking := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(asking)
		for {
			_ = v.taps[i].Send(question)
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	defer func() { close(stop); <-asking }()
	f := v.next(ctx, t, i, fmt.Sprintf("an answer for %s", addr), func(f netdev.Frame) bool {
		p := arpOf(f)
		return p != nil && p.Operation == layers.ARPReply && bytes.Equal(p.SourceProtAddress, addr.AsSlice()) && vlanOf(f) == vlan
	})
	if p := arpOf(f); i < 4 && !bytes.Equal(p.SourceHwAddress, v.nics[i].MAC) {
		t.Errorf("%s is at %v, want %v", addr, net.HardwareAddr(p.SourceHwAddress), v.nics[i].MAC)
	}
}

// sends waits for a frame from the i-th NIC to a control address.
func (v *imageVM) sends(ctx context.Context, t *testing.T, i int, what string, to net.HardwareAddr) {
	t.Helper()
	v.next(ctx, t, i, "a frame of "+what, func(f netdev.Frame) bool {
		e, _ := f.Packet().LinkLayer().(*layers.Ethernet)
		return e != nil && bytes.Equal(e.DstMAC, to)
	})
}

// next is the next frame from the guest's i-th NIC that is wanted.
func (v *imageVM) next(ctx context.Context, t *testing.T, i int, what string, wanted func(netdev.Frame) bool) netdev.Frame {
	t.Helper()
	for {
		f, err := v.taps[i].Next(ctx)
		if err != nil {
			t.Fatalf("%s has not come from eth%d: %v", what, i, err)
		}
		if f.Direction == netdev.Received && wanted(f) {
			return f
		}
	}
}

// event waits for an event of qemu's.
func (v *imageVM) event(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	for {
		select {
		case e, ok := <-v.qmp.Events():
			if !ok {
				t.Fatalf("qemu ended without %s", name)
			}
			if e.Name == name {
				return
			}
		case <-ctx.Done():
			t.Fatalf("qemu has not told %s", name)
		}
	}
}

func (v *imageVM) console(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(v.dir, qemu.ConsoleLog))
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// complaints holds that each wrong word, and no other, is complained of.
func (v *imageVM) complaints(t *testing.T) {
	t.Helper()
	said := v.console(t)
	const prefix = "guest: kernel command line: "
	for _, w := range wrongWords {
		if !strings.Contains(said, prefix+w+": ") {
			t.Errorf("nothing is said of %s", w)
		}
	}
	for line := range strings.Lines(said) {
		_, rest, found := strings.Cut(line, prefix)
		word, _, _ := strings.Cut(rest, ": ")
		if found && !slices.Contains(wrongWords, word) {
			t.Errorf("complained: %s", line)
		}
	}
}

// inGuest runs a shell command in the guest and is what it writes, trimmed.
func inGuest(ctx context.Context, t *testing.T, a *qemu.Agent, command string) string {
	t.Helper()
	var out, errs bytes.Buffer
	code, err := a.Exec(ctx, qemu.GuestCommand{Argv: []string{"/bin/sh", "-c", command}, Stdout: &out, Stderr: &errs})
	if err != nil || code != 0 {
		t.Fatalf("%s: exit code %d, %v: %s%s", command, code, err, out.String(), errs.String())
	}
	return strings.TrimSpace(out.String())
}
