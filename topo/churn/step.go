package churn

import (
	"fmt"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Step is a few changes, to be made one after the other.
type Step struct {
	Name string
	Ops  []Op
	// After are the pictures of the world after each of Ops.
	After []Picture
}

// kind is a kind of step. make makes nothing where there is nothing for it to change.
type kind struct {
	name   string
	weight int
	make   func(*World)
}

var kinds = []kind{
	{"new network", 8, (*World).newNetwork},
	{"network goes", 2, func(w *World) { w.networkGoes() }},
	{"key is reused", 10, (*World).keyIsReused},
	{"network gets another key", 4, (*World).rekey},
	{"network is made anew", 3, (*World).madeAnew},
	{"tenant goes", 1, (*World).tenantGoes},
	{"new port", 10, (*World).newPort},
	{"port goes", 3, (*World).portGoes},
	{"port goes to another network", 8, (*World).portMoves},
	{"trunk carries other networks", 8, (*World).trunkChanges},
	{"plugged", 20, (*World).pluggedIn},
	{"unplugged", 3, (*World).unplugged},
	{"plugged elsewhere", 10, (*World).pluggedElsewhere},
	{"rivals", 3, (*World).rival},
	{"interfaces swapped", 8, (*World).swapped},
}

// Step makes the next step: its changes are in effect in w.
func (w *World) Step() Step {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	for {
		at := w.rand.IntN(total)
		i := 0
		for ; at >= kinds[i].weight; i++ {
			at -= kinds[i].weight
		}
		w.step = Step{Name: kinds[i].name}
		kinds[i].make(w)
		if len(w.step.Ops) > 0 {
			return w.step
		}
	}
}

// one is one of the list, or the zero value if it is empty.
func one[E any](w *World, list []E) E {
	if len(list) == 0 {
		var none E
		return none
	}
	return list[w.rand.IntN(len(list))]
}

// in is true once in n times.
func (w *World) in(n int) bool { return w.rand.IntN(n) == 0 }

func (w *World) shuffled(list []string) []string {
	list = slices.Clone(list)
	w.rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func (w *World) tenantNames() []string {
	var out []string
	for i := range w.size.Tenants {
		out = append(out, fmt.Sprintf("t%d", i))
	}
	return out
}

// freeName is the tenant and the name of a network that there is not, of a tenant that
// is not the one given if possible.
func (w *World) freeName(notOf string) (tenant, name string, ok bool) {
	if len(w.networks) >= w.size.Networks {
		return "", "", false
	}
	tenants := w.shuffled(w.tenantNames())
	slices.SortStableFunc(tenants, func(a, b string) int { return btoi(a == notOf) - btoi(b == notOf) })
	for _, t := range tenants {
		var free []string
		for i := range networksPerTenant {
			if n := fmt.Sprintf("n%d", i); w.networks[t+"/"+n] == nil {
				free = append(free, n)
			}
		}
		if len(free) > 0 {
			return t, one(w, free), true
		}
	}
	return "", "", false
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// freeKey is a key that no network has: mostly one that was given up a short time ago,
// sometimes 0, which asks for an allocated one.
func (w *World) freeKey() tunnelKey {
	e := topo.Encap(1 + w.rand.IntN(3))
	if w.in(5) {
		return tunnelKey{e, 0}
	}
	if n := len(w.freed); n > 0 && !w.in(3) {
		return w.freed[n-1-w.rand.IntN(min(n, 2))]
	}
	var free []uint32
	for k := uint32(1); k <= w.MaxKey(); k++ {
		if !w.taken(tunnelKey{e, k}) {
			free = append(free, k)
		}
	}
	return tunnelKey{e, one(w, free)} // none: 0
}

func (w *World) taken(k tunnelKey) bool {
	for _, n := range w.networks {
		if k.key != 0 && n.Encap == k.encap && n.Key == k.key {
			return true
		}
	}
	return false
}

// declare declares a network with a key, of another tenant than the one given if possible.
func (w *World) declare(k tunnelKey, notOf string) (full string, ok bool) {
	tenant, name, ok := w.freeName(notOf)
	if !ok {
		return "", false
	}
	n := topo.Network{Tenant: tenant, Name: name, Encap: k.encap, Key: k.key}
	if w.in(6) {
		n.Type = topo.TypeWire
	} else {
		n.Subnets = append(n.Subnets, Subnet)
		n.Answer = topo.Answer(w.rand.IntN(2))
	}
	w.putNetwork(n)
	return n.FullName(), true
}

func (w *World) newNetwork() {
	full, ok := w.declare(w.freeKey(), "")
	for range 2 {
		if ok {
			w.fill(full)
		}
	}
}

// fill puts a port into a network: one that is plugged already, if there is one that
// can be moved.
func (w *World) fill(network string) {
	for _, name := range w.shuffled(w.portNames()) {
		if _, plugged := w.bound(name); (plugged || w.in(4)) && w.fits(name, network, false) && (w.ports[name] == nil || w.in(2)) {
			w.putPort(w.access(name, network))
			return
		}
	}
}

func (w *World) portNames() []string {
	var out []string
	for i := range w.size.Ports {
		out = append(out, fmt.Sprintf("p%d", i))
	}
	return out
}

// access is a port of that name in a network.
func (w *World) access(name, network string) topo.Port {
	p := topo.Port{Name: name, MAC: macOf(name), Network: network}
	w.profile(&p)
	if !w.networks[network].IsWire() && w.in(2) {
		p.Addresses = append(p.Addresses, addressOf(name))
	}
	return p
}

// profile makes some ports those of switches, with a limit that is soon reached.
func (w *World) profile(p *topo.Port) {
	if w.in(3) {
		p.Profile, p.MACs = topo.ProfileSwitch, 1+w.rand.IntN(3)
	}
}

// VLANs are the VLAN IDs in use on trunks.
var VLANs = []uint16{10, 20, 30, 4094}

// trunk is a trunk port of that name that carries some networks; ok is false if none fits.
func (w *World) trunk(name string) (p topo.Port, ok bool) {
	p = topo.Port{Name: name, MAC: macOf(name), Trunk: &topo.Trunk{}}
	w.profile(&p)
	ids := slices.Clone(VLANs)
	w.rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	for _, network := range w.shuffled(w.Networks()) {
		if !w.fits(name, network, true) {
			continue
		}
		sub := topo.SubPort{Network: network}
		if w.in(2) {
			sub.Addresses = append(sub.Addresses, addressOf(name))
		}
		if p.Trunk.Native == nil && w.in(4) {
			p.Trunk.Native = &sub
			continue
		}
		sub.VLAN = ids[len(p.Trunk.VLANs)]
		p.Trunk.VLANs = append(p.Trunk.VLANs, sub)
		if len(p.Trunk.VLANs) == len(ids)-1 || w.in(3) {
			break
		}
	}
	slices.SortFunc(p.Trunk.VLANs, func(a, b topo.SubPort) int { return int(a.VLAN) - int(b.VLAN) })
	return p, p.Trunk.Native != nil || len(p.Trunk.VLANs) > 0
}

// place declares a port of that name, in whatever network it fits.
func (w *World) place(name string) bool {
	if w.in(2) {
		if p, ok := w.trunk(name); ok {
			w.putPort(p)
			return true
		}
	}
	for _, network := range w.shuffled(w.Networks()) {
		if w.fits(name, network, false) {
			w.putPort(w.access(name, network))
			return true
		}
	}
	return false
}

// evict takes all ports out of a network: they go, or are put into another one.
func (w *World) evict(network string) {
	for _, name := range w.members(network) {
		was := w.ports[name]
		if w.in(2) {
			w.deletePort(name)
			continue
		}
		moved := false
		for _, other := range w.shuffled(w.Networks()) {
			if moved = other != network && w.fits(name, other, false); moved {
				w.putPort(w.access(name, other))
				break
			}
		}
		if !moved && was == w.ports[name] {
			w.deletePort(name)
		}
	}
}

// networkGoes lets a network go with all that is in it, and is what it was; false if there
// is none.
func (w *World) networkGoes() (topo.Network, bool) {
	full := one(w, w.Networks())
	if full == "" {
		return topo.Network{}, false
	}
	n := *w.networks[full]
	w.evict(full)
	w.deleteNetwork(full)
	return n, true
}

// keyIsReused lets one tenant's network go and gives its key to another tenant's, at
// once, with ports that were plugged all the time.
func (w *World) keyIsReused() {
	n, ok := w.networkGoes()
	if !ok {
		return
	}
	k := tunnelKey{n.Encap, n.Key}
	if other := (tunnelKey{topo.Encap(1 + w.rand.IntN(3)), n.Key}); w.in(4) && !w.taken(other) {
		k = other // the same number in another encapsulation
	}
	if heir, ok := w.declare(k, n.Tenant); ok {
		for range 3 {
			w.fill(heir)
		}
	}
}

// rekey gives a network another key, with all its ports in it.
func (w *World) rekey() {
	full := one(w, w.Networks())
	if full == "" {
		return
	}
	n, k := *w.networks[full], w.freeKey()
	n.Encap, n.Key = k.encap, k.key
	w.putNetwork(n)
}

// madeAnew deletes a network and declares it again under its name, with its key or
// with another one.
func (w *World) madeAnew() {
	n, ok := w.networkGoes()
	if !ok {
		return
	}
	// Not a key to be allocated: made at once, that would be the one it had.
	if k := w.freeKey(); k.key != 0 && w.in(2) {
		n.Encap, n.Key = k.encap, k.key
	}
	w.putNetwork(n)
	for range 2 {
		w.fill(n.FullName())
	}
}

func (w *World) tenantGoes() {
	var there []string
	for _, t := range w.tenantNames() {
		if w.tenants[t] {
			there = append(there, t)
		}
	}
	tenant := one(w, there)
	if tenant == "" {
		return
	}
	for _, full := range w.Networks() {
		if w.networks[full].Tenant == tenant {
			w.evict(full)
			w.deleteNetwork(full)
		}
	}
	w.deleteTenant(tenant)
}

func (w *World) newPort() {
	for _, name := range w.shuffled(w.portNames()) {
		if w.ports[name] != nil || !w.place(name) {
			continue
		}
		if _, plugged := w.bound(name); !plugged {
			w.plug([]Slot{one(w, w.Slots())}, []string{name})
		}
		return
	}
}

// declared are the names of the declared ports, ascending.
func (w *World) declared() []string {
	var out []string
	for _, name := range w.portNames() {
		if w.ports[name] != nil {
			out = append(out, name)
		}
	}
	return out
}

func (w *World) portGoes() {
	if name := one(w, w.declared()); name != "" {
		w.deletePort(name)
		if w.in(3) { // and is another tenant's, at the same interface
			w.place(name)
		}
	}
}

func (w *World) portMoves() {
	if name := one(w, w.declared()); name != "" {
		w.place(name)
	}
}

// trunkChanges lets a trunk carry other networks, or the same ones by other IDs.
func (w *World) trunkChanges() {
	name := one(w, w.declared())
	if name == "" {
		return
	}
	if t := w.ports[name].Trunk; t != nil && len(t.VLANs) > 1 && w.in(2) {
		p := *w.ports[name]
		p.Trunk = &topo.Trunk{Native: t.Native, VLANs: slices.Clone(t.VLANs)}
		for i := range p.Trunk.VLANs { // each network gets the next one's ID
			p.Trunk.VLANs[i].VLAN = t.VLANs[(i+1)%len(t.VLANs)].VLAN
		}
		slices.SortFunc(p.Trunk.VLANs, func(a, b topo.SubPort) int { return int(a.VLAN) - int(b.VLAN) })
		w.putPort(p)
		return
	}
	if p, ok := w.trunk(name); ok {
		w.putPort(p)
	}
}

// pluggedIn gives a slot the iface-id of a port that is nowhere, mostly of one that is
// declared and to an empty slot; otherwise it is in the place of what the slot had.
func (w *World) pluggedIn() {
	names := w.shuffled(w.portNames())
	if !w.in(4) {
		slices.SortStableFunc(names, func(a, b string) int { return btoi(w.Declared(b)) - btoi(w.Declared(a)) })
	}
	to := one(w, w.Slots())
	if !w.in(3) && w.IfaceID(to) != "" {
		to = one(w, w.empty())
	}
	for _, name := range names {
		if _, plugged := w.bound(name); !plugged {
			w.plug([]Slot{to}, []string{name})
			return
		}
	}
}

// empty are the slots that have no iface-id; all, if there is none.
func (w *World) empty() []Slot {
	var out []Slot
	for _, s := range w.Slots() {
		if w.IfaceID(s) == "" {
			out = append(out, s)
		}
	}
	if out == nil {
		return w.Slots()
	}
	return out
}

// occupied are the slots that have an iface-id, in order.
func (w *World) occupied() []Slot {
	var out []Slot
	for _, s := range w.Slots() {
		if w.IfaceID(s) != "" {
			out = append(out, s)
		}
	}
	return out
}

func (w *World) unplugged() {
	if slots := w.occupied(); len(slots) > 0 {
		w.plug([]Slot{one(w, slots)}, []string{""})
	}
}

// pluggedElsewhere moves an iface-id to another slot, first out and then in, or the
// other way round.
func (w *World) pluggedElsewhere() {
	slots := w.occupied()
	if len(slots) == 0 {
		return
	}
	from, to := one(w, slots), one(w, w.Slots())
	id := w.IfaceID(from)
	if from == to || w.IfaceID(to) == id || w.rivals(id) > 1 {
		return
	}
	if w.in(2) {
		w.plug([]Slot{from}, []string{""})
		w.plug([]Slot{to}, []string{id})
		return
	}
	w.plug([]Slot{to}, []string{id})
	w.plug([]Slot{from}, []string{""})
}

// rival lets a second slot claim a port, which changes nothing until the first one does
// not any more.
func (w *World) rival() {
	slots := w.occupied()
	if len(slots) == 0 {
		return
	}
	id, to := w.IfaceID(one(w, slots)), one(w, w.Slots())
	if w.IfaceID(to) != id && w.rivals(id) == 1 {
		w.plug([]Slot{to}, []string{id})
	}
}

// swapped exchanges the iface-ids of two slots, so that each has the other's OpenFlow
// number.
func (w *World) swapped() {
	slots := w.occupied()
	if len(slots) < 2 {
		return
	}
	a, b := one(w, slots), one(w, slots)
	x, y := w.IfaceID(a), w.IfaceID(b)
	if x == y || w.rivals(x) > 1 || w.rivals(y) > 1 {
		return
	}
	w.plug([]Slot{a, b}, []string{y, x})
}
