package overlay

import (
	"context"
	"fmt"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Migrate moves the guest of a port to another host while it runs, and returns for how
// long the guest had no interface. h says what whoever controls the lab is waited for.
func (l *Lab) Migrate(ctx context.Context, p Port, host string, h lab.Handover) (time.Duration, error) {
	return l.labs.Migrate(ctx, l.name, p.Name(), host, h)
}

// AllowMigration lets a port go over to any host.
func (o *Overlay) AllowMigration(ctx context.Context, p Port) error {
	got, err := o.api.Port(ctx, p.Name())
	if err != nil {
		return err
	}
	got.MigrateTo = topo.AnyHost
	_, err = o.api.PutPort(ctx, got.PortSpec)
	return err
}

// Handover is what a port that goes over to a host waits for: that it is prepared there,
// and that its traffic has come over.
func (o *Overlay) Handover(p Port, host string) lab.Handover {
	until := func(ok func(api.PortStatus) bool) func(context.Context) error {
		return func(ctx context.Context) error {
			return poll(ctx, func() (string, error) {
				got, err := o.api.Port(ctx, p.Name())
				if err != nil || ok(got.Status) {
					return "", err
				}
				return fmt.Sprintf("port %s is %s on %s: %s", p.Name(), got.Status.State, got.Status.Host, got.Status.Message), nil
			})
		}
	}
	return lab.Handover{
		Prepared: until(func(s api.PortStatus) bool { return s.Standby != nil && s.Standby.Host == host && s.Standby.Ready }),
		Over:     until(func(s api.PortStatus) bool { return s.Host == host }),
	}
}
