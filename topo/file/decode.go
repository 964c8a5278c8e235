package file

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

func (d *decoder) document(root ast.Node) {
	if root == nil {
		d.fail(position{1, 1}, "the file is empty", "a topology needs at least a name, like: {name: lab1}")
		return
	}
	fs, ok := d.mapping(root, "the topology", "name", "underlay", "hosts", "tenants", "ports", "kinds", "guests")
	if !ok {
		return
	}
	d.file.Name = d.name(fs, "the topology")
	if n, ok := fs.values["underlay"]; ok {
		d.underlay(n)
	}
	for _, n := range fs.list("hosts") {
		d.host(n)
	}
	for _, n := range fs.list("tenants") {
		d.tenant(n)
	}
	for _, n := range fs.list("ports") {
		d.port(n)
	}
	for i, n := range fs.list("kinds") {
		if i == MaxKinds {
			d.fail(nodeAt(n), fmt.Sprintf("there are more than %d kinds", MaxKinds), "give attributes that only one guest has to the guest itself")
			break
		}
		d.kind(n)
	}
	for _, n := range fs.list("guests") {
		d.guest(n)
	}
}

// name is the name in a mapping, which must be there and be one.
func (d *decoder) name(fs *fields, what string) string {
	n, ok := fs.values["name"]
	if !ok {
		if !fs.has("name") {
			d.fail(fs.at, what+" has no name", "add a name")
		}
		return ""
	}
	before := d.count
	name := fs.text("name")
	if err := topo.CheckName(name); err != nil && d.count == before {
		w, hint, _ := strings.Cut(err.Error(), "; ")
		d.fail(nodeAt(n), what+": "+w, hint)
		return ""
	}
	return name
}

// declare begins an object: its name, its place, and that there is no other of the name.
func (d *decoder) declare(fs *fields, kind, within string) (name string, ok bool) {
	name = d.name(fs, "a "+kind)
	if name == "" {
		return "", false
	}
	object := kind + " " + within + name
	if first, twice := d.file.positions[place{object, ""}]; twice {
		d.fail(nodeAt(fs.values["name"]), fmt.Sprintf("%s is declared twice, first in line %d", object, first.line), "rename or remove one")
		return "", false
	}
	fs.what = object
	fs.of(object, "")
	return name, true
}

func (d *decoder) underlay(n ast.Node) {
	fs, _ := d.mapping(n, "the underlay", "subnet", "subnets", "mtu")
	before := d.count
	if n, ok := fs.values["subnet"]; ok {
		d.file.Underlay.Subnets = append(d.file.Underlay.Subnets, parsedNode(fs, "subnet", n, parsePrefix))
		if other, ok := fs.values["subnets"]; ok {
			d.fail(nodeAt(other), "the underlay has both subnet and subnets", "put all of them in subnets")
		}
	}
	d.file.Underlay.Subnets = append(d.file.Underlay.Subnets, parsedList(fs, "subnets", parsePrefix)...)
	if d.count > before {
		d.file.Underlay.Subnets = nil // nothing is outside of what is not known
	}
	if _, ok := fs.values["mtu"]; ok {
		before := d.count
		mtu := int(parsed(fs, "mtu", number(65535)))
		if d.count == before {
			d.file.Underlay.MTU = mtu
		}
	}
}

func (d *decoder) host(n ast.Node) {
	fs, ok := d.mapping(n, "a host", "name", "uuid", "tep")
	if !ok {
		return
	}
	name, ok := d.declare(fs, topo.KindHost, "")
	if !ok {
		return
	}
	if !fs.has("tep") {
		d.fail(fs.at, fs.what+" has no tep", "give the address of its tunnel endpoint, like tep: 192.0.2.1")
	}
	d.file.Topology.Hosts = append(d.file.Topology.Hosts, topo.Host{
		Name: name, UUID: parsed(fs, "uuid", parseUUID), TEP: parsed(fs, "tep", parseAddr), Declared: true})
}

