package controller

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// pollsPerAgeing is how often, within the ageing time, a switch is asked which
// learned MACs still send.
const pollsPerAgeing = 4

// ofFeature is the mask that selects the cookies of a feature, whoever the owner.
const ofFeature flows.Cookie = 0xffffffff << 32

// learner makes learned MACs of what one switch tells, and forgets those that
// send no more. It is one goroutine for the life of an OpenFlow session.
type learner struct {
	h       *host
	conn    *openflow.Conn
	engine  *engine
	moves   *moves
	metrics *metrics
	log     *slog.Logger
	ageing  time.Duration
}

// run works until ctx ends.
func (l *learner) run(ctx context.Context) {
	poll := time.NewTicker(l.ageing / pollsPerAgeing)
	defer poll.Stop()
	// On another session another port may have the number.
	defer l.h.sightings.take()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.h.sightings.bell:
			l.learn(ctx, l.h.sightings.take(), time.Now())
		case <-poll.C:
			l.poll(ctx)
		}
	}
}

// learn commits what was seen, all of it together.
func (l *learner) learn(ctx context.Context, seen []topo.Sighting, now time.Time) {
	before := l.engine.load()
	wanted := seen[:0]
	from := map[learnedKey]*topo.Port{}
	for _, s := range seen {
		key := learnedKey{s.Network, s.MAC}
		at := before.LearnedAt(s.Network, s.MAC)
		switch {
		case at == nil:
		case at.ID == s.Port:
			continue // the switch told of it again before it had the row
		case !l.moves.allow(key, at.ID, s.Port, now):
			l.metrics.movesHeld.Inc()
			continue
		default:
			from[key] = at
		}
		wanted = append(wanted, s)
	}
	if len(wanted) == 0 {
		return
	}
	o := l.engine.observed(ctx, func(t *topo.Txn) error {
		for _, s := range wanted {
			t.Learn(s)
		}
		return nil
	})
	if o.err != nil {
		if ctx.Err() == nil {
			l.log.Error("source MACs could not be learned", "err", o.err)
		}
		return
	}
	full := map[topo.ID]bool{} // ports of which that was said
	for _, s := range wanted {
		key := learnedKey{s.Network, s.MAC}
		at := o.next.LearnedAt(s.Network, s.MAC)
		if at == nil || at.ID != s.Port {
			continue // a declared MAC, a full port, a port that is gone
		}
		l.h.usage.learned(key, now)
		if old := from[key]; old != nil {
			l.metrics.moves.Inc()
			l.log.Info("source MAC moved", "mac", s.MAC.String(), "from", old.Name, "to", at.Name)
		}
		if was := o.old.Port(at.Name); o.next.MACsFull(at) && (was == nil || !o.old.MACsFull(was)) && !full[at.ID] {
			full[at.ID] = true
			l.metrics.macLimits.Inc()
			l.log.Warn("port has learned as many source MACs as it may; frames from others are dropped (mac-limit)", "port", at.Name, "macs", at.MACLimit())
		}
	}
}

// poll asks the switch which of the MACs that were learned on this host still send,
// and forgets those that have not for the ageing time.
func (l *learner) poll(ctx context.Context) {
	model := l.engine.load()
	if !learnsOn(model.Snapshot, l.h.name) {
		l.h.usage.clear()
		return
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	stats, err := l.conn.FlowStats(ctx, uint8(pipeline.SpoofGuard),
		flows.NewCookie(uint8(pipeline.FeatLearned), pipeline.Generation, 0), ofFeature)
	if err != nil {
		if ctx.Err() == nil && !closed(l.conn) {
			l.log.Warn("the use of learned source MACs could not be read; none is forgotten meanwhile", "err", err)
		}
		return
	}
	old := l.h.usage.update(l.rows(model.Snapshot, stats), time.Now(), l.ageing)
	if len(old) == 0 {
		return
	}
	o := l.engine.observed(ctx, func(t *topo.Txn) error {
		for key, port := range old {
			t.Unlearn(key.network, key.mac, port)
		}
		return nil
	})
	if o.err != nil && ctx.Err() == nil {
		l.log.Error("source MACs could not be forgotten", "err", o.err)
	}
}

// learnedRow is what a switch counts of a learned MAC.
type learnedRow struct {
	port    topo.ID
	packets uint64
}

// rows are the counters of the MACs that are learned at ports in effect on this
// host. A switch may tell of others, which are not for it to judge: rows that are
// about to go, or those of a port that is also, and rightly, elsewhere.
func (l *learner) rows(s *topo.Snapshot, stats []flows.FlowStats) map[learnedKey]learnedRow {
	out := map[learnedKey]learnedRow{}
	for _, f := range stats {
		row, ok := pipeline.Learned(f.Flow)
		if !ok || !row.Source {
			continue
		}
		at := s.LearnedAt(row.Network, row.MAC)
		if at == nil || at.ID != row.Port {
			continue
		}
		if b := s.Bindings(at.Name); len(b) > 0 && b[0].Host == l.h.name {
			out[learnedKey{row.Network, row.MAC}] = learnedRow{row.Port, f.Packets}
		}
	}
	return out
}

// learnsOn reports whether MACs are learned at a port on the host.
func learnsOn(s *topo.Snapshot, host string) bool {
	for _, seg := range s.SegmentsOn(host) {
		for _, m := range seg.Members {
			if m.Host.Name == host && m.Learned != nil && len(m.Learned.MACs) > 0 {
				return true
			}
		}
	}
	return false
}

// usage is when the learned MACs of a host were last known to send. The learner
// writes, everybody may read.
type usage struct {
	mu   sync.Mutex
	list map[learnedKey]used // guarded by mu
}

type used struct {
	packets uint64
	at      time.Time
}

func newUsage() *usage { return &usage{list: map[learnedKey]used{}} }

// learned notes that a MAC was learned now.
func (u *usage) learned(key learnedKey, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.list[key] = used{at: now}
}

// update compares the counters with the last ones and returns the MACs whose
// counter has stood still for the ageing time. A counter that is another one, be it
// lower (the switch was restarted), has moved.
func (u *usage) update(rows map[learnedKey]learnedRow, now time.Time, ageing time.Duration) map[learnedKey]topo.ID {
	u.mu.Lock()
	defer u.mu.Unlock()
	old := map[learnedKey]topo.ID{}
	for key, row := range rows {
		was, known := u.list[key]
		switch {
		case !known || was.packets != row.packets:
			u.list[key] = used{row.packets, now}
		case now.Sub(was.at) >= ageing:
			old[key] = row.port
		}
	}
	for key := range u.list {
		if _, shown := rows[key]; !shown && now.Sub(u.list[key].at) >= ageing {
			delete(u.list, key) // unlearned, or at another host by now
		}
	}
	return old
}

// clear forgets everything: nothing is learned on the host.
func (u *usage) clear() {
	u.mu.Lock()
	defer u.mu.Unlock()
	clear(u.list)
}

// last is when a MAC was last known to send, zero if that is not known.
func (u *usage) last(key learnedKey) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.list[key].at
}
