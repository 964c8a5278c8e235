package openflow

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
)

// events is the bounded queue between the reader, which alone adds, and the dispatcher,
// which alone takes. What the reader has found in one read of the connection it hands over
// at once, so that a flood of packet-ins costs a lock and a wake-up per read and not for
// each.
type events struct {
	limit uint64
	wake  chan struct{} // of size one: something waits

	// The reader's own.
	fresh []event // not handed over yet
	added uint64
	seen  uint64 // what taken was when the reader last looked

	taken atomic.Uint64 // by the dispatcher, whose callback may still be at the last one

	mu      sync.Mutex
	waiting []event
}

// event is a packet-in, or something rarer.
type event struct {
	packetIn PacketIn
	other    any // nil for a packet-in
}

func newEvents(limit int) *events { return &events{limit: uint64(limit), wake: make(chan struct{}, 1)} }

// add queues an event if fewer than the limit wait.
func (q *events) add(e event) bool {
	if q.added-q.seen >= q.limit {
		if q.seen = q.taken.Load(); q.added-q.seen >= q.limit {
			return false
		}
	}
	q.added++
	q.fresh = append(q.fresh, e)
	return true
}

// publish hands over what was added.
func (q *events) publish() {
	if len(q.fresh) == 0 {
		return
	}
	q.mu.Lock()
	if len(q.waiting) == 0 {
		q.waiting, q.fresh = q.fresh, q.waiting
	} else {
		q.waiting = append(q.waiting, q.fresh...)
		clear(q.fresh) // what they refer to is the dispatcher's now
	}
	q.mu.Unlock()
	q.fresh = q.fresh[:0]
	signal(q.wake)
}

// take returns all that waits, in the order in which it was added, and keeps done for
// later.
func (q *events) take(done []event) []event {
	q.mu.Lock()
	defer q.mu.Unlock()
	got := q.waiting
	q.waiting = done[:0]
	return got
}

// offer queues an event that may be lost.
func (c *Conn) offer(e event) {
	if !c.events.add(e) {
		c.dropped.Add(1)
	}
}

// must queues an event that may not be lost.
func (c *Conn) must(e any) error {
	if !c.events.add(event{other: e}) {
		return fmt.Errorf("%d events wait for a callback of the controller; starting over", c.events.limit)
	}
	return nil
}

// dispatch is the dispatcher.
func (c *Conn) dispatch() error {
	var batch []event
	var n uint64
	for {
		select {
		case <-c.ctx.Done():
			return nil
		case <-c.events.wake:
		}
		batch = c.events.take(batch)
		for i := range batch {
			if c.ctx.Err() != nil {
				return nil
			}
			n++
			c.events.taken.Store(n)
			c.call(&batch[i])
			batch[i] = event{} // it may have been large
		}
	}
}

// call calls the callback of an event.
func (c *Conn) call(e *event) {
	switch other := e.other.(type) {
	case nil:
		c.opts.OnPacketIn(e.packetIn)
	case PortStatus:
		call1(c.opts.OnPortStatus, other)
	case FlowRemoved:
		call1(c.opts.OnFlowRemoved, other)
	case RoleStatus:
		call1(c.opts.OnRoleStatus, other)
	case *ofp13.Error:
		call1(c.opts.OnError, other)
	}
}

func call1[T any](f func(T), v T) {
	if f != nil {
		f(v)
	}
}
