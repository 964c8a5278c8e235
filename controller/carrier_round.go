package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
)

// carrierRound is one look at the ports of a host, and what follows from it.
type carrierRound struct {
	*carrier
	db    database // nil if there is no session with it
	now   time.Time
	ports map[uint32]openflow.PortDesc
	held  map[string]bool // devices that are held down; what it points to is not changed
	links links
	// changed says that another end may have to do something.
	changed bool
}

// run observes the ends, and holds and lets go what has to be. All errors are
// returned, joined; one end's keeps none of the others from being done.
func (r *carrierRound) run(ctx context.Context, ends []wireEnd) error {
	errs := []error{r.raised(ctx)}
	for _, e := range ends {
		if p, ok := r.ports[e.ofport]; ok {
			r.links[e.ofport] = r.observe(p)
		}
	}
	before := r.h.links.Load()
	r.changed = before == nil || !sameLinks(*before, r.links)
	r.show(r.links) // before other hosts' links are read: one of two sees the other's
	wanted := map[string]bool{}
	for _, e := range ends {
		p, ok := r.ports[e.ofport]
		if !ok {
			continue // it came after the ports were read; the switch will tell
		}
		wanted[p.Name] = true
		held := r.held[p.Name]
		switch hold := holds(r.links[e.ofport], r.far(e, r.links), held); {
		case hold && !held && r.db == nil:
			// It could not be noted. When the database is back, so is this.
		case hold && !held:
			errs = append(errs, r.hold(ctx, p, e))
		case !hold && held && !r.now.Before(r.holding[p.Name].until):
			errs = append(errs, r.letGo(ctx, p))
		}
	}
	return errors.Join(append(errs, r.abandoned(ctx, wanted))...)
}

// raised notes which ports are not held any more because somebody brought them up.
func (r *carrierRound) raised(ctx context.Context) error {
	edits := map[string]bool{}
	for _, p := range r.ports {
		if r.held[p.Name] && !openflow.IsDown(p) {
			edits[p.Name] = false
		}
	}
	return r.noteHeld(ctx, edits)
}

// observe is the link of an end as it counts for the other one.
func (r *carrierRound) observe(p openflow.PortDesc) link {
	if r.held[p.Name] || openflow.HasLink(p) {
		return linkUp
	}
	if s, ok := r.settling[p.Name]; ok && r.now.Before(s.until) && !openflow.IsDown(p) {
		return linkUp
	}
	return linkDown
}

// hold takes a port down. What is held is noted first: a controller that is started
// anew, even one that has lost its store, must know why the port is down.
func (r *carrierRound) hold(ctx context.Context, p openflow.PortDesc, e wireEnd) error {
	if err := r.noteHeld(ctx, map[string]bool{p.Name: true}); err != nil {
		return err
	}
	if err := r.conn.SetPortDown(ctx, p, true); err != nil {
		return errors.Join(err, r.noteHeld(ctx, map[string]bool{p.Name: false}))
	}
	now := time.Now()
	t := holdTime(r.settling[p.Name], now)
	r.holding[p.Name] = holding{until: now.Add(t), time: t}
	r.log.Info("port held down", "device", p.Name, "port", p.Number, "because", e.why())
	return nil
}

// letGo brings a port up again. Its link counts as up until it had time to come back.
func (r *carrierRound) letGo(ctx context.Context, p openflow.PortDesc) error {
	if err := r.conn.SetPortDown(ctx, p, false); err != nil {
		return err
	}
	s := release{at: time.Now(), window: linkSettle, held: r.holding[p.Name].time}
	if last, ok := r.settling[p.Name]; ok && s.at.Sub(last.at) < flapTime {
		s.window = min(2*last.window, maxLinkSettle)
	}
	s.until = s.at.Add(s.window)
	r.settling[p.Name] = s
	r.log.Info("port let go", "device", p.Name, "port", p.Number)
	return r.noteHeld(ctx, map[string]bool{p.Name: false})
}

// abandoned lets go of what is held and is no end of such a wire any more.
func (r *carrierRound) abandoned(ctx context.Context, wanted map[string]bool) error {
	var errs []error
	here := map[string]bool{}
	for _, p := range r.ports {
		here[p.Name] = true
		if r.held[p.Name] && !wanted[p.Name] {
			errs = append(errs, r.letGo(ctx, p))
		}
	}
	away := map[string]bool{}
	for device := range r.held {
		if !here[device] {
			away[device] = false
		}
	}
	if len(away) > maxHeldAway {
		errs = append(errs, r.noteHeld(ctx, away))
	}
	return errors.Join(errs...)
}

// noteHeld notes, for this round, the next ones and the next run of the controller, which
// devices are held and which are not any more. What is not any more, and cannot be noted
// now, is seen to be up when the database is back (raised).
func (r *carrierRound) noteHeld(ctx context.Context, devices map[string]bool) error {
	if len(devices) == 0 {
		return nil
	}
	next := edited(r.held, devices)
	if r.db != nil {
		if err := r.db.NoteHeld(ctx, next); err != nil {
			return fmt.Errorf("note what is held down: %w", err)
		}
	}
	r.held = next
	for device, held := range devices {
		if !held {
			delete(r.holding, device)
		}
	}
	return nil
}

// next is after which time another round is wanted, 0 for none: when a link that was
// let go has had its time, or an end may be let go.
func (r *carrierRound) next() time.Duration {
	var first time.Duration
	for _, h := range r.holding {
		if left := time.Until(h.until); left > 0 && (first == 0 || left < first) {
			first = left
		}
	}
	for device, s := range r.settling {
		left := time.Until(s.until)
		switch {
		case left <= 0 && time.Since(s.at) > flapTime:
			delete(r.settling, device)
		case left > 0 && (first == 0 || left < first):
			first = left
		}
	}
	if first > 0 {
		first += time.Millisecond // so that its time is over then
	}
	return first
}

func sameLinks(a, b links) bool {
	if len(a) != len(b) {
		return false
	}
	for port, l := range a {
		if was, ok := b[port]; !ok || was != l {
			return false
		}
	}
	return true
}
