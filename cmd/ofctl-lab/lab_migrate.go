package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

func newLabMigrate(a *app) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "migrate GUEST HOST",
		Short: "Move a running virtual machine of the lab to another host",
		Long: `Move a running virtual machine of the lab to another host, live. Its ports appear there
first, and traffic goes over with its first frame there. If anything fails, it runs on
where it was.

One that is booting goes on with that on the other host; without KVM its kernel may panic
when it migrates in its first second, so wait until it is ready. A later lab up with a
file that gives the guest the same host as before leaves it where it has migrated to. If
this command is killed, the next that works on the lab's guests finds out where the guest
is, and takes back that its ports may migrate.`,
		Example: "  ofctl-lab lab migrate vm1 host2",
		Args:    args(2, 2, "GUEST HOST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.guestCommand(cmd, &timeout, func(ctx context.Context, m *lab.Manager, name string) error {
				l, err := a.openLab(cmd)
				if err != nil {
					return err
				}
				defer l.Close()
				return a.migrateGuest(ctx, l, args[0], args[1])
			})
		},
	}
	addTimeoutFlag(cmd, &timeout)
	return cmd
}

// migrateGuest declares the guest's ports as migrating, migrates it, and ends that:
// all of it under the lab's lock, so that two commands do not take each other's
// declaration for the topology's.
func (a *app) migrateGuest(ctx context.Context, l *openedLab, guest, host string) error {
	if err := l.hasHost(host); err != nil {
		return err
	}
	ports := l.guestPorts(guest)
	done, err := l.m.MigrateMachine(ctx, l.name, guest, host, lab.MachineMigration{
		Begin:   func(ctx context.Context, note lab.Noting) error { return l.declareMigration(ctx, ports, host, note) },
		Arrived: func(ctx context.Context) error { return l.awaitStandby(ctx, ports, host) },
		End: func(ctx context.Context, err error) error {
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), plugTimeout)
			defer cancel()
			return l.awaitPortsOn(ctx, ports, host)
		},
	})
	if err != nil {
		return err
	}
	a.progress("guest %s runs on %s; it ran nowhere for %d ms, of the %.1f s that it took to copy %d MiB",
		guest, host, done.Downtime.Milliseconds(), done.Total.Seconds(), done.Transferred>>20)
	return nil
}

func (l *openedLab) guestPorts(guest string) []string {
	var ports []string
	for _, v := range l.spec.Machines {
		if v.Name != guest {
			continue
		}
		for _, n := range v.NICs {
			ports = append(ports, n.Port)
		}
	}
	return ports
}

// declareMigration lets ports be on host besides where they are, unless the topology
// wants them on another.
func (d *daemon) declareMigration(ctx context.Context, ports []string, host string, note lab.Noting) error {
	for _, name := range ports {
		p, err := d.port(ctx, name)
		if err != nil {
			return err
		}
		if to := p.MigrateTo; to != "" && to != host && to != topo.AnyHost {
			return fmt.Errorf("port %s may migrate to %s, and not to %s: apply a topology without migrate_to for it, or run `ofctl-lab migrate %s --abort`", name, to, host, name)
		}
	}
	return d.giveLeave(ctx, ports, host, note)
}

// giveLeave declares that ports may migrate to host. Those for which that is not
// declared already are noted first.
func (d *daemon) giveLeave(ctx context.Context, ports []string, host string, note lab.Noting) error {
	leave := map[string]lab.Leave{}
	var next []api.PortSpec
	for _, name := range ports {
		p, err := d.port(ctx, name)
		if err != nil {
			return err
		}
		if p.MigrateTo == host || p.MigrateTo == topo.AnyHost {
			continue // by the topology, for as long as that says so
		}
		leave[p.Name] = lab.Leave{To: host, Was: p.MigrateTo}
		p.MigrateTo = host
		next = append(next, p.PortSpec)
	}
	if err := note(leave); err != nil {
		return err
	}
	for _, p := range next {
		if _, err := d.PutPort(ctx, p); err != nil {
			return fmt.Errorf("port %s: declare its migration: %w", p.Name, d.explain(err))
		}
	}
	return nil
}

// endMigrations takes back what giveLeave has declared, and nothing that was applied
// meanwhile.
func (d *daemon) endMigrations(ctx context.Context, leave map[string]lab.Leave) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(leave)) {
		p, err := d.Port(ctx, name)
		if notFound(err) {
			continue
		}
		if err == nil && p.MigrateTo == leave[name].To {
			p.MigrateTo = leave[name].Was
			_, err = d.PutPort(ctx, p.PortSpec)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("port %s: end its migration: %w", name, d.explain(err)))
		}
	}
	return errors.Join(errs...)
}

// awaitStandby waits until the ports' flows are on host as well. That a port may not
// be there any more is an error at once.
func (l *openedLab) awaitStandby(ctx context.Context, ports []string, host string) error {
	return l.awaitEach(ctx, ports, func(p *api.Port) (bool, string, error) {
		if p.MigrateTo != host && p.MigrateTo != topo.AnyHost {
			return false, "", fmt.Errorf("port %s: migrate_to is %q and no longer %s: another topology was applied meanwhile; migrate the guest again", p.Name, p.MigrateTo, host)
		}
		s := p.Status
		return s.Standby != nil && s.Standby.Host == host && s.Standby.Ready, "not ready on " + host, nil
	})
}

// awaitPortsOn waits until the ports' traffic goes to host.
func (l *openedLab) awaitPortsOn(ctx context.Context, ports []string, host string) error {
	return l.awaitEach(ctx, ports, func(p *api.Port) (bool, string, error) {
		return p.Status.Host == host && p.Status.State.Carries(), "not gone over to " + host + " with its traffic", nil
	})
}

// awaitEach waits until all of the ports are done. What a port still waits for is in
// words.
func (l *openedLab) awaitEach(ctx context.Context, ports []string, done func(*api.Port) (ok bool, waiting string, err error)) error {
	return poll(ctx, func() (bool, string, error) {
		for _, name := range ports {
			p, err := l.Port(ctx, name)
			if err != nil {
				return false, "", l.explain(err)
			}
			ok, why, err := done(p)
			if err != nil {
				return false, "", err
			}
			if !ok {
				return false, fmt.Sprintf("port %s is %s on %q and %s (%s)", name, p.Status.State, p.Status.Host, why, p.Status.Message), nil
			}
		}
		return true, "", nil
	})
}
