package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/ovsdb"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

const (
	// ovsdbProbe and ovsdbDead bound how long a host that fell silent counts as
	// alive.
	ovsdbProbe = 2 * time.Second
	ovsdbDead  = 6 * time.Second
	// ensureRetry bounds the time between attempts to set a bridge up.
	ensureRetry = 30 * time.Second
)

// serveOVSDB serves one connection from a host's ovsdb-server, from the first
// picture to its end.
func (c *Controller) serveOVSDB(ctx context.Context, nc net.Conn) {
	peer := nc.RemoteAddr().String()
	s, err := ovsdb.Accept(ctx, nc, ovsdb.Options{Bridge: c.cfg.BridgeName, ProbeInterval: ovsdbProbe, DeadAfter: ovsdbDead})
	if err != nil {
		c.metrics.refused.WithLabelValues("ovsdb").Inc()
		c.peers.warn(ctx, peer, "OVSDB connection refused", err)
		return
	}
	defer s.Close()
	h, err := c.identify(s.Facts())
	if err != nil {
		c.metrics.refused.WithLabelValues("ovsdb").Inc()
		c.peers.warn(ctx, peer, "host refused", err)
		return
	}
	o := &occupant{peer: peer, probe: alive(s), evict: s.Close}
	if err := h.dbSlot.claim(ctx, o, "host name "+h.name); err != nil {
		var taken *takenError
		if errors.As(err, &taken) {
			h.refused("refused ovsdb session", err)
			c.changed.notify()
		}
		c.metrics.refused.WithLabelValues("ovsdb").Inc()
		c.peers.warn(ctx, peer, "host refused", err)
		return
	}
	defer h.dbSlot.release(o)
	c.serveHost(ctx, h, s)
}

// alive is the probe of an OVSDB session: the session itself asks its host for a
// sign of life and ends if none comes, so one that outlives that is alive.
func alive(s *ovsdb.Session) func(context.Context) error {
	return func(ctx context.Context) error {
		t := time.NewTimer(ovsdbDead)
		defer t.Stop()
		select {
		case <-s.Done():
			return s.Err()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
			return nil
		}
	}
}

// identify finds the host that a session is for.
func (c *Controller) identify(f *ovsdb.Facts) (*host, error) {
	if f.Problem != "" {
		return nil, fmt.Errorf("the host at %s does not say who it is: %s", f.Peer, f.Problem)
	}
	if err := topo.CheckName(f.Host); err != nil {
		return nil, fmt.Errorf("the host at %s has no valid name: %w", f.Peer, err)
	}
	return c.hosts.get(f.Host)
}

// serveHost follows the session of a host that has its slot.
func (c *Controller) serveHost(ctx context.Context, h *host, s *ovsdb.Session) {
	facts := s.Facts()
	log := c.log.With("host", h.name, "peer", facts.Peer)
	log.Info("host connected", "ovs", facts.Version, "tep", facts.TEP)
	h.db.Store(&sessionState{connected: true, peer: facts.Peer, since: time.Now()})
	var db database = s
	h.database.Store(&db)
	h.carrier.ring()
	c.changed.notify()

	ctx, cancel := context.WithCancel(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { c.keepBridge(ctx, h, s) })

	err := c.followFacts(ctx, h, s)
	cancel()
	s.Close()
	keeper.Wait()
	h.database.Store(nil)
	st := &sessionState{peer: facts.Peer, since: time.Now()}
	if err != nil && !errors.Is(err, context.Canceled) {
		st.err = err.Error()
		log.Warn("host disconnected; its ports stay bound until it returns with other facts", "err", err)
	}
	h.db.Store(st)
	c.changed.notify()
}

