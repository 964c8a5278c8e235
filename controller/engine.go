package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/store"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// maxBatch bounds how many observations go into one commit.
const maxBatch = 1024

// engine owns the overlay. One goroutine (run) makes every Snapshot; everybody
// reads the newest through model.
type engine struct {
	store   *store.Store
	current atomic.Pointer[model]
	in      chan request
	// publish is called with each new model, in order, by the goroutine of run. It must not block.
	publish func(next *model, changes topo.Changes)
	// report is told about store trouble that no request carries.
	report func(error)
	// observe is told how long a commit took and how many requests it held.
	observe func(time.Duration, int)
}

// model is the newest overlay with what belongs to it but is no part of it.
type model struct {
	*topo.Snapshot
	// meta is what the newest topology file said beside its objects.
	meta store.Meta
	// programmed are the hosts whose switches have been given flows and may
	// still hold them.
	programmed map[string]bool
}

// mutation makes changes in a transaction. It may be called more than once, each
// time with a fresh Txn, and touches nothing else.
type mutation func(*topo.Txn) error

// request asks the engine for one commit.
type request struct {
	change mutation
	// desired is true for a change of what is stored: it is committed alone and
	// stored before it is published.
	desired bool
	// meta replaces the model's meta if it is not nil.
	meta *store.Meta
	// programmed adds (true) or removes (false) hosts.
	programmed map[string]bool
	done       chan outcome // capacity 1
}

// outcome is what became of a request.
type outcome struct {
	old, next *model
	changes   topo.Changes
	err       error
}

// errStopping is the answer to a request that comes too late.
var errStopping = errors.New("the controller is stopping")

func newEngine(st *store.Store, loaded store.State) (*engine, error) {
	snap, err := topo.Restore(loaded.Desired)
	if err != nil {
		return nil, fmt.Errorf("the stored topology is not valid: %w", err)
	}
	e := &engine{
		store:   st,
		in:      make(chan request, maxBatch),
		publish: func(*model, topo.Changes) {},
		report:  func(error) {},
		observe: func(time.Duration, int) {},
	}
	e.current.Store(&model{Snapshot: snap, meta: loaded.Meta, programmed: loaded.Programmed})
	return e, nil
}

// load is the newest model.
func (e *engine) load() *model { return e.current.Load() }

// do hands r to the engine and waits for the outcome or the end of ctx.
func (e *engine) do(ctx context.Context, r request) outcome {
	r.done = make(chan outcome, 1)
	select {
	case e.in <- r:
	case <-ctx.Done():
		return outcome{err: context.Cause(ctx)}
	}
	select {
	case o := <-r.done:
		return o
	case <-ctx.Done():
		return outcome{err: context.Cause(ctx)}
	}
}

// observed commits facts.
func (e *engine) observed(ctx context.Context, change mutation) outcome {
	return e.do(ctx, request{change: change})
}

// run serves requests until ctx ends.
func (e *engine) run(ctx context.Context) error {
	for {
		var first request
		select {
		case first = <-e.in:
		case <-ctx.Done():
			e.refuse()
			return nil
		}
		batch := []request{first}
	drain:
		for len(batch) < maxBatch {
			select {
			case r := <-e.in:
				batch = append(batch, r)
			default:
				break drain
			}
		}
		e.serve(batch)
	}
}

// refuse answers what is queued when the engine stops.
func (e *engine) refuse() {
	for {
		select {
		case r := <-e.in:
			r.done <- outcome{err: errStopping}
		default:
			return
		}
	}
}

// serve commits runs of observations together and each desired change alone,
// in the order in which they came.
func (e *engine) serve(batch []request) {
	for len(batch) > 0 {
		n := 0
		for n < len(batch) && !batch[n].desired {
			n++
		}
		if n == 0 {
			n = 1
		}
		started := time.Now()
		e.commit(batch[:n])
		e.observe(time.Since(started), n)
		batch = batch[n:]
	}
}

// commit tries rs as one commit and, if that fails, each alone: the mistake of
// one host must not keep the facts of the others out.
func (e *engine) commit(rs []request) {
	o := e.attempt(rs)
	if o.err != nil && len(rs) > 1 {
		for i := range rs {
			rs[i].done <- e.attempt(rs[i : i+1])
		}
		return
	}
	for _, r := range rs {
		r.done <- o
	}
}

// attempt makes one commit of rs, stores what is to be stored, and publishes.
func (e *engine) attempt(rs []request) outcome {
	old := e.load()
	txn := old.Begin()
	next := &model{meta: old.meta, programmed: old.programmed}
	desired := false
	for _, r := range rs {
		desired = desired || r.desired
		if r.change != nil {
			if err := r.change(txn); err != nil {
				return outcome{err: err}
			}
		}
		if r.meta != nil {
			next.meta = *r.meta
		}
		next.programmed = edited(next.programmed, r.programmed)
	}
	snap, changes, err := txn.Commit()
	if err != nil {
		return outcome{err: err}
	}
	next.Snapshot = snap
	if changes.Desired || !next.meta.Equal(old.meta) || !maps.Equal(next.programmed, old.programmed) {
		if err := e.store.Save(next.state()); err != nil {
			err = fmt.Errorf("%w: %w", errStore, err)
			if desired {
				return outcome{err: err}
			}
			// A fact is a fact whether it can be written down or not;
			// forwarding needs no store.
			e.report(err)
		}
	}
	e.current.Store(next)
	e.publish(next, changes)
	return outcome{old: old, next: next, changes: changes}
}

// errStore says that the store, not the request, is at fault.
var errStore = errors.New("the store could not be written, so it does not hold the newest state; the network goes on. Check the disk and the permissions of state-dir")

func (m *model) state() store.State {
	return store.State{Desired: m.Desired(), Meta: m.meta, Programmed: m.programmed}
}

// edited is set with edits applied; set itself is not changed.
func edited(set, edits map[string]bool) map[string]bool {
	changed := false
	for h, in := range edits {
		changed = changed || set[h] != in
	}
	if !changed {
		return set
	}
	out := make(map[string]bool, len(set)+len(edits))
	for h := range set {
		out[h] = true
	}
	for h, in := range edits {
		if in {
			out[h] = true
		} else {
			delete(out, h)
		}
	}
	return out
}
