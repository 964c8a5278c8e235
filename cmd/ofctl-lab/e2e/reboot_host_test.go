package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	machine "github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// hostImageEnv names the directory of a hypervisor's image; .ci/reboot makes one.
const hostImageEnv = "OFCTL_LAB_HOST_IMAGE"

// hostPatience bounds what a hypervisor does whose every instruction is emulated. It only
// ends a test that has failed already.
const hostPatience = 8 * time.Minute

// The hypervisor's addresses. It is on the lab's two bridges, as the lab's own hosts are.
const (
	hostName        = "kvm1"
	hostTEP         = "192.168.200.50"
	hostMgmtOffset  = 200 // in the management network
	apiPort         = 8080
	hostMgmtDevice  = "ens8" // udev's names of the NICs, by their PCI slots
	hostUplink      = "ens9"
	underlayNetwork = 24
)

// vmHost is a hypervisor: a virtual machine with Debian's kernel, init and Open vSwitch.
type vmHost struct {
	l          *testLab
	dir        string
	qmp        *qemu.QMP
	controller netip.Addr
}

// hostImage is the directory with the image; the test is skipped where there is none.
func hostImage(t *testing.T) string {
	t.Helper()
	dir := os.Getenv(hostImageEnv)
	if dir == "" {
		// On CI too: it takes long, and belongs to the tests in virtual machines that are run by hand.
		t.Skipf("SKIPPED, and no host is power-cycled: %s names no image of a hypervisor; make test-reboot makes one and runs this test", hostImageEnv)
	}
	needVMs(t)
	for _, f := range []string{"vmlinux", "initrd.img", "root.ext4"} {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			t.Fatalf("the image of a hypervisor is not whole: %v; .ci/kernel-image-host makes it", err)
		}
	}
	return dir
}

