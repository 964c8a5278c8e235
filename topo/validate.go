package topo

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/topo/nearest"
)

const (
	// maxSubnets and maxAddresses bound what one object may cost.
	maxSubnets   = 64
	maxAddresses = 256
	// maxInterface is IFNAMSIZ less its final zero byte.
	maxInterface = 15
	maxVLAN      = 4094 // IEEE 802.1Q section 9.6: 4095 is reserved
)

// checkObjects checks each object that differs by itself and what it names.
func (c *commit) checkObjects() {
	for _, name := range sortedKeys(c.declared) {
		if h := c.declared[name]; h != nil {
			c.checkHost(h)
		}
	}
	for _, name := range sortedKeys(c.tenants) {
		if v := c.tenants[name]; v != nil {
			c.checkName(KindTenant+" "+name, name)
		}
	}
	for _, name := range sortedKeys(c.networks) {
		if n := c.networks[name]; n != nil {
			c.checkNetwork(n)
		}
	}
	for _, name := range sortedKeys(c.ports) {
		if p := c.ports[name]; p != nil {
			c.checkPort(p)
		}
	}
}

func (c *commit) checkName(object, name string) {
	if err := CheckName(name); err != nil {
		what, hint, _ := strings.Cut(err.Error(), "; ")
		c.problems.add(&Problem{Object: object, Field: "name", What: what, Hint: hint})
	}
}

func (c *commit) checkHost(h *Host) {
	object := KindHost + " " + h.Name
	c.checkName(object, h.Name)
	if what := checkTEP(h.TEP); h.TEP.IsValid() && what != "" {
		c.problems.add(&Problem{Object: object, Field: "tep", What: fmt.Sprintf("%s cannot be a tunnel endpoint: %s", h.TEP, what),
			Hint: "give the address that the other hosts reach this one at"})
	}
}

func (c *commit) checkNetwork(n *Network) {
	object := KindNetwork + " " + n.FullName()
	c.checkName(object, n.Name)
	if c.new.Tenant(n.Tenant) == nil {
		c.problems.add(&Problem{Object: object, Field: "tenant", Other: KindTenant + " " + n.Tenant,
			What: fmt.Sprintf("there is no tenant %q", n.Tenant),
			Hint: c.suggest(KindTenant, n.Tenant, "declare the tenant, or correct the name")})
	}
	c.checkNetworkType(n)
	if len(n.Subnets) > maxSubnets {
		c.problems.add(&Problem{Object: object, Field: "subnets", What: fmt.Sprintf("%d subnets are more than %d", len(n.Subnets), maxSubnets),
			Hint: "spread them over several networks"})
		return
	}
	if n.Answer > AnswerDeclared {
		c.problems.add(&Problem{Object: object, Field: "answer", What: fmt.Sprintf("%d is no answer", uint8(n.Answer)), Hint: "use bound or declared"})
	}
	for i, p := range n.Subnets {
		field := fmt.Sprintf("subnets.%d", i)
		if what, hint := checkSubnet(p); what != "" {
			c.problems.add(&Problem{Object: object, Field: field, What: what, Hint: hint})
			continue
		}
		for _, q := range n.Subnets[:i] {
			if q.IsValid() && p.Overlaps(q) {
				c.problems.add(&Problem{Object: object, Field: field, Other: object,
					What: fmt.Sprintf("subnet %s overlaps with subnet %s of the same network", p, q),
					Hint: "make the two disjoint or remove one"})
				break
			}
		}
	}
}

func checkSubnet(p netip.Prefix) (what, hint string) {
	a := p.Addr()
	switch {
	case !p.IsValid():
		return "the subnet is no address range", "write it like 10.1.1.0/24 or 2001:db8:1::/64"
	case a.Is4In6():
		return fmt.Sprintf("subnet %s is an IPv4 range in an IPv6 address", p), "write it as IPv4"
	case p != p.Masked():
		return fmt.Sprintf("subnet %s has bits set beyond its length", p), fmt.Sprintf("write %s", p.Masked())
	case p.Bits() == 0:
		return fmt.Sprintf("subnet %s is every address there is", p), "give the range that the network uses"
	case a.IsMulticast():
		return fmt.Sprintf("subnet %s is a multicast range", p), "use a unicast range"
	case a.IsLoopback():
		return fmt.Sprintf("subnet %s is a loopback range", p), "use a range that goes over a wire"
	}
	return "", ""
}

