package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Overlay is what is known of the overlay: names, numbers, and where the ports are.
type Overlay struct {
	Hosts    []Host
	Networks []Network
	Ports    []Port
}

// Host is a host and its switch's tunnel ports.
type Host struct {
	Name string
	ID   topo.ID // 0 when it is not known, as in all that follows
	TEP  netip.Addr
	// Tunnels are the OpenFlow numbers of the tunnel ports by encapsulation.
	Tunnels map[string]uint32
	// OtherTunnels are those of which nobody knows the encapsulation.
	OtherTunnels []uint32
	// OpenVSwitch is the version that the host runs.
	OpenVSwitch trace.Version
}

// Network is a network.
type Network struct {
	Name    string // TENANT/NETWORK
	ID      topo.ID
	Encap   string
	Key     uint32
	Subnets []netip.Prefix
	// Allocated says that the controller chose the key.
	Allocated bool
	// Wire is a cable between two ports: it carries every frame, whatever its tag.
	Wire bool
}

// Port is a port and where it is.
type Port struct {
	Name string
	ID   topo.ID
	MAC  topo.MAC
	// Networks has one entry for an access port.
	Networks []Membership
	// Host is empty, and OFPort 0, while the port is bound nowhere. Why says why then.
	Host   string
	OFPort uint32
	Why    string
	// Standby is where else the port is while it is being migrated.
	Standby Place
}

// Place is an OpenFlow port of a host; the zero Place is none.
type Place struct {
	Host   string
	OFPort uint32
}

// at is the port's OpenFlow number on a host, 0 if it is not there.
func (p *Port) at(host string) uint32 {
	switch host {
	case p.Host:
		return p.OFPort
	case p.Standby.Host:
		return p.Standby.OFPort
	}
	return 0
}

// Place says where a port is, to an overlay that was recognised from flows and may not
// show it.
func (o *Overlay) Place(port, host string, ofport uint32) error {
	p := o.port(port)
	switch {
	case p == nil:
		return fmt.Errorf("there is no port %s", port)
	case o.host(host) == nil:
		return fmt.Errorf("there is no host %s", host)
	}
	for i := range o.Ports {
		if other := &o.Ports[i]; other != p && other.at(host) == ofport {
			return fmt.Errorf("port %d of host %s is %s by its flows", ofport, host, other.Name)
		}
	}
	if p.Host != "" && (p.Host != host || p.OFPort != ofport) {
		return fmt.Errorf("port %s is port %d of host %s by the flows there", port, p.OFPort, p.Host)
	}
	p.Host, p.OFPort, p.Why = host, ofport, ""
	return nil
}

// Membership is a port's part in one network.
type Membership struct {
	Network string
	// Tagged frames of a trunk have the 802.1Q VLAN ID VLAN, 1…4094.
	Tagged    bool
	VLAN      uint16
	Addresses []netip.Addr
}

func (o *Overlay) host(name string) *Host {
	return find(o.Hosts, func(h *Host) bool { return h.Name == name })
}

func (o *Overlay) network(name string) *Network {
	return find(o.Networks, func(n *Network) bool { return n.Name == name })
}

func (o *Overlay) port(name string) *Port {
	return find(o.Ports, func(p *Port) bool { return p.Name == name })
}

func find[T any](list []T, is func(*T) bool) *T {
	for i := range list {
		if is(&list[i]) {
			return &list[i]
		}
	}
	return nil
}

// bound is the port of that name and number, an error if it is nowhere.
func (o *Overlay) bound(name string) (*Port, error) {
	p := o.port(name)
	if p == nil {
		return nil, fmt.Errorf("there is no port %q", name)
	}
	if p.Host == "" || p.OFPort == 0 {
		why := p.Why
		if why == "" {
			why = "no host shows its iface-id"
		}
		return nil, fmt.Errorf("port %s is not bound, so no packet can come from it: %s", name, why)
	}
	return p, nil
}

// names find the names of one host's numbers.
type names struct {
	ports   map[uint32]string
	options flows.FormatOptions // for our flows
	foreign flows.FormatOptions // for those of others
	objects map[topo.ID]object
}

type object struct{ kind, name string }

// objects are the things that a cookie's owner may be.
func (o *Overlay) objects() map[topo.ID]object {
	out := map[topo.ID]object{}
	for _, h := range o.Hosts {
		out[h.ID] = object{topo.KindHost, h.Name}
	}
	for _, n := range o.Networks {
		out[n.ID] = object{topo.KindNetwork, n.Name}
	}
	for _, p := range o.Ports {
		out[p.ID] = object{topo.KindPort, p.Name}
	}
	delete(out, 0)
	return out
}

// names are those of the numbers in the flows of a host. others are names of ports that
// the overlay does not know.
func (o *Overlay) names(host string, others map[uint32]string) *names {
	n := &names{ports: map[uint32]string{}, objects: o.objects()}
	for number, name := range others {
		n.ports[number] = name
	}
	if h := o.host(host); h != nil {
		for encap, number := range h.Tunnels {
			n.ports[number] = encap
		}
	}
	for i := range o.Ports {
		if number := o.Ports[i].at(host); number != 0 {
			n.ports[number] = o.Ports[i].Name
		}
	}
	n.options = pipeline.FormatOptions(n.network, func(number uint32) string { return n.ports[number] })
	n.foreign = flows.FormatOptions{TableName: n.options.TableName, PortName: n.options.PortName}
	return n
}

func (n *names) network(id topo.ID) string {
	if o := n.objects[id]; o.kind == topo.KindNetwork {
		return o.name
	}
	return ""
}

// of are the options for a flow: what others keep in registers and groups is theirs.
func (n *names) of(f *flows.Flow) flows.FormatOptions {
	if f != nil && f.Cookie.Ours() {
		return n.options
	}
	return n.foreign
}

// owner is what a flow was compiled for.
func (n *names) owner(f *flows.Flow) (kind, name string) {
	if !f.Cookie.Ours() {
		return "", ""
	}
	id := topo.ID(f.Cookie.Owner())
	if o, ok := n.objects[id]; ok {
		return o.kind, o.name
	}
	return "id", fmt.Sprint(uint32(id))
}

// networkOf is the name of the network that a flow is about, "" if it is about none or
// nobody knows it.
func (n *names) networkOf(f *flows.Flow) string {
	if !f.Cookie.Ours() {
		return ""
	}
	if id, ok := pipeline.NetworkOf(f); ok {
		return n.network(id)
	}
	return ""
}

// wire is the network of a port that is an end of a wire.
func (o *Overlay) wire(p *Port) (Membership, bool) {
	if len(p.Networks) != 1 {
		return Membership{}, false
	}
	n := o.network(p.Networks[0].Network)
	return p.Networks[0], n != nil && n.Wire
}

// holder is the port that has an address in a network.
func (o *Overlay) holder(network string, a netip.Addr) *Port {
	return find(o.Ports, func(p *Port) bool {
		return slices.ContainsFunc(p.Networks, func(m Membership) bool {
			return m.Network == network && slices.Contains(m.Addresses, a)
		})
	})
}

// memberships are a port's networks as a person names them.
func (p *Port) memberships() string {
	var out []string
	for _, m := range p.Networks {
		if m.Tagged {
			out = append(out, fmt.Sprintf("dl_vlan=%d for %s", m.VLAN, m.Network))
			continue
		}
		out = append(out, "untagged for "+m.Network)
	}
	return strings.Join(out, ", ")
}