// followFacts hands each new picture on, the last one too, until the session ends or
// says that it is another host's.
func (c *Controller) followFacts(ctx context.Context, h *host, s *ovsdb.Session) error {
	for ended := false; ; {
		f := s.Facts().WithLinksOf(h.facts.Load())
		if f.Host != h.name || f.Problem != "" {
			return fmt.Errorf("the host is not %s any more (it calls itself %q; %s): it has to connect again", h.name, f.Host, f.Problem)
		}
		h.facts.Store(f)
		h.binder.ring()
		h.bridge.ring()
		c.changed.notify()
		if ended {
			return s.Err()
		}
		select {
		case <-s.Changed():
		case <-s.Done():
			ended = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// keepBridge makes the integration bridge right whenever the host or the
// encapsulations in use change, and tries again while something is wrong.
func (c *Controller) keepBridge(ctx context.Context, h *host, s *ovsdb.Session) {
	backoff := time.Second
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.bridge:
		case <-retry.C:
		}
		want, ok := c.bridgeSpec(h, s.Facts())
		if !ok {
			continue // the binder's commit makes the host known, and rings again
		}
		err := s.Ensure(ctx, want)
		if ctx.Err() != nil {
			return
		}
		text := ""
		if err != nil {
			text = "bridge " + c.cfg.BridgeName + ": " + err.Error()
			retry.Reset(backoff)
			backoff = min(2*backoff, ensureRetry)
		} else {
			backoff = time.Second
			retry.Reset(c.ensureInterval())
		}
		if h.setProblem("bridge", text) {
			if text != "" {
				c.log.Error("the integration bridge is not right", "host", h.name, "err", err)
			} else {
				c.log.Info("the integration bridge is right", "host", h.name)
			}
			c.changed.notify()
		}
	}
}

// ensureInterval is how often a bridge that is right is looked at again: a
// change of it is an event, so this only guards against a missed one.
func (c *Controller) ensureInterval() time.Duration {
	if c.cfg.AuditInterval > 0 {
		return c.cfg.AuditInterval
	}
	return time.Hour
}

// bridgeSpec is what a host's integration bridge has to be; false while the
// overlay does not know the host.
func (c *Controller) bridgeSpec(h *host, f *ovsdb.Facts) (ovsdb.BridgeSpec, bool) {
	m := c.engine.load()
	th := m.Host(h.name)
	if th == nil {
		return ovsdb.BridgeSpec{}, false
	}
	spec := ovsdb.BridgeSpec{DatapathType: c.cfg.DatapathType, DatapathID: datapathID(th.UUID), Controller: f.Controller}
	for _, e := range m.Encaps() {
		spec.Tunnels = append(spec.Tunnels, c.tunnel(e, th.TEP))
	}
	return spec, true
}

// tunnel is the tunnel port of an encapsulation on a host with that tunnel endpoint.
func (c *Controller) tunnel(e topo.Encap, tep netip.Addr) ovsdb.Tunnel {
	switch e {
	case topo.VXLAN:
		return ovsdb.Tunnel{Name: tunnelName(e), Type: ovsdb.TunnelVXLAN, DstPort: c.cfg.VXLANPort}
	case topo.Geneve:
		return ovsdb.Tunnel{Name: tunnelName(e), Type: ovsdb.TunnelGeneve, DstPort: c.cfg.GenevePort}
	default:
		return ovsdb.Tunnel{Name: tunnelName(e), Type: ovsdb.GREOver(tep)}
	}
}

// tunnelName is the name of the port for an encapsulation on every host.
func tunnelName(e topo.Encap) string { return "ofctl-" + e.String() + "0" }

// tunnelEncap is the encapsulation whose tunnel port i is.
func tunnelEncap(i ovsdb.Interface) (topo.Encap, bool) {
	for e := topo.GRE; e <= topo.Geneve; e++ {
		typ := i.Type == e.String() || e == topo.GRE && i.Type == string(ovsdb.TunnelIP6GRE)
		if typ && i.Name == tunnelName(e) && strings.EqualFold(i.Options["key"], "flow") {
			return e, i.OFPort > 0
		}
	}
	return 0, false
}
