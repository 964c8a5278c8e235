package pipeline

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

var update = flag.Bool("update", false, "rewrite the golden files and the reference")

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s differs (make generate rewrites it):\n%s", path, diff)
	}
}

// text is a State as a reader of the golden files sees it.
func text(s *flows.State) string {
	var b strings.Builder
	for f := range s.Flows() {
		fmt.Fprintf(&b, "%-14s %s\n", FeatureName(f.Cookie.Feature()), f.Format(flows.FormatOptions{TableName: TableName}))
	}
	for g := range s.Groups() {
		fmt.Fprintln(&b, g)
	}
	for m := range s.Meters() {
		fmt.Fprintln(&b, m)
	}
	return b.String()
}

func TestCompileGolden(t *testing.T) {
	s := world(t)
	for _, host := range []string{"host1", "host2", "host3"} {
		t.Run(host, func(t *testing.T) {
			state, err := Compile(s, host)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "testdata/"+host+".flows", text(state))
		})
	}
}

func TestReferenceIsUpToDate(t *testing.T) {
	golden(t, "../../docs/reference/pipeline.md", Reference())
}

func TestUnknownHostHoldsNothing(t *testing.T) {
	state, err := Compile(world(t), "nowhere")
	if err != nil {
		t.Fatal(err)
	}
	for f := range state.Flows() {
		t.Fatalf("flow %s", f)
	}
}

