package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
)

// The bounds of waits for the daemon, beside the caller's context.
const (
	answerTimeout = 30 * time.Second
	// startTimeout is for calls that start or end a virtual machine. libvirt itself
	// gives qemu 30 s to answer, and more for a large memory.
	startTimeout = 2 * time.Minute
	// undoTimeout is for taking back what a failed call has done.
	undoTimeout = 30 * time.Second
	// closeTimeout is for go-libvirt's goroutines to end with their connection.
	closeTimeout = time.Second
)

// Conn is a connection to a libvirt daemon. The methods may be called by any
// number of goroutines.
type Conn struct {
	uri    string // as the user wrote it
	target target
	socket string // the one that answered
	wire   *wire
	rpc    *golibvirt.Libvirt
}

// Connect connects to the daemon of a libvirt URI: qemu:///system (the same as
// an empty one), qemu:///session, qemu+unix:///system?socket=PATH, or
// unix:///PATH for short. The errors are ErrNotRunning and ErrPermission, and
// those of ctx.
func Connect(ctx context.Context, uri string) (*Conn, error) {
	t, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	c := &Conn{uri: uri, target: t}
	if err := c.dial(ctx); err != nil {
		return nil, err
	}
	c.rpc = golibvirt.NewWithDialer(dialed{c.wire})
	_, err = call(ctx, c, "connect", func(l *golibvirt.Libvirt) (struct{}, error) {
		defer close(c.wire.connected)
		return struct{}{}, l.ConnectToURI(golibvirt.ConnectURI(t.driver))
	})
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// dialed gives go-libvirt a connection that is there already.
type dialed struct{ conn net.Conn }

func (d dialed) Dial() (net.Conn, error) { return d.conn, nil }

// dial connects to the first socket that is there.
func (c *Conn) dial(ctx context.Context) error {
	var d net.Dialer
	for i, socket := range c.target.sockets {
		conn, err := d.DialContext(ctx, "unix", socket)
		absent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
		switch {
		case err == nil:
			c.socket, c.wire = socket, newWire(conn)
			return nil
		case absent && i+1 < len(c.target.sockets):
			continue
		case absent:
			return fmt.Errorf("%w: nobody listens at %s; install it with `apt-get install libvirt-daemon-system qemu-system-x86`, start it with `systemctl start libvirtd`, or name its socket: --connect unix:///PATH",
				ErrNotRunning, strings.Join(c.target.sockets, " or "))
		case errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("%w: the socket %s is not for this user; run it with sudo, or as a member of the group libvirt", ErrPermission, socket)
		default:
			return fmt.Errorf("libvirt: connect to %s: %w", socket, err)
		}
	}
	return fmt.Errorf("libvirt URI %q names no socket", c.uri)
}

// again is another connection to the same daemon.
func (c *Conn) again(ctx context.Context) (*Conn, error) {
	return Connect(ctx, "qemu+unix:///"+strings.TrimPrefix(c.target.driver, "qemu:///")+"?socket="+c.socket)
}

// Close closes the connection. Calls that are under way fail with ErrClosed.
func (c *Conn) Close() {
	// Not go-libvirt's Disconnect, which asks the daemon first.
	_ = c.wire.Close()
	timeout := time.After(closeTimeout)
	select {
	case <-c.wire.connected:
	case <-timeout:
		return
	}
	select {
	case <-c.rpc.Disconnected():
	case <-timeout:
	}
}

// Socket is the path of the daemon's socket.
func (c *Conn) Socket() string { return c.socket }

// call makes a call that ends with ctx. If that comes first the connection is
// closed, since nothing else ends a call.
func call[T any](ctx context.Context, c *Conn, what string, f func(*golibvirt.Libvirt) (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, fmt.Errorf("libvirt: %s: %w", what, err)
	}
	done := make(chan answer, 1)
	go func() {
		v, err := f(c.rpc)
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		if a.err != nil {
			return zero, explain(what, c.wire.why(a.err))
		}
		return a.v, nil
	case <-ctx.Done():
		_ = c.wire.Close()
		return zero, fmt.Errorf("libvirt: %s: no answer from %s, and what it does is not known: %w", what, c.socket, ctx.Err())
	}
}

// ask is call for what the daemon answers at once.
func ask[T any](ctx context.Context, c *Conn, what string, f func(*golibvirt.Libvirt) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return call(ctx, c, what, f)
}

// tell is ask for what has no answer but that it is done.
func (c *Conn) tell(ctx context.Context, what string, f func(*golibvirt.Libvirt) error) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return tell(ctx, c, what, f)
}

// tell is call for what has no answer but that it is done.
func tell(ctx context.Context, c *Conn, what string, f func(*golibvirt.Libvirt) error) error {
	_, err := call(ctx, c, what, func(l *golibvirt.Libvirt) (struct{}, error) { return struct{}{}, f(l) })
	return err
}
