package ovsctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// Options say which Open vSwitch. The zero value is the machine's own.
type Options struct {
	// RunDir holds the sockets; the tools' own default when empty
	// ($OVS_RUNDIR or /var/run/openvswitch).
	RunDir string
	// DB is the database's target, unix:RunDir/db.sock when empty.
	DB string
	// Control is the socket by which ovs-vswitchd takes ovs-appctl's commands. When
	// it is empty the switch's pidfile in RunDir leads there.
	Control string
	// Timeout bounds each command; 10 s when 0.
	Timeout time.Duration
}

// Client runs the tools. It holds no state, and may be used from any goroutine.
type Client struct{ o Options }

const (
	defaultRunDir  = "/var/run/openvswitch"
	defaultTimeout = 10 * time.Second
)

// New makes a client; it runs nothing.
func New(o Options) *Client {
	if o.RunDir == "" {
		o.RunDir = os.Getenv("OVS_RUNDIR")
	}
	if o.RunDir == "" {
		o.RunDir = defaultRunDir
	}
	if o.DB == "" {
		o.DB = "unix:" + filepath.Join(o.RunDir, "db.sock")
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	return &Client{o}
}

// CommandError is a command that failed.
type CommandError struct {
	Argv   []string
	Stderr string // what it said
	Err    error  // *exec.ExitError, *exec.Error or a context's error
}

func (e *CommandError) Error() string {
	text := fmt.Sprintf("%s: %v", strings.Join(e.Argv, " "), e.Err)
	if e.Stderr != "" {
		text += ": " + e.Stderr
	}
	if errors.Is(e.Err, exec.ErrNotFound) {
		text += "; install Open vSwitch (Debian: apt-get install openvswitch-switch)"
	}
	return text
}

// Unwrap gives the cause.
func (e *CommandError) Unwrap() error { return e.Err }

const (
	maxOutput = 256 << 20 // bytes; half a million flows
	maxStderr = 4 << 10   // bytes kept for an error
)

var errTooMuch = errors.New("more output than is taken")

// limitedBuffer keeps the first limit bytes written; more is an error, or is
// dropped when lossy. The buffer is a field and not embedded: its ReadFrom, which
// io.Copy prefers, would know no limit.
type limitedBuffer struct {
	kept  bytes.Buffer
	limit int
	lossy bool
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	room := b.limit - b.kept.Len()
	if len(p) <= room {
		return b.kept.Write(p)
	}
	if !b.lossy {
		return 0, errTooMuch
	}
	b.kept.Write(p[:room])
	return len(p), nil
}

// run runs a tool and gives its standard output.
func (c *Client) run(ctx context.Context, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+c.o.RunDir)
	// A child that outlives the tool must not keep the pipes, and us, waiting.
	cmd.WaitDelay = time.Second
	stdout, stderr := &limitedBuffer{limit: maxOutput}, &limitedBuffer{limit: maxStderr, lossy: true}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, &CommandError{Argv: append([]string{program}, args...), Stderr: strings.TrimSpace(stderr.kept.String()), Err: err}
	}
	return stdout.kept.Bytes(), nil
}

// vsctl is a go-openvswitch client for one call. Its commands go to our
// database, with extra at the end and so in the same transaction.
func (c *Client) vsctl(ctx context.Context, extra ...string) *ovs.VSwitchService {
	hook := func(program string, args ...string) ([]byte, error) {
		flags := []string{"--db=" + c.o.DB}
		return c.run(ctx, program, append(append(flags, args...), extra...)...)
	}
	return ovs.New(ovs.Exec(hook)).VSwitch
}

// cause takes go-openvswitch's wrapping, which adds nothing, off an error.
func cause(err error) error {
	var wrapped *ovs.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
