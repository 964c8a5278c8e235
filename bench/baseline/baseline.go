// Package baseline builds the design that ofctl-lab replaces, for benchmarks and tests to
// compare with: on each of two hosts a bridge with a learning switch's NORMAL flow, an
// access port with a VLAN tag per guest, and one GRE tunnel that trunks all VLANs to
// a fixed address. It is what one types by hand, step by step, and it has the
// faults of that: a port that goes and comes again has lost its tag.
package baseline

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
)

const (
	// Bridge is the bridge of the old design, beside the host's integration bridge.
	Bridge = "br-vlan"
	// Trunk is the tunnel port on it.
	Trunk = "vlan-trunk"
	// overhead is what is put before a guest's packet: outer IPv4, GRE without key,
	// inner Ethernet with an 802.1Q tag.
	overhead = 20 + 4 + 14 + 4
)

// GuestMTU is the largest MTU of a guest that passes an underlay of the given MTU, in bytes.
func GuestMTU(underlay int) int { return underlay - overhead }

// Host is one of the two hosts.
type Host struct {
	// Run runs a command on the host, where Open vSwitch's programs work on the host's
	// switch, and returns its standard output.
	Run func(ctx context.Context, argv ...string) (string, error)
	TEP netip.Addr // the host's tunnel endpoint
	// Datapath is the datapath type of the host's bridges: system or netdev.
	Datapath string
	// Ports are the guests' interfaces.
	Ports []Port
}

// Port is a guest's interface on its host and the VLAN it is put in.
type Port struct {
	Device string
	VLAN   uint16 // 1 … 4094
}

// Up builds the design between two hosts. A device that is on another bridge of its
// host is moved. Run again it repairs what differs.
func Up(ctx context.Context, a, b Host) error {
	for _, end := range []struct{ near, far Host }{{a, b}, {b, a}} {
		if err := end.near.up(ctx, end.far.TEP); err != nil {
			return fmt.Errorf("VLAN baseline on the host with TEP %s: %w", end.near.TEP, err)
		}
	}
	return nil
}

func (h Host) up(ctx context.Context, remote netip.Addr) error {
	err := h.vsctl(ctx,
		"--may-exist", "add-br", Bridge, "--",
		"set", "bridge", Bridge, "datapath_type="+h.Datapath, "fail_mode=standalone", "--",
		"--may-exist", "add-port", Bridge, Trunk, "--",
		"set", "interface", Trunk, "type=gre", "options:remote_ip="+remote.String())
	if err != nil {
		return err
	}
	// The flow that a bridge in standalone mode has anyway, said in so many words.
	if _, err := h.Run(ctx, "ovs-ofctl", "add-flow", Bridge, "priority=0,actions=NORMAL"); err != nil {
		return err
	}
	for _, p := range h.Ports {
		if err := h.Plug(ctx, p.Device); err != nil {
			return err
		}
		if err := h.Tag(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// Plug connects a device, as the start of its guest does: what the switch knew
// about a port of that name before, its VLAN tag included, is gone.
func (h Host) Plug(ctx context.Context, device string) error {
	return h.vsctl(ctx, "--if-exists", "del-port", device, "--", "add-port", Bridge, device)
}

// Unplug disconnects a device, as the end of its guest does.
func (h Host) Unplug(ctx context.Context, device string) error {
	return h.vsctl(ctx, "--if-exists", "del-port", Bridge, device)
}

// Tag puts a connected port into its VLAN: the step that somebody has to take after
// every Plug.
func (h Host) Tag(ctx context.Context, p Port) error {
	if p.VLAN < 1 || p.VLAN > 4094 {
		return fmt.Errorf("port %s: VLAN %d is not in 1 … 4094", p.Device, p.VLAN)
	}
	return h.vsctl(ctx, "set", "port", p.Device, "tag="+strconv.Itoa(int(p.VLAN)))
}

// Down removes the bridge from both hosts. The guests' devices stay, connected to nothing.
func Down(ctx context.Context, a, b Host) error {
	return errors.Join(
		a.vsctl(ctx, "--if-exists", "del-br", Bridge),
		b.vsctl(ctx, "--if-exists", "del-br", Bridge))
}

func (h Host) vsctl(ctx context.Context, args ...string) error {
	_, err := h.Run(ctx, append([]string{"ovs-vsctl", "--timeout=10"}, args...)...)
	return err
}
