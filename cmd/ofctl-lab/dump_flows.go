package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
)

// maxDumps is how many hosts are read at the same time.
const maxDumps = 16

// flowFilter selects flows; the zero value of a field selects all.
type flowFilter struct {
	table                 string // name or number
	tenant, network, port string
	drops, foreign        bool // only those
}

func (ff flowFilter) match(f *api.Flow) bool {
	switch {
	case ff.table != "" && ff.table != f.TableName && ff.table != strconv.Itoa(int(f.Table)),
		ff.tenant != "" && ff.tenant != f.Tenant,
		ff.network != "" && ff.network != f.Network,
		ff.port != "" && ff.port != f.Port,
		ff.drops && !f.Drop,
		ff.foreign && f.Ours:
		return false
	}
	return true
}

// known is an error if the filter names what nobody declared.
func (ff flowFilter) known(ctx context.Context, d *daemon) error {
	for _, o := range []struct{ kind, name string }{{kindTenant, ff.tenant}, {kindNetwork, ff.network}, {kindPort, ff.port}} {
		if o.name == "" {
			continue
		}
		if _, err := d.object(ctx, o.kind, o.name); err != nil {
			return err
		}
	}
	return nil
}

// dumpOptions are the flags of dump-flows.
type dumpOptions struct {
	filter      flowFilter
	raw, groups bool
	local       bool
	bridge      string
	rundir      string
}

