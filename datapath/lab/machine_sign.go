package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// probeInterval is between two questions for a machine's addresses.
const probeInterval = 200 * time.Millisecond

// probeMAC asks for a machine's addresses. Nobody has it: answers to it show
// themselves, and go nowhere.
var probeMAC = net.HardwareAddr{0x02, 'o', 'f', 'c', 't', 'l'}

// sign is what a machine was seen to do on the network.
type sign uint8

const (
	signFrame sign = iota // it has sent a frame
	signReady             // it has given its sign of readiness
)

// etherTypeRARP is of the frames (RFC 903) with which qemu announces a guest that
// has come in.
const etherTypeRARP = 0x8035

// tapWatch looks at a machine's taps for its signs.
type tapWatch struct {
	m     guest.Machine
	conns []*netdev.PacketConn // one per NIC
}

// watchTaps begins to look. What the machine sends from now on is not missed.
func watchTaps(ns *netdev.Namespace, m guest.Machine) (*tapWatch, error) {
	w := &tapWatch{m: m}
	for _, n := range m.NICs {
		conn, err := ns.OpenPacket(n.Tap)
		if err != nil {
			return nil, errors.Join(err, w.Close())
		}
		w.conns = append(w.conns, conn)
	}
	return w, nil
}

func (w *tapWatch) Close() error {
	var errs []error
	for _, c := range w.conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// run tells the signs as they are seen, each once, until the last of them or
// until ctx is done. Errors of a socket end the look at that NIC: its tap has gone.
func (w *tapWatch) run(ctx context.Context, tell func(sign)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signs := make(chan sign)
	var group sync.WaitGroup
	for i, c := range w.conns {
		group.Go(func() {
			for f, err := range c.Frames(ctx) {
				if err != nil {
					return
				}
				s, ok := w.signOf(f, w.m.NICs[i])
				if !ok {
					continue
				}
				select {
				case signs <- s:
				case <-ctx.Done():
				}
			}
		})
	}
	group.Go(func() { w.ask(ctx) })
	go func() { group.Wait(); close(signs) }()
	seen := false
	for s := range signs {
		if !seen {
			seen = true
			tell(signFrame)
		}
		if s == signReady {
			tell(signReady)
			cancel()
			break
		}
	}
	for range signs {
	}
}

// ask asks for the machine's addresses until ctx is done.
func (w *tapWatch) ask(ctx context.Context) {
	if w.m.Ready != guest.ReadyAddress {
		return
	}
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		for i, n := range w.m.NICs {
			for _, a := range n.Addresses {
				// A tap that is down takes no frame; it is asked again.
				_ = w.conns[i].Send(addressProbe(a))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// signOf is what a frame on the tap of a NIC shows, if the machine has sent it.
func (w *tapWatch) signOf(f netdev.Frame, n guest.NIC) (sign, bool) {
	if f.Direction != netdev.Received || len(f.Data) < 14 {
		return 0, false
	}
	if etherType(f.Data) == etherTypeRARP {
		return 0, false // qemu's, for a guest that comes in
	}
	switch w.m.Ready {
	case guest.ReadyFrame:
		return signReady, true
	case guest.ReadyLLDP:
		if etherType(f.Data) == uint16(layers.EthernetTypeLinkLayerDiscovery) {
			return signReady, true
		}
	case guest.ReadyAddress:
		if !hasAddresses(w.m) {
			return signReady, true // there is nothing to ask for
		}
		if a, ok := answeredAddress(f.Data); ok && slices.Contains(n.Addresses, a) {
			return signReady, true
		}
	}
	return signFrame, true
}

func hasAddresses(m guest.Machine) bool {
	return slices.ContainsFunc(m.NICs, func(n guest.NIC) bool { return len(n.Addresses) > 0 })
}

func etherType(frame []byte) uint16 { return binary.BigEndian.Uint16(frame[12:]) }

// addressProbe is the question who has an address that betrays no address of the
// one who asks: an ARP probe (RFC 5227), or the neighbour solicitation of duplicate
// address detection (RFC 4862 section 5.4).
func addressProbe(a netip.Addr) []byte {
	eth := &layers.Ethernet{SrcMAC: probeMAC, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP}
	out := []gopacket.SerializableLayer{eth}
	if a.Is4() {
		ip := a.As4()
		out = append(out, &layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: layers.ARPRequest, SourceHwAddress: probeMAC, SourceProtAddress: make([]byte, 4),
			DstHwAddress: make([]byte, 6), DstProtAddress: ip[:],
		}, gopacket.Payload(make([]byte, 18)))
	} else {
		ip := a.As16()
		group := netip.AddrFrom16([16]byte{0xff, 2, 11: 1, 12: 0xff, 13: ip[13], 14: ip[14], 15: ip[15]})
		eth.EthernetType, eth.DstMAC = layers.EthernetTypeIPv6, net.HardwareAddr{0x33, 0x33, 0xff, ip[13], ip[14], ip[15]}
		ip6 := &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolICMPv6, HopLimit: 255, SrcIP: net.IPv6zero, DstIP: group.AsSlice()}
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)}
		// It fails for a nil layer only.
		_ = icmp.SetNetworkLayerForChecksum(ip6)
		out = append(out, ip6, icmp, &layers.ICMPv6NeighborSolicitation{TargetAddress: ip[:]})
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, out...); err != nil {
		return nil // too short to be sent; the test of this function sees that it never is
	}
	return buf.Bytes()
}

// answeredAddress is the address for which the frame is an answer to addressProbe.
func answeredAddress(frame []byte) (netip.Addr, bool) {
	body := frame[14:]
	switch layers.EthernetType(etherType(frame)) {
	case layers.EthernetTypeARP:
		const reply = 2
		if len(body) < 28 || binary.BigEndian.Uint16(body[6:]) != reply || !slices.Equal(body[18:24], probeMAC) {
			return netip.Addr{}, false
		}
		return netip.AddrFrom4([4]byte(body[14:18])), true
	case layers.EthernetTypeIPv6:
		const header, advertisement = 40, 136
		if len(body) < header+24 || body[6] != byte(layers.IPProtocolICMPv6) || body[header] != advertisement {
			return netip.Addr{}, false
		}
		return netip.AddrFrom16([16]byte(body[header+8 : header+24])), true
	}
	return netip.Addr{}, false
}