func (c *commit) checkPort(p *Port) {
	object := KindPort + " " + p.Name
	bad := func(field, what, hint string) {
		c.problems.add(&Problem{Object: object, Field: field, What: what, Hint: hint})
	}
	c.checkName(object, p.Name)
	if _, ok := parseUUID(p.Name); ok {
		bad("name", "the name looks like a UUID, and an iface-id of that form means a port's UUID", "choose another name")
	}
	if p.MAC.IsMulticast() {
		bad("mac", fmt.Sprintf("%s is a multicast address", p.MAC), "make the first byte even, or leave the address out to have one derived")
	}
	if p.Profile > ProfileSwitch {
		bad("profile", fmt.Sprintf("%d is no profile", uint8(p.Profile)), "use host or switch")
	}
	c.checkMACs(p)
	if p.Host != "" && lookup(c.new.declared, p.Host, byHostName) == nil {
		c.problems.add(&Problem{Object: object, Field: "host", Other: KindHost + " " + p.Host,
			What: fmt.Sprintf("there is no host %q", p.Host),
			Hint: c.suggest(KindHost, p.Host, "declare the host, correct the name, or leave it out: a port is bound where its iface-id shows up")})
	}
	if p.Netns != "" {
		if err := CheckName(p.Netns); err != nil {
			what, hint, _ := strings.Cut(err.Error(), "; ")
			bad("netns", what, hint)
		}
	}
	if p.Guest != "" {
		if err := CheckName(p.Guest); err != nil {
			what, hint, _ := strings.Cut(err.Error(), "; ")
			bad("guest", what, hint)
		}
		if p.Netns != "" {
			bad("netns", fmt.Sprintf("the port is a network card of guest %s and cannot be in a namespace as well", p.Guest), "remove netns or guest")
		}
	}
	if p.Interface != "" && !validInterface(p.Interface) {
		bad("interface", fmt.Sprintf("%.40q cannot be the name of a network interface", p.Interface),
			fmt.Sprintf("use at most %d bytes without \"/\", \":\", \"%%\" and white space", maxInterface))
	}
	c.checkMigration(object, p)
	switch {
	case p.Trunk == nil && p.Network == "":
		bad("", "the port is on no network", "give it a network, or a trunk")
	case p.Trunk != nil && p.Network != "":
		bad("network", "the port has both a network and a trunk", "remove one: an untagged network of a trunk is its native one")
	case p.Trunk != nil && len(p.Addresses) > 0:
		bad("addresses", "a trunk port has no addresses of its own", "give them to its native network and its VLANs")
	case p.Trunk != nil:
		c.checkTrunk(object, p.Trunk)
	}
	for _, a := range p.attachments() {
		c.checkAttachment(object, a)
	}
}

func validInterface(name string) bool {
	return len(name) <= maxInterface && name != "." && name != ".." &&
		!strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/:%", r) })
}

func (c *commit) checkTrunk(object string, t *Trunk) {
	bad := func(field, what, hint string) {
		c.problems.add(&Problem{Object: object, Field: field, What: what, Hint: hint})
	}
	if t.Native == nil && len(t.VLANs) == 0 {
		bad("trunk", "the trunk carries nothing", "give it a native network or VLANs, or make it an access port by network")
	}
	if t.Native != nil && t.Native.VLAN != 0 {
		bad("trunk.native", fmt.Sprintf("the native network has VLAN ID %d, and its frames are untagged", t.Native.VLAN), "put the network among the VLANs instead")
	}
	where := map[string]string{}
	if t.Native != nil {
		where[t.Native.Network] = "the native network"
	}
	for i, s := range t.VLANs {
		field := fmt.Sprintf("trunk.vlans.%d", s.VLAN)
		if s.VLAN == 0 || s.VLAN > maxVLAN {
			bad(field, fmt.Sprintf("VLAN ID %d is outside 1 to %d", s.VLAN, maxVLAN), "untagged and priority-tagged (VLAN 0) frames belong to the native network; 4095 is reserved")
		}
		if i > 0 && t.VLANs[i-1].VLAN == s.VLAN {
			bad(field, fmt.Sprintf("VLAN ID %d is on the trunk twice", s.VLAN), "remove one or give it another ID")
		}
		if other, ok := where[s.Network]; ok {
			c.problems.add(&Problem{Object: object, Field: field, Other: KindNetwork + " " + s.Network,
				What: fmt.Sprintf("network %s is on the trunk twice: it is %s already", s.Network, other),
				Hint: "a network is on a trunk at most once: remove one"})
			continue
		}
		where[s.Network] = fmt.Sprintf("VLAN %d", s.VLAN)
	}
}

