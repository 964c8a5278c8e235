package openflow

import (
	"context"
	"sync"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
)

// outbox holds the batches that wait for the writer, in order and at most batchQueue of them.
//
// Packet-outs join the last batch while that is one of theirs and waits: a controller that
// answers many packet-ins writes as often as the writer gets round to it, not once for
// each.
type outbox struct {
	room chan struct{} // one in it for each batch that waits
	wake chan struct{} // of size one: something waits

	mu    sync.Mutex
	queue []outgoing
	spare []byte // for packet-outs
}

// outgoing is a batch of whole messages.
type outgoing struct {
	b    []byte
	open bool // of packet-outs, more of which may join it
}

func newOutbox() *outbox {
	return &outbox{room: make(chan struct{}, batchQueue), wake: make(chan struct{}, 1)}
}

// push puts in a batch for which there is room.
func (o *outbox) push(g outgoing) {
	o.mu.Lock()
	o.queue = append(o.queue, g)
	o.mu.Unlock()
	signal(o.wake)
}

// pop takes out the first batch, if there is one.
func (o *outbox) pop() (outgoing, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		return outgoing{}, false
	}
	g := o.queue[0]
	n := copy(o.queue, o.queue[1:])
	o.queue[n] = outgoing{}
	o.queue = o.queue[:n]
	<-o.room
	return g, true
}

func (o *outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.queue) == 0
}

// join encodes a packet-out into the last batch, if that is of packet-outs and not full.
// Whoever has put something else in afterwards finds it in the right order: what is not
// last is not joined.
func (o *outbox) join(xid uint32, m PacketOut) (joined bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.queue) - 1
	if n < 0 || !o.queue[n].open || len(o.queue[n].b) >= batchSize {
		return false, nil
	}
	g := &o.queue[n]
	g.b, err = ofp13.AppendPacketOut(g.b, xid, m)
	return true, err
}

// buffer is an empty one for packet-outs; it grows with them.
func (o *outbox) buffer() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.spare
	o.spare = nil
	return b[:0]
}

// reuse keeps the buffer of packet-outs that have been written.
func (o *outbox) reuse(b []byte) {
	if cap(b) > 2*batchSize {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if cap(b) > cap(o.spare) {
		o.spare = b
	}
}

// reserve waits until the outbox has room for one more batch.
func (c *Conn) reserve(ctx context.Context) error {
	select {
	case <-c.ctx.Done():
		return c.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	case c.out.room <- struct{}{}:
		return nil
	}
}

// send hands whole messages to the writer, waiting while it has enough to do.
// The buffer belongs to the writer afterwards.
func (c *Conn) send(ctx context.Context, b []byte) error {
	if err := c.reserve(ctx); err != nil {
		return err
	}
	c.out.push(outgoing{b: b})
	return nil
}

// trySend is send for what may as well not be sent, unless there is room at once.
func (c *Conn) trySend(b []byte) {
	select {
	case c.out.room <- struct{}{}:
		c.out.push(outgoing{b: b})
	default:
	}
}

// PacketOut sends a packet through the switch. It returns when the message is
// queued, and waits when much is; what the switch finds wrong with it goes to
// Options.OnError. Nothing of m is kept.
func (c *Conn) PacketOut(ctx context.Context, m PacketOut) error {
	if c.ctx.Err() != nil {
		return c.Err()
	}
	xid := c.xids(1)
	if joined, err := c.out.join(xid, m); joined {
		return err
	}
	b, err := ofp13.AppendPacketOut(c.out.buffer(), xid, m)
	if err == nil {
		err = c.reserve(ctx)
	}
	if err != nil {
		return err
	}
	c.out.push(outgoing{b, true})
	return nil
}

// signal notes in a channel of size one that there is something new.
func signal(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
