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
	fresh *batch // not handed over yet
	added uint64
	seen  uint64 // what taken was when the reader last looked

	taken atomic.Uint64 // by the dispatcher, whose callback may still be at the last one

	mu      sync.Mutex
	waiting []*batch
	done    []*batch // to be used again
}

// batch is a run of events, and the memory of its packet-ins.
type batch struct {
	events  []event
	decoder ofp13.PacketInDecoder
}

// event is a packet-in, or something rarer.
type event struct {
	packetIn PacketIn
	other    any // nil for a packet-in
}

// maxDone is how many batches wait to be used again, beside the one that the reader fills and the
// one that the dispatcher is at.
const maxDone = 1

func newEvents(limit int) *events {
	return &events{limit: uint64(limit), wake: make(chan struct{}, 1), fresh: &batch{}}
}

// room reports whether fewer events than the limit wait.
func (q *events) room() bool {
	if q.added-q.seen < q.limit {
		return true
	}
	q.seen = q.taken.Load()
	return q.added-q.seen < q.limit
}

// add queues an event if there is room.
func (q *events) add(e event) bool {
	if !q.room() {
		return false
	}
	q.added++
	q.fresh.events = append(q.fresh.events, e)
	return true
}

// addPacketIn queues the packet-in in b if there is room.
func (q *events) addPacketIn(b []byte) (bool, error) {
	if !q.room() {
		return false, nil
	}
	in, err := q.fresh.decoder.Decode(b)
	if err != nil {
		return false, err
	}
	return q.add(event{packetIn: in}), nil
}

// publish hands over what was added.
func (q *events) publish() {
	if len(q.fresh.events) == 0 {
		return
	}
	q.mu.Lock()
	q.waiting = append(q.waiting, q.fresh)
	q.fresh = nil
	if n := len(q.done); n > 0 {
		q.fresh, q.done = q.done[n-1], q.done[:n-1]
	}
	q.mu.Unlock()
	if q.fresh == nil {
		q.fresh = &batch{}
	}
	signal(q.wake)
}

// take returns the batch that has waited for longest, if there is one.
func (q *events) take() *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return nil
	}
	b := q.waiting[0]
	n := copy(q.waiting, q.waiting[1:])
	q.waiting[n] = nil
	q.waiting = q.waiting[:n]
	return b
}

// reuse takes back a batch of which nothing is used any more.
func (q *events) reuse(b *batch) {
	clear(b.events)
	b.events = b.events[:0]
	b.decoder.Reset()
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.done) < maxDone {
		q.done = append(q.done, b)
	}
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
	var n uint64
	for {
		select {
		case <-c.ctx.Done():
			return nil
		case <-c.events.wake:
		}
		for b := c.events.take(); b != nil; b = c.events.take() {
			for i := range b.events {
				if c.ctx.Err() != nil {
					return nil
				}
				n++
				c.events.taken.Store(n)
				c.call(&b.events[i])
			}
			c.events.reuse(b)
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
