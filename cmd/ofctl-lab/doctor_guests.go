package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/offload"
)

// trialTimeout leaves the other checks some of doctorTimeout.
const trialTimeout = 40 * time.Second

// checkOffloads tries what the bridge's datapath does with frames whose checksum is left
// to the device, and looks at the guests' ends of the veth pairs that are plugged into
// the bridge. Where the datapath does not finish them, nobody does: ping works, TCP
// and UDP do not.
func (c *checkup) checkOffloads(ctx context.Context) {
	const check = "offloads"
	kind := "system"
	if c.userland {
		kind = "netdev"
	}
	tctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	v := offload.Try(tctx, kind)
	switch {
	case !v.Tried:
		c.warn("offload trial", v.Finding, "until that is known, offloads have to be off on both ends of every guest's veth pair")
	case v.Passes:
		c.ok("offload trial", "%s: they may stay on", v.Finding)
	default:
		c.ok("offload trial", "%s: they have to be off", v.Finding)
	}
	names, err := c.ovs.vsctl(ctx, "list-ports", c.bridge)
	if err != nil {
		c.fail(check, err.Error(), "is ovs-vswitchd running?")
		return
	}
	here, err := netdev.CurrentNamespace()
	if err != nil {
		c.fail(check, err.Error(), "run doctor as root")
		return
	}
	defer here.Close()
	looked, bad, off := 0, 0, 0
	for dev := range strings.FieldsSeq(names) {
		namespace, peer, err := here.VethPeer(dev)
		if err != nil || namespace == "" {
			continue // a tunnel, a tap, or a veth whose other end is out of sight
		}
		on, err := offloadsIn(namespace, peer)
		if err != nil {
			c.warn(check, err.Error(), "run doctor as root")
			continue
		}
		looked++
		if len(on) == 0 {
			off++
		}
		if len(on) == 0 || v.Passes {
			continue
		}
		bad++
		c.fail(check, fmt.Sprintf("%s in namespace %s, behind port %s, has %s on: ping will work, TCP and UDP will not", peer, namespace, dev, strings.Join(on, ", ")),
			fmt.Sprintf("ip netns exec %s ethtool -K %s tx off tso off gso off gro off", namespace, peer))
	}
	switch {
	case bad > 0:
	case v.Passes && off > 0:
		c.ok(check, "off on %d of %d guest interfaces in sight, which costs throughput: ethtool -K DEVICE tx on tso on gso on", off, looked)
	case v.Passes:
		c.ok(check, "on on all %d guest interfaces in sight", looked)
	default:
		c.ok(check, "off on all %d guest interfaces in sight", looked)
	}
}

func offloadsIn(namespace, dev string) ([]string, error) {
	ns, err := netdev.OpenNamespace(namespace)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	return ns.Offloads(dev)
}
