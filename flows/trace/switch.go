package trace

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// Port is a port of a switch as far as it decides what becomes of a packet.
type Port struct {
	Number uint32
	Name   string
	// Tunnel is nil for a port that is not the end of tunnels.
	Tunnel *Tunnel
	// Down is a port without a link: fast-failover groups look at it.
	Down bool
	// NoFlood keeps the port out of FLOOD (OFPPC_NO_FLOOD of OpenFlow 1.0).
	NoFlood bool
}

// Tunnel is what a tunnel port is set up with. With the zero Remote and Key both are
// taken from the packet (remote_ip=flow, key=flow).
type Tunnel struct {
	Encap  string // "gre", "vxlan" or "geneve"
	Remote netip.Addr
	Key    *uint64
}

// Unread is a flow that is in a table and could not be read, so that nobody knows
// what it does.
type Unread struct {
	Table    uint8
	Priority uint16
	// Match narrows the packets that it may take, as far as that is known; nil is any.
	Match flows.Match
	Why   string
}

// Config is a switch to interpret.
type Config struct {
	Name  string
	State *flows.State
	// Version is the switch's, V31 when zero.
	Version Version
	// Ports are all ports. When nil they are not known: any number counts as a port
	// that is up and no tunnel, and ALL and FLOOD are not interpreted.
	Ports []Port
	// Unread are flows that State lacks since they could not be read.
	Unread []Unread
	// UnreadGroups are groups that State lacks for the same reason: number → why.
	UnreadGroups map[uint32]string
}

// Switch is a State compiled for lookups, and the ports. It is immutable and safe
// for concurrent use.
type Switch struct {
	name    string
	version Version
	tables  [256]*table
	groups  map[uint32]*flows.Group
	unread  map[uint32]string // groups
	ports   map[uint32]*Port  // nil: unknown
	order   []*Port           // by number
}

// New compiles a switch. A port that is given twice is an error.
func New(c Config) (*Switch, error) {
	s := &Switch{name: c.Name, version: c.Version, groups: map[uint32]*flows.Group{}, unread: maps.Clone(c.UnreadGroups)}
	var byTable [256][]*flows.Flow
	for _, p := range c.State.Parts() {
		if p == nil {
			continue
		}
		for _, f := range p.Flows {
			f = flows.Normalize(f)
			byTable[f.Table] = append(byTable[f.Table], f)
		}
		for _, g := range p.Groups {
			s.groups[g.ID] = g
		}
	}
	for n, fs := range byTable {
		if len(fs) > 0 {
			s.tables[n] = newTable(fs)
		}
	}
	for _, u := range c.Unread {
		if s.tables[u.Table] == nil {
			s.tables[u.Table] = &table{}
		}
		t := s.tables[u.Table]
		t.unread = append(t.unread, u)
	}
	if c.Ports == nil {
		return s, nil
	}
	s.ports = make(map[uint32]*Port, len(c.Ports))
	for i := range c.Ports {
		p := c.Ports[i]
		if s.ports[p.Number] != nil {
			return nil, fmt.Errorf("switch %s: port %d twice", c.Name, p.Number)
		}
		s.ports[p.Number] = &p
		s.order = append(s.order, &p)
	}
	slices.SortFunc(s.order, func(a, b *Port) int { return int(a.Number) - int(b.Number) })
	return s, nil
}

// Name is the name that the switch was given.
func (s *Switch) Name() string { return s.name }

// Port is the port with that number. Where ports are not known it is one that is up.
func (s *Switch) Port(n uint32) (Port, bool) {
	if s.ports == nil {
		return Port{Number: n}, n != 0 && n < flows.PortMax || n == flows.PortLocal
	}
	if p := s.ports[n]; p != nil {
		return *p, true
	}
	return Port{}, false
}

// lookup finds the flow that takes p in a table as a packet from in_port inPort.
func (s *Switch) lookup(n uint8, p *Packet, inPort uint32) found {
	t := s.tables[n]
	if t == nil {
		return found{}
	}
	frag := p.fields[flows.IPFrag].Lo&fragAny != 0
	if !frag && p.InPort() == inPort {
		return t.lookup(p)
	}
	view := *p
	view.fields[flows.InPort] = flows.U(uint64(inPort))
	if frag {
		for _, f := range transportFields {
			view.fields[f] = flows.Value{}
		}
	}
	return t.lookup(&view)
}
