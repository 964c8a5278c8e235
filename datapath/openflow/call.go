package openflow

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
)

// call is a request that waits for its reply. The reader fills parts and done
// under Conn.mu and never waits; the caller empties parts.
type call struct {
	xid  uint32
	want ofp13.MsgType
	room int // bytes the reply may still have

	parts [][]byte
	done  bool
	err   error
	wake  chan struct{} // of size one: there is something new
}

// track collects the errors about a run of messages with consecutive xids that
// have no reply of their own when all is well.
type track struct {
	first, n uint32
	failed   atomic.Bool
	err      *ofp13.Error // the one with the lowest xid
	errors   int
}

// xids reserves n consecutive xids and returns the first. Zero is left out:
// Open vSwitch uses it for messages of its own.
func (c *Conn) xids(n int) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nextXID == 0 || c.nextXID > math.MaxUint32-uint32(n) {
		c.nextXID = 1
	}
	x := c.nextXID
	c.nextXID += uint32(n)
	return x
}

// expect registers a request before it is sent.
func (c *Conn) expect(xid uint32, want ofp13.MsgType) *call {
	k := &call{xid: xid, want: want, room: c.opts.MaxReplyBytes, wake: make(chan struct{}, 1)}
	c.mu.Lock()
	c.calls[xid] = k
	c.mu.Unlock()
	return k
}

// forget makes later replies to the request be ignored.
func (c *Conn) forget(k *call) {
	c.mu.Lock()
	delete(c.calls, k.xid)
	c.mu.Unlock()
}

// deliver hands a reply to the request it belongs to; a reply that nobody waits
// for is ignored.
func (c *Conn) deliver(h ofp13.Header, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.calls[h.XID]
	if k == nil || k.done {
		return
	}
	more := false
	switch k.room -= len(b); {
	case h.Type != k.want:
		k.err = fmt.Errorf("the switch answered with %v where %v belongs", h.Type, k.want)
	case k.room < 0:
		k.err = fmt.Errorf("the reply exceeds %d bytes; a larger Options.MaxReplyBytes allows more", c.opts.MaxReplyBytes)
	case h.Type == ofp13.TypeMultipartReply:
		var m ofp13.Multipart
		if m, k.err = ofp13.DecodeMultipart(b, h.Type); k.err == nil {
			k.parts = append(k.parts, m.Body)
			more = m.More
		}
	default:
		k.parts = append(k.parts, b)
	}
	if k.err != nil || !more {
		k.done = true
		delete(c.calls, h.XID)
	}
	k.signal()
}

// deliverError hands an error to whoever it belongs to.
func (c *Conn) deliverError(e *ofp13.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.calls[e.XID]; k != nil {
		k.err, k.done = e, true
		delete(c.calls, e.XID)
		k.signal()
		return
	}
	for _, t := range c.tracks {
		if e.XID-t.first < t.n {
			if t.errors++; t.err == nil || e.XID < t.err.XID {
				t.err = e
			}
			t.failed.Store(true)
			return
		}
	}
	if c.opts.OnError != nil {
		c.offer(event{other: e})
	}
}

func (k *call) signal() { signal(k.wake) }

// next waits for more of the reply. It returns what has come since the last time
// and whether that was all.
func (c *Conn) next(ctx context.Context, k *call) (parts [][]byte, done bool, err error) {
	select {
	case <-k.wake:
	case <-c.ctx.Done():
		c.forget(k)
		return nil, true, c.Err()
	case <-ctx.Done():
		c.forget(k)
		return nil, true, context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	parts, k.parts = k.parts, nil
	return parts, k.done, k.err
}

// wait waits for a reply that is a single message.
func (c *Conn) wait(ctx context.Context, k *call) ([]byte, error) {
	parts, _, err := c.next(ctx, k)
	if err != nil {
		return nil, err
	}
	return parts[0], nil
}

// roundTrip sends a request and waits for its reply, one message of type want.
func (c *Conn) roundTrip(ctx context.Context, want ofp13.MsgType, build func([]byte, uint32) ([]byte, error)) ([]byte, error) {
	k, err := c.request(ctx, want, build)
	if err != nil {
		return nil, err
	}
	return c.wait(ctx, k)
}

// request sends a request without waiting for its reply.
func (c *Conn) request(ctx context.Context, want ofp13.MsgType, build func([]byte, uint32) ([]byte, error)) (*call, error) {
	xid := c.xids(1)
	b, err := build(nil, xid)
	if err != nil {
		return nil, err
	}
	k := c.expect(xid, want)
	if err := c.send(ctx, b); err != nil {
		c.forget(k)
		return nil, err
	}
	return k, nil
}

// startTrack reserves n xids and collects the errors about them.
func (c *Conn) startTrack(n int) *track {
	t := &track{first: c.xids(n), n: uint32(n)}
	c.mu.Lock()
	c.tracks = append(c.tracks, t)
	c.mu.Unlock()
	return t
}

func (c *Conn) stopTrack(t *track) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.tracks {
		if c.tracks[i] == t {
			c.tracks = append(c.tracks[:i], c.tracks[i+1:]...)
			return
		}
	}
}

// result is the first error of the track and how many there were.
func (c *Conn) result(t *track) (*ofp13.Error, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return t.err, t.errors
}

// Barrier waits until the switch has processed everything sent before.
func (c *Conn) Barrier(ctx context.Context) error {
	_, err := c.roundTrip(ctx, ofp13.TypeBarrierReply, ofp13.AppendBarrierRequest)
	return err
}

// Echo waits for the switch to answer an echo request.
func (c *Conn) Echo(ctx context.Context) error {
	_, err := c.roundTrip(ctx, ofp13.TypeEchoReply, func(b []byte, xid uint32) ([]byte, error) {
		return ofp13.AppendEchoRequest(b, xid, nil)
	})
	return err
}

// SetRole asks for a role. The generation orders the elections of a master; the
// switch refuses a stale one with an *ofp13.Error (OFPRRFC_STALE). It returns the
// role and the generation the switch answers with.
func (c *Conn) SetRole(ctx context.Context, r Role, generation uint64) (Role, uint64, error) {
	b, err := c.roundTrip(ctx, ofp13.TypeRoleReply, func(b []byte, xid uint32) ([]byte, error) {
		return ofp13.AppendRole(b, ofp13.TypeRoleRequest, xid, ofp13.RoleMessage{Role: r, Generation: generation})
	})
	if err != nil {
		return 0, 0, fmt.Errorf("openflow: %s: role %v, generation %d: %w", c.peer, r, generation, err)
	}
	m, err := ofp13.DecodeRole(b, ofp13.TypeRoleReply)
	return m.Role, m.Generation, err
}

// SetAsync says which asynchronous messages the switch sends on this connection.
func (c *Conn) SetAsync(ctx context.Context, a ofp13.AsyncConfig) error {
	b, err := ofp13.AppendSetAsync(nil, c.xids(1), a)
	if err != nil {
		return err
	}
	return c.send(ctx, b)
}
