package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

const (
	// streamChunk is what is written and read at once, in bytes, as by iperf3.
	streamChunk = 128 << 10
	// streamBuffer is that of a stream's receiver, in bytes as the kernel counts memory, where
	// a segment of full size takes 2304; it bounds what is on the way. It is less than
	// net.core.rmem_default, 212992, the buffer of a socket of ovs-vswitchd: otherwise TCP fills
	// that until it loses, some 15 % of all segments, and what is measured is its recovery.
	streamBuffer = 128 << 10
	// connectTimeout bounds the opening of a stream.
	connectTimeout = 10 * time.Second
)

// Stream is one TCP connection from a namespace to another through which zeros go as
// fast as they can, with no more of them on the way than streamBuffer holds.
type Stream struct {
	received     atomic.Uint64
	client, sink net.Conn
	done         sync.WaitGroup
	mu           sync.Mutex // guards err
	err          error
}

// OpenStream connects from a namespace to the address at, which is in another, and starts
// to send. The caller closes the stream.
func OpenStream(ctx context.Context, from, to *netdev.Namespace, at netip.Addr) (*Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	listener, err := listen(ctx, to, at)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", at, err)
	}
	defer listener.Close()
	s := &Stream{}
	err = from.Do(func() (err error) {
		// An address without a zone is dialled on this very thread.
		s.client, err = (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if s.sink, err = listener.Accept(); err != nil {
		return nil, errors.Join(fmt.Errorf("accept from %s: %w", s.client.LocalAddr(), err), s.client.Close())
	}
	s.done.Go(s.send)
	s.done.Go(s.receive)
	return s, nil
}

// listen listens in a namespace for a stream to come, until the deadline of ctx.
func listen(ctx context.Context, in *netdev.Namespace, at netip.Addr) (*net.TCPListener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // which Go listens for by default, and which is not what is measured
	config.Control = func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			// The kernel doubles it: half is meant for its own bookkeeping.
			failed = os.NewSyscallError("SO_RCVBUF", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, streamBuffer/2))
		})
		return errors.Join(err, failed)
	}
	var l net.Listener
	err := in.Do(func() (err error) {
		l, err = config.Listen(ctx, "tcp", netip.AddrPortFrom(at, 0).String())
		return err
	})
	if err != nil {
		return nil, err
	}
	listener := l.(*net.TCPListener)
	if deadline, ok := ctx.Deadline(); ok {
		if err := listener.SetDeadline(deadline); err != nil {
			return nil, errors.Join(err, listener.Close())
		}
	}
	return listener, nil
}

func (s *Stream) send() {
	chunk := make([]byte, streamChunk)
	for {
		if _, err := s.client.Write(chunk); err != nil {
			s.fail(err)
			return
		}
	}
}

func (s *Stream) receive() {
	chunk := make([]byte, streamChunk)
	for {
		n, err := s.sink.Read(chunk)
		s.received.Add(uint64(n))
		if err != nil {
			s.fail(err)
			return
		}
	}
}

// fail keeps the first error. That the stream was closed is none.
func (s *Stream) fail(err error) {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// Received is the number of bytes that have arrived.
func (s *Stream) Received() uint64 { return s.received.Load() }

// Retransmitted is the share of all segments that were sent again, 0 … 1, since the stream
// was opened.
func (s *Stream) Retransmitted() (float64, error) {
	info, err := s.info()
	if err != nil {
		return 0, err
	}
	return float64(info.Total_retrans) / float64(info.Segs_out), nil
}

// info is what the sender's kernel knows of the connection.
func (s *Stream) info() (*unix.TCPInfo, error) {
	raw, err := s.client.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var (
		info   *unix.TCPInfo
		failed error
	)
	err = raw.Control(func(fd uintptr) { info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	return info, errors.Join(err, os.NewSyscallError("TCP_INFO", failed))
}

// Close ends the stream and returns what went wrong until then.
func (s *Stream) Close() error {
	s.mu.Lock()
	before := s.err
	s.mu.Unlock()
	err := errors.Join(before, s.sink.Close(), s.client.Close())
	s.done.Wait()
	return err
}
