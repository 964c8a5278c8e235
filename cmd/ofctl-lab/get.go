package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
)

// The kinds of object, as commands take them.
const (
	kindHost      = "host"
	kindTenant    = "tenant"
	kindNetwork   = "network"
	kindPort      = "port"
	kindUnclaimed = "unclaimed"
)

// parseKind is the kind that word names, in the singular or the plural, if it is one of kinds.
func parseKind(word string, kinds ...string) (string, error) {
	k := strings.TrimSuffix(strings.ToLower(word), "s")
	if slices.Contains(kinds, k) {
		return k, nil
	}
	return "", usagef("there is no kind %q; %s", word, meant(k, kinds))
}

func newGet(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get hosts|tenants|networks|ports|unclaimed [NAME]",
		Short: "List objects with their live state",
		Long: `List objects with their live state, computed from the switches' own state.

A network's name is TENANT/NETWORK. "unclaimed" lists interfaces whose iface-id
no declared port has, and switches that are no host's integration bridge.`,
		Example: `  ofctl-lab get ports
  ofctl-lab get networks -o wide
  ofctl-lab get host host1 -o json`,
		Args: args(1, 2, "KIND [NAME]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, err := parseKind(args[0], kindHost, kindTenant, kindNetwork, kindPort, kindUnclaimed)
			if err != nil {
				return err
			}
			if kind == kindUnclaimed && len(args) > 1 {
				return usagef("get unclaimed takes no NAME")
			}
			d, err := a.daemon(cmd)
			if err != nil {
				return err
			}
			defer d.Close()
			if len(args) == 1 {
				return a.list(cmd.Context(), d, kind)
			}
			return a.one(cmd.Context(), d, kind, args[1])
		},
		ValidArgs: []string{"hosts", "tenants", "networks", "ports", "unclaimed"},
	}
	addOutputFlag(cmd)
	return cmd
}

// list prints all objects of a kind.
func (a *app) list(ctx context.Context, d *daemon, kind string) error {
	switch kind {
	case kindHost:
		return emitList(ctx, a, d, d.Hosts, hostTable)
	case kindTenant:
		return emitList(ctx, a, d, d.Tenants, tenantTable)
	case kindNetwork:
		return emitList(ctx, a, d, d.Networks, networkTable)
	case kindPort:
		return emitList(ctx, a, d, d.Ports, portTable)
	}
	u, err := d.Unclaimed(ctx)
	if err != nil {
		return d.explain(err)
	}
	return a.emit(u, func(t *tables, f format) { unclaimedTables(t, u) })
}

func emitList[T any](ctx context.Context, a *app, d *daemon, fetch func(context.Context) ([]T, error), text func(*tables, format, []T)) error {
	l, err := fetch(ctx)
	if err != nil {
		return d.explain(err)
	}
	if l == nil {
		l = []T{}
	}
	return a.emit(l, func(t *tables, f format) { text(t, f, l) })
}

// one prints a single object.
func (a *app) one(ctx context.Context, d *daemon, kind, name string) error {
	o, err := d.object(ctx, kind, name)
	if err != nil {
		return err
	}
	return a.emit(o, func(t *tables, f format) {
		switch o := o.(type) {
		case *api.Host:
			hostTable(t, f, []api.Host{*o})
		case *api.Tenant:
			tenantTable(t, f, []api.Tenant{*o})
		case *api.Network:
			networkTable(t, f, []api.Network{*o})
		case *api.Port:
			portTable(t, f, []api.Port{*o})
		}
	})
}

// object fetches one object; for a name that does not exist the error suggests one that does.
func (d *daemon) object(ctx context.Context, kind, name string) (any, error) {
	var o any
	var err error
	switch kind {
	case kindHost:
		o, err = d.Host(ctx, name)
	case kindTenant:
		o, err = d.Tenant(ctx, name)
	case kindNetwork:
		o, err = d.Network(ctx, name)
	case kindPort:
		o, err = d.Port(ctx, name)
	}
	if notFound(err) {
		return nil, d.unknown(ctx, kind, name)
	}
	return o, d.explain(err)
}

