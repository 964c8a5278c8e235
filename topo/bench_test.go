package topo_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// large is n networks with a port each, bound alternately on two hosts.
func large(tb testing.TB, n int) *topo.Snapshot {
	tb.Helper()
	var tp topo.Topology
	tp.Tenants = []topo.Tenant{{Name: "red"}}
	for i := range 2 {
		tp.Hosts = append(tp.Hosts, topo.Host{Name: fmt.Sprintf("host%d", i), TEP: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})})
	}
	for i := range n {
		network := fmt.Sprintf("n%05d", i)
		tp.Networks = append(tp.Networks, topo.Network{Tenant: "red", Name: network, Encap: topo.GRE})
		tp.Ports = append(tp.Ports, topo.Port{Name: fmt.Sprintf("p%05d", i), Network: "red/" + network})
	}
	t := topo.Empty().Begin()
	t.Replace(tp)
	for i := range n {
		t.Bind(fmt.Sprintf("p%05d", i), topo.Binding{Host: fmt.Sprintf("host%d", i%2), OFPort: uint32(i + 1), Interface: uuid.UUID{1, byte(i >> 8), byte(i)}})
	}
	s, _, err := t.Commit()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func BenchmarkBind(b *testing.B) {
	s := large(b, 5000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		t := s.Begin()
		t.Bind("p02500", topo.Binding{Host: "host0", OFPort: uint32(10000 + i%2), Interface: uuid.UUID{1, 2500 >> 8, 2500 & 0xff}})
		next, changes, err := t.Commit()
		if err != nil || len(changes.Segments) != 1 {
			b.Fatal(changes, err)
		}
		s = next
	}
}

func BenchmarkPutPort(b *testing.B) {
	s := large(b, 5000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		t := s.Begin()
		t.PutPort(topo.Port{Name: "p02500", Network: "red/n02500", Netns: fmt.Sprint("x", i%2)})
		next, _, err := t.Commit()
		if err != nil {
			b.Fatal(err)
		}
		s = next
	}
}

func BenchmarkReplace(b *testing.B) {
	tp := large(b, 5000).Desired().Topology()
	for b.Loop() {
		t := topo.Empty().Begin()
		t.Replace(tp)
		if _, _, err := t.Commit(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSegmentsOn(b *testing.B) {
	s := large(b, 5000)
	for b.Loop() {
		if len(s.SegmentsOn("host0")) != 2500 {
			b.Fatal("wrong")
		}
	}
}
