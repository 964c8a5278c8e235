package controller

import (
	"slices"
	"sync"
	"time"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// A MAC that moves moveLimit times within moveWindow is in two places: a loop, or
// two stations with one address. Following it would only make every switch of the
// network change its flows all the time. The numbers are those of RFC 7432 section
// 15.1 (duplicate MAC detection of EVPN).
const (
	moveLimit  = 5
	moveWindow = 180 * time.Second
	// maxMoved bounds how many MACs are remembered that moved.
	maxMoved = 4096
)

// moves remembers which MACs moved of late. It is used by the learners of all hosts.
type moves struct {
	mu   sync.Mutex
	list map[learnedKey]*moved // guarded by mu
}

// moved is a MAC that moved. It is copied, never shared.
type moved struct {
	at []time.Time // of the moves that count, ascending, at most moveLimit
	// held is when it last wanted to move and was not let, zero if it never was; stays
	// is the port where it was left then, and claims the one where it was seen.
	held          time.Time
	stays, claims topo.ID
}

func newMoves() *moves { return &moves{list: map[learnedKey]*moved{}} }

// allow reports whether a MAC may move from one port to another now, and counts the
// move if it may.
func (m *moves) allow(key learnedKey, from, to topo.ID, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.list[key]
	if r == nil {
		m.makeRoom(now)
		r = &moved{}
		m.list[key] = r
	}
	r.expire(now)
	if len(r.at) >= moveLimit {
		r.held, r.stays, r.claims = now, from, to
		return false
	}
	r.at = append(r.at, now)
	return true
}

// expire forgets the moves that are too old to count.
func (r *moved) expire(now time.Time) {
	r.at = slices.DeleteFunc(r.at, func(t time.Time) bool { return now.Sub(t) >= moveWindow })
}

// makeRoom forgets what is too old, or else any one MAC.
func (m *moves) makeRoom(now time.Time) {
	if len(m.list) < maxMoved {
		return
	}
	for key, r := range m.list {
		if r.expire(now); len(r.at) == 0 {
			delete(m.list, key)
		}
	}
	for key := range m.list {
		if len(m.list) < maxMoved {
			return
		}
		delete(m.list, key)
	}
}

// held are the MACs that are not followed now.
func (m *moves) held(now time.Time) map[learnedKey]moved {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[learnedKey]moved{}
	for key, r := range m.list {
		if r.expire(now); len(r.at) >= moveLimit && !r.held.IsZero() {
			out[key] = *r
		}
	}
	return out
}
