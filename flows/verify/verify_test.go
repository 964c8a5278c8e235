package verify

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline/cases"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

func tep(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{192, 168, byte(200 + i/250), byte(1 + i%250)})
}

// shape is the size of a random overlay.
type shape struct{ hosts, networks, ports int }

// random is a random overlay with ports of all kinds.
func random(s shape, seed uint64) *topo.Snapshot {
	return cases.Spread(rand.New(rand.NewPCG(seed, 8)), s.hosts, s.networks, s.ports).Snapshot
}

// overlay is what a snapshot declares, with the flows compiled for it.
func overlay(t testing.TB, s *topo.Snapshot) Overlay {
	t.Helper()
	o := Overlay{Check: pipeline.Check, CheckGroup: pipeline.CheckGroup, Workers: 2}
	for _, n := range s.Networks() {
		o.Networks = append(o.Networks, Network{n.FullName(), n.Encap.String(), uint64(n.Key)})
	}
	switches, err := cases.Switches(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, sw := range switches {
		h := Host{Name: sw.Name, TEPs: sw.TEPs, State: sw.State}
		for _, p := range sw.Tunnels {
			h.Tunnels = append(h.Tunnels, Tunnel{p.Number, p.Encap, p.Encap})
		}
		for _, p := range sw.Ports {
			at := Port{Number: p.Number, Name: p.Name}
			for _, m := range p.Members {
				at.Members = append(at.Members, Member{m.VLAN, m.Wire, m.Network})
			}
			h.Ports = append(h.Ports, at)
		}
		h.Ports = append(h.Ports, Port{Number: 9999, Name: "nobody's"})
		o.Hosts = append(o.Hosts, h)
	}
	return o
}

func verified(t testing.TB, o Overlay) *Report {
	t.Helper()
	r, err := Verify(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func show(r *Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d flows, %d ingresses, %d classes, %d refuted\n", r.Flows, r.Ingresses, r.Classes, r.Refuted)
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "%s: host %s, from %s: %s\n  %s\n  %s\n", v.Kind, v.Host, v.From, v.What, v.Flow, v.Packet)
	}
	for _, d := range r.Doubts {
		fmt.Fprintf(&b, "host %s: %s\n", d.Host, d.Why)
	}
	return b.String()
}

// TestDeclaredOverlaysAreProved: what is compiled for an overlay with any one feature is
// proved.
func TestDeclaredOverlaysAreProved(t *testing.T) {
	for _, d := range cases.Declarations() {
		t.Run(d.Name, func(t *testing.T) {
			for seed := range uint64(10) {
				if d.Large && seed > 0 {
					break
				}
				r := verified(t, overlay(t, cases.Alone(d, rand.New(rand.NewPCG(seed, 9))).Snapshot))
				if !r.Proved() {
					t.Fatalf("seed %d: %s", seed, show(r))
				}
			}
		})
	}
}

// TestWhatIsCompiledIsProved: LAW: what is compiled for any overlay is proved, also
// after anything has happened to it.
func TestWhatIsCompiledIsProved(t *testing.T) {
	classes, refuted, refused := 0, 0, 0
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 12))
		s := cases.Random(r, cases.Size{Hosts: cases.MinHosts + int(seed%4), Features: 4 + int(seed)}).Snapshot
		if seed%5 == 0 {
			s = random(shape{1 + int(seed%4), 1 + int(seed%6), int(seed)}, seed)
		}
		for step := range 6 {
			rep := verified(t, overlay(t, s))
			if !rep.Proved() {
				t.Fatalf("seed %d, step %d: %s", seed, step, show(rep))
			}
			classes += rep.Classes
			refuted += rep.Refuted
			tx := s.Begin()
			for range 1 + r.IntN(4) {
				cases.Change(r, s, tx)
			}
			next, _, err := tx.Commit()
			if err != nil {
				refused++
			}
			s = next
		}
	}
	t.Logf("%d classes, %d suspicions refuted; %d changes refused", classes, refuted, refused)
	if classes == 0 {
		t.Error("nothing was proved of anything")
	}
}

// BenchmarkVerify is of random overlays whose hosts have about 1,000 flows each, and of
// others that would show where the cost is more than that of the flows: a network with
// many ports, on many hosts or on one, and many networks on one host.
func BenchmarkVerify(b *testing.B) {
	for _, s := range []shape{{2, 6, 90}, {20, 80, 440}, {100, 400, 2000}, {100, 1, 1000}, {1, 1, 500}, {1, 100, 500}} {
		o := overlay(b, random(s, 1))
		o.Workers = runtime.GOMAXPROCS(0)
		b.Run(fmt.Sprintf("hosts=%d/networks=%d/ports=%d", s.hosts, s.networks, s.ports), func(b *testing.B) {
			b.ReportAllocs()
			var r *Report
			for b.Loop() {
				if r = verified(b, o); !r.Proved() {
					b.Fatal(show(r))
				}
			}
			b.ReportMetric(float64(r.Flows)/float64(r.Hosts), "flows/host")
			b.ReportMetric(float64(r.Classes), "classes")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(r.Flows), "ns/flow")
		})
	}
}
