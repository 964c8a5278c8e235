package controller

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsdb"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// carrier makes the ends of wires on one host show the link that the other end has:
// while that has none, the end is held down (OFPPC_PORT_DOWN), and its guest sees no
// carrier.
//
// An end that is held down shows no link of its own, so what its guest does then
// cannot be known: towards the other end it counts as up, or two ends would hold each
// other down for ever. For the same reason an end without link is not held down too:
// it is dark for its guest anyway, and were it held, its link could not be seen to
// come back.
//
// It is one goroutine for the life of an OpenFlow session, level-triggered: each round
// reads the switch's ports and makes what differs from what should be. What cannot be
// read from the switch is which ports are down because we hold them, and not because
// somebody else took them down: that is noted in the host's database, and read from
// there.
type carrier struct {
	h      *host
	conn   *openflow.Conn
	engine *engine
	settle *settling
	hosts  *registry
	log    *slog.Logger
	watch  *linkWatch

	settling map[string]release // by device
	holding  map[string]holding // by device
}

// release is when an end was let go, and until when what its link shows counts as up:
// the link of a port takes a moment to come back.
type release struct {
	at, until time.Time
	window    time.Duration
	held      time.Duration // how long it had to be held at least
}

// holding is until when an end that is held stays held whatever the other one does,
// and how long that is in all.
type holding struct {
	until time.Time
	time  time.Duration
}

const (
	// linkSettle is how long a link may take to come back. It doubles for an end that
	// is let go again within flapTime, up to maxLinkSettle, so that on a slow machine
	// two ends do not answer each other's delay for ever.
	linkSettle    = 150 * time.Millisecond
	maxLinkSettle = 2400 * time.Millisecond
	flapTime      = 5 * time.Second
	// minHold is how long an end is held at least that was let go less than flapTime
	// before. It doubles each time, up to maxHeld: each hold is noted, told to the
	// switch and logged, and a guest may shut its end and open it as fast as it can.
	minHold = 250 * time.Millisecond
	maxHeld = 8 * time.Second
	// carrierRetry is the time before another attempt after an error.
	carrierRetry = time.Second
	// maxHeldAway bounds what is noted of ports that are not on the bridge now,
	// and may come back as they were: held down.
	maxHeldAway = 256
)

// link is what is known of the link of one end of a wire.
type link uint8

const (
	linkUnknown link = iota // not observed: whatever follows from it stays
	linkUp
	linkDown
)

// links are the links of the ends of wires on one host, by OpenFlow number, as they
// count for the other ends. Immutable.
type links map[uint32]link

// holds reports whether an end is to be held down, given its own link, that of the
// other end, and whether it is held now.
func holds(self, far link, held bool) bool {
	switch far {
	case linkUp:
		return false
	case linkDown:
		return held || self == linkUp
	}
	return held
}

// holdTime is how long an end is held at least, given when it was let go last.
func holdTime(last release, now time.Time) time.Duration {
	if last.at.IsZero() || now.Sub(last.at) >= flapTime {
		return 0
	}
	return min(max(2*last.held, minHold), maxHeld)
}

// linkWatch rings when the switch tells of one of the ports that are watched.
type linkWatch struct {
	bell    bell
	numbers atomic.Pointer[map[uint32]bool]
}

// told is called with each port status.
func (w *linkWatch) told(s openflow.PortStatus) {
	if m := w.numbers.Load(); m != nil && (*m)[s.Port.Number] {
		w.bell.ring()
	}
}

// wireEnd is the end of a wire on this host. far is nil while the other end is bound
// nowhere.
type wireEnd struct {
	ofport  uint32
	network *topo.Network
	far     *topo.Member
}

// run works until ctx ends. What was held stays held: the switch goes on as it is.
func (k *carrier) run(ctx context.Context) {
	defer k.h.links.Store(nil) // from now on not observed
	settled := k.settle.done()
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.h.carrier:
		case <-k.watch.bell:
		case <-settled:
			settled = nil
		case <-again:
		}
		next, err := k.step(ctx)
		if err != nil && ctx.Err() == nil {
			k.log.Error("the links of wires could not be followed", "err", err, "retry", carrierRetry)
			next = carrierRetry
		}
		again = nil
		if next > 0 {
			again = time.After(next)
		}
	}
}

