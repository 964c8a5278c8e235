// Package closedtest plays peers that close a connection, in each order in which the other end
// can find out. It is for tests of clients, which give one error for all of them.
package closedtest

import (
	"errors"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ofctl-lab/ofctl-lab/datapath/closed"
)

// Pair is a connection with room for what is on the way, as a socket has.
func Pair(t testing.TB) (ours, theirs *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "pair")
		conn, err := net.FileConn(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		ends[i] = conn.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// ways are how a peer leaves a client that is about to write.
var ways = []struct {
	name string
	// before is done before the client writes, during while it waits.
	before, during func(peer *net.UnixConn) error
}{
	// The client's write fails, and its read goes on waiting.
	{name: "a write finds out", before: (*net.UnixConn).CloseRead},
	{name: "a read finds the end", during: func(peer *net.UnixConn) error {
		if _, err := peer.Read(make([]byte, 64<<10)); err != nil {
			return err
		}
		return peer.Close()
	}},
	// The kernel resets a connection that is closed with something unread.
	{name: "a read finds a reset", during: func(peer *net.UnixConn) error {
		if err := unread(peer); err != nil {
			return err
		}
		return peer.Close()
	}},
}

// unread waits until there is something to read, and leaves it.
func unread(peer *net.UnixConn) error {
	raw, err := peer.SyscallConn()
	if err != nil {
		return err
	}
	var perr error
	err = raw.Read(func(fd uintptr) bool {
		_, _, perr = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return perr != unix.EAGAIN
	})
	if err != nil {
		return err
	}
	return perr
}

// Try has the peer leave in each way while call is under way: something that writes to the
// peer and returns its error. connect makes the connection of each, up to where the peer has
// nothing more to say, and gives the peer's end. The error has to be sentinel, and to
// wrap the kernel's.
func Try(t *testing.T, sentinel error, connect func(t *testing.T) (peer *net.UnixConn, call func() error)) {
	t.Helper()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			peer, call := connect(t)
			left := make(chan error, 1)
			if w.before != nil {
				left <- w.before(peer)
			} else {
				go func() { left <- w.during(peer) }()
			}
			err := call()
			if lerr := <-left; lerr != nil {
				t.Fatal(lerr)
			}
			Check(t, sentinel, err)
			if w.before != nil && err != nil && !errors.Is(err, unix.EPIPE) {
				t.Errorf("%v; a write should have found out", err)
			}
		})
	}
}

// Check reports an error that is not the sentinel, or does not say why.
func Check(t *testing.T, sentinel, err error) {
	t.Helper()
	if !errors.Is(err, sentinel) || !closed.Is(err) {
		t.Errorf("%v; want one that is %q and wraps the cause", err, sentinel)
	}
}
