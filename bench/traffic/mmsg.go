package traffic

import (
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of sendmmsg(2) and recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32 // of what was received, bytes
}

// batch is a fixed number of datagrams of one length, sent or received by one system
// call: with one call for each, the generator would cost more than the switch.
// It is not for concurrent use.
type batch struct {
	conn syscall.RawConn
	data [][]byte
	iov  []unix.Iovec
	msgs []mmsghdr
}

// newBatch is a batch for a socket, which must be connected if it is to send.
func newBatch(conn *net.UDPConn, count, size int) (*batch, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	b := &batch{conn: raw, data: make([][]byte, count), iov: make([]unix.Iovec, count), msgs: make([]mmsghdr, count)}
	for i := range count {
		b.data[i] = make([]byte, size)
		b.iov[i].Base = &b.data[i][0]
		b.iov[i].SetLen(size)
		b.msgs[i].hdr.Iov = &b.iov[i]
		b.msgs[i].hdr.SetIovlen(1)
	}
	return b, nil
}

// send sends the whole batch and returns how many datagrams the
// kernel took.
func (b *batch) send() (int, error) {
	return b.call(b.conn.Write, unix.SYS_SENDMMSG)
}

// receive waits until there is a datagram, or the socket's read deadline has passed
// (os.ErrDeadlineExceeded), and takes what has come.
func (b *batch) receive() (int, error) {
	return b.call(b.conn.Read, unix.SYS_RECVMMSG)
}

// call makes a system call when the runtime's poller says that the socket is ready.
func (b *batch) call(ready func(func(fd uintptr) bool) error, number uintptr) (int, error) {
	var (
		n     uintptr
		errno syscall.Errno
	)
	err := ready(func(fd uintptr) bool {
		for {
			n, _, errno = unix.Syscall6(number, fd, uintptr(unsafe.Pointer(&b.msgs[0])), uintptr(len(b.msgs)), unix.MSG_DONTWAIT, 0, 0)
			if errno != unix.EINTR {
				break
			}
		}
		return errno != unix.EAGAIN
	})
	if err != nil {
		return 0, err
	}
	if errno != 0 {
		name := "sendmmsg"
		if number == unix.SYS_RECVMMSG {
			name = "recvmmsg"
		}
		return 0, os.NewSyscallError(name, errno)
	}
	return int(n), nil
}

// bytes is what datagram i of a received batch holds.
func (b *batch) bytes(i int) []byte { return b.data[i][:min(int(b.msgs[i].len), len(b.data[i]))] }
