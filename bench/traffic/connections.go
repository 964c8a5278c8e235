package traffic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

const (
	// connectionTimeout bounds each wait of a connection: for its end, one byte, or its begin.
	connectionTimeout = 5 * time.Second
	// longestConnection is what the histogram takes, in nanoseconds: three of those waits.
	longestConnection = 3 * int64(connectionTimeout)
	backlog           = 1024 // connections that wait for the server
)

// Connections are short TCP connections from a namespace to another, one after the other by each of
// some clients: connect, a byte each way, the server closes, the client closes. As the server closes
// first, it is its end that stays in TIME_WAIT, and clients do not run out of ports.
//
// Clients use system calls that block, on a thread each: Go's poller would take as long as
// the path.
type Connections struct {
	listener net.Listener
	server   sync.WaitGroup
	clients  sync.WaitGroup
	stop     atomic.Bool
	news     chan struct{} // holds one since something was done, or failed
	mu       sync.Mutex    // guards the rest
	latency  *hdrhistogram.Histogram
	err      error // the first
}

// ConnectionCounts is what some time of Connections came to.
type ConnectionCounts struct {
	Done    int64 // that ended within Elapsed
	Elapsed time.Duration
	Latency *hdrhistogram.Histogram // of those, from the connect to the server's end, in nanoseconds
}

// OpenConnections makes so many clients in a namespace connect to the IPv4 address at, which is in
// another, from now on. The caller closes it.
func OpenConnections(from, to *netdev.Namespace, at netip.Addr, clients int) (*Connections, error) {
	c := &Connections{latency: newConnectionLatency(), news: make(chan struct{}, 1)}
	err := to.Do(func() (err error) {
		c.listener, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", at, err)
	}
	c.server.Go(c.serve)
	for range clients {
		c.clients.Go(func() {
			// Its own, since a system call writes into it.
			address := &unix.SockaddrInet4{Port: c.listener.Addr().(*net.TCPAddr).Port, Addr: at.As4()}
			if err := from.Do(func() error { return c.connectOn(address) }); err != nil {
				c.fail(err)
			}
		})
	}
	return c, nil
}

func newConnectionLatency() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, longestConnection, 3)
}

// serve accepts until the listener is closed.
func (c *Connections) serve() {
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				c.fail(err)
			}
			return
		}
		c.server.Go(func() {
			if err := errors.Join(answer(conn), conn.Close()); err != nil {
				c.fail(fmt.Errorf("server: %w", err))
			}
		})
	}
}

// answer is the server's part of a connection.
func answer(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(connectionTimeout)); err != nil {
		return err
	}
	var b [1]byte
	if _, err := conn.Read(b[:]); err != nil {
		return err
	}
	_, err := conn.Write(b[:])
	return err
}

// connectOn makes connections until it is told to stop, or one fails.
func (c *Connections) connectOn(at *unix.SockaddrInet4) error {
	for !c.stop.Load() {
		begun := time.Now()
		if err := connection(at); err != nil {
			return err
		}
		took := time.Since(begun)
		if err := c.done(took); err != nil {
			return err
		}
	}
	return nil
}

// connection is the client's part of a connection, on the namespace of this thread.
func connection(at *unix.SockaddrInet4) (err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	limit := unix.NsecToTimeval(connectionTimeout.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit), // of connect too
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
	if err != nil {
		return fmt.Errorf("time limits of a socket: %w", err)
	}
	if err := again(func() error { return unix.Connect(fd, at) }); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if _, err := unix.Write(fd, []byte{1}); err != nil {
		return fmt.Errorf("send a byte: %w", err)
	}
	for i, want := range []int{1, 0} { // the byte, and the end
		var b [2]byte
		var n int
		err := again(func() (err error) { n, err = unix.Read(fd, b[:]); return err })
		if err != nil {
			return fmt.Errorf("wait for the answer: %w", err)
		}
		if n != want {
			return fmt.Errorf("answer %d of the server has %d bytes instead of %d", i+1, n, want)
		}
	}
	return nil
}

// again repeats a system call that a signal has interrupted: the runtime sends some, and calls with a
// time limit are not resumed. A connect that is repeated goes on waiting.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Measure counts what goes on anyway, for that long; and on a path so slow that nothing is done in that
// time, until something is. It is an error if a connection has failed since the beginning.
func (c *Connections) Measure(ctx context.Context, window time.Duration) (ConnectionCounts, error) {
	if _, err := c.take(); err != nil {
		return ConnectionCounts{}, err
	}
	begun := time.Now()
	timer := time.NewTimer(window)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ConnectionCounts{}, ctx.Err()
	}
	for {
		latency, err := c.take()
		counts := ConnectionCounts{Done: latency.TotalCount(), Elapsed: time.Since(begun), Latency: latency}
		if err != nil || counts.Done > 0 {
			return counts, err
		}
		select {
		case <-c.news:
		case <-ctx.Done():
			return counts, ctx.Err()
		}
	}
}

// take is the latencies since it was last called.
func (c *Connections) take() (*hdrhistogram.Histogram, error) {
	fresh := newConnectionLatency()
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.latency
	c.latency = fresh
	return taken, c.err
}

// done records one connection.
func (c *Connections) done(took time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.tell()
	return c.latency.RecordValue(took.Nanoseconds())
}

// fail keeps the first error.
func (c *Connections) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.tell()
	if c.err == nil {
		c.err = err
	}
}

// tell wakes Measure, if it waits.
func (c *Connections) tell() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// Close lets each client end its connection and returns what failed, if anything has.
func (c *Connections) Close() error {
	c.stop.Store(true)
	c.clients.Wait()
	err := c.listener.Close()
	c.server.Wait()
	_, failed := c.take()
	return errors.Join(failed, err)
}
