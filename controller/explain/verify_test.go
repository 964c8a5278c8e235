package explain

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// twoTenants is red/n and blue/n, both of GRE: host1 has a (1, red) and b (2, blue), host2
// c (1, red) and d (2, blue). e migrates from host1 (3) to host2 (3). red/n's key was chosen by the controller.
func twoTenants(t *testing.T) *topo.Snapshot {
	t.Helper()
	tx := topo.Empty().Begin()
	for i, name := range []string{"host1", "host2"} {
		tep := netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)})
		tx.PutHost(topo.Host{Name: name, TEP: tep, Declared: true})
		tx.ObserveHost(name, tep, [4]uint32{topo.GRE: 101, topo.VXLAN: 102, topo.Geneve: 103})
	}
	tx.PutTenant(topo.Tenant{Name: "red"})
	tx.PutTenant(topo.Tenant{Name: "blue"})
	tx.PutNetwork(topo.Network{Tenant: "red", Name: "n", Encap: topo.GRE})
	tx.PutNetwork(topo.Network{Tenant: "blue", Name: "n", Encap: topo.GRE, Key: 7})
	bind := func(p topo.Port, n uint32, hosts ...string) {
		tx.PutPort(p)
		for _, h := range hosts {
			tx.Bind(p.Name, topo.Binding{Host: h, OFPort: n, Interface: uuid.NewSHA1(uuid.NameSpaceOID, []byte(p.Name+h))})
		}
	}
	bind(topo.Port{Name: "a", MAC: topo.MAC{2, 0, 0, 0, 0, 1}, Network: "red/n"}, 1, "host1")
	bind(topo.Port{Name: "b", MAC: topo.MAC{2, 0, 0, 0, 0, 2}, Network: "blue/n"}, 2, "host1")
	bind(topo.Port{Name: "c", MAC: topo.MAC{2, 0, 0, 0, 0, 3}, Network: "red/n"}, 1, "host2")
	bind(topo.Port{Name: "d", MAC: topo.MAC{2, 0, 0, 0, 0, 4}, Network: "blue/n"}, 2, "host2")
	bind(topo.Port{Name: "e", MAC: topo.MAC{2, 0, 0, 0, 0, 5}, Network: "red/n", MigrateTo: "host2"}, 3, "host1", "host2")
	s, _, err := tx.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// compiledTables are what the hosts of a snapshot hold; ports says that all ports are
// known, as a switch tells them and a dump does not.
func compiledTables(t *testing.T, s *topo.Snapshot, ports ...uint32) map[string]*Tables {
	t.Helper()
	out := map[string]*Tables{}
	for _, h := range s.Hosts() {
		state, err := pipeline.Compile(s, h.Name)
		if err != nil {
			t.Fatal(err)
		}
		tables := &Tables{Flows: slices.Collect(state.Flows()), Groups: slices.Collect(state.Groups())}
		for _, n := range ports {
			tables.Ports = append(tables.Ports, SwitchPort{Number: n})
		}
		out[h.Name] = tables
	}
	return out
}

func readings(tables map[string]*Tables) map[string]Reading {
	out := map[string]Reading{}
	for h, t := range tables {
		out[h] = Reading{Tables: t}
	}
	return out
}

func (t *Tables) plant(tt *testing.T, text string) {
	tt.Helper()
	f, err := flows.ParseFlow(text)
	if err != nil {
		tt.Fatal(err)
	}
	t.Flows = append(t.Flows, flows.Normalize(f))
}

