package controller

import (
	"bytes"
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/datapath/ovsdb"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// row is a row of the Interface table that names a port.
type row struct {
	iface   uuid.UUID
	ifaceID string
	port    uint32 // its OpenFlow number
}

// quarantined is an OpenFlow number that lost its port: until the switch has
// confirmed revision, it may hold flows that hand out the old port's traffic.
type quarantined struct {
	revision uint64
	ifaceID  string
}

// lostNumber is a number that the switch has taken from a row.
type lostNumber struct {
	port uint32
	// early says that the database had not shown the number yet. It still may.
	early bool
}

// binder turns what one host shows into bindings. It is one goroutine for the
// life of the controller, so that bindings outlive sessions: a host whose OVSDB
// went away still forwards.
type binder struct {
	h      *host
	engine *engine
	// placed is called after the first facts are committed, and settled after that,
	// when the host counts as pictured.
	placed  func(context.Context)
	settled func()

	bound map[uuid.UUID]row
	early announcements
	// gone are rows whose number the switch reported as deleted; they stay
	// unbound until the row has another number or the number is reported again.
	gone       map[uuid.UUID]lostNumber
	quarantine map[uint32]quarantined
	seen       observation
	shown      bool // the first facts are committed
	// retry fires when a commit that failed is to be tried again; else nil.
	retry <-chan time.Time
}

// bindRetry is how long a binder waits after a commit that failed, if the host
// shows nothing new before.
const bindRetry = time.Second

// observation is what a host says about itself.
type observation struct {
	tep     netip.Addr
	tunnels [4]uint32
	valid   bool
}

// observe reads TEP and tunnel ports off the facts. A tunnel port whose number is not known
// yet keeps the one that it had.
func (b *binder) observe(f *ovsdb.Facts) observation {
	o := observation{tep: f.TEP, valid: true}
	for _, i := range f.Interfaces {
		e, numbered := tunnelEncap(i)
		switch {
		case e == 0 || i.Error != "":
		case numbered && reported(f):
			o.tunnels[e] = i.OFPort
		default:
			o.tunnels[e] = b.seen.tunnels[e]
		}
	}
	return o
}

// reported says whether ovs-vswitchd has said, since the host's ovsdb-server was started,
// that it runs the bridge. Until then the numbers in the database are those of before, and
// nothing follows from them.
func reported(f *ovsdb.Facts) bool { return !f.Bridge.Present || f.Bridge.DatapathID != 0 }

// remembered are the rows that are bound and still there, as they were: numbers are not
// known now, but which rows there are is.
func (b *binder) remembered(f *ovsdb.Facts) []row {
	var out []row
	for iface, was := range b.bound {
		if i, shown := f.Interfaces[iface]; shown && i.IfaceID == was.ifaceID {
			out = append(out, was)
		}
	}
	sortRows(out)
	return out
}

func newBinder(h *host, e *engine, placed func(context.Context), settled func()) *binder {
	return &binder{
		h: h, engine: e, placed: placed, settled: settled,
		bound:      map[uuid.UUID]row{},
		early:      announcements{session: h.conn.Load, byName: map[string]portEvent{}},
		gone:       map[uuid.UUID]lostNumber{},
		quarantine: map[uint32]quarantined{},
	}
}

// run reconciles until ctx ends.
func (b *binder) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-b.h.ports:
			b.portEvent(e)
		case <-b.h.binder:
		case <-b.retry:
		}
		b.retry = nil
		for more := true; more; {
			select {
			case e := <-b.h.ports:
				b.portEvent(e)
			default:
				more = false
			}
		}
		b.reconcile(ctx)
	}
}

// portEvent notes what the switch said about a number before the database did.
func (b *binder) portEvent(e portEvent) {
	facts := b.h.facts.Load()
	if e.gone {
		for _, r := range rows(facts, &b.early) {
			if r.port == e.port {
				b.lose(r, facts)
			}
		}
		for _, r := range b.bound {
			if r.port == e.port {
				b.lose(r, facts)
			}
		}
	} else {
		maps.DeleteFunc(b.gone, func(_ uuid.UUID, lost lostNumber) bool { return lost.port == e.port })
	}
	b.early.note(e)
}

// lose notes that the switch has taken a row's number away.
func (b *binder) lose(r row, f *ovsdb.Facts) {
	early := false
	if f != nil {
		i, shown := f.Interfaces[r.iface]
		early = shown && i.OFPort == 0
	}
	b.gone[r.iface] = lostNumber{port: r.port, early: early}
}

