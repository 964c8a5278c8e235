package ovsdb

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/closed/closedtest"
)

// A host that has closed the connection is one error, whatever finds out.
func TestPeerClosed(t *testing.T) {
	closedtest.Try(t, ErrPeerClosed, func(t *testing.T) (*net.UnixConn, func() error) {
		ours, theirs := closedtest.Pair(t)
		p, served := goodPeer(t), make(chan error, 1)
		go func() { served <- p.untilMonitored(theirs) }()
		// The probe is what is written. A host that is silent is not left for that here.
		s, err := Accept(t.Context(), ours, Options{ProbeInterval: 10 * time.Millisecond, DeadAfter: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		return theirs, func() error { return ended(t, s) }
	})
	t.Run("within a message", func(t *testing.T) {
		ours, theirs := closedtest.Pair(t)
		served := make(chan error, 1)
		go func() { served <- goodPeer(t).untilMonitored(theirs) }()
		s, err := Accept(t.Context(), ours, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(theirs, `{"id":null,"meth`)
		theirs.CloseWrite()
		closedtest.Check(t, ErrPeerClosed, ended(t, s))
	})
	t.Run("before the handshake", func(t *testing.T) {
		ours, theirs := closedtest.Pair(t)
		theirs.Close()
		_, err := Accept(t.Context(), ours, Options{})
		closedtest.Check(t, ErrPeerClosed, err)
	})
}

// untilMonitored answers until the answer to the monitor has gone out, and leaves the
// connection open.
func (p *peer) untilMonitored(nc net.Conn) error {
	for dec := json.NewDecoder(bufio.NewReader(nc)); ; {
		var m message
		if err := dec.Decode(&m); err != nil {
			return err
		}
		answer, ok := p.answers[m.Method]
		if !ok {
			continue // a probe
		}
		if _, err := fmt.Fprintf(nc, `{"id":%s,"result":%s,"error":null}`, m.ID, answer); err != nil {
			return err
		}
		if m.Method == "monitor_cond_since" {
			return nil
		}
	}
}
