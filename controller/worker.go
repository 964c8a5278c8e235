package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

const (
	// commitTimeout bounds one commit or dump: a switch that needs longer is
	// taken as dead and asked to connect again.
	commitTimeout = 60 * time.Second
	// firstBackoff and maxBackoff bound the time between attempts to bring a
	// switch that refuses something up to date.
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 30 * time.Second
)

// worker makes the switch of one OpenFlow session hold what the newest model
// compiles to. It is one goroutine for the life of the session.
type worker struct {
	h       *host
	conn    *openflow.Conn
	engine  *engine
	settle  *settling
	metrics *metrics
	log     *slog.Logger
	audit   time.Duration
	// progress is called after every change of h.sync.
	progress func()
	// recalled is called when what the switch held at the start has been looked at.
	recalled func()
	// programming is called before the first commit to the host.
	programming func(context.Context, string)

	state syncState
	// want is what was compiled from state.confirmed, and have what the switch
	// holds as far as is known; nil when the switch has to be asked.
	want *flows.State
}

// run works until the session or ctx ends and returns why it ended.
func (w *worker) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { w.conn.Close() })
	defer stop()
	w.state = *w.h.sync.Load()
	w.state.connected, w.state.err, w.state.waiting = true, "", ""
	defer func() {
		w.state.connected, w.state.waiting = false, ""
		w.publish()
	}()
	if err := w.await(ctx); err != nil {
		return err
	}
	var audit <-chan time.Time
	if w.audit > 0 {
		t := time.NewTicker(w.audit)
		defer t.Stop()
		audit = t.C
	}
	retry := time.NewTimer(0) // connect is the first reason to synchronise
	defer retry.Stop()
	backoff := firstBackoff
	for {
		auditing := false
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.conn.Done():
			return w.conn.Err()
		case <-audit:
			auditing = true
		case <-w.h.audit:
			auditing = true
		case <-retry.C:
		case <-w.h.worker:
			if w.want == nil && w.state.err != "" {
				continue // backing off; the timer will bring the newest model
			}
		}
		err := w.step(ctx, auditing)
		switch {
		case err == nil:
			backoff = firstBackoff
		case ctx.Err() != nil, closed(w.conn):
			continue // the reason is found at the top of the loop
		case errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("the switch did not answer in %s: %w", commitTimeout, err)
		default:
			w.failed(err, backoff)
			retry.Reset(backoff)
			backoff = min(2*backoff, maxBackoff)
		}
	}
}

func closed(c *openflow.Conn) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// failed makes the next step ask the switch what it holds.
func (w *worker) failed(err error, backoff time.Duration) {
	w.want = nil
	w.metrics.syncErrors.WithLabelValues(w.h.name).Inc()
	if w.state.err != err.Error() {
		w.log.Error("switch could not be brought up to date", "err", err, "retry", backoff)
	}
	w.state.err = err.Error()
	w.publish()
}

// step brings the switch up to the newest model.
func (w *worker) step(ctx context.Context, auditing bool) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	switch {
	case w.want == nil, len(w.state.conflicts) > 0:
		// While flows of others are in the way, what the switch holds is not
		// what was sent: it has to be asked.
		return w.resync(ctx, false)
	case auditing:
		return w.resync(ctx, true)
	default:
		return w.follow(ctx)
	}
}

// follow commits what changed since the confirmed snapshot.
func (w *worker) follow(ctx context.Context) error {
	next := w.engine.load()
	if next.Snapshot == w.state.confirmed {
		return nil
	}
	started := time.Now()
	want, err := pipeline.Recompile(w.want, w.state.confirmed, next.Snapshot, w.h.name)
	if err != nil {
		return err
	}
	w.metrics.compileSeconds.Observe(time.Since(started).Seconds())
	return w.commit(ctx, next.Snapshot, want, flows.Diff(w.want, want))
}

// resync asks the switch what it holds and commits the difference. It is how a
// session starts, how an error is recovered from, and how an audit repairs.
func (w *worker) resync(ctx context.Context, auditing bool) error {
	dump, err := w.conn.Dump(ctx)
	if err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	have := dump.State()
	next := w.engine.load().Snapshot
	if auditing {
		// What is compared is what the switch should hold already; what is new
		// since comes after, as a change like any other.
		next = w.state.confirmed
		w.audited(flows.Diff(have, w.want).Len())
	}
	want, err := pipeline.Compile(next, w.h.name)
	if err != nil {
		return err
	}
	if auditing {
		w.recompiled(flows.Diff(w.want, want).Len())
	}
	w.programming(ctx, w.h.name)
	delta := flows.Diff(have, want)
	w.state.conflicts = append(describeConflicts(delta), describeUnreadable(dump)...)
	var opts []flows.PlanOption
	if empty(have) {
		opts = append(opts, flows.PlainAdditions())
	}
	if err := w.commit(ctx, next, want, delta, opts...); err != nil || !auditing {
		return err
	}
	return w.follow(ctx)
}

