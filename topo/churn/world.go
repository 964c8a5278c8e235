package churn

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Size is how much there is of everything that can be used again. The zero value of a
// field stands for the one its comment names.
type Size struct {
	Hosts      int // 3
	Interfaces int // 6 on each host
	Tenants    int // 3
	Networks   int // 8 at most at any time
	Ports      int // 18, as many as there are names for
	Keys       int // 4, of each encapsulation
}

func (s Size) withDefaults() Size {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&s.Hosts, 3)
	def(&s.Interfaces, 6)
	def(&s.Tenants, 3)
	def(&s.Networks, 8)
	def(&s.Ports, 18)
	def(&s.Keys, 4)
	return s
}

// networksPerTenant is how many names a tenant has for networks.
const networksPerTenant = 4

// Subnet is that of every network: tenants have the same addresses.
var Subnet = netip.MustParsePrefix("10.0.0.0/24")

// World is an overlay while it changes. It is for one goroutine.
type World struct {
	size Size
	rand *rand.Rand

	tenants  map[string]bool
	networks map[string]*topo.Network
	ports    map[string]*topo.Port
	plugged  map[Slot]claim
	claims   uint64
	// freed are the keys that were given up, the newest last.
	freed []tunnelKey

	generations map[string]int

	step Step // that is being made
}

// claim is an iface-id on a slot, and when it came.
type claim struct {
	ifaceID string
	seq     uint64
}

type tunnelKey struct {
	encap topo.Encap
	key   uint32
}

// New is an empty World and its history to be. The same seed and size make the same
// history.
func New(seed uint64, size Size) *World {
	return &World{
		size: size.withDefaults(), rand: rand.New(rand.NewPCG(seed, 0x636875726e)),
		tenants: map[string]bool{}, networks: map[string]*topo.Network{}, ports: map[string]*topo.Port{}, plugged: map[Slot]claim{},
		generations: map[string]int{},
	}
}

// Slots are all slots there are.
func (w *World) Slots() []Slot {
	var out []Slot
	for h := range w.size.Hosts {
		for i := range w.size.Interfaces {
			out = append(out, Slot{h, i})
		}
	}
	return out
}

// MaxKey is the highest tunnel key that is asked for by number.
func (w *World) MaxKey() uint32 { return uint32(w.size.Keys) }

// Networks are the full names of the declared networks, ascending.
func (w *World) Networks() []string { return slices.Sorted(maps.Keys(w.networks)) }

// Network is the declared network of a full name.
func (w *World) Network(name string) topo.Network { return *w.networks[name] }

// IfaceID is what is plugged into a slot, empty if nothing is.
func (w *World) IfaceID(s Slot) string { return w.plugged[s].ifaceID }

// Declared reports whether a port is declared.
func (w *World) Declared(port string) bool { return w.ports[port] != nil }

// Guest is the declared port that is in effect at a slot.
func (w *World) Guest(s Slot) (topo.Port, bool) {
	p := w.ports[w.plugged[s].ifaceID]
	if p == nil {
		return topo.Port{}, false
	}
	if at, _ := w.bound(p.Name); at != s {
		return topo.Port{}, false
	}
	return *p, true
}

// Generation is how many networks of that full name there have been.
func (w *World) Generation(network string) int { return w.generations[network] }

// Picture is a World at a moment.
type Picture struct {
	// Places are all places of networks, and the full names of those.
	Places map[Place]string
	// Stations are the MACs that are declared in networks, also of ports that are nowhere.
	Stations map[Station]bool
}

// Station is a MAC in a network.
type Station struct {
	Network string
	MAC     topo.MAC
}

// Picture is the World now.
func (w *World) Picture() Picture {
	p := Picture{w.Places(), map[Station]bool{}}
	for _, port := range w.ports {
		for _, a := range attachments(port) {
			p.Stations[Station{a.network, port.MAC}] = true
		}
	}
	return p
}

// Places are all places of networks, and the full names of those.
func (w *World) Places() map[Place]string {
	out := map[Place]string{}
	for _, s := range w.Slots() {
		p, ok := w.Guest(s)
		if !ok {
			continue
		}
		for _, a := range attachments(&p) {
			at := Place{s, a.vlan}
			if w.networks[a.network].IsWire() {
				at.VLAN = AnyVLAN
			}
			out[at] = a.network
		}
	}
	return out
}

