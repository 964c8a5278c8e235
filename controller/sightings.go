package controller

import (
	"context"
	"sync"

	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

const (
	// maxSightings bounds what waits of one host to be learned, maxPortSightings what
	// waits of one port, so that a port that floods leaves room for the others. What
	// finds no room is seen again, if its station goes on sending.
	maxSightings     = 4096
	maxPortSightings = 256
)

// learnedKey is a MAC in a network.
type learnedKey struct {
	network topo.ID
	mac     topo.MAC
}

// sightings are the source MACs of a host that wait to be learned, each once. They
// are put in by the goroutine that serves packet-ins and taken out by the learner.
type sightings struct {
	bell bell

	mu      sync.Mutex
	waiting map[topo.ID]map[learnedKey]topo.Sighting // by port; guarded by mu
	total   int                                      // guarded by mu
}

func newSightings() *sightings {
	return &sightings{bell: newBell(), waiting: map[topo.ID]map[learnedKey]topo.Sighting{}}
}

// add keeps a sighting until it is taken; false if there is no room.
func (q *sightings) add(s topo.Sighting) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	key, port := learnedKey{s.Network, s.MAC}, q.waiting[s.Port]
	if _, known := port[key]; known {
		return true
	}
	if q.total >= maxSightings || len(port) >= maxPortSightings {
		return false
	}
	if port == nil {
		port = map[learnedKey]topo.Sighting{}
		q.waiting[s.Port] = port
	}
	port[key] = s
	q.total++
	q.bell.ring()
	return true
}

// take empties it.
func (q *sightings) take() []topo.Sighting {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make([]topo.Sighting, 0, q.total)
	for _, port := range q.waiting {
		for _, s := range port {
			out = append(out, s)
		}
	}
	clear(q.waiting)
	q.total = 0
	return out
}

// sighted is the handler of packet-ins from rows that tell of unknown source MACs.
// What it says is checked against the overlay when it is learned.
func (c *Controller) sighted(_ context.Context, h *host, in packetIn) {
	network, mac, ok := pipeline.Sighting(in.match, in.frame)
	owner := in.cookie.Owner()
	if !ok || owner > uint32(topo.MaxID) ||
		!h.sightings.add(topo.Sighting{Network: network, MAC: mac, Port: topo.ID(owner), Host: h.name, OFPort: in.inPort}) {
		c.metrics.packetIns.WithLabelValues(h.name, "dropped").Inc()
	}
}
