package pipeline_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline/cases"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// history is what happened in the histories that a law was held over: a law is not held
// of what never happens.
type history struct {
	commits, refused, cutOvers, wires, migratedWires, learned, down int
}

func (h *history) add(was, is *topo.Snapshot) {
	h.commits++
	for _, p := range is.Ports() {
		m, now := is.Migration(p.Name)
		before, then := was.Migration(p.Name)
		if now && then && m.Active == before.Standby && m.Standby == before.Active {
			h.cutOvers++
		}
	}
	h.learned += is.TotalLearned()
	for _, n := range is.Networks() {
		seg := is.Segment(n.ID)
		h.down += len(seg.Down)
		if n.IsWire() && len(seg.Members) == 2 {
			h.wires++
			if seg.Members[0].Standby.Host != nil || seg.Members[1].Standby.Host != nil {
				h.migratedWires++
			}
		}
	}
}

// LAW: Recompile(Compile(old), old, new) == Compile(new), whatever happened in between.
func TestRecompileIsCompile(t *testing.T) {
	var h history
	rapid.Check(t, func(t *rapid.T) {
		draw := func() *rand.Rand { return rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 11)) }
		s := topo.Empty()
		states := map[string]*flows.State{}
		follow := func(next *topo.Snapshot) {
			h.add(s, next)
			for _, host := range hostsOf(s, next) {
				if states[host] == nil {
					states[host] = flows.NewState(nil)
				}
				states[host] = recompiled(t, states[host], s, next, host)
			}
			s = next
		}
		follow(cases.Random(draw(), cases.Size{Hosts: cases.MinHosts, Features: rapid.IntRange(0, 3).Draw(t, "features")}).Snapshot)
		for range rapid.IntRange(1, 30).Draw(t, "commits") {
			r, tx := draw(), s.Begin()
			for range rapid.IntRange(1, 3).Draw(t, "changes") {
				cases.Change(r, s, tx)
			}
			next, _, err := tx.Commit()
			if err != nil {
				h.refused++
				continue // an invalid mixture changes nothing
			}
			follow(next)
		}
	})
	t.Logf("%+v", h)
	if h.cutOvers == 0 || h.wires == 0 || h.migratedWires == 0 || h.learned == 0 || h.down == 0 {
		t.Error("something never happened")
	}
}

// hostsOf are the hosts of two snapshots, each once.
func hostsOf(was, is *topo.Snapshot) (names []string) {
	for _, h := range is.Hosts() {
		names = append(names, h.Name)
	}
	for _, h := range was.Hosts() {
		if is.Host(h.Name) == nil {
			names = append(names, h.Name)
		}
	}
	return names
}

// recompiled is the state of a host after a change, held against what is compiled anew.
func recompiled(t *rapid.T, state *flows.State, was, is *topo.Snapshot, host string) *flows.State {
	got, err := pipeline.Recompile(state, was, is, host)
	if err != nil {
		t.Fatal(err)
	}
	want, err := pipeline.Compile(is, host)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Equal(want) {
		t.Fatalf("%s: recompiled differs from compiled:\n%s", host, cmp.Diff(lines(want), lines(got)))
	}
	if d := flows.Diff(state, want); !flows.Apply(state, d).Equal(want) {
		t.Fatalf("%s: diff does not lead to the new state", host)
	}
	for f := range got.Flows() {
		if err := f.Validate(); err != nil {
			t.Fatal(err)
		}
		if err := pipeline.Check(f); err != nil {
			t.Fatal(err)
		}
	}
	for g := range got.Groups() {
		if err := pipeline.CheckGroup(g); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// lines are a State's flows, groups and meters as text.
func lines(s *flows.State) (out []string) {
	for f := range s.Flows() {
		out = append(out, f.String())
	}
	for g := range s.Groups() {
		out = append(out, g.String())
	}
	for m := range s.Meters() {
		out = append(out, m.String())
	}
	return out
}