// bound is where a port is: the slot that has claimed it longest.
func (w *World) bound(port string) (Slot, bool) {
	var at Slot
	var first uint64
	for s, c := range w.plugged {
		if c.ifaceID == port && (first == 0 || c.seq < first) {
			at, first = s, c.seq
		}
	}
	return at, first != 0
}

// rivals is how many slots claim a port.
func (w *World) rivals(port string) int {
	n := 0
	for _, c := range w.plugged {
		if c.ifaceID == port {
			n++
		}
	}
	return n
}

// attachment is a port's part in one network.
type attachment struct {
	network string
	vlan    int
}

func attachments(p *topo.Port) []attachment {
	if p.Trunk == nil {
		return []attachment{{p.Network, 0}}
	}
	var out []attachment
	if n := p.Trunk.Native; n != nil {
		out = append(out, attachment{n.Network, 0})
	}
	for _, v := range p.Trunk.VLANs {
		out = append(out, attachment{v.Network, int(v.VLAN)})
	}
	return out
}

// members are the names of the ports of a network, ascending.
func (w *World) members(network string) []string {
	var out []string
	for name, p := range w.ports {
		if slices.ContainsFunc(attachments(p), func(a attachment) bool { return a.network == network }) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// wireEnds is how many ports a wire can have.
const wireEnds = 2

// fits reports whether a port of that name can be in a network, trunk says whether by
// one VLAN of several.
func (w *World) fits(port, network string, trunk bool) bool {
	n := w.networks[network]
	others := 0
	for _, name := range w.members(network) {
		if name == port {
			continue
		}
		others++
		if macOf(name) == macOf(port) {
			return false
		}
	}
	return !n.IsWire() || !trunk && others < wireEnds
}

// number is the number in the name of a port.
func number(port string) (n int) {
	_, _ = fmt.Sscanf(port, "p%d", &n) // names are made here
	return n
}

// MACs is how many MACs the ports share: 02:c4:00:00:00:01 to :09. The last byte is also that of
// the port's address in every network.
const MACs = 9

// macOf is the MAC of a port, which is also that of others.
func macOf(port string) topo.MAC { return topo.MAC{2, 0xc4, 0, 0, 0, byte(1 + number(port)%MACs)} }

// addressOf is the address of a port, in whatever network.
func addressOf(port string) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + number(port)%MACs)})
}

// The rest applies changes and notes them for the step.

func (w *World) did(op Op) {
	w.step.Ops = append(w.step.Ops, op)
	w.step.After = append(w.step.After, w.Picture())
}

func (w *World) putTenant(name string) {
	if w.tenants[name] {
		return
	}
	w.tenants[name] = true
	w.did(PutTenant{name})
}

func (w *World) deleteTenant(name string) {
	delete(w.tenants, name)
	w.did(DeleteTenant{name})
}

func (w *World) putNetwork(n topo.Network) {
	w.putTenant(n.Tenant)
	name := n.FullName()
	if was := w.networks[name]; was != nil {
		if was.Encap == n.Encap && n.Key == 0 {
			n.Key = was.Key // it keeps the key it has
		}
		if was.Encap != n.Encap || was.Key != n.Key {
			w.free(was)
		}
	} else {
		w.generations[name]++
	}
	w.networks[name] = &n
	w.freed = slices.DeleteFunc(w.freed, func(k tunnelKey) bool { return k == tunnelKey{n.Encap, n.Key} })
	w.did(PutNetwork{n})
}

func (w *World) deleteNetwork(name string) {
	w.free(w.networks[name])
	delete(w.networks, name)
	w.did(DeleteNetwork{name})
}

func (w *World) free(n *topo.Network) {
	if n.Key != 0 {
		w.freed = append(w.freed, tunnelKey{n.Encap, n.Key})
	}
}

func (w *World) putPort(p topo.Port) {
	w.ports[p.Name] = &p
	w.did(PutPort{p})
}

func (w *World) deletePort(name string) {
	delete(w.ports, name)
	w.did(DeletePort{name})
}

// plug gives slots other iface-ids, in one transaction for those of one host.
func (w *World) plug(slots []Slot, ids []string) {
	for i, s := range slots {
		if ids[i] == "" {
			delete(w.plugged, s)
			continue
		}
		w.claims++
		w.plugged[s] = claim{ids[i], w.claims}
	}
	w.did(Plug{slots, ids})
}
