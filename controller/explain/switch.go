package explain

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// Tables are what a host's switch holds.
type Tables struct {
	Flows  []*flows.Flow
	Groups []*flows.Group
	Unread []trace.Unread
	// Ports are all ports of the switch but its tunnels, which are the host's. nil
	// means that those which the flows mention and the overlay knows are taken for all.
	Ports []SwitchPort
}

// SwitchPort is a port of a switch.
type SwitchPort struct {
	Number uint32
	Name   string
	Down   bool
}

// otherTunnel is the name, and the encapsulation, of a tunnel port of which nobody knows it.
const otherTunnel = "tunnel"

// maxMentioned bounds the ports that are made up because a flow mentions them.
const maxMentioned = 1 << 16

// compile makes a switch to interpret of the tables of a host.
func (t *Tables) compile(o *Overlay, host string) (*trace.Switch, *names, error) {
	ports := map[uint32]trace.Port{}
	others := map[uint32]string{}
	if t.Ports == nil {
		t.mentioned(func(n uint32) {
			if len(ports) < maxMentioned {
				ports[n] = trace.Port{Number: n}
			}
		})
	}
	for _, p := range t.Ports {
		ports[p.Number] = trace.Port{Number: p.Number, Name: p.Name, Down: p.Down}
		others[p.Number] = p.Name
	}
	for i := range o.Ports {
		if n := o.Ports[i].at(host); n != 0 {
			ports[n] = trace.Port{Number: n, Name: o.Ports[i].Name, Down: ports[n].Down}
		}
	}
	c := trace.Config{Name: host, Unread: t.Unread}
	if h := o.host(host); h != nil {
		c.Version = h.OpenVSwitch
		for encap, n := range h.Tunnels {
			ports[n] = trace.Port{Number: n, Name: encap, Tunnel: &trace.Tunnel{Encap: encap}}
		}
		for _, n := range h.OtherTunnels {
			ports[n] = trace.Port{Number: n, Name: otherTunnel, Tunnel: &trace.Tunnel{Encap: otherTunnel}}
		}
	}
	c.Ports = make([]trace.Port, 0, len(ports))
	for _, p := range ports {
		c.Ports = append(c.Ports, p)
	}
	c.State = flows.Flat(&flows.Part{Flows: t.Flows, Groups: t.Groups})
	sw, err := trace.New(c)
	if err != nil {
		return nil, nil, fmt.Errorf("host %s: %w", host, err)
	}
	return sw, o.names(host, others), nil
}

// mentioned calls yield with every port that a flow or a group names.
func (t *Tables) mentioned(yield func(uint32)) {
	var in func(as []flows.Action)
	in = func(as []flows.Action) {
		for _, a := range as {
			port := uint32(0)
			switch a := a.(type) {
			case flows.Output:
				port = a.Port
			case flows.OutputTrunc:
				port = a.Port
			case flows.Clone:
				in(a.Actions())
			}
			if port < flows.PortMax && port != 0 {
				yield(port)
			}
		}
	}
	for _, f := range t.Flows {
		if m, ok := f.Match.Get(flows.InPort); ok && m.Mask == flows.InPort.FullMask() {
			yield(uint32(m.Value.Lo))
		}
		in(f.Apply)
		in(f.Write)
	}
	for _, g := range t.Groups {
		for _, b := range g.Buckets {
			in(b.Actions)
		}
	}
}

// AddGroup adds a group that was read; a group that is there already and is another one
// is an error.
func (t *Tables) AddGroup(g *flows.Group) error {
	for _, had := range t.Groups {
		if had.ID == g.ID {
			if had.Equal(g) {
				return nil
			}
			return fmt.Errorf("group %d is there twice, and not the same: dump the host again, in one go", g.ID)
		}
	}
	t.Groups = append(t.Groups, g)
	return nil
}

// WithoutGroups takes the flows out that use a group which the tables do not have, by
// themselves or through another group, and counts them as not read; why says why the
// groups are missing.
func (t *Tables) WithoutGroups(why string) {
	missing := t.incomplete()
	t.Flows = slices.DeleteFunc(t.Flows, func(f *flows.Flow) bool {
		for _, id := range f.Groups() {
			if lacks, is := missing[id]; is {
				t.Unread = append(t.Unread, trace.Unread{Table: f.Table, Priority: f.Priority, Match: f.Match,
					Why: fmt.Sprintf("it uses group %d, %s", lacks, why)})
				return true
			}
		}
		return false
	})
}

// incomplete are the groups that are used and not there, or need such a one, with that.
func (t *Tables) incomplete() map[uint32]uint32 {
	has := map[uint32]bool{}
	for _, g := range t.Groups {
		has[g.ID] = true
	}
	missing := map[uint32]uint32{}
	lacks := func(ids []uint32) (uint32, bool) {
		for _, id := range ids {
			if !has[id] {
				missing[id] = id
			}
			if of, is := missing[id]; is {
				return of, true
			}
		}
		return 0, false
	}
	for _, f := range t.Flows {
		lacks(f.Groups())
	}
	for again := true; again; {
		again = false
		for _, g := range t.Groups {
			if _, known := missing[g.ID]; known {
				continue
			}
			if of, is := lacks(g.Groups()); is {
				missing[g.ID], again = of, true
			}
		}
	}
	return missing
}

// endpoints are where a host's tunnels end.
func (h *Host) endpoints() []netip.Addr {
	if !h.TEP.IsValid() {
		return nil
	}
	return []netip.Addr{h.TEP}
}
