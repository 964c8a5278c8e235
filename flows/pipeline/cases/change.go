package cases

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// changer changes a snapshot.
type changer struct {
	*rand.Rand
	s  *topo.Snapshot
	tx *topo.Txn
}

// changes are what may happen to an overlay; those that need others before them are
// there more than once.
var changes = [...]func(*changer){
	(*changer).endpoint, (*changer).forget, (*changer).network, (*changer).rewire, (*changer).rewire,
	(*changer).port, (*changer).port, (*changer).move, (*changer).trunk, (*changer).add,
	(*changer).bind, (*changer).bind, (*changer).bind, (*changer).ends, (*changer).ends, (*changer).unbind,
	(*changer).migrate, (*changer).migrate, (*changer).activate, (*changer).activate, (*changer).watch,
	(*changer).learn, (*changer).learn, (*changer).learn, (*changer).unlearn,
	(*changer).deletePort, (*changer).deleteNetwork,
}

// Change puts a random change of s into tx, which was begun on s: of what is declared,
// and of what is observed. That a commit refuses it is nothing wrong.
func Change(r *rand.Rand, s *topo.Snapshot, tx *topo.Txn) {
	changes[r.IntN(len(changes))](&changer{r, s, tx})
}

// one is one of several; ok is false if there is none.
func one[T any](c *changer, of []T) (v T, ok bool) {
	if len(of) == 0 {
		return v, false
	}
	return of[c.IntN(len(of))], true
}

// somePort is a copy of a port that accept takes; ok is false if there is none.
func (c *changer) somePort(accept func(*topo.Port) bool) (p topo.Port, ok bool) {
	var fit []*topo.Port
	for _, p := range c.s.Ports() {
		if accept(p) {
			fit = append(fit, p)
		}
	}
	some, ok := one(c, fit)
	if !ok {
		return p, false
	}
	return *some, true
}

func anyPort(*topo.Port) bool      { return true }
func isAccess(p *topo.Port) bool   { return p.Trunk == nil }
func isTrunk(p *topo.Port) bool    { return p.Trunk != nil }
func doesLearn(p *topo.Port) bool  { return p.Profile == topo.ProfileSwitch }
func mayMigrate(p *topo.Port) bool { return p.MigrateTo != "" }

// endpoint changes what a host reports of itself; now and then its endpoint is one
// that another host has.
func (c *changer) endpoint() {
	h, _ := one(c, c.s.Hosts())
	other, ok := one(c, c.s.Hosts())
	if !ok {
		return
	}
	var tunnels [4]uint32
	for e, n := range allTunnels {
		if c.IntN(4) > 0 {
			tunnels[e] = n
		}
	}
	c.tx.ObserveHost(h.Name, other.TEP, tunnels)
}

// forget takes all that was observed of a host away, or what was declared of it.
func (c *changer) forget() {
	h, ok := one(c, c.s.Hosts())
	switch {
	case !ok:
	case c.IntN(2) == 0:
		c.tx.ForgetHost(h.Name)
	case h.Declared:
		_ = c.tx.DeleteHost(h.Name)
	default:
		c.tx.PutHost(topo.Host{Name: h.Name})
	}
}

// network changes a network's encapsulation, and with it its key, or for whom it
// answers.
func (c *changer) network() {
	n, ok := one(c, c.s.Networks())
	if !ok {
		return
	}
	next := *n
	if c.IntN(2) == 0 {
		next.Encap, next.Key = topo.GRE+topo.Encap(c.IntN(3)), 0
	} else if !n.IsWire() {
		next.Answer = topo.AnswerDeclared - n.Answer
	}
	c.tx.PutNetwork(next)
}

// rewire makes a wire of a network with two of its ports, or an overlay of a wire.
func (c *changer) rewire() {
	n, ok := one(c, c.s.Networks())
	if !ok {
		return
	}
	next := *n
	if n.IsWire() {
		next.Type, next.Subnets = topo.TypeOverlay, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/64")}
		c.tx.PutNetwork(next)
		return
	}
	next.Type, next.Subnets, next.Answer = topo.TypeWire, nil, topo.AnswerBound
	c.tx.PutNetwork(next)
	ends := 0
	for _, p := range c.s.PortsIn(n.FullName()) {
		if ends == 2 || p.Trunk != nil {
			_ = c.tx.DeletePort(p.Name)
			continue
		}
		ends++
		end := *p
		end.Addresses, end.MigrateTo = nil, topo.AnyHost
		c.tx.PutPort(end)
	}
}

// port changes what is declared of a port.
func (c *changer) port() {
	p, ok := c.somePort(anyPort)
	if !ok {
		return
	}
	switch c.IntN(4) {
	case 0:
		p.Profile, p.MACs = topo.ProfileSwitch-p.Profile, 0
	case 1:
		if doesLearn(&p) {
			p.MACs = c.IntN(3)
		}
	case 2:
		p.MAC = topo.MAC{2, 0, 0, 0, 0, byte(1 + c.IntN(12))}
	case 3:
		p.Addresses = nil
		if n := c.s.Network(p.Network); n != nil && len(n.Subnets) > 0 && c.IntN(3) > 0 {
			p.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 1, 1, byte(1 + c.IntN(12))})}
		}
	}
	c.tx.PutPort(p)
}

