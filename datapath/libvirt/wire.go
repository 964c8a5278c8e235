package libvirt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	golibvirt "github.com/digitalocean/go-libvirt"
)

// The packets of libvirt's RPC (src/rpc/virnetprotocol.x): a length in bytes, itself
// included, and six words, then the payload.
const (
	packetHeader = 28
	// maxPacket is VIR_NET_MESSAGE_MAX, 32 MiB, and the length that is not part of it.
	maxPacket = 32<<20 + 4

	programRemote     = 0x20008086
	protocolVersion   = 1
	procConnectOpen   = 1   // REMOTE_PROC_CONNECT_OPEN
	procOpenConsole   = 201 // REMOTE_PROC_DOMAIN_OPEN_CONSOLE
	typeCall          = 0
	typeReply         = 1
	typeStream        = 3
	statusOK          = 0
	statusContinue    = 2
	wordOfProcedure   = 12 // its offset in bytes
	wordOfMessageType = 16
	wordOfSerial      = 20
	wordOfStatus      = 24
)

// wire is the socket below go-libvirt. It passes on only packets of a possible
// length, and lets others write packets between go-libvirt's.
type wire struct {
	net.Conn

	// Of the one goroutine that reads.
	head    [packetHeader]byte
	pending []byte // of head, not yet passed on
	left    int    // bytes of the packet after head, not yet passed on

	// accepted says that the daemon's consent to the connection is being passed on, and
	// consented that it has been. connected is closed when go-libvirt's Connect is
	// through: after the consent the end is held back until then, because Connect sets
	// without a lock what the goroutine reads that waits for the end.
	accepted, consented bool
	connected           chan struct{}
	closed              chan struct{} // by Close, once
	once                sync.Once

	lost atomic.Pointer[error] // what the last Read found; go-libvirt keeps it to itself

	// opened is closed when the daemon has opened a console. Only then does it
	// take what is typed.
	opened chan struct{}

	mu     sync.Mutex // orders what is written, whole packets each
	serial uint32     // of the call to open a console
}

// newWire wraps a connection. One console can be opened on it.
func newWire(conn net.Conn) *wire {
	return &wire{Conn: conn, opened: make(chan struct{}), connected: make(chan struct{}), closed: make(chan struct{})}
}

// Read is called by go-libvirt alone.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.pass(p)
	if err != nil {
		w.lost.Store(&err)
	}
	if w.accepted && w.left == 0 && len(w.pending) == 0 {
		w.consented = true
	}
	if err != nil && w.consented {
		select {
		case <-w.connected:
		case <-w.closed: // the consent was to something else, and Connect was given up
		}
	}
	return n, err
}

// why is the error of a call as ErrClosed with the cause, if go-libvirt says of it only that
// the connection has ended, else as it is.
func (w *wire) why(err error) error {
	if !errors.Is(err, golibvirt.ErrInterrupted) && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	if cause := w.lost.Load(); cause != nil {
		return fmt.Errorf("%w: %w", ErrClosed, *cause)
	}
	return ErrClosed
}

// Close closes the connection. It may be called again, and by anybody.
func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}

// pass passes on what comes, a packet's length checked first.
func (w *wire) pass(p []byte) (int, error) {
	if len(w.pending) == 0 && w.left == 0 {
		if _, err := io.ReadFull(w.Conn, w.head[:]); err != nil {
			return 0, err
		}
		n := binary.BigEndian.Uint32(w.head[:])
		if n < packetHeader || n > maxPacket {
			return 0, fmt.Errorf("a packet of %d bytes; libvirt's have %d to %d", n, packetHeader, maxPacket)
		}
		w.pending, w.left = w.head[:], int(n)-len(w.head)
		w.notice()
	}
	if len(w.pending) > 0 {
		n := copy(p, w.pending)
		w.pending = w.pending[n:]
		return n, nil
	}
	n, err := w.Conn.Read(p[:min(len(p), w.left)])
	w.left -= n
	return n, err
}

// notice looks at the header of a packet that has come.
func (w *wire) notice() {
	word := func(at int) uint32 { return binary.BigEndian.Uint32(w.head[at:]) }
	if word(wordOfMessageType) != typeReply || word(wordOfStatus) != statusOK {
		return
	}
	switch word(wordOfProcedure) {
	case procConnectOpen:
		w.accepted = true
	case procOpenConsole:
		select {
		case <-w.opened:
		default:
			close(w.opened)
		}
	}
}

// Write is called by go-libvirt alone, with one whole packet if it is of less than
// 4096 bytes, as a call to open a console is.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(p) >= packetHeader &&
		binary.BigEndian.Uint32(p[wordOfProcedure:]) == procOpenConsole &&
		binary.BigEndian.Uint32(p[wordOfMessageType:]) == typeCall {
		w.serial = binary.BigEndian.Uint32(p[wordOfSerial:])
	}
	return w.Conn.Write(p)
}

// console writes a packet of the console's stream: with statusContinue data, of much
// less than maxPacket, with statusOK its end.
func (w *wire) console(status uint32, data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := make([]byte, 0, packetHeader+len(data))
	for _, word := range []uint32{uint32(packetHeader + len(data)), programRemote, protocolVersion, procOpenConsole, typeStream, w.serial, status} {
		b = binary.BigEndian.AppendUint32(b, word)
	}
	if _, err := w.Conn.Write(append(b, data...)); err != nil {
		return explain("type at the console", err)
	}
	return nil
}
