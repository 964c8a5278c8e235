package controller

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
)

type flowsGet struct {
	Name    string `path:"name" maxLength:"63" doc:"Name of the host"`
	Planned bool   `query:"planned" doc:"What the switch is to hold by the newest revision, instead of what it holds"`
}

func (r rest) flows(ctx context.Context, in *flowsGet) (*body[*api.FlowDump], error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if r.c.engine.load().Host(in.Name) == nil {
		return nil, notFound("host", in.Name, "see ofctl-lab get hosts")
	}
	if in.Planned {
		return r.planned(in.Name)
	}
	conn := r.conn(in.Name)
	if conn == nil {
		return nil, notConnected(in.Name, "its flows cannot be read")
	}
	d, err := conn.DumpAll(ctx)
	if err != nil {
		return nil, api.NewProblem(http.StatusServiceUnavailable, "reading the flows of host "+in.Name+": "+err.Error())
	}
	out := r.c.view().flowDump(in.Name, d)
	if out.Ports, err = switchPorts(ctx, conn); err != nil {
		return nil, api.NewProblem(http.StatusServiceUnavailable, "reading the ports of host "+in.Name+": "+err.Error())
	}
	return &body[*api.FlowDump]{out}, nil
}

// conn is the OpenFlow session with a host's switch, nil if there is none.
func (r rest) conn(host string) *openflow.Conn {
	h := r.c.hosts.find(host)
	if h == nil {
		return nil
	}
	return h.conn.Load()
}

func notConnected(host, what string) error {
	return api.NewProblem(http.StatusServiceUnavailable, "the switch of host "+host+" is not connected",
		api.ProblemDetail{Message: what, Location: "host " + host, Hint: "run ofctl-lab dump-flows on the host itself, or see ofctl-lab describe host " + host})
}

// planned is the dump of a switch that holds exactly what it is to hold.
func (r rest) planned(host string) (*body[*api.FlowDump], error) {
	v := r.c.view()
	state, err := pipeline.Compile(v.model.Snapshot, host)
	if err != nil {
		return nil, problem(err)
	}
	d := &openflow.Dump{Groups: slices.Collect(state.Groups())}
	for f := range state.Flows() {
		d.Flows = append(d.Flows, flows.FlowStats{Flow: f})
	}
	out := v.flowDump(host, d)
	if facts := v.host(host).facts; facts != nil {
		for _, i := range facts.Interfaces {
			if n := fullPort(i.OFPort); n != 0 {
				out.Ports = append(out.Ports, api.SwitchPort{Number: n, Name: i.Name, Down: i.LinkState == "down"})
			}
		}
	}
	sortPorts(out.Ports)
	return &body[*api.FlowDump]{out}, nil
}

// fullPort is a port number of OVSDB, which has 16 bits, as OpenFlow 1.3 writes it.
func fullPort(n uint32) uint32 {
	if n == flows.PortLocal&0xffff {
		return flows.PortLocal
	}
	return n
}

func sortPorts(ps []api.SwitchPort) {
	slices.SortFunc(ps, func(a, b api.SwitchPort) int { return cmp.Compare(a.Number, b.Number) })
}

// switchPorts reads the ports of a switch and what they have counted.
func switchPorts(ctx context.Context, conn *openflow.Conn) ([]api.SwitchPort, error) {
	ports, err := conn.Ports(ctx)
	if err != nil {
		return nil, err
	}
	stats, err := conn.PortStats(ctx)
	if err != nil {
		return nil, err
	}
	counted := map[uint32]ofp13.PortStats{}
	for _, s := range stats {
		counted[s.Number] = s
	}
	out := make([]api.SwitchPort, 0, len(ports))
	for _, p := range ports {
		e := api.SwitchPort{Number: p.Number, Name: p.Name, Down: p.Config&ofp13.PortConfigDown != 0 || p.State&ofp13.PortStateLinkDown != 0}
		if s, ok := counted[p.Number]; ok {
			e.Sent, e.Received = count(s.Sent), count(s.Received)
		}
		out = append(out, e)
	}
	sortPorts(out)
	return out, nil
}

func count(n uint64) *uint64 {
	if n == ofp13.NoCount {
		return nil
	}
	return &n
}

// A frame to be sent has an Ethernet header, and fits a packet-out with its header.
const (
	minSent = 14
	maxSent = 1<<16 - 256
)

type sendPost struct {
	Name string `path:"name" maxLength:"63" doc:"Name of the port"`
	Body api.SendBody
}

// send puts a frame into the switch of a port's host, at the first table and with the
// port as the one it came in by: what the pipeline guards, it guards here too.
func (r rest) send(ctx context.Context, in *sendPost) (*body[api.Sent], error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if n := len(in.Body.Frame); n < minSent || n > maxSent {
		return nil, api.NewProblem(http.StatusUnprocessableEntity, fmt.Sprintf("the frame has %d bytes", n),
			api.ProblemDetail{Message: "not an Ethernet frame", Location: "frame", Hint: fmt.Sprintf("send %d to %d bytes, from the destination MAC on", minSent, maxSent)})
	}
	v := r.c.view()
	p := v.model.Port(in.Name)
	if p == nil {
		return nil, notFound("port", in.Name, "see ofctl-lab get ports")
	}
	bindings := v.model.Bindings(p.Name)
	if len(bindings) == 0 {
		return nil, api.NewProblem(http.StatusConflict, "port "+in.Name+" is not bound, so no frame can come from it",
			api.ProblemDetail{Message: "not bound", Location: "port " + in.Name, Hint: "see ofctl-lab describe port " + in.Name})
	}
	at := bindings[0]
	conn := r.conn(at.Host)
	if conn == nil {
		return nil, notConnected(at.Host, "the frame cannot be sent")
	}
	err := conn.PacketOut(ctx, openflow.PacketOut{InPort: at.OFPort, Actions: []flows.Action{flows.Output{Port: flows.PortTable}}, Data: in.Body.Frame})
	if err == nil {
		err = conn.Barrier(ctx) // then the switch has executed it
	}
	if err != nil {
		return nil, api.NewProblem(http.StatusServiceUnavailable, "sending a frame from port "+in.Name+" on host "+at.Host+": "+err.Error())
	}
	return &body[api.Sent]{api.Sent{Host: at.Host, OFPort: at.OFPort}}, nil
}
