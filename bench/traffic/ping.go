// Package traffic sends and measures packets between guests: echo requests on the raw
// wire, whose replies the kernel dates, and TCP between namespaces.
package traffic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// Station is one end of an echo.
type Station struct {
	MAC  net.HardwareAddr
	Addr netip.Addr // IPv4
}

const (
	etherLen   = 14
	ipv4Len    = 20
	icmpLen    = 8
	payloadLen = 56 // that of ping(8)

	icmpEchoReply   = 0
	icmpEchoRequest = 8
)

// Echo sends echo requests (RFC 792) from a guest's wire. It is not for concurrent use.
type Echo struct {
	wire  *netdev.PacketConn
	frame []byte // the request, but for its sequence number
	from  Station
	seq   uint16
}

// echoID tells the replies from those to other programs.
const echoID = 0xbe7c

// NewEcho is an Echo from one station to another on the first one's wire. There should be one
// for a station at a time.
func NewEcho(wire *netdev.PacketConn, from, to Station) *Echo {
	be := binary.BigEndian
	b := make([]byte, 0, etherLen+ipv4Len+icmpLen+payloadLen)
	b = append(append(b, to.MAC...), from.MAC...)
	b = be.AppendUint16(b, 0x0800)
	src, dst := from.Addr.As4(), to.Addr.As4()
	b = append(b, 0x45, 0)
	b = be.AppendUint16(b, ipv4Len+icmpLen+payloadLen)
	b = append(b, 0, 0, 0x40, 0, 64, 1, 0, 0) // do not fragment, TTL 64, ICMP
	b = append(append(b, src[:]...), dst[:]...)
	be.PutUint16(b[etherLen+10:], checksum(b[etherLen:]))
	b = append(b, icmpEchoRequest, 0, 0, 0)
	b = be.AppendUint16(b, echoID)
	b = be.AppendUint16(b, 0)
	b = append(b, make([]byte, payloadLen)...)
	return &Echo{wire: wire, frame: b, from: from}
}

// send sends the next request and returns its sequence number.
func (e *Echo) send() (uint16, error) {
	e.seq++
	icmp := e.frame[etherLen+ipv4Len:]
	binary.BigEndian.PutUint16(icmp[6:], e.seq)
	binary.BigEndian.PutUint16(icmp[2:], 0)
	binary.BigEndian.PutUint16(icmp[2:], checksum(icmp))
	return e.seq, e.wire.Send(e.frame)
}

// reply is the sequence number of the reply in a frame; false if it is none to this Echo.
func (e *Echo) reply(f netdev.Frame) (uint16, bool) {
	b, be := f.Data, binary.BigEndian
	if f.Direction != netdev.Received || len(b) < etherLen+ipv4Len+icmpLen ||
		be.Uint16(b[12:]) != 0x0800 || b[etherLen] != 0x45 || b[etherLen+9] != 1 {
		return 0, false
	}
	icmp := b[etherLen+ipv4Len:]
	dst, _ := netip.AddrFromSlice(b[etherLen+16 : etherLen+20])
	return be.Uint16(icmp[6:]), icmp[0] == icmpEchoReply && be.Uint16(icmp[4:]) == echoID && dst == e.from.Addr
}

// checksum is that of RFC 1071 over an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// FirstReply sends a request every interval and returns when, by the kernel's clock, the
// first reply came. It gives up when ctx is done.
func (e *Echo) FirstReply(ctx context.Context, interval time.Duration) (time.Time, error) {
	ctx, cancel := context.WithCancel(ctx)
	before := e.seq
	sent := make(chan error, 1)
	go func() {
		defer cancel() // a sender that fails ends the reader
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			if _, err := e.send(); err != nil {
				sent <- err
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				sent <- nil
				return
			}
		}
	}()
	at, err := e.firstAfter(ctx, before)
	cancel()
	if serr := <-sent; serr != nil {
		err = serr
	}
	return at, err
}

// firstAfter is when the first reply to a request after seq came. Before it the wire may
// hold replies to earlier ones.
func (e *Echo) firstAfter(ctx context.Context, seq uint16) (time.Time, error) {
	for f, err := range e.wire.Frames(ctx) {
		if err != nil {
			return time.Time{}, err
		}
		if got, ok := e.reply(f); ok && int16(got-seq) > 0 {
			return f.Time, nil
		}
	}
	return time.Time{}, fmt.Errorf("no echo reply: %w", ctx.Err())
}

// RoundTrips sends n requests, one after the other with a pause between, and returns the
// time from each until the kernel got its reply. Those without a reply in a second are lost and
// missing; it is an error if all are.
func (e *Echo) RoundTrips(ctx context.Context, n int, pause time.Duration) ([]time.Duration, error) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	var out []time.Duration
	for range n {
		d, err := e.roundTrip(ctx)
		switch {
		case err == nil:
			out = append(out, d)
		case ctx.Err() != nil || !errors.Is(err, errLost):
			return nil, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%d echo requests were sent: %w", n, errLost)
	}
	return out, nil
}

// replyTimeout is after what time a request is lost.
const replyTimeout = time.Second

var errLost = errors.New("no reply")

func (e *Echo) roundTrip(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, replyTimeout, errLost)
	defer cancel()
	sent := time.Now().Round(0) // the kernel dates the reply by the wall clock
	seq, err := e.send()
	if err != nil {
		return 0, err
	}
	for f, err := range e.wire.Frames(ctx) {
		if err != nil {
			return 0, err
		}
		if got, ok := e.reply(f); ok && got == seq {
			return f.Time.Sub(sent), nil
		}
	}
	return 0, context.Cause(ctx)
}