// unknown is the error for a name that does not exist.
func (d *daemon) unknown(ctx context.Context, kind, name string) error {
	names, err := d.names(ctx, kind)
	if err != nil {
		return d.explain(err)
	}
	return fmt.Errorf("there is no %s %q; %s", kind, name, meant(name, names))
}

// names are the names of all objects of a kind.
func (d *daemon) names(ctx context.Context, kind string) ([]string, error) {
	var out []string
	var err error
	switch kind {
	case kindHost:
		var l []api.Host
		if l, err = d.Hosts(ctx); err == nil {
			for i := range l {
				out = append(out, l[i].Name)
			}
		}
	case kindTenant:
		var l []api.Tenant
		if l, err = d.Tenants(ctx); err == nil {
			for i := range l {
				out = append(out, l[i].Name)
			}
		}
	case kindNetwork:
		var l []api.Network
		if l, err = d.Networks(ctx); err == nil {
			for i := range l {
				out = append(out, l[i].FullName())
			}
		}
	case kindPort:
		var l []api.Port
		if l, err = d.Ports(ctx); err == nil {
			for i := range l {
				out = append(out, l[i].Name)
			}
		}
	}
	return out, err
}

func hostTable(t *tables, f format, hosts []api.Host) {
	heading := []string{"NAME", "TEP", "READY", "OVSDB", "OPENFLOW", "PORTS", "FLOWS", "REVISION", "PROBLEM"}
	if f == formatWide {
		heading = slices.Insert(heading, 8, "GROUPS", "DRIFT", "OVS", "DATAPATH", "DATAPATH ID", "PEER")
	}
	rows := make([][]string, 0, len(hosts))
	for _, h := range hosts {
		s := h.Status
		row := []string{h.Name, addr(h.TEP), yesNo(s.Ready), connected(s.OVSDB), connected(s.OpenFlow), strconv.Itoa(s.Ports), strconv.Itoa(s.Flows), utoa(s.Revision), first(s.Problems, s.LastError)}
		if f == formatWide {
			var b api.BridgeStatus
			if s.Bridge != nil {
				b = *s.Bridge
			}
			row = slices.Insert(row, 8, strconv.Itoa(s.Groups), utoa(s.Drift), s.OVS, datapathText(b), b.DatapathID, s.OpenFlow.Peer)
		}
		rows = append(rows, row)
	}
	t.table(heading, rows)
}

// datapathText is the datapath type of a bridge, with what was intended if that is another.
func datapathText(b api.BridgeStatus) string {
	switch {
	case b.DatapathType == "netdev" && b.DatapathFallback != "":
		return b.DatapathType + " (fall-back)"
	case b.DatapathType == "netdev" && b.DatapathIntended == "system":
		return b.DatapathType + " (system intended)"
	}
	return b.DatapathType
}

func tenantTable(t *tables, f format, tenants []api.Tenant) {
	heading := []string{"NAME", "NETWORKS", "PORTS", "UP"}
	if f == formatWide {
		heading = append(heading, "ID", "UUID")
	}
	rows := make([][]string, 0, len(tenants))
	for _, x := range tenants {
		row := []string{x.Name, strings.Join(x.Networks, ","), strconv.Itoa(x.Ports), strconv.Itoa(x.PortsUp)}
		if f == formatWide {
			row = append(row, utoa(x.ID), x.UUID.String())
		}
		rows = append(rows, row)
	}
	t.table(heading, rows)
}

func networkTable(t *tables, f format, networks []api.Network) {
	heading := []string{"NETWORK", "TYPE", "ENCAP", "KEY", "SUBNETS", "PORTS", "UP", "HOSTS", "MTU"}
	if f == formatWide {
		heading = append(heading, "KEY FROM", "CARRIER", "ID", "UUID")
	}
	rows := make([][]string, 0, len(networks))
	for _, n := range networks {
		row := []string{n.FullName(), n.Type, n.Encap, utoa(n.Key), join(n.Subnets), strconv.Itoa(n.Status.Ports), strconv.Itoa(n.Status.PortsUp), strings.Join(n.Status.Hosts, ","), mtu(n.Status.MTU)}
		if f == formatWide {
			row = append(row, keyFrom(n), n.Carrier, utoa(n.ID), n.UUID.String())
		}
		rows = append(rows, row)
	}
	t.table(heading, rows)
}

