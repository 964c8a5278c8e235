package controller

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/controller/config"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/sim"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// twoSwitches is twoHosts with a port of profile switch on each host.
const twoSwitches = twoHosts + `  - {name: sw1, network: red/web, host: host1, netns: sw1, profile: switch, macs: 4}
  - {name: sw2, network: red/web, host: host2, netns: sw2, profile: switch, macs: 4}
`

// learningRig is twoSwitches, plugged and connected.
type learningRig struct {
	*rig
	s1, s2 *sim.Switch
}

func newLearningRig(t *testing.T, cfg *config.Config) *learningRig {
	t.Helper()
	r := start(t, cfg)
	r.apply(twoSwitches)
	l := &learningRig{r, r.newSwitch("host1"), r.newSwitch("host2")}
	l.plugAll()
	r.connect(l.s1)
	r.connect(l.s2)
	r.allUp()
	r.until(r.portIs("sw1", api.StateUp))
	r.until(r.portIs("sw2", api.StateUp))
	return l
}

func (l *learningRig) plugAll() {
	l.show("host1", "192.168.200.20", plugged{"red-a", 1, 0}, plugged{"blue-a", 2, 0}, plugged{"sw1", 3, 0})
	l.show("host2", "192.168.200.21", plugged{"red-b", 1, 0}, plugged{"blue-b", 2, 0}, plugged{"sw2", 3, 0})
}

func station(n int) topo.MAC { return topo.MAC{2, 0, 0, 9, byte(n >> 8), byte(n)} }

// sends has a switch tell of a frame with an unknown source MAC.
func (l *learningRig) sends(s *sim.Switch, port string, mac topo.MAC) {
	l.Helper()
	m := l.c.engine.load()
	err := s.SendPacketIn(openflow.PacketIn{Reason: 1, Table: uint8(pipeline.SpoofGuard),
		Cookie: flows.NewCookie(uint8(pipeline.FeatLearn), pipeline.Generation, uint32(m.Port(port).ID)),
		Match:  flows.Match{}.With(flows.InPort, flows.U(3)).With(flows.Reg0, flows.U(uint64(m.Network("red/web").ID))),
		Data:   append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, append(mac[:], 8, 0)...)})
	if err != nil {
		l.Fatal(err)
	}
}

// at says what is missing for a MAC to be learned at a port, "" for nowhere.
func (l *learningRig) at(mac topo.MAC, port string) func() string {
	return func() string {
		m, got := l.c.engine.load(), ""
		if p := m.LearnedAt(m.Network("red/web").ID, mac); p != nil {
			got = p.Name
		}
		if got == port {
			return ""
		}
		return fmt.Sprintf("%s is learned at %q, want %q", mac, got, port)
	}
}

// learnedRows are the rows of learned MACs that a switch holds.
func learnedRows(s *sim.Switch) (out []pipeline.LearnedRow) {
	for f := range s.State().Flows() {
		if row, ok := pipeline.Learned(f); ok {
			out = append(out, row)
		}
	}
	return out
}

// counts waits until a counter, which nothing announces, has come to a number.
func (l *learningRig) counts(c prometheus.Counter, want float64) {
	l.Helper()
	l.until(func() string {
		if n := testutil.ToFloat64(c); n != want {
			l.c.changed.notify()
			return fmt.Sprintf("the counter is %v, want %v", n, want)
		}
		return ""
	})
}

func TestLearnAndMove(t *testing.T) {
	l := newLearningRig(t, testConfig(t.TempDir()))
	one := station(1)
	l.sends(l.s1, "sw1", one)
	l.until(l.at(one, "sw1"))
	l.until(l.synced)
	if a, b := len(learnedRows(l.s1)), len(learnedRows(l.s2)); a != 2 || b != 1 {
		t.Errorf("host1 has %d rows of the learned MAC and host2 %d, want 2 and 1", a, b)
	}
	l.sends(l.s2, "sw2", one)
	l.until(l.at(one, "sw2"))
	l.until(l.synced)
	l.counts(l.c.metrics.moves, 1)
	if a, b := len(learnedRows(l.s1)), len(learnedRows(l.s2)); a != 1 || b != 2 {
		t.Errorf("after the move host1 has %d rows of the learned MAC and host2 %d, want 1 and 2", a, b)
	}
}

