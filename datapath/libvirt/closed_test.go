package libvirt

import (
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/closed/closedtest"
)

// procAuthList is REMOTE_PROC_AUTH_LIST.
const procAuthList = 66

// consenting serves a client up to the consent to its connection.
func consenting(conn net.Conn) error {
	for {
		var head [packetHeader]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head[:]))-packetHeader); err != nil {
			return err
		}
		proc := binary.BigEndian.Uint32(head[wordOfProcedure:])
		payload := []byte{}
		if proc == procAuthList {
			payload = make([]byte, 4) // there is none
		}
		binary.BigEndian.PutUint32(head[:], uint32(packetHeader+len(payload)))
		binary.BigEndian.PutUint32(head[wordOfMessageType:], typeReply)
		if _, err := conn.Write(append(head[:], payload...)); err != nil || proc == procConnectOpen {
			return err
		}
	}
}

// A daemon that has gone is one error, whatever finds out.
func TestClosed(t *testing.T) {
	connect := func(t *testing.T) (*Conn, *net.UnixConn) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		accepted := make(chan *net.UnixConn, 1)
		go func() {
			conn, err := l.Accept()
			if err == nil {
				err = consenting(conn)
			}
			if err != nil {
				t.Error(err)
			}
			theirs, _ := conn.(*net.UnixConn)
			accepted <- theirs
		}()
		c, err := Connect(t.Context(), "unix://"+path)
		if err != nil {
			t.Fatal(err)
		}
		peer := <-accepted
		t.Cleanup(func() { c.Close(); peer.Close() })
		return c, peer
	}
	closedtest.Try(t, ErrClosed, func(t *testing.T) (*net.UnixConn, func() error) {
		c, peer := connect(t)
		return peer, func() error { _, err := c.Domains(t.Context()); return err }
	})
	t.Run("what is typed at a console", func(t *testing.T) {
		ours, theirs := closedtest.Pair(t)
		theirs.CloseRead()
		closedtest.Check(t, ErrClosed, newWire(ours).console(statusContinue, []byte("x")))
	})
	t.Run("closed by us", func(t *testing.T) {
		c, _ := connect(t)
		c.Close()
		_, err := c.Domains(t.Context())
		closedtest.Check(t, ErrClosed, err)
	})
}
