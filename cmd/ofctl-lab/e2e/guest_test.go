package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// guest is the wire of a port's guest: frames go in, and all that arrives is
// captured from the moment it was opened.
type guest struct {
	*netdev.PacketConn
	l     *testLab
	port  string
	host  string
	mac   net.HardwareAddr
	addr  netip.Addr // the first one; not valid if there is none
	token []byte     // of the last sentinel it has sent
	// vlan is put on the sentinels this guest sends and expected on those it
	// gets; 0 for none.
	vlan uint16
	last []byte // what carry has seen arrive last
}

// guest opens the wire of a port, where it is plugged at present.
func (l *testLab) guest(t *testing.T, port string) *guest {
	t.Helper()
	a := l.attachment(t, port)
	c, err := l.m.CaptureGuest(l.name, port, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	g := &guest{PacketConn: c, l: l, port: port, host: a.Host, mac: net.HardwareAddr(a.MAC)}
	if len(a.Addresses) > 0 {
		g.addr = a.Addresses[0].Addr()
	}
	return g
}

// on is the same guest, with its sentinels in a VLAN.
func (g *guest) on(vlan uint16) *guest {
	other := *g
	other.vlan = vlan
	return &other
}

// send sends frames.
func (g *guest) send(t *testing.T, frames ...[]byte) {
	t.Helper()
	for _, f := range frames {
		if err := g.Send(f); err != nil {
			t.Fatal(err)
		}
	}
}

// sentinels numbers the sentinels of this process.
var sentinels atomic.Uint64

// flushRounds is how many sentinels complete a capture. The userspace datapath
// works through the frames of one batch by flow, not in their order, so a frame
// may overtake those in front of it once on each of the two hosts; a frame that
// is sent when the one before has arrived is not in that one's batch. On the kernel's
// datapath it may overtake any number of them; see settle.
const flushRounds = 3

// flush sends sentinels from a guest to another one that it may reach, one when
// the one before has arrived, lets the lab settle before the last, and returns what arrived at the other one before
// the last, the sentinels left out. What was sent on the same path before flush
// was called, and was not dropped, is then among it.
func (g *guest) flush(t *testing.T, to *guest) []netdev.Frame {
	t.Helper()
	var frames []netdev.Frame
	for round := range flushRounds {
		if round == flushRounds-1 {
			g.l.settle(t)
		}
		g.token = fmt.Appendf(nil, "e2e sentinel %d;", sentinels.Add(1))
		sentinel := experiment(g.mac, to.mac, g.vlan, g.token)
		g.send(t, sentinel)
		again := g.repeat(sentinel)
		before, err := to.until(t, g.token)
		again()
		frames = append(frames, before...)
		if err != nil {
			t.Logf("the trace of the sentinel on %s:\n%s", g.host, g.l.trace(t, g.host, int(g.l.portStatus(t, g.port).OFPort), sentinel))
			t.Fatalf("the sentinel from %s has not arrived at %s: %v", g.port, to.port, err)
		}
	}
	return frames
}

// resendAfter is when a sentinel is taken for lost. A userspace datapath that shares two
// cores with a whole test run loses a frame now and then, and a sentinel proves nothing by that.
const resendAfter = 2 * time.Second

// repeat sends a sentinel again and again until what it returns is called.
func (g *guest) repeat(sentinel []byte) (stop func()) {
	tick, done, ended := time.NewTicker(resendAfter), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-tick.C:
				_ = g.PacketConn.Send(sentinel) // until reports that none has arrived
			case <-done:
				return
			}
		}
	}()
	return func() {
		tick.Stop()
		close(done)
		<-ended
	}
}

// until is what arrives before a frame with the token.
func (g *guest) until(t *testing.T, token []byte) ([]netdev.Frame, error) {
	t.Helper()
	return collect(t, g.PacketConn, func(f netdev.Frame) bool {
		return f.Direction == netdev.Received && bytes.Contains(f.Data, token)
	}, received)
}

// await is the first frame from now on that carries the marker; the test fails
// if none comes.
func (g *guest) await(t *testing.T, marker string) netdev.Frame {
	t.Helper()
	var hit netdev.Frame
	before, err := collect(t, g.PacketConn, func(f netdev.Frame) bool {
		hit = f
		return f.Direction == netdev.Received && bytes.Contains(f.Data, []byte(marker))
	}, received)
	if err != nil {
		t.Fatalf("%q has not arrived at %s, but %d other frames: %v", marker, g.port, len(before), err)
	}
	return hit
}

func received(f netdev.Frame) bool {
	return f.Direction == netdev.Received && !bytes.Contains(f.Data, []byte("e2e sentinel "))
}

// collect reads a capture to the frame that last chooses, and returns the
// frames before it that keep chooses. A capture that has lost frames is an error.
func collect(t *testing.T, c *netdev.PacketConn, last, keep func(netdev.Frame) bool) ([]netdev.Frame, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var frames []netdev.Frame
	for {
		f, err := c.Next(ctx)
		if err != nil {
			return frames, err
		}
		if last(f) {
			break
		}
		if keep(f) {
			frames = append(frames, f)
		}
	}
	stats, err := c.Stats()
	if err == nil && stats.Dropped > 0 {
		err = fmt.Errorf("the capture lost %d frames", stats.Dropped)
	}
	return frames, err
}

// marked are the frames that carry the marker.
func marked(frames []netdev.Frame, marker string) []netdev.Frame {
	var out []netdev.Frame
	for _, f := range frames {
		if bytes.Contains(f.Data, []byte(marker)) {
			out = append(out, f)
		}
	}
	return out
}

// underlay captures what crosses the underlay's end of a host's link: what the
// host sends is Received, what it gets is Sent. Frames sent into it arrive at the
// host as from the underlay.
func (l *testLab) underlay(t *testing.T, host string) *netdev.PacketConn {
	t.Helper()
	c, err := l.m.CaptureUnderlay(l.name, host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// carried is what crossed a host's link of the underlay in tunnels, the sentinels
// and the controller's probes left out, up to the last sentinel that a guest has sent to a guest on another
// host.
func carried(t *testing.T, c *netdev.PacketConn, g *guest) []tunnelled {
	t.Helper()
	var out []tunnelled
	_, err := collect(t, c, func(f netdev.Frame) bool {
		return bytes.Contains(f.Data, g.token)
	}, func(f netdev.Frame) bool {
		d, ok := decodeTunnel(f)
		if ok && !d.probe() && !bytes.Contains(f.Data, []byte("e2e sentinel ")) {
			out = append(out, d)
		}
		return false
	})
	if err != nil {
		t.Fatalf("the last sentinel from %s was not seen on the underlay, but %d other packets in tunnels: %v", g.port, len(out), err)
	}
	return out
}
