package topo

import (
	"cmp"
	"fmt"
	"slices"
)

// AnyHost as Port.MigrateTo lets the port migrate to whichever host shows it
// next. It suits those who are not told where a migration goes.
const AnyHost = "any"

// Standby is where a port that is being migrated is about to be, or was until
// a moment ago: a claim that carries nothing to the guest yet, but whose host
// already has all that it needs. The zero Standby is none.
type Standby struct {
	Host *Host
	// OFPort is the port's OpenFlow number on Host.
	OFPort uint32
	// Watched says that a frame that the guest sends there is to be told to the
	// controller, for it is the sign that the guest runs there now.
	Watched bool
}

// Migration is a port that two hosts show for the time of a migration.
type Migration struct {
	Port string
	// Active is the claim in effect, Standby the one that is prepared.
	Active, Standby Binding
	// Watched says that the first frame from Standby puts it in effect.
	Watched bool
	// Returned says that Standby was in effect before: the port has been cut over.
	Returned bool
}

// Migration is the migration of the port, false if there is none.
func (s *Snapshot) Migration(port string) (Migration, bool) {
	p := s.Port(port)
	if p == nil {
		return Migration{}, false
	}
	claims := s.claims(p)
	q := standby(p, claims)
	if q == nil {
		return Migration{}, false
	}
	return Migration{Port: port, Active: claims[0].binding(), Standby: q.binding(), Watched: q.watched(), Returned: q.yields}, true
}

// Rivals are the claims on the port that are neither in effect nor part of its
// migration, in the order of Bindings.
func (s *Snapshot) Rivals(port string) []Binding {
	p := s.Port(port)
	if p == nil {
		return nil
	}
	var out []Binding
	claims := s.claims(p)
	q := standby(p, claims)
	for i, c := range claims {
		if i > 0 && c != q {
			out = append(out, c.binding())
		}
	}
	return out
}

// standby is the claim to which p is being migrated, or from which it came, nil
// if there is none. Only a host that the port may migrate to, or one that the
// traffic has come from, gets into it: any other claim is a rival.
func standby(p *Port, claims []*plug) *plug {
	if p.MigrateTo == "" || len(claims) < 2 {
		return nil
	}
	var named *plug
	for _, c := range claims[1:] {
		switch {
		case c.host == claims[0].host:
		case c.yields:
			return c
		case named == nil && (p.MigrateTo == AnyHost || c.host == p.MigrateTo):
			named = c
		}
	}
	return named
}

// watched says that a frame from the claim may put it in effect. A claim that
// has had to yield is watched again only after Txn.Watch: two guests that both
// send would otherwise take the port from each other at every frame.
func (p *plug) watched() bool { return !p.yields || p.armed }

// inOrder puts claims in the order in which they count: those that have yielded
// to another one behind the others, each in the order of first sight.
func inOrder(claims []*plug) []*plug {
	if len(claims) < 2 || !slices.ContainsFunc(claims, func(p *plug) bool { return p.yields }) {
		return claims // as they are indexed
	}
	claims = slices.Clone(claims)
	slices.SortStableFunc(claims, func(a, b *plug) int { return cmp.Compare(rank(a), rank(b)) })
	return claims
}

func rank(p *plug) int {
	if p.yields {
		return 1
	}
	return 0
}

// claims are the claims on p in this Txn, the one in effect first.
func (t *Txn) claims(p *Port) []*plug {
	all := slices.Concat(t.plugs(p.Name), t.plugs(p.UUID.String()))
	slices.SortFunc(all, func(a, b *plug) int { return cmp.Compare(a.seq, b.seq) })
	return inOrder(all)
}

// Activate puts the claim b, which is the standby one of the port's migration, in
// effect; what was in effect becomes the standby one and is not watched. It does
// nothing if b is no such claim any more, or is not watched.
func (t *Txn) Activate(port string, b Binding) {
	active, q := t.migration(port)
	if q == nil || q.binding() != b || !q.watched() {
		return
	}
	t.replug(active, true, false)
	t.replug(q, false, false)
}

// Watch has the claim b, the standby one of the port's migration, watched again
// after it has yielded. It does nothing if b is no such claim any more.
func (t *Txn) Watch(port string, b Binding) {
	if _, q := t.migration(port); q != nil && q.binding() == b && q.yields && !q.armed {
		t.replug(q, true, true)
	}
}

// yielding says that a port's next claim on a host yields to others.
type yielding struct {
	host string
	port ID
}

// Yielded records that what the switch of a host holds was made when those ports
// were on standby there: their claims on that host, or else those that come next,
// go behind others. It is how a controller that has just started knows which of
// two claims was in effect. A port that is not being migrated is left out.
func (t *Txn) Yielded(host string, ports []ID) {
	for _, id := range ports {
		y := yielding{host, id}
		o := t.base.object(id)
		if o == nil || o.kind != KindPort || slices.Contains(t.yielded, y) {
			continue
		}
		p := t.base.Port(o.name)
		if p.MigrateTo == "" {
			continue
		}
		t.yielded = append(slices.Clip(t.yielded), y)
		for _, q := range t.claims(p) {
			t.takeYielded(q)
		}
	}
}

// takeYielded lets q yield if Yielded said so. It is watched, since the guest may
// have arrived while nobody listened.
func (t *Txn) takeYielded(q *plug) {
	port := t.base.PortByIfaceID(q.ifaceID)
	if port == nil {
		return
	}
	i := slices.Index(t.yielded, yielding{q.host, port.ID})
	if i < 0 {
		return
	}
	t.yielded = slices.Delete(slices.Clone(t.yielded), i, i+1)
	t.replug(q, true, true)
}

func (t *Txn) migration(port string) (active, standbyClaim *plug) {
	p := t.base.Port(port)
	if p == nil {
		return nil, nil
	}
	claims := t.claims(p)
	if q := standby(p, claims); q != nil {
		return claims[0], q
	}
	return nil, nil
}

// replug replaces a claim by the same one with other flags.
func (t *Txn) replug(p *plug, yields, armed bool) {
	next := *p
	next.yields, next.armed = yields, armed
	t.unplug(p)
	t.plugIn(&next)
}

// succeed lets a claim that yielded count like any other once the one that it
// yielded to is gone: a claim that comes later must not go before it.
func (t *Txn) succeed() {
	for _, id := range sortedKeys(t.wires) {
		p := t.base.PortByIfaceID(id)
		if p == nil {
			continue
		}
		was, now := t.base.effective(p), t.claims(p)
		if was == nil || len(now) == 0 || !now[0].yields ||
			slices.ContainsFunc(now, func(q *plug) bool { return q.host == was.host && q.iface == was.iface }) {
			continue
		}
		t.replug(now[0], false, false)
	}
}

func (c *commit) checkMigration(object string, p *Port) {
	if p.MigrateTo == "" || p.MigrateTo == AnyHost || lookup(c.new.declared, p.MigrateTo, byHostName) != nil {
		return
	}
	c.problems.add(&Problem{Object: object, Field: "migrate_to", Other: KindHost + " " + p.MigrateTo,
		What: fmt.Sprintf("there is no host %q", p.MigrateTo),
		Hint: c.suggest(KindHost, p.MigrateTo, "declare the host, correct the name, or use any, for whichever host shows the port next")})
}
