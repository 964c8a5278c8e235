package qemu

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/closed"
)

const (
	// maxAgentMessage bounds one message of a guest agent. The agent itself keeps
	// at most 16 MiB of a program's output, which base64 makes a third longer.
	maxAgentMessage = 48 << 20
	// maxInput bounds what a program in a guest is given to read.
	maxInput = 8 << 20
	// syncByte, invalid in UTF-8 and so in JSON, begins the answer to
	// guest-sync-delimited.
	syncByte = 0xff
)

// agentPoll is between the questions whether a program has ended: the protocol
// has no event for it.
const (
	agentPollLeast = 20 * time.Millisecond
	agentPollMost  = 500 * time.Millisecond
)

// Agent is a session with the guest agent (qemu-ga) inside a machine. One command
// at a time; it is not safe for concurrent use.
type Agent struct {
	conn   net.Conn
	reader *bufio.Reader
}

// DialAgent opens a session with the agent of the machine in dir. It waits until
// the agent answers, as after a boot, or ctx is done.
func DialAgent(ctx context.Context, dir string) (*Agent, error) {
	conn, err := dial(ctx, dir, AgentSocket)
	if err != nil {
		return nil, err
	}
	return NewAgent(ctx, conn)
}

// NewAgent opens a session on a connection, which it closes in the end, also if
// it fails.
func NewAgent(ctx context.Context, conn net.Conn) (*Agent, error) {
	a := &Agent{conn: conn, reader: bufio.NewReader(conn)}
	if err := a.sync(ctx); err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: it does not run, or the guest is still booting", ctx.Err())
		}
		return nil, fmt.Errorf("guest agent: %w", closed.As(ErrClosed, err))
	}
	return a, nil
}

// Close ends the session.
func (a *Agent) Close() error { return a.conn.Close() }

// sync brings both sides to the beginning of a message: an earlier client may
// have left half a question, or an answer that nobody has read.
func (a *Agent) sync(ctx context.Context) error {
	defer a.until(ctx)()
	id := rand.Int64N(1 << 50)
	line, err := json.Marshal(request{Execute: "guest-sync-delimited", Arguments: map[string]int64{"id": id}})
	if err != nil {
		return err
	}
	// The byte in front ends what an earlier client has left half said.
	if _, err := a.conn.Write(append(append([]byte{syncByte}, line...), '\n')); err != nil {
		return err
	}
	for skipped := 0; ; {
		b, err := a.reader.ReadByte()
		if err != nil {
			return err
		}
		if b != syncByte {
			if skipped++; skipped > maxAgentMessage {
				return errors.New("it sends what was not asked for")
			}
			continue
		}
		line, err := readLine(a.reader, maxMessage)
		if err != nil {
			return err
		}
		var answer struct {
			Return int64 `json:"return"`
		}
		if json.Unmarshal(line, &answer) == nil && answer.Return == id {
			return nil
		}
	}
}

// until ends what the connection is at when ctx is done; the function it returns
// ends the watch.
func (a *Agent) until(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, func() { a.conn.Close() })
	return func() { stop() }
}

