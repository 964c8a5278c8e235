package suite

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
	"github.com/ofctl-lab/ofctl-lab/flows/verify"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// extent is how large an overlay is.
type extent struct{ hosts, networks, ports int }

// compiled is an overlay that is in memory only: what is declared, and what each host's switch
// would hold.
type compiled struct {
	extent
	encaps []topo.Encap
	hosts  []*compiledHost
	guests []*guest
	flows  int
}

// compiledHost is one of its hosts.
type compiledHost struct {
	name    string
	tep     netip.Addr
	tunnels [4]uint32 // port numbers, by topo.Encap
	state   *flows.State
	ports   []verify.Port
}

// guest is what is behind a port, or behind one VLAN of a trunk.
type guest struct {
	host    *compiledHost
	port    uint32
	vlan    uint16 // 0 for frames without a tag
	mac     topo.MAC
	addr    netip.Addr
	network int
	// carries are the networks of its port, all with the same MAC.
	carries *[]int
}

// trunkVLANs are the VLANs of a trunk.
var trunkVLANs = [...]uint16{10, 20}

// compileOverlay makes an overlay whose ports are spread over hosts and networks at random, the same
// each time. Each port has a MAC and an IPv4 address; of six ports one has an IPv6 address too, and
// of eight one is a trunk with a VLAN in each of two networks.
func compileOverlay(size extent) (*compiled, error) {
	c := &compiled{extent: size}
	tx := topo.Empty().Begin()
	for i := range size.hosts {
		h := &compiledHost{name: fmt.Sprintf("host%d", i+1), tep: netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)}).Next(),
			tunnels: [4]uint32{topo.GRE: 10001, topo.VXLAN: 10002, topo.Geneve: 10003}}
		tx.PutHost(topo.Host{Name: h.name, TEP: h.tep, Declared: true})
		tx.ObserveHost(h.name, h.tep, h.tunnels)
		c.hosts = append(c.hosts, h)
	}
	subnets := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/64")}
	for n := range size.networks {
		tx.PutTenant(topo.Tenant{Name: tenantOf(n)})
		c.encaps = append(c.encaps, topo.GRE+topo.Encap(n%3))
		tx.PutNetwork(topo.Network{Tenant: tenantOf(n), Name: "net", Encap: c.encaps[n], Key: keyOf(n), Subnets: subnets})
	}
	rng := rand.New(rand.NewPCG(uint64(size.hosts), uint64(size.ports)))
	for i := range size.ports {
		c.plug(tx, i, c.hosts[rng.IntN(size.hosts)], rng.IntN(size.networks))
	}
	snapshot, _, err := tx.Commit()
	if err != nil {
		return nil, err
	}
	for _, h := range c.hosts {
		if h.state, err = pipeline.Compile(snapshot, h.name); err != nil {
			return nil, err
		}
		c.flows += h.state.NumFlows()
	}
	return c, nil
}

func tenantOf(network int) string   { return fmt.Sprintf("tenant%d", network+1) }
func networkName(n int) string      { return tenantOf(n) + "/net" }
func keyOf(network int) uint32      { return uint32(1_000_001 + network) }
func guestMAC(i int) (mac topo.MAC) { return topo.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)} }

// plug adds port i, with what is behind it.
func (c *compiled) plug(tx *topo.Txn, i int, h *compiledHost, network int) {
	n := uint32(len(h.ports) + 1)
	p := topo.Port{Name: fmt.Sprintf("port%d", i+1), MAC: guestMAC(i)}
	at, carries := verify.Port{Number: n, Name: p.Name}, &[]int{}
	behind := func(vlan uint16, network int) *guest {
		g := &guest{h, n, vlan, p.MAC, netip.AddrFrom4([4]byte{10, byte(vlan), byte(i >> 8), byte(i)}).Next(), network, carries}
		c.guests, *carries = append(c.guests, g), append(*carries, network)
		at.Members = append(at.Members, verify.Member{VLAN: vlan, Network: networkName(network)})
		return g
	}
	if i%8 == 7 && c.networks >= len(trunkVLANs) {
		p.Trunk = &topo.Trunk{}
		for k, vlan := range trunkVLANs {
			g := behind(vlan, (network+k)%c.networks)
			p.Trunk.VLANs = append(p.Trunk.VLANs, topo.SubPort{VLAN: vlan, Network: networkName(g.network), Addresses: []netip.Addr{g.addr}})
		}
	} else {
		g := behind(0, network)
		p.Network, p.Addresses = networkName(network), []netip.Addr{g.addr}
		if i%6 == 5 {
			p.Addresses = append(p.Addresses, netip.AddrFrom16([16]byte{0: 0xfd, 13: 1, 14: byte(i >> 8), 15: byte(i)}))
		}
	}
	tx.PutPort(p)
	tx.Bind(p.Name, topo.Binding{Host: h.name, OFPort: n, Interface: uuid.NewSHA1(uuid.NameSpaceOID, []byte(p.Name))})
	h.ports = append(h.ports, at)
}

// overlay is what the verifier is told.
func (c *compiled) overlay() verify.Overlay {
	o := verify.Overlay{Check: pipeline.Check, CheckGroup: pipeline.CheckGroup}
	for n, e := range c.encaps {
		o.Networks = append(o.Networks, verify.Network{Name: networkName(n), Encap: e.String(), Key: uint64(keyOf(n))})
	}
	for _, h := range c.hosts {
		host := verify.Host{Name: h.name, TEPs: []netip.Addr{h.tep}, Ports: h.ports, State: h.state}
		for e := topo.GRE; e <= topo.Geneve; e++ {
			host.Tunnels = append(host.Tunnels, verify.Tunnel{Number: h.tunnels[e], Name: e.String(), Encap: e.String()})
		}
		o.Hosts = append(o.Hosts, host)
	}
	return o
}

// network is what the interpreter is told.
func (c *compiled) network() (*trace.Network, error) {
	var hosts []trace.Host
	for _, h := range c.hosts {
		config := trace.Config{Name: h.name, State: h.state}
		for e := topo.GRE; e <= topo.Geneve; e++ {
			config.Ports = append(config.Ports, trace.Port{Number: h.tunnels[e], Name: e.String(), Tunnel: &trace.Tunnel{Encap: e.String()}})
		}
		for _, p := range h.ports {
			config.Ports = append(config.Ports, trace.Port{Number: p.Number, Name: p.Name})
		}
		s, err := trace.New(config)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, trace.Host{Name: h.name, Switch: s, TEPs: []netip.Addr{h.tep}})
	}
	return trace.NewNetwork(hosts...)
}

// frame is an IPv4 packet from one guest to another, of the least length of an Ethernet frame without
// its checksum, and of a protocol for experiments (RFC 3692).
func frame(from, to *guest) []byte {
	b := make([]byte, 0, 64)
	b = append(append(b, to.mac[:]...), from.mac[:]...)
	if from.vlan != 0 {
		b = binary.BigEndian.AppendUint16(append(b, 0x81, 0x00), from.vlan)
	}
	b = append(b, 0x08, 0x00)
	const header, payload = 20, 26
	ip := len(b)
	b = binary.BigEndian.AppendUint16(append(b, 0x45, 0), header+payload)
	b = append(b, 0, 0, 0, 0, 64, 253, 0, 0)
	src, dst := from.addr.As4(), to.addr.As4()
	b = append(append(b, src[:]...), dst[:]...)
	sum := uint32(0)
	for i := ip; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(b[ip+10:], ^uint16(sum&0xffff+sum>>16))
	return append(b, make([]byte, payload)...)
}
