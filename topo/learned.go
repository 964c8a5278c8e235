package topo

import (
	"cmp"
	"fmt"
	"slices"
)

const (
	// DefaultMACs is how many source MACs are learned at a port that does not say.
	DefaultMACs = 64
	// MaxMACs is the most that a port may ask for: every one of them is a flow on
	// every host that has a port in the network.
	MaxMACs = 4096
)

// MACLimit is how many source MACs may be learned at the port, in all its networks
// together and its own not counted: 0 where none are learned.
func (p *Port) MACLimit() int {
	switch {
	case p.Profile != ProfileSwitch:
		return 0
	case p.MACs == 0:
		return DefaultMACs
	}
	return p.MACs
}

// Learned is what was learned at one port in one network. It is immutable and
// shared between Snapshots like the Member that has it.
type Learned struct {
	// MACs are the source MACs, ascending.
	MACs []MAC
	// Full says that the port has its limit, in all its networks together.
	Full bool
}

// Sighting is a source MAC that was seen on a frame from a port.
type Sighting struct {
	Network ID
	MAC     MAC
	Port    ID
	// Host and OFPort are where the frame came in. A port that is not bound there
	// any more has not sent it.
	Host   string
	OFPort uint32
}

// station is a learned MAC of a network. Immutable.
type station struct {
	mac  MAC
	port ID
}

// stations are the learned MACs of a network, ascending. Immutable.
type stations struct {
	network ID
	list    []*station
}

func byStationsNetwork(s *stations, network ID) int { return cmp.Compare(s.network, network) }
func byStationMAC(s *station, mac uint64) int       { return cmp.Compare(s.mac.number(), mac) }

// number is the address as a number, in the order of the bytes.
func (m MAC) number() uint64 {
	var n uint64
	for _, b := range m {
		n = n<<8 | uint64(b)
	}
	return n
}

// LearnedAt is the port at which a MAC of a network was learned, nil if it was not.
func (s *Snapshot) LearnedAt(network ID, mac MAC) *Port {
	ss := lookup(s.learned, network, byStationsNetwork)
	if ss == nil {
		return nil
	}
	st := lookup(ss.list, mac.number(), byStationMAC)
	if st == nil {
		return nil
	}
	return s.portByID(st.port)
}

func (s *Snapshot) portByID(id ID) *Port {
	if kind, name, ok := s.ObjectByID(id); ok && kind == KindPort {
		return s.Port(name)
	}
	return nil
}

func (s *Snapshot) networkByID(id ID) *Network {
	if kind, name, ok := s.ObjectByID(id); ok && kind == KindNetwork {
		return s.Network(name)
	}
	return nil
}

// memberOf is the port's part in the network, nil if it is not bound or not in it.
func (s *Snapshot) memberOf(p *Port, network ID) *Member {
	if seg := s.Segment(network); seg != nil {
		return lookup(seg.Members, p.ID, byMemberID)
	}
	return nil
}

// LearnedMAC is a source MAC that was learned at a port, and where.
type LearnedMAC struct {
	Network *Network
	VLAN    uint16 // 0 on an access port and in a trunk's native network
	MAC     MAC
}

// Learned are the source MACs that were learned at the port of that name, by
// network as the port declares them and by MAC. The slice is the caller's.
func (s *Snapshot) Learned(port string) []LearnedMAC {
	p := s.Port(port)
	if p == nil || p.Profile != ProfileSwitch {
		return nil
	}
	var out []LearnedMAC
	for _, a := range p.attachments() {
		n := s.Network(a.network)
		m := s.memberOf(p, n.ID)
		if m == nil || m.Learned == nil {
			continue
		}
		for _, mac := range m.Learned.MACs {
			l := LearnedMAC{Network: n, MAC: mac}
			if a.sub != nil {
				l.VLAN = a.sub.VLAN
			}
			out = append(out, l)
		}
	}
	return out
}

// NumLearned is how many source MACs were learned at a port of s.
func (s *Snapshot) NumLearned(p *Port) int {
	n := 0
	for _, a := range p.attachments() {
		if net := s.Network(a.network); net != nil {
			if m := s.memberOf(p, net.ID); m != nil && m.Learned != nil {
				n += len(m.Learned.MACs)
			}
		}
	}
	return n
}

// MACsFull reports whether a port of s has learned as many source MACs as it may.
func (s *Snapshot) MACsFull(p *Port) bool {
	limit := p.MACLimit()
	return limit > 0 && s.NumLearned(p) >= limit
}

// TotalLearned is how many source MACs are learned, in all networks.
func (s *Snapshot) TotalLearned() int {
	n := 0
	for _, ss := range s.learned {
		n += len(ss.list)
	}
	return n
}

// learning is one change to what is learned.
type learning struct {
	Sighting
	op learnOp
}

type learnOp uint8

const (
	opLearn learnOp = iota
	opRecall
	opForget
)

