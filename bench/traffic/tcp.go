package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

const (
	// streamChunk is what is written and read at once, in bytes, as by iperf3.
	streamChunk = 128 << 10
	// connectTimeout bounds the opening of a stream.
	connectTimeout = 10 * time.Second
)

// Stream is one TCP connection from a namespace to another through which zeros go as
// fast as they can.
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
	var listener *net.TCPListener
	err := to.Do(func() (err error) {
		listener, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", at, err)
	}
	defer listener.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := listener.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
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

// Close ends the stream and returns what went wrong until then.
func (s *Stream) Close() error {
	s.mu.Lock()
	before := s.err
	s.mu.Unlock()
	err := errors.Join(before, s.sink.Close(), s.client.Close())
	s.done.Wait()
	return err
}