// checkAttachment checks that the network is there and the addresses are
// addresses; whether they fit the network is for checkRosters.
func (c *commit) checkAttachment(object string, a attachment) {
	if c.new.Network(a.network) == nil {
		hint := "declare the network, or correct the name"
		if !strings.Contains(a.network, "/") {
			hint = "name it as tenant/network"
		}
		c.problems.add(&Problem{Object: object, Field: a.field("network"), Other: KindNetwork + " " + a.network,
			What: fmt.Sprintf("there is no network %q", a.network), Hint: c.suggest(KindNetwork, a.network, hint)})
	}
	if len(a.addresses) > maxAddresses {
		c.problems.add(&Problem{Object: object, Field: a.field("addresses"),
			What: fmt.Sprintf("%d addresses are more than %d", len(a.addresses), maxAddresses), Hint: "use several ports"})
	}
}

// maxSuggestions bounds the search for what was meant, which looks at all names.
const maxSuggestions = 32

// suggest is a hint that names the object that was probably meant, or otherwise.
func (c *commit) suggest(kind, name, otherwise string) string {
	if c.suggestions++; c.suggestions > maxSuggestions {
		return otherwise
	}
	var names []string
	switch kind {
	case KindTenant:
		for _, v := range c.new.tenants {
			names = append(names, v.Name)
		}
	case KindNetwork:
		for _, v := range c.new.networks {
			names = append(names, v.FullName())
		}
	case KindHost:
		for _, v := range c.new.declared {
			names = append(names, v.Name)
		}
	}
	if meant := nearest.To(name, names); meant != "" {
		return fmt.Sprintf("did you mean %q?", meant)
	}
	return otherwise
}

// checkReferences finds unchanged objects that name one that has gone.
func (c *commit) checkReferences() {
	if anyGone(c.tenants) {
		for _, n := range c.new.networks {
			if v, ok := c.tenants[n.Tenant]; ok && v == nil && c.networks[n.FullName()] == nil {
				c.problems.add(&Problem{Object: KindTenant + " " + n.Tenant, Other: KindNetwork + " " + n.FullName(),
					What: fmt.Sprintf("the tenant still has network %s", n.FullName()), Hint: "delete the network first"})
			}
		}
	}
	if anyGone(c.declared) {
		for _, p := range c.new.ports {
			if v, ok := c.declared[p.Host]; ok && v == nil && c.ports[p.Name] == nil {
				c.problems.add(&Problem{Object: KindHost + " " + p.Host, Other: KindPort + " " + p.Name,
					What: fmt.Sprintf("port %s is still declared to be on the host", p.Name), Hint: "move or delete the port first"})
			}
			if v, ok := c.declared[p.MigrateTo]; ok && v == nil && c.ports[p.Name] == nil {
				c.problems.add(&Problem{Object: KindHost + " " + p.MigrateTo, Other: KindPort + " " + p.Name,
					What: fmt.Sprintf("port %s is still being migrated to the host", p.Name), Hint: "end the migration first: take migrate_to away from the port"})
			}
		}
	}
	for _, name := range sortedKeys(c.networks) {
		if c.networks[name] != nil {
			continue
		}
		for _, p := range c.new.PortsIn(name) {
			if c.ports[p.Name] == nil {
				c.problems.add(&Problem{Object: KindNetwork + " " + name, Other: KindPort + " " + p.Name,
					What: fmt.Sprintf("the network still has port %s", p.Name), Hint: "delete the port first or put it on another network"})
			}
		}
	}
}

func anyGone[V any](changed map[string]*V) bool {
	for _, v := range changed {
		if v == nil {
			return true
		}
	}
	return false
}

// seat is a port's part in one network, with the port.
type seat struct {
	port *Port
	attachment
}

// checkRosters checks the ports of every touched network against the network
// and each other, and gives addresses to the ports that have none.
func (c *commit) checkRosters() {
	seats := c.seats()
	names := sortedKeys(seats)
	pairs := map[[2]string]bool{}
	macs := map[string]map[MAC]*Port{}
	for _, name := range names {
		macs[name] = map[MAC]*Port{}
		for _, s := range seats[name] {
			if s.port.MAC.IsZero() {
				continue
			}
			other := macs[name][s.port.MAC]
			if other == nil {
				macs[name][s.port.MAC] = s.port
				continue
			}
			c.clashMAC(name, s.port, other, pairs)
		}
	}
	for _, p := range c.needMAC {
		c.deriveMAC(p, macs)
	}
	for _, name := range names {
		switch n := c.new.Network(name); {
		case n == nil:
		case n.IsWire():
			c.checkWire(n, seats[name])
		default:
			c.checkAddresses(n, seats[name])
		}
	}
}

// seats are the parts of ports in the touched networks, by network and port name.
func (c *commit) seats() map[string][]seat {
	ports := map[string]*Port{}
	for name := range c.touched {
		for _, p := range c.new.PortsIn(name) {
			ports[p.Name] = p
		}
	}
	out := map[string][]seat{}
	for _, name := range sortedKeys(ports) {
		for _, a := range ports[name].attachments() {
			if c.touched[a.network] {
				out[a.network] = append(out[a.network], seat{ports[name], a})
			}
		}
	}
	return out
}

