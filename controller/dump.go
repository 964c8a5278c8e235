package controller

import (
	"fmt"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// flowDump gives the entries of a switch the names of what they were compiled for.
func (v *view) flowDump(host string, d *openflow.Dump) *api.FlowDump {
	out := &api.FlowDump{Host: host, Flows: make([]api.Flow, 0, len(d.Flows)), Groups: []api.Group{}, Foreign: d.ForeignFlows}
	n := namer{v: v}
	ports := v.portNames(host)
	n.options = pipeline.FormatOptions(n.networkName, func(p uint32) string { return ports[p] })
	// What others' flows keep in registers and groups is theirs.
	n.foreign = flows.FormatOptions{TableName: n.options.TableName, PortName: n.options.PortName}
	for _, s := range d.Flows {
		out.Flows = append(out.Flows, n.flow(s))
	}
	for _, u := range d.Unreadable {
		if u.Kind == "flow" {
			out.Flows = append(out.Flows, api.Flow{
				Table: u.Table, TableName: pipeline.TableName(u.Table), Priority: u.Priority, Cookie: u.Cookie.String(), Ours: u.Cookie.Ours(),
				Actions: "unreadable: " + u.Err.Error(), Raw: fmt.Sprintf("# not readable: table=%d, priority=%d: %v", u.Table, u.Priority, u.Err),
			})
		}
	}
	for _, g := range d.Groups {
		e := api.Group{ID: g.ID, Ours: flows.OurGroup(g.ID), Buckets: len(g.Buckets), Text: g.Format(n.foreign), Raw: g.String()}
		if e.Ours {
			e.Text = g.Format(n.options)
			if id, ok := pipeline.NetworkOfGroup(g.ID); ok {
				e.Network = n.networkName(id)
			}
		}
		out.Groups = append(out.Groups, e)
	}
	return out
}

// namer finds names for the numbers in the flows of one host.
type namer struct {
	v       *view
	options flows.FormatOptions // of our flows
	foreign flows.FormatOptions // of others'
}

// portNames are names by OpenFlow number: of a bound port its own, of any other
// interface of the switch the interface's.
func (v *view) portNames(host string) map[uint32]string {
	out := map[uint32]string{}
	f := v.host(host).facts
	if f == nil {
		return out
	}
	for _, i := range f.Interfaces {
		if i.OFPort == 0 {
			continue
		}
		out[i.OFPort] = i.Name
		p := v.model.PortByIfaceID(i.IfaceID)
		if p == nil {
			continue
		}
		// Of several claims the first is the port's binding.
		if b := v.model.Bindings(p.Name); len(b) > 0 && b[0].Host == host && b[0].Interface == i.UUID {
			out[i.OFPort] = p.Name
		}
	}
	return out
}

func (n namer) flow(s flows.FlowStats) api.Flow {
	f := s.Flow
	out := api.Flow{
		Table: f.Table, TableName: pipeline.TableName(f.Table), Priority: f.Priority,
		Cookie: f.Cookie.String(), Ours: f.Cookie.Ours(),
		Packets: s.Packets, Bytes: s.Bytes, Duration: s.Duration, Raw: f.String(),
	}
	options := n.foreign
	if out.Ours {
		options = n.options
	}
	out.Match = f.Match.Format(options)
	_, out.Actions, _ = strings.Cut(f.Format(options), "actions=")
	if !out.Ours {
		return out
	}
	out.Feature, out.Drop = pipeline.FeatureName(f.Cookie.Feature()), pipeline.IsDrop(f.Cookie.Feature())
	kind, name, ok := n.v.model.ObjectByID(topo.ID(f.Cookie.Owner()))
	if !ok {
		return out
	}
	out.OwnerKind, out.Owner = kind, name
	switch kind {
	case topo.KindPort:
		out.Port = name
		if p := n.v.model.Port(name); p != nil {
			out.Network = p.Network // a trunk's rows are told apart below
		}
	case topo.KindNetwork:
		out.Network = name
	case topo.KindTenant:
		out.Tenant = name
	}
	if out.Network == "" {
		out.Network = n.networkMatched(f)
	}
	if t, _, ok := strings.Cut(out.Network, "/"); ok {
		out.Tenant = t
	}
	return out
}

// networkMatched is the network that a flow is about by what it matches: the
// register that holds the network's number, or what it writes there.
func (n namer) networkMatched(f *flows.Flow) string {
	if id, ok := pipeline.NetworkOf(f); ok {
		return n.networkName(id)
	}
	return ""
}

func (n namer) networkName(id topo.ID) string {
	if kind, name, ok := n.v.model.ObjectByID(id); ok && kind == topo.KindNetwork {
		return name
	}
	return ""
}
