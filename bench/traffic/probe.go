package traffic

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

const (
	udpLen      = 8
	protocolUDP = 17
)

// Probe sends single UDP datagrams (RFC 768) from one guest to another and tells how long each
// was on its way: both guests are on this machine and have one clock. It is not for concurrent use.
type Probe struct {
	near, far *netdev.PacketConn
	sink      *net.UDPConn // so that the far kernel does not answer "port unreachable"
	frame     []byte
	count     uint64
}

// NewProbe is a Probe from the near station to the far one, whose namespace is to. The wires are
// theirs and stay the caller's. The caller closes the Probe.
func NewProbe(near, far *netdev.PacketConn, to *netdev.Namespace, from, at Station) (*Probe, error) {
	p := &Probe{near: near, far: far}
	err := to.Do(func() (err error) {
		p.sink, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.Addr, 0)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("receive datagrams at %s: %w", at.Addr, err)
	}
	p.frame = datagram(from, at, uint16(p.sink.LocalAddr().(*net.UDPAddr).Port))
	return p, nil
}

// datagram is a frame with the payload of a ping, but for its source port.
func datagram(from, to Station, port uint16) []byte {
	be := binary.BigEndian
	b := append(append([]byte(nil), to.MAC...), from.MAC...)
	b = be.AppendUint16(b, 0x0800)
	src, dst := from.Addr.As4(), to.Addr.As4()
	b = append(b, 0x45, 0)
	b = be.AppendUint16(b, ipv4Len+udpLen+payloadLen)
	b = append(b, 0, 0, 0x40, 0, 64, protocolUDP, 0, 0) // do not fragment, TTL 64
	b = append(append(b, src[:]...), dst[:]...)
	be.PutUint16(b[etherLen+10:], checksum(b[etherLen:]))
	b = append(b, 0, 0)
	b = be.AppendUint16(b, port)
	b = be.AppendUint16(b, udpLen+payloadLen)
	b = append(b, 0, 0) // no checksum: RFC 768 allows that
	return append(b, make([]byte, payloadLen)...)
}

// OneWay sends a datagram from a source port and returns the time from then until the kernel of the
// far guest had it. One that is not there in a second is lost, which is an error.
func (p *Probe) OneWay(ctx context.Context, sourcePort uint16) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, replyTimeout, errLost)
	defer cancel()
	p.count++
	udp := p.frame[etherLen+ipv4Len:]
	binary.BigEndian.PutUint16(udp, sourcePort)
	binary.BigEndian.PutUint64(udp[udpLen:], p.count)
	sent := time.Now().Round(0) // the kernel dates the arrival by the wall clock
	if err := p.near.Send(p.frame); err != nil {
		return 0, err
	}
	for f, err := range p.far.Frames(ctx) {
		if err != nil {
			return 0, err
		}
		if f.Direction == netdev.Received && bytes.Equal(f.Data, p.frame) {
			return f.Time.Sub(sent), nil
		}
	}
	if err := context.Cause(ctx); !errors.Is(err, errLost) {
		return 0, err
	}
	return 0, fmt.Errorf("datagram %d, from port %d, did not arrive within %s", p.count, sourcePort, replyTimeout)
}

// Close closes the receiving end.
func (p *Probe) Close() error { return p.sink.Close() }