// suspect orders the two sides of a clash: the one that is to be complained
// about is one that was put in this Txn.
func (c *commit) suspect(p, other *Port) (*Port, *Port) {
	if c.ports[p.Name] == nil && c.ports[other.Name] != nil {
		return other, p
	}
	return p, other
}

func (c *commit) clashMAC(network string, p, other *Port, pairs map[[2]string]bool) {
	p, other = c.suspect(p, other)
	pair := [2]string{p.Name, other.Name}
	if p == other || pairs[pair] { // on the trunk twice, or the same two in another network
		return
	}
	pairs[pair] = true
	c.problems.add(&Problem{Object: KindPort + " " + p.Name, Field: "mac", Other: KindPort + " " + other.Name,
		What: fmt.Sprintf("Ethernet address %s is already that of port %s in network %s", p.MAC, other.Name, network),
		Hint: "give one of the two another address, or leave it out to have one derived from the port's name"})
}

// deriveMAC gives p the first of its derived addresses that is free in all its networks.
func (c *commit) deriveMAC(p *Port, macs map[string]map[MAC]*Port) {
	for i := range macAttempts {
		m := DeriveMAC(p.Name, i)
		taken := slices.ContainsFunc(p.attachments(), func(a attachment) bool { return macs[a.network][m] != nil })
		if taken {
			continue
		}
		p.MAC = m
		for _, a := range p.attachments() {
			macs[a.network][m] = p
		}
		return
	}
	c.problems.add(&Problem{Object: KindPort + " " + p.Name, Field: "mac",
		What: fmt.Sprintf("all %d addresses derived from the port's name are taken", macAttempts), Hint: "give it an address"})
}

func (c *commit) checkAddresses(n *Network, seats []seat) {
	owners := map[netip.Addr]seat{}
	for _, s := range seats {
		for i, a := range s.addresses {
			field := s.field(fmt.Sprintf("addresses.%d", i))
			if what, hint := checkAddress(n, a); what != "" {
				c.problems.add(&Problem{Object: KindPort + " " + s.port.Name, Field: field, Other: KindNetwork + " " + n.FullName(), What: what, Hint: hint})
				continue
			}
			other, taken := owners[a]
			if !taken {
				owners[a] = s
				continue
			}
			p, q := c.suspect(s.port, other.port)
			if p != s.port {
				field = other.field(fmt.Sprintf("addresses.%d", slices.Index(other.addresses, a)))
			}
			c.problems.add(&Problem{Object: KindPort + " " + p.Name, Field: field, Other: KindPort + " " + q.Name,
				What: fmt.Sprintf("address %s is already that of port %s in network %s", a, q.Name, n.FullName()),
				Hint: "give one of the two another address"})
		}
	}
}

// checkAddress says why a guest in the network cannot have the address, "" if it can.
func checkAddress(n *Network, a netip.Addr) (what, hint string) {
	switch {
	case !a.IsValid():
		return "the address is empty", "write it like 10.1.1.1 or 2001:db8:1::1, without a length"
	case a.Zone() != "":
		return fmt.Sprintf("address %s has a zone", a), "leave the zone out"
	case len(n.Subnets) == 0:
		return fmt.Sprintf("address %s is in network %s, which has no subnets", a, n.FullName()), "give the network a subnet that holds it"
	}
	i := slices.IndexFunc(n.Subnets, func(p netip.Prefix) bool { return p.Contains(a) })
	if i < 0 {
		return fmt.Sprintf("address %s is outside the subnets of network %s (%s)", a, n.FullName(), joined(n.Subnets)), "choose one inside, or add a subnet"
	}
	p := n.Subnets[i]
	hostBits := a.BitLen() - p.Bits()
	if hostBits < 2 { // RFC 3021, RFC 6164: both addresses of a pair are usable
		return "", ""
	}
	if a == p.Addr() && a.Is4() {
		return fmt.Sprintf("address %s is the network address of %s", a, p), "choose one above it"
	}
	if a == p.Addr() {
		return fmt.Sprintf("address %s is the subnet-router anycast address of %s (RFC 4291 section 2.6.1)", a, p), "choose one above it"
	}
	if a.Is4() && !p.Contains(a.Next()) {
		return fmt.Sprintf("address %s is the broadcast address of %s", a, p), "choose one below it"
	}
	return "", ""
}

func joined(subnets []netip.Prefix) string {
	var parts []string
	for i, p := range subnets {
		if i == 4 {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, p.String())
	}
	return strings.Join(parts, ", ")
}
