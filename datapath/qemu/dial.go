package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
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

// DialConsole connects to the serial console of the machine in dir. While
// another client has it, what is read comes only when that one has left.
func DialConsole(ctx context.Context, dir string) (net.Conn, error) {
	return dial(ctx, dir, ConsoleSocket)
}