// move puts an access port on another network.
func (c *changer) move() {
	p, ok := c.somePort(isAccess)
	n, is := one(c, c.s.Networks())
	if !ok || !is {
		return
	}
	p.Network = n.FullName()
	if n.IsWire() {
		p.Addresses = nil
	}
	c.tx.PutPort(p)
}

// trunk gives a trunk a VLAN more or less, or takes its native network away.
func (c *changer) trunk() {
	p, ok := c.somePort(isTrunk)
	n, is := one(c, c.s.Networks())
	if !ok || !is {
		return
	}
	t := *p.Trunk
	p.Trunk = &t
	switch {
	case t.Native != nil && c.IntN(3) == 0:
		t.Native = nil
	case len(t.VLANs) > 1 && c.IntN(2) == 0:
		t.VLANs = slices.Delete(slices.Clone(t.VLANs), 0, 1)
	default:
		t.VLANs = append(slices.Clone(t.VLANs), topo.SubPort{VLAN: uint16(1 + c.IntN(20)), Network: n.FullName()})
	}
	c.tx.PutPort(p)
}

// add declares a port that was not there, with a MAC of its own name.
func (c *changer) add() {
	n, ok := one(c, c.s.Networks())
	if ok {
		c.tx.PutPort(topo.Port{Name: "added-" + string(rune('a'+c.IntN(4))), Network: n.FullName(), Profile: topo.Profile(c.IntN(2))})
	}
}

// at binds a port somewhere, often where another one is.
func (c *changer) at(port string) {
	if h, ok := one(c, c.s.Hosts()); ok {
		number := pick[uint32](c.Rand, 1, 2, 3, 4, 5, 6, 7, 8, 9, 40000, 40001, 40002)
		c.tx.Bind(port, topo.Binding{Host: h.Name, OFPort: number, Interface: interfaceOf(h.Name, number)})
	}
}

func (c *changer) bind() {
	if p, ok := c.somePort(anyPort); ok {
		c.at(p.Name)
	}
}

// ends binds both ends of a wire.
func (c *changer) ends() {
	n, ok := one(c, slices.DeleteFunc(slices.Clone(c.s.Networks()), func(n *topo.Network) bool { return !n.IsWire() }))
	if !ok {
		return
	}
	for _, p := range c.s.PortsIn(n.FullName()) {
		c.at(p.Name)
	}
}

func (c *changer) unbind() {
	p, ok := c.somePort(anyPort)
	if at, bound := one(c, c.s.Bindings(p.Name)); ok && bound {
		c.tx.Unbind(at.Host, at.Interface)
	}
}

// migrate lets a port migrate, or no more, and shows it in a second place.
func (c *changer) migrate() {
	p, ok := c.somePort(anyPort)
	if !ok {
		return
	}
	p.MigrateTo = topo.AnyHost
	if c.IntN(4) == 0 {
		p.MigrateTo = ""
	}
	c.tx.PutPort(p)
	c.at(p.Name)
}

func (c *changer) activate() {
	if p, ok := c.somePort(mayMigrate); ok {
		if m, is := c.s.Migration(p.Name); is {
			c.tx.Activate(p.Name, m.Standby)
		}
	}
}

func (c *changer) watch() {
	if p, ok := c.somePort(mayMigrate); ok {
		if m, is := c.s.Migration(p.Name); is {
			c.tx.Watch(p.Name, m.Standby)
		}
	}
}

func (c *changer) learn() {
	p, ok := c.somePort(doesLearn)
	n, _ := one(c, c.s.Networks())
	at, bound := one(c, c.s.Bindings(p.Name))
	if !ok || !bound {
		return
	}
	if on := c.s.Network(p.Network); on != nil {
		n = on
	}
	c.tx.Learn(topo.Sighting{Network: n.ID, MAC: topo.MAC{2, 0, 0, 0, 0, byte(1 + c.IntN(20))}, Port: p.ID, Host: at.Host, OFPort: at.OFPort})
}

func (c *changer) unlearn() {
	p, ok := c.somePort(doesLearn)
	if l, is := one(c, c.s.Learned(p.Name)); ok && is {
		c.tx.Unlearn(l.Network.ID, l.MAC, p.ID)
	}
}

func (c *changer) deletePort() {
	if p, ok := c.somePort(anyPort); ok {
		_ = c.tx.DeletePort(p.Name)
	}
}

// deleteNetwork deletes a network and its access ports.
func (c *changer) deleteNetwork() {
	n, ok := one(c, c.s.Networks())
	if !ok {
		return
	}
	for _, p := range c.s.PortsIn(n.FullName()) {
		_ = c.tx.DeletePort(p.Name)
	}
	_ = c.tx.DeleteNetwork(n.FullName())
}
