package cases

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// host is a host of the overlay under construction.
type host struct {
	name    string
	tep     netip.Addr // where it says that tunnels to it end
	refused bool       // the endpoint is another host's, so nobody sends there
	tunnels [4]uint32
	next    uint32 // number of its next port
}

// network is a network of the overlay under construction.
type network struct {
	topo.Network
	members []*member // that are bound and in effect
	numbers int       // how many MACs and addresses have been given out
}

// place is a port of a switch.
type place struct {
	host   *host
	number uint32
}

// member is a port's part in one network, and what its guest has there. A copy with
// something else in it is somebody who pretends.
type member struct {
	place
	port    *topo.Port
	net     *network
	trunked bool
	vlan    uint16 // 0 on an access port, and in a trunk's native network
	mac     topo.MAC
	ip4     netip.Addr // what it declares, invalid if nothing
	ip6     netip.Addr
}

// declares says which addresses a port declares.
type declares uint8

const (
	nothing  declares = 0
	ipv4     declares = 1
	ipv6     declares = 2
	ipv4and6          = ipv4 | ipv6
)

// builder is an overlay under construction. Declarations add to it what they need,
// and say what must become of packets.
type builder struct {
	*rand.Rand
	tx    *topo.Txn
	over6 bool    // tunnels go over IPv6
	pool  []*host // that everybody may use
	hosts []*host // all
	// bare lack a tunnel port, and refused the others' trust: they are for who asks.
	bare    [4]*host // by encapsulation
	refused *host
	shared  []*network
	nets    []*network // all
	ports   []*topo.Port
	binds   []bind
	macs    []topo.MAC // that anybody has
	// learned, cutOver and watched are done one after the other when all is declared:
	// they are about numbers that only the commit before gives out.
	learned, cutOver, watched []func(*topo.Txn, *topo.Snapshot)

	name  string // of the declaration under way, as part of other names
	cases []*Case
	// late is what is said of the cases: some of it is about members that others add.
	late []func()
}

type bind struct {
	ifaceID string
	place
}

// Numbers of the ports that tunnels end at.
const (
	grePort = 101 + iota
	vxlanPort
	genevePort
)

var allTunnels = [4]uint32{topo.GRE: grePort, topo.VXLAN: vxlanPort, topo.Geneve: genevePort}

// unknownTEP is an address at which no host's tunnels end.
func (b *builder) unknownTEP() netip.Addr {
	if b.over6 {
		return netip.MustParseAddr("2001:db8::99")
	}
	return netip.MustParseAddr("203.0.113.99")
}

func (b *builder) addHost(tunnels [4]uint32) *host {
	n := len(b.hosts)
	h := &host{name: fmt.Sprintf("host%d", n), tunnels: tunnels, next: 1}
	h.tep = netip.AddrFrom4([4]byte{192, 168, byte(200 + n/250), byte(1 + n%250)})
	if b.over6 {
		h.tep = netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x99, 14: byte(n >> 8), 15: byte(1 + n)})
	}
	b.hosts = append(b.hosts, h)
	return h
}

// someHosts are n different hosts.
func (b *builder) someHosts(n int) []*host {
	out := make([]*host, n)
	for i, at := range b.Perm(len(b.pool))[:n] {
		out[i] = b.pool[at]
	}
	return out
}

// without is a host that lacks the tunnel port of an encapsulation.
func (b *builder) without(e topo.Encap) *host {
	if b.bare[e] == nil {
		tunnels := allTunnels
		tunnels[e] = 0
		b.bare[e] = b.addHost(tunnels)
	}
	return b.bare[e]
}

// refusedHost is a host that nobody declared and that reports another one's endpoint.
func (b *builder) refusedHost() *host {
	if b.refused == nil {
		b.refused = b.addHost(allTunnels)
		b.refused.tep, b.refused.refused = b.pool[0].tep, true
	}
	return b.refused
}

// oneIn is true once in n times.
func (b *builder) oneIn(n int) bool { return b.IntN(n) == 0 }

// networks are n different ones that answer for ports as said: every third one is
// new, in the others there are already some whose declarations asked too.
func (b *builder) networks(n int, answer topo.Answer) []*network {
	var out []*network
	fresh := 0
	for range n {
		if b.oneIn(3) {
			fresh++
		}
	}
	for _, i := range b.Perm(len(b.shared)) {
		if s := b.shared[i]; len(out) < n-fresh && s.Answer == answer {
			out = append(out, s)
		}
	}
	for len(out) < n {
		s := b.private(answer)
		b.shared = append(b.shared, s)
		out = append(out, s)
	}
	return out
}

// network is one network that others may be in too.
func (b *builder) network() *network { return b.networks(1, topo.Answer(b.IntN(2)))[0] }

