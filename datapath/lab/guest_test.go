package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

func TestGuestsReachEachOther(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "g"))
	s.Attachments = s.Attachments[:2]
	up(t, m, s, UpOptions{})
	const key = 1000001
	tunnels(t, m, s, key)

	wire, err := m.CaptureUnderlay(s.Name, "host1")
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	output(t, m, s.Name, "host1/red-a", "ping", "-c2", "-i0.2", "-W2", "10.1.1.2")
	ctx := testCtx(t)
	directions := map[netdev.Direction]bool{}
	for f, err := range wire.Frames(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		ip := f.Data[14:]
		if f.Data[12] != 8 || f.Data[13] != 0 || ip[9] != 47 {
			continue
		}
		// GRE with key (RFC 2890): flags 0x2000, protocol, key.
		if got := int(ip[24])<<24 | int(ip[25])<<16 | int(ip[26])<<8 | int(ip[27]); got != key {
			t.Errorf("key %d on the wire, want %d", got, key)
		}
		directions[f.Direction] = true
		if len(directions) == 2 {
			break
		}
	}
	if len(directions) != 2 {
		t.Errorf("captured directions %v, want both", directions)
	}

	// TCP shows what ping hides: wrong checksums, and too large an MTU.
	transfer(t, m, s.Name, Target{"host1", "red-a"}, Target{"host2", "red-b"}, "10.1.1.2:7")

	if err := m.SetLink(ctx, s.Name, "host2", netdev.Down); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Output(ctx, s.Name, Target{"host1", "red-a"}, "ping", "-c1", "-W1", "10.1.1.2"); err == nil {
		t.Error("a host that is cut off answers")
	}
	if st, err := m.Status(ctx, s.Name); err != nil || st.Ready() {
		t.Errorf("status does not show the cut: %+v, %v", st, err)
	}
	if err := m.SetLink(ctx, s.Name, "host2", netdev.Up); err != nil {
		t.Fatal(err)
	}
	output(t, m, s.Name, "host1/red-a", "ping", "-c1", "-w5", "10.1.1.2")
}

// The uplink's own ARP would answer for the TEP as well, with another MAC, and
// faster than br-phy.
func TestTEPHasOneMAC(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "m"))
	s.Attachments = nil
	up(t, m, s, UpOptions{})
	ns, err := m.Namespace(s.Name, Target{Host: infrastructure})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	conn, err := ns.OpenPacket(underlayDevice)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tep := s.Hosts[0].TEP.As4()
	me := []byte{2, 0, 0, 0, 0, 0x99}
	request := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, me...)
	request = append(request, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
	request = append(append(request, me...), 192, 168, 200, 99)
	request = append(append(request, 0, 0, 0, 0, 0, 0), tep[:]...)
	if err := conn.Send(request); err != nil {
		t.Fatal(err)
	}
	want := underlayMAC(s.Name, "host1")
	for f, err := range conn.Frames(testCtx(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(f.Data, me) || f.Data[12] != 8 || f.Data[13] != 6 {
			continue
		}
		if got := net.HardwareAddr(f.Data[22:28]); got.String() != want.String() {
			t.Errorf("%s answers for %s; want only %s", got, s.Hosts[0].TEP, want)
			continue
		}
		return
	}
	t.Error("nobody answers for the TEP")
}

// transfer sends a megabyte by TCP from one guest to another.
func transfer(t *testing.T, m *Manager, lab string, from, to Target, addr string) {
	t.Helper()
	const size = 1 << 20
	var (
		listener net.Listener
		client   net.Conn
	)
	in(t, m, lab, to, func() (err error) {
		listener, err = net.Listen("tcp", addr)
		return err
	})
	defer listener.Close()
	received := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			received <- err
			return
		}
		defer conn.Close()
		err = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if n, cerr := io.Copy(io.Discard, conn); n != size {
			err = fmt.Errorf("%d bytes arrived, want %d: %w", n, size, errors.Join(err, cerr))
		}
		received <- err
	}()
	in(t, m, lab, from, func() (err error) {
		client, err = net.DialTimeout("tcp", addr, 5*time.Second)
		return err
	})
	defer client.Close()
	if err := client.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if err := <-received; err != nil {
		t.Error(err)
	}
}