// reconcile commits the difference between what the host shows and what is bound.
func (b *binder) reconcile(ctx context.Context) {
	if b.h.forgotten.Swap(false) {
		clear(b.bound)
		clear(b.gone)
		clear(b.early.byName)
		clear(b.quarantine)
		b.seen = observation{}
	}
	facts := b.h.facts.Load()
	if facts == nil {
		return
	}
	b.early.confirm(facts)
	shown := rows(facts, &b.early)
	if !reported(facts) {
		shown = b.remembered(facts)
	}
	b.forget(facts)
	synced := b.h.sync.Load().revision()
	for port, q := range b.quarantine {
		if synced >= q.revision {
			delete(b.quarantine, port)
		}
	}
	obs := b.observe(facts)
	unbind, bind := b.difference(shown)
	if obs == b.seen && len(unbind) == 0 && len(bind) == 0 {
		b.pictured(ctx, facts)
		return
	}
	o := b.engine.observed(ctx, func(t *topo.Txn) error {
		t.ObserveHost(b.h.name, obs.tep, obs.tunnels)
		for _, r := range unbind {
			t.Unbind(b.h.name, r.iface)
		}
		for _, r := range bind {
			t.Bind(r.ifaceID, topo.Binding{Host: b.h.name, OFPort: r.port, Interface: r.iface})
		}
		return nil
	})
	if o.err != nil {
		b.h.setProblem("bindings", "what the host shows could not be committed: "+o.err.Error())
		if ctx.Err() == nil {
			b.retry = time.After(bindRetry)
		}
		return
	}
	b.h.setProblem("bindings", "")
	b.seen = obs
	for _, r := range unbind {
		delete(b.bound, r.iface)
		b.quarantine[r.port] = quarantined{revision: o.next.Revision(), ifaceID: r.ifaceID}
	}
	for _, r := range bind {
		b.bound[r.iface] = r
	}
	b.pictured(ctx, facts)
	// A number freed in this round may be wanted by a row of this round. The
	// worker rings when it has confirmed; ring here too in case it was faster.
	if len(unbind) > 0 {
		b.h.binder.ring()
	}
}

// difference is what is to be unbound and what is to be bound, in this order.
func (b *binder) difference(shown []row) (unbind, bind []row) {
	now := make(map[uuid.UUID]row, len(shown))
	for _, r := range shown {
		if lost, gone := b.gone[r.iface]; !gone || lost.port != r.port {
			now[r.iface] = r
		}
	}
	freed := map[uint32]string{}
	for iface, was := range b.bound {
		if is, ok := now[iface]; !ok || is != was {
			unbind = append(unbind, was)
			freed[was.port] = was.ifaceID
		}
	}
	sortRows(unbind)
	for _, r := range shown {
		if now[r.iface] != r || b.bound[r.iface] == r || b.quarantinedFor(r, freed) {
			continue
		}
		bind = append(bind, r)
	}
	return unbind, bind
}

// quarantinedFor reports whether the row's number may still carry another
// port's flows, from earlier rounds or by what this round frees.
func (b *binder) quarantinedFor(r row, freed map[uint32]string) bool {
	if id, ok := freed[r.port]; ok && id != r.ifaceID {
		return true
	}
	q, ok := b.quarantine[r.port]
	return ok && q.ifaceID != r.ifaceID
}

// forget drops what was noted about rows that have gone or have another number.
func (b *binder) forget(f *ovsdb.Facts) {
	maps.DeleteFunc(b.gone, func(iface uuid.UUID, lost lostNumber) bool {
		i, shown := f.Interfaces[iface]
		coming := lost.early && i.OFPort == 0 && i.Error == ""
		return !shown || i.OFPort != lost.port && !coming
	})
}

// pictured notes that the host's first facts are committed, if they say which ports there
// are: without that every port would look unplugged to the worker.
func (b *binder) pictured(ctx context.Context, f *ovsdb.Facts) {
	if !b.shown && reported(f) {
		b.shown = true
		b.placed(ctx)
		close(b.h.pictured)
		b.settled()
	}
}

// maxOFPort is the largest number Open vSwitch gives to an interface that is
// not a bridge's own.
const maxOFPort = 0xfeff

// rows are the interfaces with an iface-id and a number, in a fixed order; a nil early
// leaves those out whose number the database does not know yet. Our own tunnel ports are
// nobody's, whatever somebody wrote on them.
func rows(f *ovsdb.Facts, early *announcements) []row {
	if f == nil {
		return nil
	}
	var out []row
	for id, i := range f.Interfaces {
		if _, tunnel := tunnelEncap(i); tunnel || i.IfaceID == "" {
			continue
		}
		if port := early.number(i); 0 < port && port <= maxOFPort {
			out = append(out, row{iface: id, ifaceID: i.IfaceID, port: port})
		}
	}
	sortRows(out)
	return out
}

func sortRows(rs []row) {
	slices.SortFunc(rs, func(a, b row) int { return bytes.Compare(a.iface[:], b.iface[:]) })
}