// private is a network that nobody else gets into.
func (b *builder) private(answer topo.Answer) *network {
	return b.addNetwork(topo.Network{Answer: answer, Subnets: []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/64")}})
}

func (b *builder) addNetwork(n topo.Network) *network {
	i := len(b.nets)
	n.Tenant, n.Name = [...]string{"red", "blue"}[b.IntN(2)], fmt.Sprintf("n%d", i)
	n.Encap = topo.GRE + topo.Encap(b.IntN(3))
	// Keys that differ in few bits, small ones and the highest there are.
	n.Key = uint32(100 + i)
	switch {
	case b.oneIn(4) && n.Encap == topo.GRE:
		n.Key = 0xffffffff - uint32(i)
	case b.oneIn(4):
		n.Key = 0xffffff - uint32(i)
	}
	out := &network{Network: n}
	b.nets = append(b.nets, out)
	return out
}

// unusedKey is a key that no network has.
const unusedKey = 99

// number gives out the next port number of a host, sometimes one of those that only
// somebody who asks for them gets.
func (b *builder) number(h *host) uint32 {
	if h.next == grePort {
		h.next = genevePort + 1
	}
	n := h.next
	h.next++
	if b.oneIn(12) {
		n += 40000
	}
	return n
}

// addPort declares a port and binds it.
func (b *builder) addPort(at *host, p topo.Port) (*topo.Port, place) {
	port := &p
	port.Name = fmt.Sprintf("%s-%d", b.name, len(b.ports))
	b.ports = append(b.ports, port)
	if at == nil {
		return port, place{}
	}
	return port, b.bind(port.Name, at)
}

func (b *builder) bind(ifaceID string, at *host) place {
	p := place{at, b.number(at)}
	b.binds = append(b.binds, bind{ifaceID, p})
	return p
}

// addresses gives a new member of networks the same number in all of them: a MAC that
// nobody has there, but somebody in another network may have.
func (b *builder) addresses(nets ...*network) (mac topo.MAC, ip4, ip6 netip.Addr) {
	n := 0
	for _, s := range nets {
		n = max(n, s.numbers+1)
	}
	for _, s := range nets {
		s.numbers = n
	}
	mac = topo.MAC{2, 0, 0, 0, byte(n >> 8), byte(n)}
	if !slices.Contains(b.macs, mac) {
		b.macs = append(b.macs, mac)
	}
	return mac, netip.AddrFrom4([4]byte{10, 1, byte(1 + n>>8), byte(n)}),
		netip.AddrFrom16([16]byte{0: 0xfd, 13: 1, 14: byte(n >> 8), 15: byte(n)})
}

// access is an access port on a host; nil is one that is bound nowhere.
func (b *builder) access(n *network, at *host, d declares, p topo.Port) *member {
	m := &member{net: n}
	var ip4, ip6 netip.Addr
	m.mac, ip4, ip6 = b.addresses(n)
	if d&ipv4 != 0 {
		m.ip4, p.Addresses = ip4, append(p.Addresses, ip4)
	}
	if d&ipv6 != 0 {
		m.ip6, p.Addresses = ip6, append(p.Addresses, ip6)
	}
	p.MAC, p.Network = m.mac, n.FullName()
	m.port, m.place = b.addPort(at, p)
	if at != nil {
		n.members = append(n.members, m)
	}
	return m
}

// guest is a port of profile host.
func (b *builder) guest(n *network, at *host, d declares) *member {
	return b.access(n, at, d, topo.Port{})
}

// bridge is a port of profile switch, which learns that many MACs at most.
func (b *builder) bridge(n *network, at *host, macs int) *member {
	return b.access(n, at, declares(b.IntN(2)), topo.Port{Profile: topo.ProfileSwitch, MACs: macs})
}

// trunk is a trunk, with a native network unless that is nil, and VLAN IDs at random.
// The members are in the order of the networks.
func (b *builder) trunk(at *host, profile topo.Profile, native *network, tagged ...*network) []*member {
	var all []*network
	if native != nil {
		all = append(all, native)
	}
	all = append(all, tagged...)
	t := &topo.Trunk{}
	p, pl := b.addPort(at, topo.Port{Profile: profile, Trunk: t})
	mac, ip4, _ := b.addresses(all...)
	p.MAC = mac
	var out []*member
	for _, n := range all {
		m := &member{place: pl, port: p, net: n, trunked: true, mac: mac}
		sub := topo.SubPort{Network: n.FullName()}
		if b.oneIn(2) {
			m.ip4, sub.Addresses = ip4, []netip.Addr{ip4}
		}
		if n == native {
			t.Native = &sub
		} else {
			m.vlan = b.vlan(t)
			sub.VLAN = m.vlan
			t.VLANs = append(t.VLANs, sub)
		}
		if at != nil {
			n.members = append(n.members, m)
		}
		out = append(out, m)
	}
	return out
}

// vlan is a VLAN ID that the trunk does not carry.
func (b *builder) vlan(t *topo.Trunk) uint16 {
	for {
		v := uint16(1 + b.IntN(4094))
		if b.oneIn(2) {
			v = [...]uint16{1, 2, 10, 20, 4094}[b.IntN(5)]
		}
		if !slices.ContainsFunc(t.VLANs, func(s topo.SubPort) bool { return s.VLAN == v }) {
			return v
		}
	}
}

// wire is a wire and its ends.
func (b *builder) wire(h1, h2 *host) (a, z *member) {
	n := b.addNetwork(topo.Network{Type: topo.TypeWire})
	return b.end(n, h1), b.end(n, h2)
}

// end is an end of a wire on a host; nil is one that is bound nowhere.
func (b *builder) end(n *network, at *host) *member {
	m := b.access(n, at, nothing, topo.Port{Profile: topo.Profile(b.IntN(2))})
	m.trunked = true // it carries tags
	return m
}

// stray is a port whose interface claims a port that nobody declared.
func (b *builder) stray(at *host) *member {
	return &member{place: b.bind(b.name+"-nobody", at), mac: topo.MAC{2, 0, 0, 0, 0, 1}}
}

// rival is a port whose interface claims a port that is on another host already.
func (b *builder) rival(m *member, at *host) *member {
	r := *m
	r.place = b.bind(m.port.Name, at)
	return &r
}

// station is somebody behind a port, whose MAC is learned there.
func (b *builder) station(m *member) *member {
	s := b.unlearned(m)
	b.learned = append(b.learned, func(tx *topo.Txn, snap *topo.Snapshot) {
		tx.Learn(topo.Sighting{Network: snap.Network(s.net.FullName()).ID, MAC: s.mac, Port: snap.Port(s.port.Name).ID,
			Host: s.host.name, OFPort: s.number})
	})
	return s
}

// unlearned is somebody behind a port of whom nobody knows.
func (b *builder) unlearned(m *member) *member {
	s := *m
	s.mac, s.ip4, s.ip6 = b.addresses(m.net)
	return &s
}

// migrate makes a port one that is being migrated to a host, and is its member there,
// on standby.
func (b *builder) migrate(m *member, to *host) *member {
	m.port.MigrateTo = [...]string{topo.AnyHost, to.name}[b.IntN(2)]
	s := *m
	s.place = b.bind(m.port.Name, to)
	return &s
}

// at is another part of a port that is in two places, at the place of one.
func (m *member) at(other *member) *member {
	s := *m
	s.place = other.place
	return &s
}

// cut puts standby in effect and m on standby.
func (b *builder) cut(m, standby *member) {
	for i, x := range m.net.members {
		if x == m {
			m.net.members[i] = standby
		}
	}
	b.cutOver = append(b.cutOver, func(tx *topo.Txn, _ *topo.Snapshot) { tx.Activate(m.port.Name, standby.binding()) })
}

// watch waits for a sign of the guest at m, which a cut-over has put on standby.
func (b *builder) watch(m *member) {
	b.watched = append(b.watched, func(tx *topo.Txn, _ *topo.Snapshot) { tx.Watch(m.port.Name, m.binding()) })
}

func (p place) binding() topo.Binding {
	return topo.Binding{Host: p.host.name, OFPort: p.number,
		Interface: interfaceOf(p.host.name, p.number)}
}

// interfaceOf is the interface that a port is.
func interfaceOf(host string, number uint32) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s/%d", host, number))
}

// newBuilder begins an overlay with so many hosts that everybody may use.
func newBuilder(r *rand.Rand, hosts int) *builder {
	b := &builder{Rand: r, tx: topo.Empty().Begin(), over6: r.IntN(3) == 0}
	for range hosts {
		b.pool = append(b.pool, b.addHost(allTunnels))
	}
	return b
}

// overlay is what was built. It panics where topo refuses it: that is a mistake in a
// declaration, whatever was drawn.
func (b *builder) overlay() *Overlay {
	s, err := b.commit()
	if err != nil {
		panic(fmt.Sprintf("cases: declarations make an overlay that topo refuses: %v", err))
	}
	for _, say := range b.late {
		say()
	}
	return &Overlay{Snapshot: s, Cases: b.cases, pools: b.pools()}
}

// commit makes the snapshot.
func (b *builder) commit() (*topo.Snapshot, error) {
	for _, h := range b.hosts {
		if !h.refused {
			b.tx.PutHost(topo.Host{Name: h.name, TEP: h.tep})
		}
		b.tx.ObserveHost(h.name, h.tep, h.tunnels)
	}
	for _, n := range b.nets {
		b.tx.PutTenant(topo.Tenant{Name: n.Tenant})
		b.tx.PutNetwork(n.Network)
	}
	for _, p := range b.ports {
		b.tx.PutPort(*p)
	}
	for _, p := range b.binds {
		b.tx.Bind(p.ifaceID, p.binding())
	}
	s, _, err := b.tx.Commit()
	for _, todo := range [][]func(*topo.Txn, *topo.Snapshot){b.learned, b.cutOver, b.watched} {
		if err != nil {
			return nil, err
		}
		tx := s.Begin()
		for _, do := range todo {
			do(tx, s)
		}
		s, _, err = tx.Commit()
	}
	return s, err
}
