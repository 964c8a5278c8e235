package traffic

import (
	"context"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// Datagrams come at the pace that was asked for, and what the path loses is counted.
func TestPacedArrivesAndLoses(t *testing.T) {
	a, b := pair(t)
	answers(t, a)
	p, err := StartPaced(a, b, far.Addr, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer p.End()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.More(ctx, 50); err != nil {
		t.Fatal(err)
	}
	if c, err := p.End(); err != nil || c.Sent < 50 || c.Lost != 0 || c.Twice != 0 {
		t.Errorf("over a path that loses nothing: %+v, %v", c, err)
	}
	if p, err = StartPaced(a, b, far.Addr, 1000); err != nil {
		t.Fatal(err)
	}
	if err := p.More(ctx, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Configure("eth0", netdev.LinkConfig{State: netdev.Down}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.more(ctx, p.numSent, 20); err != nil {
		t.Fatal(err)
	}
	if c, err := p.End(); err != nil || c.Lost < 15 {
		t.Errorf("over a path that is down: %+v, %v", c, err)
	}
}

// Replies count, and so do those that a guest without an interface does not send.
func TestPacedEcho(t *testing.T) {
	a, b := pair(t)
	answers(t, a)
	p, err := StartPacedEcho(wire(t, a), near, far, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer p.End()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.More(ctx, 50); err != nil {
		t.Fatal(err)
	}
	before, err := p.Counts()
	if err != nil || before.Twice != 0 || before.Lost > 10 { // some are on the way
		t.Errorf("over a path that loses nothing: %+v, %v", before, err)
	}
	if _, err := b.Configure("eth0", netdev.LinkConfig{State: netdev.Down}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.more(ctx, p.numSent, 100); err != nil {
		t.Fatal(err)
	}
	if c, err := p.End(); err != nil || c.Lost < 50 {
		t.Errorf("from a guest that is away: %+v, %v", c, err)
	}
}

func TestPacedThatCannotBe(t *testing.T) {
	a, b := pair(t)
	for _, rate := range []int{0, -1, 10_001} {
		if p, err := StartPaced(a, b, far.Addr, rate); err == nil {
			_, _ = p.End()
			t.Errorf("%d datagrams a second were accepted", rate)
		}
	}
}

// A datagram that is lost, and one that comes twice, is counted as such.
func TestPacedCounts(t *testing.T) {
	p := &Paced{sent: 8, arrived: map[uint64]int{0: 1, 2: 2, 5: 1, 7: 1}}
	c, err := p.Counts()
	if want := (PacedCounts{Sent: 8, Lost: 4, InARow: 2, Twice: 1}); c != want || err != nil {
		t.Errorf("%+v, %v; want %+v", c, err, want)
	}
}
