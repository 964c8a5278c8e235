package cases

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Switch is what the switch of a host holds and has, for whoever executes or proves
// it.
type Switch struct {
	Name    string
	TEPs    []netip.Addr // none for a host that nobody reaches
	State   *flows.State
	Tunnels []TunnelPort
	Ports   []Port // ascending by number
}

// TunnelPort is a port at which tunnels of all peers end.
type TunnelPort struct {
	Number uint32
	Encap  string
}

// Port is any other port with an iface-id.
type Port struct {
	Number uint32
	Name   string
	// Members are its parts in networks, in effect or on standby; none of an interface
	// whose claim does not count.
	Members []Member
}

// Member is a port's part in a network.
type Member struct {
	Network string
	VLAN    uint16 // 0 without a tag
	Wire    bool   // whatever tags
}

// Switches are the switches of all hosts with what is compiled for them.
func Switches(s *topo.Snapshot) ([]Switch, error) {
	ports := map[string]map[uint32]*Port{}
	port := func(host string, number uint32, name string) *Port {
		if ports[host] == nil {
			ports[host] = map[uint32]*Port{}
		}
		if ports[host][number] == nil {
			ports[host][number] = &Port{Number: number, Name: name}
		}
		return ports[host][number]
	}
	for _, p := range s.Ports() {
		for _, at := range s.Bindings(p.Name) {
			port(at.Host, at.OFPort, p.Name)
		}
	}
	for _, c := range s.Unclaimed() {
		port(c.Host, c.OFPort, c.IfaceID)
	}
	for _, n := range s.Networks() {
		for _, m := range s.Segment(n.ID).Members {
			part := Member{Network: n.FullName(), Wire: n.IsWire()}
			if m.Sub != nil {
				part.VLAN = m.Sub.VLAN
			}
			at := port(m.Host.Name, m.OFPort, m.Port.Name)
			at.Members = append(at.Members, part)
			if m.Standby.Host != nil {
				at := port(m.Standby.Host.Name, m.Standby.OFPort, m.Port.Name)
				at.Members = append(at.Members, part)
			}
		}
	}
	var out []Switch
	for _, h := range s.Hosts() {
		state, err := pipeline.Compile(s, h.Name)
		if err != nil {
			return nil, err
		}
		sw := Switch{Name: h.Name, State: state}
		if h.TEP.IsValid() {
			sw.TEPs = []netip.Addr{h.TEP}
		}
		for e := topo.GRE; e <= topo.Geneve; e++ {
			if n := h.Tunnel(e); n != 0 {
				sw.Tunnels = append(sw.Tunnels, TunnelPort{n, e.String()})
			}
		}
		for _, p := range ports[h.Name] {
			sw.Ports = append(sw.Ports, *p)
		}
		slices.SortFunc(sw.Ports, func(a, b Port) int { return cmp.Compare(a.Number, b.Number) })
		out = append(out, sw)
	}
	return out, nil
}
