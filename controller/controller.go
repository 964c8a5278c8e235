package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/controller/config"
	"github.com/ofctl-lab/ofctl-lab/controller/store"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// stopTimeout bounds how long Run waits for requests and sessions to end.
const stopTimeout = 5 * time.Second

// Deps is what a Controller needs from outside. The zero value works.
type Deps struct {
	// Log gets what happens; nothing is logged when it is nil.
	Log *slog.Logger
	// Version and Commit say which build this is.
	Version, Commit string
}

// Controller is one controller. New makes it and opens its listeners, Run serves.
type Controller struct {
	cfg     config.Config
	deps    Deps
	log     *slog.Logger
	started time.Time

	store   *store.Store
	engine  *engine
	hosts   *registry
	settle  *settling
	metrics *metrics
	peers   *peerLog
	// packetIn are those who want what switches send to the controller, by feature.
	packetIn packetInHandlers
	// probeIn is who wants the probes that switches tell of. Those have a queue of their
	// own, so that neither a flood of source MACs nor one of forged probes costs the other.
	probeIn    packetInHandlers
	migrations *migrations
	// moves are the learned MACs that moved of late.
	moves *moves

	unclaimed *unclaimedBridges
	// changed is notified whenever anything that the interface shows may have changed.
	changed *broadcast
	// releaser is rung when retired keys may have become free.
	releaser bell

	openflow, ovsdb net.Listener
	apis            []net.Listener
	http            *http.Server
	// group runs everything; set by Run before anything uses it.
	group *errgroup.Group
	ctx   context.Context
}

// New opens the store and the listeners. Whoever gets a Controller calls Run or
// Close. The configuration is taken as valid (config.Load checked it); a
// port 0 in a listen address asks for any free port.
func New(cfg *config.Config, deps Deps) (*Controller, error) {
	log := deps.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	st, err := store.Open(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	loaded, err := st.Load()
	if err == nil {
		var e *engine
		if e, err = newEngine(st, loaded); err == nil {
			c := &Controller{
				cfg: *cfg, deps: deps, log: log, started: time.Now(), store: st, engine: e,
				settle: newSettling(cfg.Settle), changed: newBroadcast(), releaser: newBell(),
				unclaimed:  &unclaimedBridges{list: map[string]*api.UnclaimedBridge{}},
				peers:      &peerLog{log: log, last: map[string]time.Time{}},
				migrations: &migrations{bell: newBell(), ports: map[string]*turns{}},
				moves:      newMoves(),
			}
			c.packetIn = packetInHandlers{pipeline.FeatArrival: c.arrived, pipeline.FeatLearn: c.sighted}
			c.probeIn = packetInHandlers{pipeline.FeatReachability: c.probed}
			c.hosts = &registry{hosts: map[string]*host{}, started: c.startBinder}
			c.metrics = newMetrics(c)
			e.publish = c.published
			e.report = func(err error) { c.log.Error("store", "err", err) }
			e.observe = c.metrics.engineCommit
			if err = c.listen(); err == nil {
				return c, nil
			}
		}
	}
	return nil, errors.Join(err, st.Close())
}

// listen opens all listeners or none.
func (c *Controller) listen() (err error) {
	var opened []io.Closer
	defer func() {
		if err != nil {
			for _, l := range opened {
				_ = l.Close() // the error that matters is err
			}
		}
	}()
	tcp := func(key, addr string) (net.Listener, error) {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; is another controller running?", key, err)
		}
		opened = append(opened, l)
		return l, nil
	}
	if c.openflow, err = tcp("openflow.listen", c.cfg.OpenFlowListen); err != nil {
		return err
	}
	if c.ovsdb, err = tcp("ovsdb.listen", c.cfg.OVSDBListen); err != nil {
		return err
	}
	unix, err := listenUnix(c.cfg.APISocket)
	if err != nil {
		return err
	}
	opened = append(opened, unix)
	c.apis = []net.Listener{unix}
	if c.cfg.APIListen != "" {
		l, err := tcp("api.listen", c.cfg.APIListen)
		if err != nil {
			return err
		}
		c.apis = append(c.apis, l)
	}
	return nil
}

// OpenFlowAddr is the address on which switches are served.
func (c *Controller) OpenFlowAddr() net.Addr { return c.openflow.Addr() }

// OVSDBAddr is the address on which hosts are served.
func (c *Controller) OVSDBAddr() net.Addr { return c.ovsdb.Addr() }

// APIAddrs are the addresses of the HTTP interface, the unix socket first.
func (c *Controller) APIAddrs() []net.Addr {
	out := make([]net.Addr, len(c.apis))
	for i, l := range c.apis {
		out[i] = l.Addr()
	}
	return out
}

// Close releases a Controller whose Run is never called.
func (c *Controller) Close() error {
	errs := []error{c.openflow.Close(), c.ovsdb.Close()}
	for _, l := range c.apis {
		errs = append(errs, l.Close())
	}
	return errors.Join(append(errs, c.store.Close())...)
}

