package traffic

import (
	"context"
	"net/netip"
	"testing"
	"time"
)

func TestConnectionsAreMadeAndMeasured(t *testing.T) {
	a, b := pair(t)
	// The kernel may still be at the carrier of the new interfaces, and lose the first packets.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := NewEcho(wire(t, a), near, far).FirstReply(ctx, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	c, err := OpenConnections(a, b, far.Addr, 3)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := c.Measure(ctx, 50*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if got.Done < 1 || got.Done != got.Latency.TotalCount() || got.Latency.Min() <= 0 || got.Elapsed < 50*time.Millisecond {
			t.Errorf("%d connections in %s, histogram of %d from %d ns on", got.Done, got.Elapsed, got.Latency.TotalCount(), got.Latency.Min())
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// What fails is said by Measure and by Close, and Close comes to an end.
func TestConnectionsThatFail(t *testing.T) {
	a, b := pair(t)
	c, err := OpenConnections(b, a, near.Addr, 2)
	if err != nil {
		t.Fatal(err)
	}
	// The clients are refused from now on.
	if err := c.listener.Close(); err != nil {
		t.Error(err)
	}
	c.clients.Wait()
	if _, err := c.Measure(t.Context(), time.Millisecond); err == nil {
		t.Error("clients were refused, and nothing was said")
	}
	if err := c.Close(); err == nil {
		t.Error("clients were refused, and Close says nothing")
	}
}

// A window too short for a connection lasts until there is one.
func TestMeasureWaitsForAConnection(t *testing.T) {
	a, b := pair(t)
	c, err := OpenConnections(a, b, far.Addr, 1)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if got, err := c.Measure(t.Context(), 0); err != nil || got.Done < 1 {
			t.Errorf("%d connections: %v", got.Done, err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestConnectionsToNobody(t *testing.T) {
	a, b := pair(t)
	if _, err := OpenConnections(a, b, netip.MustParseAddr("10.0.0.9"), 1); err == nil {
		t.Error("a server listens on an address that is not there")
	}
}

func TestMeasureEndsWithItsContext(t *testing.T) {
	a, b := pair(t)
	c, err := OpenConnections(a, b, far.Addr, 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Measure(ctx, time.Hour); err == nil {
		t.Error("Measure did not end")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
