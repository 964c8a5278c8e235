package controller

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

const (
	// probeInterval is the time between probes of a pair whose packets pass.
	probeInterval = 10 * time.Second
	// probeTimeout is how long an answer may take before another probe is sent, and
	// probeTries how many without an answer, in a row, make a peer unreachable. The first
	// one of a pair may get lost with all being well: the userspace datapath drops what
	// makes it look for a neighbour.
	probeTimeout = time.Second
	probeTries   = 3
	// probeWindow is for how long an answer counts.
	probeWindow = probeTries * probeTimeout
	// A host sends at most probesPerRound probes in a probeRound: 16 in a second.
	probeRound     = 250 * time.Millisecond
	probesPerRound = 4
	// retriesPerRound is how many of these are for pairs that wait for an answer. A pair
	// that has none takes one probe of the others and probeTries of these.
	retriesPerRound = 3
	// probesReceived is how many probes in a second, and at once, all hosts together send
	// to one: half of what its meter lets through.
	probesReceived = 50
)

// way is what an answer has proved to work. When any of it changes, nothing is known. The
// zero way is one that cannot be judged now.
type way struct {
	from, to netip.Addr // tunnel endpoints
	out, in  uint32     // tunnel ports
	// sender and receiver are the sessions: what a switch held in an earlier one, it
	// may have lost.
	sender, receiver *openflow.Conn
}

// reachState is what is known of a way.
type reachState uint8

const (
	reachUnknown reachState = iota
	reachPasses
	reachLost
)

// pair is a host's peer over one encapsulation, as the host's probes found it.
type pair struct {
	pipeline.Peer
	peer *host // what the controller keeps about it
	way  way
	// sent are the newest probes, in turn; one that was answered is zero.
	sent [probeTries]sentProbe
	turn int
	// waiting says that the newest one has no answer yet, misses how many before it had
	// none, in a row.
	waiting bool
	misses  int
	due     time.Time // when it is its turn again
	state   reachState
}

type sentProbe struct {
	nonce pipeline.Nonce
	at    time.Time
}

// probe is one to be sent.
type probe struct {
	pipeline.Probe
	to  pipeline.Peer
	way way
}

// reach is which peers a host's packets reach. The prober of the host's session sends,
// the sessions of its peers answer, everybody may read. It holds one pair for each peer and
// encapsulation, and nothing else that grows.
type reach struct {
	bell     bell // rung by new models, and by progress of the worker
	arrivals bucket

	mu    sync.Mutex
	pairs []*pair // guarded by mu; by peer's ID, then encapsulation
	next  int     // guarded by mu; where the rotation goes on
	// unanswered are the pairs that are retried, by when they were sent a probe.
	unanswered []*pair // guarded by mu
}

func newReach() *reach { return &reach{bell: newBell()} }

func comparePeers(p *pair, q pipeline.Peer) int {
	return cmp.Or(cmp.Compare(p.Host.ID, q.Host.ID), cmp.Compare(p.Encap, q.Encap))
}

// follow makes the pairs those with these peers, which ascend. What is known of others is
// forgotten. The rotation of a host begins behind the host itself, so that not all hosts
// begin with the same peer.
func (r *reach) follow(self topo.ID, peers []pipeline.Peer, find func(string) *host) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.pairs
	r.pairs = make([]*pair, 0, len(peers))
	r.next = 0
	for _, peer := range peers {
		if peer.Host.ID < self {
			r.next = len(r.pairs) + 1
		}
		p := &pair{Peer: peer}
		if i, found := slices.BinarySearchFunc(old, peer, comparePeers); found {
			p = old[i]
			p.Peer = peer
		}
		if p.peer = find(peer.Host.Name); p.peer != nil {
			r.pairs = append(r.pairs, p)
		}
	}
	r.unanswered = slices.DeleteFunc(r.unanswered, func(p *pair) bool {
		i, found := slices.BinarySearchFunc(r.pairs, p.Peer, comparePeers)
		return !found || r.pairs[i] != p
	})
}

// forget drops all that is known, with the session that it was learned by.
func (r *reach) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pairs, r.next, r.unanswered = nil, 0, nil
}

// turn is what one round of a prober came to.
type turn struct {
	probes []probe
	// suspects are the pairs that have lost as many probes as make a peer unreachable.
	suspects []suspect
	// wait is after which time another round is wanted, 0 for none.
	wait time.Duration
	// blind says that there are pairs that cannot be judged now.
	blind bool
}

// wake asks for another round after a time.
func (t *turn) wake(after time.Duration) {
	if t.wait == 0 || after < t.wait {
		t.wait = after
	}
}

// suspect is a pair that is about to be unreachable.
type suspect struct {
	pipeline.Peer
	way way
}

// round says which probes are to be sent now. wayOf is the way to a peer as it is now.
func (r *reach) round(now time.Time, self topo.ID, wayOf func(*pair) way) turn {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &turn{}
	r.retry(t, now, self, wayOf)
	r.rotate(t, now, self, wayOf)
	if t.blind {
		// Their sessions and switches ring no bell here. The more pairs there are, the
		// longer a look at them takes, and the rarer it is.
		t.wake(probeTimeout + time.Duration(len(r.pairs))*time.Millisecond)
	}
	return *t
}

