package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
)

// checkUnderlay looks at whether the tunnel endpoint's interface suits the datapath of the
// integration bridge. The userspace datapath sends and receives tunnels through a bridge
// of its own type alone; the kernel's uses the kernel's routes and neighbours, which
// on the local port of a bridge depend on ovs-vswitchd.
func (c *checkup) checkUnderlay(ctx context.Context) {
	const check = "underlay"
	if c.tepLink.Name == "" {
		return // checkTEP has said why
	}
	dev := c.tepLink.Name
	at, err := c.placeOf(ctx, dev)
	if err != nil {
		c.fail(check, err.Error(), "is ovsdb-server running?")
		return
	}
	switch {
	case at.bridge != "" && !at.local:
		c.fail(check, fmt.Sprintf("%s has the tunnel endpoint and is a port of bridge %s, which takes all frames that it receives", dev, at.bridge), c.moveTEP(dev, at))
	case c.userland && (at.bridge == "" || at.datapath != "netdev"):
		c.fail(check, fmt.Sprintf("the tunnel endpoint is on %s, and the datapath of %s is the userspace one: it carries tunnels only through a bridge of its own type, so that every packet between hosts is lost", dev, c.bridge),
			c.moveTEP(dev, at))
	case !c.userland && at.bridge != "":
		c.warn(check, fmt.Sprintf("the tunnel endpoint is on %s, a port of Open vSwitch: when ovs-vswitchd is down, nobody answers ARP for it, and tunnels stop within a minute although the kernel could go on", dev),
			c.moveTEP(dev, at))
	case c.userland:
		c.ok(check, "%s is the local port of a userspace bridge, as the userspace datapath needs it", dev)
	default:
		c.ok(check, "%s is no port of Open vSwitch, so that tunnels survive ovs-vswitchd", dev)
	}
}

// bridgePlace is where an interface is in Open vSwitch.
type bridgePlace struct {
	bridge   string // empty: in none
	local    bool   // Open vSwitch has made it: a bridge's local port, or an internal one
	datapath string // of the bridge
	uplinks  []string
}

func (c *checkup) placeOf(ctx context.Context, dev string) (bridgePlace, error) {
	found, err := c.ovs.vsctl(ctx, "--bare", "--columns=name", "find", "Interface", `name="`+dev+`"`)
	if err != nil || found == "" {
		return bridgePlace{}, err
	}
	bridge, err := c.ovs.vsctl(ctx, "iface-to-br", dev)
	if err != nil {
		// The local port is in no bridge's list of ports.
		if _, berr := c.ovs.vsctl(ctx, "br-exists", dev); berr != nil {
			return bridgePlace{}, err
		}
		bridge = dev
	}
	p := bridgePlace{bridge: bridge}
	if p.datapath, err = c.ovs.vsctl(ctx, "get", "Bridge", bridge, "datapath_type"); err != nil {
		return bridgePlace{}, err
	}
	kind, err := c.ovs.vsctl(ctx, "get", "Interface", dev, "type")
	if err != nil {
		return bridgePlace{}, err
	}
	p.local = kind == "internal"
	ports, err := c.ovs.vsctl(ctx, "list-ifaces", bridge)
	if err != nil {
		return bridgePlace{}, err
	}
	for port := range strings.FieldsSeq(ports) {
		kind, err := c.ovs.vsctl(ctx, "get", "Interface", port, "type")
		if err == nil && (kind == "" || kind == "system") {
			p.uplinks = append(p.uplinks, port)
		}
	}
	return p, nil
}

// moveTEP are the commands that put the tunnel endpoint where it belongs.
func (c *checkup) moveTEP(dev string, at bridgePlace) string {
	addr := fmt.Sprintf("%s/%d", c.tep, c.tepBits)
	lines := []string{
		fmt.Sprintf("ip route show dev %s   (note the routes: they go with the address, and belong where it goes)", dev),
	}
	if c.userland {
		uplink := dev
		if at.bridge != "" {
			uplink = onlyOr(at.uplinks, "UPLINK")
		}
		lines = append(lines,
			fmt.Sprintf("ip address del %s dev %s", addr, dev),
			fmt.Sprintf(`ovs-vsctl --may-exist add-br br-phy -- set bridge br-phy datapath_type=netdev fail_mode=standalone other_config:disable-in-band=true 'other_config:hwaddr="%s"' -- --may-exist add-port br-phy %s`,
				otherMAC(c.tepLink.HardwareAddr), uplink),
			fmt.Sprintf("ip link set %s arp off up", uplink),
			fmt.Sprintf("ip link set br-phy mtu %d up", c.tepLink.MTU),
			fmt.Sprintf("ip address add %s dev br-phy", addr))
	} else {
		uplink := onlyOr(at.uplinks, "UPLINK")
		lines = append(lines,
			fmt.Sprintf("ip address del %s dev %s", addr, dev),
			fmt.Sprintf("ovs-vsctl del-port %s %s", at.bridge, uplink),
			fmt.Sprintf("ip link set %s arp on up", uplink),
			fmt.Sprintf("ip address add %s dev %s", addr, uplink))
	}
	return strings.Join(append(lines, "All in one go, from a console or another interface; docs/how-to/underlay.md makes it permanent"), "\n")
}

func onlyOr(l []string, other string) string {
	if len(l) == 1 {
		return l[0]
	}
	return other
}

// otherMAC is an address for br-phy that is not the uplink's: with the same one the
// kernel would take the frames too that Open vSwitch reads from the uplink, and answer
// those in tunnels with an error.
func otherMAC(mac net.HardwareAddr) net.HardwareAddr {
	other := slices.Clone(mac)
	if len(other) != 6 {
		return net.HardwareAddr{2, 0, 0, 0, 0, 1}
	}
	other[0] = other[0]&^1 | 2 // unicast, locally administered
	if bytes.Equal(other, mac) {
		other[5] ^= 1
	}
	return other
}
