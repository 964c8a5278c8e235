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

// A MAC of a port that is down is not to be had where MACs are learned, neither on
// its own host nor anywhere else; where none are, spoof_guard has no need to say so.
func TestDownMACIsTaken(t *testing.T) {
	s := world(t)
	taken := func(s *topo.Snapshot, host string) (n int) {
		for f := range compiled(t, s, host).Flows() {
			if Feature(f.Cookie.Feature()) == DropTakenMAC && f.Cookie.Owner() == uint32(s.Port("unplugged").ID) {
				n++
			}
		}
		return n
	}
	if a, b := taken(s, "host1"), taken(s, "host2"); a != 1 || b != 0 {
		t.Errorf("%d rows on the host that learns and %d on another, want 1 and 0", a, b)
	}
	// The learning port goes to the other host, and the rows with it.
	next := change(t, s, func(tx *topo.Txn, _ *topo.Snapshot) {
		tx.Unbind("host1", ifaceID(1, 3))
		bind(tx, "sw1-et1", 2, 3)
	})
	for host, want := range map[string]int{"host1": 0, "host2": 1} {
		if n := taken(next, host); n != want {
			t.Errorf("%s has %d rows after the move, want %d", host, n, want)
		}
		again, err := Recompile(compiled(t, s, host), s, next, host)
		if err != nil {
			t.Fatal(err)
		}
		if d := flows.Diff(again, compiled(t, next, host)).Len(); d != 0 {
			t.Errorf("%s: Recompile differs from Compile by %d entries", host, d)
		}
	}
}

// Frames of protocols between neighbours are dropped by their type, whatever their
// address, on all but wires.
func TestControlFramesByAnyAddress(t *testing.T) {
	want := map[uint64]Feature{etherLLDP: DropLLDP, etherSlow: DropSlow, etherMACControl: DropPause}
	for f := range compiled(t, world(t), "host1").Flows() {
		kind, typed := f.Match.Get(flows.EthType)
		reason, ok := want[kind.Value.Lo]
		if _, addressed := f.Match.Get(flows.EthDst); typed && ok && !addressed && Feature(f.Cookie.Feature()) == reason &&
			f.Priority < classifyWire && f.Priority > classifyMember {
			delete(want, kind.Value.Lo)
		}
	}
	if len(want) > 0 {
		t.Errorf("Ethernet types that are not dropped at every address: %x", want)
	}
}