// counterFrequency tells a kernel under TCG how fast the time-stamp counter is, which is this
// machine's. One that measures it while the machine is busy finds too low a frequency, and
// its clock runs several times too fast from then on.
func counterFrequency(t *testing.T) string {
	t.Helper()
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^bogomips\s*: ([0-9.]+)$`).FindSubmatch(info)
	if found == nil {
		t.Fatal("/proc/cpuinfo has no bogomips")
	}
	mips, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(" tsc_early_khz=%.0f", mips*500)
}

// startHost boots a hypervisor with a disk of its own, and with the program to install on
// another one.
func (l *testLab) startHost(t *testing.T, image string) *vmHost {
	t.Helper()
	h := &vmHost{l: l, dir: filepath.Join(l.root, hostName)}
	install := filepath.Join(h.dir, "install")
	if err := os.MkdirAll(install, 0o755); err != nil {
		t.Fatal(err)
	}
	infra, err := netdev.OpenNamespace(l.name + ".net")
	if err != nil {
		t.Fatal(err)
	}
	defer infra.Close()
	mgmt, err := infra.Link("mgmt")
	if err != nil || len(mgmt.Addresses) != 1 {
		t.Fatalf("the lab's management network: %+v, %v", mgmt, err)
	}
	h.controller = mgmt.Addresses[0].Addr()
	h.serveAPI(t, infra)
	h.fillInstall(t, install, mgmt.Addresses[0])

	m := machine.Machine{
		Name: hostName, UUID: uuid.New(), Kind: "host", Memory: 1024, CPUs: 2, NICModel: "virtio", DiskBus: "virtio",
		Kernel: filepath.Join(image, "vmlinux"), Initrd: filepath.Join(image, "initrd.img"),
		Cmdline: "console=ttyS0 quiet panic=1 mitigations=off no_timer_check tsc=reliable audit=0 systemd.show_status=0",
		Disks:   []machine.Disk{{Path: filepath.Join(h.dir, "root.ext4"), Format: "raw"}, {Path: filepath.Join(h.dir, "install.ext4"), Format: "raw"}},
	}
	output(t, "cp", "--sparse=always", filepath.Join(image, "root.ext4"), m.Disks[0].Path)
	output(t, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", install, m.Disks[1].Path, "96M")

	accel, note, err := qemu.FindAccel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the hypervisor runs on %s %s", accel, note)
	if accel == qemu.TCG {
		m.Cmdline += counterFrequency(t)
	}
	options := qemu.Options{Accel: accel}
	cmd := exec.Command("")
	for i, bridge := range []string{"mgmt", "underlay"} {
		dev := "vm-" + bridge
		tap, err := infra.OpenTap(dev)
		if err != nil {
			t.Fatal(err)
		}
		defer tap.Close()
		if _, err := infra.Configure(dev, netdev.LinkConfig{Master: bridge, State: netdev.Up, IPv6: netdev.IPv6Off, ARP: netdev.Down}); err != nil {
			t.Fatal(err)
		}
		m.NICs = append(m.NICs, machine.NIC{Name: dev, MAC: net.HardwareAddr{2, 0, 0, 0, 0x50, byte(i)}})
		options.TapFDs = append(options.TapFDs, 3+i) // after stdin, stdout and stderr
		cmd.ExtraFiles = append(cmd.ExtraFiles, tap)
	}
	argv, err := qemu.Command(m, options)
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd.Path, cmd.Args, cmd.Dir, cmd.Stderr = path, argv, h.dir, &said
	if err := infra.Start(cmd); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("qemu: %s", &said)
			l.tail(t, filepath.Join(h.dir, qemu.ConsoleLog))
		}
	})
	eventually(t, "qemu listens", func() bool {
		h.qmp, err = qemu.DialQMP(t.Context(), h.dir, qemu.MonitorSocket)
		return err == nil
	})
	t.Cleanup(func() { h.qmp.Close() })
	t.Cleanup(func() { h.explain(t) })
	return h
}

// fillInstall is what is brought to the hypervisor to be installed: the program, its
// unit, and how the network is set up in Debian's way.
func (h *vmHost) fillInstall(t *testing.T, dir string, controller netip.Prefix) {
	t.Helper()
	output(t, "cp", os.Getenv(binaryEnv), filepath.Join(dir, "ofctl-lab"))
	output(t, "cp", "../../../configs/systemd/ofctl-lab-attach.service", dir)
	address := controller.Masked().Addr().As4()
	address[3] = hostMgmtOffset
	interfaces := fmt.Sprintf("auto %s\niface %[1]s inet static\n\taddress %s/%d\nauto %s\niface %[4]s inet static\n\taddress %s/%d\n",
		hostMgmtDevice, netip.AddrFrom4(address), controller.Bits(), hostUplink, hostTEP, underlayNetwork)
	if err := os.WriteFile(filepath.Join(dir, "interfaces"), []byte(interfaces), 0o644); err != nil {
		t.Fatal(err)
	}
}

// serveAPI makes the controller's HTTP interface reachable for the hypervisor. The lab's
// controller has it on a unix socket, and a connection waits until it is there.
func (h *vmHost) serveAPI(t *testing.T, infra *netdev.Namespace) {
	t.Helper()
	var listener net.Listener
	err := infra.Do(func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(h.controller, apiPort).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var relays sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	relays.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			relays.Go(func() { relay(ctx, client, h.l.socket()) })
		}
	})
	t.Cleanup(func() {
		cancel()
		listener.Close()
		relays.Wait()
	})
}

// relay carries one connection to a unix socket, until one side ends it or ctx does.
func relay(ctx context.Context, client net.Conn, socket string) {
	defer client.Close()
	server, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() { client.Close(); server.Close() })
	defer stop()
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(client, server)
		client.Close()
	}()
	_, _ = io.Copy(server, client)
	server.Close()
	<-back
}

// output runs a program of this machine, which must succeed.
func output(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// try types a script on the hypervisor, as soon as its guest agent answers, and gives
// its output with what it complained.
func (h *vmHost) try(ctx context.Context, script string) (string, error) {
	agent, err := qemu.DialAgent(ctx, h.dir)
	if err != nil {
		return "", err
	}
	defer agent.Close()
	var out bytes.Buffer
	code, err := agent.Exec(ctx, qemu.GuestCommand{
		Argv: []string{"/bin/sh", "-ec", script}, Stdout: &out, Stderr: &out,
		Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"},
	})
	if err == nil && code != 0 {
		err = fmt.Errorf("exit status %d", code)
	}
	return strings.TrimSpace(out.String()), err
}

// run is try for what has to succeed.
func (h *vmHost) run(t *testing.T, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hostPatience)
	defer cancel()
	out, err := h.try(ctx, script)
	if err != nil {
		t.Fatalf("on the hypervisor: %v\n%s\n%s", err, script, out)
	}
	return out
}

// explain logs what the hypervisor says of itself after a failure.
func (h *vmHost) explain(t *testing.T) {
	if !t.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := h.try(ctx, `exec 2>&1; set +e
ip -br address; ovs-vsctl show; ovs-vsctl --columns=name,ofport,error,external_ids list Interface
ovs-appctl dpif/show; ovs-ofctl -O OpenFlow13 dump-flows br-int | grep -v n_packets=0 | head -50
systemctl --no-pager --failed; systemctl --no-pager status ofctl-lab-attach; journalctl --no-pager -b -u 'ovs*' | tail -30`)
	t.Logf("the hypervisor (%v):\n%s", err, out)
}

// reset is the power-cycle: without a warning, and all that is not on the disk is lost. It
// returns when it has happened.
func (h *vmHost) reset(t *testing.T) time.Time {
	t.Helper()
	for len(h.qmp.Events()) > 0 {
		<-h.qmp.Events()
	}
	if err := h.qmp.Execute(t.Context(), "system_reset", nil, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		select {
		case e, ok := <-h.qmp.Events():
			if !ok {
				t.Fatal("qemu has ended instead of resetting the machine")
			}
			if e.Name == "RESET" {
				return time.Now()
			}
		case <-ctx.Done():
			t.Fatal("qemu has not reset the machine")
		}
	}
}

// kernelStart is when the hypervisor's kernel started, by this machine's clock.
func (h *vmHost) kernelStart(t *testing.T) time.Time {
	t.Helper()
	text := h.run(t, "cat /proc/uptime; cat /proc/sys/kernel/random/boot_id")
	now := time.Now()
	first, _, _ := strings.Cut(text, " ")
	up, err := strconv.ParseFloat(first, 64)
	if err != nil {
		t.Fatalf("/proc/uptime: %q", text)
	}
	return now.Add(-time.Duration(up * float64(time.Second)))
}

// joined types what an administrator types once: what is installed, the network, the join
// command, and one attach for each guest. Nothing of it is typed again.
func (h *vmHost) joined(t *testing.T) {
	t.Helper()
	join := h.l.run(t, "host", "join-command", hostName, "--tep", hostTEP, "--controller", h.controller.String())
	h.run(t, `systemctl is-system-running --wait || true
mkdir -p /mnt
mount -o ro /dev/vdb /mnt
cp /mnt/ofctl-lab /usr/bin/
cp /mnt/ofctl-lab-attach.service /etc/systemd/system/
cp /mnt/interfaces /etc/network/interfaces.d/hypervisor
umount /mnt
ifup -a
systemctl enable ofctl-lab-attach.service
`+join+"sync")
	if err := h.ready(t.Context()); err != nil {
		within(t, waiting{limit: hostPatience, look: 200 * time.Millisecond}, hostName+" is ready", func() bool { return h.ready(t.Context()) == nil })
	}
	for _, g := range rebootGuests {
		h.attach(t, g)
	}
}

// attach attaches a guest, in a namespace of its port's name.
func (h *vmHost) attach(t *testing.T, g rebootGuest) {
	t.Helper()
	h.run(t, fmt.Sprintf("ofctl-lab --socket http://%s attach --timeout 3m --network %s --netns %s --address %s",
		netip.AddrPortFrom(h.controller, apiPort), g.network, g.port, g.address))
}

// useNetworkd has systemd-networkd set up the network from the next boot on, and not
// ifupdown.
func (h *vmHost) useNetworkd(t *testing.T) {
	t.Helper()
	h.run(t, `cd /etc/network/interfaces.d
sed -n 's/^iface \([^ ]*\) .*/\1/p' hypervisor | while read -r dev; do
	address=$(sed -n "/^iface $dev /,/^auto/s/.*address //p" hypervisor)
	printf '[Match]\nName=%s\n\n[Network]\nAddress=%s\n' "$dev" "$address" >/etc/systemd/network/$dev.network
done
rm hypervisor
systemctl disable networking.service
systemctl enable systemd-networkd.service
sync`)
}

// ready is why the controller does not say that the hypervisor is ready.
func (h *vmHost) ready(ctx context.Context) error {
	host, err := h.l.api.Host(ctx, hostName)
	if err != nil {
		return err
	}
	if !host.Status.Ready {
		return errors.New(strings.Join(host.Status.Problems, "; "))
	}
	return nil
}

// hostState is all of a hypervisor that a power-cycle must not change.
type hostState struct {
	Configured string // the datapath type in the database
	Datapath   string // datapaths and their ports, as they are
	Guests     []string
}

func (h *vmHost) state(t *testing.T) hostState {
	t.Helper()
	s := hostState{
		Configured: h.run(t, "ovs-vsctl get Bridge br-int datapath_type"),
		// Without the guest that comes later.
		Datapath: h.run(t, `ovs-appctl dpctl/dump-dps; ovs-appctl dpctl/show | sed -n 's/^ *port [0-9]*: \([^ ]*\).*/\1/p' | sort | grep -vx p-`+lateGuest.port),
	}
	for _, g := range rebootGuests {
		text := h.run(t, "ip -n "+g.port+" -json address show eth0")
		var link []struct {
			MTU       int    `json:"mtu"`
			Address   string `json:"address"`
			Operstate string `json:"operstate"`
			AddrInfo  []struct {
				Local     string `json:"local"`
				PrefixLen int    `json:"prefixlen"`
			} `json:"addr_info"`
		}
		if err := json.Unmarshal([]byte(text), &link); err != nil || len(link) != 1 {
			t.Fatalf("the addresses of %s: %v\n%s", g.port, err, text)
		}
		offloads := h.run(t, "ip netns exec "+g.port+" ethtool -k eth0 | grep -E '^(tx-checksumming|tcp-segmentation|generic)'")
		s.Guests = append(s.Guests, fmt.Sprintf("%s: %+v %s", g.port, link[0], offloads))
	}
	return s
}
