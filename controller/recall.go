package controller

import (
	"context"
	"log/slog"
	"sync"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// recollection is what a host's switch let through of learned MACs when the
// controller first met it. It gives the overlay back what it had learned before the
// controller was started, so that the flows can stay.
//
// A host is believed about the ports in effect on it, and about no others, so it
// takes both what the switch held, which the worker reads, and what is bound there,
// which the binder commits. Whichever comes second has it learned.
type recollection struct {
	mu    sync.Mutex
	bound bool            // the host's first bindings are committed; guarded by mu
	seen  []topo.Sighting // of what the switch held; guarded by mu
}

// held takes note of what the switch held. When it returns after placed has been
// called, that is learned.
func (r *recollection) held(ctx context.Context, e *engine, host string, s *flows.State) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for f := range s.Flows() {
		if row, ok := pipeline.Learned(f); ok && row.Source {
			r.seen = append(r.seen, topo.Sighting{Network: row.Network, MAC: row.MAC, Port: row.Port, Host: host})
		}
	}
	return r.learn(ctx, e)
}

// placed says that the host's first bindings are committed. When it returns after
// held has been called, what the switch held is learned.
func (r *recollection) placed(ctx context.Context, e *engine) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bound = true
	return r.learn(ctx, e)
}

// learn has the overlay recall what there is, once. The caller holds r.mu.
func (r *recollection) learn(ctx context.Context, e *engine) error {
	if !r.bound || len(r.seen) == 0 {
		return nil
	}
	seen := r.seen
	r.seen = nil
	return e.observed(ctx, func(t *topo.Txn) error {
		for _, s := range seen {
			t.Recall(s)
		}
		return nil
	}).err
}

// notRecalled says why what was learned is not known any more.
func notRecalled(ctx context.Context, log *slog.Logger, err error) {
	if err != nil && ctx.Err() == nil {
		log.Error("learned source MACs could not be recalled; they are learned again", "err", err)
	}
}
