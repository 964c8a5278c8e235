package pipeline

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// world is the overlay that the golden files show: two tenants with the same
// addresses on two hosts, all three encapsulations, a trunk with different VLAN
// IDs at its two ends, one of them a switch with learned MACs behind it, an IPv6 port,
// a port on a third host, one on none, in a network that answers for it, and three
// wires: across hosts, within one, and with one end only.
func world(t testing.TB) *topo.Snapshot {
	t.Helper()
	tx := topo.Empty().Begin()
	for i := 1; i <= 3; i++ {
		tx.PutHost(topo.Host{Name: fmt.Sprintf("host%d", i), TEP: addr(fmt.Sprintf("192.168.200.%d", 19+i)), Declared: true})
	}
	tx.PutTenant(topo.Tenant{Name: "red"})
	tx.PutTenant(topo.Tenant{Name: "blue"})
	subnet := func(s ...string) (out []netip.Prefix) {
		for _, x := range s {
			out = append(out, netip.MustParsePrefix(x))
		}
		return out
	}
	tx.PutNetwork(topo.Network{Tenant: "red", Name: "web", Encap: topo.GRE, Key: 1000001, Subnets: subnet("10.1.1.0/24"), Answer: topo.AnswerDeclared})
	tx.PutNetwork(topo.Network{Tenant: "red", Name: "mgmt", Encap: topo.Geneve, Key: 9, Subnets: subnet("10.9.0.0/24")})
	tx.PutNetwork(topo.Network{Tenant: "blue", Name: "web", Encap: topo.VXLAN, Key: 1000002, Subnets: subnet("10.1.1.0/24", "fd00:1::/64")})
	mac := topo.MAC{2, 0, 0, 0, 0, 1} // the same in both tenants, on purpose
	tx.PutPort(topo.Port{Name: "red-a", MAC: mac, Network: "red/web", Addresses: []netip.Addr{addr("10.1.1.1")}})
	tx.PutPort(topo.Port{Name: "red-b", MAC: topo.MAC{2, 0, 0, 0, 0, 2}, Network: "red/web", Addresses: []netip.Addr{addr("10.1.1.2")}})
	tx.PutPort(topo.Port{Name: "blue-a", MAC: mac, Network: "blue/web", Addresses: []netip.Addr{addr("10.1.1.1"), addr("fd00:1::1")}})
	tx.PutPort(topo.Port{Name: "blue-b", MAC: topo.MAC{2, 0, 0, 0, 0, 2}, Network: "blue/web"})
	tx.PutPort(topo.Port{Name: "sw1-et1", MAC: topo.MAC{2, 0, 0, 0, 1, 1}, Profile: topo.ProfileSwitch, Trunk: &topo.Trunk{
		Native: &topo.SubPort{Network: "red/mgmt", Addresses: []netip.Addr{addr("10.9.0.1")}},
		VLANs:  []topo.SubPort{{VLAN: 10, Network: "red/web"}, {VLAN: 20, Network: "blue/web"}}}})
	tx.PutPort(topo.Port{Name: "sw2-et1", MAC: topo.MAC{2, 0, 0, 0, 1, 2}, Trunk: &topo.Trunk{
		Native: &topo.SubPort{Network: "red/mgmt", Addresses: []netip.Addr{addr("10.9.0.2")}},
		VLANs:  []topo.SubPort{{VLAN: 30, Network: "red/web", Addresses: []netip.Addr{addr("10.1.1.9")}}}}})
	tx.PutPort(topo.Port{Name: "unplugged", MAC: topo.MAC{2, 0, 0, 0, 0, 3}, Network: "red/web", Addresses: []netip.Addr{addr("10.1.1.3")}})
	for i := 1; i <= 3; i++ {
		observe(tx, i)
	}
	bind(tx, "red-a", 1, 1)
	bind(tx, "blue-a", 1, 2)
	bind(tx, "sw1-et1", 1, 3)
	bind(tx, "red-b", 2, 1)
	bind(tx, "blue-b", 2, 2)
	bind(tx, "sw2-et1", 3, 1)
	s := commit(t, tx)
	tx = s.Begin()
	learn(tx, s, "sw1-et1", "red/web", topo.MAC{2, 0, 0, 0, 2, 1})
	learn(tx, s, "sw1-et1", "blue/web", topo.MAC{2, 0, 0, 0, 2, 2})
	return wires(t, commit(t, tx))
}

// wires adds the wires, and after the rest, so that the others keep their numbers.
func wires(t testing.TB, s *topo.Snapshot) *topo.Snapshot {
	t.Helper()
	tx := s.Begin()
	tx.PutNetwork(topo.Network{Tenant: "red", Name: "wire", Type: topo.TypeWire, Encap: topo.GRE, Key: 1000003})
	tx.PutNetwork(topo.Network{Tenant: "blue", Name: "patch", Type: topo.TypeWire, Encap: topo.Geneve, Key: 10})
	tx.PutNetwork(topo.Network{Tenant: "blue", Name: "loose", Type: topo.TypeWire, Encap: topo.GRE, Key: 1000004})
	tx.PutPort(topo.Port{Name: "sw1-et2", MAC: topo.MAC{2, 0, 0, 0, 1, 3}, Profile: topo.ProfileSwitch, Network: "red/wire"})
	tx.PutPort(topo.Port{Name: "sw2-et2", MAC: topo.MAC{2, 0, 0, 0, 1, 4}, Network: "red/wire"})
	tx.PutPort(topo.Port{Name: "sw2-et3", MAC: topo.MAC{2, 0, 0, 0, 1, 5}, Network: "blue/patch"})
	tx.PutPort(topo.Port{Name: "sw3-et3", MAC: topo.MAC{2, 0, 0, 0, 1, 6}, Network: "blue/patch"})
	tx.PutPort(topo.Port{Name: "sw2-et4", MAC: topo.MAC{2, 0, 0, 0, 1, 7}, Network: "blue/loose"})
	bind(tx, "sw1-et2", 1, 4)
	bind(tx, "sw2-et2", 3, 2)
	bind(tx, "sw2-et3", 3, 3)
	bind(tx, "sw3-et3", 3, 4)
	bind(tx, "sw2-et4", 3, 5)
	return commit(t, tx)
}

// learn sees a MAC behind a port where it is bound.
func learn(tx *topo.Txn, s *topo.Snapshot, port, network string, mac topo.MAC) {
	for _, b := range s.Bindings(port)[:1] {
		tx.Learn(topo.Sighting{Network: s.Network(network).ID, MAC: mac, Port: s.Port(port).ID, Host: b.Host, OFPort: b.OFPort})
	}
}

func observe(tx *topo.Txn, host int) {
	tx.ObserveHost(fmt.Sprintf("host%d", host), addr(fmt.Sprintf("192.168.200.%d", 19+host)),
		[4]uint32{topo.GRE: 101, topo.VXLAN: 102, topo.Geneve: 103})
}

func bind(tx *topo.Txn, port string, host int, ofport uint32) {
	tx.Bind(port, topo.Binding{Host: fmt.Sprintf("host%d", host), OFPort: ofport, Interface: ifaceID(host, ofport)})
}

func ifaceID(host int, ofport uint32) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%d/%d", host, ofport))
}

func commit(t testing.TB, tx *topo.Txn) *topo.Snapshot {
	t.Helper()
	s, _, err := tx.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return s
}
