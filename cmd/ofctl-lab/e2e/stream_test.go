package e2e

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// streamInterval is the time between the frames of a stream: 500 in a second.
const streamInterval = 2 * time.Millisecond

// stream is frames from a guest at a steady rate, each with a number, so that one
// that was lost or came twice is found.
type stream struct {
	from   *guest
	marker string
	sent   atomic.Int64
	failed atomic.Pointer[error]
	stop   func()
}

// stream starts one to a MAC; it ends with the test at the latest.
func (g *guest) stream(t *testing.T, to net.HardwareAddr, marker string) *stream {
	t.Helper()
	s := &stream{from: g, marker: marker}
	stop, ended := make(chan struct{}), make(chan struct{})
	s.stop = sync.OnceFunc(func() { close(stop); <-ended })
	go func() {
		defer close(ended)
		tick := time.NewTicker(streamInterval)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			n := s.sent.Add(1)
			if err := g.Send(experiment(g.mac, to, g.vlan, []byte(s.frame(n)))); err != nil {
				s.failed.Store(&err)
				return
			}
		}
	}()
	t.Cleanup(s.stop)
	return s
}

func (s *stream) frame(n int64) string { return fmt.Sprintf("%s frame %d;", s.marker, n) }

// more waits until n more frames have been sent.
func (s *stream) more(t *testing.T, n int64) {
	t.Helper()
	goal := s.sent.Load() + n
	eventually(t, fmt.Sprintf("%d frames are sent", n), func() bool {
		if err := s.failed.Load(); err != nil {
			t.Fatal(*err)
		}
		return s.sent.Load() >= goal
	})
}

// end stops the stream, and returns how many frames it was.
func (s *stream) end(t *testing.T) int64 {
	t.Helper()
	s.stop()
	if err := s.failed.Load(); err != nil {
		t.Fatal(*err)
	}
	return s.sent.Load()
}

// arrivedOnce ends the stream and holds that each frame has arrived at a guest,
// whose capture is as old as the stream, exactly once.
func (s *stream) arrivedOnce(t *testing.T, at *guest) {
	t.Helper()
	sent := s.end(t)
	got := s.from.flush(t, at)
	missing := 0
	for n := range sent {
		switch copies := len(marked(got, s.frame(n+1))); copies {
		case 1:
		case 0:
			missing++
		default:
			t.Errorf("frame %d arrived %d times", n+1, copies)
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d frames were lost", missing, sent)
	}
}
