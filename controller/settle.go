package controller

import (
	"sync"
	"time"
)

// settling says when switches that already forward may be touched after a
// start: when every host that was declared, or was given flows before, has shown
// its ports, or when the time is over. Before that a missing port is a port
// not seen yet, and its flows must stay.
type settling struct {
	limit time.Duration
	once  sync.Once
	ch    chan struct{}
}

func newSettling(limit time.Duration) *settling {
	return &settling{limit: limit, ch: make(chan struct{})}
}

// finish ends the wait.
func (s *settling) finish() { s.once.Do(func() { close(s.ch) }) }

// done is closed when the wait is over.
func (s *settling) done() <-chan struct{} { return s.ch }

// complete reports whether the wait is over.
func (s *settling) complete() bool {
	select {
	case <-s.ch:
		return true
	default:
		return false
	}
}

// run ends the wait when the limit has passed, at the latest.
func (s *settling) run(stop <-chan struct{}) {
	t := time.NewTimer(s.limit)
	defer t.Stop()
	select {
	case <-t.C:
		s.finish()
	case <-s.ch:
	case <-stop:
	}
}
