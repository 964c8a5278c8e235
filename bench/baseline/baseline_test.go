package baseline

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"go.uber.org/goleak"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/need"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGuestMTU(t *testing.T) {
	if got := GuestMTU(1500); got != 1458 {
		t.Errorf("GuestMTU(1500) = %d, want 1458", got)
	}
}

// rig is a lab of two hosts with two tenants, whose guests have the same
// addresses and different Ethernet addresses.
type rig struct {
	m    *lab.Manager
	name string
	a, b Host
}

const (
	redVLAN, blueVLAN = 100, 200
	near, far         = "10.1.1.1", "10.1.1.2"
)

func newRig(t *testing.T) *rig {
	t.Helper()
	need.Have(t, need.Root(), need.OpenVSwitch(), need.Tun())
	r := &rig{m: lab.New(t.TempDir()), name: fmt.Sprintf("bl%d", os.Getpid())}
	guest := func(port, host, addr string) lab.Attachment {
		return lab.Attachment{Port: port, Host: host, MTU: GuestMTU(1500),
			Addresses: []netip.Prefix{netip.MustParsePrefix(addr + "/24")}, MAC: guestMAC(port)}
	}
	spec := lab.Spec{
		Name:     r.name,
		Underlay: lab.Underlay{Subnets: []netip.Prefix{netip.MustParsePrefix("192.168.210.0/24")}, MTU: 1500},
		Hosts: []lab.Host{
			{Name: "host1", TEP: netip.MustParseAddr("192.168.210.20")},
			{Name: "host2", TEP: netip.MustParseAddr("192.168.210.21")},
		},
		Attachments: []lab.Attachment{
			guest("red-a", "host1", near), guest("red-b", "host2", far),
			guest("blue-a", "host1", near), guest("blue-b", "host2", far),
		},
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := r.m.Down(ctx, r.name); err != nil {
			t.Error(err)
		}
	})
	ctx := t.Context()
	if err := r.m.Up(ctx, spec, lab.UpOptions{}); err != nil {
		t.Fatal(err)
	}
	r.a, r.b = r.host(t, spec, 0), r.host(t, spec, 1)
	if err := Up(ctx, r.a, r.b); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) host(t *testing.T, spec lab.Spec, i int) Host {
	t.Helper()
	h := spec.Hosts[i]
	out := Host{TEP: h.TEP, Run: func(ctx context.Context, argv ...string) (string, error) {
		return r.m.Output(ctx, r.name, lab.Target{Host: h.Name}, argv...)
	}}
	datapath, err := out.Run(t.Context(), "ovs-vsctl", "get", "bridge", lab.IntegrationBridge, "datapath_type")
	if err != nil {
		t.Fatal(err)
	}
	out.Datapath = strings.Trim(strings.TrimSpace(datapath), `"`)
	for _, a := range spec.Attachments {
		if a.Host == h.Name {
			vlan := uint16(redVLAN)
			if strings.HasPrefix(a.Port, "blue") {
				vlan = blueVLAN
			}
			out.Ports = append(out.Ports, Port{Device: a.Device(), VLAN: vlan})
		}
	}
	return out
}

func guestMAC(port string) lab.MAC {
	return lab.MAC{2, 0, 0, 0, port[0], port[len(port)-1]}
}

// ping sends up to three requests from a guest on host1 and reports whether an answer came.
func (r *rig) ping(t *testing.T, guest string) bool {
	t.Helper()
	var out strings.Builder
	code, err := r.m.Exec(t.Context(), r.name, lab.Target{Host: "host1", Netns: guest},
		lab.Cmd{Argv: []string{"ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", far}, Stdout: &out})
	if err != nil || code > 1 {
		t.Fatalf("ping from %s: exit code %d, %v", guest, code, err)
	}
	return code == 0 || strings.Contains(out.String(), "bytes from")
}

// neighbour is the Ethernet address at which a guest on host1 has found far.
func (r *rig) neighbour(t *testing.T, guest string) string {
	t.Helper()
	out, err := r.m.Output(t.Context(), r.name, lab.Target{Host: "host1", Netns: guest}, "ip", "neigh", "show", far)
	if err != nil {
		t.Fatal(err)
	}
	_, mac, _ := strings.Cut(out, "lladdr ")
	mac, _, _ = strings.Cut(mac, " ")
	return mac
}

