package main

import (
	"context"
	"errors"
	"fmt"
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
is; migrate_to of its ports is then taken back by lab up, or by
ofctl-lab migrate PORT --abort.`,
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
	var declared []string
	done, err := l.m.MigrateMachine(ctx, l.name, guest, host, lab.MachineMigration{
		Begin: func(ctx context.Context) (err error) {
			declared, err = l.declareMigration(ctx, ports, host)
			return err
		},
		Arrived: func(ctx context.Context) error { return l.awaitStandby(ctx, ports, host) },
		End: func(ctx context.Context, err error) error {
			uctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), plugTimeout)
			defer cancel()
			if err == nil {
				err = l.awaitPortsOn(uctx, ports, host)
			}
			return errors.Join(err, l.endMigration(uctx, declared, host))
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

// declareMigration lets ports be on host besides where they are, and returns those
// for which that had to be declared.
func (l *openedLab) declareMigration(ctx context.Context, ports []string, host string) ([]string, error) {
	var declared []string
	for _, name := range ports {
		p, err := l.Port(ctx, name)
		if err != nil {
			return declared, l.explain(err)
		}
		switch p.MigrateTo {
		case "":
		case host, topo.AnyHost:
			continue // by the topology, for as long as that says so
		default:
			return declared, fmt.Errorf("port %s may migrate to %s, and not to %s: apply a topology without migrate_to for it, or run `ofctl-lab migrate %s --abort`", name, p.MigrateTo, host, name)
		}
		next := p.PortSpec
		next.MigrateTo = host
		declared = append(declared, name)
		if _, err := l.PutPort(ctx, next); err != nil {
			return declared, fmt.Errorf("port %s: declare its migration: %w", name, l.explain(err))
		}
	}
	return declared, nil
}

// endMigration takes back what declareMigration has declared, and nothing that was
// applied meanwhile.
func (l *openedLab) endMigration(ctx context.Context, declared []string, host string) error {
	var errs []error
	for _, name := range declared {
		p, err := l.Port(ctx, name)
		if notFound(err) {
			continue
		}
		if err == nil && p.MigrateTo == host {
			p.MigrateTo = ""
			_, err = l.PutPort(ctx, p.PortSpec)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("port %s: end its migration: %w", name, l.explain(err)))
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
