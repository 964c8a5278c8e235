package controller

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// prober finds out which peers the packets of one host reach: it has the host's switch send
// probes through its tunnels, which the peers' switches tell the controller of. It is one
// goroutine for the life of an OpenFlow session, level-triggered, and its work in a
// second is bounded however many peers there are.
type prober struct {
	h       *host
	conn    *openflow.Conn
	engine  *engine
	settle  *settling
	hosts   *registry
	metrics *metrics
	log     *slog.Logger
	changed func()

	// self and segments are what the pairs were made of.
	self     *topo.Host
	segments []*topo.Segment
}

// run works until ctx ends. Nothing is judged before the start is over: a switch that
// forwarded before may lack the row for probes until then.
func (k *prober) run(ctx context.Context) {
	defer k.h.reach.forget()
	select {
	case <-ctx.Done():
		return
	case <-k.settle.done():
	}
	for k.await(ctx, k.step(ctx)) {
	}
}

// await waits until there is something to do after a round, and reports whether ctx goes on.
// No matter how often the bell is rung, a round begins at most once in a probeRound.
func (k *prober) await(ctx context.Context, last turn) bool {
	var again <-chan time.Time
	if last.wait > 0 {
		again = time.After(max(last.wait, probeRound))
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(probeRound):
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-again:
			return true
		case <-k.h.reach.bell:
			// Most models change nothing for this host.
			if last.blind || k.follow() {
				return true
			}
		}
	}
}

// follow makes the pairs those of the newest model. It reports whether they may be others.
func (k *prober) follow() bool {
	m := k.engine.load()
	self, segments := m.Host(k.h.name), m.SegmentsOn(k.h.name)
	if self == k.self && slices.Equal(segments, k.segments) {
		return false
	}
	k.self, k.segments = self, segments
	var peers []pipeline.Peer
	var id topo.ID
	if self != nil && self.TEP.IsValid() {
		peers, id = pipeline.PeersOf(self, segments), self.ID
	}
	k.h.reach.follow(id, peers, k.hosts.find)
	return true
}

// step does one round.
func (k *prober) step(ctx context.Context) turn {
	k.follow()
	if k.self == nil {
		return turn{}
	}
	t := k.h.reach.round(time.Now(), k.self.ID, func(p *pair) way { return wayTo(k.self, k.h, p) })
	for _, p := range t.probes {
		err := k.conn.PacketOut(ctx, openflow.PacketOut{InPort: flows.PortController,
			Actions: p.to.Send(p.way.out), Data: p.Frame()})
		if err != nil {
			return t // the session ends
		}
		k.metrics.probes.WithLabelValues(k.h.name, "sent").Inc()
	}
	for _, s := range t.suspects {
		// A switch that is too busy for this may be too busy for probes as well.
		if ctx.Err() != nil || !prompt(ctx, s.way.sender) || !prompt(ctx, s.way.receiver) || !k.h.reach.lost(s) {
			continue
		}
		k.log.Warn("peer is unreachable", "to", s.Host.Name, "tep", s.Host.TEP.String(), "encap", s.Encap.String())
		k.changed()
	}
	return t
}

// prompt reports whether a switch answers an echo before a probe would be lost.
func prompt(ctx context.Context, conn *openflow.Conn) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return conn.Echo(ctx) == nil
}

// wayTo is the way from a host to a peer, the zero way while there is no judging it: until
// all sessions of both are up and both switches have confirmed their tunnel ports' rows.
func wayTo(self *topo.Host, h *host, p *pair) way {
	w := way{from: self.TEP, to: p.Host.TEP, out: self.Tunnel(p.Encap), in: p.Host.Tunnel(p.Encap),
		sender: h.conn.Load(), receiver: p.peer.conn.Load()}
	if w.sender == nil || w.receiver == nil || !rowsConfirmed(h, p.Encap, w.out) || !rowsConfirmed(p.peer, p.Encap, w.in) {
		return way{}
	}
	return w
}

// rowsConfirmed reports whether a host is connected and its switch has confirmed the rows
// of a tunnel port.
func rowsConfirmed(h *host, e topo.Encap, tunnel uint32) bool {
	s := h.sync.Load()
	if !h.db.Load().connected || !s.connected || s.confirmed == nil || tunnel == 0 {
		return false
	}
	th := s.confirmed.Host(h.name)
	return th != nil && th.Tunnel(e) == tunnel
}

// probed is told of a probe that came to a host. Only one that the controller had sent
// itself, of late and this way, proves anything; others are counted.
func (c *Controller) probed(_ context.Context, h *host, in packetIn) {
	p, from, ok := pipeline.ReadProbe(in.match, in.frame)
	kind, name, _ := c.engine.load().ObjectByID(p.From)
	sender := c.hosts.find(name)
	if !ok || kind != topo.KindHost || sender == nil {
		c.metrics.probes.WithLabelValues(h.name, "ignored").Inc()
		return
	}
	believed, before := sender.reach.answered(h, p, in.inPort, from, time.Now())
	if !believed {
		c.metrics.probes.WithLabelValues(h.name, "ignored").Inc()
		return
	}
	if before == reachLost {
		c.log.Info("peer is reached again", "host", sender.name, "peer", h.name)
	}
	if before != reachPasses {
		c.changed.notify()
	}
	c.metrics.probes.WithLabelValues(sender.name, "answered").Inc()
}

// maxUnreachable bounds the list of unreachable peers in a host's problems.
const maxUnreachable = 3

// reachability is which peers a host's packets reach, and what is wrong with those that they
// do not. A verdict that is about something that has changed since is none.
func (c *Controller) reachability(m *model, h *host) (api.Reachability, []string) {
	var out api.Reachability
	out.Peers, out.Reached = h.reach.count()
	self := m.Host(h.name)
	if self == nil {
		return out, nil
	}
	var wrong []string
	for _, p := range h.reach.known(reachLost) {
		if wayTo(self, h, &p) != p.way {
			continue
		}
		out.Unreachable++
		if len(wrong) < maxUnreachable {
			wrong = append(wrong, fmt.Sprintf("no packet from %s reaches %s (%s) over %s: %d probes in a row were lost; on %[1]s run ofctl-lab doctor",
				h.name, p.Host.Name, p.Host.TEP, p.Encap, probeTries))
		}
	}
	if n := out.Unreachable - len(wrong); n > 0 {
		wrong = append(wrong, fmt.Sprintf("nor %d more peers and encapsulations", n))
	}
	return out, wrong
}
