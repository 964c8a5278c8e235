package flows_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	. "github.com/ofctl-lab/ofctl-lab/flows"
)

// anyState is a State over few identities, so that two of them meet often, in
// random parts.
var anyState = rapid.Custom(func(t *rapid.T) *State {
	parts := map[PartID]*Part{}
	part := func() *Part {
		id := PartID{Owner: rapid.Uint32Range(0, 3).Draw(t, "part")}
		if parts[id] == nil {
			parts[id] = new(Part)
		}
		return parts[id]
	}
	for i := range uint16(12) {
		if !rapid.Bool().Draw(t, "flow") {
			continue
		}
		p := part()
		p.Flows = append(p.Flows, &Flow{
			Table: uint8(i % 3), Priority: i / 3, Match: Match{}.With(Reg0, U(uint64(i))),
			Cookie: NewCookie(1, 1, rapid.Uint32Range(0, 1).Draw(t, "owner")),
			Goto:   rapid.ByteRange(10, 11).Draw(t, "to"),
		})
	}
	for i := range uint32(6) {
		if rapid.Bool().Draw(t, "group") {
			p := part()
			g := &Group{ID: GroupMin + i}
			if i > 0 && rapid.Bool().Draw(t, "refers") {
				to := ToGroup{ID: GroupMin + (i+3)%6}
				g.Buckets = []Bucket{{WatchPort: PortAny, WatchGroup: GroupAny, Actions: []Action{to}}}
			}
			p.Groups = append(p.Groups, g)
		}
		if rapid.Bool().Draw(t, "meter") {
			p := part()
			p.Meters = append(p.Meters, &Meter{ID: MeterMin + i, Bands: []MeterBand{{Rate: rapid.Uint32Range(1, 2).Draw(t, "rate")}}})
		}
	}
	return NewState(parts)
})

// repart is s with everything in one part, and so without shared parts.
func repart(s *State) *State {
	return Flat(&Part{
		Flows: slices.Collect(s.Flows()), Groups: slices.Collect(s.Groups()), Meters: slices.Collect(s.Meters()),
	})
}

func TestDiffLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, want := anyState.Draw(t, "have"), anyState.Draw(t, "want")
		d := Diff(have, want)
		if got := Apply(have, d); !got.Equal(want) {
			t.Fatal("Apply(have, Diff(have, want)) is not want")
		}
		if !Diff(want, repart(want)).Empty() || !Diff(want, want).Empty() || !want.Equal(repart(want)) {
			t.Fatal("parts matter to equality")
		}
		if have.Equal(want) != d.Empty() {
			t.Fatal("Equal and an empty Diff disagree")
		}
		if err := Clash(want); err != nil {
			t.Fatal(err)
		}
		// Minimal: leaving any one change out does not give want.
		for i := range d.AddFlows {
			less := *d
			less.AddFlows = slices.Delete(slices.Clone(d.AddFlows), i, i+1)
			if Apply(have, &less).Equal(want) {
				t.Fatalf("needless %v", d.AddFlows[i])
			}
		}
		for i := range d.ModFlows {
			less := *d
			less.ModFlows = slices.Delete(slices.Clone(d.ModFlows), i, i+1)
			if Apply(have, &less).Equal(want) {
				t.Fatalf("needless %v", d.ModFlows[i])
			}
		}
		for i := range d.DelFlows {
			less := *d
			less.DelFlows = slices.Delete(slices.Clone(d.DelFlows), i, i+1)
			if Apply(have, &less).Equal(want) {
				t.Fatalf("needless %v", d.DelFlows[i])
			}
		}
		checkPlan(t, have, d)
	})
}

// checkPlan plays the Ops one by one and holds the order of groups, and that no
// more is sent than the Delta says.
func checkPlan(t *rapid.T, have *State, d *Delta) {
	n := 0
	exists := map[uint32]*Group{}
	for g := range have.Groups() {
		exists[g.ID] = g
	}
	planned := map[uint32]bool{}
	for _, g := range d.AddGroups {
		planned[g.ID] = true
	}
	for _, s := range Plan(d) {
		n += len(s.Ops)
		for _, op := range s.Ops {
			if s.Atomic != (op.Meter == nil) {
				t.Fatal("a bundle is for flows and groups, and only for them")
			}
			switch op.Kind {
			case AddGroup:
				for _, b := range op.Group.Buckets {
					to := b.Actions[0].(ToGroup).ID
					if planned[to] && exists[to] == nil && !cyclic(d.AddGroups, op.Group.ID) {
						t.Fatalf("group %d before %d, to which it refers", op.Group.ID, to)
					}
				}
				exists[op.Group.ID] = op.Group
			case DeleteGroup:
				delete(exists, op.Group.ID)
				for _, g := range d.DelGroups {
					if exists[g.ID] != nil && len(g.Buckets) > 0 && !cyclic(d.DelGroups, g.ID) &&
						g.Buckets[0].Actions[0].(ToGroup).ID == op.Group.ID {
						t.Fatalf("group %d deleted before %d, which refers to it", op.Group.ID, g.ID)
					}
				}
			}
		}
	}
	if n != d.Len() {
		t.Fatalf("%d messages for %d changes", n, d.Len())
	}
}

