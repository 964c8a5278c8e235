package overlay

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

// The hosts, with the underlay between them. Every overlay has the first two.
const (
	Host1 = "host1"
	Host2 = "host2"
	// Host3 is in an overlay that has a guest on it: for ports that are to cost the
	// switches of the other two nothing.
	Host3 = "host3"
	// UnderlayMTU is that of Ethernet, in bytes.
	UnderlayMTU = 1500
)

var (
	underlay = netip.MustParsePrefix("192.168.220.0/24")
	hosts    = []lab.Host{
		{Name: Host1, TEP: netip.MustParseAddr("192.168.220.1")},
		{Name: Host2, TEP: netip.MustParseAddr("192.168.220.2")},
		{Name: Host3, TEP: netip.MustParseAddr("192.168.220.3")},
	}
)

// hostsFor are the hosts of an overlay with these guests.
func hostsFor(guests []lab.Attachment) []lab.Host {
	if slices.ContainsFunc(guests, func(g lab.Attachment) bool { return g.Host == Host3 }) {
		return hosts
	}
	return hosts[:2]
}

// TEP is the tunnel endpoint address of a host.
func TEP(host string) netip.Addr {
	i := slices.IndexFunc(hosts, func(h lab.Host) bool { return h.Name == host })
	return hosts[i].TEP
}

// Network is a tenant network. All have the same subnet.
type Network struct {
	Name  string
	Encap string // gre, vxlan or geneve
	Key   uint32
}

var subnet = netip.MustParsePrefix("10.0.0.0/16")

// Port is port number ID, 1 … MaxPort, of the network and on the host. Its name,
// Ethernet address and IPv4 address derive from the number.
type Port struct {
	ID      int
	Network string
	Host    string
}

// MaxPort is the highest Port.ID.
const MaxPort = 65_000

// Name is the port's name, which is its iface-id, and that of its interface.
func (p Port) Name() string { return fmt.Sprintf("p%d", p.ID) }

// MAC is the Ethernet address.
func (p Port) MAC() net.HardwareAddr {
	return net.HardwareAddr{0x02, 0xbe, 0, 0, byte(p.ID >> 8), byte(p.ID)}
}

// Addr is the IPv4 address.
func (p Port) Addr() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(p.ID >> 8), byte(p.ID)}) }

// Guest is how a lab attaches a namespace as the port, with this MTU in bytes.
func (p Port) Guest(mtu int) lab.Attachment {
	return lab.Attachment{
		Port: p.Name(), Host: p.Host, MAC: lab.MAC(p.MAC()), MTU: mtu,
		Addresses: []netip.Prefix{netip.PrefixFrom(p.Addr(), subnet.Bits())},
	}
}

// Topology is an overlay on the hosts, of one tenant.
type Topology struct {
	Networks []Network
	Ports    []Port
}

// text is the topology file for these hosts.
func (t Topology) text(hosts []lab.Host) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: bench\nunderlay: {subnet: %s, mtu: %d}\nhosts:\n", underlay, UnderlayMTU)
	for _, h := range hosts {
		fmt.Fprintf(&b, "  - {name: %s, tep: %s}\n", h.Name, h.TEP)
	}
	if len(t.Networks) > 0 {
		b.WriteString("tenants:\n  - name: bench\n    networks:\n")
	}
	for _, n := range t.Networks {
		fmt.Fprintf(&b, "      - {name: %s, encap: %s, key: %d, subnets: [%s]}\n", n.Name, n.Encap, n.Key, subnet)
	}
	if len(t.Ports) > 0 {
		b.WriteString("ports:\n")
	}
	for _, p := range t.Ports {
		fmt.Fprintf(&b, "  - {name: %s, network: bench/%s, mac: %q, addresses: [%s]}\n", p.Name(), p.Network, p.MAC(), p.Addr())
	}
	return b.String()
}
