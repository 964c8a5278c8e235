package suite

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/workload"
)

// The yardstick's own few messages of OpenFlow 1.3; see workload.Flows.AppendFlowMod
// for why they are not the project's.
const (
	ofpHello          = 0
	ofpError          = 1
	ofpExperimenter   = 4
	ofpStatsRequest   = 18
	ofpStatsReply     = 19
	ofpBarrierRequest = 20
	ofpBarrierReply   = 21

	onfExperimenter   = 0x4f4e4600
	onfBundleControl  = 2300
	onfBundleAdd      = 2301
	bundleOpen        = 0
	bundleClose       = 2
	bundleCommit      = 4
	bundleAtomicOrder = 3

	statsAggregate = 2

	// lastXID marks the barrier that ends a run.
	lastXID = 0xfffffffe
	// rawTimeout bounds one run.
	rawTimeout = 2 * time.Minute
	// rawPiece is how many bytes are written at once. Everything in one write of many
	// megabytes came out slower, and a limit has to be the best there is.
	rawPiece = 64 << 10
)

func appendHeader(b []byte, typ byte, length uint16, xid uint32) []byte {
	b = append(b, 4, typ)
	b = binary.BigEndian.AppendUint16(b, length)
	return binary.BigEndian.AppendUint32(b, xid)
}

// rawFlows is a flow-mod for each flow and a barrier.
func rawFlows(f workload.Flows) []byte {
	var b []byte
	for i := range int(f) {
		b = f.AppendFlowMod(b, i, uint32(i)+1)
	}
	return appendHeader(b, ofpBarrierRequest, 8, lastXID)
}

// rawBundle is the same in one bundle, atomic and ordered (ONF extension 230).
func rawBundle(f workload.Flows) []byte {
	be := binary.BigEndian
	control := func(b []byte, typ uint16, xid uint32) []byte {
		b = appendHeader(b, ofpExperimenter, 24, xid)
		b = be.AppendUint32(b, onfExperimenter)
		b = be.AppendUint32(b, onfBundleControl)
		b = be.AppendUint32(b, 1) // bundle id
		b = be.AppendUint16(b, typ)
		return be.AppendUint16(b, bundleAtomicOrder)
	}
	b := control(nil, bundleOpen, lastXID-3)
	for i := range int(f) {
		xid := uint32(i) + 1 // the inner message must carry the same
		b = appendHeader(b, ofpExperimenter, 24+workload.FlowModLen, xid)
		b = be.AppendUint32(b, onfExperimenter)
		b = be.AppendUint32(b, onfBundleAdd)
		b = be.AppendUint32(b, 1)
		b = be.AppendUint16(b, 0)
		b = be.AppendUint16(b, bundleAtomicOrder)
		b = f.AppendFlowMod(b, i, xid)
	}
	b = control(b, bundleClose, lastXID-2)
	b = control(b, bundleCommit, lastXID-1)
	return appendHeader(b, ofpBarrierRequest, 8, lastXID)
}

// rawConn is a connection to a switch that has said hello.
type rawConn struct {
	net.Conn
	r *bufio.Reader
}

func rawDial(ctx context.Context, addr string) (*rawConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &rawConn{conn, bufio.NewReader(conn)}
	err = conn.SetDeadline(time.Now().Add(rawTimeout))
	if err == nil {
		_, err = conn.Write(appendHeader(nil, ofpHello, 8, 0))
	}
	if err == nil {
		var typ byte
		if typ, _, err = c.next(); err == nil && typ != ofpHello {
			err = fmt.Errorf("the switch at %s began with message type %d instead of hello", addr, typ)
		}
	}
	if err != nil {
		_ = conn.Close() // the first error is the one that matters
		return nil, err
	}
	return c, nil
}

// next is message without the body.
func (c *rawConn) next() (typ byte, xid uint32, err error) {
	typ, xid, _, err = c.message()
	return typ, xid, err
}

// message reads one message. An error message is an error.
func (c *rawConn) message() (typ byte, xid uint32, body []byte, err error) {
	var h [8]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		return 0, 0, nil, fmt.Errorf("read from the switch: %w", err)
	}
	length := int(binary.BigEndian.Uint16(h[2:]))
	if length < len(h) {
		return 0, 0, nil, fmt.Errorf("the switch sent a message of length %d", length)
	}
	body = make([]byte, length-len(h))
	if _, err := io.ReadFull(c.r, body); err != nil {
		return 0, 0, nil, fmt.Errorf("read from the switch: %w", err)
	}
	typ, xid = h[1], binary.BigEndian.Uint32(h[4:])
	if typ == ofpError {
		return typ, xid, nil, fmt.Errorf("the switch answered message %d with error % x", xid, body[:min(len(body), 12)])
	}
	return typ, xid, body, nil
}

// rawSend writes all of b, which ends with the barrier lastXID, and waits for its reply.
func rawSend(c *rawConn, b []byte) error {
	written := make(chan error, 1)
	go func() {
		for piece := range slices.Chunk(b, rawPiece) {
			if _, err := c.Write(piece); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	for {
		typ, xid, err := c.next()
		if err != nil {
			_ = c.Close() // ends the writer
			<-written
			return err
		}
		if typ == ofpBarrierReply && xid == lastXID {
			return <-written
		}
	}
}

// rawCount is the number of flows in a table, as the switch at addr counts them.
func rawCount(ctx context.Context, addr string, table uint8) (int, error) {
	c, err := rawDial(ctx, addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	be := binary.BigEndian
	b := appendHeader(nil, ofpStatsRequest, 56, lastXID)
	b = be.AppendUint16(b, statsAggregate)
	b = append(b, 0, 0, 0, 0, 0, 0) // flags and padding
	b = append(b, table, 0, 0, 0)
	b = be.AppendUint32(b, 0xffffffff)    // OFPP_ANY
	b = be.AppendUint32(b, 0xffffffff)    // OFPG_ANY
	b = append(b, make([]byte, 4+8+8)...) // padding, any cookie
	b = append(b, 0, 1, 0, 4, 0, 0, 0, 0) // an empty match of OXMs, padded
	if _, err := c.Write(b); err != nil {
		return 0, fmt.Errorf("ask the switch at %s for its flows: %w", addr, err)
	}
	for {
		typ, xid, body, err := c.message()
		if err != nil {
			return 0, err
		}
		if typ != ofpStatsReply || xid != lastXID {
			continue
		}
		// Type, flags and padding; packets, bytes, flows and padding.
		if len(body) < 32 || be.Uint16(body) != statsAggregate {
			return 0, fmt.Errorf("the switch at %s answered a request for aggregate statistics with % x", addr, body[:min(len(body), 32)])
		}
		return int(be.Uint32(body[24:])), nil
	}
}
