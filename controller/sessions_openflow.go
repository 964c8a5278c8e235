package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// serveOpenFlow serves one connection from a switch, from the hello to its end.
func (c *Controller) serveOpenFlow(ctx context.Context, nc net.Conn) {
	peer := nc.RemoteAddr().String()
	told := heard{ports: make(chan portEvent, cap(newHost("").ports)), packets: newPacketIns(c.packetIn), probes: newPacketIns(c.probeIn), links: &linkWatch{bell: newBell()}}
	conn, err := openflow.Connect(ctx, nc, openflow.Options{OnPortStatus: told.port, OnPacketIn: told.packetIn})
	if err != nil {
		c.metrics.refused.WithLabelValues("openflow").Inc()
		c.peers.warn(ctx, peer, "OpenFlow connection refused", err)
		return
	}
	defer conn.Close()
	th := hostByDatapath(c.engine.load().Snapshot, conn.DatapathID())
	if th == nil {
		c.refuseBridge(ctx, conn, "no host has a bridge with this datapath id yet; a host joins over OVSDB first (ofctl-lab host join-command)")
		return
	}
	h, err := c.hosts.get(th.Name)
	if err != nil {
		c.refuseBridge(ctx, conn, err.Error())
		return
	}
	o := &occupant{peer: peer, probe: answers(conn), evict: func() { conn.Close() }}
	if err := h.ofSlot.claim(ctx, o, fmt.Sprintf("datapath id %016x (host %s)", conn.DatapathID(), h.name)); err != nil {
		h.refused("refused openflow session", err)
		c.refuseBridge(ctx, conn, err.Error())
		c.changed.notify()
		return
	}
	defer h.ofSlot.release(o)
	c.unclaimed.remove(conn.DatapathID(), peer)
	c.serveSwitch(ctx, h, th, conn, told)
}

// heard is what a switch tells without being asked, between the goroutine that reads
// the session and those that act.
type heard struct {
	ports   chan portEvent
	packets *packetIns
	probes  *packetIns
	links   *linkWatch
}

// packetIn is the OnPacketIn of a session.
func (t heard) packetIn(p openflow.PacketIn) {
	if p.Cookie.Ours() && pipeline.Feature(p.Cookie.Feature()) == pipeline.FeatReachability {
		t.probes.put(p)
		return
	}
	t.packets.put(p)
}

// port is the OnPortStatus of a session.
func (t heard) port(s openflow.PortStatus) {
	t.links.told(s)
	select {
	case t.ports <- portEvent{port: s.Port.Number, name: s.Port.Name, gone: s.Reason == ofp13.PortDelete}:
	default: // the database says it too, a little later
	}
}

// echoTimeout bounds how long a switch has to prove that it is alive when
// another one wants its place. It is silent while it commits a large bundle.
const echoTimeout = 3 * time.Second

// answers is the probe of an OpenFlow session.
func answers(conn *openflow.Conn) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, echoTimeout)
		defer cancel()
		return conn.Echo(ctx)
	}
}

// serveSwitch runs the worker of a switch that has its host's slot.
func (c *Controller) serveSwitch(ctx context.Context, h *host, th *topo.Host, conn *openflow.Conn, told heard) {
	log := c.log.With("host", h.name, "peer", conn.Peer())
	log.Info("switch connected", "datapath", fmt.Sprintf("%016x", conn.DatapathID()))
	// What was confirmed on another connection says nothing of this one: the
	// switch may have been restarted in between, and be empty.
	unconfirmed := *h.sync.Load()
	unconfirmed.confirmed = nil
	h.sync.Store(&unconfirmed)
	h.of.Store(&sessionState{connected: true, peer: conn.Peer(), since: time.Now()})
	h.conn.Store(conn)
	c.changed.notify()

	ctx, cancel := context.WithCancel(ctx)
	var forward sync.WaitGroup
	forward.Go(func() { told.packets.serve(ctx, h, c.metrics.packetIns) })
	forward.Go(func() { told.probes.serve(ctx, h, c.metrics.packetIns) })
	forward.Go(func() {
		for {
			select {
			case e := <-told.ports:
				e.session = conn
				select {
				case h.ports <- e:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
	l := &learner{h: h, conn: conn, engine: c.engine, moves: c.moves, metrics: c.metrics, log: log, ageing: c.cfg.MACAgeing}
	forward.Go(func() { l.run(ctx) })
	k := &carrier{h: h, conn: conn, engine: c.engine, settle: c.settle, hosts: c.hosts, log: log, watch: told.links, settling: map[string]release{}, holding: map[string]holding{}}
	forward.Go(func() { k.run(ctx) })
	p := &prober{h: h, conn: conn, engine: c.engine, settle: c.settle, hosts: c.hosts, metrics: c.metrics, log: log, changed: c.changed.notify}
	forward.Go(func() { p.run(ctx) })
	w := &worker{
		h: h, conn: conn, engine: c.engine, settle: c.settle, metrics: c.metrics, log: log, audit: c.cfg.AuditInterval,
		progress:    func() { c.progressed(h) },
		programming: c.programming, recalled: c.checkSettled,
	}
	err := w.run(ctx)
	cancel()
	forward.Wait()
	h.conn.Store(nil)
	s := &sessionState{peer: conn.Peer(), since: time.Now()}
	if err != nil && !errors.Is(err, context.Canceled) {
		s.err = err.Error()
		log.Warn("switch disconnected; it goes on forwarding with the flows it has", "err", err)
	}
	h.of.Store(s)
	c.changed.notify()
}

// refuseBridge lists a switch that is not served. The connection is closed by
// the caller; Open vSwitch tries again within its back-off.
func (c *Controller) refuseBridge(ctx context.Context, conn *openflow.Conn, reason string) {
	c.metrics.refused.WithLabelValues("openflow").Inc()
	if c.unclaimed.add(conn.DatapathID(), conn.Peer(), reason) {
		c.log.WarnContext(ctx, "switch refused", "peer", conn.Peer(), "datapath", fmt.Sprintf("%016x", conn.DatapathID()), "reason", reason)
	}
	c.changed.notify()
}

// progressed is called when a host's switch confirmed something, or failed to.
func (c *Controller) progressed(h *host) {
	h.binder.ring()
	h.carrier.ring()
	h.reach.bell.ring()
	c.changed.notify()
	c.releaser.ring()
}

// programming notes, before the first flow goes to a host, that its switch may
// hold some from now on.
func (c *Controller) programming(ctx context.Context, name string) {
	if c.engine.load().programmed[name] {
		return
	}
	o := c.engine.do(ctx, request{programmed: map[string]bool{name: true}})
	if o.err != nil && ctx.Err() == nil {
		c.log.Error("could not note that the host is programmed", "host", name, "err", o.err)
	}
}