// step does one round and says after which time another is wanted, 0 for none.
func (k *carrier) step(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	// Until the switch has been given what belongs to this run's picture, a port that
	// is not bound is one that was not seen yet.
	if k.h.sync.Load().confirmed == nil {
		return 0, nil
	}
	db, facts := k.noted()
	if facts == nil {
		return 0, nil // the host was forgotten while it returned, and will show them again
	}
	ends := wireEnds(k.engine.load().Snapshot, k.h.name)
	if len(ends)+len(facts.Held) == 0 {
		k.watch.numbers.Store(nil)
		k.show(nil)
		return 0, nil
	}
	watched := make(map[uint32]bool, len(ends))
	for _, e := range ends {
		watched[e.ofport] = true
	}
	k.watch.numbers.Store(&watched) // before the ports are read, so that no change is missed
	ports, err := k.conn.Ports(ctx)
	if err != nil {
		return 0, err
	}
	r := &carrierRound{carrier: k, db: db, ports: map[uint32]openflow.PortDesc{}, held: facts.Held, links: links{}, now: time.Now()}
	for _, p := range ports {
		r.ports[p.Number] = p
	}
	err = r.run(ctx, ends)
	for _, e := range ends {
		if e.far != nil && e.far.Host.Name != k.h.name {
			if far := k.hosts.find(e.far.Host.Name); far != nil && r.changed {
				far.carrier.ring()
			}
		}
	}
	return r.next(), err
}

// noted is the session with the host's database, nil while there is none, and what that
// says, or said when it ended. What is written by the session is there when it is written.
func (k *carrier) noted() (database, *ovsdb.Facts) {
	if db := k.h.database.Load(); db != nil {
		return *db, (*db).Facts()
	}
	return nil, k.h.facts.Load()
}

// show publishes the links of this host's ends.
func (k *carrier) show(l links) { k.h.links.Store(&l) }

// far is the link of the other end of a wire.
func (k *carrier) far(e wireEnd, own links) link {
	if e.far == nil {
		select {
		case <-k.settle.done():
			return linkDown // a cable that is plugged in at one end
		default:
			return linkUnknown // its host may not have told yet
		}
	}
	if e.far.Host.Name == k.h.name {
		return own[e.far.OFPort]
	}
	h := k.hosts.find(e.far.Host.Name)
	if h == nil {
		return linkUnknown
	}
	if l := h.links.Load(); l != nil {
		return (*l)[e.far.OFPort]
	}
	return linkUnknown // the host is away, and may forward or not
}

// wireEnds are the ends on a host of the wires that propagate their carrier.
func wireEnds(s *topo.Snapshot, host string) []wireEnd {
	var out []wireEnd
	for _, seg := range s.SegmentsOn(host) {
		if !seg.Network.PropagatesCarrier() {
			continue
		}
		for i, m := range seg.Members {
			if m.Host.Name != host {
				continue
			}
			e := wireEnd{ofport: m.OFPort, network: seg.Network}
			if len(seg.Members) > 1 {
				e.far = seg.Members[1-i]
			}
			out = append(out, e)
		}
	}
	return out
}

// why says what has no link at the other end: far is its port, "" if it is bound nowhere.
func why(network, far string) string {
	if far == "" {
		return fmt.Sprintf("the other end of wire %s is not plugged in", network)
	}
	return fmt.Sprintf("port %s, the other end of wire %s, has no link", far, network)
}

// why says why the end is held down.
func (e wireEnd) why() string {
	if e.far == nil {
		return why(e.network.FullName(), "")
	}
	return why(e.network.FullName(), e.far.Port.Name)
}

// heldBecause says why a port that is held down is.
func (v *view) heldBecause(p *topo.Port) string {
	for _, other := range v.model.PortsIn(p.Network) {
		b := v.model.Bindings(other.Name)
		if other == p || len(b) == 0 {
			continue
		}
		if h := v.c.hosts.find(b[0].Host); h != nil {
			if l := h.links.Load(); l != nil && (*l)[b[0].OFPort] == linkUp {
				return fmt.Sprintf("port %s, the other end of wire %s, had no link a moment ago", other.Name, p.Network)
			}
		}
		return why(p.Network, other.Name)
	}
	return why(p.Network, "")
}
