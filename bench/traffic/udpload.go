package traffic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

const (
	// SmallestPayload is that of a UDP datagram in the shortest Ethernet frame, 64 bytes with
	// its FCS: 14 Ethernet, 20 IPv4, 8 UDP, 18 payload, 4 FCS.
	SmallestPayload = 18
	// sequenceLen is what of a payload tells its datagram.
	sequenceLen = 8

	// burst is how many datagrams one system call sends: as many as ovs-vswitchd takes from a
	// port at once (NETDEV_MAX_BURST).
	burst = 32
	// window is how many datagrams are on the way at most. A socket of ovs-vswitchd has the
	// kernel's default buffer, net.core.rmem_default, which 212992 bytes hold 277 of
	// (each counts 768): more only makes the kernel drop them there.
	window = 8 * burst
	// silence is after what time without an arrival all that is on the way is lost. On a busy
	// machine a switch may not run for tens of milliseconds.
	silence = 250 * time.Millisecond
	// receiveBuffer is so large that the receiver loses nothing of a window, in bytes.
	receiveBuffer = 4 << 20
)

// UDPLoad is UDP datagrams from a namespace to another, as many as the path between them
// carries: at most a window of them is on the way, and what arrives makes room for more. So the
// path, and no rate that somebody chose, says how fast they go; it is not flooded with what
// it can only throw away, and the generator takes no more of the machine than it needs.
// One goroutine sends and receives: a UDPLoad is not for concurrent use.
type UDPLoad struct {
	source, sink       *net.UDPConn
	outgoing, incoming *batch
	next               uint64 // number of the next datagram
	settled            uint64 // all before it have arrived or are lost
}

// Counts is what a run of datagrams came to.
type Counts struct {
	Sent     uint64
	Received uint64 // in order and once; the others are lost
	// Elapsed is from the start to the last arrival.
	Elapsed time.Duration
}

// Lost is the share of what was sent that has not arrived, 0 … 1.
func (c Counts) Lost() float64 { return float64(c.Sent-c.Received) / float64(c.Sent) }

// OpenUDPLoad makes a pair of sockets: from a namespace to the IPv4 address at, which is
// in another, for payloads of that many bytes. The caller closes it.
func OpenUDPLoad(from, to *netdev.Namespace, at netip.Addr, payload int) (*UDPLoad, error) {
	if payload < sequenceLen {
		return nil, fmt.Errorf("a payload of %d bytes; a datagram's number takes %d", payload, sequenceLen)
	}
	d := &UDPLoad{}
	if err := d.open(from, to, at); err != nil {
		return nil, errors.Join(fmt.Errorf("UDP to %s: %w", at, err), d.Close())
	}
	var err error
	if d.outgoing, err = newBatch(d.source, burst, payload); err == nil {
		d.incoming, err = newBatch(d.sink, 2*burst, payload)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *UDPLoad) open(from, to *netdev.Namespace, at netip.Addr) error {
	err := to.Do(func() (err error) {
		d.sink, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		return err
	})
	if err != nil {
		return err
	}
	err = from.Do(func() (err error) {
		d.source, err = net.DialUDP("udp4", nil, d.sink.LocalAddr().(*net.UDPAddr))
		return err
	})
	if err != nil {
		return err
	}
	return d.sink.SetReadBuffer(receiveBuffer)
}

// Run sends for that long, waits for what is still on the way, and counts. It ends with an
// error when ctx is done, or when nothing has arrived.
func (d *UDPLoad) Run(ctx context.Context, duration time.Duration) (Counts, error) {
	var c Counts
	begun := time.Now()
	d.settled = d.next
	for {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		if time.Since(begun) < duration {
			n, err := d.fill()
			c.Sent += n
			if err != nil {
				return c, err
			}
		}
		if d.settled == d.next {
			break
		}
		n, err := d.take()
		if err != nil {
			return c, err
		}
		if c.Received += n; n > 0 {
			c.Elapsed = time.Since(begun)
		}
	}
	if c.Received == 0 {
		return c, fmt.Errorf("none of %d datagrams arrived", c.Sent)
	}
	return c, nil
}

// fill sends until the window is full and returns how many datagrams it sent.
func (d *UDPLoad) fill() (sent uint64, err error) {
	for d.next-d.settled+burst <= window {
		for i := range burst {
			binary.BigEndian.PutUint64(d.outgoing.data[i], d.next+uint64(i))
		}
		n, err := d.outgoing.send()
		if err != nil {
			return sent, err
		}
		d.next += uint64(n)
		sent += uint64(n)
	}
	return sent, nil
}

// take waits for datagrams and returns how many have come in order. What is missing
// before one that has come is lost: a path keeps the order.
func (d *UDPLoad) take() (received uint64, err error) {
	if err := d.sink.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	n, err := d.incoming.receive()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		d.settled = d.next
		return 0, nil
	}
	for i := range n {
		b := d.incoming.bytes(i)
		if len(b) < sequenceLen {
			continue // not from this program
		}
		if seq := binary.BigEndian.Uint64(b); seq >= d.settled && seq < d.next {
			received++
			d.settled = seq + 1
		}
	}
	return received, err
}

// Close closes the sockets.
func (d *UDPLoad) Close() error {
	var err error
	for _, c := range []*net.UDPConn{d.source, d.sink} {
		if c != nil {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}