func TestPlugUnplugMove(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "p"))
	s.Attachments = s.Attachments[:2]
	up(t, m, s, UpOptions{})
	tunnels(t, m, s, 7)
	ctx := testCtx(t)
	status := func(port string) AttachmentStatus {
		t.Helper()
		st, err := m.Status(ctx, s.Name)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(st.Attachments, func(a AttachmentStatus) bool { return a.Port == port })
		return st.Attachments[i]
	}
	a := s.Attachments[0]
	if err := m.Unplug(ctx, s.Name, "red-a"); err != nil {
		t.Fatal(err)
	}
	if got := status("red-a"); got.Plugged {
		t.Errorf("unplugged, but %+v", got)
	}
	if err := m.Plug(ctx, s.Name, a, PlugOptions{OFPort: 42}); err != nil {
		t.Fatal(err)
	}
	if got := status("red-a"); !got.Plugged || got.OFPort != 42 {
		t.Errorf("plugged as 42, but %+v", got)
	}
	output(t, m, s.Name, "host1/red-a", "ping", "-c1", "-w5", "10.1.1.2")
	if err := m.Move(ctx, s.Name, "red-a", "host2", PlugOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := status("red-a"); !got.Plugged || got.Host != "host2" {
		t.Errorf("moved, but %+v", got)
	}
	output(t, m, s.Name, "host2/red-a", "ping", "-c1", "-w5", "10.1.1.2")
	if _, err := netdev.OpenNamespace(a.Namespace(s.Name)); err == nil {
		t.Error("the namespace on the old host is left")
	}
	for _, err := range []error{
		m.Unplug(ctx, s.Name, "nothing"),
		m.Move(ctx, s.Name, "nothing", "host1", PlugOptions{}),
		m.Move(ctx, s.Name, "red-a", "host9", PlugOptions{}),
		m.Plug(ctx, s.Name, a, PlugOptions{OFPort: 70000}),
		m.Unplug(ctx, testLab(t, "other"), "red-a"),
	} {
		if err == nil {
			t.Error("accepted")
		}
	}
}

func TestTrunkGuestAndIPv6Underlay(t *testing.T) {
	need.Have(t, need.IPv6())
	needLab(t)
	m := New(t.TempDir())
	s := Spec{
		Name:     testLab(t, "v"),
		Underlay: Underlay{Subnets: []netip.Prefix{netip.MustParsePrefix("fd00:200::/64")}, MTU: 1600},
		Hosts: []Host{
			{Name: "host1", TEP: netip.MustParseAddr("fd00:200::20")},
			{Name: "host2", TEP: netip.MustParseAddr("fd00:200::21")},
		},
	}
	for i, host := range []string{"host1", "host2"} {
		addr := func(format string) []netip.Prefix {
			return []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf(format, i+1))}
		}
		s.Attachments = append(s.Attachments, Attachment{
			Port: "sw" + host, Host: host, Netns: "sw", Interface: "et1", MTU: 1450, MAC: MAC{2, 0, 0, 0, 9, byte(i)},
			Addresses: addr("10.9.0.%d/24"),
			VLANs:     []VLAN{{ID: 10, Addresses: addr("10.10.0.%d/24")}, {ID: 20, MTU: 1400, Addresses: addr("fd00:20::%d/64")}},
		})
	}
	up(t, m, s, UpOptions{})
	tunnels(t, m, s, 5)
	for _, to := range []string{"10.9.0.2", "10.10.0.2", "fd00:20::2"} {
		output(t, m, s.Name, "host1/sw", "ping", "-c1", "-w5", to)
	}
	wire, err := m.CaptureGuest(s.Name, "swhost2", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	output(t, m, s.Name, "host1/sw", "ping", "-c1", "-w5", "10.10.0.2")
	for f, err := range wire.Frames(testCtx(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if f.Data[12] == 0x81 && f.Data[13] == 0 && f.Data[14]&0xf == 0 && f.Data[15] == 10 {
			break // VLAN 10 on the wire
		}
	}
	if err := m.Up(testCtx(t), s, UpOptions{}); err != nil {
		t.Error("again:", err)
	}
	// A power-cycle, and a trunk with one VLAN less.
	if err := m.Unplug(testCtx(t), s.Name, "swhost1"); err != nil {
		t.Fatal(err)
	}
	if err := m.Plug(testCtx(t), s.Name, s.Attachments[0], PlugOptions{}); err != nil {
		t.Fatal(err)
	}
	output(t, m, s.Name, "host1/sw", "ping", "-c1", "-w5", "fd00:20::2")
	s.Attachments[0].VLANs = s.Attachments[0].VLANs[:1]
	if err := m.Up(testCtx(t), s, UpOptions{}); err != nil {
		t.Fatal(err)
	}
	output(t, m, s.Name, "host1/sw", "ping", "-c1", "-w5", "10.10.0.2")
	if _, err := m.Output(testCtx(t), s.Name, Target{"host1", "sw"}, "ip", "link", "show", "et1.20"); err == nil {
		t.Error("the sub-interface that was taken out is still there")
	}
}
