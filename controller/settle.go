package controller

import (
	"sync"
	"time"
)

// settling says when switches that already forward may be touched after a
// start: when every host that was declared, or was given flows before, has shown
// its ports, or when the time is over. Before that a missing port is a port
// not seen yet, and its flows must stay.
//
// A controller whose overlay is empty has nothing to compare a switch with: it
// may have lost its store. Then the time begins when something is declared.
type settling struct {
	limit    time.Duration
	once     sync.Once
	ch       chan struct{}
	declared chan struct{}
	begin    sync.Once
}

func newSettling(limit time.Duration) *settling {
	return &settling{limit: limit, ch: make(chan struct{}), declared: make(chan struct{})}
}

// start begins the time: something is declared.
func (s *settling) start() { s.begin.Do(func() { close(s.declared) }) }

// begun reports whether something is declared.
func (s *settling) begun() bool {
	select {
	case <-s.declared:
		return true
	default:
		return false
	}
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
	select {
	case <-s.declared:
	case <-stop:
		return
	}
	t := time.NewTimer(s.limit)
	defer t.Stop()
	select {
	case <-t.C:
		s.finish()
	case <-s.ch:
	case <-stop:
	}
}
