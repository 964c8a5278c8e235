package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
)

func newDescribe(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "describe host|network|port NAME",
		Short: "Say everything about one object",
		Long: `Say everything about one object: what is declared, its live state, and, for a
port, how many flows carry it and which of its packets were dropped, and why.`,
		Example: `  ofctl-lab describe port red-a
  ofctl-lab describe network red/web
  ofctl-lab describe host host1 -o yaml`,
		Args: args(2, 2, "KIND NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, err := parseKind(args[0], kindHost, kindNetwork, kindPort)
			if err != nil {
				return err
			}
			d, err := a.daemon(cmd)
			if err != nil {
				return err
			}
			defer d.Close()
			return a.describe(cmd.Context(), d, kind, args[1])
		},
		ValidArgs: []string{kindHost, kindNetwork, kindPort},
	}
	addOutputFlag(cmd)
	return cmd
}

func (a *app) describe(ctx context.Context, d *daemon, kind, name string) error {
	o, err := d.object(ctx, kind, name)
	if err != nil {
		return err
	}
	switch o := o.(type) {
	case *api.Host:
		return a.emit(o, func(t *tables, _ format) { describeHost(t, o) })
	case *api.Network:
		ports, err := d.Ports(ctx)
		if err != nil {
			return d.explain(err)
		}
		return a.emit(o, func(t *tables, f format) { describeNetwork(t, f, o, ports) })
	case *api.Port:
		var flows []api.Flow
		if h := o.Status.Host; h != "" {
			dump, err := d.Flows(ctx, h)
			if err != nil {
				// The rest is worth showing all the same.
				a.progress("warning: flows of host %s: %v", h, d.explain(err))
			} else {
				flows = slices.DeleteFunc(dump.Flows, func(f api.Flow) bool { return f.Port != o.Name })
			}
		}
		return a.emit(o, func(t *tables, _ format) { describePort(t, o, flows) })
	}
	return nil
}

func describeHost(t *tables, h *api.Host) {
	s := h.Status
	declared := "yes"
	if !h.Declared {
		declared = "no: it joined without being in the topology"
	}
	t.fields("Name", h.Name, "UUID", h.UUID.String(), "TEP", addr(h.TEP), "Declared", declared,
		"Ready", yesNo(s.Ready), "Open vSwitch", s.OVS,
		"OVSDB", session(s.OVSDB), "OpenFlow", session(s.OpenFlow),
		"Revision", utoa(s.Revision), "Ports bound", strconv.Itoa(s.Ports),
		"Flows", strconv.Itoa(s.Flows), "Groups", strconv.Itoa(s.Groups), "Meters", strconv.Itoa(s.Meters),
		"Peers", peersText(s.Reachability), "Drift repaired", utoa(s.Drift), "Last sync", when(s.LastSync), "Last error", s.LastError)
	if b := s.Bridge; b != nil {
		t.gap()
		tunnels := make([]string, 0, len(b.Tunnels))
		for e, n := range b.Tunnels {
			tunnels = append(tunnels, fmt.Sprintf("%s on port %d", e, n))
		}
		slices.Sort(tunnels)
		t.fields("Bridge", b.Name, "Datapath id", b.DatapathID, "Datapath type", datapathText(*b), "Fall-back because", b.DatapathFallback,
			"Fail mode", b.FailMode, "Protocols", strings.Join(b.Protocols, ", "), "Tunnels", strings.Join(tunnels, ", "))
	}
	problems(t, s.Problems)
}

// peersText is which peers packets of a host reach.
func peersText(r api.Reachability) string {
	text := fmt.Sprintf("%d, %d of them reached", r.Peers, r.Reached)
	if r.Unreachable > 0 {
		text += fmt.Sprintf(", %d unreachable", r.Unreachable)
	}
	return text
}

