package traffic

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// The frame is what an independent decoder takes for a datagram.
func TestProbeIsADatagram(t *testing.T) {
	frame := datagram(near, far, 4711)
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	udp, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if p.ErrorLayer() != nil || !ok || udp.DstPort != 4711 || len(udp.Payload) != payloadLen {
		t.Fatalf("not a datagram: %v", p)
	}
	ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	if !ip.SrcIP.Equal(near.Addr.AsSlice()) || !ip.DstIP.Equal(far.Addr.AsSlice()) {
		t.Errorf("from %s to %s", ip.SrcIP, ip.DstIP)
	}
	if got := checksum(frame[etherLen : etherLen+ipv4Len]); got != 0 {
		t.Errorf("the sum over the IPv4 header is %#x", got)
	}
}

func TestProbeIsTimed(t *testing.T) {
	a, b := pair(t)
	p, arrivals := probe(t, a, b)
	for i := range uint16(3) {
		took, err := p.OneWay(t.Context(), 2000+i)
		if err != nil || took <= 0 {
			t.Fatalf("%s on the way: %v", took, err)
		}
	}
	// They are all that is on the far wire, one from each port: nobody answers.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for i := range 3 {
		f, err := arrivals.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		udp, ok := f.Packet().Layer(layers.LayerTypeUDP).(*layers.UDP)
		if !ok || udp.SrcPort != layers.UDPPort(2000+i) || f.Direction != netdev.Received {
			t.Errorf("frame %d is %v", i, f.Packet())
		}
	}
}

// What the far end's own interface has sent is no arrival.
func TestProbeThatIsLost(t *testing.T) {
	_, b := pair(t)
	p, err := NewProbe(wire(t, b), wire(t, b), b, near, far)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if took, err := p.OneWay(ctx, 2000); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s on the way: %v", took, err)
	}
}

// probe is a Probe from a to b, and a second wire of b that sees what it sees.
func probe(t *testing.T, a, b *netdev.Namespace) (*Probe, *netdev.PacketConn) {
	t.Helper()
	arrivals := wire(t, b)
	p, err := NewProbe(wire(t, a), wire(t, b), b, near, far)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, arrivals
}