// retry goes through the pairs that wait for an answer, the longest first. What is broken
// is found soon after the first loss, however long a rotation takes.
func (r *reach) retry(t *turn, now time.Time, self topo.ID, wayOf func(*pair) way) {
	var later, again []*pair
	for _, p := range r.unanswered {
		p.follow(wayOf(p))
		switch {
		case !p.retried(): // it has its turn in the rotation
		case len(t.probes) == retriesPerRound:
			t.wake(probeRound)
			later = append(later, p)
		case p.visit(t, now, self):
			again = append(again, p)
		default:
			later = append(later, p)
		}
	}
	r.unanswered = append(later, again...)
}

// rotate goes on with the rotation, in which all other pairs have their turn.
func (r *reach) rotate(t *turn, now time.Time, self topo.ID, wayOf func(*pair) way) {
	n := len(r.pairs)
	for i := range n {
		at := (r.next + i) % n
		p := r.pairs[at]
		if p.retried() {
			continue
		}
		p.follow(wayOf(p))
		if len(t.probes) == probesPerRound && p.way != (way{}) && !now.Before(p.due) {
			r.next = at
			t.wake(probeRound)
			return
		}
		if p.visit(t, now, self) && p.retried() {
			r.unanswered = append(r.unanswered, p)
		}
	}
}

// retried reports whether the pair is among those that are retried soon.
func (p *pair) retried() bool { return p.waiting && p.state != reachLost }

// follow forgets what is known of another way than this one.
func (p *pair) follow(w way) {
	if w != p.way {
		*p = pair{Peer: p.Peer, peer: p.peer, way: w}
	}
}

// visit adds the pair's next probe to the turn if it is due and its peer may be sent one. It
// reports whether it did.
func (p *pair) visit(t *turn, now time.Time, self topo.ID) bool {
	switch {
	case p.way == way{}:
		t.blind = true
		return false
	case now.Before(p.due):
		t.wake(p.due.Sub(now))
		return false
	case !p.peer.reach.arrivals.take(now):
		t.wake(probeRound)
		return false
	}
	if p.waiting {
		p.misses++
	}
	if p.misses >= probeTries && p.state != reachLost {
		t.suspects = append(t.suspects, suspect{p.Peer, p.way})
	}
	t.probes = append(t.probes, p.send(self, now))
	t.wake(probeTimeout)
	return true
}

// send is the pair's next probe.
func (p *pair) send(self topo.ID, now time.Time) probe {
	s := sentProbe{at: now}
	_, _ = rand.Read(s.nonce[:]) // never fails
	p.sent[p.turn] = s
	p.turn = (p.turn + 1) % probeTries
	p.waiting, p.due = true, now.Add(probeTimeout)
	return probe{pipeline.Probe{Nonce: s.nonce, From: self, To: p.Host.ID}, p.Peer, p.way}
}

// lost makes a suspect unreachable, unless an answer has come since. It reports whether it
// did.
func (r *reach) lost(s suspect) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, found := slices.BinarySearchFunc(r.pairs, s.Peer, comparePeers)
	if !found || r.pairs[i].way != s.way || r.pairs[i].misses < probeTries {
		return false
	}
	r.pairs[i].state = reachLost
	return true
}

// answered takes what a switch told of a probe: it came in by that port of that peer's
// switch, from that tunnel endpoint. It reports whether it was believed, and what was known
// before. A nonce is good for one answer, within the window, and by the way that the
// probe was sent.
func (r *reach) answered(at *host, p pipeline.Probe, port uint32, from netip.Addr, now time.Time) (believed bool, before reachState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, _ := slices.BinarySearchFunc(r.pairs, p.To, func(q *pair, id topo.ID) int { return cmp.Compare(q.Host.ID, id) })
	for ; i < len(r.pairs) && r.pairs[i].Host.ID == p.To; i++ {
		q := r.pairs[i]
		if q.peer != at || q.way == (way{}) || q.way.in != port || q.way.from != from {
			continue
		}
		for j, s := range q.sent {
			if s.at.IsZero() || now.Sub(s.at) > probeWindow || subtle.ConstantTimeCompare(s.nonce[:], p.Nonce[:]) != 1 {
				continue
			}
			before = q.state
			q.sent[j] = sentProbe{}
			q.waiting, q.misses, q.state = false, 0, reachPasses
			q.due = s.at.Add(probeInterval)
			return true, before
		}
	}
	return false, reachUnknown
}

// known are the pairs in a state.
func (r *reach) known(state reachState) []pair {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []pair
	for _, p := range r.pairs {
		if p.state == state {
			out = append(out, *p)
		}
	}
	return out
}

// count is how many pairs there are, and how many are known to pass packets.
func (r *reach) count() (all, pass int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pairs {
		if p.state == reachPasses {
			pass++
		}
	}
	return len(r.pairs), pass
}

// bucket lets so many through in a second, and at once.
type bucket struct {
	mu    sync.Mutex
	spent time.Time // guarded by mu; until when what was let through uses up what may be
}

func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	spent := b.spent
	if spent.Before(now) {
		spent = now
	}
	if spent = spent.Add(time.Second / probesReceived); spent.Sub(now) > time.Second {
		return false
	}
	b.spent = spent
	return true
}
