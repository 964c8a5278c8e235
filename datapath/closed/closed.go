// Package closed tells whether a connection failed because one of its ends closed it.
//
// Which error that gives is a race: a write finds a broken pipe, a read the end of the
// stream or a reset, and whichever comes first ends the session. Clients have one error of
// their own for all of them, made by [As].
package closed

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// kinds are what reads and writes of a connection return that is closed. ErrClosed of net
// and os and io.ErrClosedPipe are those of a connection that this end has closed.
var kinds = [...]error{
	io.EOF, io.ErrUnexpectedEOF, syscall.EPIPE, syscall.ECONNRESET, syscall.ECONNABORTED,
	net.ErrClosed, os.ErrClosed, io.ErrClosedPipe,
}

// Is reports whether the error of a read or write says that the connection is closed. It
// is not for errors of a decoder, in which io.EOF says that a message is too short.
func Is(err error) bool {
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// As is the error of a read or write as one that is sentinel too, if it says that the
// connection is closed, else as it is.
func As(sentinel, err error) error {
	if !Is(err) || errors.Is(err, sentinel) {
		return err
	}
	return fmt.Errorf("%w: %w", sentinel, err)
}
