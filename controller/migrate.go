package controller

import (
	"context"
	"sync"
	"time"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

const (
	// firstHold is how long a port stays where it has been cut over to before frames
	// from where it came from can take it back. Each turn doubles it, up to maxHold.
	firstHold = time.Second
	maxHold   = time.Minute
	// tooManyTurns is how often a port changes hosts in one migration before that is
	// shown as a conflict: there once, and back if the migration failed, is none.
	tooManyTurns = 3
)

// migrations keeps two guests that send from one port's addresses from taking the
// port from each other at every frame. One goroutine (Controller.watchMigrations)
// writes it.
type migrations struct {
	bell bell
	mu   sync.Mutex
	// ports that have been cut over in a migration that is not over; guarded by mu.
	ports map[string]*turns
}

// turns is how a port's migration went so far.
type turns struct {
	count int
	// from is the claim that the port left last, and due when it is watched again.
	from topo.Binding
	due  time.Time
}

// of is how often the port has changed hosts in its migration.
func (m *migrations) of(port string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.ports[port]; t != nil {
		return t.count
	}
	return 0
}

// arrived puts the claim in effect to which a port is being migrated: its guest has
// sent a frame there, which spoof_guard has found to be the port's own.
func (c *Controller) arrived(ctx context.Context, h *host, in packetIn) {
	model := c.engine.load()
	_, port, ok := model.ObjectByID(topo.ID(in.cookie.Owner()))
	if !ok {
		return
	}
	// A frame that was under way while the port went over, or another number's.
	m, ok := model.Migration(port)
	if !ok || !m.Watched || m.Standby.Host != h.name || m.Standby.OFPort != in.inPort {
		return
	}
	o := c.engine.observed(ctx, func(t *topo.Txn) error { t.Activate(port, m.Standby); return nil })
	if o.err != nil {
		if ctx.Err() == nil {
			c.log.Error("a port could not be cut over", "port", port, "to", h.name, "err", o.err)
		}
		return
	}
	if b := o.next.Bindings(port); o.next != o.old && len(b) > 0 && b[0] == m.Standby {
		c.metrics.cutOvers.Inc()
		c.log.Info("port cut over", "port", port, "from", m.Active.Host, "to", h.name)
	}
}

// watchMigrations lets ports that were cut over go back, after a time that grows
// with every turn, until ctx ends.
func (c *Controller) watchMigrations(ctx context.Context) error {
	for {
		var due <-chan time.Time
		if next := c.holdMigrations(ctx, time.Now()); !next.IsZero() {
			due = time.After(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.migrations.bell:
		case <-due:
		}
	}
}

// holdMigrations counts the turns of what is being migrated and has those watched
// again whose time is over. It returns when the next one's is, zero if there is none.
func (c *Controller) holdMigrations(ctx context.Context, now time.Time) (next time.Time) {
	model := c.engine.load()
	watch := map[string]topo.Binding{}
	c.migrations.mu.Lock()
	before := c.migrations.ports
	c.migrations.ports = map[string]*turns{}
	for _, p := range model.Ports() {
		if p.MigrateTo == "" {
			continue
		}
		m, ok := model.Migration(p.Name)
		if !ok {
			continue // it is over; or it has not begun
		}
		t := before[p.Name]
		if t == nil {
			t = &turns{}
		}
		c.migrations.ports[p.Name] = t
		if m.Watched {
			continue
		}
		if m.Standby != t.from || t.due.IsZero() {
			t.count++
			t.from, t.due = m.Standby, now.Add(min(firstHold<<min(t.count-1, 10), maxHold))
			if t.count >= tooManyTurns {
				c.log.Warn("a port that is being migrated changes hosts again and again: both guests send", "port", p.Name,
					"host", m.Active.Host, "other", m.Standby.Host, "turns", t.count)
			}
		}
		switch {
		case !t.due.After(now):
			watch[p.Name] = m.Standby
		case next.IsZero() || t.due.Before(next):
			next = t.due
		}
	}
	c.migrations.mu.Unlock()
	if len(watch) == 0 {
		return next
	}
	o := c.engine.observed(ctx, func(t *topo.Txn) error {
		for port, b := range watch {
			t.Watch(port, b)
		}
		return nil
	})
	if o.err != nil && ctx.Err() == nil {
		c.log.Error("ports could not be watched for the return of their guests", "err", o.err)
		next = now.Add(firstHold)
	}
	return next
}

// recall notes, from what a switch held when the controller first met it, which
// ports were on standby there, so that a controller that was restarted in the middle
// of a migration goes on with the claims that were in effect; and which source MACs
// were learned at its ports.
func (w *worker) recall(ctx context.Context, held *flows.State) {
	select {
	case <-w.h.recalled: // since then the controller knows better
		return
	default:
	}
	defer func() {
		close(w.h.recalled)
		w.recalled()
	}()
	notRecalled(ctx, w.log, w.h.recollection.held(ctx, w.engine, w.h.name, held))
	var ports []topo.ID
	for f := range held.Flows() {
		if f.Cookie.Ours() && f.Cookie.Feature() == uint8(pipeline.FeatStandby) {
			ports = append(ports, topo.ID(f.Cookie.Owner()))
		}
	}
	if len(ports) == 0 {
		return
	}
	o := w.engine.observed(ctx, func(t *topo.Txn) error { t.Yielded(w.h.name, ports); return nil })
	if o.err != nil && ctx.Err() == nil {
		w.log.Error("what the switch held of migrations could not be noted", "err", o.err)
	}
}
