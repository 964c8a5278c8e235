package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsctl"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// localTimeout bounds reading a local bridge.
const localTimeout = 30 * time.Second

// tableNames are the tables of the pipeline, and whether t is the name or the
// number of one. A number needs none: others' flows are in any table.
func tableNames(t string) (names []string, ok bool) {
	for _, d := range pipeline.Tables() {
		names = append(names, d.Name)
	}
	_, err := strconv.ParseUint(t, 10, 8)
	return names, err == nil || slices.Contains(names, t)
}

// localDump reads a bridge of the Open vSwitch on this host over its management
// socket. Names that only the controller knows are missing.
func localDump(ctx context.Context, rundir, bridge string) (*api.FlowDump, error) {
	if bridge == "" || strings.ContainsRune(bridge, '/') {
		return nil, usagef("--bridge %q is not the name of a bridge", bridge)
	}
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	socket := ovsctl.New(ovsctl.Options{RunDir: rundir}).OpenFlowSocket(bridge)
	nc, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("bridge %s has no management socket that answers: %w; check the name with ovs-vsctl list-br, run as root, and give the run directory of Open vSwitch with --rundir", bridge, err)
	}
	conn, err := openflow.Connect(ctx, nc, openflow.Options{})
	if err != nil {
		_ = nc.Close() // the error that matters is err
		return nil, fmt.Errorf("bridge %s: %w", bridge, err)
	}
	defer conn.Close()
	d, err := conn.DumpAll(ctx)
	if err != nil {
		return nil, err
	}
	return namedDump(bridge, d), nil
}

// namedDump is a dump with the names that derive from the pipeline.
func namedDump(bridge string, d *openflow.Dump) *api.FlowDump {
	numbers := pipeline.FormatOptions(func(topo.ID) string { return "" }, func(uint32) string { return "" })
	out := &api.FlowDump{Host: bridge, Flows: []api.Flow{}, Groups: []api.Group{}, Foreign: d.ForeignFlows}
	for _, s := range d.Flows {
		out.Flows = append(out.Flows, namedFlow(s, numbers))
	}
	for _, g := range d.Groups {
		e := api.Group{ID: g.ID, Ours: flows.OurGroup(g.ID), Buckets: len(g.Buckets), Raw: g.String()}
		if e.Text = e.Raw; e.Ours {
			e.Text = g.Format(numbers)
		}
		out.Groups = append(out.Groups, e)
	}
	return out
}

// namedFlow writes a flow of ours with the options ours.
func namedFlow(s flows.FlowStats, ours flows.FormatOptions) api.Flow {
	f := s.Flow
	options := flows.FormatOptions{TableName: pipeline.TableName}
	if f.Cookie.Ours() {
		options = ours
	}
	_, actions, _ := strings.Cut(f.Format(options), "actions=")
	out := api.Flow{
		Table: f.Table, TableName: pipeline.TableName(f.Table), Priority: f.Priority,
		Match: f.Match.Format(options), Actions: actions, Cookie: f.Cookie.String(), Ours: f.Cookie.Ours(),
		Packets: s.Packets, Bytes: s.Bytes, Duration: s.Duration, Raw: f.String(),
	}
	if out.Ours {
		out.Feature = pipeline.FeatureName(f.Cookie.Feature())
		out.Drop = pipeline.IsDrop(f.Cookie.Feature())
		out.OwnerKind, out.Owner = "id", strconv.FormatUint(uint64(f.Cookie.Owner()), 10)
	}
	return out
}
