package topo_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func iface(n byte) uuid.UUID { return uuid.UUID{0xff, n} }

func bound(host string, ofport uint32, n byte) topo.Binding {
	return topo.Binding{Host: host, OFPort: ofport, Interface: iface(n)}
}

// twoTenants is two hosts and two tenants with the same addresses.
func twoTenants() topo.Topology {
	subnets := []netip.Prefix{netip.MustParsePrefix("10.1.1.0/24")}
	return topo.Topology{
		Hosts:   []topo.Host{{Name: "h1", TEP: addr("192.0.2.1")}, {Name: "h2", TEP: addr("192.0.2.2")}},
		Tenants: []topo.Tenant{{Name: "red"}, {Name: "blue"}},
		Networks: []topo.Network{
			{Tenant: "red", Name: "web", Encap: topo.GRE, Key: 7, Subnets: subnets},
			{Tenant: "red", Name: "db", Encap: topo.Geneve},
			{Tenant: "blue", Name: "web", Encap: topo.VXLAN, Key: 7, Subnets: subnets},
		},
		Ports: []topo.Port{
			{Name: "red-a", Network: "red/web", Addresses: []netip.Addr{addr("10.1.1.1")}},
			{Name: "red-b", Network: "red/web", Addresses: []netip.Addr{addr("10.1.1.2")}},
			{Name: "blue-a", Network: "blue/web", Addresses: []netip.Addr{addr("10.1.1.1")}},
			{Name: "sw", Profile: topo.ProfileSwitch, Trunk: &topo.Trunk{
				Native: &topo.SubPort{Network: "red/db"},
				VLANs:  []topo.SubPort{{VLAN: 20, Network: "blue/web"}, {VLAN: 10, Network: "red/web"}}}},
		},
	}
}

func replace(t *testing.T, s *topo.Snapshot, tp topo.Topology) *topo.Snapshot {
	t.Helper()
	return commit(t, s, func(x *topo.Txn) { x.Replace(tp) })
}

func commit(t *testing.T, s *topo.Snapshot, f func(*topo.Txn)) *topo.Snapshot {
	t.Helper()
	x := s.Begin()
	f(x)
	next, changes, err := x.Commit()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(changes, topo.Compare(s, next)); d != "" {
		t.Fatal("Commit's changes are not Compare's:", d)
	}
	return next
}

// refused commits f, wants it refused, and returns the problems as lines.
func refused(t *testing.T, s *topo.Snapshot, f func(*topo.Txn)) string {
	t.Helper()
	before, _ := json.Marshal(s.Desired())
	x := s.Begin()
	f(x)
	next, changes, err := x.Commit()
	if err == nil {
		t.Fatal("the commit was not refused")
	}
	after, _ := json.Marshal(s.Desired())
	if next != s || !changes.Empty() || string(before) != string(after) {
		t.Fatal("a refused commit changed something")
	}
	return err.Error()
}

func wantIn(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("no %q in:\n%s", p, text)
		}
	}
}

func members(s *topo.Snapshot, network string) []string {
	var out []string
	for _, m := range s.Segment(s.Network(network).ID).Members {
		out = append(out, m.Port.Name+"@"+m.Host.Name)
	}
	return out
}

