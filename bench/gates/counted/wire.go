package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
)

// wire is a connection to a switch that is a few lines of this program: it answers
// requests, and does nothing. There is no kernel in between, so that what is
// counted is the session's.
type wire struct {
	packetOut func() // called for each packet-out, by the session's writer; may be nil

	mu     sync.Mutex
	more   *sync.Cond
	in     []byte // what the session has yet to read
	part   []byte // the start of a message whose end is not written yet
	closed bool
}

// newWire is a switch that has said hello.
func newWire() *wire {
	w := &wire{}
	w.more = sync.NewCond(&w.mu)
	hello, err := ofp13.AppendHello(nil, 1)
	if err != nil {
		panic(err) // a message of fixed content
	}
	w.say(hello)
	return w
}

// say lets the session read b.
func (w *wire) say(b []byte) {
	w.mu.Lock()
	w.in = append(w.in, b...)
	w.mu.Unlock()
	w.more.Signal()
}

// Read waits for something to read.
func (w *wire) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.in) == 0 {
		if w.closed {
			return 0, net.ErrClosed
		}
		w.more.Wait()
	}
	n := copy(p, w.in)
	w.in = append(w.in[:0], w.in[n:]...)
	return n, nil
}

// Write takes messages, divided in any way.
func (w *wire) Write(p []byte) (int, error) {
	for b := p; len(b) > 0; {
		message := b
		switch n := length(b); {
		case len(w.part) == 0 && n > 0 && n <= len(b):
			message, b = b[:n], b[n:]
		default:
			want := max(length(w.part), ofp13.HeaderLen)
			more := min(want-len(w.part), len(b))
			w.part, b = append(w.part, b[:more]...), b[more:]
			if len(w.part) != length(w.part) {
				continue
			}
			message, w.part = w.part, w.part[:0]
		}
		if err := w.take(message); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// length is that of the message at the start of b, 0 if b does not say.
func length(b []byte) int {
	if len(b) < ofp13.HeaderLen {
		return 0
	}
	return int(binary.BigEndian.Uint16(b[2:]))
}

// take answers what a session asks.
func (w *wire) take(b []byte) error {
	h, err := ofp13.ParseHeader(b)
	if err != nil {
		return err
	}
	var reply []byte
	switch h.Type {
	case ofp13.TypePacketOut:
		if w.packetOut != nil {
			w.packetOut()
		}
	case ofp13.TypeFeaturesRequest:
		reply, err = ofp13.AppendFeaturesReply(nil, h.XID, ofp13.Features{DatapathID: 1, Tables: 254})
	case ofp13.TypeBarrierRequest:
		reply, err = ofp13.AppendBarrierReply(nil, h.XID)
	case ofp13.TypeExperimenter:
		reply, err = bundleReply(b, h.XID)
	case ofp13.TypeHello, ofp13.TypeSetConfig, ofp13.TypeFlowMod:
	default:
		return fmt.Errorf("the switch was sent %v, for which it has no answer", h.Type)
	}
	if len(reply) > 0 {
		w.say(reply)
	}
	return err
}

// bundleReply answers what controls a bundle, and nothing that goes into one.
func bundleReply(b []byte, xid uint32) ([]byte, error) {
	e, err := ofp13.DecodeExperimenter(b)
	if err != nil || !e.IsBundleControl() {
		return nil, err
	}
	c, err := ofp13.DecodeBundleControl(b)
	if err != nil {
		return nil, err
	}
	c.Command++
	return ofp13.AppendBundleControl(nil, xid, c)
}

// Close ends the connection.
func (w *wire) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.more.Broadcast()
	return nil
}

// LocalAddr and RemoteAddr are none: peers are called unnamed then.
func (w *wire) LocalAddr() net.Addr  { return nil }
func (w *wire) RemoteAddr() net.Addr { return nil }

// There are no deadlines: what uses a wire is over in a second.

func (w *wire) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (w *wire) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (w *wire) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
