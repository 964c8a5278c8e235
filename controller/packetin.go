package controller

import (
	"context"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
)

const (
	// packetInRoom is how many packet-ins of a session wait at most. Packet-ins are
	// hints, each of which comes again if it matters, so the rest is dropped and counted.
	packetInRoom = 256
	// packetInKept is how much of a frame is kept, in bytes: enough for an ARP packet
	// with a tag.
	packetInKept = 64
)

// packetIn is what is kept of an OFPT_PACKET_IN.
type packetIn struct {
	// cookie is that of the flow that sent it: the feature says what it is about, the
	// owner which object.
	cookie flows.Cookie
	inPort uint32
	// match is what else the switch told of the packet: registers and tunnel fields.
	match flows.Match
	// frame is the beginning of the Ethernet frame, at most packetInKept bytes. What
	// a guest sent: anything may be in it.
	frame []byte
}

// packetInHandler does what a packet-in asks for. It is called by one goroutine for
// each session, and may block: what comes meanwhile waits, or is dropped.
type packetInHandler func(ctx context.Context, h *host, in packetIn)

// packetInHandlers are the handlers by the feature of the flow that sends.
type packetInHandlers map[pipeline.Feature]packetInHandler

// packetIns is the bounded queue of a session's packet-ins, between the goroutine that
// reads the switch and must not block, and the one that serves.
type packetIns struct {
	queue chan packetIn
	// handled says whether anybody wants it, so that nothing is copied in vain.
	handled packetInHandlers
	dropped atomic.Uint64
}

func newPacketIns(handlers packetInHandlers) *packetIns {
	return &packetIns{queue: make(chan packetIn, packetInRoom), handled: handlers}
}

// put queues a packet-in if there is room. It is the OnPacketIn of the session.
func (q *packetIns) put(p openflow.PacketIn) {
	if !p.Cookie.Ours() || q.handled[pipeline.Feature(p.Cookie.Feature())] == nil || len(q.queue) == cap(q.queue) {
		q.dropped.Add(1)
		return
	}
	in := packetIn{cookie: p.Cookie, inPort: p.InPort(), match: append(flows.Match(nil), p.Match...),
		frame: append([]byte(nil), p.Data[:min(len(p.Data), packetInKept)]...)}
	select {
	case q.queue <- in:
	default:
		q.dropped.Add(1)
	}
}

// serve hands what is queued to the handlers until ctx ends.
func (q *packetIns) serve(ctx context.Context, h *host, counted *prometheus.CounterVec) {
	defer q.count(h, counted)
	for {
		select {
		case <-ctx.Done():
			return
		case in := <-q.queue:
			feature := pipeline.Feature(in.cookie.Feature())
			q.count(h, counted)
			counted.WithLabelValues(h.name, feature.String()).Inc()
			q.handled[feature](ctx, h, in)
		}
	}
}

// count makes what was dropped visible.
func (q *packetIns) count(h *host, counted *prometheus.CounterVec) {
	if n := q.dropped.Swap(0); n > 0 {
		counted.WithLabelValues(h.name, "dropped").Add(float64(n))
	}
}