// cyclic reports whether following the references from id leads back to it.
func cyclic(gs []*Group, id uint32) bool {
	at := id
	for range gs {
		i := slices.IndexFunc(gs, func(g *Group) bool { return g.ID == at })
		if i < 0 || len(gs[i].Buckets) == 0 {
			return false
		}
		if at = gs[i].Buckets[0].Actions[0].(ToGroup).ID; at == id {
			return true
		}
	}
	return true
}

func TestTextLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFlow.Draw(t, "flow")
		got, err := ParseFlow(f.String())
		if err != nil || !got.Equal(f) || got.Key() != f.Key() {
			t.Fatalf("%v\nparses as %v, %v", f, got, err)
		}
		if Normalize(f) != f {
			t.Fatalf("Normalize is not idempotent on %v", f)
		}
	})
}

func TestForeignFlowsAreLeftAlone(t *testing.T) {
	foreign := &Flow{Table: 1, Priority: 5, Cookie: 7}
	taken := &Flow{Table: 2, Priority: 5, Cookie: 7}
	ours := &Flow{Table: 3, Priority: 5, Cookie: NewCookie(1, 1, 1)}
	want := &Flow{Table: 2, Priority: 5, Cookie: NewCookie(1, 1, 1), Goto: 9}
	have := Flat(&Part{
		Flows: []*Flow{foreign, taken, ours}, Groups: []*Group{{ID: 1}, {ID: GroupMin}},
		Meters: []*Meter{{ID: 1}, {ID: MeterMin}},
	})
	d := Diff(have, Flat(&Part{Flows: []*Flow{want}}))
	if len(d.Conflicts) != 1 || d.Conflicts[0] != (FlowConflict{taken, want}) {
		t.Errorf("conflicts %v", d.Conflicts)
	}
	if d.Len() != 3 || d.DelFlows[0] != ours || d.DelGroups[0].ID != GroupMin || d.DelMeters[0].ID != MeterMin {
		t.Errorf("Diff %+v", d)
	}
}

func TestClashNamesBoth(t *testing.T) {
	a, b := PartID{Owner: 1}, PartID{Owner: 2, Aspect: 3}
	f, g := &Flow{Table: 1, Goto: 2}, &Flow{Table: 1, Goto: 3}
	err := Clash(NewState(map[PartID]*Part{a: {Flows: []*Flow{f}}, b: {Flows: []*Flow{g}}}))
	var clash *ClashError
	if !errors.As(err, &clash) || clash.Parts != [2]PartID{a, b} || clash.Flows != [2]*Flow{f, g} {
		t.Fatalf("got %v", err)
	}
	if err := Clash(NewState(map[PartID]*Part{a: {Groups: []*Group{{ID: 1}, {ID: 1}}}})); !errors.As(err, &clash) ||
		clash.Parts != [2]PartID{a, a} || clash.Groups[0] == nil {
		t.Fatalf("groups of one part: got %v", err)
	}
	if err := Clash(NewState(map[PartID]*Part{a: {Meters: []*Meter{{ID: 1}}}, b: {Meters: []*Meter{{ID: 1}}}})); !errors.As(err, &clash) {
		t.Fatalf("meters: got %v", err)
	}
}

func TestPlanKeepsCountersWhereItCan(t *testing.T) {
	have := Flat(&Part{Flows: []*Flow{{Table: 1, Cookie: NewCookie(1, 1, 1)}, {Table: 2, Cookie: NewCookie(1, 1, 1)}}})
	want := Flat(&Part{Flows: []*Flow{
		{Table: 1, Cookie: NewCookie(1, 1, 1), Goto: 5}, {Table: 2, Cookie: NewCookie(1, 1, 2)},
		{Table: 3, Cookie: NewCookie(1, 1, 1)}, {Table: 4, Cookie: NewCookie(1, 1, 1)},
	}})
	steps := Plan(Diff(have, want), PlainAdditions())
	var kinds []OpKind
	var tables []uint8
	for _, op := range steps[0].Ops {
		kinds, tables = append(kinds, op.Kind), append(tables, op.Flow.Table)
	}
	if !slices.Equal(kinds, []OpKind{ModifyFlow, AddFlow, AddFlow, AddFlow}) || !slices.Equal(tables, []uint8{1, 2, 4, 3}) {
		t.Errorf("kinds %v, tables %v", kinds, tables)
	}
	if !steps[0].Atomic {
		t.Error("a change of what is there must be atomic")
	}
	if first := Plan(Diff(nil, want), PlainAdditions()); len(first) != 1 || first[0].Atomic {
		t.Error("first programming may be plain")
	}
}

