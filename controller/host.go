package controller

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsdb"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// host is what the controller keeps about one host while it runs. Each atomic
// pointer has one writer, named beside it; everybody may read.
type host struct {
	name string

	// facts is what the host's ovsdb-server last said; it stays when the
	// session ends. Written by the OVSDB session.
	facts atomic.Pointer[ovsdb.Facts]
	// db and of are the sessions. Written by whoever holds the slot.
	db, of atomic.Pointer[sessionState]
	// sync is what the switch confirmed. Written by the worker.
	sync atomic.Pointer[syncState]
	// links are those of the ends of wires here; nil while they are not observed.
	// Written by the carrier.
	links atomic.Pointer[links]
	// database is the live OVSDB session, nil while there is none. Written by whoever
	// holds the slot.
	database atomic.Pointer[database]
	// conn is the live OpenFlow session, nil while there is none. Written by
	// whoever holds the slot.
	conn atomic.Pointer[openflow.Conn]
	// pictured is closed by the binder when the host's first facts of this run
	// are committed.
	pictured chan struct{}

	dbSlot, ofSlot slot
	// binder is rung by new facts and by progress of the worker, worker by new
	// models, bridge by new facts and by what decides about the bridge's set-up.
	// audit asks the worker for one now. carrier is rung by new models, by progress of
	// the worker, by a new OVSDB session, and by the hosts of other ends of wires.
	binder, worker, bridge, audit, carrier bell
	// ports are the port numbers that came and went over OpenFlow, in order.
	ports chan portEvent

	// recalled is closed once what the switch held when the controller first met it
	// has been looked at. Closed by the first worker that has.
	recalled chan struct{}
	// sightings are the source MACs that wait to be learned, usage says when those
	// that were learned last sent.
	sightings *sightings
	usage     *usage
	// reach is which peers its packets reach.
	reach *reach
	// recollection is what the switch knew of learned MACs before this run.
	recollection recollection

	// forgotten asks the binder to start over.
	forgotten atomic.Bool

	mu sync.Mutex
	// problems by source, so that each source takes back only its own.
	problems map[string]hostProblem // guarded by mu
}

// database is what a host's carrier needs of the session with the host's database: an
// ovsdb.Session, or what stands for one where switches are simulated.
type database interface {
	Facts() *ovsdb.Facts
	NoteHeld(ctx context.Context, devices map[string]bool) error
}

// hostProblem is something wrong with a host, until it is taken back or until
// its time is over.
type hostProblem struct {
	text  string
	until time.Time // zero: no limit
}

// refusalShown is how long a refused session is shown as a problem of the host
// whose name or datapath id it used, since nobody takes it back.
const refusalShown = time.Minute

// portEvent is a port number that appeared or vanished on a switch.
type portEvent struct {
	port uint32
	name string
	gone bool
	// session is where it was told.
	session *openflow.Conn
}

// sessionState is a session with a host, or the memory of the last one.
type sessionState struct {
	connected bool
	peer      string
	since     time.Time
	err       string
}

// syncState is what a worker confirmed. It is immutable.
type syncState struct {
	// confirmed is the snapshot whose flows the switch confirmed by a barrier;
	// nil before the first confirmation of this run.
	confirmed             *topo.Snapshot
	flows, groups, meters int
	at                    time.Time
	err                   string
	drift                 uint64
	waiting               string // why nothing is being done, empty if nothing is waited for
	conflicts             []string
	connected             bool
}

// revision is the newest confirmed revision, 0 if there is none.
func (s *syncState) revision() uint64 {
	if s.confirmed == nil {
		return 0
	}
	return s.confirmed.Revision()
}

func newHost(name string) *host {
	h := &host{
		name:      name,
		pictured:  make(chan struct{}),
		recalled:  make(chan struct{}),
		binder:    newBell(),
		worker:    newBell(),
		audit:     newBell(),
		carrier:   newBell(),
		bridge:    newBell(),
		ports:     make(chan portEvent, 1024),
		problems:  map[string]hostProblem{},
		sightings: newSightings(),
		usage:     newUsage(),
		reach:     newReach(),
	}
	h.db.Store(&sessionState{})
	h.of.Store(&sessionState{})
	h.sync.Store(&syncState{})
	return h
}

// forget drops what is remembered of a host that is away, after the overlay has
// dropped it. A host that came back meanwhile has new facts, which stay.
func (h *host) forget() {
	if f := h.facts.Load(); f != nil && !h.db.Load().connected {
		h.facts.CompareAndSwap(f, nil)
	}
	h.forgotten.Store(true)
	h.binder.ring()
}

// setProblem records what is wrong according to source; an empty text takes
// it back. It reports whether anything changed.
func (h *host) setProblem(source, text string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.problems[source].text == text {
		return false
	}
	if text == "" {
		delete(h.problems, source)
	} else {
		h.problems[source] = hostProblem{text: text}
	}
	return true
}

// refused records that a session that claimed to be this host's was refused.
func (h *host) refused(source string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.problems[source] = hostProblem{text: err.Error(), until: time.Now().Add(refusalShown)}
}

// problemList is what is wrong with the host now, and which sessions in its
// name were refused of late; each in a stable order. A refusal is shown but is
// nothing against the host itself: anybody can claim its name.
func (h *host) problemList() (wrong, refused []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for source, p := range h.problems {
		if !p.until.IsZero() && time.Now().After(p.until) {
			delete(h.problems, source)
			continue
		}
		if p.until.IsZero() {
			wrong = append(wrong, p.text)
		} else {
			refused = append(refused, p.text)
		}
	}
	slices.Sort(wrong)
	slices.Sort(refused)
	return wrong, refused
}

// maxHosts bounds what peers that invent names can make the controller keep.
const maxHosts = 4096

// registry is the hosts by name. Hosts are added and never taken out while the
// controller runs: a forgotten host may come back.
type registry struct {
	mu    sync.Mutex
	hosts map[string]*host // guarded by mu
	// started is called once for each new host, without the lock.
	started func(*host)
}

// get is the host of that name, made if need be; an error if there are too many.
func (r *registry) get(name string) (*host, error) {
	r.mu.Lock()
	h := r.hosts[name]
	if h != nil {
		r.mu.Unlock()
		return h, nil
	}
	if len(r.hosts) >= maxHosts {
		r.mu.Unlock()
		return nil, fmt.Errorf("host %s: there are %d hosts already, which is the limit; restart the controller after removing hosts that are gone", name, maxHosts)
	}
	h = newHost(name)
	r.hosts[name] = h
	r.mu.Unlock()
	r.started(h)
	return h, nil
}

// find is the host of that name, nil if there is none.
func (r *registry) find(name string) *host {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hosts[name]
}

// all are the hosts by name.
func (r *registry) all() []*host {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*host, 0, len(r.hosts))
	for _, h := range r.hosts {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b *host) int { return strings.Compare(a.name, b.name) })
	return out
}

// datapathID is the OpenFlow datapath id of a host's integration bridge: 64 bits
// of its UUID, so that it stays when the host is installed anew.
func datapathID(u uuid.UUID) uint64 {
	if id := binary.BigEndian.Uint64(u[:8]) ^ binary.BigEndian.Uint64(u[8:]); id != 0 {
		return id
	}
	return 1
}

// hostByDatapath is the host whose integration bridge has that datapath id, nil if there is none.
func hostByDatapath(s *topo.Snapshot, id uint64) *topo.Host {
	for _, h := range s.Hosts() {
		if datapathID(h.UUID) == id {
			return h
		}
	}
	return nil
}
