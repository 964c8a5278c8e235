package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	golibvirt "github.com/digitalocean/go-libvirt"
)

// Escape is the byte that ends a console, ^] as in virsh and telnet.
const Escape = 0x1d

// ConsoleSharing is what is done about somebody who has the console open.
type ConsoleSharing uint32

// The ways. libvirt gives a console to one at a time.
const (
	ConsoleRefuse ConsoleSharing = ConsoleSharing(golibvirt.DomainConsoleSafe)
	ConsoleTake   ConsoleSharing = ConsoleSharing(golibvirt.DomainConsoleForce)
)

// Streams are a terminal.
type Streams struct {
	In  io.Reader
	Out io.Writer
}

// Console connects the streams to the serial console of a running domain until In
// has an Escape, the domain stops, or ctx is done; the first two are no errors. When
// In ends, the rest is only shown. A Read of In may outlive Console, since nothing
// can end it.
func (c *Conn) Console(ctx context.Context, name string, s Streams, sharing ConsoleSharing) error {
	d, state, err := c.find(ctx, name)
	if err != nil {
		return err
	}
	if !state.On() {
		return fmt.Errorf("console of domain %s: it is %s; start it first", name, state)
	}
	own, err := c.again(ctx)
	if err != nil {
		return err
	}
	defer own.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	out := &screen{out: s.Out, failed: make(chan error, 1)}
	ended := make(chan error, 1)
	go func() {
		ended <- tell(ctx, own, "console of domain "+name, func(l *golibvirt.Libvirt) error {
			return l.DomainOpenConsole(d, nil, out, uint32(sharing))
		})
	}()
	typed := make(chan error, 1)
	for opened := own.wire.opened; ; {
		select {
		case <-opened:
			opened = nil
			go func() { typed <- own.wire.keyboard(s.In) }()
		case err := <-ended:
			return err
		case err := <-out.failed:
			return err
		case err := <-typed:
			if err == nil {
				err = own.wire.console(statusOK, nil)
			}
			if !errors.Is(err, io.EOF) {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// keyboard sends what is typed, until an Escape, or until in ends, which is io.EOF.
func (w *wire) keyboard(in io.Reader) error {
	buf := make([]byte, 4096)
	for {
		n, err := in.Read(buf)
		escape := bytes.IndexByte(buf[:n], Escape)
		if escape >= 0 {
			n, err = escape, nil
		}
		if n > 0 {
			if err := w.console(statusContinue, buf[:n]); err != nil {
				return err
			}
		}
		if escape >= 0 || err != nil {
			return err
		}
	}
}

// screen is what go-libvirt writes a console to: a Write that failed would lock it up.
type screen struct {
	out    io.Writer
	failed chan error // the one error of out
	dead   bool
}

func (s *screen) Write(p []byte) (int, error) {
	if s.dead {
		return len(p), nil
	}
	if _, err := s.out.Write(p); err != nil {
		s.dead = true
		s.failed <- err
	}
	return len(p), nil
}