func newDumpFlows(a *app) *cobra.Command {
	var o dumpOptions
	cmd := &cobra.Command{
		Use:   "dump-flows [HOST…]",
		Short: "Show the flows in the switches, with names and counters",
		Long: `Show the flows in the switches, read from the switches for this answer, with the
names of tables, tenants, networks and ports, what each flow is for, and its
counters. Without HOST, those of every connected host. Registers appear as what they
hold: network, origin (local, switch or tunnel) and egress (the port to leave by).

--raw prints what 'ovs-ofctl -O OpenFlow13 add-flows BRIDGE -' takes back, and
with --groups what 'add-groups' takes back; groups go first, since flows refer to
them.

--local reads a bridge of the Open vSwitch on this host without the controller;
owners, networks and ports then appear as numbers, because only the controller knows
their names.`,
		Example: `  ofctl-lab dump-flows host1
  ofctl-lab dump-flows host1 --port red-a
  ofctl-lab dump-flows --drops
  ofctl-lab dump-flows host1 --table l2_dst -o wide
  ofctl-lab dump-flows host1 --raw --groups
  ofctl-lab dump-flows host1 --raw`,
		Args: args(0, -1, "HOST…"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(args); err != nil {
				return err
			}
			dumps, err := a.dumps(cmd, o, args)
			// What could be read is shown even if a host could not be.
			if len(dumps) > 0 || err == nil {
				err = errors.Join(a.printDumps(dumps, o), err)
			}
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&o.filter.table, "table", "", "only this table, by name or number")
	fl.StringVar(&o.filter.tenant, "tenant", "", "only flows of this tenant")
	fl.StringVar(&o.filter.network, "network", "", "only flows of this network (TENANT/NETWORK)")
	fl.StringVar(&o.filter.port, "port", "", "only flows of this port")
	fl.BoolVar(&o.filter.drops, "drops", false, "only flows that drop")
	fl.BoolVar(&o.filter.foreign, "foreign", false, "only flows that are not the controller's")
	fl.BoolVar(&o.raw, "raw", false, "as text that ovs-ofctl add-flows takes back")
	fl.BoolVar(&o.groups, "groups", false, "the groups instead of the flows")
	fl.BoolVar(&o.local, "local", false, "read a bridge of the Open vSwitch on this host, without the controller")
	fl.StringVar(&o.bridge, "bridge", "br-int", "with --local: the bridge")
	fl.StringVar(&o.rundir, "rundir", "", "with --local: the run directory of Open vSwitch (default $OVS_RUNDIR, else /var/run/openvswitch)")
	addOutputFlag(cmd)
	return cmd
}

func (o dumpOptions) check(hosts []string) error {
	if o.local && len(hosts) > 0 {
		return usagef("--local reads the bridge --bridge of this host; it takes no HOST")
	}
	if o.local && (o.filter.tenant != "" || o.filter.network != "" || o.filter.port != "") {
		return usagef("--local reads without the controller, which alone knows names: --tenant, --network and --port cannot be used with it")
	}
	if !o.local && o.rundir != "" {
		return usagef("--rundir is for --local")
	}
	if n := o.filter.network; n != "" && !strings.Contains(n, "/") {
		return usagef("--network %s: write TENANT/NETWORK, for example red/%s", n, n)
	}
	if o.groups && (o.filter != flowFilter{network: o.filter.network, foreign: o.filter.foreign}) {
		return usagef("of the filters, --groups takes only --network and --foreign")
	}
	if t := o.filter.table; t != "" {
		names, ok := tableNames(t)
		if !ok {
			return usagef("there is no table %q; %s", t, meant(t, names))
		}
	}
	return nil
}

// dumps reads the hosts, or the local bridge, and applies the filter. Hosts
// that could not be read are in the error; the others are returned all the same.
func (a *app) dumps(cmd *cobra.Command, o dumpOptions, hosts []string) ([]*api.FlowDump, error) {
	var dumps []*api.FlowDump
	var err error
	if o.local {
		var d *api.FlowDump
		if d, err = localDump(cmd.Context(), o.rundir, o.bridge); err != nil {
			return nil, err
		}
		dumps = append(dumps, d)
	} else {
		var d *daemon
		if d, err = a.daemon(cmd); err != nil {
			return nil, err
		}
		defer d.Close()
		if err := o.filter.known(cmd.Context(), d); err != nil {
			return nil, err
		}
		if dumps, err = d.dumps(cmd.Context(), hosts); len(dumps) == 0 {
			return nil, err
		}
	}
	for _, d := range dumps {
		sortDump(d)
		d.Flows = slices.DeleteFunc(d.Flows, func(f api.Flow) bool { return !o.filter.match(&f) })
		d.Groups = slices.DeleteFunc(d.Groups, func(g api.Group) bool {
			return o.filter.network != "" && g.Network != o.filter.network || o.filter.foreign && g.Ours
		})
	}
	return dumps, err
}

// sortDump puts a dump into an order that does not depend on the switch, so that
// two dumps can be compared as text.
func sortDump(d *api.FlowDump) {
	slices.SortFunc(d.Flows, func(a, b api.Flow) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(b.Priority, a.Priority), cmp.Compare(rawMatch(a), rawMatch(b)))
	})
	slices.SortFunc(d.Groups, func(a, b api.Group) int { return cmp.Compare(a.ID, b.ID) })
}

// rawMatch is what of a flow's text tells it from others of its table and
// priority: all but the cookie, which comes first. Names would not do: they
// depend on who was asked for them.
func rawMatch(f api.Flow) string {
	if strings.HasPrefix(f.Raw, "cookie=") {
		_, rest, _ := strings.Cut(f.Raw, ", ")
		return rest
	}
	return f.Raw
}

// dumps reads several hosts at once; without names, all that are connected.
func (d *daemon) dumps(ctx context.Context, hosts []string) ([]*api.FlowDump, error) {
	if len(hosts) == 0 {
		all, err := d.Hosts(ctx)
		if err != nil {
			return nil, d.explain(err)
		}
		for _, h := range all {
			if h.Status.OpenFlow.Connected {
				hosts = append(hosts, h.Name)
			}
		}
		if len(hosts) == 0 {
			return nil, fmt.Errorf("of %d hosts none is connected over OpenFlow; see ofctl-lab get hosts", len(all))
		}
	}
	out := make([]*api.FlowDump, len(hosts))
	errs := make([]error, len(hosts))
	var g errgroup.Group
	g.SetLimit(maxDumps)
	for i, h := range hosts {
		g.Go(func() error {
			dump, err := d.Flows(ctx, h)
			if notFound(err) {
				err = d.unknown(ctx, kindHost, h)
			}
			out[i], errs[i] = dump, d.explain(err)
			return nil
		})
	}
	_ = g.Wait() // errors are in errs, by host
	return slices.DeleteFunc(out, func(d *api.FlowDump) bool { return d == nil }), errors.Join(errs...)
}

