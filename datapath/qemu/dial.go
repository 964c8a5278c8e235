package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// dial connects to the socket name in a machine's directory. It goes by an open
// handle of the directory, whose path may be longer than a socket's address.
func dial(ctx context.Context, dir, name string) (net.Conn, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	address := filepath.Join("/proc/self/fd", strconv.Itoa(int(d.Fd())), name)
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return nil, fmt.Errorf("connect to %s: %w", filepath.Join(dir, name), err)
	}
	return conn, nil
}

// ErrConsoleBusy is that of a console which another client has open.
var ErrConsoleBusy = errors.New("another client has this console open")

// consoleLock is a file in a machine's directory that is locked by who has its console.
const consoleLock = "console.lock"

// DialConsole connects to the serial console of the machine in dir. Qemu serves one client
// at a time and lets the next one wait without a word, so the console is locked while the
// connection is open: the error is ErrConsoleBusy while it is. The lock ends with the
// program that holds it, whatever its end.
func DialConsole(ctx context.Context, dir string) (net.Conn, error) {
	lock, err := os.OpenFile(filepath.Join(dir, consoleLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrConsoleBusy
		}
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	conn, err := dial(ctx, dir, ConsoleSocket)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &lockedConn{Conn: conn, lock: lock}, nil
}

// lockedConn gives the console free when it is closed.
type lockedConn struct {
	net.Conn
	lock *os.File
}

// Close may be called more than once.
func (c *lockedConn) Close() error {
	err := c.Conn.Close()
	c.lock.Close() // after it: the next client finds the console free
	return err
}