func portTable(t *tables, f format, ports []api.Port) {
	heading := []string{"NAME", "STATE", "HOST", "OFPORT", "NETWORK", "ADDRESSES", "MAC"}
	if f == formatWide {
		heading = append(heading, "PROFILE", "MACS", "INTERFACE", "LINK", "UUID", "MESSAGE")
	}
	rows := make([][]string, 0, len(ports))
	for _, p := range ports {
		s := p.Status
		row := []string{p.Name, string(s.State), portHosts(s), ofport(s.OFPort), portNetworks(p.PortSpec), portAddresses(p.PortSpec), p.MAC}
		if f == formatWide {
			row = append(row, p.Profile, learnedCount(s.Learning), s.InterfaceName, s.LinkState, p.UUID.String(), s.Message)
		}
		rows = append(rows, row)
	}
	t.table(heading, rows)
}

// portHosts is where the port is bound, and where else it is while it is being migrated.
func portHosts(s api.PortStatus) string {
	switch {
	case s.Standby == nil:
		return s.Host
	case s.Standby.Source:
		return s.Standby.Host + " → [" + s.Host + "]"
	}
	return "[" + s.Host + "] → " + s.Standby.Host
}

func unclaimedTables(t *tables, u *api.Unclaimed) {
	rows := make([][]string, 0, len(u.Interfaces))
	for _, c := range u.Interfaces {
		rows = append(rows, []string{c.IfaceID, c.Host, c.InterfaceName, ofport(c.OFPort)})
	}
	t.table([]string{"IFACE-ID", "HOST", "INTERFACE", "OFPORT"}, rows)
	if len(u.Bridges) == 0 {
		return
	}
	t.gap()
	rows = rows[:0]
	for _, b := range u.Bridges {
		rows = append(rows, []string{b.DatapathID, b.Peer, utoa(b.Attempts), b.Reason})
	}
	t.table([]string{"DATAPATH ID", "PEER", "ATTEMPTS", "REASON"}, rows)
}

// portNetworks is "red/web" for an access port, "native red/mgmt, 10 red/web" for a trunk.
func portNetworks(p api.PortSpec) string {
	if p.Trunk == nil {
		return p.Network
	}
	var out []string
	if n := p.Trunk.Native; n != nil {
		out = append(out, "native "+n.Network)
	}
	for _, s := range p.Trunk.VLANs {
		out = append(out, fmt.Sprintf("%d %s", s.VLAN, s.Network))
	}
	return strings.Join(out, ", ")
}

func portAddresses(p api.PortSpec) string {
	out := slices.Clone(p.Addresses)
	if p.Trunk != nil {
		if p.Trunk.Native != nil {
			out = append(out, p.Trunk.Native.Addresses...)
		}
		for _, s := range p.Trunk.VLANs {
			out = append(out, s.Addresses...)
		}
	}
	return join(out)
}

func keyFrom(n api.Network) string {
	if n.KeyAllocated {
		return "allocated"
	}
	return "given"
}

func connected(s api.SessionStatus) string {
	if s.Connected {
		return "connected"
	}
	return "away"
}

func addr(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// ofport is empty while the switch has not given a number.
func ofport(n uint32) string {
	if n == 0 {
		return ""
	}
	return utoa(n)
}

func mtu(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func utoa[T ~uint8 | ~uint16 | ~uint32 | ~uint64](n T) string {
	return strconv.FormatUint(uint64(n), 10)
}

// join is the values' text with commas between.
func join[T fmt.Stringer](l []T) string {
	out := make([]string, len(l))
	for i, x := range l {
		out[i] = x.String()
	}
	return strings.Join(out, ",")
}

// first is the first problem, with how many more there are, or the fallback.
func first(l []string, fallback string) string {
	switch len(l) {
	case 0:
		return fallback
	case 1:
		return l[0]
	}
	return fmt.Sprintf("%s (and %d more)", l[0], len(l)-1)
}