func (d *decoder) tenant(n ast.Node) {
	fs, ok := d.mapping(n, "a tenant", "name", "uuid", "networks")
	if !ok {
		return
	}
	name, ok := d.declare(fs, topo.KindTenant, "")
	if !ok {
		return
	}
	d.file.Topology.Tenants = append(d.file.Topology.Tenants, topo.Tenant{Name: name, UUID: parsed(fs, "uuid", parseUUID)})
	for _, n := range fs.list("networks") {
		d.network(n, name)
	}
}

func (d *decoder) network(n ast.Node, tenant string) {
	fs, ok := d.mapping(n, "a network", "name", "uuid", "type", "encap", "key", "carrier", "subnets", "answer")
	if !ok {
		return
	}
	name, ok := d.declare(fs, topo.KindNetwork, tenant+"/")
	if !ok {
		return
	}
	v := topo.Network{
		Tenant: tenant, Name: name,
		UUID:    parsed(fs, "uuid", parseUUID),
		Type:    parsed(fs, "type", topo.ParseNetworkType),
		Encap:   parsed(fs, "encap", topo.ParseEncap),
		Carrier: parsed(fs, "carrier", topo.ParseCarrier),
		Subnets: parsedList(fs, "subnets", parsePrefix),
		Answer:  parsed(fs, "answer", topo.ParseAnswer),
	}
	if n, ok := fs.values["key"]; ok {
		v.Key = d.key(fs, n, v.Encap)
	}
	d.file.Topology.Networks = append(d.file.Topology.Networks, v)
}

// key is a tunnel key that was written out. 0 is refused here: further on it
// stands for one that is to be allocated.
func (d *decoder) key(fs *fields, n ast.Node, e topo.Encap) uint32 {
	lowest, highest := e.KeyRange()
	if !e.Valid() { // reported already
		lowest, highest = 1, topo.MaxGREKey
	}
	return parsedNode(fs, "key", n, func(s string) (uint32, error) {
		k, err := number(uint64(highest))(s)
		if err != nil || k < uint64(lowest) {
			return 0, fmt.Errorf("%q is outside %d to %d, the range of tunnel keys of %s; choose a key in the range, or leave it out to have one allocated",
				clip(s), lowest, highest, encapName(e))
		}
		return uint32(k), nil
	})
}

func encapName(e topo.Encap) string {
	if e.Valid() {
		return e.String()
	}
	return "any encapsulation"
}

func (d *decoder) port(n ast.Node) {
	fs, ok := d.mapping(n, "a port", "name", "uuid", "mac", "profile", "macs", "network", "addresses", "trunk", "host", "netns", "interface", "guest", "migrate_to")
	if !ok {
		return
	}
	name, ok := d.declare(fs, topo.KindPort, "")
	if !ok {
		return
	}
	v := topo.Port{
		Name:      name,
		UUID:      parsed(fs, "uuid", parseUUID),
		MAC:       parsed(fs, "mac", parseMAC),
		Profile:   parsed(fs, "profile", topo.ParseProfile),
		MACs:      parsed(fs, "macs", parseMACs),
		Network:   fs.text("network"),
		Addresses: parsedList(fs, "addresses", parseAddr),
		Host:      fs.text("host"),
		Netns:     fs.text("netns"),
		Interface: fs.text("interface"),
		Guest:     fs.text("guest"),
		MigrateTo: fs.text("migrate_to"),
	}
	if n, ok := fs.values["trunk"]; ok {
		v.Trunk = d.trunk(n, fs.object)
	}
	d.file.Topology.Ports = append(d.file.Topology.Ports, v)
}

func (d *decoder) trunk(n ast.Node, object string) *topo.Trunk {
	fs, ok := d.mapping(n, "the trunk of "+object, "native", "vlans")
	if !ok {
		d.spoil(object, "trunk")
		return nil
	}
	fs.of(object, "trunk.")
	t := &topo.Trunk{}
	if n, ok := fs.values["native"]; ok {
		s := d.subPort(n, object, "trunk.native", "the native network of "+object)
		t.Native = &s
	}
	if n, ok := fs.values["vlans"]; ok {
		t.VLANs = d.vlans(n, object)
	}
	return t
}