// checked fails the test if a flow or group breaks its declaration.
func checked(t interface{ Fatal(...any) }, s *flows.State) {
	for f := range s.Flows() {
		if err := f.Validate(); err != nil {
			t.Fatal(err)
		}
		if err := Check(f); err != nil {
			t.Fatal(err)
		}
	}
	for g := range s.Groups() {
		if err := CheckGroup(g); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	cookie := flows.NewCookie(uint8(FeatL2), Generation, 1)
	for name, f := range map[string]*flows.Flow{
		"match":             {Table: uint8(L2Dst), Cookie: cookie, Match: match().With(flows.TunID, flows.U(1)), Goto: uint8(Output)},
		"write":             {Table: uint8(L2Dst), Cookie: cookie, Apply: []flows.Action{flows.Set(flows.TunID, flows.U(1))}, Goto: uint8(Output)},
		"next":              {Table: uint8(L2Dst), Cookie: cookie, Goto: 80},
		"copy":              {Table: uint8(L2Dst), Cookie: cookie, Apply: []flows.Action{flows.ToController{MaxLen: 14, Meter: flows.MeterMin}}, Goto: uint8(Output)},
		"copy unlimited":    {Table: uint8(SpoofGuard), Cookie: cookie, Apply: []flows.Action{flows.ToController{MaxLen: 14}}, Goto: uint8(ARPND)},
		"send":              {Table: uint8(L2Dst), Cookie: cookie, Apply: []flows.Action{flows.Output{Port: 1}}},
		"normal":            {Table: uint8(Output), Cookie: flows.NewCookie(uint8(FeatOutput), Generation, 1), Apply: []flows.Action{flows.Output{Port: flows.PortNormal}}},
		"nameless":          {Table: uint8(L2Dst), Cookie: flows.NewCookie(99, Generation, 1), Goto: uint8(Output)},
		"silent drop":       {Table: uint8(L2Dst), Cookie: cookie},
		"foreign":           {Table: uint8(L2Dst), Cookie: 1, Goto: uint8(Output)},
		"no table":          {Table: 55, Cookie: cookie, Goto: uint8(Output)},
		"drop that is none": {Table: uint8(L2Dst), Cookie: flows.NewCookie(uint8(DropNoRow), Generation, 1), Goto: uint8(Output)},
	} {
		if err := Check(f); err == nil {
			t.Errorf("%s: accepted %s", name, f)
		}
	}
}

// A port with one IPv4 address costs at most 12 flows on its own host and 2 on
// every other one that has its network, and one more on a host where a port in the
// network learns MACs.
func TestFlowsPerPort(t *testing.T) {
	before := world(t)
	tx := before.Begin()
	tx.PutPort(topo.Port{Name: "one-more", MAC: topo.MAC{2, 0, 0, 0, 9, 9}, Network: "red/web", Addresses: []netip.Addr{addr("10.1.1.77")}})
	bind(tx, "one-more", 1, 77)
	after := commit(t, tx)
	for host, limit := range map[string]int{"host1": 12 + 1, "host2": 2, "host3": 2} {
		n := count(t, after, host) - count(t, before, host)
		t.Logf("%s: %d flows more", host, n)
		if n > limit || n < 1 {
			t.Errorf("%s: %d flows for one more port, limit %d", host, n, limit)
		}
	}
}

func count(t *testing.T, s *topo.Snapshot, host string) (n int) {
	t.Helper()
	state, err := Compile(s, host)
	if err != nil {
		t.Fatal(err)
	}
	for range state.Flows() {
		n++
	}
	return n
}

// A host that claims another's tunnel endpoint is no peer: nothing is sent to it.
func TestHostWithoutEndpoint(t *testing.T) {
	tx := world(t).Begin()
	tx.ObserveHost("host9", addr("192.168.200.21"), [4]uint32{topo.GRE: 101, topo.VXLAN: 102, topo.Geneve: 103})
	tx.PutPort(topo.Port{Name: "one-more", Network: "red/web"})
	bind(tx, "one-more", 9, 5)
	s := commit(t, tx)
	if s.Host("host9").TEP.IsValid() {
		t.Fatal("the endpoint was not refused")
	}
	if n, want := count(t, s, "host1"), count(t, world(t), "host1"); n != want {
		t.Errorf("host1 has %d flows, %d without the host that has no endpoint", n, want)
	}
}

// A flood that is too large for one group-mod goes on in further groups and
// still has every member exactly once.
func TestLargeFlood(t *testing.T) {
	tx := world(t).Begin()
	const ports = 1500
	for i := range ports {
		name := fmt.Sprintf("p%d", i)
		tx.PutPort(topo.Port{Name: name, Network: "red/web"})
		bind(tx, name, 1, uint32(1000+i))
	}
	state, err := Compile(commit(t, tx), "host1")
	if err != nil {
		t.Fatal(err)
	}
	checked(t, state)
	groups := map[uint32]*flows.Group{}
	for g := range state.Groups() {
		groups[g.ID] = g
		if len(g.Buckets) > maxBuckets {
			t.Errorf("group %d has %d buckets", g.ID, len(g.Buckets))
		}
	}
	outputs := map[uint32]int{}
	var walk func(id uint32)
	walk = func(id uint32) {
		for _, b := range groups[id].Buckets {
			switch a := b.Actions[len(b.Actions)-1].(type) {
			case flows.Output:
				outputs[a.Port]++
			case flows.ToGroup:
				walk(a.ID)
			}
		}
	}
	s := world(t)
	walk(GroupBase | uint32(s.Network("red/web").ID))
	for i := range ports {
		if n := outputs[uint32(1000+i)]; n != 1 {
			t.Fatalf("port %d is flooded to %d times", 1000+i, n)
		}
	}
}

func BenchmarkCompileAndPlug(b *testing.B) {
	for _, ports := range []int{10, 100, 500} {
		tx := topo.Empty().Begin()
		for i := 1; i <= 2; i++ {
			observe(tx, i)
		}
		tx.PutTenant(topo.Tenant{Name: "t"})
		tx.PutNetwork(topo.Network{Tenant: "t", Name: "n", Encap: topo.GRE, Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}})
		for i := range ports {
			name := fmt.Sprintf("p%d", i)
			tx.PutPort(topo.Port{Name: name, Network: "t/n", Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i / 250), byte(i%250 + 1)})}})
			if i > 0 {
				bind(tx, name, 1+i%2, uint32(1000+i))
			}
		}
		old := commit(b, tx)
		tx = old.Begin()
		bind(tx, "p0", 1, 999)
		plugged := commit(b, tx)
		state, err := Compile(old, "host1")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("compile/%d", ports), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				_, _ = Compile(old, "host1")
			}
		})
		b.Run(fmt.Sprintf("plug/%d", ports), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				next, _ := Recompile(state, old, plugged, "host1")
				flows.Plan(flows.Diff(state, next))
			}
		})
	}
}
