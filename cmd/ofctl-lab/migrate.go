package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// migrateOptions are the flags of migrate.
type migrateOptions struct {
	to      string
	wait    bool
	abort   bool
	timeout time.Duration
}

func newMigrate(a *app) *cobra.Command {
	var o migrateOptions
	cmd := &cobra.Command{
		Use:   "migrate PORT --to HOST|any [--wait] | migrate PORT --abort",
		Short: "Let a port go over to another host, for a live migration of its guest",
		Long: `Let a port go over to another host, for a live migration of its guest.

From now on a second interface with the port's iface-id, on that host, is no conflict:
the host is prepared for the guest, and the port goes over to it when the guest sends
its first frame there. Until then nothing changes for the guest where it is. Whoever
migrates the guest (libvirt, Neutron, ofctl-lab lab move --live) attaches and
detaches the interfaces. With --wait the command follows that, and when the
interface that the guest has left is gone, it ends the permission.

--abort takes the permission back; the guest stays where it is.`,
		Example: `  ofctl-lab migrate red-b --to host1
  ofctl-lab migrate red-b --abort
  ofctl-lab migrate red-b --to any --wait --timeout 5s`,
		Args: args(1, 1, "PORT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.abort == (o.to != "") {
				return usagef("say where to with --to HOST, or --abort")
			}
			if o.wait && o.abort {
				return usagef("--wait is for --to: there is nothing to wait for after --abort")
			}
			d, err := a.daemon(cmd)
			if err != nil {
				return err
			}
			defer d.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
			defer cancel()
			if o.abort {
				return a.abortMigration(ctx, d, args[0])
			}
			return a.migrate(ctx, d, args[0], o)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&o.to, "to", "", "host to which the port may go over, or any")
	fl.BoolVar(&o.wait, "wait", false, "wait until the port has gone over and has left the other host")
	fl.BoolVar(&o.abort, "abort", false, "take the permission back")
	fl.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long all of it may take")
	return cmd
}

func (a *app) migrate(ctx context.Context, d *daemon, port string, o migrateOptions) error {
	p, err := d.port(ctx, port)
	if err != nil {
		return err
	}
	if err := isElsewhere(p, o.to); err != nil {
		return err
	}
	if p, err = d.allowMigration(ctx, port, o.to); err != nil {
		return err
	}
	if !o.wait {
		a.progress("port %s may migrate to %s", port, o.to)
		return nil
	}
	if p.Status.Host == "" {
		return fmt.Errorf("port %s is bound nowhere, so there is nothing to migrate; it may be plugged in on %s", port, o.to)
	}
	from, said := p.Status.Host, ""
	err = poll(ctx, func() (bool, string, error) {
		p, err := d.Port(ctx, port)
		if err != nil {
			return false, "", d.explain(err)
		}
		s := p.Status
		now := fmt.Sprintf("port %s is %s on %s", port, s.State, s.Host)
		if s.Message != "" {
			now += ": " + s.Message
		}
		if now != said {
			a.progress("%s", now)
			said = now
		}
		return s.State == api.StateUp && s.Host != from && (o.to == topo.AnyHost || s.Host == o.to), now, nil
	})
	if err != nil {
		return fmt.Errorf("port %s has not migrated: %w; it may still do so, unless you take that back with ofctl-lab migrate %s --abort", port, err, port)
	}
	if _, err := d.allowMigration(ctx, port, ""); err != nil {
		return err
	}
	a.progress("port %s has migrated from %s", port, from)
	return nil
}

// isElsewhere reports an error if the port is on the host to which it shall migrate.
func isElsewhere(p *api.Port, to string) error {
	switch s := p.Status; {
	case to == "" || s.Host != to:
		return nil
	case s.Standby != nil && s.Standby.Source:
		return fmt.Errorf("port %s has gone over to %s already; end it by detaching it from %s", p.Name, to, s.Standby.Host)
	default:
		return fmt.Errorf("port %s is on %s already; say another host, or any", p.Name, to)
	}
}

func (a *app) abortMigration(ctx context.Context, d *daemon, port string) error {
	p, err := d.port(ctx, port)
	if err != nil {
		return err
	}
	switch s := p.Status.Standby; {
	case p.MigrateTo == "":
		return fmt.Errorf("port %s is not being migrated", port)
	case s != nil && s.Source:
		return fmt.Errorf("port %s has gone over to %s already; end it by detaching it from %s, or migrate its guest back", port, p.Status.Host, s.Host)
	}
	if _, err := d.allowMigration(ctx, port, ""); err != nil {
		return err
	}
	a.progress("port %s may not migrate any more", port)
	if s := p.Status.Standby; s != nil {
		a.progress("it is still attached on %s too, which is a conflict now: detach interface %s there", s.Host, s.InterfaceName)
	}
	return nil
}

// port fetches a port; for a name that does not exist the error suggests one that does.
func (d *daemon) port(ctx context.Context, name string) (*api.Port, error) {
	o, err := d.object(ctx, kindPort, name)
	if err != nil {
		return nil, err
	}
	return o.(*api.Port), nil
}

// allowMigration declares to which host a port may go over, empty for none, and
// returns the port as it was.
func (d *daemon) allowMigration(ctx context.Context, name, to string) (*api.Port, error) {
	p, err := d.port(ctx, name)
	if err != nil || p.MigrateTo == to {
		return p, err
	}
	spec := p.PortSpec
	spec.MigrateTo = to
	if _, err := d.PutPort(ctx, spec); err != nil {
		return nil, d.explain(err)
	}
	return p, nil
}

// liveMove moves a port of the lab to another host while its guest runs.
func (a *app) liveMove(ctx context.Context, l *openedLab, port, host string) error {
	until := func(what string, ok func(api.PortStatus) bool) func(context.Context) error {
		return func(ctx context.Context) error {
			return poll(ctx, func() (bool, string, error) {
				p, err := l.Port(ctx, port)
				if err != nil {
					return false, "", l.explain(err)
				}
				return ok(p.Status), fmt.Sprintf("%s: port %s is %s on %s (%s)", what, port, p.Status.State, p.Status.Host, p.Status.Message), nil
			})
		}
	}
	away, err := l.m.Migrate(ctx, l.name, port, host, lab.Handover{
		Begin: func(ctx context.Context, note lab.Noting) error {
			return l.giveLeave(ctx, []string{port}, host, note)
		},
		Prepared: until(host+" is being prepared", func(s api.PortStatus) bool {
			return s.Standby != nil && s.Standby.Host == host && s.Standby.Ready
		}),
		Over: until("the guest has gone over", func(s api.PortStatus) bool { return s.Host == host }),
	})
	if err != nil {
		return err
	}
	a.progress("the guest of port %s went over in %s", port, away.Round(10*time.Microsecond))
	return a.plugged(ctx, l, port)
}