func (d *decoder) vlans(n ast.Node, object string) []topo.SubPort {
	entries, ok := d.entries(n, "vlans of "+object)
	if !ok {
		d.spoil(object, "trunk.vlans")
	}
	var out []topo.SubPort
	seen := map[uint64]position{}
	for _, e := range entries {
		id, err := number(4094)(e.key)
		if err != nil || id == 0 {
			d.fail(e.at, fmt.Sprintf("VLAN ID %q of %s is outside 1 to 4094", clip(e.key), object),
				"untagged and priority-tagged (VLAN 0) frames belong to the native network; 4095 is reserved")
			d.spoil(object, "trunk.vlans")
			continue
		}
		if first, twice := seen[id]; twice {
			d.fail(e.at, fmt.Sprintf("VLAN ID %d is on the trunk of %s twice, first in line %d", id, object, first.line), "remove one or give it another ID")
			continue
		}
		seen[id] = e.at
		field := fmt.Sprintf("trunk.vlans.%d", id)
		s := d.subPort(e.value, object, field, fmt.Sprintf("VLAN %d of %s", id, object))
		d.file.positions[place{object, field}] = e.at
		s.VLAN = uint16(id)
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b topo.SubPort) int { return int(a.VLAN) - int(b.VLAN) })
	return out
}

// subPort is one network of a trunk: its full name, or a mapping with addresses.
func (d *decoder) subPort(n ast.Node, object, path, what string) (s topo.SubPort) {
	if v, ok := n.(*ast.StringNode); ok {
		d.file.positions[place{object, path}] = nodeAt(n)
		d.file.positions[place{object, path + ".network"}] = nodeAt(n)
		s.Network = v.Value
		return s
	}
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default:
		d.fail(nodeAt(n), fmt.Sprintf("%s must be a network, not %s", what, kindOf(n)), "write tenant/network, or {network: tenant/network, addresses: [...]}")
		d.spoil(object, path)
		return s
	}
	fs, _ := d.mapping(n, what, "network", "addresses")
	fs.of(object, path+".")
	s.Network = fs.text("network")
	if _, ok := fs.values["network"]; !ok {
		if !fs.has("network") {
			d.fail(fs.at, what+" has no network", "write {network: tenant/network, addresses: [...]}")
		}
		d.spoil(object, path)
	}
	s.Addresses = parsedList(fs, "addresses", parseAddr)
	return s
}

// number reads a decimal or 0x hexadecimal number up to highest. A leading zero
// is refused, since half the world reads it as octal.
func number(highest uint64) func(string) (uint64, error) {
	return func(s string) (uint64, error) {
		digits, base := s, 10
		if hex, ok := strings.CutPrefix(s, "0x"); ok {
			digits, base = hex, 16
		}
		v, err := strconv.ParseUint(digits, base, 64)
		if err != nil || v > highest || base == 10 && len(s) > 1 && s[0] == '0' {
			return 0, fmt.Errorf("%q is no number from 0 to %d; write it in decimal or as 0x…", clip(s), highest)
		}
		return v, nil
	}
}

// parseMACs reads the limit of a port's learned source MACs.
func parseMACs(s string) (int, error) {
	n, err := number(topo.MaxMACs)(s)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no number of source MACs from 1 to %d; leave it out for %d", clip(s), topo.MaxMACs, topo.DefaultMACs)
	}
	return int(n), nil
}

func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, fmt.Errorf("%q is no address; write it like 10.1.1.1 or 2001:db8::1, without a length", clip(s))
	}
	return a.Unmap(), nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is no address range; write it like 10.1.1.0/24 or 2001:db8:1::/64", clip(s))
	}
	return p, nil
}

func parseMAC(s string) (topo.MAC, error) {
	m, err := topo.ParseMAC(s)
	if err == nil && m.IsZero() {
		return m, fmt.Errorf("the address is all zeros; leave it out to have one derived from the port's name")
	}
	return m, err
}

func parseUUID(s string) (uuid.UUID, error) {
	u, err := uuid.Parse(s)
	if err != nil || len(s) != 36 || u == uuid.Nil {
		return uuid.Nil, fmt.Errorf("%q is no UUID; leave it out to have one derived from the name", clip(s))
	}
	return u, nil
}
