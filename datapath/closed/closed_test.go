package closed_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/closed"
)

// pair is a connection over a unix socket.
func pair(t *testing.T) (ours, theirs *net.UnixConn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	return dialled.(*net.UnixConn), accepted.(*net.UnixConn)
}

// Whatever the kernel says of a connection that is closed is recognised.
func TestIs(t *testing.T) {
	read := func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err }
	write := func(c net.Conn) error { _, err := c.Write([]byte("x")); return err }
	for name, c := range map[string]struct {
		is  error
		try func(ours, theirs *net.UnixConn) error
	}{
		"read at the end": {io.EOF, func(ours, theirs *net.UnixConn) error { theirs.Close(); return read(ours) }},
		"read within a message": {io.ErrUnexpectedEOF, func(ours, theirs *net.UnixConn) error {
			theirs.Write([]byte("half"))
			theirs.Close()
			_, err := io.ReadFull(ours, make([]byte, 8))
			return err
		}},
		"read after a write that nobody read": {syscall.ECONNRESET, func(ours, theirs *net.UnixConn) error {
			if err := write(ours); err != nil {
				return err
			}
			theirs.Close()
			return read(ours)
		}},
		"write":         {syscall.EPIPE, func(ours, theirs *net.UnixConn) error { theirs.CloseRead(); return write(ours) }},
		"read of ours":  {net.ErrClosed, func(ours, _ *net.UnixConn) error { ours.Close(); return read(ours) }},
		"write of ours": {net.ErrClosed, func(ours, _ *net.UnixConn) error { ours.Close(); return write(ours) }},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.try(pair(t))
			if !errors.Is(err, c.is) || !closed.Is(err) {
				t.Errorf("%v; want one that is %v", err, c.is)
			}
		})
	}
	for _, err := range []error{nil, context.Canceled, os.ErrDeadlineExceeded, syscall.ECONNREFUSED, errors.New("EOF")} {
		if closed.Is(err) {
			t.Errorf("%v", err)
		}
	}
}

func TestAs(t *testing.T) {
	sentinel := errors.New("they closed it")
	err := closed.As(sentinel, syscall.EPIPE)
	if !errors.Is(err, sentinel) || !errors.Is(err, syscall.EPIPE) {
		t.Error(err)
	}
	if again := closed.As(sentinel, err); strings.Count(again.Error(), "they closed it") != 1 {
		t.Error(again)
	}
	if err := closed.As(sentinel, nil); err != nil {
		t.Error(err)
	}
	if err := closed.As(sentinel, context.Canceled); err != context.Canceled {
		t.Error(err)
	}
}
