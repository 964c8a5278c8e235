package qemu

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ofctl-lab/ofctl-lab/datapath/closed"
)

const (
	// maxMessage bounds one message of qemu or of a guest agent, in bytes. The
	// longest expected, a query-named-block-nodes, has some ten thousand.
	maxMessage = 1 << 20
	// maxEvents is how many events wait for somebody to read them.
	maxEvents = 256
	// maxText is how much of the other side's own words goes into an error.
	maxText = 512
)

// ErrClosed is that of commands in a session that has ended, of QMP or with a guest agent:
// the other side has gone, or this one has closed it. It wraps the cause, which a read or a
// write may have found.
var ErrClosed = errors.New("the session has ended")

// QMP is a session with a running qemu (its QEMU Machine Protocol). It is safe
// for concurrent use; one goroutine reads in order, and ends with Close.
type QMP struct {
	conn   net.Conn
	events chan Event
	done   chan struct{} // closed when the reader has ended; err says why

	writeMu sync.Mutex

	mu      sync.Mutex // guards what follows
	next    uint64
	pending map[uint64]chan reply
	err     error
}

// Event is what qemu tells unasked: SHUTDOWN, RESET, RESUME, MIGRATION …
type Event struct {
	Name string
	Data json.RawMessage
}

// Error is qemu's, or a guest agent's, refusal of a command.
type Error struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *Error) Error() string { return e.Desc }

type reply struct {
	result json.RawMessage
	err    error
}

// message is any message from qemu: a greeting, an event or a reply.
type message struct {
	QMP    json.RawMessage `json:"QMP"`
	Event  string          `json:"event"`
	Data   json.RawMessage `json:"data"`
	Return json.RawMessage `json:"return"`
	Error  *Error          `json:"error"`
	ID     *uint64         `json:"id"`
}

// decodeMessage decodes one line of qemu's.
func decodeMessage(line []byte) (message, error) {
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		return message{}, fmt.Errorf("a message that cannot be read: %w: %s", err, clip(line))
	}
	if m.Error != nil {
		m.Error.Class, m.Error.Desc = clip([]byte(m.Error.Class)), clip([]byte(m.Error.Desc))
	}
	m.Event = clip([]byte(m.Event))
	return m, nil
}

// clip is the beginning of what the other side said, as plain text.
func clip(b []byte) string {
	end := ""
	if len(b) > maxText {
		b, end = b[:maxText], "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b), "?")) + end
}

// DialQMP opens a session with the machine in dir by one of its QMP sockets,
// which serves one client at a time: while there is another it waits until ctx is
// done.
func DialQMP(ctx context.Context, dir, socket string) (*QMP, error) {
	conn, err := dial(ctx, dir, socket)
	if err != nil {
		return nil, err
	}
	return NewQMP(ctx, conn)
}

// NewQMP opens a session on a connection, which it closes in the end, also if it
// fails.
func NewQMP(ctx context.Context, conn net.Conn) (*QMP, error) {
	lines := newScanner(conn)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	greeted := lines.Scan()
	if !stop() {
		return nil, fmt.Errorf("QMP: no greeting: %w", ctx.Err())
	}
	var m message
	err := scanError(lines)
	if greeted {
		m, err = decodeMessage(lines.Bytes())
	}
	if err == nil && m.QMP == nil {
		err = fmt.Errorf("it does not speak QMP: %s", clip(lines.Bytes()))
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("QMP: greeting: %w", closed.As(ErrClosed, err))
	}
	q := &QMP{conn: conn, events: make(chan Event, maxEvents), done: make(chan struct{}), pending: map[uint64]chan reply{}}
	go q.read(lines)
	if err := q.Execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		q.Close()
		return nil, err
	}
	return q, nil
}

func newScanner(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), maxMessage)
	return s
}

// scanError is why a scanner has ended.
func scanError(s *bufio.Scanner) error {
	switch err := s.Err(); {
	case err == nil:
		return io.EOF
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("a message of more than %d bytes", maxMessage)
	default:
		return err
	}
}

// Close ends the session. The machine runs on.
func (q *QMP) Close() error {
	err := q.conn.Close()
	<-q.done
	return err
}

// Done is closed when the session has ended, also because qemu has.
func (q *QMP) Done() <-chan struct{} { return q.done }

// Events are the events since the session began. Those that nobody reads, beyond
// 256, are dropped, newest first: whoever acts on them asks how things are, and
// takes them only as a sign that they have changed. Closed with the session.
func (q *QMP) Events() <-chan Event { return q.events }

