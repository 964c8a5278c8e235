package ovsctl

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/closed"
)

// Control is a connection to the control socket of an ovs-vswitchd (ovs-appctl(8),
// lib/unixctl.c), for callers that have more to say than ovs-appctl, a process for each
// command, has time for: it does some thousand traces a second. It is for one
// goroutine.
type Control struct {
	nc net.Conn
	in *json.Decoder
	id int
}

// DialControl connects to the socket at that path.
func DialControl(ctx context.Context, path string) (*Control, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket of ovs-vswitchd: %w", err)
	}
	return &Control{nc: nc, in: json.NewDecoder(bufio.NewReader(nc))}, nil
}

// Close ends the connection.
func (c *Control) Close() error { return c.nc.Close() }

// ErrPeerClosed is that of a call on a connection that the switch has closed, whether a read
// or a write has found out. It wraps the cause.
var ErrPeerClosed = errors.New("the switch closed its control socket")

// RefusedError is what the switch says against a command.
type RefusedError struct {
	Command string
	Said    string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("%s: %s", e.Command, e.Said) }

// Call gives a command (JSON-RPC 1.0) and returns what the switch answers. An answer that is
// an error is a *RefusedError; after any other error the connection is of no more
// use.
func (c *Control) Call(ctx context.Context, command string, args ...string) (string, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.nc.SetDeadline(deadline); err != nil {
			return "", err
		}
		defer c.nc.SetDeadline(time.Time{})
	}
	if args == nil {
		args = []string{}
	}
	c.id++
	request, err := json.Marshal(map[string]any{"id": c.id, "method": command, "params": args})
	if err != nil {
		return "", err
	}
	if _, err := c.nc.Write(request); err != nil {
		return "", fmt.Errorf("%s: %w", command, closed.As(ErrPeerClosed, err))
	}
	var reply struct {
		ID     int     `json:"id"`
		Result *string `json:"result"`
		Error  *string `json:"error"`
	}
	if err := c.in.Decode(&reply); err != nil {
		return "", fmt.Errorf("%s: %w", command, closed.As(ErrPeerClosed, err))
	}
	switch {
	case reply.ID != c.id:
		return "", fmt.Errorf("%s: answer to %d, want %d", command, reply.ID, c.id)
	case reply.Error != nil:
		return "", &RefusedError{Command: command, Said: *reply.Error}
	case reply.Result == nil:
		return "", nil
	}
	return *reply.Result, nil
}
