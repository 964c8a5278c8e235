package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// captureWait is how long a frame that must arrive may take.
const captureWait = 2 * time.Second

// quiet is how long, after a frame that must arrive has, others sent before it
// still may.
const quiet = 200 * time.Millisecond

// tunnelled is a packet in a tunnel.
type tunnelled struct {
	encap    string
	key      uint32
	src, dst string // the tunnel's endpoints
	in       netip.Addr
	out      netip.Addr
}

func (t *tunnelled) String() string {
	return fmt.Sprintf("%s key %d, %s → %s", t.encap, t.key, t.src, t.dst)
}

// decodeTunnel decodes the tunnel header of an underlay frame and the addresses
// of the IPv4 packet within; false if there are none.
func decodeTunnel(data []byte) (*tunnelled, bool) {
	p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.NoCopy)
	t := &tunnelled{}
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.GRE:
			t.encap, t.key = "gre", l.Key
		case *layers.VXLAN:
			t.encap, t.key = "vxlan", l.VNI
		case *layers.Geneve:
			t.encap, t.key = "geneve", l.VNI
		case *layers.IPv6:
			if t.encap == "" {
				t.src, t.dst = l.SrcIP.String(), l.DstIP.String()
			}
		case *layers.IPv4:
			if t.encap == "" {
				t.src, t.dst = l.SrcIP.String(), l.DstIP.String()
				continue
			}
			in, ok1 := netip.AddrFromSlice(l.SrcIP)
			out, ok2 := netip.AddrFromSlice(l.DstIP)
			t.in, t.out = in, out
			return t, ok1 && ok2
		}
	}
	return nil, false
}

// findTunnelled is the first packet from src to dst in a tunnel that was
// captured, nil if there was none. One in the network's own tunnel is preferred:
// another tenant may use the same addresses at the same time.
func findTunnelled(ctx context.Context, c *netdev.PacketConn, src, dst netip.Addr, n api.Network) (*tunnelled, error) {
	ctx, cancel := context.WithTimeout(ctx, captureWait)
	defer cancel()
	var other *tunnelled
	for {
		f, err := c.Next(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return other, nil
		}
		if err != nil {
			return nil, err
		}
		t, ok := decodeTunnel(f.Data)
		if !ok || t.in != src || t.out != dst {
			continue
		}
		if t.encap == n.Encap && t.key == n.Key {
			return t, nil
		}
		if other == nil {
			other = t
		}
	}
}

// tryCross sends frames from a port of one tenant straight at a port of another,
// and to everybody, and looks whether any arrives there. Where the own network
// has another port, the frame to everybody must arrive at it, which shows that
// the frames are sent at all.
func (l *openedLab) tryCross(ctx context.Context, pair [2]member, members []member) (isolation, error) {
	a, b := pair[0], pair[1]
	r := isolation{From: a.network.Tenant + ": " + a.String(), To: b.network.Tenant + ": " + b.String()}
	out, err := l.m.CaptureGuest(l.name, a.port, a.vlan)
	if err != nil {
		return r, err
	}
	defer out.Close()
	at, err := l.m.CaptureGuest(l.name, b.port, b.vlan)
	if err != nil {
		return r, err
	}
	defer at.Close()
	own := controlOf(members, pair)
	var control *netdev.PacketConn
	if own != nil {
		if control, err = l.m.CaptureGuest(l.name, own.port, own.vlan); err != nil {
			return r, err
		}
		defer control.Close()
	}
	marker := []byte("ofctl-lab demo " + rand.Text())
	frames, err := crossFrames(a, b, marker)
	if err != nil {
		return r, err
	}
	for _, f := range frames {
		if err := out.Send(f); err != nil {
			return r, err
		}
	}
	r.Seen = fmt.Sprintf("0 of %d frames", len(frames))
	if control != nil {
		n, err := countMarked(ctx, control, marker, captureWait, 1)
		if err != nil {
			return r, err
		}
		if n == 0 {
			r.Problem = fmt.Sprintf("the frame to everybody did not reach %s of the own network either", own)
			return r, nil
		}
		r.Seen += fmt.Sprintf("; its own %s saw it", own)
	}
	n, err := countMarked(ctx, at, marker, quiet, len(frames))
	if err != nil {
		return r, err
	}
	if r.OK = n == 0; !r.OK {
		r.Seen = fmt.Sprintf("%d of %d frames", n, len(frames))
		r.Problem = "frames of another tenant arrived"
	}
	return r, nil
}

// controlOf is a member of the first one's network that must get its frames to
// everybody: the one with the second one's address, if there is one.
func controlOf(members []member, pair [2]member) *member {
	if m := ownAnswer(members, pair); m != nil {
		return m
	}
	i := slices.IndexFunc(members, func(m member) bool {
		return m.network.FullName() == pair[0].network.FullName() && m.port != pair[0].port
	})
	if i < 0 {
		return nil
	}
	return &members[i]
}

// crossFrames are frames that a sends to reach b: a ping straight at it, one to
// everybody, and an ARP request for its address. Each carries the marker.
func crossFrames(a, b member, marker []byte) ([][]byte, error) {
	broadcast := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: a.addr.AsSlice(), DstIP: b.addr.AsSlice()}
	icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: 1, Seq: 1}
	arp := &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: layers.ARPRequest, SourceHwAddress: a.mac, SourceProtAddress: a.addr.AsSlice(),
		DstHwAddress: make([]byte, 6), DstProtAddress: b.addr.AsSlice(),
	}
	var out [][]byte
	for _, s := range []struct {
		dst    net.HardwareAddr
		kind   layers.EthernetType
		layers []gopacket.SerializableLayer
	}{
		{broadcast, layers.EthernetTypeARP, []gopacket.SerializableLayer{arp}},
		{b.mac, layers.EthernetTypeIPv4, []gopacket.SerializableLayer{ip, icmp}},
		{broadcast, layers.EthernetTypeIPv4, []gopacket.SerializableLayer{ip, icmp}},
	} {
		buf := gopacket.NewSerializeBuffer()
		eth := &layers.Ethernet{SrcMAC: a.mac, DstMAC: s.dst, EthernetType: s.kind}
		ls := append([]gopacket.SerializableLayer{eth}, s.layers...)
		ls = append(ls, gopacket.Payload(marker))
		if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
			return nil, fmt.Errorf("building a frame from %s to %s: %w", a, b, err)
		}
		out = append(out, bytes.Clone(buf.Bytes()))
	}
	return out, nil
}

// countMarked counts received frames with the marker until there are enough or
// the time is over.
func countMarked(ctx context.Context, c *netdev.PacketConn, marker []byte, wait time.Duration, enough int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	n := 0
	for n < enough {
		f, err := c.Next(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			return n, err
		}
		if f.Direction == netdev.Received && bytes.Contains(f.Data, marker) {
			n++
		}
	}
	return n, nil
}