func (q *QMP) read(lines *bufio.Scanner) {
	var err error
	for err == nil {
		if !lines.Scan() {
			err = scanError(lines)
			break
		}
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var m message
		if m, err = decodeMessage(line); err == nil {
			q.take(m)
		}
	}
	q.conn.Close() // also a peer that talks nonsense is left alone
	q.mu.Lock()
	q.err = fmt.Errorf("%w: %w", ErrClosed, err)
	q.mu.Unlock()
	close(q.events)
	close(q.done)
}

// take hands a message to whoever waits for it. Nobody does for a reply after its
// command's ctx has ended, or for one that qemu makes up.
func (q *QMP) take(m message) {
	if m.Event != "" {
		select {
		case q.events <- Event{Name: m.Event, Data: bytes.Clone(m.Data)}:
		default:
		}
		return
	}
	if m.ID == nil {
		return
	}
	q.mu.Lock()
	waiting := q.pending[*m.ID]
	delete(q.pending, *m.ID)
	q.mu.Unlock()
	if waiting == nil {
		return
	}
	r := reply{result: bytes.Clone(m.Return)}
	if m.Error != nil {
		r = reply{err: m.Error}
	}
	waiting <- r
}

// Execute runs a command and decodes what it returns into result, unless that is
// nil. A refusal is an [*Error]. When ctx is done it returns, and the command may
// or may not have been run; nor is that known when the error is ErrClosed.
func (q *QMP) Execute(ctx context.Context, command string, arguments, result any) error {
	waiting := make(chan reply, 1)
	q.mu.Lock()
	q.next++
	id := q.next
	q.pending[id] = waiting
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		delete(q.pending, id)
		q.mu.Unlock()
	}()
	if err := q.send(ctx, request{Execute: command, Arguments: arguments, ID: id}); err != nil {
		return fmt.Errorf("QMP: %s: %w", command, q.writeError(err))
	}
	var r reply
	select {
	case r = <-waiting:
	case <-ctx.Done():
		return fmt.Errorf("QMP: %s: %w", command, ctx.Err())
	case <-q.done:
		// The last reply may have come just before.
		select {
		case r = <-waiting:
		default:
			return fmt.Errorf("QMP: %s: %w", command, q.ended())
		}
	}
	if r.err != nil {
		return fmt.Errorf("QMP: %s: %w", command, r.err)
	}
	if err := decodeResult(r.result, result); err != nil {
		return fmt.Errorf("QMP: %s: %w", command, err)
	}
	return nil
}

// writeError is the error of a write as ErrClosed if the session has ended. The reader may
// have ended it for a better reason than that the connection is closed.
func (q *QMP) writeError(err error) error {
	if !closed.Is(err) {
		return err
	}
	select {
	case <-q.done:
		return q.ended()
	default:
		return closed.As(ErrClosed, err)
	}
}

// ended is why the session has, once it has.
func (q *QMP) ended() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// decodeResult decodes what a command has returned into result, unless that is nil.
func decodeResult(returned json.RawMessage, result any) error {
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(returned, result); err != nil {
		return fmt.Errorf("its result: %w: %s", err, clip(returned))
	}
	return nil
}

type request struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
	ID        uint64 `json:"id,omitempty"`
}

func (q *QMP) send(ctx context.Context, r request) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	q.writeMu.Lock()
	defer q.writeMu.Unlock()
	return writeAll(ctx, q.conn, append(line, '\n'))
}

// writeAll writes until ctx is done, after which the connection is of no use: a
// part of the message may be on its way.
func writeAll(ctx context.Context, conn net.Conn, b []byte) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	_, err := conn.Write(b)
	if !stop() {
		return ctx.Err()
	}
	return err
}

// PassFile gives qemu a copy of an open file under a name that a command may use
// as fd:NAME.
func (q *QMP) PassFile(ctx context.Context, name string, f *os.File) error {
	conn, ok := q.conn.(*net.UnixConn)
	if !ok {
		return errors.New("QMP: pass a file: the session is on no unix socket")
	}
	// The descriptor has to come before the command that asks for it (getfd), and
	// goes with a byte that means nothing in JSON.
	q.writeMu.Lock()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	_, _, err := conn.WriteMsgUnix([]byte(" "), unix.UnixRights(int(f.Fd())), nil)
	stop()
	q.writeMu.Unlock()
	if err != nil {
		return fmt.Errorf("QMP: pass a file: %w", q.writeError(err))
	}
	return q.Execute(ctx, "getfd", map[string]string{"fdname": name}, nil)
}
