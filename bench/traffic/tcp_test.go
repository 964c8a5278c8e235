package traffic

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// until waits for a condition, for ten seconds at most.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !done() {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatal(what)
		}
	}
}

// The receiver never offers more than the window, however much has gone through.
func TestStreamKeepsItsWindow(t *testing.T) {
	a, b := pair(t)
	s, err := OpenStream(t.Context(), a, b, far.Addr)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "nothing arrives", func() bool { return s.Received() > 16<<20 })
	info, err := s.info()
	if err != nil {
		t.Fatal(err)
	}
	if info.Snd_wnd == 0 || info.Snd_wnd > streamBuffer {
		t.Errorf("the window is %d bytes, want 1 … %d", info.Snd_wnd, streamBuffer)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestStreamCountsWhatIsSentAgain(t *testing.T) {
	a, b := pair(t)
	s, err := OpenStream(t.Context(), a, b, far.Addr)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "nothing arrives", func() bool { return s.Received() > 0 })
	again, err := s.Retransmitted()
	if err != nil || again < 0 || again >= 1 {
		t.Errorf("retransmitted: %v, %v", again, err)
	}
	if _, err := b.Configure("eth0", netdev.LinkConfig{Addresses: []netip.Prefix{}}); err != nil {
		t.Fatal(err)
	}
	until(t, "nothing is sent again to a receiver that is gone", func() bool {
		now, err := s.Retransmitted()
		return err != nil || now > again
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