func (a *app) printDumps(dumps []*api.FlowDump, o dumpOptions) error {
	if o.raw {
		t := &tables{w: a.out}
		for _, d := range dumps {
			if len(dumps) > 1 {
				t.line("# %s", clean(d.Host)) // a comment to ovs-ofctl
			}
			rawDump(t, d, o)
		}
		return t.err
	}
	if o.groups {
		for _, d := range dumps {
			d.Flows = []api.Flow{}
		}
	}
	return a.emit(dumps, func(t *tables, f format) {
		for _, d := range dumps {
			t.gap()
			if o.groups {
				groupTable(t, d)
				continue
			}
			flowTables(t, f, d, o.filter)
		}
	})
}

// rawDump prints flows or groups, one a line.
func rawDump(t *tables, d *api.FlowDump, o dumpOptions) {
	if o.groups {
		for _, g := range d.Groups {
			t.line("%s", g.Raw)
		}
		return
	}
	for _, f := range d.Flows {
		t.line("%s", f.Raw)
	}
}

// flowTables prints the flows of a host, one table of text per table of the switch.
func flowTables(t *tables, f format, d *api.FlowDump, ff flowFilter) {
	hidden := ""
	if d.Foreign > 0 && !ff.foreign {
		hidden = fmt.Sprintf(", %d flows of others in the switch", d.Foreign)
	}
	t.line("%s: %d flows%s", clean(d.Host), len(d.Flows), hidden)
	for i := 0; i < len(d.Flows); {
		j := i
		for j < len(d.Flows) && d.Flows[j].Table == d.Flows[i].Table {
			j++
		}
		t.gap()
		t.line("table %d %s", d.Flows[i].Table, clean(d.Flows[i].TableName))
		heading := []string{"PACKETS", "BYTES", "PRIO", "NETWORK", "OWNER", "FEATURE", "MATCH", "ACTIONS"}
		if f == formatWide {
			heading = slices.Insert(heading, 3, "AGE", "COOKIE")
		}
		rows := make([][]string, 0, j-i)
		for _, fl := range d.Flows[i:j] {
			match := fl.Match
			if match == "" {
				match = "any"
			}
			row := []string{utoa(fl.Packets), utoa(fl.Bytes), utoa(fl.Priority), fl.Network, flowOwner(&fl), flowFeature(&fl), match, fl.Actions}
			if f == formatWide {
				row = slices.Insert(row, 3, fmt.Sprintf("%ds", fl.Duration), fl.Cookie)
			}
			rows = append(rows, row)
		}
		t.table(heading, rows)
		i = j
	}
}

func flowOwner(f *api.Flow) string {
	switch {
	case !f.Ours:
		return "others'"
	case f.Owner == "":
		return ""
	}
	return f.OwnerKind + " " + f.Owner
}

func flowFeature(f *api.Flow) string {
	if f.Drop {
		return "drop " + f.Feature
	}
	return f.Feature
}

func groupTable(t *tables, d *api.FlowDump) {
	t.line("%s: %d groups", clean(d.Host), len(d.Groups))
	rows := make([][]string, 0, len(d.Groups))
	for _, g := range d.Groups {
		rows = append(rows, []string{utoa(g.ID), g.Network, strconv.Itoa(g.Buckets), g.Text})
	}
	t.table([]string{"GROUP", "NETWORK", "BUCKETS", "TEXT"}, rows)
}
