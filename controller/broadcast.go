package controller

import "sync/atomic"

// broadcast wakes everybody who waits for the next change of something. The
// zero value is not ready; use newBroadcast.
type broadcast struct{ ch atomic.Pointer[chan struct{}] }

func newBroadcast() *broadcast {
	b := &broadcast{}
	ch := make(chan struct{})
	b.ch.Store(&ch)
	return b
}

// wait is closed at the next notify. Take it before looking at what may change.
func (b *broadcast) wait() <-chan struct{} { return *b.ch.Load() }

// notify wakes all who wait.
func (b *broadcast) notify() {
	next := make(chan struct{})
	close(*b.ch.Swap(&next))
}

// bell is a wake channel of size one: ringing it again before it is heard is
// the same as ringing it once.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}
