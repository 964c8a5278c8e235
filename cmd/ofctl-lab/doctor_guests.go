package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// checkOffloads looks at the guests' ends of the veth pairs that are plugged into
// the bridge. Behind the userspace datapath a guest that leaves checksums or
// segmentation to its device sends frames that nobody completes: ping works, TCP
// and UDP do not.
func (c *checkup) checkOffloads(ctx context.Context) {
	const check = "offloads"
	if !c.userland {
		c.ok(check, "the kernel's datapath completes checksums itself")
		return
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
	looked, bad := 0, 0
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
			continue
		}
		bad++
		c.fail(check, fmt.Sprintf("%s in namespace %s, behind port %s, has %s on: ping will work, TCP and UDP will not", peer, namespace, dev, strings.Join(on, ", ")),
			fmt.Sprintf("ip netns exec %s ethtool -K %s tx off tso off gso off gro off", namespace, peer))
	}
	if bad == 0 {
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