func want(t *testing.T, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestReplaceKeepsIdentity(t *testing.T) {
	a := replace(t, topo.Empty(), twoTenants())
	if b := replace(t, a, twoTenants()); a != b {
		t.Error("the same topology made another snapshot")
	}
	tp := twoTenants()
	tp.Networks[1].Subnets = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")}
	tp.Ports = tp.Ports[1:]
	b := replace(t, a, tp)
	n, m := a.Network("red/db"), b.Network("red/db")
	if n.ID != m.ID || n.UUID != m.UUID || n.Key != m.Key || n.Key != topo.FirstAllocatedVNI || !m.KeyAllocated {
		t.Errorf("%+v became %+v", n, m)
	}
	if b.Port("red-a") != nil || a.Port("red-b") != b.Port("red-b") || a.Network("red/web") != b.Network("red/web") {
		t.Error("what was to stay did not, or the other way round")
	}
	c := replace(t, b, twoTenants())
	if c.Port("red-a").ID <= a.Port("sw").ID || c.Port("red-a").MAC != a.Port("red-a").MAC {
		t.Error("a new port has an old ID, or another derived MAC")
	}
	kind, name, ok := c.ObjectByID(c.Network("red/web").ID)
	want(t, []any{kind, name, ok}, []any{"network", "red/web", true})
	if _, _, ok := c.ObjectByID(a.Port("red-a").ID); ok {
		t.Error("the ID of a deleted port still names something")
	}
	want(t, c.Encaps(), []topo.Encap{topo.GRE, topo.VXLAN, topo.Geneve})
	if c.NetworkByKey(topo.VXLAN, 7) != c.Network("blue/web") || c.NetworkByKey(topo.Geneve, 7) != nil {
		t.Error("the index of keys is wrong")
	}
}

func TestBindingsMakeMembers(t *testing.T) {
	s := replace(t, topo.Empty(), twoTenants())
	next := commit(t, s, func(x *topo.Txn) {
		x.Bind("red-a", bound("h1", 5, 1))
		x.Bind(strings.ToUpper(s.Port("red-b").UUID.String()), bound("h2", 5, 2))
		x.Bind("sw", bound("h2", 6, 3))
	})
	want(t, members(next, "red/web"), []string{"red-a@h1", "red-b@h2", "sw@h2"})
	want(t, members(next, "red/db"), []string{"sw@h2"})
	if len(next.SegmentsOn("h1")) != 1 || len(next.SegmentsOn("h2")) != 3 || next.HasMember("h1", s.Network("red/db").ID) {
		t.Error("the segments of the hosts are wrong")
	}
	// One more binding in one network leaves the others and the members as they are.
	last := commit(t, next, func(x *topo.Txn) { x.Bind("blue-a", bound("h1", 7, 4)) })
	id := s.Network("red/web").ID
	if last.Segment(id) != next.Segment(id) {
		t.Error("a segment that nothing happened to is another one")
	}
	blue := s.Network("blue/web").ID
	if slices.Index(last.Segment(blue).Members, next.Segment(blue).Members[0]) < 0 {
		t.Error("a member that nothing happened to is another one")
	}
	// A host that changes replaces its members, and no others.
	moved := commit(t, last, func(x *topo.Txn) { x.ObserveHost("h2", addr("192.0.2.2"), [4]uint32{topo.GRE: 1}) })
	was, is := last.Segment(id).Members, moved.Segment(id).Members
	if was[0] != is[0] || was[1] == is[1] || is[1].Host.Tunnel(topo.GRE) != 1 {
		t.Error("the members of a changed host are wrong")
	}
	gone := commit(t, moved, func(x *topo.Txn) { x.ForgetHost("h2") })
	want(t, members(gone, "red/web"), []string{"red-a@h1"})
	if len(gone.SegmentsOn("h2")) != 0 || gone.Host("h2") == nil {
		t.Error("a declared host was forgotten, or its segments were not")
	}
}

func TestRivalClaims(t *testing.T) {
	s := replace(t, topo.Empty(), twoTenants())
	s = commit(t, s, func(x *topo.Txn) { x.Bind("red-a", bound("h2", 5, 1)) })
	both := commit(t, s, func(x *topo.Txn) { x.Bind("red-a", bound("h1", 9, 2)) })
	want(t, both.Bindings("red-a"), []topo.Binding{bound("h2", 5, 1), bound("h1", 9, 2)})
	want(t, both.Conflicts(), []topo.Conflict{{Port: "red-a", Bindings: both.Bindings("red-a")}})
	c := topo.Compare(s, both)
	want(t, c, topo.Changes{Bindings: []string{"red-a"}})
	// Seen again, and with another number: the first claim keeps its place.
	again := commit(t, both, func(x *topo.Txn) { x.Bind("red-a", bound("h2", 6, 1)) })
	want(t, again.Bindings("red-a")[0], bound("h2", 6, 1))
	// The first goes and the rival takes effect in the same commit.
	after := commit(t, again, func(x *topo.Txn) { x.Unbind("h2", iface(1)) })
	want(t, members(after, "red/web"), []string{"red-a@h1"})
}

func TestPortNumberReuse(t *testing.T) {
	s := replace(t, topo.Empty(), twoTenants())
	s = commit(t, s, func(x *topo.Txn) { x.Bind("red-a", bound("h1", 5, 1)) })
	s = commit(t, s, func(x *topo.Txn) { x.Bind("blue-a", bound("h1", 5, 2)) })
	want(t, len(s.Bindings("red-a")), 0)
	want(t, members(s, "red/web"), []string(nil))
	want(t, members(s, "blue/web"), []string{"blue-a@h1"})
	// The same interface with another iface-id ends its old claim.
	s = commit(t, s, func(x *topo.Txn) { x.Bind("red-b", bound("h1", 5, 2)) })
	want(t, members(s, "blue/web"), []string(nil))
	want(t, members(s, "red/web"), []string{"red-b@h1"})
	// A number that is none unbinds.
	s = commit(t, s, func(x *topo.Txn) { x.Bind("red-b", bound("h1", 0, 2)) })
	want(t, members(s, "red/web"), []string(nil))
}

func TestUnclaimed(t *testing.T) {
	tp := twoTenants()
	ports := tp.Ports
	tp.Ports = nil
	s := replace(t, topo.Empty(), tp)
	s = commit(t, s, func(x *topo.Txn) { x.Bind("red-a", bound("h9", 5, 1)) })
	want(t, s.Unclaimed(), []topo.Claim{{IfaceID: "red-a", Binding: bound("h9", 5, 1)}})
	s = commit(t, s, func(x *topo.Txn) { x.PutPort(ports[0]) })
	want(t, len(s.Unclaimed()), 0)
	want(t, members(s, "red/web"), []string{"red-a@h9"})
	s = commit(t, s, func(x *topo.Txn) {
		if err := x.DeletePort("red-a"); err != nil {
			t.Error(err)
		}
		if err := x.DeletePort("red-a"); !errors.Is(err, topo.ErrNotFound) {
			t.Error("deleted twice:", err)
		}
	})
	want(t, len(s.Unclaimed()), 1)
	want(t, members(s, "red/web"), []string(nil))
}

func TestHosts(t *testing.T) {
	s := replace(t, topo.Empty(), twoTenants())
	s = commit(t, s, func(x *topo.Txn) {
		x.ObserveHost("h1", addr("192.0.2.77"), [4]uint32{}) // declared otherwise
		x.ObserveHost("kvm", addr("192.0.2.3"), [4]uint32{})
	})
	s = commit(t, s, func(x *topo.Txn) { x.ObserveHost("liar", addr("192.0.2.3"), [4]uint32{}) })
	want(t, s.Host("h1").TEP, addr("192.0.2.1"))
	want(t, s.Host("kvm").TEP, addr("192.0.2.3"))
	if s.Host("liar").TEP.IsValid() || s.Host("kvm").Declared {
		t.Error("a host has another's TEP, or is declared by joining")
	}
	var objects []string
	for _, p := range s.HostProblems() {
		objects = append(objects, p.Object+"|"+p.Other)
	}
	want(t, objects, []string{"host h1|", "host liar|host kvm"})
	// The owner goes: the address is free.
	s = commit(t, s, func(x *topo.Txn) { x.ForgetHost("kvm") })
	want(t, s.Host("liar").TEP, addr("192.0.2.3"))
	if s.Host("kvm") != nil {
		t.Error("an undeclared host that was forgotten is still there")
	}
	id := s.Host("liar").ID
	s = commit(t, s, func(x *topo.Txn) { x.PutHost(topo.Host{Name: "liar", TEP: addr("192.0.2.4")}) })
	if h := s.Host("liar"); h.ID != id || !h.Declared || h.TEP != addr("192.0.2.4") {
		t.Errorf("declaring an observed host made %+v", h)
	}
	wantIn(t, refused(t, s, func(x *topo.Txn) { x.PutHost(topo.Host{Name: "x", TEP: addr("192.0.2.1")}) }),
		"host x: tep: tunnel endpoint 192.0.2.1 is already that of host h1")
	wantIn(t, refused(t, s, func(x *topo.Txn) { x.ObserveHost("../etc", netip.Addr{}, [4]uint32{}) }), "host ../etc: name")
}

func TestKeys(t *testing.T) {
	s := replace(t, topo.Empty(), twoTenants())
	s = commit(t, s, func(x *topo.Txn) { x.Bind("red-a", bound("h1", 5, 1)) })
	put := func(name string, e topo.Encap, key uint32) func(*topo.Txn) {
		return func(x *topo.Txn) { x.PutNetwork(topo.Network{Tenant: "red", Name: name, Encap: e, Key: key}) }
	}
	wantIn(t, refused(t, s, put("x", topo.GRE, 7)), "network red/x: key: gre key 7 is already that of network red/web")
	wantIn(t, refused(t, s, put("x", topo.VXLAN, 1<<24)), "16777216 is outside 1 to 16777215, the range of vxlan")
	wantIn(t, refused(t, s, put("x", 0, 1)), "network red/x: encap")
	s = commit(t, s, put("top", topo.GRE, topo.MaxGREKey))

	// Another encapsulation: the ID stays, the old key is retired.
	was := s.Network("red/web")
	s = commit(t, s, func(x *topo.Txn) {
		n := *was
		n.Encap = topo.VXLAN
		n.Key = 8
		x.PutNetwork(n)
	})
	if s.Network("red/web").ID != was.ID {
		t.Error("the ID went with the encapsulation")
	}
	want(t, s.RetiredKeys(), []topo.RetiredKey{{Encap: topo.GRE, Key: 7, Network: "red/web", Revision: s.Revision(), Hosts: []string{"h1"}}})
	wantIn(t, refused(t, s, put("x", topo.GRE, 7)), "given up by network red/web", "it was on h1", "wait until")
	early := commit(t, s, func(x *topo.Txn) { x.PutTenant(topo.Tenant{Name: "late"}); x.ReleaseKeys(s.Revision() - 1) })
	wantIn(t, refused(t, early, put("x", topo.GRE, 7)), "given up by network red/web")
	// Its own network may have it back, and after the release anybody.
	back := commit(t, s, func(x *topo.Txn) { n := *was; x.PutNetwork(n) })
	if isRetired(back, topo.GRE, 7) || !isRetired(back, topo.VXLAN, 8) {
		t.Error("retired after the return:", back.RetiredKeys())
	}
	free := commit(t, s, func(x *topo.Txn) { x.ReleaseKeys(s.Revision()); put("x", topo.GRE, 7)(x) })
	want(t, free.Network("red/x").Key, uint32(7))

	// Given up and asked for in one change: to wait and try again would not help.
	wantIn(t, refused(t, s, func(x *topo.Txn) {
		put("top", topo.GRE, 9)(x)
		put("x", topo.GRE, topo.MaxGREKey)(x)
	}), "network red/x: key", "red/top, which gives it up in the same change", "a change of its own first")

	// Allocation is lowest first, and passes what is used or retired.
	s = commit(t, s, func(x *topo.Txn) {
		put("g1", topo.GRE, topo.FirstAllocatedGREKey+1)(x)
		put("g0", topo.GRE, 0)(x)
		put("g2", topo.GRE, 0)(x)
	})
	want(t, []uint32{s.Network("red/g0").Key, s.Network("red/g2").Key}, []uint32{topo.FirstAllocatedGREKey, topo.FirstAllocatedGREKey + 2})
	s = commit(t, s, func(x *topo.Txn) {
		if err := x.DeleteNetwork("red/g0"); err != nil {
			t.Error(err)
		}
		put("g3", topo.GRE, 0)(x)
	})
	want(t, s.Network("red/g3").Key, topo.FirstAllocatedGREKey+3)
	s = commit(t, s, func(x *topo.Txn) { x.ReleaseKeys(s.Revision()); put("g4", topo.GRE, 0)(x) })
	want(t, s.Network("red/g4").Key, topo.FirstAllocatedGREKey)
}

func isRetired(s *topo.Snapshot, e topo.Encap, key uint32) bool {
	return slices.ContainsFunc(s.RetiredKeys(), func(r topo.RetiredKey) bool { return r.Encap == e && r.Key == key })
}

func TestDerivedMAC(t *testing.T) {
	first, second := topo.DeriveMAC("b", 0), topo.DeriveMAC("b", 1)
	if first.IsMulticast() || first[0]&2 == 0 || first == second {
		t.Error("derived:", first, second)
	}
	tp := twoTenants()
	tp.Ports = []topo.Port{{Name: "a", MAC: first, Network: "red/web"}, {Name: "b", Network: "red/web"}, {Name: "c", MAC: first, Network: "blue/web"}}
	s := replace(t, topo.Empty(), tp)
	want(t, s.Port("b").MAC, second)
	// It stays when the clash is gone.
	tp.Ports = tp.Ports[1:]
	want(t, replace(t, s, tp).Port("b").MAC, second)
	wantIn(t, refused(t, s, func(x *topo.Txn) { x.PutPort(topo.Port{Name: "z", MAC: second, Network: "red/web"}) }),
		"port z: mac: Ethernet address "+second.String()+" is already that of port b in network red/web")
	// The one that is new is the one to complain about, whatever the names.
	wantIn(t, refused(t, s, func(x *topo.Txn) { x.PutPort(topo.Port{Name: "A", MAC: second, Network: "red/web"}) }), "port A: mac")
}

func TestRestore(t *testing.T) {
	s := replace(t, topo.Empty(), twoTenants())
	s = commit(t, s, func(x *topo.Txn) { x.Bind("red-a", bound("observed", 5, 1)) })
	s = commit(t, s, func(x *topo.Txn) {
		x.PutNetwork(topo.Network{Tenant: "red", Name: "web", Encap: topo.GRE, Key: 9, Subnets: s.Network("red/web").Subnets})
	})
	text, err := json.Marshal(s.Desired())
	if err != nil {
		t.Fatal(err)
	}
	var d topo.Desired
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	back, err := topo.Restore(d)
	if err != nil {
		t.Fatal(err)
	}
	want(t, back.Desired(), s.Desired())
	if back.Revision() != s.Revision() || back.Host("observed") != nil || len(back.Unclaimed()) != 0 {
		t.Error("the revision is not kept, or something observed is")
	}
	if e, err := topo.Restore(topo.Empty().Desired()); err != nil || e.Revision() != 0 {
		t.Error(e, err)
	}
	for name, damage := range map[string]func(*topo.Desired){
		"id: number 0 was never":   func(d *topo.Desired) { d.Ports[0].ID = 0 },
		"was never given out":      func(d *topo.Desired) { d.NextID = 3 },
		"is already that of":       func(d *topo.Desired) { d.Ports[0].ID = d.Ports[1].ID },
		"there are two of this":    func(d *topo.Desired) { d.Ports[0].Name = d.Ports[1].Name },
		"there is no network":      func(d *topo.Desired) { d.Networks = d.Networks[1:] },
		"tunnel key 0 is outside":  func(d *topo.Desired) { d.Networks[0].Key = 0 },
		"no Ethernet address":      func(d *topo.Desired) { d.Ports[0].MAC = topo.MAC{} },
		"no UUID":                  func(d *topo.Desired) { d.Tenants[0].UUID = uuid.Nil },
		"key 0 does not exist":     func(d *topo.Desired) { d.Retired[0].Key = 0 },
		"the next number 0":        func(d *topo.Desired) { d.NextID = 0 },
		"given up by network else": func(d *topo.Desired) { d.Retired[0].Key, d.Retired[0].Network = 9, "else" },
	} {
		var d topo.Desired
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		damage(&d)
		if _, err := topo.Restore(d); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q, got %v", name, err)
		}
	}
}

