package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
)

func newPlan(a *app) *cobra.Command {
	var checkOnly bool
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Say what applying a topology file would change",
		Long: `Say what applying a topology file would change: which objects, how many flows
on which host, and whose traffic would be interrupted. Nothing is changed.

The file is checked first, without a controller: every error is printed as
FILE:line:column: what is wrong, and what to do. FILE - is standard input.

Exit status: 0 nothing would change, 3 something would, 1 the file is wrong or no
controller answers.`,
		Example: `  ofctl-lab plan configs/topologies/two-hosts.yaml
  ofctl-lab plan --check configs/topologies/two-hosts.yaml`,
		Args: args(1, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.readTopology(args[0])
			if err != nil {
				return err
			}
			if checkOnly {
				a.progress("%s: %d hosts, %d networks, %d ports, no errors", f.body.Name, len(f.Topology.Hosts), len(f.Topology.Networks), len(f.Topology.Ports))
				return nil
			}
			d, err := a.daemon(cmd)
			if err != nil {
				return err
			}
			defer d.Close()
			p, err := d.Plan(cmd.Context(), f.body)
			if err != nil {
				return locate(f.body.Name, d.explain(err))
			}
			if err := a.emit(p, func(t *tables, f format) { printPlan(t, f, p) }); err != nil {
				return err
			}
			if !p.Empty() {
				return statusError{status: exitDiffer}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&checkOnly, "check", false, "only check the file; speak to no controller")
	addOutputFlag(cmd)
	return cmd
}

func newApply(a *app) *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Make a topology file the whole desired state",
		Long: `Make a topology file the whole desired state: what is not in the file is removed.
Prints what was changed, then waits until every connected switch has confirmed it.
FILE - is standard input.`,
		Example: `  ofctl-lab apply configs/topologies/two-hosts.yaml
  ofctl-lab apply --wait 0 configs/topologies/two-hosts.yaml`,
		Args: args(1, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait < 0 || wait > 10*time.Minute {
				return usagef("--wait %s is not in 0s…10m", wait)
			}
			f, err := a.readTopology(args[0])
			if err != nil {
				return err
			}
			d, err := a.daemon(cmd)
			if err != nil {
				return err
			}
			defer d.Close()
			p, err := d.Apply(cmd.Context(), f.body)
			if err != nil {
				return locate(f.body.Name, d.explain(err))
			}
			if err := a.emit(p, func(t *tables, f format) { printPlan(t, f, p) }); err != nil {
				return err
			}
			if wait == 0 {
				return nil
			}
			w, err := d.Wait(cmd.Context(), p.Revision, wait)
			if err != nil {
				return d.explain(err)
			}
			return pending(w, wait)
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long to wait for the switches, 0s…10m; 0 does not wait")
	addOutputFlag(cmd)
	return cmd
}

// pending is nil when every host has confirmed the revision.
func pending(w *api.Wait, waited time.Duration) error {
	if w.Done {
		return nil
	}
	lines := make([]string, 0, len(w.Pending)+1)
	lines = append(lines, fmt.Sprintf("revision %d is stored, but after %s not every switch has confirmed it; the controller goes on trying", w.Revision, waited))
	for _, p := range w.Pending {
		lines = append(lines, fmt.Sprintf("host %s is at revision %d: %s", p.Host, p.Revision, p.Reason))
	}
	return fmt.Errorf("%s", strings.Join(lines, "\n"))
}

// locate marks an error whose first line already starts with the file's name.
func locate(file string, err error) error {
	if err != nil && strings.HasPrefix(err.Error(), file+":") {
		return located{err}
	}
	return err
}

func printPlan(t *tables, f format, p *api.Plan) {
	if p.Empty() {
		t.line("nothing to change (revision %d)", p.Revision)
		return
	}
	rows := make([][]string, 0, len(p.Changes))
	for _, c := range p.Changes {
		rows = append(rows, []string{string(c.Action), c.Kind, c.Name, strings.Join(c.Fields, ", ")})
	}
	t.table([]string{"ACTION", "KIND", "NAME", "FIELDS"}, rows)
	if len(p.Hosts) > 0 {
		t.gap()
		rows = rows[:0]
		heading := []string{"HOST", "CONNECTED", "FLOWS ADDED", "MODIFIED", "DELETED"}
		if f == formatWide {
			heading = append(heading, "GROUPS", "METERS")
		}
		for _, h := range p.Hosts {
			row := []string{h.Host, yesNo(h.Connected), strconv.Itoa(h.FlowsAdded), strconv.Itoa(h.FlowsModified), strconv.Itoa(h.FlowsDeleted)}
			if f == formatWide {
				row = append(row, strconv.Itoa(h.Groups), strconv.Itoa(h.Meters))
			}
			rows = append(rows, row)
		}
		t.table(heading, rows)
	}
	t.gap()
	if !p.Interrupted {
		t.line("no traffic is interrupted")
		return
	}
	for _, h := range p.Hosts {
		for _, i := range h.Interrupts {
			t.line("interrupts traffic on %s: %s", h.Host, i)
		}
	}
}
