package qemu

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/closed/closedtest"
)

// ready is a QMP session whose peer has answered all that was asked.
func ready(t *testing.T) (*QMP, *net.UnixConn) {
	t.Helper()
	ours, theirs := closedtest.Pair(t)
	go func() {
		fmt.Fprint(theirs, greeting)
		if _, err := bufio.NewReader(theirs).ReadString('\n'); err == nil {
			fmt.Fprint(theirs, "{\"return\":{},\"id\":1}\n")
		}
	}()
	q, err := NewQMP(testCtx(t), ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q, theirs
}

// A qemu that has gone is one error, whatever finds out.
func TestQMPClosed(t *testing.T) {
	t.Run("execute", func(t *testing.T) {
		closedtest.Try(t, ErrClosed, func(t *testing.T) (*net.UnixConn, func() error) {
			q, peer := ready(t)
			return peer, func() error { return q.Execute(testCtx(t), "query-status", nil, nil) }
		})
	})
	t.Run("pass a file", func(t *testing.T) {
		closedtest.Try(t, ErrClosed, func(t *testing.T) (*net.UnixConn, func() error) {
			q, peer := ready(t)
			return peer, func() error { return q.PassFile(testCtx(t), "f", os.Stdin) }
		})
	})
	t.Run("greeting", func(t *testing.T) {
		ours, theirs := closedtest.Pair(t)
		theirs.Close()
		_, err := NewQMP(testCtx(t), ours)
		closedtest.Check(t, ErrClosed, err)
	})
	t.Run("after the end", func(t *testing.T) {
		q, peer := ready(t)
		fmt.Fprint(peer, "what?\n")
		<-q.Done()
		// The error is why it ended, not that this end has closed the connection then.
		if err := q.Execute(testCtx(t), "query-status", nil, nil); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "cannot be read") {
			t.Error(err)
		}
	})
}

// An agent that has gone, or whose qemu has, is one error.
func TestAgentClosed(t *testing.T) {
	connect := func(t *testing.T) (*Agent, *net.UnixConn) {
		ours, theirs := closedtest.Pair(t)
		go func() {
			line, err := bufio.NewReader(theirs).ReadString('\n')
			if err != nil {
				return
			}
			var r struct{ Arguments struct{ ID int64 } }
			if json.Unmarshal([]byte(strings.TrimPrefix(line, "\xff")), &r) == nil {
				fmt.Fprintf(theirs, "\xff{\"return\": %d}\n", r.Arguments.ID)
			}
		}()
		a, err := NewAgent(testCtx(t), ours)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		return a, theirs
	}
	t.Run("execute", func(t *testing.T) {
		closedtest.Try(t, ErrClosed, func(t *testing.T) (*net.UnixConn, func() error) {
			a, peer := connect(t)
			return peer, func() error { return a.Execute(testCtx(t), "guest-ping", nil, nil) }
		})
	})
	t.Run("within an answer", func(t *testing.T) {
		a, peer := connect(t)
		fmt.Fprint(peer, `{"return":`)
		peer.CloseWrite()
		closedtest.Check(t, ErrClosed, a.Execute(testCtx(t), "guest-ping", nil, nil))
	})
	t.Run("shutdown", func(t *testing.T) {
		a, peer := connect(t)
		peer.CloseRead()
		closedtest.Check(t, ErrClosed, a.Shutdown(testCtx(t), PowerOff))
	})
	t.Run("sync", func(t *testing.T) {
		ours, theirs := closedtest.Pair(t)
		theirs.CloseRead()
		_, err := NewAgent(testCtx(t), ours)
		closedtest.Check(t, ErrClosed, err)
	})
}
