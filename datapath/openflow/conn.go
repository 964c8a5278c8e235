package openflow

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ofctl-lab/ofctl-lab/datapath/closed"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
)

// The ends of a Conn that callers tell apart.
var (
	// ErrClosed is the error of a Conn that Close ended.
	ErrClosed = errors.New("openflow: session closed")
	// ErrPeerClosed is the error of a Conn whose switch has closed the connection, whether
	// a read or a write has found out. It wraps the cause.
	ErrPeerClosed = errors.New("the switch closed the connection")
)

const (
	// batchSize is how many bytes of messages go to the writer at once. Larger
	// ones gain nothing; with batchQueue they bound what waits for a slow switch.
	batchSize  = 64 << 10
	batchQueue = 4
	// urgentQueue holds echoes. A peer has at most one or two under way.
	urgentQueue = 16
)

// Conn is a session with one bridge. All methods may be called concurrently.
type Conn struct {
	nc       net.Conn
	br       *bufio.Reader
	peer     string
	opts     Options
	features ofp13.Features

	ctx    context.Context // ends with the session, its cause is why
	cancel context.CancelCauseFunc
	group  errgroup.Group

	out    *outbox       // batches of whole messages, for the writer
	urgent chan []byte   // echoes, which overtake batches
	free   chan []byte   // batches to be used again
	events *events       // for the dispatcher
	commit chan struct{} // of size one: held by the Commit under way

	heard   atomic.Int64 // when the last whole message came, ns since start
	start   time.Time
	dropped atomic.Uint64

	mu      sync.Mutex
	nextXID uint32
	calls   map[uint32]*call
	tracks  []*track
}

// DatapathID is the bridge's datapath id.
func (c *Conn) DatapathID() uint64 { return c.features.DatapathID }

// Tables is how many flow tables the bridge has.
func (c *Conn) Tables() int { return int(c.features.Tables) }

// Peer is the address of the other end, for messages to humans.
func (c *Conn) Peer() string { return c.peer }

// Done is closed when the session is over.
func (c *Conn) Done() <-chan struct{} { return c.ctx.Done() }

// Err is nil while the session lasts and afterwards says why it ended: ErrClosed
// after Close, otherwise an error that names the peer, which is ErrPeerClosed if that has
// closed the connection.
func (c *Conn) Err() error { return context.Cause(c.ctx) }

// DroppedEvents is how many packet-ins and flow-removed messages were dropped
// because callbacks were too slow for them.
func (c *Conn) DroppedEvents() uint64 { return c.dropped.Load() }

// Close ends the session and waits for its goroutines. It always returns nil.
func (c *Conn) Close() error {
	c.cancel(ErrClosed)
	c.group.Wait() //nolint:errcheck // the goroutines report by c.fail
	return nil
}

// fail ends the session; the first reason given is the one that counts.
func (c *Conn) fail(err error) { c.cancel(fmt.Errorf("openflow: %s: %w", c.peer, err)) }

// run starts the goroutines.
func (c *Conn) run() {
	context.AfterFunc(c.ctx, func() { c.nc.Close() })
	for _, f := range []func() error{c.read, c.write, c.keepAlive, c.dispatch} {
		c.group.Go(func() error {
			if err := f(); err != nil {
				c.fail(err)
			}
			return nil
		})
	}
}

// readMessage reads one message. Its version is not looked at.
func readMessage(r io.Reader) (ofp13.Header, []byte, error) {
	var head [ofp13.HeaderLen]byte
	if n, err := io.ReadFull(r, head[:]); err != nil {
		if n > 0 && errors.Is(err, io.ErrUnexpectedEOF) {
			return ofp13.Header{}, head[:n], fmt.Errorf("%w: closed %d bytes into a header: %w", ErrPeerClosed, n, err)
		}
		return ofp13.Header{}, head[:n], closed.As(ErrPeerClosed, err)
	}
	h, err := ofp13.ParseHeader(head[:])
	if err != nil {
		return h, head[:], err
	}
	b := make([]byte, h.Length)
	copy(b, head[:])
	if n, err := io.ReadFull(r, b[ofp13.HeaderLen:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: closed %d bytes into %v of %d bytes: %w", ErrPeerClosed, ofp13.HeaderLen+n, h.Type, h.Length, err)
		}
		return h, b[:ofp13.HeaderLen+n], closed.As(ErrPeerClosed, err)
	}
	return h, b, nil
}

// read is the reader.
func (c *Conn) read() error {
	for {
		waited := c.fill()
		n, err := c.takePacketIns()
		if err != nil {
			return err
		}
		if n > 0 {
			c.noteHeard(waited)
			continue
		}
		h, b, err := readMessage(c.br)
		if err != nil {
			return err
		}
		if h.Version != ofp13.Version {
			return fmt.Errorf("%v of version 0x%02x after OpenFlow 1.3 was negotiated", h.Type, h.Version)
		}
		c.noteHeard(waited)
		if err := c.handle(h, b); err != nil {
			return err
		}
	}
}

// fill waits until the next message is whole in the buffer, and reports whether it had to. What is
// wrong with the connection it leaves for readMessage to find and say.
func (c *Conn) fill() (waited bool) {
	for n := ofp13.HeaderLen; ; {
		waits := c.br.Buffered() < n
		if waits {
			c.events.publish()
			waited = true
		}
		head, err := c.br.Peek(n)
		length := 0
		if err == nil {
			length = int(binary.BigEndian.Uint16(head[2:]))
		}
		if length <= n {
			return waited
		}
		n = length
	}
}

