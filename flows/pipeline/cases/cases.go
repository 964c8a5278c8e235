package cases

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Declaration is what a feature of the pipeline, or a few that belong together, bring:
// how they get into an overlay, and what becomes of packets that they, or nearly
// they, are about.
type Declaration struct {
	Name string
	// Large says that it has hundreds of ports. It is not mixed with others.
	Large bool
	add   func(*builder)
}

// declarations are all there are. A new feature brings a file with its own.
var declarations = [...]Declaration{
	{Name: "classify", add: classify},
	{Name: "trunk", add: trunks},
	{Name: "tags", add: doubleTags},
	{Name: "control", add: controlFrames},
	{Name: "tunnel", add: tunnels},
	{Name: "reachability", add: reachability},
	{Name: "guard", add: guards},
	{Name: "arp", add: arps},
	{Name: "l2", add: l2},
	{Name: "learn", add: learns},
	{Name: "down", add: downPorts},
	{Name: "migrate", add: migrations},
	{Name: "wire", add: wires},
	{Name: "crowd", add: crowd, Large: true},
}

// Declarations are all declarations. The slice is the caller's.
func Declarations() []Declaration { return slices.Clone(declarations[:]) }

// Packet is a packet that comes into a switch.
type Packet struct {
	Host   string
	InPort uint32
	Tunnel *Tunnel // nil for one that a guest sends
	Frame  []byte
}

// Tunnel is how a packet came by a tunnel.
type Tunnel struct {
	Key      uint64
	Src, Dst netip.Addr
}

// Copy is what leaves a switch.
type Copy struct {
	Host  string
	Port  uint32 // flows.PortController for what the host's controller is told
	Frame []byte // nil for the controller
}

// String is the copy as a line.
func (c Copy) String() string { return fmt.Sprintf("%s port %d: %x", c.Host, c.Port, c.Frame) }

// Case is a packet and what must become of it, over all hosts.
type Case struct {
	Name string // "guard: another's MAC"
	Packet
	// By are features of which a flow takes the packet somewhere on its way, NotBy
	// those of which none does.
	By, NotBy []pipeline.Feature
	// Gets are the copies that leave by ports other than tunnels, in any order; none
	// for a packet that is dropped.
	Gets []Copy
}

// Overlay is an overlay and the cases that hold in it.
type Overlay struct {
	Snapshot *topo.Snapshot
	Cases    []*Case
	pools
}

// Size is how much there is in a random overlay.
type Size struct {
	Hosts int // MinHosts or more
	// Features is how many declarations it is mixed from. With as many as there are,
	// or more, every one is in it.
	Features int
}

// MinHosts is how many hosts an overlay has at least.
const MinHosts = 4

// Alone is an overlay with one declaration only. What a declaration leaves open
// (hosts, numbers, VLAN IDs, encapsulations, the underlay's family) differs with r.
func Alone(d Declaration, r *rand.Rand) *Overlay { return mix(r, MinHosts, []Declaration{d}) }

// Random is an overlay in which declarations share hosts and networks at random. The
// same r makes the same overlay.
func Random(r *rand.Rand, size Size) *Overlay {
	all := slices.DeleteFunc(Declarations(), func(d Declaration) bool { return d.Large })
	var ds []Declaration
	for len(ds) < size.Features {
		for _, i := range r.Perm(len(all)) {
			ds = append(ds, all[i])
		}
	}
	return mix(r, size.Hosts, ds[:size.Features])
}

// Spread is an overlay with as many ports of all kinds in as many networks on as many
// hosts, for figures of what grows with what. No packets are declared for it.
func Spread(r *rand.Rand, hosts, networks, ports int) *Overlay {
	b := newBuilder(r, hosts)
	b.name = "p"
	for range networks {
		b.private(topo.Answer(b.IntN(2)))
	}
	for range ports {
		at, i := b.pool[b.IntN(hosts)], b.IntN(networks)
		n := b.nets[i]
		switch k := b.IntN(20); {
		case k < 14:
			b.guest(n, at, pick(r, ipv4, ipv4, ipv4, ipv4, ipv4and6, nothing))
		case k < 16:
			b.station(b.bridge(n, at, 0))
		case k < 19 && networks > 2:
			b.trunk(at, topo.Profile(b.IntN(2)), b.nets[(i+1)%networks], n, b.nets[(i+2)%networks])
		case k < 19:
			b.trunk(at, topo.Profile(b.IntN(2)), nil, n)
		default:
			b.migrate(b.guest(n, at, ipv4), b.pool[b.IntN(hosts)])
		}
	}
	return b.overlay()
}

// mix is an overlay with all that is declared.
func mix(r *rand.Rand, hosts int, ds []Declaration) *Overlay {
	b := newBuilder(r, hosts)
	for i, d := range ds {
		b.name = fmt.Sprintf("%s-%d", d.Name, i)
		d.add(b)
	}
	return b.overlay()
}
