package traffic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// path is how the datagrams of a Paced go and come. send and receive are called by a
// goroutine each; receive ends with an error that is net.ErrClosed after Close.
type path interface {
	send(n uint64) error
	receive() (n uint64, err error)
	Close() error
}

// Paced is datagrams to a guest at a steady rate, each with a number, so that those
// which are lost, or come twice, are found: what a guest misses while something
// happens to it. It is the pace that tells how long that took, in datagrams. Its
// methods are for one goroutine.
type Paced struct {
	path     path
	interval time.Duration
	stop     chan struct{}
	arrival  chan struct{} // of size one: something has come since it was looked at
	running  sync.WaitGroup

	mu      sync.Mutex
	sent    uint64         // guarded by mu
	arrived map[uint64]int // guarded by mu: how often, by number
	refused error          // guarded by mu: why the newest that could not be sent was not
	err     error          // guarded by mu: why no more is received
}

// PacedCounts is what became of the datagrams of a Paced.
type PacedCounts struct {
	Sent uint64
	Lost uint64
	// InARow is the most that were lost one after the other: a gap, and not what a busy
	// guest loses now and then.
	InARow uint64
	// Twice is how many came more than once.
	Twice uint64
}

// maxPaced bounds how many datagrams are remembered.
const maxPaced = 10_000_000

// StartPaced sends rate UDP datagrams a second from one namespace to the IPv4 address
// at, which is in another, until End. rate is 1 … 10,000.
func StartPaced(from, to *netdev.Namespace, at netip.Addr, rate int) (*Paced, error) {
	d := &UDPLoad{}
	if err := d.open(from, to, at); err != nil {
		return nil, errors.Join(fmt.Errorf("UDP to %s: %w", at, err), d.Close())
	}
	return startPaced(datagrams{d.source, d.sink}, rate)
}

// StartPacedEcho sends rate echo requests a second from one station to another on the
// first one's wire, which stays the caller's, until End. What counts are the replies:
// it is for a guest that nothing of ours runs in.
func StartPacedEcho(wire *netdev.PacketConn, from, to Station, rate int) (*Paced, error) {
	ctx, cancel := context.WithCancel(context.Background())
	return startPaced(&echoes{echo: NewEcho(wire, from, to), ctx: ctx, cancel: cancel}, rate)
}

func startPaced(over path, rate int) (*Paced, error) {
	if rate < 1 || rate > 10_000 {
		return nil, errors.Join(fmt.Errorf("%d datagrams a second; use 1 to 10000", rate), over.Close())
	}
	p := &Paced{path: over, interval: time.Second / time.Duration(rate), stop: make(chan struct{}), arrival: make(chan struct{}, 1), arrived: map[uint64]int{}}
	p.running.Go(p.send)
	p.running.Go(p.receive)
	return p, nil
}

// datagrams is UDP from a namespace to another.
type datagrams struct{ source, sink *net.UDPConn }

func (d datagrams) send(n uint64) error {
	var b [SmallestPayload]byte
	binary.BigEndian.PutUint64(b[:], n)
	_, err := d.source.Write(b[:])
	return err
}

func (d datagrams) receive() (uint64, error) {
	var b [SmallestPayload + 1]byte
	for {
		n, err := d.sink.Read(b[:])
		if err != nil {
			return 0, err
		}
		if n == SmallestPayload {
			return binary.BigEndian.Uint64(b[:]), nil
		}
	}
}

func (d datagrams) Close() error { return errors.Join(d.source.Close(), d.sink.Close()) }

// echoes is echo requests and their replies on a wire.
type echoes struct {
	echo   *Echo
	ctx    context.Context
	cancel context.CancelFunc
}

// payload is where the number is in a request and its reply.
const payload = etherLen + ipv4Len + icmpLen

func (e *echoes) send(n uint64) error {
	binary.BigEndian.PutUint64(e.echo.frame[payload:], n)
	_, err := e.echo.send()
	return err
}

func (e *echoes) receive() (uint64, error) {
	for {
		f, err := e.echo.wire.Next(e.ctx)
		if e.ctx.Err() != nil {
			return 0, net.ErrClosed
		}
		if err != nil {
			return 0, err
		}
		if _, ok := e.echo.reply(f); ok && len(f.Data) >= payload+sequenceLen {
			return binary.BigEndian.Uint64(f.Data[payload:]), nil
		}
	}
}

func (e *echoes) Close() error { e.cancel(); return nil }

// send keeps the pace: what was due while it could not run is sent at once.
func (p *Paced) send() {
	due := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := uint64(0); n < maxPaced; n++ {
		select {
		case <-p.stop:
			return
		case <-timer.C:
		}
		p.mu.Lock()
		p.sent = n + 1
		p.mu.Unlock()
		// One that cannot be sent, because the sender has no interface at the moment, is
		// lost like any other.
		if err := p.path.send(n); err != nil {
			p.mu.Lock()
			p.refused = err
			p.mu.Unlock()
		}
		due = due.Add(p.interval)
		timer.Reset(time.Until(due))
	}
}

func (p *Paced) receive() {
	for {
		n, err := p.path.receive()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		p.mu.Lock()
		if err != nil {
			p.err = err
			p.mu.Unlock()
			return
		}
		ours := n < p.sent // what a guest answers may be anything
		if ours {
			p.arrived[n]++
		}
		p.mu.Unlock()
		if ours {
			select {
			case p.arrival <- struct{}{}:
			default: // one is waiting to be noticed
			}
		}
	}
}

// Counts is what has become of the datagrams so far; those on the way count as lost.
func (p *Paced) Counts() (PacedCounts, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := PacedCounts{Sent: p.sent}
	row := uint64(0)
	for n := range p.sent {
		row++
		switch copies := p.arrived[n]; {
		case copies == 0:
			c.Lost++
			c.InARow = max(c.InARow, row)
			continue
		case copies > 1:
			c.Twice++
		}
		row = 0
	}
	return c, p.err
}

// More waits until n more datagrams than now have arrived.
func (p *Paced) More(ctx context.Context, n int) error {
	if arrived, err := p.more(ctx, p.numArrived, n); err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		return errors.Join(fmt.Errorf("%d of %d more datagrams have arrived: %w", arrived, n, err), p.refused, p.err)
	}
	return nil
}

// more waits until what is counted is n more than now, and returns how many more it is.
func (p *Paced) more(ctx context.Context, count func() int, n int) (int, error) {
	before := count()
	tick := time.NewTicker(p.interval)
	defer tick.Stop()
	for {
		now := count() - before
		if now >= n {
			return now, nil
		}
		select {
		case <-ctx.Done():
			return now, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (p *Paced) numSent() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(p.sent)
}

func (p *Paced) numArrived() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.arrived)
}

// End stops the datagrams, waits for what is still on the way, and counts. After it
// the Paced is done; a second End returns the same counts.
func (p *Paced) End() (PacedCounts, error) {
	select {
	case <-p.stop:
		return p.Counts()
	default:
	}
	close(p.stop)
	quiet := time.NewTimer(silence)
	defer quiet.Stop()
	for waiting := true; waiting; {
		select {
		case <-p.arrival:
			quiet.Reset(silence)
		case <-quiet.C:
			waiting = false
		}
	}
	err := p.path.Close()
	p.running.Wait()
	c, cerr := p.Counts()
	return c, errors.Join(cerr, err)
}
