package flows_test

import (
	"testing"

	. "github.com/ofctl-lab/ofctl-lab/flows"
)

// l2Flows are n flows such as a pipeline has per remote port.
func l2Flows(n int) []*Flow {
	fs := make([]*Flow, n)
	for i := range fs {
		fs[i] = &Flow{
			Table: 60, Priority: 100, Cookie: NewCookie(6, 1, uint32(i)),
			Match: Match{}.With(Reg0, U(uint64(i%5000))).With(EthDst, U(0x020000000000+uint64(i))),
			Apply: []Action{Set(TunID, U(1000000+uint64(i%5000))), Set(TunIPv4Dst, U(0xc0a8c815)), Output{Port: 2}},
		}
	}
	return fs
}

func BenchmarkKey(b *testing.B) {
	f := l2Flows(1)[0]
	b.ReportAllocs()
	for b.Loop() {
		_ = f.Key()
	}
}

func BenchmarkDiffEqual50000(b *testing.B) {
	have, want := Flat(&Part{Flows: l2Flows(50000)}), Flat(&Part{Flows: l2Flows(50000)})
	for b.Loop() {
		if !Diff(have, want).Empty() {
			b.Fatal("differ")
		}
	}
}

func BenchmarkDiffSharedParts50000(b *testing.B) {
	have, want := map[PartID]*Part{}, map[PartID]*Part{}
	for i, f := range l2Flows(50000) {
		id := PartID{Owner: uint32(i)}
		have[id] = &Part{Flows: []*Flow{f}}
		want[id] = have[id]
	}
	s, t := NewState(have), NewState(want)
	for b.Loop() {
		if !Diff(s, t).Empty() {
			b.Fatal("differ")
		}
	}
}

func BenchmarkClash50000(b *testing.B) {
	s := Flat(&Part{Flows: l2Flows(50000)})
	for b.Loop() {
		if err := Clash(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseFlow(b *testing.B) {
	text := l2Flows(1)[0].String()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseFlow(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFormat(b *testing.B) {
	f := l2Flows(1)[0]
	b.ReportAllocs()
	for b.Loop() {
		_ = f.String()
	}
}
