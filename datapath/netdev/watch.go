package netdev

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// LinkWatch tells when interfaces of a namespace may have changed.
type LinkWatch struct {
	ns *Namespace
	f  *os.File
}

// WatchLinks begins to watch the namespace's interfaces (rtnetlink(7),
// RTMGRP_LINK). What changes from now on is not missed.
func (ns *Namespace) WatchLinks() (*LinkWatch, error) {
	fd := -1
	err := ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
		return err
	})
	if err == nil {
		if err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return nil, ns.wrap("watch interfaces", "", err)
	}
	return &LinkWatch{ns: ns, f: os.NewFile(uintptr(fd), "rtnetlink")}, nil
}

// Close ends the watch; a Wait returns.
func (w *LinkWatch) Close() error { return w.f.Close() }

// Wait returns when something may have changed since the last Wait: a sign to
// look. When ctx is done the watch is closed, and the error is that of ctx.
func (w *LinkWatch) Wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { w.f.Close() })
	defer stop()
	raw, err := w.f.SyscallConn()
	if err == nil {
		var failed error
		err = raw.Read(func(fd uintptr) bool {
			// All that is there is one sign. Also when there was more than the socket
			// holds (ENOBUFS) something has changed, and nothing else is asked of it.
			var notice [1]byte
			seen := false
			for {
				_, _, rerr := unix.Recvfrom(int(fd), notice[:], unix.MSG_DONTWAIT|unix.MSG_TRUNC)
				switch {
				case errors.Is(rerr, unix.EAGAIN):
					return seen
				case errors.Is(rerr, unix.EINTR):
				case rerr == nil || errors.Is(rerr, unix.ENOBUFS):
					seen = true
				default:
					failed = rerr
					return true
				}
			}
		})
		err = errors.Join(err, failed)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return w.ns.wrap("watch interfaces", "", err)
	}
	return nil
}
