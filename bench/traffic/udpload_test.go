package traffic

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// answers waits until the far end is reached: the link is up and its address known.
func answers(t *testing.T, from *netdev.Namespace) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := NewEcho(wire(t, from), near, far).FirstReply(ctx, time.Millisecond); err != nil {
		t.Fatal(err)
	}
}

func udpLoad(t *testing.T, from, to *netdev.Namespace, payload int) *UDPLoad {
	t.Helper()
	answers(t, from)
	d, err := OpenUDPLoad(from, to, far.Addr, payload)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestUDPLoadArrives(t *testing.T) {
	a, b := pair(t)
	d := udpLoad(t, a, b, SmallestPayload)
	for range 2 { // a run does not count what the one before sent
		c, err := d.Run(t.Context(), 20*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if c.Sent < window || c.Received == 0 || c.Received > c.Sent || c.Elapsed <= 0 {
			t.Errorf("counts: %+v", c)
		}
	}
}

// With the smallest payload a frame is 60 bytes without its FCS: what Ethernet allows.
func TestSmallestPayloadFillsTheShortestFrame(t *testing.T) {
	a, b := pair(t)
	w := wire(t, b)
	d := udpLoad(t, a, b, SmallestPayload)
	if _, err := d.Run(t.Context(), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for f, err := range w.Frames(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if udp, ok := f.Packet().Layer(layers.LayerTypeUDP).(*layers.UDP); ok {
			if len(f.Data) != 60 || binary.BigEndian.Uint64(udp.Payload) != 0 {
				t.Errorf("the first frame has %d bytes and the payload %x", len(f.Data), udp.Payload)
			}
			return
		}
	}
	t.Fatal("no UDP frame")
}

// What does not arrive is lost, and makes room again: the run goes on.
func TestLostDatagramsAreCounted(t *testing.T) {
	a, b := pair(t)
	d := udpLoad(t, a, b, SmallestPayload)
	if _, err := d.Run(t.Context(), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Configure("eth0", netdev.LinkConfig{Addresses: []netip.Prefix{}}); err != nil {
		t.Fatal(err)
	}
	c, err := d.Run(t.Context(), time.Millisecond)
	if err == nil || c.Sent < window || c.Received != 0 || c.Lost() != 1 {
		t.Errorf("counts: %+v, error: %v", c, err)
	}
}

// Only the datagrams of the run, in order and once, are received ones.
func TestWhatCountsAsReceived(t *testing.T) {
	a, b := pair(t)
	d := udpLoad(t, a, b, SmallestPayload)
	d.next, d.settled = 20, 10 // ten are on the way
	payload := make([]byte, SmallestPayload)
	for _, seq := range []uint64{9, 10, 10, 12, 11, 19, 20, 1 << 63} {
		binary.BigEndian.PutUint64(payload, seq)
		if _, err := d.source.Write(payload); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.source.Write(payload[:sequenceLen-1]); err != nil {
		t.Fatal(err)
	}
	var got uint64
	for d.settled != d.next {
		n, err := d.take()
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	if got != 3 { // 10, 12, 19
		t.Errorf("%d datagrams are counted as received, want 3", got)
	}
}

func TestUDPLoadEndsWithTheContext(t *testing.T) {
	a, b := pair(t)
	d := udpLoad(t, a, b, SmallestPayload)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Run(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
}

func TestUDPLoadThatCannotBe(t *testing.T) {
	a, b := pair(t)
	if _, err := OpenUDPLoad(a, b, near.Addr, SmallestPayload); err == nil {
		t.Error("an address that is not there is accepted")
	}
	if _, err := OpenUDPLoad(a, b, netip.IPv6Loopback(), SmallestPayload); err == nil {
		t.Error("an IPv6 address is accepted")
	}
	if _, err := OpenUDPLoad(a, b, far.Addr, sequenceLen-1); err == nil {
		t.Error("a payload too short for a number is accepted")
	}
}
