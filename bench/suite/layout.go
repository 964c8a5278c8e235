package suite

import (
	"context"
	"fmt"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/bench/baseline"
	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/bench/peers/ovn"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// The designs, by the names that benchmarks give them.
const (
	peerGRE     = "GRE key"
	peerVXLAN   = "VXLAN VNI"
	peerGeneve  = "Geneve VNI"
	peerOneHost = "pipeline, one host"

	peerOVN        = "OVN"
	peerOVNOneHost = "OVN, one host"
	peerVLAN       = "VLAN trunk, NORMAL"
	peerNormal     = "NORMAL, one bridge"

	peerTunnel = "one flow, GRE tunnel"
	peerLimit  = "one flow, one bridge"
)

// ourDesigns are the names of the designs that are ours, and have guests on two hosts.
func ourDesigns() []string { return []string{peerGRE, peerVXLAN, peerGeneve} }

// layout is what sets a design apart from the others.
type layout struct {
	role  harness.Role
	encap string // of its tenant network; "" for a design without one
	far   string // the host of every second guest
	mtu   int    // of the guests, bytes: the most that an underlay of overlay.UnderlayMTU leaves
	// build moves the guests to the design's own bridges; nil where they stay on the
	// integration bridge.
	build func(*design, context.Context) error
}

// isOVN reports whether a design runs on the two hosts of OVN.
func isOVN(name string) bool { return name == peerOVN || name == peerOVNOneHost }

// layoutOf is the layout of a named design.
func layoutOf(name string) (layout, error) {
	gre, err := topo.MTU(overlay.UnderlayMTU, topo.GRE, false)
	if err != nil {
		return layout{}, err
	}
	// VXLAN and Geneve need the same.
	vni, err := topo.MTU(overlay.UnderlayMTU, topo.VXLAN, false)
	if err != nil {
		return layout{}, err
	}
	old := baseline.GuestMTU(overlay.UnderlayMTU)
	switch name {
	case peerGRE:
		return layout{harness.Ours, topo.GRE.String(), overlay.Host2, gre, nil}, nil
	case peerVXLAN:
		return layout{harness.Ours, topo.VXLAN.String(), overlay.Host2, vni, nil}, nil
	case peerGeneve:
		return layout{harness.Ours, topo.Geneve.String(), overlay.Host2, vni, nil}, nil
	case peerOneHost:
		return layout{harness.Ours, topo.GRE.String(), overlay.Host1, gre, nil}, nil
	case peerOVN:
		return layout{harness.Rival, topo.Geneve.String(), overlay.Host2, ovn.GuestMTU, nil}, nil
	case peerOVNOneHost:
		return layout{harness.Rival, topo.Geneve.String(), overlay.Host1, gre, nil}, nil
	case peerVLAN:
		return layout{harness.Rival, "", overlay.Host2, old, (*design).trunk}, nil
	case peerNormal:
		return layout{harness.Rival, "", overlay.Host1, gre, (*design).learn}, nil
	case peerTunnel:
		return layout{harness.Limit, "", overlay.Host2, gre, (*design).tunnel}, nil
	case peerLimit:
		return layout{harness.Limit, "", overlay.Host1, gre, (*design).wire}, nil
	}
	return layout{}, fmt.Errorf("no design is called %q", name)
}

const (
	oldVLAN = 100 // the tag of the guests on the VLAN trunk
	// The bridges of the designs that have their own, and the tunnel port of one.
	limitName      = "br-limit"
	normalName     = "br-normal"
	tunnelName     = "br-tunnel"
	tunnelPort     = "tunnel-limit"
	tunnelKey      = 77
	openFlow13     = "OpenFlow13"
	failStandalone = "standalone"
	failSecure     = "secure"
)

// trunk moves the guests to the design that ofctl-lab replaces.
func (d *design) trunk(ctx context.Context) error {
	ends := map[string]*baseline.Host{}
	for _, host := range []string{overlay.Host1, overlay.Host2} {
		datapath, err := d.datapath(ctx, host)
		if err != nil {
			return err
		}
		ends[host] = &baseline.Host{
			Run: func(ctx context.Context, argv ...string) (string, error) { return d.lab.Run(ctx, host, argv...) },
			TEP: overlay.TEP(host), Datapath: datapath,
		}
	}
	for _, p := range d.ports {
		end := ends[p.Host]
		end.Ports = append(end.Ports, baseline.Port{Device: p.Guest(0).Device(), VLAN: oldVLAN})
	}
	return baseline.Up(ctx, *ends[overlay.Host1], *ends[overlay.Host2])
}

// learn moves the guests to a bridge that does what a bridge does without flows of anybody's.
func (d *design) learn(ctx context.Context) error {
	return d.bridge(ctx, overlay.Host1, normalName, failStandalone, d.devices(overlay.Host1)...)
}

// wire moves the first two guests to a bridge that has a flow each way and nothing else.
func (d *design) wire(ctx context.Context) error {
	ends := d.devices(overlay.Host1)[:2]
	if err := d.bridge(ctx, overlay.Host1, limitName, failSecure, ends...); err != nil {
		return err
	}
	return d.join(ctx, overlay.Host1, limitName, [2]string(ends))
}

// tunnel moves the first guest of each host to a bridge with a GRE tunnel to the other one, and
// a flow each way: what an overlay on these hosts costs at least.
func (d *design) tunnel(ctx context.Context) error {
	for host, other := range map[string]string{overlay.Host1: overlay.Host2, overlay.Host2: overlay.Host1} {
		device := d.devices(host)[0]
		if err := d.bridge(ctx, host, tunnelName, failSecure, device); err != nil {
			return err
		}
		_, err := d.lab.Run(ctx, host, "ovs-vsctl", "--timeout=10", "add-port", tunnelName, tunnelPort,
			"--", "set", "interface", tunnelPort, "type=gre", "options:remote_ip="+overlay.TEP(other).String(), fmt.Sprintf("options:key=%d", tunnelKey))
		if err == nil {
			err = d.join(ctx, host, tunnelName, [2]string{device, tunnelPort})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// devices are the switch's ends of the guests on a host.
func (d *design) devices(host string) []string {
	var out []string
	for _, p := range d.ports {
		if p.Host == host {
			out = append(out, p.Guest(0).Device())
		}
	}
	return out
}

// bridge creates a bridge on a host and moves devices to it.
func (d *design) bridge(ctx context.Context, host, name, failMode string, devices ...string) error {
	datapath, err := d.datapath(ctx, host)
	if err != nil {
		return err
	}
	argv := []string{"ovs-vsctl", "--timeout=10",
		"add-br", name, "--", "set", "bridge", name, "datapath_type=" + datapath, "fail_mode=" + failMode, "protocols=" + openFlow13}
	for _, device := range devices {
		argv = append(argv, "--", "del-port", device, "--", "add-port", name, device)
	}
	_, err = d.lab.Run(ctx, host, argv...)
	return err
}

// join adds a flow each way between two ports of a bridge.
func (d *design) join(ctx context.Context, host, bridge string, ports [2]string) error {
	for i := range ports {
		_, err := d.lab.Run(ctx, host, "ovs-ofctl", "-O", openFlow13, "add-flow", bridge,
			"in_port="+ports[i]+",actions=output:"+ports[1-i])
		if err != nil {
			return err
		}
	}
	return nil
}

// datapath is the datapath type of a host's bridges.
func (d *design) datapath(ctx context.Context, host string) (string, error) {
	out, err := d.lab.Run(ctx, host, "ovs-vsctl", "--bare", "--columns=datapath_type", "list", "bridge")
	// All of a host's bridges are of one type; an empty one is Open vSwitch's default.
	if kinds := strings.Fields(out); len(kinds) > 0 {
		return kinds[0], err
	}
	return "system", err
}