// The baseline works: each tenant reaches its own far end, by its own VLAN through one
// tunnel without key.
func TestTenantsReachTheirOwn(t *testing.T) {
	r := newRig(t)
	capture, err := r.m.CaptureUnderlay(r.name, "host1")
	if err != nil {
		t.Fatal(err)
	}
	defer capture.Close()
	for _, tenant := range []struct {
		name string
		vlan uint16
	}{{"red", redVLAN}, {"blue", blueVLAN}} {
		if !r.ping(t, tenant.name+"-a") {
			t.Fatalf("%s-a does not reach %s", tenant.name, far)
		}
		want := guestMAC(tenant.name + "-b").String()
		if got := r.neighbour(t, tenant.name+"-a"); got != want {
			t.Errorf("%s-a found %s at %s, want its own tenant's %s", tenant.name, far, got, want)
		}
	}

	// By now four echo messages or more have crossed: wait until both tenants' were seen.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	seen := map[uint16]bool{}
	for !seen[redVLAN] || !seen[blueVLAN] {
		f, err := capture.Next(ctx)
		if err != nil {
			t.Fatalf("VLANs seen in the tunnel: %v: %v", seen, err)
		}
		if vlan, mac, ok := tunnelled(t, f.Packet()); ok {
			seen[vlan] = true
			// The sender's Ethernet address has the tenant's initial.
			if want := map[uint16]byte{redVLAN: 'r', blueVLAN: 'b'}[vlan]; mac[4] != want {
				t.Errorf("a frame from %s carries VLAN %d", mac, vlan)
			}
		}
	}
}

// tunnelled is the VLAN and the inner source address of an ICMP echo in GRE.
func tunnelled(t *testing.T, packet gopacket.Packet) (vlan uint16, src lab.MAC, ok bool) {
	t.Helper()
	var gre, icmp bool
	for _, l := range packet.Layers() {
		switch l := l.(type) {
		case *layers.GRE:
			gre = true
			if l.KeyPresent {
				t.Errorf("GRE with key %d: not the old design", l.Key)
			}
		case *layers.Ethernet:
			src = lab.MAC(l.SrcMAC)
		case *layers.Dot1Q:
			vlan = l.VLANIdentifier
		case *layers.ICMPv4:
			icmp = true
		}
	}
	return vlan, src, gre && icmp
}

// The complaint: a guest that is power-cycled has lost its network, until
// somebody types its tag again.
func TestPowerCycleLosesTheTag(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	if !r.ping(t, "red-a") {
		t.Fatal("red-a does not reach red-b to begin with")
	}
	port := r.b.Ports[0] // red-b
	if err := r.b.Unplug(ctx, port.Device); err != nil {
		t.Fatal(err)
	}
	if err := r.b.Plug(ctx, port.Device); err != nil {
		t.Fatal(err)
	}
	if tag, err := r.b.Run(ctx, "ovs-vsctl", "get", "port", port.Device, "tag"); err != nil || strings.TrimSpace(tag) != "[]" {
		t.Fatalf("tag after the power-cycle is %q, %v; want none", tag, err)
	}
	if r.ping(t, "red-a") {
		t.Error("red-a reaches red-b although its port has no tag")
	}
	if !r.ping(t, "blue-a") {
		t.Error("blue, which nobody touched, is cut off")
	}
	if err := r.b.Tag(ctx, port); err != nil {
		t.Fatal(err)
	}
	if !r.ping(t, "red-a") {
		t.Error("red-a does not reach red-b after the tag was typed again")
	}
}

func TestDownLeavesNothing(t *testing.T) {
	r := newRig(t)
	for range 2 { // the second time there is nothing to remove
		if err := Down(t.Context(), r.a, r.b); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range []Host{r.a, r.b} {
		bridges, err := h.Run(t.Context(), "ovs-vsctl", "list-br")
		if err != nil || strings.Contains(bridges, Bridge) {
			t.Errorf("bridges left: %q, %v", bridges, err)
		}
	}
	if r.ping(t, "red-a") {
		t.Error("red-a still reaches red-b")
	}
	if err := Up(t.Context(), r.a, r.b); err != nil {
		t.Fatal(err)
	}
	if !r.ping(t, "red-a") {
		t.Error("red-a does not reach red-b after Up again")
	}
}

func TestTagChecksItsRange(t *testing.T) {
	for _, vlan := range []uint16{0, 4095} {
		if err := (Host{}).Tag(t.Context(), Port{Device: "p", VLAN: vlan}); err == nil {
			t.Errorf("VLAN %d is accepted", vlan)
		}
	}
}
