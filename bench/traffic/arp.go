package traffic

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// The ARP packet (RFC 826) for Ethernet and IPv4, and where its parts are.
const (
	etherTypeARP = 0x0806
	arpLen       = 28
	arpOperation = 6
	arpSenderMAC = 8
	arpSenderIP  = 14
	arpTargetIP  = 24

	arpRequest = 1
	arpReply   = 2
)

// ARPRequest is the frame with which a station asks all for the owner of an IPv4 address. To ask for its own
// is to announce it (RFC 5227 section 3).
func ARPRequest(from Station, target netip.Addr) []byte {
	be := binary.BigEndian
	b := bytes.Repeat([]byte{0xff}, 6)
	b = append(b, from.MAC...)
	b = be.AppendUint16(b, etherTypeARP)
	b = append(b, 0, 1, 8, 0, 6, 4, 0, arpRequest)
	src, dst := from.Addr.As4(), target.As4()
	b = append(append(b, from.MAC...), src[:]...)
	return append(append(b, make([]byte, 6)...), dst[:]...)
}

// Resolve asks for the owner of an IPv4 address once, on the wire of a station, and returns the Ethernet address
// that is answered. It is an error if there is no answer in a second.
func Resolve(ctx context.Context, wire *netdev.PacketConn, from Station, target netip.Addr) (net.HardwareAddr, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, replyTimeout, errLost)
	defer cancel()
	if err := wire.Send(ARPRequest(from, target)); err != nil {
		return nil, err
	}
	for f, err := range wire.Frames(ctx) {
		if err != nil {
			return nil, err
		}
		if mac, ok := arpAnswer(f, from.Addr, target); ok {
			return mac, nil
		}
	}
	if err := context.Cause(ctx); !errors.Is(err, errLost) {
		return nil, err
	}
	return nil, fmt.Errorf("nobody has said within %s whose %s is", replyTimeout, target)
}

// arpAnswer is what a frame tells the asker of a target's Ethernet address; false if it does not.
func arpAnswer(f netdev.Frame, asker, target netip.Addr) (net.HardwareAddr, bool) {
	be := binary.BigEndian
	if f.Direction != netdev.Received || len(f.Data) < etherLen+arpLen || be.Uint16(f.Data[12:]) != etherTypeARP {
		return nil, false
	}
	arp := f.Data[etherLen:]
	sender, _ := netip.AddrFromSlice(arp[arpSenderIP : arpSenderIP+4])
	to, _ := netip.AddrFromSlice(arp[arpTargetIP : arpTargetIP+4])
	if be.Uint16(arp[arpOperation:]) != arpReply || sender != target || to != asker {
		return nil, false
	}
	return net.HardwareAddr(arp[arpSenderMAC:arpSenderIP]), true
}
