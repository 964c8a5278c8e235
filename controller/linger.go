package controller

import (
	"context"
	"time"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// lingering holds back tunnel keys that networks gave up, after no switch has flows with
// them any more. A frame with such a key may still be on its way then: a switch confirms
// flows before its datapath's cache has followed, and what is in a queue or on the
// underlay is there. It would be the next network's. For one goroutine.
type lingering struct {
	time time.Duration
	// dropped are the revisions in which keys were given up, and when all switches were
	// first seen to have followed.
	dropped map[uint64]time.Time
}

// look takes the keys that are still held back and the newest revision that all
// switches have confirmed. It returns the revision up to which keys are free now, 0 if
// none are, and after what time to look again, 0 if it is for the switches to follow.
func (l *lingering) look(retired []topo.RetiredKey, synced uint64, now time.Time) (free uint64, again time.Duration) {
	dropped := map[uint64]time.Time{}
	for _, k := range retired {
		if k.Revision > synced {
			continue
		}
		since, seen := l.dropped[k.Revision]
		if !seen {
			since = now
		}
		dropped[k.Revision] = since
		if rest := l.time - now.Sub(since); rest <= 0 {
			free = max(free, k.Revision)
		} else if again == 0 || rest < again {
			again = rest
		}
	}
	l.dropped = dropped
	return free, again
}

// releaseKeys lets freed tunnel keys be used again once no switch can hold flows
// with them, and no frame can have them.
func (c *Controller) releaseKeys(ctx context.Context) error {
	l := lingering{time: c.cfg.KeyLinger}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.releaser:
		case <-timer.C:
		}
		m := c.engine.load()
		free, again := l.look(m.RetiredKeys(), c.synced(m), time.Now())
		if again > 0 {
			timer.Reset(again)
		}
		if free == 0 {
			continue
		}
		o := c.engine.observed(ctx, func(t *topo.Txn) error { t.ReleaseKeys(free); return nil })
		if o.err != nil && ctx.Err() == nil {
			c.log.Error("retired tunnel keys could not be released", "err", o.err)
		}
	}
}

// synced is the newest revision that the switch of every host that was ever
// given flows has confirmed.
func (c *Controller) synced(m *model) uint64 {
	upTo := m.Revision()
	for name := range m.programmed {
		h := c.hosts.find(name)
		if h == nil {
			return 0
		}
		upTo = min(upTo, h.sync.Load().revision())
	}
	return upTo
}
