package openflow_test

import (
	"io"
	"net"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/closed/closedtest"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
)

// answerUntilBarrier plays a switch until it has answered the barrier that ends a handshake.
func answerUntilBarrier(nc net.Conn) error {
	if _, err := nc.Write(hello13()); err != nil {
		return err
	}
	for {
		var head [ofp13.HeaderLen]byte
		if _, err := io.ReadFull(nc, head[:]); err != nil {
			return err
		}
		h, err := ofp13.ParseHeader(head[:])
		if err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, nc, int64(h.Length)-ofp13.HeaderLen); err != nil {
			return err
		}
		var reply []byte
		switch h.Type {
		case ofp13.TypeFeaturesRequest:
			reply, err = ofp13.AppendFeaturesReply(nil, h.XID, ofp13.Features{DatapathID: 1, Tables: 254})
		case ofp13.TypeBarrierRequest:
			reply, err = ofp13.AppendBarrierReply(nil, h.XID)
		}
		if err == nil {
			_, err = nc.Write(reply)
		}
		if err != nil || h.Type == ofp13.TypeBarrierRequest {
			return err
		}
	}
}

// A switch that has closed the connection is one error, whatever finds out, for whoever waits
// for an answer and for the session.
func TestPeerClosed(t *testing.T) {
	closedtest.Try(t, openflow.ErrPeerClosed, func(t *testing.T) (*net.UnixConn, func() error) {
		ours, theirs := closedtest.Pair(t)
		served := make(chan error, 1)
		go func() { served <- answerUntilBarrier(theirs) }()
		c, err := openflow.Connect(t.Context(), ours, openflow.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return theirs, func() error {
			err := c.Barrier(t.Context())
			closedtest.Check(t, openflow.ErrPeerClosed, c.Err())
			return err
		}
	})
	for name, said := range map[string][]byte{
		"within a header":      {4, 2},
		"within a message":     msg(4, 2, 16, 7, 1),
		"between two messages": msg(4, 3, 8, 7),
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := closedtest.Pair(t)
			served := make(chan error, 1)
			go func() { served <- answerUntilBarrier(theirs) }()
			c, err := openflow.Connect(t.Context(), ours, openflow.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := <-served; err != nil {
				t.Fatal(err)
			}
			if _, err := theirs.Write(said); err != nil {
				t.Fatal(err)
			}
			theirs.CloseWrite()
			<-c.Done()
			closedtest.Check(t, openflow.ErrPeerClosed, c.Err())
		})
	}
	t.Run("before the hello", func(t *testing.T) {
		ours, theirs := closedtest.Pair(t)
		theirs.Close()
		_, err := openflow.Connect(t.Context(), ours, openflow.Options{})
		closedtest.Check(t, openflow.ErrPeerClosed, err)
	})
	t.Run("instead of reading the hello", func(t *testing.T) {
		ours, theirs := closedtest.Pair(t)
		theirs.CloseRead()
		if _, err := theirs.Write(hello13()); err != nil {
			t.Fatal(err)
		}
		_, err := openflow.Connect(t.Context(), ours, openflow.Options{})
		closedtest.Check(t, openflow.ErrPeerClosed, err)
	})
}