// Run serves until ctx ends or something that cannot be done without fails, and
// returns nil in the first case. Switches go on forwarding with the flows they
// have. When it returns, every goroutine has ended and the store is closed.
func (c *Controller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.group, c.ctx = errgroup.WithContext(ctx)
	c.http = c.newHTTPServer()
	stop := context.AfterFunc(c.ctx, func() {
		_ = c.openflow.Close() // what counts is that Accept returns
		_ = c.ovsdb.Close()
	})
	defer stop()

	c.group.Go(func() error { return c.engine.run(c.ctx) })
	c.group.Go(func() error { return c.releaseKeys(c.ctx) })
	c.group.Go(func() error { return c.watchMigrations(c.ctx) })
	c.group.Go(func() error { c.settle.run(c.ctx.Done()); c.changed.notify(); return nil })
	c.published(c.engine.load(), topo.Changes{})
	c.group.Go(func() error { return c.accept(c.openflow, "openflow.listen", c.serveOpenFlow) })
	c.group.Go(func() error { return c.accept(c.ovsdb, "ovsdb.listen", c.serveOVSDB) })
	for _, l := range c.apis {
		c.group.Go(func() error {
			if err := c.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("HTTP interface on %s: %w", l.Addr(), err)
			}
			return nil
		})
	}
	c.group.Go(func() error { <-c.ctx.Done(); return c.stopHTTP() })
	c.log.Info("controller ready", "openflow", c.OpenFlowAddr().String(), "ovsdb", c.OVSDBAddr().String(),
		"api", c.cfg.APISocket, "revision", c.engine.load().Revision())
	err := c.group.Wait()
	if cerr := c.store.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("closing the store: %w", cerr))
	}
	c.log.Info("controller stopped")
	return err
}

// stopHTTP lets running requests finish for a while and then ends them.
func (c *Controller) stopHTTP() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), stopTimeout)
	defer cancel()
	if err := c.http.Shutdown(ctx); err != nil {
		return c.http.Close()
	}
	return nil
}

// maxSessions bounds the connections that a listener serves at once.
const maxSessions = 2048

// accept serves each connection of l in a goroutine until l is closed.
func (c *Controller) accept(l net.Listener, key string, serve func(context.Context, net.Conn)) error {
	var sessions sync.WaitGroup
	defer sessions.Wait()
	places := make(chan struct{}, maxSessions)
	for {
		nc, err := l.Accept()
		switch {
		case c.ctx.Err() != nil:
			if err == nil {
				_ = nc.Close() // too late to be served
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("%s: %w", key, err)
		case err != nil: // out of descriptors, or a connection that is gone already
			c.log.Error("accept", "listener", key, "err", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-c.ctx.Done():
			}
			continue
		}
		select {
		case places <- struct{}{}:
		default:
			c.peers.warn(c.ctx, nc.RemoteAddr().String(), "connection refused", fmt.Errorf("%d connections on %s are the limit", maxSessions, key))
			_ = nc.Close()
			continue
		}
		sessions.Go(func() {
			defer func() { <-places }()
			defer nc.Close()
			serve(c.ctx, nc)
		})
	}
}

// startBinder starts the goroutine of a new host.
func (c *Controller) startBinder(h *host) {
	pictured := func() { c.checkSettled(); c.changed.notify() }
	placed := func(ctx context.Context) {
		notRecalled(ctx, c.log.With("host", h.name), h.recollection.placed(ctx, c.engine))
	}
	c.group.Go(func() error { return newBinder(h, c.engine, placed, pictured).run(c.ctx) })
}

// published is called by the engine after each commit; it must not block.
func (c *Controller) published(m *model, changes topo.Changes) {
	for _, h := range m.Hosts() {
		// A host too many is refused where it connects; here it only lacks a worker.
		_, _ = c.hosts.get(h.Name)
	}
	for _, h := range c.hosts.all() {
		h.worker.ring()
		h.carrier.ring()
		h.reach.bell.ring()
		if len(changes.Objects) > 0 {
			h.bridge.ring() // the host became known, or an encapsulation came or went
		}
	}
	if len(m.RetiredKeys()) > 0 {
		c.releaser.ring()
	}
	if len(changes.Bindings) > 0 {
		c.migrations.bell.ring()
	}
	for _, port := range changes.Bindings {
		if rivals := m.Rivals(port); len(rivals) > 0 {
			c.log.Warn("port claimed more than once; the first claim keeps the traffic", "port", port,
				"host", m.Bindings(port)[0].Host, "rival", rivals[0].Host, "claims", len(m.Bindings(port)))
		}
	}
	if !c.settle.begun() && len(m.Tenants()) > 0 {
		c.settle.start()
		c.checkSettled()
	}
	c.changed.notify()
}

// checkSettled ends the settle time when every host that may forward has shown its ports.
func (c *Controller) checkSettled() {
	m := c.engine.load()
	if c.settle.complete() || !c.settle.begun() {
		return
	}
	names := make(map[string]bool, len(m.programmed))
	for name := range m.programmed {
		names[name] = true
	}
	for _, h := range m.Hosts() {
		if h.Declared {
			names[h.Name] = true
		}
	}
	for name := range names {
		h := c.hosts.find(name)
		if h == nil || !isClosed(h.pictured) {
			return
		}
		// While a port is being migrated two hosts show it, and only their switches
		// know where it was in effect; and only the switch of a port's host is believed
		// about the MACs that were learned there.
		if m.programmed[name] && anyRecalls(m) && !isClosed(h.recalled) {
			return
		}
	}
	c.settle.finish()
}

// anyRecalls reports whether there is anything that only switches remember: a port
// may migrate, or learns source MACs.
func anyRecalls(m *model) bool {
	return slices.ContainsFunc(m.Ports(), func(p *topo.Port) bool { return p.MigrateTo != "" || p.MACLimit() > 0 })
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
