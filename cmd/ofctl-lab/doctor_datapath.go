package main

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsdb"
)

// checkManager looks whether ovs-vswitchd takes the connection to the controller for one
// that may pass through a bridge.
func (c *checkup) checkManager(ctx context.Context, target string) {
	const check = "in-band"
	mode, err := c.ovs.vsctl(ctx, "get", "Manager", target, "connection_mode")
	switch {
	case err != nil:
		c.fail(check, err.Error(), "run the output of ofctl-lab host join-command again")
	case mode != "out-of-band":
		c.warn(check, "the manager "+target+" is not out-of-band: Open vSwitch puts hidden flows on every bridge without other_config:disable-in-band=true, and its datapath caches each flow more narrowly",
			"ovs-vsctl set Manager '"+target+"' connection_mode=out-of-band")
	default:
		c.ok(check, "the manager is out-of-band")
	}
}

// checkDatapathType reports whether the bridge runs, and looks whether it does on the datapath
// that was intended. ovs-vswitchd is asked: the database keeps the datapath id of a bridge that
// could not be opened again.
func (c *checkup) checkDatapathType(ctx context.Context) (runs bool) {
	const check = "datapath type"
	text, err := c.ovs.output(ctx, "ovs-vsctl", "get", "Bridge", c.bridge, "datapath_type", "external_ids")
	columns := strings.Split(text, "\n")
	if err == nil && len(columns) != 2 {
		err = fmt.Errorf("ovs-vsctl printed %q for two columns", text)
	}
	running := ""
	if err == nil {
		running, err = c.ovs.output(ctx, "ovs-appctl", "ofproto/list")
	}
	if err != nil {
		c.fail(check, err.Error(), "is ovs-vswitchd running?")
		return false
	}
	runs = slices.Contains(strings.Fields(running), c.bridge)
	ids := parseMap(columns[1])
	c.judgeDatapath(datapathState{
		runs: runs, inUse: strings.Trim(columns[0], `"`),
		intended: ids[ovsdb.ExternalIDDatapath], fallback: ids[ovsdb.ExternalIDFallback],
		kernel: kernelModule() && strings.Contains(c.types, "system"),
	})
	return runs
}

// datapathState is what a host says of the datapath of its bridge.
type datapathState struct {
	runs                      bool
	inUse, intended, fallback string
	kernel                    bool // has the datapath, and Open vSwitch can use it
}

func (c *checkup) judgeDatapath(s datapathState) {
	const check = "datapath type"
	toSystem := "ovs-vsctl set bridge " + c.bridge + " datapath_type=system   (traffic stops for a moment)"
	keep := "\nor, if netdev is meant: ovs-vsctl br-set-external-id " + c.bridge + " " + ovsdb.ExternalIDDatapath + " netdev"
	switch {
	case !s.runs && s.inUse != "netdev":
		c.fail(check, c.bridge+" does not run: ovs-vswitchd cannot open the system datapath", "modprobe openvswitch\nor, where there is no such module: ovs-vsctl set bridge "+c.bridge+" datapath_type=netdev")
	case !s.runs:
		c.fail(check, c.bridge+" does not run: ovs-vswitchd cannot open it", "its log says why: /var/log/openvswitch/ovs-vswitchd.log")
	case s.inUse != "netdev":
		c.ok(check, "%s runs on the kernel's datapath", c.bridge)
	case s.fallback != "" && s.kernel:
		c.warn(check, c.bridge+" is on the userspace datapath, a fall-back: "+s.fallback+"; the kernel has it now", toSystem)
	case s.fallback != "":
		c.warn(check, c.bridge+" is on the userspace datapath, a fall-back: "+s.fallback, "modprobe openvswitch\n"+toSystem)
	case s.intended == "system":
		c.fail(check, c.bridge+" is on the userspace datapath and was made for the kernel's", toSystem+keep)
	case s.intended == "" && s.kernel:
		c.warn(check, c.bridge+" is on the userspace datapath although the kernel has one, and does not say that this is meant: older versions of ofctl-lab changed it when ovsdb-server was restarted", toSystem+keep)
	default:
		c.ok(check, "%s runs on the userspace datapath, as intended", c.bridge)
	}
}

