package pipeline

import (
	"slices"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// No flow of a wire changes a frame, floods it, or can take another network's: all
// but those in classify match the wire's network.
func TestWireFlowsTouchNothing(t *testing.T) {
	s := world(t)
	for _, host := range []string{"host1", "host3"} {
		state, err := Compile(s, host)
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for f := range state.Flows() {
			id, ok := NetworkOf(f)
			n := networkByID(s, id)
			if !ok || n == nil || !n.IsWire() {
				continue
			}
			seen++
			if _, matches := f.Match.Get(regNetwork); !matches && f.Table != uint8(Classify) {
				t.Errorf("%s: %s matches no network", host, f)
			}
			for _, a := range f.Apply {
				switch a := a.(type) {
				case flows.Output:
				case flows.SetField:
					if !slices.Contains([]flows.Field{regNetwork, regOrigin, regEgress, flows.TunID, flows.TunIPv4Dst}, a.Field) {
						t.Errorf("%s: %s writes %s", host, f, a.Field.Name())
					}
				default:
					t.Errorf("%s: %s does %T", host, f, a)
				}
			}
		}
		if seen == 0 {
			t.Errorf("%s has no flows of a wire", host)
		}
		for g := range state.Groups() {
			if id, _ := NetworkOfGroup(g.ID); networkByID(s, id).IsWire() {
				t.Errorf("%s: group %s floods a wire", host, g)
			}
		}
	}
}

func networkByID(s *topo.Snapshot, id topo.ID) *topo.Network {
	if seg := s.Segment(id); seg != nil {
		return seg.Network
	}
	return nil
}

// An end that is being migrated is joined in both places: where it is on standby its
// frames go to the other end and tell of the arrival, and what other hosts send
// already is delivered there.
func TestWireEndMigrates(t *testing.T) {
	s := change(t, world(t), func(tx *topo.Txn, s *topo.Snapshot) {
		p := *s.Port("sw1-et2")
		p.MigrateTo = "host2"
		tx.PutPort(p)
		bind(tx, p.Name, 2, 9)
	})
	wire, far := s.Network("red/wire"), s.Host("host1").TEP
	ways := func(host string) (out []string) {
		for f := range compiled(t, s, host).Flows() {
			if id, ok := NetworkOf(f); ok && id == wire.ID && f.Table == uint8(L2Dst) && f.Priority == l2Wire {
				out = append(out, f.Format(flows.FormatOptions{TableName: TableName}))
			}
		}
		return out
	}
	for host, want := range map[string][]string{
		"host1": {"in_port=4 actions=set_field:192.168.200.22->tun_dst", "in_port=101 actions=set_field:0x4->reg2"},
		"host2": {"in_port=9 actions=set_field:192.168.200.22->tun_dst", "in_port=101 actions=set_field:0x9->reg2"},
		"host3": {"in_port=2 actions=set_field:" + far.String() + "->tun_dst", "in_port=101 actions=set_field:0x2->reg2"},
	} {
		got := ways(host)
		for _, w := range want {
			if !slices.ContainsFunc(got, func(g string) bool { return strings.Contains(g, w) }) {
				t.Errorf("%s: %q lacks %s", host, got, w)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
	told := 0
	var standby []topo.ID
	for f := range compiled(t, s, "host2").Flows() {
		switch f.Cookie.Feature() {
		case uint8(FeatArrival):
			told++
		case uint8(FeatStandby):
			standby = append(standby, topo.ID(f.Cookie.Owner()))
		}
	}
	if told != 1 {
		t.Errorf("%d rows tell of the arrival, want 1", told)
	}
	// By its owner a controller that is restarted meanwhile knows what was in effect.
	if want := []topo.ID{s.Port("sw1-et2").ID}; !slices.Equal(standby, want) {
		t.Errorf("rows of standby belong to %d, want %d", standby, want)
	}
}

// An end whose other one is on a host without a tunnel endpoint, or that has no
// tunnel itself, has no far end, and takes nothing from the tunnel.
func TestWireWithoutTunnel(t *testing.T) {
	for name, change := range map[string]func(*topo.Txn){
		"no tunnel port here": func(tx *topo.Txn) { tx.ObserveHost("host1", addr("192.168.200.20"), [4]uint32{topo.VXLAN: 102}) },
		"far end unplugged":   func(tx *topo.Txn) { tx.Unbind("host3", ifaceID(3, 2)) },
	} {
		tx := world(t).Begin()
		change(tx)
		s := commit(t, tx)
		state, err := Compile(s, "host1")
		if err != nil {
			t.Fatal(err)
		}
		wire := s.Network("red/wire")
		var drops, ways, tunnel int
		for f := range state.Flows() {
			if id, ok := NetworkOf(f); !ok || id != wire.ID {
				continue
			}
			switch {
			case f.Cookie.Feature() == uint8(DropNoFarEnd):
				drops++
			case f.Table == uint8(L2Dst):
				ways++
			}
			if _, ok := f.Match.Get(flows.TunID); ok {
				tunnel++
			}
		}
		if drops != 1 || ways != 0 || tunnel != 0 {
			t.Errorf("%s: %d drops, %d ways, %d rows for the tunnel", name, drops, ways, tunnel)
		}
	}
}
