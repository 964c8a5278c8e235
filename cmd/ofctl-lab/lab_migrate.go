package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

func newLabMigrate(a *app) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "migrate GUEST HOST",
		Short: "Move a running virtual machine of the lab to another host",
		Long: `Move a running virtual machine of the lab to another host, live. Its ports appear there
first, and traffic goes over with its first frame there. If anything fails, it runs on
where it was.`,
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

// migrateGuest declares the guest's ports as migrating, migrates it, and ends that.
func (a *app) migrateGuest(ctx context.Context, l *openedLab, guest, host string) error {
	if err := l.hasHost(host); err != nil {
		return err
	}
	ports := l.guestPorts(guest)
	declared, err := l.declareMigration(ctx, ports, host)
	if err == nil {
		err = l.migrate(ctx, a, guest, host)
	}
	uctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), plugTimeout)
	defer cancel()
	if err == nil {
		err = l.awaitPortsOn(uctx, ports, host)
	}
	// As they were declared before.
	for _, p := range declared {
		if _, perr := l.PutPort(uctx, p); perr != nil {
			err = errors.Join(err, fmt.Errorf("port %s: end its migration: %w", p.Name, l.explain(perr)))
		}
	}
	return err
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

// declareMigration lets ports be on host besides where they are, and returns
// those for which that had to be declared, as they were.
func (l *openedLab) declareMigration(ctx context.Context, ports []string, host string) ([]api.PortSpec, error) {
	var declared []api.PortSpec
	for _, name := range ports {
		p, err := l.Port(ctx, name)
		if err != nil {
			return declared, l.explain(err)
		}
		if p.MigrateTo != "" {
			continue // by the topology, for as long as that says so
		}
		next := p.PortSpec
		next.MigrateTo = host
		declared = append(declared, p.PortSpec)
		if _, err := l.PutPort(ctx, next); err != nil {
			return declared, fmt.Errorf("port %s: declare its migration: %w", name, l.explain(err))
		}
	}
	return declared, nil
}

// migrate migrates the guest, and says how long it ran nowhere.
func (l *openedLab) migrate(ctx context.Context, a *app, guest, host string) error {
	ports := l.guestPorts(guest)
	done, err := l.m.MigrateMachine(ctx, l.name, guest, host, func(ctx context.Context) error {
		return l.awaitStandby(ctx, ports, host)
	})
	if err != nil {
		return err
	}
	a.progress("guest %s runs on %s; it ran nowhere for %d ms, of the %.1f s that it took to copy %d MiB",
		guest, host, done.Downtime.Milliseconds(), done.Total.Seconds(), done.Transferred>>20)
	return nil
}

// awaitStandby waits until the ports' flows are on host as well.
func (l *openedLab) awaitStandby(ctx context.Context, ports []string, host string) error {
	return l.awaitEach(ctx, ports, func(s api.PortStatus) (bool, string) {
		return s.Standby != nil && s.Standby.Host == host && s.Standby.Ready, "not ready on " + host
	})
}

// awaitPortsOn waits until the ports' traffic goes to host.
func (l *openedLab) awaitPortsOn(ctx context.Context, ports []string, host string) error {
	return l.awaitEach(ctx, ports, func(s api.PortStatus) (bool, string) {
		return s.Host == host && s.State.Carries(), "not gone over to " + host + " with its traffic"
	})
}

func (l *openedLab) awaitEach(ctx context.Context, ports []string, done func(api.PortStatus) (bool, string)) error {
	return poll(ctx, func() (bool, string, error) {
		for _, name := range ports {
			p, err := l.Port(ctx, name)
			if err != nil {
				return false, "", l.explain(err)
			}
			if ok, why := done(p.Status); !ok {
				return false, fmt.Sprintf("port %s is %s on %q and %s (%s)", name, p.Status.State, p.Status.Host, why, p.Status.Message), nil
			}
		}
		return true, "", nil
	})
}
