package topo

import (
	"fmt"
	"strings"
)

// What goes round an inner Ethernet frame, in bytes.
const (
	ethernetHeader = 14 // of the inner frame; its checksum is not carried
	ipv4Header     = 20
	ipv6Header     = 40
	greHeader      = 4 + 4 // with key, RFC 2890
	udpHeader      = 8
	vniHeader      = 8 // VXLAN, and Geneve without options
	vlanTag        = 4

	minIPv4MTU = 576  // RFC 791 section 3.1: what every host must be able to receive
	minIPv6MTU = 1280 // RFC 8200 section 5
	maxMTU     = 65535
)

// MTU is the largest IP packet, in bytes, that a guest's interface may send so that
// it fits through a tunnel over links of underlayMTU bytes; ipv6 says that the
// tunnel endpoints are IPv6 addresses. 1500 gives 1458 for GRE with a key and
// 1450 for VXLAN and Geneve, 20 less over IPv6. It is an error if less than 576
// bytes are left, or underlayMTU is above 65,535. On a trunk take TrunkOverhead
// off, on a wire WireOverhead; Snapshot.PortMTU does all this for a port.
func MTU(underlayMTU int, encap Encap, ipv6 bool) (int, error) {
	overhead := ethernetHeader + ipv4Header
	if ipv6 {
		overhead = ethernetHeader + ipv6Header
	}
	switch encap {
	case GRE:
		overhead += greHeader
	case VXLAN, Geneve:
		overhead += udpHeader + vniHeader
	default:
		return 0, fmt.Errorf("no MTU for %s: use gre, vxlan or geneve", encap)
	}
	if underlayMTU > maxMTU {
		return 0, fmt.Errorf("underlay MTU %d is above %d; set it to what the links between the hosts carry", underlayMTU, maxMTU)
	}
	if mtu := underlayMTU - overhead; mtu >= minIPv4MTU {
		return mtu, nil
	}
	return 0, fmt.Errorf("underlay MTU %d leaves guests less than %d bytes through %s (overhead %d); raise it to %d or more",
		underlayMTU, minIPv4MTU, encap, overhead, minIPv4MTU+overhead)
}

// TrunkOverhead is how many bytes less an interface on a trunk has: a tag that
// carries priority bits may travel inside the tunnel (IEEE 802.1Q section 9.6).
const TrunkOverhead = vlanTag

// WireOverhead is how many bytes less an interface on a wire has: room for two tags
// of the guests' own (IEEE 802.1Q section 9.5: a customer's under a provider's), so
// that a guest's VLANs have the MTU of its interface.
const WireOverhead = 2 * vlanTag

// overhead is how many bytes less than its network's MTU the attachment's interface has.
func (a attachment) overhead(n *Network) int {
	switch {
	case n.IsWire():
		return WireOverhead
	case a.sub != nil:
		return TrunkOverhead
	}
	return 0
}

// PortMTU is the MTU in bytes for a port's interface: the least of its networks'
// MTUs, less TrunkOverhead on a trunk and WireOverhead on a wire. It takes the tunnels to run over IPv6 if
// any host's endpoint does. It is an error if there is no such port, or if less
// is left than a network needs: 1280 with an IPv6 subnet, 576 otherwise.
func (s *Snapshot) PortMTU(port string, underlayMTU int) (int, error) {
	p := s.Port(port)
	if p == nil {
		return 0, notFound(KindPort, port, "declare it first")
	}
	overIPv6, least := s.OverIPv6(), maxMTU
	for _, a := range p.attachments() {
		n := s.Network(a.network)
		mtu, err := MTU(underlayMTU, n.Encap, overIPv6)
		if err != nil {
			return 0, fmt.Errorf("port %s: network %s: %w", port, a.network, err)
		}
		mtu -= a.overhead(n)
		if needs := n.minMTU(); mtu < needs {
			return 0, fmt.Errorf("port %s: network %s: underlay MTU %d leaves %d bytes, and the network needs %d; raise it to %d or more",
				port, a.network, underlayMTU, mtu, needs, underlayMTU+needs-mtu)
		}
		least = min(least, mtu)
	}
	return least, nil
}

// minMTU is the least MTU with which guests of the network can work.
func (n *Network) minMTU() int {
	for _, p := range n.Subnets {
		if p.Addr().Is6() {
			return minIPv6MTU
		}
	}
	return minIPv4MTU
}

// CheckMTU finds the networks that do not work over links of underlayMTU bytes:
// all Problems, joined, nil if there are none. Every declared port counts, and
// a network without ports is taken to have an access port.
func (s *Snapshot) CheckMTU(underlayMTU int) error {
	var ps problems
	overIPv6 := s.OverIPv6()
	for _, n := range s.networks {
		object := KindNetwork + " " + n.FullName()
		mtu, err := MTU(underlayMTU, n.Encap, overIPv6)
		if err != nil {
			what, hint, _ := strings.Cut(err.Error(), "; ")
			ps.add(&Problem{Object: object, What: what, Hint: hint})
			continue
		}
		most := 0
		for _, p := range s.PortsIn(n.FullName()) {
			for _, a := range p.attachments() {
				if a.network == n.FullName() {
					most = max(most, a.overhead(n))
				}
			}
		}
		mtu -= most
		if needs := n.minMTU(); mtu < needs {
			ps.add(&Problem{Object: object,
				What: fmt.Sprintf("underlay MTU %d leaves guests %d bytes, and the network needs %d", underlayMTU, mtu, needs),
				Hint: fmt.Sprintf("raise the underlay MTU to %d or more", underlayMTU+needs-mtu)})
		}
	}
	return ps.err()
}