// A MAC that sends no more is forgotten.
func TestLearnedAges(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MACAgeing = time.Second
	l := newLearningRig(t, cfg)
	one, before := station(1), l.c.engine.load().Revision()
	l.sends(l.s1, "sw1", one)
	// It may have come and gone before anybody looks.
	l.until(func() string {
		if r := l.c.engine.load().Revision(); r < before+2 {
			return fmt.Sprintf("revision %d: learned and forgotten would be %d", r, before+2)
		}
		return l.at(one, "")()
	})
	l.until(l.synced)
	if a, b := len(learnedRows(l.s1)), len(learnedRows(l.s2)); a+b != 0 {
		t.Errorf("%d rows of a MAC that was forgotten", a+b)
	}
}

func TestLimitIsReported(t *testing.T) {
	l := newLearningRig(t, testConfig(t.TempDir()))
	for i := range 50 {
		l.sends(l.s1, "sw1", station(i))
	}
	l.sends(l.s2, "sw2", station(99))
	full := func() string {
		if v := l.c.view(); !v.learning(v.model.Port("sw1")).Full {
			return "sw1 is not full"
		}
		return ""
	}
	l.until(full)
	l.until(l.at(station(99), "sw2"))
	l.counts(l.c.metrics.macLimits, 1)
	p, err := l.client.Port(l.ctx(), "sw1")
	if err != nil {
		t.Fatal(err)
	}
	if g := p.Status.Learning; g.Count != 4 || g.Limit != 4 || len(g.MACs) != 4 || g.MACs[0].Network != "red/web" || g.MACs[0].LastSeen == nil {
		t.Errorf("the port's learning is %+v", g)
	}
	st, err := l.client.Status(l.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(st.Problems, "\n"); !strings.Contains(text, "port sw1 has learned the 4 source MACs") {
		t.Errorf("the status has the problems %q", text)
	}
	list, err := l.client.Ports(l.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := json.Marshal(list); strings.Contains(string(text), "02:00:00:09") {
		t.Error("the list of ports has all that was learned")
	}
}

// A MAC that is in two places is followed a few times and then left where it is.
func TestFlappingIsHeld(t *testing.T) {
	l := newLearningRig(t, testConfig(t.TempDir()))
	one := station(1)
	l.sends(l.s1, "sw1", one)
	l.until(l.at(one, "sw1"))
	for i := range moveLimit {
		if i%2 == 0 {
			l.sends(l.s2, "sw2", one)
			l.until(l.at(one, "sw2"))
		} else {
			l.sends(l.s1, "sw1", one)
			l.until(l.at(one, "sw1"))
		}
	}
	l.sends(l.s1, "sw1", one)
	l.counts(l.c.metrics.movesHeld, 1)
	if missing := l.at(one, "sw2")(); missing != "" {
		t.Error(missing)
	}
	if text := strings.Join(l.c.view().learningProblems(), "\n"); !strings.Contains(text, "02:00:00:09:00:01 of network red/web") || !strings.Contains(text, "stays at sw2 though sw1") {
		t.Errorf("the problems are %q", text)
	}
	p, err := l.client.Port(l.ctx(), "sw2")
	if err != nil || !p.Status.Learning.MACs[0].Held {
		t.Errorf("%+v, %v", p.Status.Learning, err)
	}
}

// After a restart of the controller the switches go on with what was learned:
// nothing is taken out of them.
func TestLearnedOutlivesTheController(t *testing.T) {
	dir := t.TempDir()
	l := newLearningRig(t, testConfig(dir))
	l.sends(l.s1, "sw1", station(1))
	l.sends(l.s2, "sw2", station(2))
	l.until(l.at(station(1), "sw1"))
	l.until(l.at(station(2), "sw2"))
	l.until(l.synced)
	before := []sim.Counts{l.s1.Counts(), l.s2.Counts()}
	l.stop()
	cfg := testConfig(dir)
	cfg.Settle = deadline // the hosts end it, by showing their ports
	again := &learningRig{start(t, cfg), l.s1, l.s2}
	again.connect(l.s1)
	again.connect(l.s2)
	again.plugAll()
	again.until(again.at(station(1), "sw1"))
	again.until(again.at(station(2), "sw2"))
	again.allUp()
	for i, s := range []*sim.Switch{l.s1, l.s2} {
		if n := s.Counts().Mods() - before[i].Mods(); n != 0 {
			t.Errorf("switch %d was sent %d changes, want none", i+1, n)
		}
	}
}

// A switch is believed about the ports on its own host: rows that it invents for
// another's, or for those of its own that learn nothing, are nothing to go by.
func TestRecallBelievesTheOwnHostOnly(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Settle = deadline
	l := newLearningRig(t, cfg)
	l.sends(l.s1, "sw1", station(1))
	l.sends(l.s2, "sw2", station(2))
	l.until(l.at(station(1), "sw1"))
	l.until(l.at(station(2), "sw2"))
	l.until(l.synced)
	m := l.c.engine.load()
	invent := func(port string, mac topo.MAC, table pipeline.Table, field flows.Field) {
		f := &flows.Flow{Table: uint8(table), Priority: 100,
			Cookie: flows.NewCookie(uint8(pipeline.FeatLearned), pipeline.Generation, uint32(m.Port(port).ID)),
			Match:  flows.Match{}.With(flows.Reg0, flows.U(uint64(m.Network("red/web").ID))).With(field, flows.MAC(mac))}
		if err := l.s2.Do(flows.Op{Kind: flows.AddFlow, Flow: f}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 {
		invent("sw1", station(100+i), pipeline.L2Dst, flows.EthDst)
		invent("sw1", station(200+i), pipeline.SpoofGuard, flows.EthSrc)
		invent("red-b", station(300+i), pipeline.SpoofGuard, flows.EthSrc)
	}
	l.stop()
	l.rig = start(t, cfg)
	// host2 is heard first, and has shown its ports before its switch connects.
	l.plugAll()
	l.connect(l.s2)
	l.connect(l.s1)
	l.allUp()
	l.until(l.synced)
	for mac, port := range map[topo.MAC]string{station(1): "sw1", station(2): "sw2"} {
		if missing := l.at(mac, port)(); missing != "" {
			t.Error(missing)
		}
	}
	if n := l.c.engine.load(); n.TotalLearned() != 2 || n.MACsFull(n.Port("sw1")) {
		t.Errorf("%d MACs are learned, want 2; sw1 has %d", n.TotalLearned(), n.NumLearned(n.Port("sw1")))
	}
}

func TestSightingsAreBounded(t *testing.T) {
	q := newSightings()
	port := func(id topo.ID, n int) (kept int) {
		for i := range n {
			if q.add(topo.Sighting{Port: id, Network: 1, MAC: station(i)}) {
				kept++
			}
		}
		return kept
	}
	if n := port(1, 10*maxPortSightings); n != maxPortSightings {
		t.Errorf("%d sightings of a port that floods were kept", n)
	}
	if n := port(2, 10); n != 10 {
		t.Errorf("%d of 10 sightings of its neighbour were kept", n)
	}
	for id := topo.ID(3); id < 100; id++ {
		port(id, maxPortSightings)
	}
	if n := len(q.take()); n != maxSightings {
		t.Errorf("%d sightings wait, the limit is %d", n, maxSightings)
	}
	if n := len(q.take()); n != 0 || port(1, 1) != 1 {
		t.Error("what was taken is still there, or nothing new is kept")
	}
}

func TestMovesAreBounded(t *testing.T) {
	m, now := newMoves(), time.Now()
	key := func(i int) learnedKey { return learnedKey{1, station(i)} }
	for i := range 2 * maxMoved {
		m.allow(key(i), 1, 2, now)
	}
	if n := len(m.list); n > maxMoved {
		t.Errorf("%d MACs are remembered, the limit is %d", n, maxMoved)
	}
	for range moveLimit {
		if !m.allow(key(-1), 1, 2, now) {
			t.Error("a move below the limit was held")
		}
	}
	if m.allow(key(-1), 1, 2, now) || len(m.held(now)) != 1 {
		t.Error("a move above the limit was not held")
	}
	if later := now.Add(moveWindow); !m.allow(key(-1), 1, 2, later) || len(m.held(later)) != 0 {
		t.Error("a move after the window was held")
	}
}

func TestUsage(t *testing.T) {
	u, now := newUsage(), time.Now()
	key := learnedKey{1, station(1)}
	rows := func(packets uint64) map[learnedKey]learnedRow {
		return map[learnedKey]learnedRow{key: {port: 7, packets: packets}}
	}
	const ageing = time.Minute
	for i, step := range []struct {
		after   time.Duration
		packets uint64
		old     int
	}{{0, 5, 0}, {ageing - 1, 5, 0}, {ageing, 5, 1}, {ageing, 6, 0}, {2 * ageing, 1, 0}, {3*ageing - 1, 1, 0}, {3 * ageing, 1, 1}} {
		if old := u.update(rows(step.packets), now.Add(step.after), ageing); len(old) != step.old {
			t.Errorf("step %d: %v are old", i, old)
		}
	}
	u.update(nil, now.Add(9*ageing), ageing)
	if !u.last(key).IsZero() {
		t.Error("what the switch has no row of is remembered for ever")
	}
}