// Learn records that a MAC was seen behind a port. One that was learned at another
// port of the network moves. A sighting that cannot be is none: of a group address,
// of one that is declared for a port of the network (a declared MAC never moves), at
// a port that learns nothing, is full, is not in the network or is bound elsewhere.
func (t *Txn) Learn(s Sighting) { t.learnings = append(t.learnings, learning{s, opLearn}) }

// Recall is Learn for what the switch of s.Host let through before a restart, and so
// may be out of date: it moves nothing, and what is known of s.OFPort from then does
// not count. Only the host where the port is in effect, or on standby in a migration,
// is believed: what another one says is not for it to decide.
func (t *Txn) Recall(s Sighting) { t.learnings = append(t.learnings, learning{s, opRecall}) }

// Unlearn forgets a MAC of a network, if it is learned at that port (still).
func (t *Txn) Unlearn(network ID, mac MAC, port ID) {
	t.learnings = append(t.learnings, learning{Sighting{Network: network, MAC: mac, Port: port}, opForget})
}

// learner is the part of a commit that keeps what is learned.
type learner struct {
	c *commit
	// edits are what differs, by network and MAC; nil is gone.
	edits map[ID]map[uint64]*station
	// count is how many MACs a port has, for those that differ.
	count map[ID]int
	// declared are the MACs of the ports of a network, for those that were asked for.
	declared map[ID]map[MAC]bool
}

// applyLearnings puts what was learned into the new snapshot, and takes out what
// has lost its ground: a port that is not bound any more, has left the network or
// learns nothing, and a MAC that has been declared. It returns what differs.
func (c *commit) applyLearnings() *learner {
	l := &learner{c: c, edits: map[ID]map[uint64]*station{}, count: map[ID]int{}, declared: map[ID]map[MAC]bool{}}
	for _, name := range sortedKeys(c.dirtyPorts()) {
		l.review(name)
	}
	for _, name := range sortedKeys(c.touched) {
		l.dropDeclared(name)
	}
	for _, e := range c.txn.learnings {
		l.apply(e)
	}
	for _, name := range sortedKeys(c.ports) {
		l.shrink(c.new.Port(name))
	}
	l.finish()
	return l
}

// at is the port at which the MAC is learned now, 0 if it is not.
func (l *learner) at(network ID, mac MAC) ID {
	if st, edited := l.edits[network][mac.number()]; edited {
		if st == nil {
			return 0
		}
		return st.port
	}
	if ss := lookup(l.c.old.learned, network, byStationsNetwork); ss != nil {
		if st := lookup(ss.list, mac.number(), byStationMAC); st != nil {
			return st.port
		}
	}
	return 0
}

// set makes port, or nobody for 0, the one at which the MAC is learned.
func (l *learner) set(network ID, mac MAC, port ID) {
	if was := l.at(network, mac); was != 0 {
		l.add(was, -1)
	}
	if l.edits[network] == nil {
		l.edits[network] = map[uint64]*station{}
	}
	var st *station
	if port != 0 {
		st = &station{mac: mac, port: port}
		l.add(port, 1)
	}
	l.edits[network][mac.number()] = st
}

// add changes how many MACs a port has.
func (l *learner) add(port ID, n int) { l.count[port] = l.learned(port) + n }

// learned is how many MACs a port has.
func (l *learner) learned(port ID) int {
	n, counted := l.count[port]
	if !counted {
		if p := l.c.old.portByID(port); p != nil {
			n = l.c.old.NumLearned(p)
		}
	}
	return n
}

// review drops what a port that may have changed has lost.
func (l *learner) review(name string) {
	was, is := l.c.old.Port(name), l.c.new.Port(name)
	if was == nil {
		return
	}
	keeps := map[string]bool{}
	if is != nil && is.ID == was.ID && is.Profile == ProfileSwitch && l.c.new.effective(is) != nil {
		for _, a := range is.attachments() {
			keeps[a.network] = true
		}
	}
	for _, a := range was.attachments() {
		n := l.c.old.Network(a.network)
		now := l.c.new.Network(a.network)
		if now != nil && now.ID == n.ID && keeps[a.network] && !now.IsWire() {
			continue
		}
		if m := l.c.old.memberOf(was, n.ID); m != nil && m.Learned != nil {
			for _, mac := range m.Learned.MACs {
				l.set(n.ID, mac, 0)
			}
		}
	}
}

// dropDeclared drops what is learned of MACs that the network's ports declare.
func (l *learner) dropDeclared(network string) {
	n := l.c.new.Network(network)
	if n == nil || lookup(l.c.old.learned, n.ID, byStationsNetwork) == nil {
		return
	}
	for _, p := range l.c.new.PortsIn(network) {
		if l.at(n.ID, p.MAC) != 0 {
			l.set(n.ID, p.MAC, 0)
		}
	}
}

