package suite

import (
	"slices"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// The benchmark comes to a sample of both peers at its smallest size; the larger ones are not there then.
func TestVerifyAtItsSmallest(t *testing.T) {
	r, err := harness.Measure(t.Context(), Verify(), harness.Options{Size: harness.Size{Smallest: true}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Peers) != 2 {
		t.Errorf("peers: %+v", r.Peers)
	}
	for _, p := range r.Peers {
		if len(p.Samples) != 1 || p.Samples[0].Value <= 0 {
			t.Errorf("%s: samples %+v", p.Name, p.Samples)
		}
	}
	if d := r.Peers[0].Samples[0].Detail; d["flows"] < 1000 || d["classes"] < d["flows"] || d["ingresses"] < 200 {
		t.Errorf("what was proved: %v", d)
	}
	if d := r.Peers[1].Samples[0].Detail; d["packets"] < 100*100 {
		t.Errorf("what was probed: %v", d)
	}
}

// The overlays are of the size that the benchmark says, with hosts of about 1,000 flows; what is compared is there.
func TestVerifyExtents(t *testing.T) {
	peers := map[string]bool{}
	for _, e := range verifyExtents {
		c, err := compileOverlay(e)
		if err != nil {
			t.Fatal(err)
		}
		if n := c.flows / e.hosts; n < 900 || n > 1200 {
			t.Errorf("%+v: %d flows on each host", e, n)
		}
		peers[verifier(e)], peers[probing(e)] = true, true
	}
	for _, c := range Verify().Comparisons {
		if !peers[c.Peer] || c.Against != "" && !peers[c.Against] {
			t.Errorf("a comparison of %s with %s, which are not measured", c.Peer, c.Against)
		}
	}
}

// Both peers find a flow that lets packets out of a network, and one that is missing.
func TestVerifyAndProbingFindFaults(t *testing.T) {
	leak := func(t *testing.T, c *compiled, fs []*flows.Flow) []*flows.Flow {
		// All that one guest sends, whoever it is for, goes to another's port, which is in another network.
		for _, a := range c.guests {
			for _, b := range c.guests {
				if a.host == c.hosts[0] && b.host == a.host && !slices.Contains(*b.carries, a.network) && !slices.Contains(*a.carries, b.network) {
					return append(fs, &flows.Flow{Priority: 500, Match: flows.Match{}.With(flows.InPort, flows.U(uint64(a.port))),
						Apply: []flows.Action{flows.Output{Port: b.port}}})
				}
			}
		}
		t.Fatal("there are no guests of two networks on one host")
		return nil
	}
	lost := func(_ *testing.T, _ *compiled, fs []*flows.Flow) []*flows.Flow {
		// Nothing that comes out of a tunnel goes on.
		return slices.DeleteFunc(fs, func(f *flows.Flow) bool {
			_, key := f.Match.Get(flows.TunID)
			return f.Table == 0 && key
		})
	}
	for _, c := range []struct {
		name          string
		change        func(*testing.T, *compiled, []*flows.Flow) []*flows.Flow
		prove, probes string // what the error says; "" none
	}{
		{"as compiled", func(_ *testing.T, _ *compiled, fs []*flows.Flow) []*flows.Flow { return fs }, "", ""},
		{"a leak", leak, "not proved", "elsewhere"},
		// That something does not arrive is no matter of isolation.
		{"a loss", lost, "", "arrives 0 times, want 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := compileOverlay(extent{2, 6, 40})
			if err != nil {
				t.Fatal(err)
			}
			h := o.hosts[0]
			h.state = flows.Flat(&flows.Part{Flows: c.change(t, o, slices.Collect(h.state.Flows())), Groups: slices.Collect(h.state.Groups())})
			o.flows = o.hosts[0].state.NumFlows() + o.hosts[1].state.NumFlows()
			network, err := o.network()
			if err != nil {
				t.Fatal(err)
			}
			p := &proving{compiled: o, net: network}
			_, err = p.prove(t.Context())
			says(t, "the verifier", err, c.prove)
			_, err = p.probe(t.Context())
			says(t, "probing", err, c.probes)
		})
	}
}

func says(t *testing.T, who string, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s: %v, want %q", who, err, want)
	}
}