// tunnelDestination is the address to which a flow or a group sends through a tunnel.
var tunnelDestination = regexp.MustCompile(`set_field:([0-9a-fA-F.:]+)->tun_(?:ipv6_)?dst`)

// peers are the tunnel endpoints of other hosts in what ovs-ofctl printed, in order.
func peers(text string) []netip.Addr {
	var out []netip.Addr
	for _, m := range tunnelDestination.FindAllStringSubmatch(text, -1) {
		if a, err := netip.ParseAddr(m[1]); err == nil && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// checkPeers looks how this host would reach the tunnel endpoints to which its bridge
// sends: by the kernel's routes and neighbours, or on the userspace datapath by those that
// ovs-vswitchd keeps.
func (c *checkup) checkPeers(ctx context.Context) {
	const check = "peers"
	var text string
	for _, dump := range []string{"dump-flows", "dump-groups"} {
		out, err := c.ovs.output(ctx, "ovs-ofctl", "-O", "OpenFlow13", dump, c.bridge)
		if err != nil {
			c.fail(check, err.Error(), "is ovs-vswitchd running?")
			return
		}
		text += out + "\n"
	}
	all := peers(text)
	if len(all) == 0 {
		c.ok(check, "no network here reaches another host yet")
		return
	}
	look := c.kernelPath
	if c.userland {
		look = c.userlandPath
	}
	resolved, bad := 0, 0
	for _, peer := range all {
		known, wrong, fix := look(ctx, peer)
		switch {
		case wrong != "":
			bad++
			c.fail(check, wrong, fix)
		case known:
			resolved++
		}
	}
	if bad == 0 {
		c.ok(check, "a route to all %d tunnel endpoints, the neighbours of %d known so far", len(all), resolved)
	}
}

// kernelPath reports whether the MAC on the way to peer is known, and what stands in the way.
func (c *checkup) kernelPath(_ context.Context, peer netip.Addr) (known bool, wrong, fix string) {
	here, err := netdev.CurrentNamespace()
	if err != nil {
		return false, err.Error(), "run doctor as root"
	}
	defer here.Close()
	p, err := here.Path(peer)
	switch {
	case err != nil:
		return false, fmt.Sprintf("no way to tunnel endpoint %s: %v", peer, err), "ip route get " + peer.String()
	case !p.Carrier:
		return false, fmt.Sprintf("the way to tunnel endpoint %s is %s, which is down or has no link", peer, p.Device), "ip link set " + p.Device + " up"
	case p.Neighbour == netdev.NeighbourFailed:
		return false, fmt.Sprintf("nobody answers for %s on %s, the way to tunnel endpoint %s", p.NextHop, p.Device, peer),
			fmt.Sprintf("ping -c 1 %s\nIs that host up, and in the same layer 2 network as %s?", p.NextHop, p.Device)
	}
	return p.Neighbour == netdev.NeighbourResolved, "", ""
}

// userlandPath is kernelPath for the userspace datapath.
func (c *checkup) userlandPath(ctx context.Context, peer netip.Addr) (known bool, wrong, fix string) {
	route, err := c.ovs.output(ctx, "ovs-appctl", "ovs/route/lookup", peer.String())
	if err != nil {
		return false, fmt.Sprintf("ovs-vswitchd has no route to tunnel endpoint %s: %v", peer, err), "ovs-appctl ovs/route/show\nThe tunnel endpoint of this host has to be on a bridge of Open vSwitch: ip address add TEP/PREFIX dev BRIDGE"
	}
	hop := nextHop(route, peer)
	neighbours, err := c.ovs.output(ctx, "ovs-appctl", "tnl/neigh/show")
	if err != nil {
		return false, err.Error(), "is ovs-vswitchd running?"
	}
	for line := range strings.Lines(neighbours) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		if a, err := netip.ParseAddr(fields[0]); err == nil && a == hop {
			return true, "", ""
		}
	}
	return false, "", ""
}

// nextHop is the gateway in what ovs/route/lookup printed, the peer itself if there is none.
func nextHop(route string, peer netip.Addr) netip.Addr {
	words := strings.Fields(route)
	for i, w := range words {
		if w != "gateway" || i+1 == len(words) {
			continue
		}
		if a, err := netip.ParseAddr(words[i+1]); err == nil && !a.IsUnspecified() {
			return a.Unmap()
		}
	}
	return peer
}
