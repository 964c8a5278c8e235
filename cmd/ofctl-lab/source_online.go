package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/controller/explain"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// onlineSource reads through the controller.
type onlineSource struct {
	*daemon
	planned bool

	mu sync.Mutex
	// dumps are what was read, for what is counted later.
	dumps map[string]*api.FlowDump // guarded by mu
}

func newOnlineSource(d *daemon, planned bool) *onlineSource {
	return &onlineSource{daemon: d, planned: planned, dumps: map[string]*api.FlowDump{}}
}

func (s *onlineSource) name() string {
	if s.planned {
		return "planned"
	}
	return "switches"
}

func (s *onlineSource) read(ctx context.Context, host string) (*explain.Tables, error) {
	d, err := s.dump(ctx, host)
	if err != nil {
		return nil, s.explain(err)
	}
	s.mu.Lock()
	s.dumps[host] = d
	s.mu.Unlock()
	return tablesOf(d), nil
}

func (s *onlineSource) dump(ctx context.Context, host string) (*api.FlowDump, error) {
	if s.planned {
		return s.PlannedFlows(ctx, host)
	}
	return s.Flows(ctx, host)
}

// tablesOf is what a dump says that a switch holds.
func tablesOf(d *api.FlowDump) *explain.Tables {
	t := &explain.Tables{}
	for _, f := range d.Flows {
		parsed, err := flows.ParseFlow(f.Raw)
		if err != nil {
			t.Unread = append(t.Unread, trace.Unread{Table: f.Table, Priority: f.Priority, Why: f.Actions})
			continue
		}
		t.Flows = append(t.Flows, parsed)
	}
	for _, g := range d.Groups {
		if parsed, err := flows.ParseGroup(g.Raw); err == nil {
			t.Groups = append(t.Groups, parsed)
		}
	}
	t.WithoutGroups("which could not be read")
	for _, p := range d.Ports {
		t.Ports = append(t.Ports, explain.SwitchPort{Number: p.Number, Name: p.Name, Down: p.Down})
	}
	return t
}

// overlay is what the controller knows of the overlay.
func (s *onlineSource) overlay(ctx context.Context) (*explain.Overlay, error) {
	hosts, err := s.Hosts(ctx)
	if err != nil {
		return nil, s.explain(err)
	}
	networks, err := s.Networks(ctx)
	if err != nil {
		return nil, s.explain(err)
	}
	ports, err := s.Ports(ctx)
	if err != nil {
		return nil, s.explain(err)
	}
	o := &explain.Overlay{}
	for _, h := range hosts {
		e := explain.Host{Name: h.Name, ID: topo.ID(h.ID), TEP: h.TEP}
		// One that does not say which version it runs, or in no words we know, may run any.
		e.OpenVSwitch, _ = trace.ParseVersion(h.Status.OVS)
		if h.Status.Bridge != nil {
			e.Tunnels = h.Status.Bridge.Tunnels
		}
		o.Hosts = append(o.Hosts, e)
	}
	for _, n := range networks {
		o.Networks = append(o.Networks, explain.Network{Name: n.FullName(), ID: topo.ID(n.ID), Encap: n.Encap, Key: n.Key, Subnets: n.Subnets,
			Allocated: n.KeyAllocated, Wire: n.Type == "wire"})
	}
	for _, p := range ports {
		mac, err := topo.ParseMAC(p.MAC)
		if err != nil {
			return nil, fmt.Errorf("port %s, as the controller describes it: %w", p.Name, err)
		}
		e := explain.Port{Name: p.Name, ID: topo.ID(p.ID), MAC: mac, Networks: membershipsOf(p.PortSpec),
			Host: p.Status.Host, OFPort: p.Status.OFPort, Why: p.Status.Message}
		if s := p.Status.Standby; s != nil {
			e.Standby = explain.Place{Host: s.Host, OFPort: s.OFPort}
		}
		o.Ports = append(o.Ports, e)
	}
	return o, nil
}

func membershipsOf(p api.PortSpec) []explain.Membership {
	member := func(network string, vlan uint16, addresses []netip.Addr) explain.Membership {
		return explain.Membership{Network: network, Tagged: vlan != 0, VLAN: vlan, Addresses: addresses}
	}
	if p.Trunk == nil {
		return []explain.Membership{member(p.Network, 0, p.Addresses)}
	}
	var out []explain.Membership
	if n := p.Trunk.Native; n != nil {
		out = append(out, member(n.Network, 0, n.Addresses))
	}
	for _, v := range p.Trunk.VLANs {
		out = append(out, member(v.Network, v.VLAN, v.Addresses))
	}
	return out
}

// unreadable is whether a line of dump-flows --raw stands for a flow that the switch
// has and nobody could read, and of which table and priority.
func unreadable(line string) (table uint8, priority uint16, why string, ok bool) {
	rest, ok := strings.CutPrefix(line, "# not readable: ")
	if !ok {
		return 0, 0, "", false
	}
	_, err := fmt.Sscanf(rest, "table=%d, priority=%d: ", &table, &priority)
	_, why, _ = strings.Cut(rest, ": ")
	return table, priority, why, err == nil
}
