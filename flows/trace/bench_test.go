package trace

import (
	"testing"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// thousand is a switch with a table of 1,000 flows in four subtables, and a packet
// that one of them sends on.
func thousand(t testing.TB) (*Switch, *Packet) {
	t.Helper()
	var fs []*flows.Flow
	for i := range uint64(250) {
		for k, m := range []flows.Match{
			flows.Match{}.With(flows.InPort, flows.U(i+1)).With(flows.EthSrc, flows.U(i)),
			flows.Match{}.With(flows.EthDst, flows.U(0x020000000000+i)),
			flows.Match{}.With(flows.EthType, flows.U(etherIPv4)).With(flows.IPv4Dst, flows.U(0x0a000000+i)),
			flows.Match{}.With(flows.TunID, flows.U(i+1)),
		} {
			fs = append(fs, &flows.Flow{Priority: uint16(100 + k), Match: m, Apply: []flows.Action{flows.Output{Port: 2}}})
		}
	}
	s, err := New(Config{State: flows.Flat(&flows.Part{Flows: fs})})
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPacket(1, cat([]byte{2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 1, 8, 0}, newGen(1).ipv4(1)))
	if err != nil {
		t.Fatal(err)
	}
	return s, p
}

func BenchmarkLookup(b *testing.B) {
	s, p := thousand(b)
	b.ReportAllocs()
	for b.Loop() {
		if s.lookup(0, p, 1).flow == nil {
			b.Fatal("no flow")
		}
	}
}

func BenchmarkTrace(b *testing.B) {
	s, p := thousand(b)
	b.ReportAllocs()
	for b.Loop() {
		if s.Trace(p, Options{}).Verdict != Forwarded {
			b.Fatal("not forwarded")
		}
	}
}

func BenchmarkForward(b *testing.B) {
	s, p := thousand(b)
	r := s.NewRunner(Options{})
	b.ReportAllocs()
	for b.Loop() {
		if len(r.Forward(p).Outputs) != 1 {
			b.Fatal("not forwarded")
		}
	}
}

func BenchmarkNewPacket(b *testing.B) {
	_, p := thousand(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewPacket(1, p.frame); err != nil {
			b.Fatal(err)
		}
	}
}
