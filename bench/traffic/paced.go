package traffic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// Paced is UDP datagrams from a namespace to another at a steady rate, each with a
// number, so that those which are lost, or come twice, are found: what a guest misses
// while something happens to it. It is the pace that tells how long that took, in
// datagrams. Its methods are for one goroutine.
type Paced struct {
	source, sink *net.UDPConn
	interval     time.Duration
	stop         chan struct{}
	running      sync.WaitGroup

	mu      sync.Mutex
	sent    uint64         // guarded by mu
	arrived map[uint64]int // guarded by mu: how often, by number
	last    time.Time      // guarded by mu: of the newest arrival
	refused error          // guarded by mu: why the newest that could not be sent was not
	err     error          // guarded by mu: why no more is received
}

// PacedCounts is what became of the datagrams of a Paced.
type PacedCounts struct {
	Sent uint64
	Lost uint64
	// Twice is how many came more than once.
	Twice uint64
}

// maxPaced bounds how many datagrams are remembered.
const maxPaced = 10_000_000

// StartPaced sends rate datagrams a second from one namespace to the IPv4 address
// at, which is in another, until End. rate is 1 … 10,000.
func StartPaced(from, to *netdev.Namespace, at netip.Addr, rate int) (*Paced, error) {
	if rate < 1 || rate > 10_000 {
		return nil, fmt.Errorf("%d datagrams a second; use 1 to 10000", rate)
	}
	p := &Paced{interval: time.Second / time.Duration(rate), stop: make(chan struct{}), arrived: map[uint64]int{}}
	d := &UDPLoad{}
	if err := d.open(from, to, at); err != nil {
		return nil, errors.Join(fmt.Errorf("UDP to %s: %w", at, err), d.Close())
	}
	p.source, p.sink = d.source, d.sink
	p.running.Go(p.send)
	p.running.Go(p.receive)
	return p, nil
}

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
		var b [SmallestPayload]byte
		binary.BigEndian.PutUint64(b[:], n)
		p.mu.Lock()
		p.sent = n + 1
		p.mu.Unlock()
		// One that cannot be sent, because the sender has no interface at the moment, is
		// lost like any other.
		if _, err := p.source.Write(b[:]); err != nil {
			p.mu.Lock()
			p.refused = err
			p.mu.Unlock()
		}
		due = due.Add(p.interval)
		timer.Reset(time.Until(due))
	}
}

func (p *Paced) receive() {
	b := make([]byte, 2048)
	for {
		n, err := p.sink.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			p.mu.Lock()
			p.err = err
			p.mu.Unlock()
			return
		}
		if n < sequenceLen {
			continue
		}
		p.mu.Lock()
		p.arrived[binary.BigEndian.Uint64(b)]++
		p.last = time.Now()
		p.mu.Unlock()
	}
}

// Counts is what has become of the datagrams so far; those on the way count as lost.
func (p *Paced) Counts() (PacedCounts, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := PacedCounts{Sent: p.sent}
	for n := range p.sent {
		switch copies := p.arrived[n]; {
		case copies == 0:
			c.Lost++
		case copies > 1:
			c.Twice++
		}
	}
	return c, p.err
}

// More waits until n more datagrams than now have arrived.
func (p *Paced) More(ctx context.Context, n int) error {
	before := p.numArrived()
	tick := time.NewTicker(p.interval)
	defer tick.Stop()
	for p.numArrived() < before+n {
		select {
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			return errors.Join(fmt.Errorf("%d of %d more datagrams have arrived: %w", len(p.arrived)-before, n, context.Cause(ctx)), p.refused, p.err)
		case <-tick.C:
		}
	}
	return nil
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
	ended := time.Now()
	for quiet := false; !quiet; {
		p.mu.Lock()
		since := p.last
		p.mu.Unlock()
		if since.Before(ended) {
			since = ended
		}
		if quiet = time.Since(since) >= silence; !quiet {
			time.Sleep(silence - time.Since(since))
		}
	}
	err := errors.Join(p.source.Close(), p.sink.Close())
	p.running.Wait()
	c, cerr := p.Counts()
	return c, errors.Join(cerr, err)
}