// noteHeard notes when the last whole message came; one that did not have to be waited
// for came with the one before.
func (c *Conn) noteHeard(waited bool) {
	if waited {
		c.heard.Store(int64(time.Since(c.start)))
	}
}

// takePacketIns takes the packet-ins that are whole in the buffer, up to the first message of
// another kind, without making copies of messages: there may be a million in a second.
func (c *Conn) takePacketIns() (n int, err error) {
	all, _ := c.br.Peek(c.br.Buffered()) // no more than there is
	rest := all
	for len(rest) >= ofp13.HeaderLen && rest[0] == ofp13.Version && ofp13.MsgType(rest[1]) == ofp13.TypePacketIn {
		length := int(binary.BigEndian.Uint16(rest[2:]))
		if length < ofp13.HeaderLen || length > len(rest) {
			break
		}
		if c.opts.OnPacketIn != nil {
			ok, err := c.events.addPacketIn(rest[:length])
			if err != nil {
				return n, err
			}
			if !ok {
				c.dropped.Add(1)
			}
		}
		rest = rest[length:]
		n++
	}
	_, err = c.br.Discard(len(all) - len(rest))
	return n, err
}

// handle deals with one message without ever waiting. An error ends the session.
func (c *Conn) handle(h ofp13.Header, b []byte) error {
	switch h.Type {
	case ofp13.TypeEchoRequest:
		reply, err := ofp13.AppendEchoReply(nil, b)
		if err != nil {
			return err
		}
		select {
		case c.urgent <- reply:
			return nil
		default:
			return errors.New("the switch sends echo requests and does not read the replies")
		}
	case ofp13.TypeError:
		e, err := ofp13.DecodeError(b)
		if err != nil {
			return err
		}
		c.deliverError(e)
	case ofp13.TypeFlowRemoved:
		if c.opts.OnFlowRemoved == nil {
			return nil
		}
		// One with a match we cannot read is a foreign flow's.
		if r, err := ofp13.DecodeFlowRemoved(b); err == nil {
			c.offer(event{other: r})
		}
	case ofp13.TypePortStatus:
		s, err := ofp13.DecodePortStatus(b)
		if err != nil {
			return err
		}
		return c.must(s)
	case ofp13.TypeExperimenter:
		e, err := ofp13.DecodeExperimenter(b)
		if err != nil {
			return err
		}
		if s, ok := e.RoleStatus(); ok {
			return c.must(s)
		}
		c.deliver(h, b)
	default:
		c.deliver(h, b)
	}
	return nil
}

// write is the writer.
func (c *Conn) write() error {
	bw := bufio.NewWriterSize(c.nc, batchSize)
	for {
		g, ok := c.toWrite()
		if !ok {
			return nil
		}
		if _, err := bw.Write(g.b); err != nil {
			return closed.As(ErrPeerClosed, err)
		}
		c.recycle(g)
		if len(c.urgent) == 0 && c.out.empty() {
			if err := bw.Flush(); err != nil {
				return closed.As(ErrPeerClosed, err)
			}
		}
	}
}

// toWrite waits for what is to be written next; echoes come first. It is false when the session has
// ended.
func (c *Conn) toWrite() (outgoing, bool) {
	for {
		select {
		case b := <-c.urgent:
			return outgoing{b: b}, true
		default:
		}
		if g, ok := c.out.pop(); ok {
			return g, true
		}
		select {
		case <-c.ctx.Done():
			return outgoing{}, false
		case b := <-c.urgent:
			return outgoing{b: b}, true
		case <-c.out.wake:
		}
	}
}

// recycle keeps the buffer of what has been written.
func (c *Conn) recycle(g outgoing) {
	switch {
	case g.open:
		c.out.reuse(g.b)
	case cap(g.b) >= batchSize:
		select {
		case c.free <- g.b[:0]:
		default:
		}
	}
}

// batch is an empty buffer for messages.
func (c *Conn) batch() []byte {
	select {
	case b := <-c.free:
		return b
	default:
		return make([]byte, 0, batchSize+batchSize/8)
	}
}

// keepAlive ends the session with a peer that is silent although probed.
func (c *Conn) keepAlive() error {
	tick := time.NewTicker(min(c.opts.EchoInterval, c.opts.EchoTimeout) / 4)
	defer tick.Stop()
	probed := int64(-1) // the value of heard that the last probe was about
	for {
		select {
		case <-c.ctx.Done():
			return nil
		case <-tick.C:
		}
		heard := c.heard.Load()
		silence := time.Since(c.start) - time.Duration(heard)
		switch {
		case silence >= c.opts.EchoInterval+c.opts.EchoTimeout:
			return fmt.Errorf("the switch does not answer: silent for %v", silence.Round(time.Millisecond))
		case silence >= c.opts.EchoInterval && probed != heard:
			probed = heard
			b, err := ofp13.AppendEchoRequest(nil, c.xids(1), nil)
			if err != nil {
				return err
			}
			select {
			case c.urgent <- b:
			default: // a writer that is stuck gets no better by more work
			}
		}
	}
}