// apply makes one change that was asked for, if it can be.
func (l *learner) apply(e learning) {
	at := l.at(e.Network, e.MAC)
	switch {
	case e.op == opForget:
		if at == e.Port && at != 0 {
			l.set(e.Network, e.MAC, 0)
		}
		return
	case at == e.Port, at != 0 && e.op == opRecall:
		return
	}
	p, n := l.c.new.portByID(e.Port), l.c.new.networkByID(e.Network)
	if p == nil || n == nil || e.MAC.IsMulticast() || e.MAC.IsZero() || !l.present(p, n, e) || l.isDeclared(n, e.MAC) ||
		l.learned(p.ID) >= p.MACLimit() {
		return
	}
	l.set(n.ID, e.MAC, p.ID)
}

// present reports whether the port is in the network and bound where it was seen.
func (l *learner) present(p *Port, n *Network, e learning) bool {
	plug := l.c.new.effective(p)
	if plug == nil || n.IsWire() || e.op == opLearn && (plug.host != e.Host || plug.ofport != e.OFPort) {
		return false
	}
	if other := standby(p, l.c.new.claims(p)); e.op == opRecall && plug.host != e.Host && (other == nil || other.host != e.Host) {
		return false
	}
	return slices.ContainsFunc(p.attachments(), func(a attachment) bool { return a.network == n.FullName() })
}

func (l *learner) isDeclared(n *Network, mac MAC) bool {
	macs := l.declared[n.ID]
	if macs == nil {
		macs = map[MAC]bool{}
		for _, p := range l.c.new.PortsIn(n.FullName()) {
			macs[p.MAC] = true
		}
		l.declared[n.ID] = macs
	}
	return macs[mac]
}

// shrink drops what a port has above its limit, which was lowered: the highest MACs
// of its last networks. Those that are in use are seen again, and find it full.
func (l *learner) shrink(p *Port) {
	if p == nil {
		return
	}
	over := l.learned(p.ID) - p.MACLimit()
	for _, a := range slices.Backward(p.attachments()) {
		if over <= 0 {
			return
		}
		n := l.c.new.Network(a.network)
		for _, mac := range slices.Backward(l.macsOf(p, n.ID)) {
			if over > 0 {
				l.set(n.ID, mac, 0)
				over--
			}
		}
	}
}

// macsOf are the MACs that are learned at the port in the network now, ascending.
func (l *learner) macsOf(p *Port, network ID) []MAC {
	edits := l.edits[network]
	var was []MAC
	if m := l.c.old.memberOf(p, network); m != nil && m.Learned != nil {
		was = m.Learned.MACs
	}
	if len(edits) == 0 {
		return was
	}
	var out []MAC
	for _, mac := range was {
		if _, edited := edits[mac.number()]; !edited {
			out = append(out, mac)
		}
	}
	for _, st := range edits {
		if st != nil && st.port == p.ID {
			out = append(out, st.mac)
		}
	}
	slices.SortFunc(out, func(a, b MAC) int { return cmp.Compare(a.number(), b.number()) })
	return out
}

// finish makes the new index.
func (l *learner) finish() {
	networks := map[ID]*stations{}
	for id, edits := range l.edits {
		var was []*station
		if ss := lookup(l.c.old.learned, id, byStationsNetwork); ss != nil {
			was = ss.list
		}
		for mac, st := range edits { // one may have come to be what it was
			old := lookup(was, mac, byStationMAC)
			if st == old || st != nil && old != nil && *st == *old {
				delete(edits, mac)
			}
		}
		if len(edits) == 0 {
			continue
		}
		networks[id] = nil
		if list := merged(was, edits, byStationMAC); len(list) > 0 {
			networks[id] = &stations{network: id, list: list}
		}
	}
	l.c.new.learned = merged(l.c.old.learned, networks, byStationsNetwork)
}

// ports are the names of the ports of which what is learned differs.
func (l *learner) ports() []string {
	var out []string
	for id := range l.count {
		if p := l.c.new.portByID(id); p != nil {
			out = append(out, p.Name)
		}
	}
	return out
}

// of is what is learned at the port in the network, nil at a port that learns
// nothing and on a wire, which looks at no MAC. was is what it had before.
func (l *learner) of(p *Port, n *Network, was *Learned) *Learned {
	limit := p.MACLimit()
	if limit == 0 || n.IsWire() {
		return nil
	}
	now := &Learned{MACs: l.macsOf(p, n.ID), Full: l.learned(p.ID) >= limit}
	if was != nil && was.Full == now.Full && slices.Equal(was.MACs, now.MACs) {
		return was
	}
	return now
}

// checkMACs checks the limit of a port's source MACs.
func (c *commit) checkMACs(p *Port) {
	object := KindPort + " " + p.Name
	switch {
	case p.MACs == 0:
	case p.Profile != ProfileSwitch:
		c.problems.add(&Problem{Object: object, Field: "macs", What: "source MACs are learned at ports of profile switch only",
			Hint: "leave it out, or give the port profile: switch"})
	case p.MACs < 0 || p.MACs > MaxMACs:
		c.problems.add(&Problem{Object: object, Field: "macs", What: fmt.Sprintf("%d source MACs are outside 1 to %d", p.MACs, MaxMACs),
			Hint: fmt.Sprintf("leave it out for %d", DefaultMACs)})
	}
}
