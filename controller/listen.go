package controller

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// listenUnix serves on a unix socket that the owner's group may use. A socket
// that a dead controller left is replaced; one on which somebody answers, or
// anything that is no socket, is an error.
func listenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("api.socket: %w; name another with api.socket", err)
	}
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("api.socket: %w", err)
	case st.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("api.socket: %s exists and is no socket; move it away or name another", path)
	default:
		if nc, err := net.DialTimeout("unix", path, time.Second); err == nil {
			_ = nc.Close()
			return nil, fmt.Errorf("api.socket: somebody serves on %s already; stop the other controller or name another socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("api.socket: the socket a controller left behind cannot be removed: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("api.socket: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("api.socket: %w", err), l.Close())
	}
	return l, nil
}