func TestTxnIsDoneAfterCommit(t *testing.T) {
	x := topo.Empty().Begin()
	x.PutTenant(topo.Tenant{Name: "a"})
	if _, _, err := x.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := x.Commit(); err == nil {
		t.Error("committed twice")
	}
}

func TestTxnCopiesWhatItIsGiven(t *testing.T) {
	tp := twoTenants()
	s := replace(t, topo.Empty(), tp)
	tp.Ports[0].Addresses[0] = addr("10.1.1.99")
	tp.Ports[3].Trunk.VLANs[0].VLAN = 99
	want(t, s.Port("red-a").Addresses[0], addr("10.1.1.1"))
	want(t, s.Port("sw").Trunk.VLANs[0].VLAN, uint16(10))
}

func TestMTU(t *testing.T) {
	for _, c := range []struct {
		underlay int
		encap    topo.Encap
		ipv6     bool
		want     int
	}{
		{1500, topo.GRE, false, 1458}, {1500, topo.VXLAN, false, 1450}, {1500, topo.Geneve, false, 1450},
		{1500, topo.GRE, true, 1438}, {1500, topo.VXLAN, true, 1430}, {618, topo.GRE, false, 576},
		{617, topo.GRE, false, 0}, {-1, topo.GRE, false, 0}, {65536, topo.GRE, false, 0}, {1500, 0, false, 0},
	} {
		got, err := topo.MTU(c.underlay, c.encap, c.ipv6)
		if got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("MTU(%d, %s, %v) = %d, %v", c.underlay, c.encap, c.ipv6, got, err)
		}
	}
	tp := twoTenants()
	tp.Networks[1].Subnets = []netip.Prefix{netip.MustParsePrefix("2001:db8::/64")}
	s := replace(t, topo.Empty(), tp)
	if got, err := s.PortMTU("sw", 1500); got != 1446 || err != nil {
		t.Error(got, err)
	}
	if got, err := s.PortMTU("red-a", 1500); got != 1458 || err != nil {
		t.Error(got, err)
	}
	if got, err := s.PortMTU("sw", 1333); err == nil || !strings.Contains(err.Error(), "raise it to 1334 or more") {
		t.Error(got, err)
	}
	if err := s.CheckMTU(1333); err == nil || len(topo.Problems(err)) != 1 {
		t.Error(err)
	}
	if err := s.CheckMTU(1334); err != nil {
		t.Error(err)
	}
}