func describeNetwork(t *tables, f format, n *api.Network, ports []api.Port) {
	t.fields("Network", n.FullName(), "UUID", n.UUID.String(), "Type", n.Type, "Carrier", n.Carrier, "Encapsulation", n.Encap,
		"Tunnel key", fmt.Sprintf("%d (%s)", n.Key, keyFrom(*n)), "Subnets", join(n.Subnets),
		"Answers for", n.Answer+" ports", "MTU for guests", mtu(n.Status.MTU), "Hosts", strings.Join(n.Status.Hosts, ", "),
		"Ports", fmt.Sprintf("%d, %d of them up", n.Status.Ports, n.Status.PortsUp))
	members := slices.DeleteFunc(slices.Clone(ports), func(p api.Port) bool {
		_, ok := partIn(p.PortSpec, n.FullName())
		return !ok
	})
	if len(members) > 0 {
		t.gap()
		portTable(t, f, members)
	}
}

// partIn is the port's part in a network: VLAN 0 on an access port and for the
// native network of a trunk.
func partIn(p api.PortSpec, network string) (api.SubPort, bool) {
	if p.Trunk == nil {
		return api.SubPort{Network: p.Network, Addresses: p.Addresses}, p.Network == network
	}
	if n := p.Trunk.Native; n != nil && n.Network == network {
		return *n, true
	}
	for _, s := range p.Trunk.VLANs {
		if s.Network == network {
			return s, true
		}
	}
	return api.SubPort{}, false
}

func describePort(t *tables, p *api.Port, flows []api.Flow) {
	s := p.Status
	t.fields("Port", p.Name, "UUID", p.UUID.String(), "State", string(s.State), "Why", s.Message,
		"MAC", p.MAC, "Profile", p.Profile, "Network", p.Network, "Addresses", join(p.Addresses))
	if p.Trunk != nil {
		t.gap()
		var rows [][]string
		if n := p.Trunk.Native; n != nil {
			rows = append(rows, []string{"native", n.Network, join(n.Addresses)})
		}
		for _, sub := range p.Trunk.VLANs {
			rows = append(rows, []string{utoa(sub.VLAN), sub.Network, join(sub.Addresses)})
		}
		t.table([]string{"VLAN", "NETWORK", "ADDRESSES"}, rows)
	}
	t.gap()
	t.fields("Bound on host", s.Host, "OpenFlow port", ofport(s.OFPort), "Interface", s.InterfaceName, "Link", s.LinkState, "Held down", s.HeldDown,
		"Declared for", strings.Join(slices.DeleteFunc([]string{p.Host, p.Netns, p.Guest, p.Interface}, func(s string) bool { return s == "" }), " / "))
	if p.MigrateTo != "" {
		t.fields("May migrate to", p.MigrateTo)
	}
	if b := s.Standby; b != nil {
		t.line("%s on host %s, interface %s (OpenFlow port %d, %s)", standbyWord(b), clean(b.Host), clean(b.InterfaceName), b.OFPort, readyWord(b))
	}
	for _, r := range s.Rivals {
		t.line("also claimed by interface %s on host %s (OpenFlow port %d): remove one of the two iface-ids", clean(r.InterfaceName), clean(r.Host), r.OFPort)
	}
	describeLearning(t, s.Learning)
	if len(flows) == 0 {
		return
	}
	t.gap()
	t.line("%d flows for this port on %s; see ofctl-lab dump-flows %s --port %s", len(flows), s.Host, s.Host, p.Name)
	var drops [][]string
	for _, f := range flows {
		if f.Drop {
			drops = append(drops, []string{f.Feature, utoa(f.Packets), utoa(f.Bytes), f.Match})
		}
	}
	if len(drops) > 0 {
		t.gap()
		t.table([]string{"DROPPED BECAUSE", "PACKETS", "BYTES", "MATCH"}, drops)
	}
}

func standbyWord(s *api.Standby) string {
	if s.Source {
		return "has come from a claim"
	}
	return "is about to migrate to a claim"
}

func readyWord(s *api.Standby) string {
	if s.Ready {
		return "ready"
	}
	return "not ready yet"
}

func problems(t *tables, l []string) {
	if len(l) == 0 {
		return
	}
	t.gap()
	t.line("Problems:")
	for _, p := range l {
		t.line("  %s", clean(p))
	}
}

func session(s api.SessionStatus) string {
	out := connected(s)
	if s.Connected && s.Peer != "" {
		out += " from " + s.Peer
	}
	if s.Since != nil {
		out += " since " + when(s.Since)
	}
	if s.Error != "" {
		out += ": " + s.Error
	}
	return out
}

func when(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
