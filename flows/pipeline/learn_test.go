package pipeline

import (
	"testing"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

func compiled(t *testing.T, s *topo.Snapshot, host string) *flows.State {
	t.Helper()
	state, err := Compile(s, host)
	if err != nil {
		t.Fatal(err)
	}
	checked(t, state)
	return state
}

// features counts the flows of a State by feature, those about a network only.
func featuresIn(s *flows.State, network topo.ID) map[Feature]int {
	out := map[Feature]int{}
	for f := range s.Flows() {
		if n, ok := NetworkOf(f); ok && n == network {
			out[Feature(f.Cookie.Feature())]++
		}
	}
	return out
}

// A full port tells nobody any more, in none of its networks, and drops.
func TestFullPortDrops(t *testing.T) {
	s := world(t)
	p := *s.Port("sw1-et1")
	p.MACs = 2
	tx := s.Begin()
	tx.PutPort(p)
	full := compiled(t, commit(t, tx), "host1")
	for _, n := range []string{"red/web", "blue/web", "red/mgmt"} {
		id := s.Network(n).ID
		before, after := featuresIn(compiled(t, s, "host1"), id), featuresIn(full, id)
		if before[FeatLearn] != 1 || before[DropMACLimit] != 0 || after[FeatLearn] != 0 || after[DropMACLimit] != 1 {
			t.Errorf("%s: %v, and when the port is full %v", n, before, after)
		}
	}
}

// What a switch tells of a learned MAC, on the port's own host and elsewhere, is
// what was learned.
func TestLearnedRowsAreReadBack(t *testing.T) {
	s := world(t)
	sw, web := s.Port("sw1-et1").ID, s.Network("red/web").ID
	want := LearnedRow{Network: web, Port: sw, MAC: topo.MAC{2, 0, 0, 0, 2, 1}}
	for host, sources := range map[string]int{"host1": 1, "host2": 0} {
		n := map[LearnedRow]int{}
		for f := range compiled(t, s, host).Flows() {
			if l, ok := Learned(f); ok {
				n[l]++
			}
		}
		source := want
		source.Source = true
		if n[want] != 1 || n[source] != sources {
			t.Errorf("%s: read back %v", host, n)
		}
	}
	for _, f := range []*flows.Flow{
		{Cookie: flows.NewCookie(uint8(FeatL2), Generation, 1)},
		{Cookie: flows.NewCookie(uint8(FeatLearned), Generation+1, 1)},
		{Table: uint8(L2Dst), Cookie: flows.NewCookie(uint8(FeatLearned), Generation, 1)},
		{Table: uint8(L2Dst), Cookie: flows.NewCookie(uint8(FeatLearned), Generation, 1<<31), Match: match().With(regNetwork, flows.U(1)).With(flows.EthDst, flows.U(2))},
		{Table: uint8(L2Dst), Cookie: flows.NewCookie(uint8(FeatLearned), Generation, 1), Match: match().With(regNetwork, flows.U(1<<31)).With(flows.EthDst, flows.U(2))},
		{Table: uint8(L2Dst), Cookie: flows.NewCookie(uint8(FeatLearned), Generation, 1), Match: match().With(regNetwork, flows.U(1)).WithMask(flows.EthDst, flows.U(2), flows.U(3))},
	} {
		if l, ok := Learned(f); ok {
			t.Errorf("%s was read as %+v", f, l)
		}
	}
}

func TestSighting(t *testing.T) {
	frame := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 6}
	network, mac, ok := Sighting(match().With(regNetwork, flows.U(7)), frame)
	if !ok || network != 7 || mac != (topo.MAC{2, 0, 0, 0, 0, 9}) {
		t.Errorf("got network %d, MAC %s, %v", network, mac, ok)
	}
	for name, f := range map[string]func() (topo.ID, topo.MAC, bool){
		"no network":     func() (topo.ID, topo.MAC, bool) { return Sighting(nil, frame) },
		"a short frame":  func() (topo.ID, topo.MAC, bool) { return Sighting(match().With(regNetwork, flows.U(7)), frame[:11]) },
		"a wild network": func() (topo.ID, topo.MAC, bool) { return Sighting(match().With(regNetwork, flows.U(1<<24)), frame) },
	} {
		if _, _, ok := f(); ok {
			t.Errorf("%s was taken", name)
		}
	}
}