func TestPlanOrdersGroupsByReference(t *testing.T) {
	to := func(ids ...uint32) (bs []Bucket) {
		for _, id := range ids {
			bs = append(bs, Bucket{WatchPort: PortAny, WatchGroup: GroupAny, Actions: []Action{ToGroup{ID: GroupMin + id}}})
		}
		return bs
	}
	// 0 → 2 → 3 → 1, 0 → 1, and 4 ↔ 5, which a switch will refuse but Plan survives.
	s := Flat(&Part{Groups: []*Group{
		{ID: GroupMin, Buckets: to(1, 2)}, {ID: GroupMin + 1}, {ID: GroupMin + 2, Buckets: to(3)},
		{ID: GroupMin + 3, Buckets: to(1)}, {ID: GroupMin + 4, Buckets: to(5)}, {ID: GroupMin + 5, Buckets: to(4)},
	}})
	order := func(d *Delta) (ids []uint32) {
		for _, op := range Plan(d)[0].Ops {
			ids = append(ids, op.Group.ID-GroupMin)
		}
		return ids
	}
	if got := order(Diff(nil, s)); !slices.Equal(got, []uint32{1, 3, 2, 0, 5, 4}) {
		t.Errorf("added in the order %v", got)
	}
	if got := order(Diff(s, nil)); !slices.Equal(got, []uint32{4, 5, 0, 2, 3, 1}) {
		t.Errorf("deleted in the order %v", got)
	}
}

func TestKeyIsIdentity(t *testing.T) {
	flows := []*Flow{
		{}, {Table: 1}, {Priority: 1}, {Match: Match{}.With(Reg0, U(1))}, {Match: Match{}.With(Reg1, U(1))},
		{Match: Match{}.WithMask(Reg0, U(1), U(1))}, {Match: Match{}.WithMask(Reg0, U(1), U(3))},
		{Match: Match{}.With(IPv6Src, Value{Hi: 1})}, {Match: Match{}.With(IPv6Src, Value{Lo: 1})},
		{Match: Match{}.With(Metadata, U(1<<40))}, {Match: Match{}.With(Reg0, U(1)).With(Reg1, U(2))},
	}
	seen := map[Key]*Flow{}
	for _, f := range flows {
		if g := seen[f.Key()]; g != nil {
			t.Errorf("%v and %v have one Key", f, g)
		}
		seen[f.Key()] = f
		g := *f
		g.Cookie, g.Goto, g.IdleTimeout = 5, 6, 7
		if g.Key() != f.Key() {
			t.Errorf("%v: the Key depends on more than table, priority and match", f)
		}
	}
	a := &Flow{Match: Match{{Reg1, U(1), U(1)}, {Reg0, U(3), U(1)}}}
	b := &Flow{Match: Match{{Reg0, U(1), U(1)}, {Reg1, U(1), U(1)}}}
	if a.Key() != b.Key() || !a.Equal(b) {
		t.Error("a match that is not canonical has another Key")
	}
}

func TestNormalizeSplitsMasks(t *testing.T) {
	all := ^uint64(0)
	f := &Flow{
		Match: Match{{VLANTCI, U(0xb005), U(0xf0ff)}, {Reg0, U(0xff), U(0xf)}},
		Apply: []Action{
			SetField{Reg1, U(0xffff), U(0xf0f0f)}, SetField{Reg2, U(1), Value{}},
			SetField{IPv6Src, Value{Hi: 1, Lo: 2}, Value{Hi: 0xff, Lo: all}},
		},
		Metadata: 0xff, MetadataMask: 0xf,
	}
	want := Flow{
		Match: Match{}.With(Reg0, U(0)).WithMask(Reg0, U(0xf), U(0xf)).WithMask(VLANVID, U(0x1005), U(0x10ff)).With(VLANPCP, U(5)),
		Apply: []Action{
			SetField{Reg1, U(0xf), U(0xf)}, SetField{Reg1, U(0xf00), U(0xf00)}, SetField{Reg1, U(0), U(0xf0000)},
			SetField{IPv6Src, U(2), U(all)}, SetField{IPv6Src, Value{Hi: 1}, Value{Hi: 0xff}},
		},
		Metadata: 0xf, MetadataMask: 0xf,
	}
	if got := Normalize(f); !cmp.Equal(*got, want) {
		t.Error(cmp.Diff(want, *got))
	}
	if !f.Equal(&want) {
		t.Error("Equal depends on the form")
	}
}