// readLine is the next line, without its end, of at most limit bytes.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return nil, fmt.Errorf("a message of more than %d bytes", limit)
		}
		line = append(line, part...)
		if err == nil {
			return bytes.TrimRight(line, "\r\n"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// Execute runs a command of the agent's and decodes what it returns into result,
// unless that is nil. A refusal is an [*Error]. After any other error the session
// is of no use; it is ErrClosed if the other side has gone, as qemu or its agent does.
func (a *Agent) Execute(ctx context.Context, command string, arguments, result any) error {
	defer a.until(ctx)()
	line, err := json.Marshal(request{Execute: command, Arguments: arguments})
	if err == nil {
		_, err = a.conn.Write(append(line, '\n'))
	}
	var answer []byte
	if err == nil {
		answer, err = readLine(a.reader, maxAgentMessage)
	}
	var m message
	if err == nil {
		m, err = decodeMessage(bytes.TrimLeft(answer, string([]byte{syncByte})))
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("guest agent: %s: %w", command, closed.As(ErrClosed, err))
	}
	if m.Error != nil {
		return fmt.Errorf("guest agent: %s: %w", command, m.Error)
	}
	if err := decodeResult(m.Return, result); err != nil {
		return fmt.Errorf("guest agent: %s: %w", command, err)
	}
	return nil
}

// GuestCommand is a program to run in a guest.
type GuestCommand struct {
	Argv []string
	Env  []string // name=value; empty takes the agent's
	// Stdin is what it reads, to its end before it is started; nil is nothing.
	Stdin io.Reader
	// Stdout and Stderr get what it wrote, once it has ended; nil drops it.
	Stdout, Stderr io.Writer
}

// Exec runs a program in the guest to its end and returns its exit code; 128 and
// the signal's number if a signal ended it. The agent keeps 16 MiB of its output;
// that some is missing is an error. When ctx is done Exec returns, and the program
// runs on.
func (a *Agent) Exec(ctx context.Context, c GuestCommand) (code int, err error) {
	if len(c.Argv) == 0 {
		return -1, errors.New("guest agent: there is no command")
	}
	arguments := execArguments{Path: c.Argv[0], Arg: c.Argv[1:], Env: c.Env, Capture: true}
	if c.Stdin != nil {
		arguments.Input, err = io.ReadAll(io.LimitReader(c.Stdin, maxInput+1))
		if err != nil {
			return -1, fmt.Errorf("guest agent: read the input: %w", err)
		}
		if len(arguments.Input) > maxInput {
			return -1, fmt.Errorf("guest agent: the input is longer than %d bytes", maxInput)
		}
	}
	var started struct {
		PID int64 `json:"pid"`
	}
	if err := a.Execute(ctx, "guest-exec", arguments, &started); err != nil {
		var refused *Error
		if errors.As(err, &refused) {
			return -1, fmt.Errorf("%s: %w: %w", c.Argv[0], ErrNotStarted, err)
		}
		return -1, err
	}
	status, err := a.awaitExit(ctx, started.PID)
	if err != nil {
		return -1, err
	}
	for _, s := range []struct {
		to   io.Writer
		data []byte
	}{{c.Stdout, status.Out}, {c.Stderr, status.Err}} {
		if s.to == nil {
			continue
		}
		if _, err := s.to.Write(s.data); err != nil {
			return -1, err
		}
	}
	if status.OutTruncated || status.ErrTruncated {
		return -1, fmt.Errorf("guest agent: %s: its output is longer than the agent keeps, and is not whole", c.Argv[0])
	}
	if status.Signal != 0 {
		return 128 + status.Signal, nil
	}
	return status.ExitCode, nil
}

// ErrNotStarted says that the guest could not start a program.
var ErrNotStarted = errors.New("cannot be started in the guest")

// execArguments and execStatus are those of guest-exec and guest-exec-status;
// bytes are base64 in JSON for both sides.
type execArguments struct {
	Path    string   `json:"path"`
	Arg     []string `json:"arg,omitempty"`
	Env     []string `json:"env,omitempty"`
	Input   []byte   `json:"input-data,omitempty"`
	Capture bool     `json:"capture-output"`
}

type execStatus struct {
	Exited       bool   `json:"exited"`
	ExitCode     int    `json:"exitcode"`
	Signal       int    `json:"signal"`
	Out          []byte `json:"out-data"`
	Err          []byte `json:"err-data"`
	OutTruncated bool   `json:"out-truncated"`
	ErrTruncated bool   `json:"err-truncated"`
}

func (a *Agent) awaitExit(ctx context.Context, pid int64) (execStatus, error) {
	pause := agentPollLeast
	for {
		var s execStatus
		if err := a.Execute(ctx, "guest-exec-status", map[string]int64{"pid": pid}, &s); err != nil || s.Exited {
			return s, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return execStatus{}, fmt.Errorf("guest agent: the program has not ended: %w", ctx.Err())
		}
		pause = min(2*pause, agentPollMost)
	}
}

// Shutdown asks the guest to power off or to reboot. It returns when the guest
// has been asked: an agent whose guest agrees gives no answer.
func (a *Agent) Shutdown(ctx context.Context, how ShutdownMode) error {
	line, err := json.Marshal(request{Execute: "guest-shutdown", Arguments: map[string]string{"mode": string(how)}})
	if err == nil {
		err = writeAll(ctx, a.conn, append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("guest agent: guest-shutdown: %w", closed.As(ErrClosed, err))
	}
	return nil
}

// ShutdownMode is what a guest is asked to do.
type ShutdownMode string

// The modes.
const (
	PowerOff ShutdownMode = "powerdown"
	Reboot   ShutdownMode = "reboot"
)