func verified(t *testing.T, o *Overlay, read map[string]Reading) *Verification {
	t.Helper()
	v, err := Verify(t.Context(), o, read, 1)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// broken are the properties that are broken, by name.
func broken(v *Verification) string {
	var out []string
	for _, x := range v.Violations {
		out = append(out, x.Property)
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

// TestVerifyKnowsWhereAPortMigrates: both places of a port that is being migrated are its.
func TestVerifyKnowsWhereAPortMigrates(t *testing.T) {
	s := twoTenants(t)
	o := FromSnapshot(s)
	read := readings(compiledTables(t, s, 1, 2, 3, 9))
	if v := verified(t, o, read); v.Verdict != Isolated || v.Ports != 6 || v.Tenants != 2 || len(v.Hosts) != 2 {
		t.Errorf("%+v", v)
	}
	for i := range o.Ports {
		o.Ports[i].Standby = Place{}
	}
	if v := verified(t, o, read); !strings.Contains(broken(v), "isolation") {
		t.Errorf("a port that is nobody's on host2 is not noticed: %s, %q", v.Verdict, broken(v))
	}
}

// TestVerifyDumps: of files, with numbers found out from the flows.
func TestVerifyDumps(t *testing.T) {
	s := twoTenants(t)
	recognised := func(tables map[string]*Tables) *Overlay {
		o := FromSnapshot(s)
		o.Recognise(tables)
		return o
	}
	// A port that migrates is shown by the flows in one of its places only: the other is nobody's.
	tables := compiledTables(t, s)
	o := recognised(tables)
	if o.Hosts[0].Tunnels["gre"] != 101 || !slices.Equal(o.Hosts[0].OtherTunnels, []uint32{102, 103}) {
		t.Errorf("tunnel ports %v, others %v", o.Hosts[0].Tunnels, o.Hosts[0].OtherTunnels)
	}
	if n := o.network("red/n"); n.Key != s.Network("red/n").Key {
		t.Errorf("the key that the controller chose is %d, the flows have %d", n.Key, s.Network("red/n").Key)
	}

	tx := s.Begin()
	tx.PutPort(topo.Port{Name: "e", MAC: topo.MAC{2, 0, 0, 0, 0, 5}, Network: "red/n"})
	tx.Unbind("e", uuid.NewSHA1(uuid.NameSpaceOID, []byte("ehost2")))
	var err error
	if s, _, err = tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if v := verified(t, recognised(compiledTables(t, s)), readings(compiledTables(t, s))); v.Verdict != Isolated {
		t.Errorf("%s: %q, %v", v.Verdict, broken(v), v.Doubts)
	}
	for _, c := range []struct{ name, flow, want string }{
		{"from a tunnel of another encapsulation", "table=0,priority=500,in_port=102,tun_id=77 actions=output:1", "isolation undeclared"},
		{"from any port", "table=0,priority=500,dl_type=0x88b5 actions=output:1", "isolation undeclared"},
		{"to a port of nobody", "table=0,priority=500,in_port=1,vlan_tci=0x0000/0x1fff actions=output:44", "membership undeclared"},
	} {
		tables := compiledTables(t, s)
		tables["host1"].plant(t, c.flow)
		if v := verified(t, recognised(tables), readings(tables)); v.Verdict != Violated || broken(v) != c.want {
			t.Errorf("%s: %s, %q, want %q; %v", c.name, v.Verdict, broken(v), c.want, v.Doubts)
		}
	}
	// With a port that is nowhere, a number of nobody's may be it.
	tx = s.Begin()
	tx.PutPort(topo.Port{Name: "f", Network: "red/n"})
	if s, _, err = tx.Commit(); err != nil {
		t.Fatal(err)
	}
	tables = compiledTables(t, s)
	tables["host1"].plant(t, "table=0,priority=500,in_port=1,vlan_tci=0x0000/0x1fff actions=output:44")
	v := verified(t, recognised(tables), readings(tables))
	if v.Verdict != Undecided || len(v.Doubts) != 1 || !strings.Contains(v.Doubts[0].Why, "--port f=host1:44") || !slices.Equal(v.Hosts, []string{"host2"}) {
		t.Errorf("%s on %v: %q, %v", v.Verdict, v.Hosts, broken(v), v.Doubts)
	}
	o = recognised(tables)
	if err := o.Place("f", "host1", 44); err != nil {
		t.Fatal(err)
	}
	if v := verified(t, o, readings(tables)); broken(v) != "undeclared" {
		t.Errorf("to a port of its own network: %q", broken(v))
	}
}

// TestVerifyWithoutAHost: what was not read is not proved, and what was not asked for is
// no doubt; the packets that go there are followed so far.
func TestVerifyWithoutAHost(t *testing.T) {
	s := twoTenants(t)
	o := FromSnapshot(s)
	read := readings(compiledTables(t, s, 1, 2, 3))
	read["host2"] = Reading{Err: errors.New("it is away")}
	v := verified(t, o, read)
	if v.Verdict != Undecided || len(v.Doubts) != 1 || v.Doubts[0].Host != "host2" || !strings.Contains(v.Doubts[0].Why, "it is away") {
		t.Errorf("%s, %v", v.Verdict, v.Doubts)
	}
	for _, p := range v.Properties {
		if p.Verdict != Undecided || p.Means == "" {
			t.Errorf("%+v", p)
		}
	}
	read["host1"].Tables.plant(t, fmt.Sprintf("table=60,priority=500,reg0=%d actions=output:2,set_field:192.0.2.2->tun_dst,set_field:%d->tun_id,output:101", s.Network("red/n").ID, s.Network("red/n").Key))
	v = verified(t, o, read)
	if v.Verdict != Violated || !strings.Contains(broken(v), "isolation") {
		t.Errorf("%s, %q", v.Verdict, broken(v))
	}
	delete(read, "host2")
	read["host1"] = Reading{Tables: compiledTables(t, s, 1, 2, 3)["host1"]}
	if v := verified(t, o, read); v.Verdict != Isolated || !slices.Equal(v.Hosts, []string{"host1"}) {
		t.Errorf("%s, %v", v.Verdict, v.Doubts)
	}
	if v := verified(t, o, nil); v.Verdict != Undecided {
		t.Errorf("of nothing: %s", v.Verdict)
	}
}

// TestVerifyIncompleteDumps: what is missing of a dump is a doubt, wherever it is missing, and
// what is no harm is not called so for it.
func TestVerifyIncompleteDumps(t *testing.T) {
	s := twoTenants(t)
	ports := []uint32{1, 2, 3}
	for _, c := range []struct {
		name string
		do   func(*Tables)
		says string
	}{
		{"a group within a group", func(t *Tables) {
			g := *t.Groups[0]
			g.Buckets = append(slices.Clone(g.Buckets), flows.Bucket{WatchPort: flows.PortAny, WatchGroup: flows.GroupAny, Actions: []flows.Action{flows.ToGroup{ID: 77}}})
			t.Groups[0] = &g
		}, "it uses group 77, which is not there"},
		{"all", func(t *Tables) { *t = Tables{} }, "its dump has no flow"},
	} {
		tables := compiledTables(t, s, ports...)
		c.do(tables["host1"])
		tables["host1"].WithoutGroups("which is not there")
		v := verified(t, FromSnapshot(s), readings(tables))
		if v.Verdict != Undecided || len(v.Doubts) == 0 || !strings.Contains(fmt.Sprint(v.Doubts), c.says) {
			t.Errorf("%s: %s, %q, %v", c.name, v.Verdict, broken(v), v.Doubts)
		}
	}
	// A key that cannot be seen is no other network's.
	o := FromSnapshot(s)
	o.Networks[slices.IndexFunc(o.Networks, func(n Network) bool { return n.Name == "red/n" })].Key = 0
	v := verified(t, o, readings(compiledTables(t, s, ports...)))
	if v.Verdict != Undecided || len(v.Hosts) != 0 || !strings.Contains(fmt.Sprint(v.Doubts), "write it into the topology file") {
		t.Errorf("%s on %v: %q, %v", v.Verdict, v.Hosts, broken(v), v.Doubts)
	}
	tables := compiledTables(t, s)["host1"]
	g := *tables.Groups[0]
	if err := tables.AddGroup(&g); err != nil {
		t.Errorf("the same group again: %v", err)
	}
	g.Buckets = nil
	if err := tables.AddGroup(&g); err == nil {
		t.Error("another group with the same number is taken")
	}
}
