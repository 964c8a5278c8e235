package openflow

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/closed"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
)

// VersionError says that the peer does not speak OpenFlow 1.3.
type VersionError struct {
	Peer  string
	Offer ofp13.Hello
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("openflow: %s offers %v, this controller speaks OpenFlow 1.3 only: "+
		"set the bridge's protocols to OpenFlow13", e.Peer, e.Offer)
}

// Connect makes a session of an established connection. It sends a hello that
// offers OpenFlow 1.3, takes the peer's, asks for the features and sets the
// configuration (fragments are handled normally, a table miss sends the whole
// packet). The Conn owns nc, also when Connect fails.
//
// The context and Options.HandshakeTimeout bound Connect, not the session. A
// peer of another version is told so and is a *VersionError.
func Connect(ctx context.Context, nc net.Conn, o Options) (*Conn, error) {
	o = o.withDefaults()
	ctx, stop := context.WithTimeoutCause(ctx, o.HandshakeTimeout,
		fmt.Errorf("the handshake took longer than %v", o.HandshakeTimeout))
	defer stop()
	c := &Conn{
		nc: nc, br: bufio.NewReaderSize(nc, batchSize), peer: peerName(nc), opts: o, start: time.Now(),
		out: newOutbox(), urgent: make(chan []byte, urgentQueue),
		free: make(chan []byte, batchQueue+2), events: newEvents(o.EventBuffer),
		commit: make(chan struct{}, 1), calls: make(map[uint32]*call),
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	unhook := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	if err := c.hello(); err != nil {
		c.cancel(err)
		nc.Close()
		_, version := errors.AsType[*VersionError](err)
		if cause := context.Cause(ctx); cause != nil && !version {
			return nil, fmt.Errorf("openflow: %s: waiting for a hello: %w", c.peer, cause)
		}
		return nil, err
	}
	if !unhook() {
		c.cancel(context.Cause(ctx))
		nc.Close()
		return nil, fmt.Errorf("openflow: %s: %w", c.peer, context.Cause(ctx))
	}
	c.run()
	if err := c.setUp(ctx); err != nil {
		if ended := c.Err(); ended != nil {
			err = ended // says more than what it made of the request
		} else {
			err = fmt.Errorf("openflow: %s: handshake: %w", c.peer, err)
		}
		c.Close()
		return nil, err
	}
	return c, nil
}

func peerName(nc net.Conn) string {
	if a := nc.RemoteAddr(); a != nil && a.String() != "" && a.String() != "@" {
		return a.String()
	}
	return "unnamed peer"
}

// hello exchanges hellos (OpenFlow 1.3.5 section 6.3.1). Writing and reading go
// side by side, because on a connection without buffers (net.Pipe) each waits
// for the other end to read.
func (c *Conn) hello() error {
	b, err := ofp13.AppendHello(nil, c.xids(1))
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := c.nc.Write(b)
		sent <- err
	}()
	xid, err := c.readHello()
	if _, ok := errors.AsType[*VersionError](err); ok {
		if <-sent == nil { // our hello comes first
			c.refuse(xid)
		}
		return err
	}
	if err != nil {
		c.nc.Close() // so that the write ends
	}
	if werr := <-sent; err == nil && werr != nil {
		err = fmt.Errorf("openflow: %s: sending a hello: %w", c.peer, closed.As(ErrPeerClosed, werr))
	}
	return err
}

// refuse tells a peer of another version why it is left. It may be gone or may
// not read; the deadline of the handshake bounds the attempt.
func (c *Conn) refuse(xid uint32) {
	b, err := ofp13.AppendError(nil, &ofp13.Error{
		Type: ofp13.ErrHelloFailed, XID: xid, Data: []byte("this controller speaks OpenFlow 1.3 only"),
	})
	if err == nil {
		c.nc.Write(b)
	}
}

// readHello reads the peer's hello and returns its xid.
func (c *Conn) readHello() (uint32, error) {
	if head, err := c.br.Peek(ofp13.HeaderLen); err == nil && !plausibleHello(head) {
		return 0, fmt.Errorf("openflow: %s: the connection starts with %s, which is no OpenFlow hello; "+
			"is this a switch?", c.peer, quote(head))
	}
	h, b, err := readMessage(c.br)
	if err != nil {
		return 0, fmt.Errorf("openflow: %s: waiting for a hello: %w", c.peer, err)
	}
	if h.Type == ofp13.TypeError {
		e, err := ofp13.DecodeError(b)
		if err != nil {
			return 0, fmt.Errorf("openflow: %s: %w", c.peer, err)
		}
		return 0, fmt.Errorf("openflow: %s: refused our hello: %w", c.peer, e)
	}
	offer, err := ofp13.DecodeHello(b)
	if err != nil {
		return 0, fmt.Errorf("openflow: %s: %w", c.peer, err)
	}
	if !offer.Accepts() {
		return h.XID, &VersionError{Peer: c.peer, Offer: offer}
	}
	return h.XID, nil
}

// plausibleHello reports whether the first bytes of a connection could be a
// hello, or the error of a peer that does not like ours.
func plausibleHello(b []byte) bool {
	return b[0] != 0 && b[0] < 0x20 && ofp13.MsgType(b[1]) <= ofp13.TypeError
}

// quote shows bytes as text where they are text.
func quote(b []byte) string {
	if strings.IndexFunc(string(b), func(r rune) bool { return !strconv.IsPrint(r) && r != '\r' && r != '\n' }) < 0 {
		return strconv.Quote(string(b))
	}
	return fmt.Sprintf("% x", b)
}

// setUp asks for the features and sets the configuration.
func (c *Conn) setUp(ctx context.Context) error {
	b, err := c.roundTrip(ctx, ofp13.TypeFeaturesReply, ofp13.AppendFeaturesRequest)
	if err != nil {
		return err
	}
	if c.features, err = ofp13.DecodeFeatures(b); err != nil {
		return err
	}
	if c.features.Auxiliary != 0 {
		return fmt.Errorf("auxiliary connection %d; only main connections are served", c.features.Auxiliary)
	}
	b, err = ofp13.AppendConfig(nil, ofp13.TypeSetConfig, c.xids(1), ofp13.Config{MissSendLen: 0xffff})
	if err != nil {
		return err
	}
	if err := c.send(ctx, b); err != nil {
		return err
	}
	return c.Barrier(ctx)
}
