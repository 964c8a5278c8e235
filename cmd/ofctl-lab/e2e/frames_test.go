package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// broadcast is the MAC of everybody.
var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// etherExperiment is the Ethernet type for local experiments (IEEE Std 802-2014
// section 9.2.4): no guest's stack answers it.
const etherExperiment = layers.EthernetType(0x88b5)

// experiment is a frame that no stack answers, with a tag unless vlan is 0.
func experiment(src, dst net.HardwareAddr, vlan uint16, payload []byte) []byte {
	var b []byte
	b = append(append(b, dst...), src...)
	if vlan != 0 {
		b = append(b, 0x81, 0x00, byte(vlan>>8), byte(vlan))
	}
	b = append(b, byte(etherExperiment>>8), byte(etherExperiment&0xff))
	b = append(b, payload...)
	for len(b) < 60 {
		b = append(b, 0)
	}
	return b
}

// serialize writes layers to bytes with lengths and checksums.
func serialize(t *testing.T, ls ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(buf.Bytes())
}

// station is one end of a packet.
type station struct {
	mac  net.HardwareAddr
	addr netip.Addr
}

// station is the guest as it should present itself.
func (g *guest) station() station { return station{g.mac, g.addr} }

// udp is an Ethernet frame with a UDP datagram to the discard port (RFC 863).
func udp(t *testing.T, src, dst station, payload string) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: src.mac, DstMAC: dst.mac, EthernetType: layers.EthernetTypeIPv4}
	u := &layers.UDP{SrcPort: 9, DstPort: 9}
	var ip gopacket.SerializableLayer
	if src.addr.Is4() {
		ip4 := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: src.addr.AsSlice(), DstIP: dst.addr.AsSlice()}
		ip = ip4
		if err := u.SetNetworkLayerForChecksum(ip4); err != nil {
			t.Fatal(err)
		}
	} else {
		eth.EthernetType = layers.EthernetTypeIPv6
		ip6 := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: src.addr.AsSlice(), DstIP: dst.addr.AsSlice()}
		ip = ip6
		if err := u.SetNetworkLayerForChecksum(ip6); err != nil {
			t.Fatal(err)
		}
	}
	return serialize(t, eth, ip, u, gopacket.Payload(payload))
}

// arp is an ARP packet (RFC 826) of an operation, sent to a MAC, in which the
// sender and the target are as given. The marker follows it as padding does.
func arp(t *testing.T, op uint16, to net.HardwareAddr, sender, target station, marker string) []byte {
	t.Helper()
	mac := target.mac
	if mac == nil {
		mac = make(net.HardwareAddr, 6)
	}
	return serialize(t,
		&layers.Ethernet{SrcMAC: sender.mac, DstMAC: to, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: op, SourceHwAddress: sender.mac, SourceProtAddress: sender.addr.AsSlice(),
			DstHwAddress: mac, DstProtAddress: target.addr.AsSlice()},
		gopacket.Payload(marker))
}

// arpOf is the ARP packet in a frame, nil if there is none.
func arpOf(f netdev.Frame) *layers.ARP {
	a, _ := f.Packet().Layer(layers.LayerTypeARP).(*layers.ARP)
	return a
}

// tunnelled is a frame in a tunnel, as captured on the underlay.
type tunnelled struct {
	encap    string
	key      uint32
	src, dst netip.Addr // the tunnel's endpoints
	inner    []byte     // the Ethernet frame within
	dir      netdev.Direction
}

func (d tunnelled) String() string {
	return fmt.Sprintf("%s key %d, %s → %s: % x", d.encap, d.key, d.src, d.dst, d.inner[:min(len(d.inner), 64)])
}

// probePrefix is how the frames begin by which the controller proves the way between two hosts.
var probePrefix = []byte{0x02, 0x0f, 0xc7, 0, 0, 2, 0x02, 0x0f, 0xc7, 0, 0, 1, 0x88, 0xb5}

// probe reports whether d is the controller's own, which passes between hosts at any time.
func (d tunnelled) probe() bool { return d.key == 0 && bytes.HasPrefix(d.inner, probePrefix) }

// decodeTunnel decodes a frame of the underlay; false if there is no tunnel in it.
func decodeTunnel(f netdev.Frame) (tunnelled, bool) {
	d := tunnelled{dir: f.Direction}
	for _, l := range f.Packet().Layers() {
		switch l := l.(type) {
		case *layers.IPv4:
			d.src, _ = netip.AddrFromSlice(l.SrcIP.To4())
			d.dst, _ = netip.AddrFromSlice(l.DstIP.To4())
		case *layers.IPv6:
			d.src, _ = netip.AddrFromSlice(l.SrcIP)
			d.dst, _ = netip.AddrFromSlice(l.DstIP)
		case *layers.GRE:
			d.encap, d.key, d.inner = "gre", l.Key, l.LayerPayload()
			if !l.KeyPresent {
				d.encap = "gre without key"
			}
			return d, true
		case *layers.VXLAN:
			d.encap, d.key, d.inner = "vxlan", l.VNI, l.LayerPayload()
			return d, true
		case *layers.Geneve:
			d.encap, d.key, d.inner = "geneve", l.VNI, l.LayerPayload()
			return d, true
		}
	}
	return d, false
}
