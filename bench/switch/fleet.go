// Package fleet is a fleet of emulated OpenFlow 1.3 switches that loads a controller with
// packet-ins: the same load for every controller, whoever wrote it.
//
// A switch of the fleet introduces itself as any switch does and then keeps a number of
// packet-ins unanswered, sending the next one when an answer comes (a closed loop, as in
// cbench). There is no forwarding behind it; what a controller programs is counted and
// forgotten. For switches that remember there is package sim, and Sims.
//
// # What is an answer
//
// Packet-ins carry the whole frame and no buffer, as those of Open vSwitch do since 2.7,
// so the answer to one is a packet-out with that frame in it. Each frame holds a number
// of its own in its payload. A packet-out counts if the frame is one that waits for its
// answer, byte for byte, if in_port is where it came in, and if its actions would bring
// it to its destination: by the port where that host has sent from, or by flooding, or by
// handing it back to the switch (NORMAL, TABLE). Whatever else comes is wrong or
// unsolicited and never counts. A flow-mod alone is no answer, since without a buffer the
// frame would be lost.
package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options describe a fleet. Zero fields stand for what their comment says.
type Options struct {
	Switches int // 1
	// InFlight is how many packet-ins each switch keeps unanswered, at most MaxInFlight. With
	// 0 a switch sends none.
	InFlight int
	// Hosts is how many MAC addresses send behind each switch, 256; Ports over how many ports
	// they are spread, 4. Hosts must be a multiple of twice Ports, and Ports at least 2.
	Hosts, Ports int
	// Versions are the OpenFlow versions that the hello offers by its bitmap, as wire
	// numbers; {4}, which is OpenFlow 1.3. It has to be among them.
	Versions []uint8
	// LossTimeout is when a packet-in without an answer is counted as lost and another takes its
	// place; 1 s.
	LossTimeout time.Duration
}

// MaxInFlight bounds Options.InFlight: so much fits into the socket buffers on the way, both as
// packet-ins and as answers, that neither end can make the other wait to write.
const MaxInFlight = 1024

// probeInterval is how long a switch waits for the answer to its very first packet-in before
// it sends another: controllers drop those that come before they are done with the handshake.
const probeInterval = 50 * time.Millisecond

func (o Options) complete() (Options, error) {
	o.Switches = cmp.Or(o.Switches, 1)
	o.Hosts, o.Ports = cmp.Or(o.Hosts, 256), cmp.Or(o.Ports, 4)
	o.LossTimeout = cmp.Or(o.LossTimeout, time.Second)
	if o.Versions == nil {
		o.Versions = []uint8{version}
	}
	switch {
	case o.Switches < 1 || o.Switches > 1<<16:
		return o, fmt.Errorf("fleet: %d switches: want 1 … %d", o.Switches, 1<<16)
	case o.InFlight < 0 || o.InFlight > MaxInFlight:
		return o, fmt.Errorf("fleet: %d packet-ins in flight: want 0 … %d", o.InFlight, MaxInFlight)
	case o.Ports < 2 || o.Ports > 1024 || o.Hosts < 2*o.Ports || o.Hosts > 1<<16 || o.Hosts%(2*o.Ports) != 0:
		return o, fmt.Errorf("fleet: %d hosts on %d ports: want 2 … 1024 ports and a multiple of twice as many hosts, at most %d",
			o.Hosts, o.Ports, 1<<16)
	case o.LossTimeout < time.Millisecond || o.LossTimeout > 30*time.Second:
		return o, fmt.Errorf("fleet: loss after %v: want 1 ms … 30 s", o.LossTimeout)
	}
	_, err := appendHello(nil, o.Versions)
	return o, err
}

// Fleet is a fleet that is connected. Its methods may be called concurrently, but of Window
// only one at a time.
type Fleet struct {
	opts     Options
	start    time.Time
	switches []*emulated
	loading  atomic.Bool

	ctx    context.Context // ends with the fleet, its cause is why
	cancel context.CancelCauseFunc
	group  errgroup.Group
}

var errClosed = errors.New("fleet: closed")

// Dial connects every switch to the controller at addr and returns when each of them
// is served: when its first packet-in has been answered or, of a fleet that sends none, its
// features have been asked for. ctx bounds Dial, not the fleet.
func Dial(ctx context.Context, network, addr string, o Options) (*Fleet, error) {
	var d net.Dialer
	return connect(ctx, o, func() (net.Conn, error) { return d.DialContext(ctx, network, addr) })
}

// Accept is Dial for a controller that connects to its switches: each connection that l
// accepts is one to the next switch. It does not close l; a ctx that ends does.
func Accept(ctx context.Context, l net.Listener, o Options) (*Fleet, error) {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	return connect(ctx, o, l.Accept)
}

func connect(ctx context.Context, o Options, next func() (net.Conn, error)) (*Fleet, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	f := &Fleet{opts: o, start: time.Now()}
	f.ctx, f.cancel = context.WithCancelCause(context.Background())
	for i := range o.Switches {
		nc, err := next()
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("fleet: switch %d of %d: connect: %w", i+1, o.Switches, err)
		}
		s := newEmulated(f, i, nc)
		f.switches = append(f.switches, s)
		context.AfterFunc(f.ctx, func() { nc.Close() })
		f.group.Go(func() error {
			if err := s.serve(); err != nil {
				f.cancel(fmt.Errorf("fleet: switch %d of %d: %w", i+1, o.Switches, err))
			}
			return nil
		})
	}
	if err := f.awaitReady(ctx); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *Fleet) awaitReady(ctx context.Context) error {
	for i, s := range f.switches {
		select {
		case <-s.ready:
		case <-f.ctx.Done():
			return f.Err()
		case <-ctx.Done():
			return fmt.Errorf("fleet: switch %d of %d: the controller at %v does not serve it (%s): %w",
				i+1, len(f.switches), s.nc.RemoteAddr(), s.progress(), context.Cause(ctx))
		}
	}
	return nil
}

// Err says why the fleet ended; nil while all of its switches are connected.
func (f *Fleet) Err() error {
	if f.ctx.Err() == nil {
		return nil
	}
	return context.Cause(f.ctx)
}

// Close disconnects the switches and waits for their goroutines. It always returns nil.
func (f *Fleet) Close() error {
	f.cancel(errClosed)
	f.group.Wait() //nolint:errcheck // they report by f.cancel
	return nil
}

// Load makes the switches begin to send. They go on until Close.
func (f *Fleet) Load() {
	f.loading.Store(true)
	for _, s := range f.switches {
		s.wake()
	}
}

// Window is what the fleet counts from now on for the time d. The load should have gone on for a
// moment, for the controller to have met all hosts. The error is of a switch that lost its
// connection, or of ctx.
func (f *Fleet) Window(ctx context.Context, d time.Duration) (*Report, error) {
	open, shut := make([]*stats, len(f.switches)), make([]*stats, len(f.switches))
	for i := range f.switches { // beforehand: it takes time
		open[i], shut[i] = newStats(f.opts.InFlight > 0), newStats(false)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	start := time.Now()
	for i, s := range f.switches {
		s.swap(open[i])
	}
	select {
	case <-timer.C:
	case <-f.ctx.Done():
		return nil, f.Err()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	// One after the other takes microseconds; the difference is in no switch's favour.
	for i, s := range f.switches {
		s.swap(shut[i])
	}
	return merge(open, time.Since(start)), nil
}