// audited notes how many entries of the switch were not as they had been left.
func (w *worker) audited(drift int) {
	w.metrics.audits.WithLabelValues(w.h.name).Inc()
	if drift == 0 {
		return
	}
	w.state.drift += uint64(drift)
	w.metrics.drift.WithLabelValues(w.h.name).Add(float64(drift))
	w.log.Warn("the switch was changed behind the controller's back; repairing", "entries", drift)
}

// recompiled notes how many entries a fresh compilation has otherwise than the
// ones that were kept from change to change. There must be none; if there are,
// the audit repairs them, and they are told apart from what others changed.
func (w *worker) recompiled(differ int) {
	if differ == 0 {
		return
	}
	w.metrics.stale.WithLabelValues(w.h.name).Add(float64(differ))
	w.log.Error("what was compiled change by change differs from a fresh compilation; repairing. This is a mistake of the controller: please report it", "entries", differ)
}

// commit sends delta and, when the switch has confirmed it, makes next the
// confirmed snapshot and want what the switch holds.
func (w *worker) commit(ctx context.Context, next *topo.Snapshot, want *flows.State, delta *flows.Delta, opts ...flows.PlanOption) error {
	started := time.Now()
	if delta.Len() > 0 {
		if err := w.conn.Commit(ctx, flows.Plan(delta, opts...)); err != nil {
			return err
		}
		w.metrics.commitSeconds.Observe(time.Since(started).Seconds())
		w.metrics.count(w.h.name, delta)
		w.log.Debug("committed", "revision", next.Revision(), "entries", delta.Len(), "took", time.Since(started))
	}
	w.want = want
	w.state.confirmed = next
	w.state.flows, w.state.groups, w.state.meters = want.NumFlows(), want.NumGroups(), want.NumMeters()
	w.state.at, w.state.err, w.state.waiting = time.Now(), "", ""
	w.publish()
	return nil
}

// describeConflicts names the flows of somebody else that are where one of ours should be.
func describeConflicts(d *flows.Delta) []string {
	var out []string
	for _, c := range d.Conflicts {
		if len(out) == 10 {
			return append(out, fmt.Sprintf("and %d more flows of others in the way", len(d.Conflicts)-10))
		}
		out = append(out, fmt.Sprintf("a flow of somebody else is where one of ours should be, and stays: %s; delete it with ovs-ofctl, or keep its writer off the bridge", c.Foreign))
	}
	return out
}

// describeUnreadable names the entries that look like ours and are not: nothing
// that this program writes is unreadable to it.
func describeUnreadable(d *openflow.Dump) []string {
	var out []string
	for _, u := range d.Unreadable {
		if len(out) == 10 {
			return append(out, fmt.Sprintf("and %d more entries that cannot be read", len(d.Unreadable)-10))
		}
		what := fmt.Sprintf("%s %d", u.Kind, u.ID)
		if u.Kind == "flow" {
			what = fmt.Sprintf("a flow in table %d with priority %d and our cookie %s", u.Table, u.Priority, u.Cookie)
		}
		out = append(out, fmt.Sprintf("%s was written by somebody else or by a newer version, and stays: %v; delete it with ovs-ofctl", what, u.Err))
	}
	return out
}

// publish makes the worker's state visible.
func (w *worker) publish() {
	s := w.state
	w.h.sync.Store(&s)
	w.progress()
}

// await returns when a switch that already forwards may be touched: the picture
// of all hosts is complete or the time for that is over, and this host itself has
// shown its ports in this run of the controller.
func (w *worker) await(ctx context.Context) error {
	dctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	dump, err := w.conn.Dump(dctx)
	if err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	w.recall(ctx, dump.State())
	if empty(dump.State()) {
		return nil
	}
	if err := w.waitFor(ctx, w.settle.done()); err != nil {
		return err
	}
	// Without the host's own picture every port on it would look unplugged, and
	// all of its flows go: for that there is no time limit.
	return w.waitFor(ctx, w.h.pictured)
}

// waitFor returns nil when ready is closed.
func (w *worker) waitFor(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	default:
	}
	if w.state.waiting == "" {
		w.state.waiting = "the switch forwards already and stays as it is until a topology is applied, the host has shown its ports over OVSDB, and all others have too or the settle time is over"
		w.publish()
		w.log.Info("the switch forwards already; waiting for the picture of all hosts")
	}
	select {
	case <-ready:
	case <-w.conn.Done():
		return w.conn.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

func empty(s *flows.State) bool { return s.NumFlows()+s.NumGroups()+s.NumMeters() == 0 }
