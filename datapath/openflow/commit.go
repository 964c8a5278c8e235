package openflow

import (
	"context"
	"errors"
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// CommitError says which operation of a Commit failed and why.
type CommitError struct {
	Peer string
	Step int // index of the step
	Op   int // index of the operation within the step, -1 for the step as a whole
	Ops  int // how many operations the step has
	// What is the operation in words, with the flow, group or meter as text.
	What string
	// More is how many further operations the switch refused.
	More int
	// Atomic says that nothing of the step was done; otherwise other
	// operations of it may have been.
	Atomic bool
	// Err is an *ofp13.Error when the switch refused, and something else when
	// the message could not be made.
	Err error
}

func (e *CommitError) Error() string {
	s := fmt.Sprintf("openflow: %s: step %d", e.Peer, e.Step+1)
	if e.Op >= 0 {
		s += fmt.Sprintf(", operation %d of %d: %s", e.Op+1, e.Ops, e.What)
	}
	s += fmt.Sprintf(": %v", e.Err)
	if e.More > 0 {
		s += fmt.Sprintf(" (and %d more errors)", e.More)
	}
	if e.Atomic {
		s += "; nothing of the step was done"
	}
	return s
}

func (e *CommitError) Unwrap() error { return e.Err }

// Commit makes the switch do the steps, one after the other, and returns when
// the last of them has taken effect. An atomic step is one bundle, ordered and
// atomic; any other is a run of messages closed by a barrier. The first step
// that fails ends the Commit with a *CommitError.
//
// A step that would make Open vSwitch abort is refused as a whole, with ErrHazard.
//
// Commits on one Conn follow each other. Memory does not grow with the number
// of operations: a Commit waits for a switch that is slow to read. When the
// context ends first, a bundle is discarded and a plain step remains half done.
func (c *Conn) Commit(ctx context.Context, steps []flows.Step) error {
	select {
	case c.commit <- struct{}{}:
		defer func() { <-c.commit }()
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.ctx.Done():
		return c.Err()
	}
	for i, s := range steps {
		if len(s.Ops) == 0 {
			continue
		}
		run := c.plain
		if s.Atomic {
			run = c.bundle
		}
		err := hazard(s)
		if err == nil {
			err = run(ctx, s.Ops)
		}
		if ce, ok := errors.AsType[*CommitError](err); ok {
			ce.Peer, ce.Step = c.peer, i
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// appender makes the message for one operation.
type appender func(dst []byte, xid uint32, op flows.Op) ([]byte, error)

// stream encodes ops under consecutive xids from first on, behind what is in buf
// already, and hands full batches to the writer. It ends early when the track
// has seen an error. What it returns is the batch not yet sent.
func (c *Conn) stream(ctx context.Context, buf []byte, t *track, first uint32, ops []flows.Op, app appender) ([]byte, error) {
	for i := range ops {
		if len(buf) >= batchSize {
			if err := c.send(ctx, buf); err != nil {
				return nil, err
			}
			if t.failed.Load() {
				return c.batch(), nil
			}
			buf = c.batch()
		}
		var err error
		if buf, err = app(buf, first+uint32(i), ops[i]); err != nil {
			return buf, opError(ops, i, err)
		}
	}
	return buf, nil
}

// plain does ops as single messages and a barrier.
func (c *Conn) plain(ctx context.Context, ops []flows.Op) error {
	t := c.startTrack(len(ops))
	defer c.stopTrack(t)
	buf, encodeErr := c.stream(ctx, c.batch(), t, t.first, ops, ofp13.AppendOp)
	if buf == nil {
		return encodeErr
	}
	// Also after an operation that could not be encoded: those before it are
	// on their way, and their errors must not be taken for somebody else's.
	barrier := c.xids(1)
	buf, err := ofp13.AppendBarrierRequest(buf, barrier)
	if err != nil {
		return err
	}
	k := c.expect(barrier, ofp13.TypeBarrierReply)
	if err := c.send(ctx, buf); err != nil {
		c.forget(k)
		return err
	}
	if _, err := c.wait(ctx, k); err != nil {
		return err
	}
	if e, n := c.result(t); e != nil {
		return switchError(ops, int(e.XID-t.first), n, e)
	}
	return encodeErr
}

// bundle does ops as one atomic, ordered bundle. Errors about its messages are
// awaited before the commit, because Open vSwitch leaves a message it refused
// out of the bundle and would commit the rest.
func (c *Conn) bundle(ctx context.Context, ops []flows.Op) (err error) {
	t := c.startTrack(len(ops) + 1)
	defer c.stopTrack(t)
	id := t.first // unique among the bundles of this connection
	ctl := func(cmd ofp13.BundleCommand) func([]byte, uint32) ([]byte, error) {
		return func(b []byte, xid uint32) ([]byte, error) {
			return ofp13.AppendBundleControl(b, xid, ofp13.BundleControl{
				BundleID: id, Command: cmd, Flags: ofp13.BundleAtomic | ofp13.BundleOrdered,
			})
		}
	}
	buf, err := ctl(ofp13.BundleOpen)(c.batch(), t.first)
	if err != nil {
		return err
	}
	open := true // as far as we know
	defer func() {
		if err != nil {
			if open {
				c.discard(ctl(ofp13.BundleDiscard))
			}
			if ce, ok := errors.AsType[*CommitError](err); ok {
				ce.Atomic = true
			}
		}
	}()
	add := func(dst []byte, xid uint32, op flows.Op) ([]byte, error) {
		return ofp13.AppendBundleAdd(dst, xid, id, op)
	}
	if buf, err = c.stream(ctx, buf, t, t.first+1, ops, add); err != nil {
		return err
	}
	if err = c.send(ctx, buf); err != nil {
		return err
	}
	_, closeErr := c.roundTrip(ctx, ofp13.TypeExperimenter, ctl(ofp13.BundleClose))
	if e, n := c.result(t); e != nil {
		return switchError(ops, int(e.XID-t.first)-1, n, e)
	}
	if closeErr != nil {
		return bundleError(ops, "closing the bundle", closeErr)
	}
	open = false // a commit that fails discards, too
	committed, err := c.request(ctx, ofp13.TypeExperimenter, ctl(ofp13.BundleCommit))
	if err != nil {
		return err
	}
	barrier, err := c.request(ctx, ofp13.TypeBarrierReply, ofp13.AppendBarrierRequest)
	if err != nil {
		return err
	}
	_, commitErr := c.wait(ctx, committed)
	if _, err := c.wait(ctx, barrier); err != nil && commitErr == nil {
		return err
	}
	if e, n := c.result(t); e != nil {
		return switchError(ops, int(e.XID-t.first)-1, n, e)
	}
	return bundleError(ops, "committing the bundle", commitErr)
}

// discard tells the switch, if the writer has room, that the bundle is not
// coming. A bundle that the switch is not told about idles out by itself.
func (c *Conn) discard(build func([]byte, uint32) ([]byte, error)) {
	if b, err := build(nil, c.xids(1)); err == nil {
		c.trySend(b)
	}
}

// bundleError tells an error of the switch about a whole bundle from one of the
// session or the context, which is left as it is.
func bundleError(ops []flows.Op, doing string, err error) error {
	if e, ok := errors.AsType[*ofp13.Error](err); ok {
		return &CommitError{Op: -1, Ops: len(ops), Err: fmt.Errorf("%s: %w", doing, e)}
	}
	return err
}

// switchError is the error of operation i; i is out of range when the bundle as
// such was refused.
func switchError(ops []flows.Op, i, n int, e *ofp13.Error) error {
	if i < 0 || i >= len(ops) {
		return &CommitError{Op: -1, Ops: len(ops), More: n - 1, Err: fmt.Errorf("opening the bundle: %w", e)}
	}
	return &CommitError{Op: i, Ops: len(ops), What: describe(ops[i]), More: n - 1, Err: e}
}

func opError(ops []flows.Op, i int, err error) error {
	return &CommitError{Op: i, Ops: len(ops), What: describe(ops[i]), Err: err}
}

// describe is an operation in words.
func describe(op flows.Op) string {
	what := [...]string{
		flows.AddFlow: "add flow", flows.ModifyFlow: "modify flow", flows.DeleteFlow: "delete flow",
		flows.AddGroup: "add group", flows.ModifyGroup: "modify group", flows.DeleteGroup: "delete group",
		flows.AddMeter: "add meter", flows.ModifyMeter: "modify meter", flows.DeleteMeter: "delete meter",
	}
	s := fmt.Sprintf("operation of kind %d", op.Kind)
	if int(op.Kind) < len(what) && op.Kind > 0 {
		s = what[op.Kind]
	}
	switch {
	case op.Flow != nil:
		return fmt.Sprintf("%s %v", s, op.Flow)
	case op.Group != nil:
		return fmt.Sprintf("%s %v", s, op.Group)
	case op.Meter != nil:
		return fmt.Sprintf("%s %v", s, op.Meter)
	}
	return s
}
