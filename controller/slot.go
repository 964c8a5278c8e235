package controller

import (
	"context"
	"fmt"
	"sync"
)

// occupant is a session that holds a slot.
type occupant struct {
	peer string
	// probe returns nil if the session's peer is alive. It bounds its own wait.
	probe func(context.Context) error
	// evict ends the session.
	evict func()
	// left is closed by release.
	left chan struct{}
}

// slot holds at most one session: two sessions that both believe to be the
// host's would undo each other's work.
type slot struct {
	mu  sync.Mutex
	cur *occupant // guarded by mu
}

// takenError says that a session was refused because another is alive.
type takenError struct{ what, first, second string }

func (e *takenError) Error() string {
	return fmt.Sprintf("%s is served for %s already, which is alive; %s is refused. If it is another machine, give one of them its own name", e.what, e.first, e.second)
}

// claim puts o into the slot. If the occupant's peer does not answer a probe it
// is evicted first; if it does, o is refused with a *takenError. What names
// what they both claim to be, for the error.
func (s *slot) claim(ctx context.Context, o *occupant, what string) error {
	o.left = make(chan struct{})
	for {
		s.mu.Lock()
		cur := s.cur
		if cur == nil {
			s.cur = o
		}
		s.mu.Unlock()
		if cur == nil {
			return nil
		}
		if err := cur.probe(ctx); err == nil {
			return &takenError{what: what, first: cur.peer, second: o.peer}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		cur.evict()
		select {
		case <-cur.left:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// release empties the slot that o holds.
func (s *slot) release(o *occupant) {
	s.mu.Lock()
	if s.cur == o {
		s.cur = nil
	}
	s.mu.Unlock()
	close(o.left)
}
