package main

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
)

// tunnelFrame is an underlay frame with the given tunnel header around a packet
// from 10.1.1.1 to 10.1.1.2.
func tunnelFrame(t testing.TB, protocol layers.IPProtocol, tunnel ...gopacket.SerializableLayer) []byte {
	t.Helper()
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	outer := &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: net.IPv4(192, 0, 2, 1), DstIP: net.IPv4(192, 0, 2, 2)}
	ls := []gopacket.SerializableLayer{&layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: layers.EthernetTypeIPv4}, outer}
	for _, l := range tunnel {
		if u, ok := l.(*layers.UDP); ok {
			if err := u.SetNetworkLayerForChecksum(outer); err != nil {
				t.Fatal(err)
			}
		}
		ls = append(ls, l)
	}
	ls = append(ls, &layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: layers.EthernetTypeIPv4},
		&layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: net.IPv4(10, 1, 1, 1), DstIP: net.IPv4(10, 1, 1, 2)},
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0)})
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tunnelFrames(t testing.TB) map[string][]byte {
	// gopacket decodes Geneve but cannot write it: RFC 8926 section 3.4, VNI 1000002.
	geneve := gopacket.Payload{0x00, 0x00, 0x65, 0x58, 0x0f, 0x42, 0x42, 0x00}
	return map[string][]byte{
		"gre":    tunnelFrame(t, layers.IPProtocolGRE, &layers.GRE{KeyPresent: true, Key: 1<<24 + 7, Protocol: layers.EthernetTypeTransparentEthernetBridging}),
		"vxlan":  tunnelFrame(t, layers.IPProtocolUDP, &layers.UDP{SrcPort: 50000, DstPort: 4789}, &layers.VXLAN{ValidIDFlag: true, VNI: 1000001}),
		"geneve": tunnelFrame(t, layers.IPProtocolUDP, &layers.UDP{SrcPort: 50000, DstPort: 6081}, geneve),
	}
}

func TestDecodeTunnel(t *testing.T) {
	keys := map[string]uint32{"gre": 1<<24 + 7, "vxlan": 1000001, "geneve": 1000002}
	for encap, frame := range tunnelFrames(t) {
		got, ok := decodeTunnel(frame)
		want := tunnelled{encap, keys[encap], "192.0.2.1", "192.0.2.2", netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("10.1.1.2")}
		if !ok || *got != want {
			t.Errorf("%s: got %+v, %v, want %+v", encap, got, ok, want)
		}
	}
}

func FuzzDecodeTunnel(f *testing.F) {
	for _, frame := range tunnelFrames(f) {
		f.Add(frame)
	}
	f.Fuzz(func(_ *testing.T, b []byte) { decodeTunnel(b) })
}

// TestTenantPairs holds that the case in which a mix-up would show is the one
// that is tried: an address that both tenants have.
func TestTenantPairs(t *testing.T) {
	m := func(tenant, port, addr string) member {
		return member{network: api.Network{NetworkSpec: api.NetworkSpec{Tenant: tenant, Name: "web"}}, port: port, addr: netip.MustParseAddr(addr)}
	}
	members := []member{
		m("red", "red-a", "10.0.0.1"), m("red", "red-b", "10.0.0.2"),
		m("blue", "blue-x", "10.0.0.9"), m("blue", "blue-b", "10.0.0.2"),
	}
	pairs := tenantPairs(members)
	if len(pairs) != 2 {
		t.Fatalf("got %d pairs, want one in each direction", len(pairs))
	}
	for _, p := range pairs {
		if p[1].addr != netip.MustParseAddr("10.0.0.2") || ownAnswer(members, p) == nil {
			t.Errorf("%s → %s, want an address that the own network has too", p[0].port, p[1].port)
		}
	}
}
